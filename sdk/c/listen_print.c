/* sdk/c/listen_print.c */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_clock.h"
#include "hf_text.h"
#include "listen_print.h"

/* Takes `object`. Each line leaves at once: whoever reads waits for it. */
static void put(json_t *object)
{
	char *text;

	if (object == NULL)
		return;
	json_object_set_new(object, "at_ms", json_integer((json_int_t)hf_clock_wall_ms()));
	text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(object);
	if (text != NULL)
		puts(text);
	fflush(stdout);
	free(text);
}

/* Text from outside as a JSON string; what is not UTF-8 becomes null. */
static json_t *string_or_null(const char *text)
{
	json_t *string = json_string(text);

	return string != NULL ? string : json_null();
}

void print_start(const struct printer *printer, uint32_t app, const char *registration,
		 const char *device)
{
	if (printer->json)
		put(json_pack("{s:s, s:I, s:o, s:o}", "event", "start", "app", (json_int_t)app,
			      "registration", string_or_null(registration), "device",
			      string_or_null(device)));
	else
		printf("app %" PRIu32 " registration %s device %s\n", app, registration, device);
	fflush(stdout);
}

static void print_closed(const struct hf_client_status *status)
{
	put(json_pack("{s:s, s:i, s:s, s:o}", "event", "closed", "code", (int)status->code, "name",
		      hf_client_code_name(status->code), "reason", string_or_null(status->reason)));
}

void print_state(const struct printer *printer, const struct hf_client_status *status)
{
	const char *name = hf_client_state_name(status->state);

	if (!printer->json) {
		printf("%s", name);
		if (status->state == HF_CLIENT_CONNECTED)
			printf(" to %s node %s heartbeat %us%s", status->endpoint, status->node,
			       status->heartbeat_s, status->resumed ? " resumed" : "");
		if (status->retry_in_ms >= 0)
			printf(" %" PRId64 " ms", status->retry_in_ms);
		if (status->code != 0)
			printf(" after %u %s %s", status->code, hf_client_code_name(status->code),
			       status->reason);
		putchar('\n');
		fflush(stdout);
		return;
	}
	if (status->code != 0 && status->state >= HF_CLIENT_WAITING)
		print_closed(status);
	put(json_pack("{s:s, s:s, s:i, s:o, s:I, s:o, s:o, s:i, s:b}", "event", "state", "state",
		      name, "code", (int)status->code, "reason", string_or_null(status->reason),
		      "retry_in_ms", (json_int_t)status->retry_in_ms, "endpoint",
		      string_or_null(status->endpoint), "node", string_or_null(status->node),
		      "heartbeat_s", (int)status->heartbeat_s, "resumed", status->resumed));
}

void print_app(const struct printer *printer, uint32_t app, unsigned code, const char *reason)
{
	const char *name = code == 0 ? "attached" : hf_client_code_name(code);

	if (printer->json)
		put(json_pack("{s:s, s:I, s:i, s:s, s:o}", "event", "app", "app", (json_int_t)app,
			      "code", (int)code, "name", name, "reason", string_or_null(reason)));
	else
		printf("app %" PRIu32 " %s %s\n", app, name, reason);
	fflush(stdout);
}

/* The bytes as base64 under `name`. */
static void set_base64(json_t *object, const char *name, const void *data, size_t len)
{
	char *text = malloc(4 * (len + 2) / 3 + 2);

	if (text == NULL)
		return;
	json_object_set_new(object, name,
			    json_stringn(text, hf_base64_encode(data, len, false, text)));
	free(text);
}

/* `data` as JSON where the payload is JSON, else `data_b64`; an envelope's own fields. */
static void set_payload(json_t *object, const struct hf_client_message *message)
{
	json_t *value = NULL;

	if (message->kind != HF_CLIENT_PAYLOAD_BYTES)
		value = json_loadb(message->payload, message->payload_len, JSON_DECODE_ANY, NULL);
	if (value == NULL)
		set_base64(object, "data_b64", message->payload, message->payload_len);
	else if (message->kind == HF_CLIENT_PAYLOAD_ENVELOPE && json_is_object(value))
		json_object_update_missing(object, value);
	else
		json_object_set(object, "data", value);
	json_decref(value);
}

void print_message(const struct printer *printer, const struct hf_client_message *message)
{
	static const char *const kinds[] = { "json", "bytes", "envelope" };
	char id[HF_CLIENT_ID_SIZE];
	json_t *object;

	hf_client_format_id(message->id, id);
	if (!printer->json) {
		printf("message %s app %" PRIu32 "%s", id, message->app,
		       message->redelivered ? " again" : "");
		if (message->answers != 0)
			printf(" answers %" PRIu32, message->answers);
		fputs(": ", stdout);
		fwrite(message->payload, 1, message->payload_len, stdout);
		putchar('\n');
		fflush(stdout);
		return;
	}
	object = json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:I}", "event", "message", "message_id",
			   id, "app", (json_int_t)message->app, "kind", kinds[message->kind],
			   "needs_ack", message->needs_ack, "redelivered", message->redelivered,
			   "payload_len", (json_int_t)message->payload_len);
	if (object == NULL)
		return;
	if (message->answers != 0)
		json_object_set_new(object, "answers", json_integer(message->answers));
	set_payload(object, message);
	put(object);
}

void print_sent(const struct printer *printer, uint32_t app, const char *type, int result)
{
	if (result < 0)
		print_send_result(printer, app, 0, result, hf_client_strerror(result));
	else if (printer->json)
		put(json_pack("{s:s, s:I, s:o, s:i}", "event", "sent", "app", (json_int_t)app,
			      "type", string_or_null(type), "sequence", result));
	else
		printf("app %" PRIu32 " sent %d %s\n", app, result, type);
	fflush(stdout);
}

void print_send_result(const struct printer *printer, uint32_t app, uint32_t sequence, int result,
		       const char *reason)
{
	const char *name = hf_client_send_name(result);

	if (printer->json)
		put(json_pack("{s:s, s:I, s:I, s:i, s:s, s:o}", "event", "send_result", "app",
			      (json_int_t)app, "sequence", (json_int_t)sequence, "code", result,
			      "name", name, "reason", string_or_null(reason)));
	else
		printf("app %" PRIu32 " send %" PRIu32 " %s %s\n", app, sequence, name, reason);
	fflush(stdout);
}

void print_messages_lost(const struct printer *printer, uint32_t app, unsigned count)
{
	if (printer->json)
		put(json_pack("{s:s, s:I, s:I}", "event", "messages_lost", "app", (json_int_t)app,
			      "count", (json_int_t)count));
	else
		printf("app %" PRIu32 " lost %u messages\n", app, count);
	fflush(stdout);
}

void print_token_needed(const struct printer *printer, uint32_t app, unsigned code)
{
	if (printer->json)
		put(json_pack("{s:s, s:I, s:i, s:s}", "event", "token_needed", "app",
			      (json_int_t)app, "code", (int)code, "name",
			      hf_client_code_name(code)));
	else
		printf("app %" PRIu32 " needs a new token: %s\n", app, hf_client_code_name(code));
	fflush(stdout);
}

void print_error(const struct printer *printer, enum hf_client_error error, const char *detail)
{
	static const char *const kinds[] = {
		"", "dispatcher", "connect", "tls", "protocol", "lost"
	};

	if (printer->json)
		put(json_pack("{s:s, s:s, s:o}", "event", "error", "kind", kinds[error], "detail",
			      string_or_null(detail)));
	else
		printf("%s: %s\n", kinds[error], detail);
	fflush(stdout);
}
