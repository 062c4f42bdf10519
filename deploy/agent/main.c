#include "agent.h"

int main(int argc, char **argv)
{
	return hf_service_main(&agent_type, argc, argv);
}
