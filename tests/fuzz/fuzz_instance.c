/* What is accepted as an instance encodes again, and decodes to the same. */
#include <stdlib.h>

#include "hf_instance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_instance first = { 0 }, second = { 0 };
	char *text;

	if (hf_instance_decode(data, size, &first) != 0)
		return 0;
	text = hf_instance_encode(&first);
	if (text == NULL || hf_instance_decode(text, strlen(text), &second) != 0 ||
	    memcmp(&first, &second, sizeof(first)) != 0)
		abort();
	free(text);
	return 0;
}
