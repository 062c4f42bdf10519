#include "dispatcher.h"

int main(int argc, char **argv)
{
	return hf_service_main(&dispatcher_type, argc, argv);
}
