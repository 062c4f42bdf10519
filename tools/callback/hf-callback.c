/* hf-callback - a business's callback server to look at: it checks the signature of every request,
 * prints every event, and answers as it was told. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hf_http_server.h"
#include "hf_metrics.h"
#include "hf_text.h"
#include "hf_webhook.h"

#define BODY_MAX        (4u << 20)
#define SIGNATURE_AGE_S 300 /* what Standard Webhooks advises */

static const char help[] =
	"Usage: hf-callback [OPTION]...\n"
	"Serve HTTP as a business does that is called back: check the signature of each request, "
	"print\n"
	"each event on a line, and answer. For trying out callbacks, and for tests.\n"
	"\n"
	"  --bind ADDRESS      where to listen; default 127.0.0.1:9000\n"
	"  --secret WHSEC      what the callback's requests are signed with; without it nothing "
	"is\n"
	"                      checked, and the output says so\n"
	"  --secret-file FILE  the same, from the first line of a file\n"
	"  --status N          HTTP status of the answers, 200 to 599; default 200\n"
	"  --answer JSON       body of the answers; the client that asked gets it as a push\n"
	"  --echo              answer an upstream message with {\"echo\": what it carried}\n"
	"  --json              print each event as the JSON that came\n"
	"  -V, --version       print the version\n"
	"  -h, --help          print this\n"
	"\n"
	"A request whose signature is wrong or older than five minutes is answered 401 and its "
	"events\n"
	"are not printed. A webhook.test event is answered with its challenge. Runs until TERM or "
	"INT.\n"
	"Exit status: 0 ended by a signal, 1 usage, 2 could not listen.\n";

struct callback {
	struct hf_loop *loop;
	struct hf_webhook_secret secret;
	bool has_secret, echo, json;
	unsigned status;
	const char *answer;
};

/* Signatures */

/* Is one of the signatures, "v1,base64 v1,base64", ours? */
static bool is_signed(const struct hf_webhook_secret *secret, struct hf_bytes signatures,
		      struct hf_bytes head, struct hf_bytes body)
{
	uint8_t *text = malloc(head.len + body.len + 1), mac[EVP_MAX_MD_SIZE];
	char wanted[3 + 4 * (EVP_MAX_MD_SIZE + 2) / 3 + 1] = "v1,";
	unsigned mac_len = 0;
	size_t wanted_len;
	bool found = false;

	if (text == NULL)
		return false;
	memcpy(text, head.data, head.len);
	if (body.len > 0)
		memcpy(text + head.len, body.data, body.len);
	HMAC(EVP_sha256(), secret->key, secret->len, text, head.len + body.len, mac, &mac_len);
	free(text);
	wanted_len = 3 + hf_base64_encode(mac, mac_len, false, wanted + 3);
	while (signatures.len > 0) {
		const uint8_t *space = memchr(signatures.data, ' ', signatures.len);
		size_t len = space != NULL ? (size_t)(space - signatures.data) : signatures.len;

		found |= len == wanted_len && CRYPTO_memcmp(signatures.data, wanted, len) == 0;
		len += space != NULL;
		signatures = hf_bytes_of(signatures.data + len, signatures.len - len);
	}
	return found;
}

/* NULL when the request is what it says it is, or why not. */
static const char *distrust(const struct callback *callback, struct hf_http_exchange *exchange)
{
	struct hf_bytes id = hf_http_exchange_header(exchange, "webhook-id");
	struct hf_bytes stamp = hf_http_exchange_header(exchange, "webhook-timestamp");
	struct hf_bytes signatures = hf_http_exchange_header(exchange, "webhook-signature");
	uint64_t seconds, now = hf_loop_wall_ms(callback->loop) / 1000;
	char head[256];
	int len;

	if (!callback->has_secret)
		return NULL;
	if (id.len == 0 || id.len > 128 || signatures.len == 0 ||
	    hf_text_parse_uint((const char *)stamp.data, stamp.len, &seconds) < 0)
		return "a webhook- header is missing";
	if (seconds + SIGNATURE_AGE_S < now || seconds > now + SIGNATURE_AGE_S)
		return "the timestamp is too old or in the future";
	len = snprintf(head, sizeof(head), "%.*s.%" PRIu64 ".", (int)id.len, (const char *)id.data,
		       seconds);
	return is_signed(&callback->secret, signatures, hf_bytes_of(head, (size_t)len),
			 hf_http_exchange_body(exchange))
		       ? NULL
		       : "no signature fits";
}

/* Events */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "-";
}

static void print_event(const struct callback *callback, const json_t *event)
{
	json_int_t at_ms = json_integer_value(json_object_get(event, "at_ms"));
	const json_t *show = callback->json ? event : json_object_get(event, "data");
	char *text = json_dumps(show, JSON_COMPACT | JSON_ENCODE_ANY);
	time_t seconds = (time_t)(at_ms / 1000);
	char clock[16];
	struct tm tm;

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&seconds, &tm));
	if (callback->json)
		printf("%s\n", text != NULL ? text : "{}");
	else
		printf("%s.%03d %s %s %s\n", clock, (int)(at_ms % 1000), text_of(event, "type"),
		       text_of(event, "key"), text != NULL ? text : "{}");
	free(text);
}

/* What the first event that wants an answer of its own gets; NULL: none does. */
static char *own_answer(const struct callback *callback, const json_t *events)
{
	const json_t *event;
	size_t i;

	json_array_foreach(events, i, event)
	{
		json_t *data = json_object_get(event, "data"), *answer = NULL;
		const char *type = text_of(event, "type");
		char *text;

		if (strcmp(type, "webhook.test") == 0)
			answer = json_pack("{s:O?}", "challenge",
					   json_object_get(data, "challenge"));
		else if (callback->echo && strcmp(type, "upstream.request") == 0)
			answer = json_pack("{s:O?}", "echo", json_object_get(data, "payload"));
		if (answer == NULL)
			continue;
		text = json_dumps(answer, JSON_COMPACT);
		json_decref(answer);
		return text;
	}
	return NULL;
}

static void respond(struct hf_http_exchange *exchange, unsigned status, const char *text)
{
	hf_http_respond(exchange, status, text != NULL ? "application/json" : NULL, text,
			text != NULL ? strlen(text) : 0);
}

static void on_request(struct hf_http_exchange *exchange, void *ctx)
{
	const struct callback *callback = ctx;
	struct hf_bytes body = hf_http_exchange_body(exchange);
	const char *why = distrust(callback, exchange);
	json_t *document, *events, *event;
	char *own;
	size_t i;

	if (why != NULL) {
		printf("refused: %s\n", why);
		fflush(stdout);
		respond(exchange, 401, "{\"error\":\"signature\"}");
		return;
	}
	document = json_loadb((const char *)body.data, body.len, 0, NULL);
	events = json_object_get(document, "events");
	if (!json_is_array(events)) {
		printf("refused: not a callback's body\n");
		fflush(stdout);
		respond(exchange, 400, "{\"error\":\"body\"}");
		json_decref(document);
		return;
	}
	json_array_foreach(events, i, event) print_event(callback, event);
	fflush(stdout);
	own = own_answer(callback, events);
	respond(exchange, callback->status, own != NULL ? own : callback->answer);
	free(own);
	json_decref(document);
}

/* The process */

static void usage(const char *what, const char *value)
{
	fprintf(stderr, "hf-callback: %s '%s'; hf-callback --help tells more\n", what, value);
	exit(1);
}

static void take_secret(struct callback *callback, const char *text)
{
	if (hf_webhook_secret_parse(text, &callback->secret) < 0)
		usage("not a secret (whsec_ and base64 of 24 to 64 bytes):", text);
	callback->has_secret = true;
}

static void take_secret_file(struct callback *callback, const char *path)
{
	char line[256] = "";
	FILE *file = fopen(path, "re");

	if (file == NULL || fgets(line, sizeof(line), file) == NULL)
		usage("cannot read", path);
	fclose(file);
	line[strcspn(line, "\r\n")] = '\0';
	take_secret(callback, line);
}

static const char *parse(struct callback *callback, int argc, char **argv)
{
	static const struct option options[] = {
		{ "bind", required_argument, NULL, 'b' },
		{ "secret", required_argument, NULL, 's' },
		{ "secret-file", required_argument, NULL, 'f' },
		{ "status", required_argument, NULL, 'c' },
		{ "answer", required_argument, NULL, 'a' },
		{ "echo", no_argument, NULL, 'e' },
		{ "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *bind = "127.0.0.1:9000";
	json_t *answer;
	uint64_t status;
	int option;

	while ((option = getopt_long(argc, argv, "Vh", options, NULL)) != -1) {
		switch (option) {
		case 'b':
			bind = optarg;
			break;
		case 's':
			take_secret(callback, optarg);
			break;
		case 'f':
			take_secret_file(callback, optarg);
			break;
		case 'c':
			if (hf_text_parse_uint(optarg, strlen(optarg), &status) < 0 ||
			    status < 200 || status > 599)
				usage("--status must be 200 to 599, not", optarg);
			callback->status = (unsigned)status;
			break;
		case 'a':
			answer = json_loads(optarg, JSON_DECODE_ANY, NULL);
			if (answer == NULL)
				usage("--answer must be JSON, not", optarg);
			json_decref(answer);
			callback->answer = optarg;
			break;
		case 'e':
			callback->echo = true;
			break;
		case 'j':
			callback->json = true;
			break;
		case 'V':
			printf("hf-callback %s\n", HOLDFAST_VERSION);
			exit(0);
		case 'h':
			fputs(help, stdout);
			exit(0);
		default:
			exit(1);
		}
	}
	if (optind < argc)
		usage("what is", argv[optind]);
	return bind;
}

static void on_signal(evutil_socket_t number, short what, void *loop)
{
	hf_loop_stop(loop);
}

int main(int argc, char **argv)
{
	struct callback callback = { .status = 200 };
	const char *bind = parse(&callback, argc, argv);
	struct hf_http_server_options options = {
		.address = bind,
		.name = "callback",
		.body_max = BODY_MAX,
		.on_request = on_request,
		.ctx = &callback,
	};
	struct hf_metrics *metrics = hf_metrics_new();
	struct event *signals[2] = { 0 };
	struct hf_http_server *server = NULL;
	int err = -ENOMEM;

	callback.loop = hf_loop_new();
	if (callback.loop != NULL && metrics != NULL)
		err = hf_http_server_new(callback.loop, metrics, &options, &server);
	if (err < 0) {
		fprintf(stderr, "hf-callback: cannot listen on %s: %s\n", bind, strerror(-err));
		return 2;
	}
	signals[0] = evsignal_new(callback.loop->base, SIGTERM, on_signal, callback.loop);
	signals[1] = evsignal_new(callback.loop->base, SIGINT, on_signal, callback.loop);
	for (size_t i = 0; i < HF_ARRAY_LEN(signals); i++) {
		if (signals[i] != NULL)
			event_add(signals[i], NULL);
	}
	printf("listening on http://%s%s\n", hf_http_server_address(server),
	       callback.has_secret ? "" : ", signatures are not checked");
	fflush(stdout);
	hf_loop_run(callback.loop);

	for (size_t i = 0; i < HF_ARRAY_LEN(signals); i++) {
		if (signals[i] != NULL)
			event_free(signals[i]);
	}
	hf_http_server_free(server);
	hf_loop_free(callback.loop);
	hf_metrics_free(metrics);
	return 0;
}
