/* sdk/c/report.c - what a client tells of itself, and the names of things. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_hash.h"
#include "hf_id.h"

const char *hf_client_version(void)
{
	return HF_CLIENT_VERSION;
}

const char *hf_client_state_name(enum hf_client_state state)
{
	static const char *const names[] = { "idle", "connecting", "connected", "waiting",
					     "stopped" };

	return (unsigned)state < HF_ARRAY_LEN(names) ? names[state] : "unknown";
}

const char *hf_client_code_name(unsigned code)
{
	return hf_close_name(code);
}

const char *hf_client_send_name(int result)
{
	return result < 0 ? "lost" : hf_upstream_name((unsigned)result);
}

const char *hf_client_strerror(int result)
{
	switch (result) {
	case -EINVAL:
		return "a setting or an argument is missing or malformed";
	case -EEXIST:
		return "this app is attached already";
	case -ENOENT:
		return "no such app or message";
	case -ENOSPC:
		return "too many apps";
	case -EALREADY:
		return "started already";
	case -EBUSY:
		return "not from a callback";
	case -EHOSTUNREACH:
		return "no such host, or no way to it";
	case -ECONNRESET:
		return "the other side closed the connection";
	case -ENOTCONN:
		return "the app is not attached right now";
	case -EAGAIN:
		return "too much is under way: try again later";
	case -EMSGSIZE:
		return "larger than the server takes";
	case -ETIMEDOUT:
		return "timed out";
	default:
		return result < 0 ? strerror(-result) : "no error";
	}
}

void hf_client_format_id(uint64_t id, char ret[HF_CLIENT_ID_SIZE])
{
	_Static_assert(HF_CLIENT_ID_SIZE == HF_ID_TEXT_SIZE, "the same text");
	hf_id_format(id, ret);
}

void hf_client_random_id(char ret[HF_CLIENT_KEY_SIZE])
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint8_t bytes[HF_CLIENT_KEY_SIZE - 1];

	hf_random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		ret[i] = alphabet[bytes[i] & 31];
	ret[sizeof(bytes)] = '\0';
}

void hf_client_status(struct hf_client *client, struct hf_client_status *ret_status)
{
	uint64_t now = hf_clock_monotonic_ms();

	*ret_status = (struct hf_client_status){
		.state = client->state,
		.code = client->code,
		.reason = client->reason,
		.retry_in_ms = -1,
		.endpoint = client->endpoint,
		.node = client->node,
		.heartbeat_s = client->heartbeat_s,
		.resumed = client->state == HF_CLIENT_CONNECTED && client->resumed,
	};
	if (client->state == HF_CLIENT_WAITING && client->retry_ms != 0)
		ret_status->retry_in_ms =
			client->retry_ms > now ? (int64_t)(client->retry_ms - now) : 0;
}

void hf_client_stats(const struct hf_client *client, struct hf_client_stats *ret_stats)
{
	uint64_t now = hf_clock_monotonic_ms();

	*ret_stats = client->stats;
	ret_stats->connected_for_ms =
		client->connected_ms != 0 ? (int64_t)(now - client->connected_ms) : -1;
	ret_stats->last_heard_ms_ago =
		client->last_heard_ms != 0 ? (int64_t)(now - client->last_heard_ms) : -1;
}

static bool put_string(struct hf_buffer *out, const char *name, const char *value)
{
	bool ok = hf_buffer_printf(out, "\"%s\":\"", name) == 0;

	for (; ok && *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;

		if (c < 0x20 || c == '"' || c == '\\')
			ok = hf_buffer_printf(out, "\\u%04x", c) == 0;
		else
			ok = hf_buffer_append(out, value, 1) == 0;
	}
	return ok && hf_buffer_append(out, "\",", 2) == 0;
}

static bool put_number(struct hf_buffer *out, const char *name, int64_t value, char after)
{
	return hf_buffer_printf(out, "\"%s\":%lld%c", name, (long long)value, after) == 0;
}

static bool put_apps(struct hf_buffer *out, const struct hf_client *client)
{
	static const char *const states[] = { "idle", "asked", "attached", "no_token", "stopped" };
	bool ok = hf_buffer_printf(out, "\"apps\":[") == 0;

	for (size_t i = 0; ok && i < client->app_count; i++) {
		const struct app *app = client->apps[i];

		ok = hf_buffer_printf(out, "%s{", i > 0 ? "," : "") == 0 &&
		     put_number(out, "app", app->id, ',') &&
		     put_string(out, "registration", app->registration) &&
		     put_string(out, "state", states[app->state]) &&
		     put_number(out, "code", app->code, '}');
	}
	return ok && hf_buffer_append(out, "],", 2) == 0;
}

static bool put_stats(struct hf_buffer *out, const struct hf_client_stats *s)
{
	const struct {
		const char *name;
		int64_t value;
	} rows[] = {
		{ "connects", (int64_t)s->connects },
		{ "connect_failures", (int64_t)s->connect_failures },
		{ "logins", (int64_t)s->logins },
		{ "resumes", (int64_t)s->resumes },
		{ "lost", (int64_t)s->lost },
		{ "fetches", (int64_t)s->fetches },
		{ "fetch_failures", (int64_t)s->fetch_failures },
		{ "messages", (int64_t)s->messages },
		{ "duplicates", (int64_t)s->duplicates },
		{ "redelivered", (int64_t)s->redelivered },
		{ "messages_lost", (int64_t)s->messages_lost },
		{ "acks", (int64_t)s->acks },
		{ "pings", (int64_t)s->pings },
		{ "pongs", (int64_t)s->pongs },
		{ "sends", (int64_t)s->sends },
		{ "sends_failed", (int64_t)s->sends_failed },
		{ "bytes_in", (int64_t)s->bytes_in },
		{ "bytes_out", (int64_t)s->bytes_out },
		{ "connected_for_ms", s->connected_for_ms },
		{ "last_heard_ms_ago", s->last_heard_ms_ago },
	};
	bool ok = hf_buffer_printf(out, "\"stats\":{") == 0;

	for (size_t i = 0; ok && i < HF_ARRAY_LEN(rows); i++)
		ok = put_number(out, rows[i].name, rows[i].value,
				i + 1 < HF_ARRAY_LEN(rows) ? ',' : '}');
	return ok;
}

char *hf_client_diag_json(struct hf_client *client)
{
	struct hf_client_status status;
	struct hf_client_stats stats;
	struct hf_buffer out = { 0 };
	char *text = NULL;
	bool ok;

	hf_client_status(client, &status);
	hf_client_stats(client, &stats);
	ok = hf_buffer_append(&out, "{", 1) == 0 &&
	     put_string(&out, "version", HF_CLIENT_VERSION) &&
	     put_string(&out, "device", client->config.device) &&
	     put_string(&out, "state", hf_client_state_name(status.state)) &&
	     put_number(&out, "code", status.code, ',') &&
	     put_string(&out, "reason", status.reason) &&
	     put_string(&out, "endpoint", status.endpoint) &&
	     put_string(&out, "node", status.node) &&
	     put_number(&out, "retry_in_ms", status.retry_in_ms, ',') &&
	     put_number(&out, "heartbeat_s", status.heartbeat_s, ',') && put_apps(&out, client) &&
	     put_stats(&out, &stats) && hf_buffer_append(&out, "}", 2) == 0;
	if (ok)
		text = strdup((const char *)hf_buffer_data(&out));
	hf_buffer_deinit(&out);
	return text;
}
