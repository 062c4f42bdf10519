#include "coordinator.h"

int main(int argc, char **argv)
{
	return hf_service_main(&coordinator_type, argc, argv);
}
