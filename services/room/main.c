#include "room.h"

int main(int argc, char **argv)
{
	return hf_service_main(&room_type, argc, argv);
}
