#include "register.h"

int main(int argc, char **argv)
{
	return hf_service_main(&register_type, argc, argv);
}
