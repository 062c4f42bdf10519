/* Whatever a client sends, the business gets one event with the fields that are ours. */
#include <jansson.h>
#include <stdlib.h>

#include "body.h"

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct upstream_event event = {
		.app = 7,
		.sequence = 3,
		.id = 1,
		.at_ms = 1769860798412,
		.registration = HF_BYTES_LITERAL("ana-phone"),
		.user_id = HF_BYTES_LITERAL("ana"),
		.forward_type = HF_BYTES_LITERAL("order"),
		.payload = { data, size },
	};
	json_t *root, *events, *fields;
	size_t len = 0;
	char *text = body_of_upstream(&event, &len);

	CHECK(text != NULL && text[len] == '\0');
	root = json_loadb(text, len, 0, NULL);
	CHECK(json_object_size(root) == 3);
	events = json_object_get(root, "events");
	CHECK(json_array_size(events) == 1);
	fields = json_object_get(json_array_get(events, 0), "data");
	CHECK(json_object_size(fields) == 5);
	CHECK(json_string_length(json_object_get(fields, "registration_id")) == 9);
	CHECK((json_object_get(fields, "payload") != NULL) !=
	      (json_object_get(fields, "payload_b64") != NULL));
	json_decref(root);
	free(text);
	return 0;
}
