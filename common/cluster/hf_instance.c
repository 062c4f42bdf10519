#include "hf_instance.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "hf_id.h"

#define WEIGHT_MAX 10000

static const char *const state_names[] = {
	[HF_INSTANCE_STARTING] = "starting",
	[HF_INSTANCE_SERVING] = "serving",
	[HF_INSTANCE_DRAINING] = "draining",
};

static json_t *encode_endpoints(const struct hf_instance *instance)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < instance->endpoint_count; i++) {
		const struct hf_endpoint *endpoint = &instance->endpoints[i];
		json_t *item = json_pack("{s:s, s:s}", "address", endpoint->address, "transport",
					 endpoint->transport);

		if (json_array_append_new(list, item) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

char *hf_instance_encode(const struct hf_instance *instance)
{
	char incarnation[HF_ID_TEXT_SIZE];
	json_t *endpoints = encode_endpoints(instance);
	json_t *root = NULL;
	char *text = NULL;

	hf_id_format(instance->incarnation, incarnation);
	if (endpoints != NULL) /* `o` takes the reference, also when packing fails */
		root = json_pack("{s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:s, s:o}", "id",
				 instance->id, "number", (json_int_t)instance->number, "state",
				 state_names[instance->state], "rpc", instance->rpc, "admin",
				 instance->admin, "weight", (json_int_t)instance->weight, "load",
				 (json_int_t)instance->load, "zone", instance->zone, "since_ms",
				 (json_int_t)instance->since_ms, "incarnation", incarnation,
				 "endpoints", endpoints);
	if (root != NULL)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

/* The decoders below report by clearing *ok, so that a decoder reads all fields and checks once. */
static void read_text(const json_t *object, const char *key, size_t min, size_t size, char *ret,
		      bool *ok)
{
	const json_t *value = json_object_get(object, key);
	size_t len = json_string_length(value);

	if (!json_is_string(value) || len < min || len >= size) {
		*ok = false;
		return;
	}
	memcpy(ret, json_string_value(value), len + 1);
	for (size_t i = 0; i < len; i++) /* all of these are names or addresses */
		if (ret[i] <= ' ' || ret[i] > '~')
			*ok = false;
}

static uint64_t read_uint(const json_t *object, const char *key, uint64_t max, bool *ok)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number > max) {
		*ok = false;
		return 0;
	}
	return (uint64_t)number;
}

static enum hf_instance_state read_state(const json_t *object, bool *ok)
{
	const char *name = json_string_value(json_object_get(object, "state"));

	for (size_t i = 0; name != NULL && i < HF_ARRAY_LEN(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (enum hf_instance_state)i;
	*ok = false;
	return HF_INSTANCE_STARTING;
}

static void read_endpoints(const json_t *object, struct hf_instance *ret, bool *ok)
{
	const json_t *list = json_object_get(object, "endpoints");
	size_t count = json_array_size(list);

	if (list == NULL)
		return;
	if (!json_is_array(list) || count > HF_INSTANCE_ENDPOINTS_MAX) {
		*ok = false;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(list, i);
		struct hf_endpoint *endpoint = &ret->endpoints[i];

		read_text(item, "address", 1, sizeof(endpoint->address), endpoint->address, ok);
		read_text(item, "transport", 1, sizeof(endpoint->transport), endpoint->transport,
			  ok);
	}
	ret->endpoint_count = count;
}

int hf_instance_decode(const void *text, size_t len, struct hf_instance *ret)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	struct hf_instance instance = { 0 };
	char incarnation[HF_ID_TEXT_SIZE] = "";
	bool ok = json_is_object(root);

	read_text(root, "id", 1, sizeof(instance.id), instance.id, &ok);
	instance.number = (uint32_t)read_uint(root, "number", HF_ID_NODE_MAX, &ok);
	instance.state = read_state(root, &ok);
	read_text(root, "rpc", 0, sizeof(instance.rpc), instance.rpc, &ok);
	read_text(root, "admin", 0, sizeof(instance.admin), instance.admin, &ok);
	read_text(root, "zone", 0, sizeof(instance.zone), instance.zone, &ok);
	instance.weight = (uint32_t)read_uint(root, "weight", WEIGHT_MAX, &ok);
	instance.load = read_uint(root, "load", INT64_MAX, &ok);
	instance.since_ms = read_uint(root, "since_ms", INT64_MAX, &ok);
	read_text(root, "incarnation", 0, sizeof(incarnation), incarnation, &ok);
	if (hf_id_parse(incarnation, strlen(incarnation), &instance.incarnation) < 0)
		ok = false;
	read_endpoints(root, &instance, &ok);
	json_decref(root);

	if (!ok)
		return -EINVAL;
	*ret = instance;
	return 0;
}
