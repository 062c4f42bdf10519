/* services/center/main.c - holdfast-center. */
#include "center.h"

int main(int argc, char **argv)
{
	return hf_service_main(&center_type, argc, argv);
}
