#include "saver.h"

int main(int argc, char **argv)
{
	return hf_service_main(&saver_type, argc, argv);
}
