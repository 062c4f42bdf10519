/* sdk/c/hf-listen.c - a phone for the command line: attaches apps and prints what happens. */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_clock.h"
#include "hf_text.h"
#include "holdfast.h"
#include "listen_print.h"

#define STOP_FLUSH_MS 1000

/* As hfctl: 2 is not used here. */
enum {
	EXIT_DONE = 0,
	EXIT_USAGE = 1,
	EXIT_REFUSED = 3,
	EXIT_UNREACHABLE = 4,
	EXIT_TIMEOUT = 5,
	EXIT_PARTIAL = 6
};

struct listener {
	struct printer printer;
	const char *token_file;
	uint64_t count; /* messages to wait for; 0: no end */
	bool no_ack, once;
	uint64_t received;
	bool logged_in;
	bool refused;
	uint32_t app; /* --send goes there */
	struct {
		const char *type, *data;
	} sends[HF_CLIENT_SENDS_MAX];
	size_t send_count, results, not_taken;
	bool sent;
};

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
	signalled = 1;
}

static const char help[] =
	"usage: hf-listen [--dispatcher URL | --address HOST:PORT]... --app N --registration ID\n"
	"                 (--token T | --token-file F) [OPTION]...\n"
	"       hf-listen ... --attach APP:REGISTRATION:TOKEN [--attach ...] [OPTION]...\n"
	"Connects as a device does, and prints one line for each event. Ends by --count, "
	"--timeout,\n"
	"SIGINT or SIGTERM, or when the server refuses it for good.\n"
	"\n"
	"  --dispatcher URL        http://HOST:PORT or https://..., asked for servers; repeatable\n"
	"  --address HOST:PORT     a server, with or instead of dispatchers; repeatable\n"
	"  --app N                 app to attach\n"
	"  --registration ID       its registration id; a new random one by default\n"
	"  --token T               its token\n"
	"  --token-file F          file with its token; read again when the token was refused\n"
	"  --user ID, --tag TAG    of --app; --tag is repeatable\n"
	"  --attach APP:REG:TOKEN  one more app on the same connection; repeatable\n"
	"  --device ID             device id; a new random one by default\n"
	"  --network N             cellular, wifi or ethernet\n"
	"  --count N               stop after N messages (those that came twice count once)\n"
	"  --timeout D             stop after so long, like 10s or 5m\n"
	"  --once                  stop when the first connection has ended\n"
	"  --no-ack                never ack a message\n"
	"  --send TYPE:DATA        to the business of --app, once it is attached; repeatable; "
	"stops\n"
	"                          when all have their result, unless --count is there, too\n"
	"  --heartbeat D           beat at least so often\n"
	"  --first-retry D         longest wait after a cut (5s)\n"
	"  --backoff BASE,CAP      of the waits after that (1s,120s)\n"
	"  --tls                   use TLS\n"
	"  --ca FILE               authorities to trust, PEM; the system's by default\n"
	"  --tls-name NAME         name that the certificate must have; the host by default\n"
	"  --cache FILE            keep the servers that are known in this file\n"
	"  --json                  one JSON object a line, for programs\n"
	"  --stats                 print the counters at the end\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 done (--count reached; or stopped by a signal, or by --timeout without\n"
	"--count), 1 usage, 3 refused by the server, 4 never logged in before --timeout or --once\n"
	"ended it, 5 --timeout or --once came before --count messages or the results did,\n"
	"6 not every --send was taken.\n";

static void on_state(struct hf_client *client, const struct hf_client_status *status, void *ctx)
{
	struct listener *listener = ctx;

	print_state(&listener->printer, status);
	if (status->state == HF_CLIENT_CONNECTED)
		listener->logged_in = true;
	if (status->state == HF_CLIENT_STOPPED)
		listener->refused = true;
	if (status->state == HF_CLIENT_WAITING && listener->once)
		hf_client_stop(client, 0);
}

static void count_result(struct hf_client *client, struct listener *listener, int result)
{
	listener->results++;
	listener->not_taken += result != 0;
	if (listener->count == 0 && listener->results == listener->send_count)
		hf_client_stop(client, STOP_FLUSH_MS);
}

static void on_send_result(struct hf_client *client, uint32_t app, uint32_t sequence, int result,
			   const char *reason, void *ctx)
{
	struct listener *listener = ctx;

	print_send_result(&listener->printer, app, sequence, result, reason);
	count_result(client, listener, result);
}

static void on_app(struct hf_client *client, uint32_t app, unsigned code, const char *reason,
		   void *ctx)
{
	struct listener *listener = ctx;

	print_app(&listener->printer, app, code, reason);
	if (code != 0 || app != listener->app || listener->sent)
		return;
	listener->sent = true;
	for (size_t i = 0; i < listener->send_count; i++) {
		const char *type = listener->sends[i].type, *data = listener->sends[i].data;
		int result = hf_client_send(client, app, type, data, strlen(data));

		print_sent(&listener->printer, app, type, result);
		if (result < 0)
			count_result(client, listener, result);
	}
}

static void on_message(struct hf_client *client, const struct hf_client_message *message, void *ctx)
{
	struct listener *listener = ctx;

	print_message(&listener->printer, message);
	if (!message->redelivered)
		listener->received++;
	if (listener->count > 0 && listener->received >= listener->count)
		hf_client_stop(client, STOP_FLUSH_MS);
}

static void on_messages_lost(struct hf_client *client, uint32_t app, unsigned count, void *ctx)
{
	struct listener *listener = ctx;

	print_messages_lost(&listener->printer, app, count);
}

static void on_error(struct hf_client *client, enum hf_client_error error, const char *detail,
		     void *ctx)
{
	struct listener *listener = ctx;

	print_error(&listener->printer, error, detail);
}

/* The first line of the file. */
static bool read_token(const char *path, char *ret, size_t size)
{
	FILE *file = fopen(path, "re");
	bool ok = file != NULL && fgets(ret, (int)size, file) != NULL;

	if (file != NULL)
		fclose(file);
	if (ok)
		ret[strcspn(ret, "\r\n")] = '\0';
	return ok;
}

static void on_token_needed(struct hf_client *client, uint32_t app, unsigned code, void *ctx)
{
	struct listener *listener = ctx;
	char token[4096];

	print_token_needed(&listener->printer, app, code);
	if (listener->token_file != NULL && read_token(listener->token_file, token, sizeof(token)))
		(void)hf_client_set_token(client, app, token);
}

static _Noreturn void usage_error(const char *what, const char *value)
{
	fprintf(stderr, "hf-listen: %s%s%s\nTry --help.\n", what, value != NULL ? ": " : "",
		value != NULL ? value : "");
	exit(EXIT_USAGE);
}

static uint64_t parse_number(const char *text, uint64_t max, const char *name)
{
	uint64_t value;

	if (hf_text_parse_uint(text, strlen(text), &value) < 0 || value > max)
		usage_error(name, text);
	return value;
}

static unsigned parse_ms(const char *text, const char *name)
{
	uint64_t ms;

	if (hf_text_parse_duration(text, 1000, &ms) < 0 || ms > INT32_MAX)
		usage_error(name, text);
	return (unsigned)ms;
}

struct options {
	struct hf_client_config config;
	const char *dispatchers[8], *addresses[8];
	struct hf_client_app apps[HF_CLIENT_APPS_MAX];
	size_t app_count;
	struct hf_client_app main_app; /* of --app */
	const char *tags[HF_CLIENT_TAGS_MAX];
	char token[4096];
	char device[HF_CLIENT_KEY_SIZE];
	int timeout_ms; /* -1: none */
	bool stats;
};

/* APP:REGISTRATION:TOKEN; a registration may hold colons, a token never does. Cuts `text` up. */
static void parse_attach(char *text, struct options *options)
{
	char *first = strchr(text, ':'), *last = strrchr(text, ':');
	struct hf_client_app *app;

	if (first == NULL || first == last)
		usage_error("--attach wants APP:REGISTRATION:TOKEN, not", text);
	if (options->app_count == HF_CLIENT_APPS_MAX)
		usage_error("too many apps", NULL);
	*first = *last = '\0';
	app = &options->apps[options->app_count++];
	app->app = (uint32_t)parse_number(text, UINT32_MAX, "--attach");
	app->registration = first + 1;
	app->token = last + 1;
}

/* TYPE:DATA; data may hold colons. Cuts `text` up. */
static void parse_send(char *text, struct listener *listener)
{
	char *colon = strchr(text, ':');

	if (colon == NULL)
		usage_error("--send wants TYPE:DATA, not", text);
	if (listener->send_count == HF_CLIENT_SENDS_MAX)
		usage_error("too many times", "--send");
	*colon = '\0';
	listener->sends[listener->send_count].type = text;
	listener->sends[listener->send_count++].data = colon + 1;
}

static enum hf_client_network parse_network(const char *text)
{
	static const char *const names[] = { "unknown", "cellular", "wifi", "ethernet" };

	for (unsigned i = 0; i < HF_ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum hf_client_network)i;
	}
	usage_error("--network", text);
}

static void parse_backoff(char *text, struct hf_client_config *config)
{
	char *comma = strchr(text, ',');

	if (comma == NULL)
		usage_error("--backoff wants BASE,CAP, not", text);
	*comma = '\0';
	config->backoff_base_ms = parse_ms(text, "--backoff");
	config->backoff_cap_ms = parse_ms(comma + 1, "--backoff");
}

enum {
	OPT_DISPATCHER = 256,
	OPT_ADDRESS,
	OPT_APP,
	OPT_REGISTRATION,
	OPT_TOKEN,
	OPT_TOKEN_FILE,
	OPT_USER,
	OPT_TAG,
	OPT_ATTACH,
	OPT_DEVICE,
	OPT_NETWORK,
	OPT_COUNT,
	OPT_TIMEOUT,
	OPT_ONCE,
	OPT_NO_ACK,
	OPT_SEND,
	OPT_HEARTBEAT,
	OPT_FIRST_RETRY,
	OPT_BACKOFF,
	OPT_TLS,
	OPT_CA,
	OPT_TLS_NAME,
	OPT_CACHE,
	OPT_JSON,
	OPT_STATS,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "dispatcher", required_argument, NULL, OPT_DISPATCHER },
	{ "address", required_argument, NULL, OPT_ADDRESS },
	{ "app", required_argument, NULL, OPT_APP },
	{ "registration", required_argument, NULL, OPT_REGISTRATION },
	{ "token", required_argument, NULL, OPT_TOKEN },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "user", required_argument, NULL, OPT_USER },
	{ "tag", required_argument, NULL, OPT_TAG },
	{ "attach", required_argument, NULL, OPT_ATTACH },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "network", required_argument, NULL, OPT_NETWORK },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "no-ack", no_argument, NULL, OPT_NO_ACK },
	{ "send", required_argument, NULL, OPT_SEND },
	{ "heartbeat", required_argument, NULL, OPT_HEARTBEAT },
	{ "first-retry", required_argument, NULL, OPT_FIRST_RETRY },
	{ "backoff", required_argument, NULL, OPT_BACKOFF },
	{ "tls", no_argument, NULL, OPT_TLS },
	{ "ca", required_argument, NULL, OPT_CA },
	{ "tls-name", required_argument, NULL, OPT_TLS_NAME },
	{ "cache", required_argument, NULL, OPT_CACHE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static void add(const char **list, size_t *count, size_t max, const char *what)
{
	if (*count == max)
		usage_error("too many times", what);
	list[(*count)++] = optarg;
}

/* Options about the apps. */
static bool parse_app_option(int option, struct options *o, struct listener *listener)
{
	switch (option) {
	case OPT_APP:
		o->main_app.app = (uint32_t)parse_number(optarg, UINT32_MAX, "--app");
		return true;
	case OPT_REGISTRATION:
		o->main_app.registration = optarg;
		return true;
	case OPT_TOKEN:
		o->main_app.token = optarg;
		return true;
	case OPT_TOKEN_FILE:
		listener->token_file = optarg;
		if (!read_token(optarg, o->token, sizeof(o->token)))
			usage_error("--token-file can't be read", optarg);
		o->main_app.token = o->token;
		return true;
	case OPT_SEND:
		parse_send(optarg, listener);
		return true;
	case OPT_USER:
		o->main_app.user_id = optarg;
		return true;
	case OPT_TAG:
		add(o->tags, &o->main_app.tag_count, HF_ARRAY_LEN(o->tags), "--tag");
		return true;
	case OPT_ATTACH:
		parse_attach(optarg, o);
		return true;
	default:
		return false;
	}
}

/* Options about the connection. */
static bool parse_line_option(int option, struct options *o)
{
	struct hf_client_config *config = &o->config;

	switch (option) {
	case OPT_DISPATCHER:
		add(o->dispatchers, &config->dispatcher_count, HF_ARRAY_LEN(o->dispatchers),
		    "--dispatcher");
		return true;
	case OPT_ADDRESS:
		add(o->addresses, &config->address_count, HF_ARRAY_LEN(o->addresses), "--address");
		return true;
	case OPT_DEVICE:
		config->device = optarg;
		return true;
	case OPT_NETWORK:
		config->network = parse_network(optarg);
		return true;
	case OPT_HEARTBEAT:
		config->heartbeat_max_s = parse_ms(optarg, "--heartbeat") / 1000;
		return true;
	case OPT_FIRST_RETRY:
		config->first_retry_ms = parse_ms(optarg, "--first-retry");
		return true;
	case OPT_BACKOFF:
		parse_backoff(optarg, config);
		return true;
	case OPT_TLS:
		config->tls = 1;
		return true;
	case OPT_CA:
		config->ca_file = optarg;
		return true;
	case OPT_TLS_NAME:
		config->tls_name = optarg;
		return true;
	case OPT_CACHE:
		config->cache_file = optarg;
		return true;
	default:
		return false;
	}
}

static void parse_other_option(int option, struct options *o, struct listener *listener)
{
	switch (option) {
	case OPT_COUNT:
		listener->count = parse_number(optarg, UINT32_MAX, "--count");
		break;
	case OPT_TIMEOUT:
		o->timeout_ms = (int)parse_ms(optarg, "--timeout");
		break;
	case OPT_ONCE:
		listener->once = true;
		break;
	case OPT_NO_ACK:
		listener->no_ack = true;
		break;
	case OPT_JSON:
		listener->printer.json = true;
		break;
	case OPT_STATS:
		o->stats = true;
		break;
	case OPT_HELP:
		fputs(help, stdout);
		exit(EXIT_DONE);
	case OPT_VERSION:
		printf("hf-listen %s\n", hf_client_version());
		exit(EXIT_DONE);
	default:
		usage_error("unknown option, or an option without its value", NULL);
	}
}

static void parse_options(int argc, char **argv, struct options *o, struct listener *listener)
{
	int option;

	hf_client_config_init(&o->config);
	hf_client_random_id(o->device);
	o->config.device = o->device;
	o->config.dispatchers = o->dispatchers;
	o->config.addresses = o->addresses;
	o->timeout_ms = -1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (!parse_app_option(option, o, listener) && !parse_line_option(option, o))
			parse_other_option(option, o, listener);
	}
	if (optind < argc)
		usage_error("what is this", argv[optind]);
	if (o->main_app.app != 0) {
		if (o->app_count == HF_CLIENT_APPS_MAX)
			usage_error("too many apps", NULL);
		o->main_app.tags = o->tags;
		o->apps[o->app_count++] = o->main_app;
	}
	if (o->app_count == 0)
		usage_error("no --app and no --attach", NULL);
	if (listener->send_count > 0 && o->main_app.app == 0)
		usage_error("--send needs --app", NULL);
	listener->app = o->main_app.app;
	o->config.auto_ack = !listener->no_ack;
	o->config.ctx = listener;
	o->config.callbacks = (struct hf_client_callbacks){
		.on_state = on_state,
		.on_app = on_app,
		.on_message = on_message,
		.on_messages_lost = on_messages_lost,
		.on_token_needed = on_token_needed,
		.on_error = on_error,
		.on_send_result = on_send_result,
	};
}

static struct hf_client *make_client(const struct options *o)
{
	struct hf_client *client;
	int err = hf_client_new(&o->config, &client);

	if (err < 0)
		usage_error("can't make a client", hf_client_strerror(err));
	for (size_t i = 0; i < o->app_count; i++) {
		err = hf_client_attach(client, &o->apps[i]);
		if (err < 0)
			usage_error("can't attach an app", hf_client_strerror(err));
	}
	return client;
}

/* Until there is a reason to end. Signals come during the wait only, so that none is missed. */
static void run(struct hf_client *client, int timeout_ms, const sigset_t *waiting)
{
	uint64_t until_ms = hf_clock_monotonic_ms() + (uint64_t)HF_MAX(timeout_ms, 0), now;
	struct pollfd poll_fd = { .fd = hf_client_fd(client), .events = POLLIN };
	struct hf_client_status status;

	for (;;) {
		struct timespec wait;
		int wait_ms;

		hf_client_process(client);
		hf_client_status(client, &status);
		now = hf_clock_monotonic_ms();
		if (signalled || status.state == HF_CLIENT_STOPPED ||
		    (timeout_ms >= 0 && now >= until_ms))
			break;
		wait_ms = hf_client_next_timeout_ms(client);
		if (timeout_ms >= 0 && (wait_ms < 0 || (uint64_t)wait_ms > until_ms - now))
			wait_ms = (int)(until_ms - now);
		wait.tv_sec = wait_ms / 1000;
		wait.tv_nsec = wait_ms % 1000 * 1000000L;
		ppoll(&poll_fd, 1, wait_ms < 0 ? NULL : &wait, waiting);
	}
	hf_client_stop(client, STOP_FLUSH_MS);
}

static int exit_status(const struct listener *listener)
{
	bool all_sent = listener->results == listener->send_count;

	if (all_sent && listener->not_taken > 0)
		return EXIT_PARTIAL;
	if (listener->count > 0 ? listener->received >= listener->count
				: listener->send_count > 0 && all_sent)
		return EXIT_DONE;
	if (listener->refused)
		return EXIT_REFUSED;
	if (signalled)
		return EXIT_DONE;
	if (!listener->logged_in)
		return EXIT_UNREACHABLE;
	return listener->count > 0 || listener->send_count > 0 ? EXIT_TIMEOUT : EXIT_DONE;
}

int main(int argc, char **argv)
{
	static struct options options;
	static struct listener listener;
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t ours, before;
	struct hf_client *client;
	char *diag;

	parse_options(argc, argv, &options, &listener);
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigprocmask(SIG_BLOCK, &ours, &before);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	client = make_client(&options);
	for (size_t i = 0; i < options.app_count; i++)
		print_start(&listener.printer, options.apps[i].app,
			    hf_client_registration(client, options.apps[i].app),
			    options.config.device);
	hf_client_start(client);
	run(client, options.timeout_ms, &before);
	if (options.stats && (diag = hf_client_diag_json(client)) != NULL) {
		printf("{\"event\":\"stats\",\"client\":%s}\n", diag);
		free(diag);
	}
	hf_client_free(client);
	return exit_status(&listener);
}
