/* The options are a table: parsing, bounds and --help read it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "hf_text.h"
#include "hf_wire.h"

enum type {
	TYPE_STRING,
	TYPE_UINT,
	TYPE_SIZE,
	TYPE_SECONDS,
	TYPE_MSEC,
	TYPE_NUMBER,
	TYPE_FLAG,
	TYPE_SWITCH,
	TYPE_RANGE,
	TYPE_SHARE,
	TYPE_CHURN,
	TYPE_LIST
};

struct option {
	const char *name;
	char letter;
	enum type type;
	size_t at;
	const char *preset;
	unsigned commands;
	const char *value, *help;
};

#define AT(member)  offsetof(struct options, member)
#define WHO         (COMMANDS_CLIENT | COMMAND_PUSH)
#define HELP_COLUMN 38
#define HELP_WIDTH  100
#define PREFIX_MAX  24 /* a tag is 40 bytes at most: this, "tag-", and a number below 10^8 */

static const struct option table[] = {
	{ "addr", 'a', TYPE_LIST, AT(addresses), NULL, COMMANDS_CLIENT, "HOST:PORT[,..]",
	  "rooms; clients are spread over them" },
	{ "dispatcher", 0, TYPE_STRING, AT(dispatcher), NULL, COMMANDS_CLIENT, "URL",
	  "ask a dispatcher for the rooms, instead of --addr" },
	{ "url", 'u', TYPE_STRING, AT(url), NULL, COMMANDS_LOAD, "URL",
	  "push: center, as http://127.0.0.1:8080; http: what to request" },
	{ "app", 'A', TYPE_UINT, AT(app), "1", WHO, "ID", "the app" },
	{ "key-file", 0, TYPE_STRING, AT(key_file), NULL, COMMANDS_LOAD, "FILE",
	  "API key, one line ID.SECRET" },
	{ "token-key-id", 0, TYPE_STRING, AT(token_key_id), NULL, COMMANDS_CLIENT, "ID",
	  "sign client tokens with this key of the app" },
	{ "token-secret-file", 0, TYPE_STRING, AT(token_secret_file), NULL, COMMANDS_CLIENT, "FILE",
	  "its secret, base64 as the API shows it" },
	{ "token-file", 0, TYPE_STRING, AT(token_file), NULL, COMMANDS_CLIENT, "FILE",
	  "ready tokens instead, one a line, the first for --startnumber" },
	{ "count", 'c', TYPE_UINT, AT(count), "1000", WHO, "N",
	  "clients; push: registrations to choose from" },
	{ "startnumber", 'n', TYPE_UINT, AT(start_number), "0", WHO, "N",
	  "number of the first client" },
	{ "prefix", 0, TYPE_STRING, AT(prefix), "bench-", WHO, "TEXT",
	  "registration and device are TEXT and the client's number" },
	{ "kind", 0, TYPE_STRING, AT(kind), "unicast", COMMAND_PUSH, "unicast|user|tag|broadcast",
	  "whom each message is for: a registration, a user, who has a tag, or all of the app, "
	  "other people's devices included" },
	{ "tags", 0, TYPE_UINT, AT(tags), "0", WHO, "N",
	  "clients carry one of N tags, client i the tag PREFIXtag-(i mod N); push: tags to choose "
	  "from" },
	{ "users", 0, TYPE_UINT, AT(users), "0", WHO, "N",
	  "clients belong to one of N users, client i to PREFIXuser-(i mod N); push: likewise" },
	{ "connrate", 'R', TYPE_NUMBER, AT(connect_rate), "1000", COMMANDS_CLIENT, "N",
	  "connections begun a second, open loop" },
	{ "ramp", 0, TYPE_STRING, AT(ramp), NULL, COMMANDS_CLIENT, "N:TIME[,..]",
	  "instead of --count and --connrate: to N clients within TIME, then to the next N, and so "
	  "on; down too: 0:60s,5000:5m,5000:1h,0:10s" },
	{ "churn", 0, TYPE_CHURN, AT(churn), "0%", COMMANDS_CLIENT, "PERCENT/s|m|h",
	  "share of the clients that lose their connection and come back, evenly over time, as "
	  "0.5%/m; from when all have been begun" },
	{ "slow", 0, TYPE_SHARE, AT(slow_share), "0%", COMMANDS_CLIENT, "PERCENT",
	  "clients that read 256 bytes a second; their times are in deliver_slow, and a server "
	  "that "
	  "has had enough cuts them (4102, as far as they get to read it)" },
	{ "loss-app", 0, TYPE_SHARE, AT(loss_app), "0%", COMMANDS_CLIENT, "PERCENT",
	  "stored messages that a client loses before it acks: not counted as received until "
	  "they come again" },
	{ "net", 0, TYPE_STRING, AT(net), "wifi", COMMANDS_CLIENT, "wifi|cell|ethernet",
	  "the network that LOGIN names" },
	{ "ifaddr", 0, TYPE_LIST, AT(ifaddrs), NULL, COMMANDS_CLIENT, "IP[,..]",
	  "source addresses, some 14,000 connections to a room each; on the "
	  "loopback they are chosen when not given" },
	{ "processes", 't', TYPE_UINT, AT(processes), "0", COMMANDS_RUN, "N",
	  "worker processes; 0: as many as descriptors demand" },
	{ "duration", 'd', TYPE_MSEC, AT(duration_ms), "10s", COMMANDS_RUN, "TIME",
	  "clients: after the last connection is begun; push, http: of the run; 0: until "
	  "interrupted" },
	{ "keepalive", 'k', TYPE_SECONDS, AT(heartbeat_s), "0", COMMANDS_CLIENT, "SECONDS",
	  "heartbeat to ask for; 0: the server's" },
	{ "retry", 0, TYPE_SWITCH, AT(retry), "on", COMMANDS_CLIENT, "on|off",
	  "whoever fails, is closed or cut comes back, as the SDKs do: after a back-off, and not "
	  "before the time that BYE names" },
	{ "resume", 0, TYPE_SWITCH, AT(resume), "off", COMMANDS_CLIENT, "on|off",
	  "after a cut, show the ticket of the last login to get its sessions back; storm cuts "
	  "then, without BYE" },
	{ "first-retry", 0, TYPE_MSEC, AT(first_retry_ms), "5s", COMMANDS_CLIENT, "TIME",
	  "longest wait after the cut of a connection that was logged in" },
	{ "backoff", 0, TYPE_RANGE, AT(backoff), "1s,120s", COMMANDS_CLIENT, "BASE,CAP",
	  "of the waits otherwise: random, up to BASE * 2^failures, up to CAP" },
	{ "login-timeout", 0, TYPE_MSEC, AT(login_timeout_ms), "20s", COMMANDS_CLIENT, "TIME",
	  "from connect() to LOGIN_ACK; what takes longer has failed" },
	{ "tls", 'S', TYPE_FLAG, AT(tls), NULL, COMMANDS_CLIENT, NULL,
	  "TLS; without --ca-file nobody's certificate is checked" },
	{ "ca-file", 0, TYPE_STRING, AT(ca_file), NULL, COMMANDS_CLIENT, "FILE",
	  "PEM; with --tls: who may sign the rooms' certificates" },
	{ "no-ack", 0, TYPE_FLAG, AT(no_ack), NULL, COMMANDS_CLIENT, NULL, "never ack" },
	{ "expect", 0, TYPE_UINT, AT(expect), "0", COMMAND_RECV | COMMAND_STORM, "N",
	  "end once N messages came; fewer at the end count as lost" },
	{ "rate", 'r', TYPE_NUMBER, AT(rate), "100", COMMANDS_LOAD | COMMAND_UPSTREAM, "N",
	  "requests, or messages of clients, a second, open loop; push and http: 0 is a closed "
	  "loop, "
	  "as fast as answers come" },
	{ "size", 's', TYPE_SIZE, AT(size), "256", COMMAND_PUSH | COMMAND_UPSTREAM, "BYTES",
	  "payload, its 32 byte head included" },
	{ "type", 0, TYPE_STRING, AT(forward_type), "bench", COMMAND_UPSTREAM, "NAME",
	  "forward type of the messages" },
	{ "qos", 'q', TYPE_UINT, AT(qos), "1", COMMAND_PUSH, "0|1", "1: stored and acked" },
	{ "ttl", 0, TYPE_UINT, AT(ttl_s), "3600", COMMAND_PUSH, "SECONDS",
	  "of each message; --qos 0 has none" },
	{ "batch", 0, TYPE_UINT, AT(batch), "1", COMMAND_PUSH, "N",
	  "messages a request, up to 1000; --rate counts requests; for --kind unicast" },
	{ "wait", 0, TYPE_STRING, AT(wait), "none", COMMAND_PUSH, "none|routed|acked",
	  "what the answer waits for; for --kind unicast and user" },
	{ "connections", 'C', TYPE_UINT, AT(connections), "8", COMMANDS_LOAD, "N",
	  "HTTP connections" },
	{ "pipeline", 'P', TYPE_UINT, AT(pipeline), "16", COMMANDS_LOAD, "N",
	  "requests in flight on each" },
	{ "method", 'X', TYPE_STRING, AT(method), "GET", COMMAND_HTTP, "NAME", "HTTP method" },
	{ "body", 0, TYPE_STRING, AT(body), NULL, COMMAND_HTTP, "TEXT", "body of each request" },
	{ "content-type", 0, TYPE_STRING, AT(content_type), "application/json", COMMAND_HTTP,
	  "TYPE", "of the body" },
	{ "waves", 0, TYPE_UINT, AT(waves), "1", COMMAND_STORM, "N", "how often clients drop" },
	{ "fraction", 0, TYPE_NUMBER, AT(fraction), "0.5", COMMAND_STORM, "0..1",
	  "share of clients that drop" },
	{ "settle", 0, TYPE_MSEC, AT(settle_ms), "5s", COMMAND_STORM, "TIME",
	  "quiet time before the first wave, measured too" },
	{ "wave-every", 0, TYPE_MSEC, AT(wave_every_ms), "20s", COMMAND_STORM, "TIME",
	  "from wave to wave" },
	{ "reconnect-rate", 0, TYPE_NUMBER, AT(reconnect_rate), "0", COMMAND_STORM, "N",
	  "reconnections begun a second; 0: all at once" },
	{ "reset", 0, TYPE_FLAG, AT(reset), NULL, COMMAND_STORM, NULL,
	  "drop with RST, as a crashed client does" },
	{ "out", 'o', TYPE_STRING, AT(out), NULL, COMMANDS_RUN | COMMAND_MERGE, "DIR",
	  "write summary, time series, histograms and report.html there" },
	{ "fail-if", 0, TYPE_LIST, AT(fail_if), NULL, COMMANDS_RUN | COMMAND_MERGE, "TEST",
	  "exit 99 if true, as deliver.p99>200ms or lost>0; repeatable" },
	{ "interval", 0, TYPE_MSEC, AT(interval_ms), "1s", COMMANDS_RUN, "TIME",
	  "between two progress lines, and two rows of timeseries.csv" },
	{ "lag-limit", 0, TYPE_MSEC, AT(lag_limit_ms), "20ms", COMMANDS_RUN, "TIME",
	  "the run is invalid when the workers' own p99 lag is above this" },
	{ "format", 0, TYPE_STRING, AT(format), "text", COMMAND_REPORT, "text|json|html",
	  "what to print" },
	{ "stats-file", 0, TYPE_STRING, AT(stats_file), NULL, COMMANDS_RUN, "FILE",
	  "keep the live counters in FILE, for a program that maps it" },
	{ "prom", 0, TYPE_STRING, AT(prom), NULL, COMMANDS_RUN, "HOST:PORT",
	  "serve the counters so far there, at /metrics, for Prometheus; port 0: any" },
	{ "clock", 0, TYPE_STRING, AT(clock), NULL, COMMANDS_RUN, "URL",
	  "when recv and push are on two machines: measure this one's clock against that HTTP "
	  "server's, 4 s before the run and 4 s after it; the same URL for both" },
	{ "server-metrics", 0, TYPE_LIST, AT(server_metrics), NULL, COMMANDS_RUN, "URL[,..]",
	  "metrics pages of the servers under load: tells their CPU, and memory a connection" },
	{ "no-color", 0, TYPE_FLAG, AT(no_color), NULL, COMMANDS_RUN | COMMAND_MERGE, NULL,
	  "no colors on a terminal; the variable NO_COLOR says the same" },
	{ "quiet", 0, TYPE_FLAG, AT(quiet), NULL, COMMANDS_RUN, NULL, "no progress lines" },
};

static int refuse(const char *name, const char *what)
{
	fprintf(stderr, "hf-bench: --%s: %s\n", name, what);
	return EXIT_USAGE;
}

static bool split_into(struct list *list, const char *text, bool by_comma)
{
	char *copy = strdup(text), *rest = copy, *item;

	if (copy == NULL)
		return false;
	if (!by_comma) {
		if (list->count == LIST_MAX)
			return false;
		list->items[list->count++] = copy;
		return true;
	}
	while ((item = strsep(&rest, ",")) != NULL) {
		if (*item == '\0')
			continue;
		if (list->count == LIST_MAX)
			return false;
		list->items[list->count++] = item;
	}
	return true;
}

/* "BASE,CAP" */
static int set_range(const struct option *option, struct wait_range *to, const char *text)
{
	char base[32];
	size_t len = strcspn(text, ",");
	uint64_t base_ms, cap_ms;

	snprintf(base, sizeof(base), "%.*s", (int)HF_MIN(len, sizeof(base) - 1), text);
	if (text[len] != ',' || hf_text_parse_duration(base, 1000, &base_ms) < 0 ||
	    hf_text_parse_duration(text + len + 1, 1000, &cap_ms) < 0)
		return refuse(option->name, "two times are expected, as 1s,120s");
	if (base_ms < 1 || cap_ms < base_ms || cap_ms > 3600000)
		return refuse(option->name, "is at least 1ms, at most 1h, the smaller one first");
	*to = (struct wait_range){ (uint32_t)base_ms, (uint32_t)cap_ms };
	return 0;
}

/* "0.5%", as a share of 1. Returns what follows, or NULL. */
static const char *parse_percent(const char *text, double *ret)
{
	char *end;

	*ret = strtod(text, &end) / 100;
	return end == text || *end != '%' || !(*ret >= 0) || *ret > 1 ? NULL : end + 1;
}

/* "0.5%/m", as a share a second. */
static int set_churn(const struct option *option, double *to, const char *text)
{
	const char *rest = parse_percent(text, to);

	if (rest == NULL)
		return refuse(option->name, "a share is expected, 0% to 100%, as 0.5%/m");
	if (strcmp(rest, "/m") == 0)
		*to /= 60;
	else if (strcmp(rest, "/h") == 0)
		*to /= 3600;
	else if (strcmp(rest, "/s") != 0 && (*rest != '\0' || *to > 0))
		return refuse(option->name, "is a share each /s, /m or /h, as 0.5%/m");
	return 0;
}

static int set_share(const struct option *option, double *to, const char *text)
{
	const char *rest = parse_percent(text, to);

	if (rest == NULL || *rest != '\0')
		return refuse(option->name, "a share is expected, 0% to 100%, as 1%");
	return 0;
}

static int set(const struct option *option, struct options *options, const char *text)
{
	void *to = (char *)options + option->at;
	char *end;

	switch (option->type) {
	case TYPE_STRING:
		free(*(char **)to); /* the preset */
		*(char **)to = strdup(text);
		return *(char **)to == NULL ? EXIT_USAGE : 0;
	case TYPE_UINT:
	case TYPE_SECONDS:
		if (hf_text_parse_uint(text, strlen(text), to) < 0)
			return refuse(option->name, "a number is expected");
		return 0;
	case TYPE_SIZE:
		if (hf_text_parse_size(text, to) < 0)
			return refuse(option->name, "a size is expected, as 256 or 4KiB");
		return 0;
	case TYPE_MSEC:
		if (hf_text_parse_duration(text, 1000, to) < 0)
			return refuse(option->name, "a time is expected, as 10s");
		return 0;
	case TYPE_NUMBER:
		*(double *)to = strtod(text, &end);
		if (end == text || *end != '\0' || !(*(double *)to >= 0) || *(double *)to > 1e9)
			return refuse(option->name, "a number is expected");
		return 0;
	case TYPE_FLAG:
		*(bool *)to = true;
		return 0;
	case TYPE_SWITCH:
		*(bool *)to = strcmp(text, "on") == 0;
		if (!*(bool *)to && strcmp(text, "off") != 0)
			return refuse(option->name, "is on or off");
		return 0;
	case TYPE_RANGE:
		return set_range(option, to, text);
	case TYPE_SHARE:
		return set_share(option, to, text);
	case TYPE_CHURN:
		return set_churn(option, to, text);
	default:
		if (!split_into(to, text, option->at != AT(fail_if)))
			return refuse(option->name, "too many");
		return 0;
	}
}

static const struct option *find(const char *word, size_t len, unsigned command)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
		bool match = len == 2 && word[0] == '-'
				     ? table[i].letter != 0 && table[i].letter == word[1]
				     : len > 2 && strlen(table[i].name) == len - 2 &&
					       strncmp(table[i].name, word + 2, len - 2) == 0;

		if (match && (table[i].commands & command))
			return &table[i];
	}
	return NULL;
}

static int check_ramp(struct options *o)
{
	int err;

	if (o->ramp == NULL) {
		shape_line(&o->shape, o->count, o->connect_rate);
		return 0;
	}
	err = shape_parse(&o->shape, o->ramp);
	if (err == -E2BIG)
		return refuse("ramp", "has at most 32 stages");
	if (err < 0)
		return refuse("ramp", "is N:TIME[,..], as 0:60s,5000:5m; N at most 100000000, "
				      "TIME at most 30d");
	if (shape_peak(&o->shape) == 0)
		return refuse("ramp", "never gets above 0");
	if (o->command == COMMAND_STORM && shape_falls(&o->shape))
		return refuse("ramp", "may not go down in a storm");
	o->count = shape_peak(&o->shape);
	return 0;
}

/* A wave that begins while clients of the one before it are still away would take these for lost.
 */
static int check_storm(const struct options *o)
{
	double back_ms = o->reconnect_rate > 0
				 ? (double)o->count * o->fraction / o->reconnect_rate * 1e3
				 : 0;

	if (o->waves < 1 || o->waves > WAVES_MAX)
		return refuse("waves", "is 1 to 32");
	if (o->waves > 1 && back_ms >= (double)o->wave_every_ms)
		return refuse("wave-every", "is too short for all to come back in, at this "
					    "--reconnect-rate");
	return 0;
}

static int check_clients(struct options *o)
{
	int err;

	if ((o->addresses.count > 0) == (o->dispatcher != NULL))
		return refuse("addr", "give either --addr or --dispatcher");
	if ((o->token_file != NULL) == (o->token_key_id != NULL))
		return refuse("token-key-id", "give a key and its secret, or --token-file");
	if (o->token_key_id != NULL && o->token_secret_file == NULL)
		return refuse("token-secret-file", "is needed with --token-key-id");
	if (o->connect_rate <= 0)
		return refuse("connrate", "must be above 0");
	if (o->ca_file != NULL && !o->tls)
		return refuse("ca-file", "is for --tls");
	if (o->ca_file != NULL && access(o->ca_file, R_OK) < 0)
		return refuse("ca-file", strerror(errno));
	if (o->fraction > 1)
		return refuse("fraction", "is at most 1");
	if (o->login_timeout_ms < 100 || o->login_timeout_ms > 3600000)
		return refuse("login-timeout", "is 100ms to 1h");
	if (o->first_retry_ms > 3600000)
		return refuse("first-retry", "is at most 1h");
	if (strcmp(o->net, "wifi") != 0 && strcmp(o->net, "cell") != 0 &&
	    strcmp(o->net, "ethernet") != 0)
		return refuse("net", "is wifi, cell or ethernet");
	if (o->heartbeat_s > 86400)
		return refuse("keepalive", "is at most 86400 seconds");
	err = check_ramp(o);
	return err == 0 && o->command == COMMAND_STORM ? check_storm(o) : err;
}

static int check_messages(const struct options *o)
{
	if (o->size < PAYLOAD_HEAD || o->size > 65536)
		return refuse("size", "is 32 to 65536 bytes");
	if (o->command == COMMAND_PUSH)
		return 0;
	if (o->rate <= 0)
		return refuse("rate", "must be above 0");
	if (strlen(o->forward_type) < 1 || strlen(o->forward_type) > HF_WIRE_LABEL_MAX)
		return refuse("type", "is 1 to 32 bytes");
	return 0;
}

static int check_push(const struct options *o)
{
	enum kind kind;

	if (o->key_file == NULL)
		return refuse("key-file", "is needed");
	if (o->qos > 1)
		return refuse("qos", "is 0 or 1");
	if (o->batch < 1 || o->batch > 1000)
		return refuse("batch", "is 1 to 1000");
	if (kind_of(o->kind) < 0)
		return refuse("kind", "is unicast, user, tag or broadcast");
	kind = (enum kind)kind_of(o->kind);
	if (kind == KIND_TAG && o->tags == 0)
		return refuse("tags", "is needed with --kind tag, and the same for the clients");
	if (kind == KIND_USER && o->users == 0)
		return refuse("users", "is needed with --kind user, and the same for the clients");
	if (kind != KIND_UNICAST && o->batch > 1)
		return refuse("batch", "is for --kind unicast");
	if (kind >= KIND_TAG && strcmp(o->wait, "none") != 0)
		return refuse("wait", "is for --kind unicast and user");
	if (o->processes > groups_count(o, kind))
		return refuse("processes", "more than there are groups to send to");
	if (strcmp(o->wait, "none") != 0 && strcmp(o->wait, "routed") != 0 &&
	    strcmp(o->wait, "acked") != 0)
		return refuse("wait", "is none, routed or acked");
	return 0;
}

static int check_load(const struct options *o)
{
	if (o->url == NULL)
		return refuse("url", "is needed");
	if (o->connections < 1 || o->connections > 10000 || o->pipeline < 1 || o->pipeline > 1024)
		return refuse("connections", "1 to 10000, with a --pipeline of 1 to 1024");
	return o->command == COMMAND_PUSH ? check_push(o) : 0;
}

/* The id range that clients and push share. */
static int check_who(const struct options *o)
{
	if (o->count < 1 || o->count > 100000000)
		return refuse("count", "is 1 to 100000000");
	if (o->tags > o->count || o->users > o->count)
		return refuse(o->tags > o->count ? "tags" : "users", "is at most --count");
	if (strlen(o->prefix) > PREFIX_MAX)
		return refuse("prefix", "is at most 24 bytes");
	return 0;
}

static int check_run(struct options *o)
{
	struct rlimit limit;
	uint64_t per_process;

	if (o->interval_ms < 100 || o->interval_ms > 3600000)
		return refuse("interval", "is 100ms to 1h");
	if (o->processes > WORKERS_MAX)
		return refuse("processes", "is at most 256");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	per_process = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 100
			      ? (uint64_t)limit.rlim_cur - 64
			      : 1000;
	if (o->processes == 0)
		o->processes = 1;
	if (o->command & COMMANDS_CLIENT)
		o->processes = HF_MAX(o->processes, (o->count + per_process - 1) / per_process);
	if (o->processes > WORKERS_MAX)
		return refuse("count", "more than 256 processes would be needed: raise ulimit -n");
	return 0;
}

/* 0, or an exit code. */
static int check(struct options *o)
{
	int err = 0;

	if (o->command & COMMANDS_CLIENT)
		err = check_clients(o);
	if (err == 0 && o->command & (COMMAND_PUSH | COMMAND_UPSTREAM))
		err = check_messages(o);
	if (err == 0 && o->command & COMMANDS_LOAD)
		err = check_load(o);
	if (err == 0 && o->command & WHO)
		err = check_who(o);
	if (err == 0 && o->command & COMMANDS_RUN)
		err = check_run(o);
	return err;
}

int options_parse(int argc, char **argv, unsigned command, struct options *ret)
{
	int err;

	ret->command = command;
	for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
		if (table[i].preset != NULL && (err = set(&table[i], ret, table[i].preset)) != 0)
			return err;
	}
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *value = strchr(word, '=');
		const struct option *option;

		if (word[0] != '-' || word[1] == '\0') {
			if (!split_into(&ret->arguments, word, false))
				return refuse("", "too many arguments");
			continue;
		}
		if (strncmp(word, "--", 2) != 0)
			value = NULL;
		option = find(word, value != NULL ? (size_t)(value - word) : strlen(word), command);
		if (option == NULL) {
			fprintf(stderr, "hf-bench: %s is no option of this command (--help)\n",
				word);
			return EXIT_USAGE;
		}
		if (option->type == TYPE_FLAG)
			value = "";
		else if (value != NULL)
			value++;
		else if (++i < argc)
			value = argv[i];
		else
			return refuse(option->name, "a value is missing");
		err = set(option, ret, value);
		if (err != 0)
			return err;
	}
	if (ret->arguments.count > 0 && !(command & (COMMAND_REPORT | COMMAND_MERGE))) {
		fprintf(stderr, "hf-bench: %s: this command takes options alone (--help)\n",
			ret->arguments.items[0]);
		return EXIT_USAGE;
	}
	return check(ret);
}

/* Words of `text` up to column 100, the lines after the first indented as it is. */
static void print_wrapped(FILE *to, const char *text)
{
	int column = HELP_COLUMN;

	while (*text != '\0') {
		int len = (int)strcspn(text, " ");

		if (column + len > HELP_WIDTH && column > HELP_COLUMN) {
			fprintf(to, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		}
		fprintf(to, "%s%.*s", column > HELP_COLUMN ? " " : "", len, text);
		column += len + 1;
		text += len + (text[len] == ' ');
	}
}

void options_help(FILE *to, unsigned command)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
		const struct option *option = &table[i];
		char name[64], text[512];

		if (!(option->commands & command))
			continue;
		snprintf(name, sizeof(name), "--%s%s%s", option->name,
			 option->value != NULL ? " " : "",
			 option->value != NULL ? option->value : "");
		snprintf(text, sizeof(text), "%s%s%s%s", option->help,
			 option->preset != NULL ? " (" : "",
			 option->preset != NULL ? option->preset : "",
			 option->preset != NULL ? ")" : "");
		fprintf(to, "  %c%c %-*s ", option->letter ? '-' : ' ',
			option->letter ? option->letter : ' ', HELP_COLUMN - 6, name);
		print_wrapped(to, text);
		fputc('\n', to);
	}
	if (command & (COMMANDS_RUN | COMMAND_MERGE))
		thresholds_help(to);
}
