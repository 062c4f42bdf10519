/* sdk/c/fetch.c - asks a dispatcher for servers: one GET, one answer of text, and the connection
 * ends.
 *
 * The answer is bounded in size and time. It is HTTP/1.1 with a Content-Length or an end of stream;
 * an answer in chunks is refused, as no dispatcher of ours sends one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "answer.h"
#include "client.h"
#include "hf_clock.h"

#define FETCH_TIMEOUT_MS  5000
#define RETRY_AFTER_MAX_S 3600

struct url {
	struct endpoint endpoint;
	char authority[SELECTION_TEXT_SIZE];
};

/* "http://host[:port]" or "https://...", without a path. */
static int url_parse(const char *text, struct url *ret)
{
	bool tls = strncmp(text, "https://", 8) == 0;
	const char *authority = text + (tls ? 8 : 7), *bracket;
	size_t len;
	char with_port[SELECTION_TEXT_SIZE];

	if (!tls && strncmp(text, "http://", 7) != 0)
		return -EINVAL;
	len = strcspn(authority, "/");
	if (len == 0 || len >= sizeof(ret->authority) ||
	    authority[len + (authority[len] == '/')] != 0)
		return -EINVAL;
	memcpy(ret->authority, authority, len);
	ret->authority[len] = '\0';
	bracket = strrchr(ret->authority, ']');
	if (strchr(bracket != NULL ? bracket : ret->authority, ':') != NULL)
		return endpoint_parse(hf_bytes_of(authority, len), tls, &ret->endpoint);
	if ((size_t)snprintf(with_port, sizeof(with_port), "%s:%d", ret->authority,
			     tls ? 443 : 80) >= sizeof(with_port))
		return -EINVAL;
	return endpoint_parse(hf_bytes_of_string(with_port), tls, &ret->endpoint);
}

bool fetch_url_is_valid(const char *text)
{
	struct url url;

	return url_parse(text, &url) == 0;
}

static const char *current(const struct hf_client *client)
{
	return client->dispatchers[client->dispatcher_next % client->dispatcher_count];
}

void fetch_begin(struct hf_client *client, uint64_t now)
{
	struct url url;
	int err;

	if (url_parse(current(client), &url) < 0) { /* hf_client_new() took only good ones */
		fetch_failed(client, "bad URL", now);
		return;
	}
	client->stats.fetches++;
	err = client_open(client, url.endpoint.host, url.endpoint.port, url.endpoint.tls);
	if (err < 0) {
		fetch_failed(client, hf_client_strerror(err), now);
		return;
	}
	client->phase = PHASE_FETCH;
	client->deadline_ms = hf_clock_monotonic_ms() + FETCH_TIMEOUT_MS;
}

/* Percent-encodes all but unreserved characters. `ret` has room for 3 * strlen + 1. */
static void escape(const char *text, char *ret)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-._~", c) != NULL) {
			*ret++ = (char)c;
		} else {
			*ret++ = '%';
			*ret++ = hex[c >> 4];
			*ret++ = hex[c & 15];
		}
	}
	*ret = '\0';
}

void fetch_ready(struct hf_client *client, uint64_t now)
{
	static const char *const networks[] = { NULL, "cell", "wifi", "eth" };
	const char *network = networks[client->config.network];
	const struct app *app = client->apps[0];
	char registration[3 * HF_REGISTRATION_MAX + 1], node[3 * HF_NODE_ID_MAX + 1];
	char platform[3 * HF_WIRE_LABEL_MAX + 1];
	struct url url;
	int err;

	if (url_parse(current(client), &url) < 0 || client->app_count == 0) {
		fetch_failed(client, "nothing to ask", now);
		return;
	}
	escape(app->registration, registration);
	escape(client->node, node);
	escape(client->config.platform, platform);
	err = hf_buffer_printf(
		&client->out,
		"GET /v1/endpoints?format=text&app_id=%u&registration_id=%s&sdk=c/%s&platform=%s"
		"&reason=%s%s%s%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast-c/%s\r\n"
		"Accept: text/plain\r\nConnection: close\r\n\r\n",
		app->id, registration, HF_CLIENT_VERSION, platform, client->fetch_reason,
		network != NULL ? "&net=" : "", network != NULL ? network : "",
		node[0] != '\0' ? "&last_node=" : "", node, url.authority, HF_CLIENT_VERSION);
	if (err < 0)
		fetch_failed(client, hf_client_strerror(err), now);
}

static void take_answer(struct hf_client *client, const struct answer *answer, uint64_t now)
{
	char why[64], reason[ANSWER_REASON_SIZE];

	if (answer->status != 200) {
		if (answer->status == 429 || answer->status == 503)
			client->not_before_ms =
				now +
				HF_MIN(answer->retry_after_s, (uint64_t)RETRY_AFTER_MAX_S) * 1000;
		answer_reason(answer, reason);
		snprintf(why, sizeof(why), "status %u%s%s", answer->status,
			 reason[0] != '\0' ? " " : "", reason);
		fetch_failed(client, why, now);
		return;
	}
	if (selection_take(&client->selection, answer->body, client->config.tls,
			   hf_clock_wall_ms()) < 0) {
		fetch_failed(client, "no server in its answer", now);
		return;
	}
	client->fetch_wanted = false;
	client_close_transport(client, true);
	client->phase = PHASE_NONE;
	client->deadline_ms = 0;
	if (client->config.cache_file != NULL)
		selection_save(&client->selection, client->config.cache_file);
	client_begin_round(client, now);
}

void fetch_input(struct hf_client *client, uint64_t now)
{
	int err = client_read(client, ANSWER_MAX), whole = 0;
	struct answer answer;

	if (hf_buffer_len(&client->in) > 0)
		whole = answer_parse(hf_buffer_data(&client->in), hf_buffer_len(&client->in),
				     err < 0, &answer);
	if (whole > 0)
		take_answer(client, &answer, now);
	else if (whole < 0)
		fetch_failed(client, whole == -EMSGSIZE ? "answer too long" : "not an answer", now);
	else if (err < 0)
		fetch_failed(client, hf_client_strerror(err), now);
}

void fetch_failed(struct hf_client *client, const char *why, uint64_t now)
{
	client->stats.fetch_failures++;
	client_error(client, HF_CLIENT_ERROR_DISPATCHER, "%s: %s", current(client), why);
	client->dispatcher_next++;
	client_close_transport(client, false);
	client->phase = PHASE_NONE;
	client->deadline_ms = 0;
	client_begin_round(client, now);
}
