/* tests/integration/tools/rpc_call.c - calls any RPC of any service, for tests.
 *
 *	rpc_call SERVICE ADDRESS [TIMEOUT_MS]      e.g. rpc_call saver unix:/run/saver.rpc
 *
 * Reads one call per line, ["Load", {"app": 7, "registration": "ana", "max_count": 10}], sends
 * all that are there at once, and writes one line per answer, as they come: [index, "OK", {...}]
 * or [index, "UNAVAILABLE", "REFILLING"]. Field names are those of the .proto; enums are numbers;
 * bytes are {"hex": "..."} or a text, and always come back as {"hex": "..."}. Status 1 when a
 * call failed, 2 when the input is no good. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "center.pb-c.h"
#include "coordinator.pb-c.h"
#include "hf_rpc_client.h"
#include "register.pb-c.h"
#include "room.pb-c.h"
#include "saver.pb-c.h"

static const struct {
	const char *name;
	const ProtobufCServiceDescriptor *descriptor;
} services[] = {
	{ "saver", &hf__saver__descriptor },   { "register", &hf__register__descriptor },
	{ "room", &hf__room__descriptor },     { "coordinator", &hf__coordinator__descriptor },
	{ "center", &hf__center__descriptor },
};

static struct hf_loop *loop;
static struct hf_rpc_client *client;
static uint32_t timeout_ms = 5000;
static size_t open_calls, next_index;
static bool input_ended;
static int failures;

struct call {
	size_t index;
};

static void die(const char *what, const char *detail)
{
	fprintf(stderr, "rpc_call: %s: %s\n", what, detail);
	exit(2);
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static ProtobufCMessage *message_of(const ProtobufCMessageDescriptor *type, json_t *json);

static ProtobufCBinaryData bytes_of(json_t *json)
{
	const char *hex = json_string_value(json_object_get(json, "hex"));
	ProtobufCBinaryData bytes = { 0 };

	if (hex == NULL) {
		bytes.len = json_string_length(json);
		bytes.data = (uint8_t *)strdup(json_is_string(json) ? json_string_value(json) : "");
		return bytes;
	}
	bytes.len = strlen(hex) / 2;
	bytes.data = malloc(bytes.len + 1);
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned value = 0;

		sscanf(hex + 2 * i, "%2x", &value);
		bytes.data[i] = (uint8_t)value;
	}
	return bytes;
}

static void set_value(const ProtobufCFieldDescriptor *field, void *to, json_t *json)
{
	uint64_t number = json_is_true(json) ? 1 : (uint64_t)json_integer_value(json);
	ProtobufCBinaryData bytes;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)to = strdup(json_is_string(json) ? json_string_value(json) : "");
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes = bytes_of(json);
		memcpy(to, &bytes, sizeof(bytes));
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)to = message_of(field->descriptor, json);
		break;
	default:
		memcpy(to, &number, value_size(field)); /* little endian */
		break;
	}
}

static ProtobufCMessage *message_of(const ProtobufCMessageDescriptor *type, json_t *json)
{
	ProtobufCMessage *message = calloc(1, type->sizeof_message);
	const char *key;
	json_t *value;

	protobuf_c_message_init(type, message);
	json_object_foreach(json, key, value)
	{
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field_by_name(type, key);
		char *base = (char *)message;

		if (field == NULL)
			die("no such field", key);
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t count = json_array_size(value);
			char *items = calloc(count + 1, value_size(field));

			for (size_t i = 0; i < count; i++)
				set_value(field, items + i * value_size(field),
					  json_array_get(value, i));
			memcpy(base + field->offset, &items, sizeof(items));
			memcpy(base + field->quantifier_offset, &count, sizeof(count));
		} else {
			set_value(field, base + field->offset, value);
		}
	}
	return message;
}

static json_t *json_of(const ProtobufCMessage *message);

static json_t *json_of_value(const ProtobufCFieldDescriptor *field, const void *from)
{
	const ProtobufCBinaryData *bytes = from;
	uint64_t number = 0;
	json_t *json;
	char *hex;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return json_string(*(char *const *)from);
	case PROTOBUF_C_TYPE_MESSAGE:
		return json_of(*(ProtobufCMessage *const *)from);
	case PROTOBUF_C_TYPE_BYTES:
		hex = calloc(bytes->len + 1, 2);
		for (size_t i = 0; i < bytes->len; i++)
			sprintf(hex + 2 * i, "%02x", bytes->data[i]);
		json = json_pack("{s:s}", "hex", hex);
		free(hex);
		return json;
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)from);
	default:
		memcpy(&number, from, value_size(field));
		return json_integer((json_int_t)number);
	}
}

static json_t *json_of(const ProtobufCMessage *message)
{
	json_t *json = json_object();

	for (unsigned i = 0; message != NULL && i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const char *base = (const char *)message;

		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			json_t *array = json_array();
			const char *items;
			size_t count;

			memcpy(&items, base + field->offset, sizeof(items));
			memcpy(&count, base + field->quantifier_offset, sizeof(count));
			for (size_t k = 0; k < count; k++)
				json_array_append_new(array,
						      json_of_value(field,
								    items + k * value_size(field)));
			json_object_set_new(json, field->name, array);
		} else {
			json_object_set_new(json, field->name,
					    json_of_value(field, base + field->offset));
		}
	}
	return json;
}

static void end_if_done(void)
{
	if (input_ended && open_calls == 0)
		hf_loop_stop(loop);
}

static void on_reply(const ProtobufCMessage *reply, void *ctx)
{
	struct call *call = ctx;
	json_t *line = json_array();
	char *text;

	json_array_append_new(line, json_integer((json_int_t)call->index));
	json_array_append_new(line, json_string(hf_rpc_status_name(
					    reply != NULL ? HF_RPC_OK : hf_rpc_last_status())));
	json_array_append_new(line,
			      reply != NULL ? json_of(reply) : json_string(hf_rpc_last_reason()));
	failures += reply == NULL;
	text = json_dumps(line, JSON_COMPACT);
	puts(text);
	fflush(stdout);
	free(text);
	json_decref(line);
	free(call);
	open_calls--;
	end_if_done();
}

static void run_line(const ProtobufCServiceDescriptor *service, const char *text)
{
	json_error_t error;
	json_t *line = json_loads(text, 0, &error), *request;
	const ProtobufCMethodDescriptor *method;
	ProtobufCService *to = hf_rpc_to(client, timeout_ms);
	ProtobufCMessage *message;
	struct call *call = calloc(1, sizeof(*call));

	if (line == NULL)
		die("bad JSON", error.text);
	method = protobuf_c_service_descriptor_get_method_by_name(service,
								  json_string_value(
									  json_array_get(line, 0)));
	if (method == NULL)
		die("no such method", text);
	request = json_array_get(line, 1);
	message = message_of(method->input, request);
	call->index = next_index++;
	open_calls++;
	to->invoke(to, (unsigned)(method - service->methods), message, on_reply, call);
	protobuf_c_message_free_unpacked(message, NULL);
	json_decref(line);
}

static void on_input(evutil_socket_t fd, short what, void *ctx)
{
	static char buffer[1 << 22];
	static size_t len;
	const ProtobufCServiceDescriptor *service = ctx;
	ssize_t n = read(fd, buffer + len, sizeof(buffer) - 1 - len);
	char *start = buffer, *end;

	if (n <= 0) {
		input_ended = true;
		end_if_done();
		return;
	}
	len += (size_t)n;
	buffer[len] = '\0';
	while ((end = strchr(start, '\n')) != NULL) {
		*end = '\0';
		if (start[0] != '\0')
			run_line(service, start);
		start = end + 1;
	}
	len -= (size_t)(start - buffer);
	memmove(buffer, start, len);
}

int main(int argc, char **argv)
{
	struct hf_rpc_client_options options = { .peer_role = "test" };
	struct hf_metrics *metrics = hf_metrics_new();
	struct event *input;

	if (argc < 3)
		die("usage", "rpc_call SERVICE ADDRESS [TIMEOUT_MS]");
	for (size_t i = 0; i < HF_ARRAY_LEN(services); i++) {
		if (strcmp(services[i].name, argv[1]) == 0)
			options.service = services[i].descriptor;
	}
	if (options.service == NULL)
		die("no such service", argv[1]);
	if (argc > 3)
		timeout_ms = (uint32_t)strtoul(argv[3], NULL, 10);
	options.address = argv[2];
	loop = hf_loop_new();
	if (loop == NULL || metrics == NULL ||
	    hf_rpc_client_new(loop, metrics, &options, &client) < 0)
		die("can't call", argv[2]);
	input = event_new(loop->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input,
			  (void *)options.service);
	event_add(input, NULL);
	while (!input_ended || open_calls > 0) {
		hf_loop_turn(loop, true);
		if (input_ended)
			event_del(input);
	}
	event_free(input);
	hf_rpc_client_free(client);
	hf_metrics_free(metrics);
	hf_loop_free(loop);
	return failures > 0 ? 1 : 0;
}
