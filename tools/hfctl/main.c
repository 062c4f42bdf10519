/* The command table, the global options, and help made from both. */
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_text.h"
#include "hfctl.h"

struct command {
	const char *words; /* "push send" */
	const char *arguments;
	const char *summary;
	const char *details; /* for `hfctl help push send`; NULL: the summary says it all */
	int (*run)(struct ctl *ctl, int argc, char **argv);
};

static const struct command commands[] = {
	{ "status", "", "how many processes of each role serve, and what they carry",
	  "CONNECTIONS is what the rooms last told, every 3 seconds at most.\n"
	  "Exit status 6 when no process of some role serves.\n",
	  command_status },
	{ "node list", "", "every process of the cluster", NULL, command_node_list },
	{ "node drain", "ROOM --yes", "let a room send its clients to others, and end", NULL,
	  command_node_drain },
	{ "push send", "WHO --data JSON|@FILE [OPTION]...", "send a message",
	  "WHO is one or more of these; all of them must match:\n"
	  "  --to ID,..         registrations, 1000 at most\n"
	  "  --user ID,..       all registrations of users, 1000 at most\n"
	  "  --tag TAG,..       who has one of them (20 at most; likewise below)\n"
	  "  --tag-and TAG,..   who has all of them\n"
	  "  --tag-not TAG,..   who has none of them\n"
	  "  --platform NAME,.. on one of them\n"
	  "  --percentage N     a share of the registrations, always the same ones\n"
	  "  --all              everybody\n"
	  "  --exclude ID,..    but not these registrations\n"
	  "  --data JSON|@FILE  the payload; what is not JSON is sent as a string; @- reads\n"
	  "                     standard input\n"
	  "  --ttl TIME         seconds, or 15m, 24h; 0: only to who is online; default 24h\n"
	  "  --qos 0|1          0: at most once, never stored; 1 (default): until acked\n"
	  "  --durable          committed to MySQL before the answer\n"
	  "  --label LABEL      1 to 50 of A-Z a-z 0-9 _ . ~ % -\n"
	  "  --wait WHAT        none (default), routed (a room has it) or acked (the client has "
	  "it)\n"
	  "  --wait-timeout T   how long to wait, 30s at most; default 3s\n"
	  "  --priority P       normal (default) or high\n"
	  "  --collapse KEY     takes the place of an older one with this key\n"
	  "  --at TIME          Unix seconds or RFC 3339, 30 days ahead at most\n"
	  "  --pace TIME|N/s    spread over a time (15m), or at a rate (500/s)\n"
	  "  --replaces MESSAGE take that one back first\n"
	  "  --receipts EV,..   tell callbacks: written, acked, expired, dropped, recalled, and\n"
	  "                     completed of a broadcast\n"
	  "  --dry-run          only check the request, and count who is meant\n"
	  "Exit status 5 when it was taken and what was waited for did not happen in time; 6 when\n"
	  "it was not stored for some of the registrations: `failed` says for which.\n",
	  command_push_send },
	{ "push status", "MESSAGE", "what became of a message", NULL, command_push_status },
	{ "push cancel", "MESSAGE", "take a message back: who has it keeps it", NULL,
	  command_push_cancel },
	{ "push pause", "MESSAGE", "stop a broadcast, or a scheduled send, for now", NULL,
	  command_push_pause },
	{ "push resume", "MESSAGE", "go on with what was paused", NULL, command_push_resume },
	{ "push pace", "MESSAGE TIME|N/s|none", "change how fast a broadcast goes",
	  "TIME (15m) is what the whole broadcast would have taken with that pace.\n",
	  command_push_pace },
	{ "broadcast list", "[--limit N] [--cursor TEXT]",
	  "broadcasts and scheduled sends of --app, the newest first", NULL,
	  command_broadcast_list },
	{ "client list", "[--node ID | --user ID] [--limit N] [--cursor C]", "who is connected",
	  "  --node ID   in this room only\n"
	  "  --user ID   of this user only\n"
	  "  --limit N   1 to 1000; default 100\n"
	  "Exit status 6 when a room did not answer.\n",
	  command_client_list },
	{ "client show", "REGISTRATION", "where a registration is connected",
	  "Exit status 2 when it is not connected.", command_client_show },
	{ "client kick", "REGISTRATION... [OPTION]...", "end its connection",
	  "  --code N       close code told to the client, 4000 to 4399; default 4007 (kicked)\n"
	  "  --reason TEXT  told to the client, 123 bytes at most\n"
	  "  --bar SECONDS  and keep it away for so long; it is told 4005\n"
	  "Exit status 6 when not all of them were connected.\n",
	  command_client_kick },
	{ "client info", "REGISTRATION", "what is known of a registration", NULL,
	  command_client_info },
	{ "client set", "REGISTRATION [OPTION]...", "change its user or tags",
	  "  --user ID, --no-user\n"
	  "  --add-tags T,.. --remove-tags T,..\n"
	  "  --tags T,..          these and no others\n",
	  command_client_set },
	{ "client forget", "REGISTRATION --yes", "as if it had never attached", NULL,
	  command_client_forget },
	{ "client bar", "REGISTRATION --seconds N [--reason TEXT]", "end it and keep it away",
	  "Up to 2592000 seconds (30 days). The client is told 4005 and the reason.\n",
	  command_client_bar },
	{ "client unbar", "REGISTRATION", "let it in again", NULL, command_client_unbar },
	{ "user show", "USER", "a user's registrations", NULL, command_user_show },
	{ "user kick", "USER... [OPTION]...",
	  "end all connections of users; options as client kick", NULL, command_user_kick },
	{ "tag list", "[--prefix TEXT] [--limit N] [--cursor C]", "tags, and how many have each",
	  NULL, command_tag_list },
	{ "tag show", "TAG", "how many registrations have a tag", NULL, command_tag_show },
	{ "tag add", "TAG REGISTRATION...", "put it on registrations",
	  "Exit status 6 when some could not be changed.", command_tag_add },
	{ "tag remove", "TAG REGISTRATION...", "take it off registrations",
	  "Exit status 6 when some could not be changed.", command_tag_remove },
	{ "tag delete", "TAG --yes", "take it off all registrations", NULL, command_tag_delete },
	{ "presence", "", "how many are connected, by platform",
	  "Exit status 6 when a room did not answer.", command_presence },
	{ "report registrations", "[--unit hour|day] [--start TIME] [--count N]",
	  "registrations that were new, and last seen", NULL, command_report_registrations },
	{ "report messages", "MESSAGE...", "what became of up to 100 messages", NULL,
	  command_report_messages },
	{ "report labels", "[LABEL] [--from DAY] [--to DAY]", "what became of a label's messages",
	  NULL, command_report_labels },
	{ "queue show", "REGISTRATION", "messages owed to a registration", NULL,
	  command_queue_show },
	{ "queue purge", "REGISTRATION --yes", "forget what is owed to a registration", NULL,
	  command_queue_purge },
	{ "why", "MESSAGE | --registration ID", "what every process did with it, step by step",
	  "  --registration ID  of this registration; with MESSAGE: only what was done for it\n"
	  "  --limit N          the newest N steps, 1000 at most; default 100\n"
	  "Processes remember for a while (why.records). Exit status 2 when none remembers it, 6 "
	  "when\n"
	  "one did not answer.\n",
	  command_why },
	{ "app list", "", "all apps", NULL, command_app_list },
	{ "app create", "ID --name TEXT [LIMIT]...", "make an app",
	  "  --messages-per-second N  recipients a second, per center\n"
	  "  --burst N                recipients at once\n"
	  "  --payload SIZE           largest payload, 4KiB to 64KiB\n"
	  "  --stored N               messages kept per registration, 1 to 1000\n"
	  "  --broadcasts N           running at once\n"
	  "  --requests-per-second N  requests that are no sends, per center\n",
	  command_app_create },
	{ "app show", "ID", "an app and its limits", NULL, command_app_show },
	{ "app set", "ID [--name TEXT] [LIMIT]...", "change an app; limits as in app create", NULL,
	  command_app_set },
	{ "app enable", "ID", "let its clients and senders in again", NULL, command_app_enable },
	{ "app disable", "ID", "refuse its clients and senders", NULL, command_app_disable },
	{ "app delete", "ID --yes", "remove an app", NULL, command_app_delete },
	{ "key list", "", "API keys of --app", NULL, command_key_list },
	{ "key create", "[OPTION]...", "make an API key of --app",
	  "  --role ROLE              viewer, sender (default) or admin\n"
	  "  --expires-at TIME        RFC 3339, such as 2027-01-31T00:00:00Z; default never\n"
	  "  --requests-per-second N  at most, per center\n"
	  "  --from NETWORK           it may be used from there only, such as 10.0.0.0/8\n"
	  "The secret is shown once. A key file holds one line: ID.SECRET\n",
	  command_key_create },
	{ "key revoke", "ID", "revoke an API key of --app", NULL, command_key_revoke },
	{ "token-key create", "[--id ID]", "make a key that signs client tokens of --app",
	  "Two may be valid at a time, for rotation. The secret is shown once.",
	  command_token_key_create },
	{ "token-key revoke", "ID", "remove a token key of --app", NULL, command_token_key_revoke },
	{ "webhook list", "", "where the business of --app is called back", NULL,
	  command_webhook_list },
	{ "webhook add", "[ID] --to URL [OPTION]...", "add a callback to --app",
	  "  --events LIST        such as message.*,user.offline, or '*'\n"
	  "  --forward-types LIST types of upstream messages that go there; '*': all others\n"
	  "  --batch N            most events of one request, 1 to 500\n"
	  "  --batch-wait TIME    longest wait for more events, 0s to 10s\n"
	  "  --timeout TIME       longest wait for an answer, 100ms to 15s\n"
	  "  --max-in-flight N    requests at once, 1 to 64\n"
	  "  --max-per-second N   upstream messages a second\n"
	  "  --allow-cidrs LIST   private networks it may lead to (operators only)\n"
	  "  --enabled yes|no\n"
	  "The secret that signs the requests is shown once.\n",
	  command_webhook_add },
	{ "webhook show", "ID", "a callback, without its secrets", NULL, command_webhook_show },
	{ "webhook set", "ID [OPTION]...", "change a callback; options as in webhook add", NULL,
	  command_webhook_set },
	{ "webhook delete", "ID --yes", "remove a callback, and the events that wait for it", NULL,
	  command_webhook_delete },
	{ "webhook test", "ID", "send it a webhook.test event and show what came back",
	  "Exit status 3 when it did not answer as it should.", command_webhook_test },
	{ "webhook failures", "ID [--limit N] [--cursor C]", "deliveries that were given up", NULL,
	  command_webhook_failures },
	{ "webhook retry", "ID DELIVERY", "send one of these once more, now",
	  "Exit status 3 when it was not taken.", command_webhook_retry },
	{ "webhook rotate-secret", "ID [--drop-old]", "a new secret beside the old one",
	  "Every request is signed by both until --drop-old ends the old one.",
	  command_webhook_rotate_secret },
	{ "token gen", "--registration ID --key-id ID --secret-file FILE [OPTION]...",
	  "sign a client token of --app",
	  "  --registration ID  what the client will attach\n"
	  "  --key-id ID        of the token key\n"
	  "  --secret-file F    holds the token key's secret, base64\n"
	  "  --user ID          user id to put into the token\n"
	  "  --ttl TIME         how long it is valid; default 1h\n",
	  command_token_gen },
	{ "token check", "TOKEN --registration ID --key-id ID --secret-file FILE",
	  "check a client token of --app", "Exit status 3 when it would be refused.",
	  command_token_check },
	{ "version", "", "version of hfctl", NULL, command_version },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

int usage_error(const char *format, ...)
{
	va_list args;

	fputs("hfctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs(" (hfctl --help)\n", stderr);
	return EXIT_USAGE;
}

/* The commands whose first word is `group`, or all. Returns how many there are. */
static size_t show_commands(const char *group)
{
	size_t count = 0;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const char *words = commands[i].words;

		if (group != NULL && (strlen(group) != strcspn(words, " ") ||
				      strncmp(words, group, strlen(group)) != 0))
			continue;
		printf("  %-21s %s\n", words, commands[i].summary);
		count++;
	}
	return count;
}

static void show_help(void)
{
	puts("Usage: hfctl [OPTION]... COMMAND [ARGUMENT]...\n"
	     "\n"
	     "Look at and steer a Holdfast cluster through the HTTP API of a center.\n"
	     "\n"
	     "Options:\n"
	     "  --url URL        of a center; default $HOLDFAST_URL or http://127.0.0.1:8080\n"
	     "  --key-file FILE  holds the API key, ID.SECRET; default $HOLDFAST_KEY_FILE, or the\n"
	     "                   key itself in $HOLDFAST_KEY\n"
	     "  --app ID         the app that a command is about; default $HOLDFAST_APP\n"
	     "  -o, --output F   table (default) or json: the API's answer unchanged\n"
	     "  --timeout TIME   longest wait for an answer; default 5s\n"
	     "  --yes            do it: for commands that destroy something\n"
	     "  -h, --help       this text; hfctl help COMMAND tells more of one\n"
	     "\n"
	     "Commands:");
	show_commands(NULL);
	puts("\n"
	     "status, node commands, app list and what changes an app need the operator's key; "
	     "push "
	     "send\n"
	     "a sender's; what changes clients, tags, queues or keys an admin's; the rest a "
	     "viewer's.\n"
	     "token commands need none: they work without a cluster (services/center/README.md).\n"
	     "\n"
	     "Exit status: 0 done, 1 usage, 2 not found, 3 refused, 4 unreachable, 5 timed out,\n"
	     "6 done in part.");
}

static int show_command_help(const struct command *command)
{
	printf("Usage: hfctl [OPTION]... %s%s%s\n\n%s\n", command->words,
	       command->arguments[0] == '\0' ? "" : " ", command->arguments, command->summary);
	if (command->details != NULL)
		printf("\n%s%s", command->details,
		       command->details[strlen(command->details) - 1] == '\n' ? "" : "\n");
	return EXIT_OK;
}

/* How many of argv's words name this command: 0 when they do not. */
static int words_match(const struct command *command, int argc, char **argv)
{
	const char *words = command->words;
	int n = 0;

	while (*words != '\0') {
		size_t len = strcspn(words, " ");

		if (n >= argc || strlen(argv[n]) != len || strncmp(argv[n], words, len) != 0)
			return 0;
		words += len + (words[len] == ' ');
		n++;
	}
	return n;
}

bool ctl_parse(int argc, char **argv, const struct ctl_option *options, const char **words,
	       size_t max)
{
	size_t count = 0;

	for (int i = 0; i < argc; i++) {
		const struct ctl_option *option = options;

		if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0') {
			if (count == max) {
				usage_error("'%s' is one argument too many", argv[i]);
				return false;
			}
			words[count++] = argv[i];
			continue;
		}
		while (option->name != NULL && strcmp(option->name, argv[i] + 2) != 0)
			option++;
		if (option->name == NULL) {
			usage_error("unknown option '%s'", argv[i]);
			return false;
		}
		if (option->argument == NULL) {
			*option->value = "";
		} else if (i + 1 == argc) {
			usage_error("%s needs %s", argv[i], option->argument);
			return false;
		} else {
			*option->value = argv[++i];
		}
	}
	return true;
}

const char *ctl_app(const struct ctl *ctl)
{
	uint64_t id;

	if (ctl->app == NULL || ctl->app[0] == '\0') {
		usage_error("which app? --app ID or $HOLDFAST_APP");
		return NULL;
	}
	if (hf_text_parse_uint(ctl->app, strlen(ctl->app), &id) < 0 || id == 0 || id > INT32_MAX) {
		usage_error("an app id is a number from 1 to 2147483647, not '%s'", ctl->app);
		return NULL;
	}
	return ctl->app;
}

bool ctl_escape(const char *text, char *ret, size_t size)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";
	size_t len = 0;

	for (; *text != '\0'; text++) {
		bool is_plain = strchr(plain, *text) != NULL;

		if (len + 4 > size)
			return false;
		len += (size_t)snprintf(ret + len, size - len, is_plain ? "%c" : "%%%02X",
					(unsigned char)*text);
	}
	ret[len] = '\0';
	return len > 0;
}

/* The key from the file, or from the environment. */
static bool load_key(struct ctl *ctl, const char *path)
{
	const char *key = getenv("HOLDFAST_KEY");
	FILE *file;
	size_t len;

	if (path == NULL) {
		snprintf(ctl->key, sizeof(ctl->key), "%s", key == NULL ? "" : key);
		return true;
	}
	file = fopen(path, "r");
	if (file == NULL) {
		usage_error("%s: %s", path, strerror(errno));
		return false;
	}
	len = fread(ctl->key, 1, sizeof(ctl->key) - 1, file);
	fclose(file);
	ctl->key[len] = '\0';
	ctl->key[strcspn(ctl->key, "\r\n")] = '\0';
	return true;
}

/* Takes the global options out of argv, wherever they stand, and leaves the rest in order. Returns
 * the words left, or -1 after saying what is wrong. */
static int take_globals(struct ctl *ctl, int argc, char **argv, bool *ret_help)
{
	const char *output = "table", *timeout = "5s", *key_file = getenv("HOLDFAST_KEY_FILE");
	const struct {
		const char *name, *short_name;
		const char **value;
	} globals[] = {
		{ "--url", NULL, &ctl->url },    { "--key-file", NULL, &key_file },
		{ "--app", NULL, &ctl->app },    { "--output", "-o", &output },
		{ "--timeout", NULL, &timeout },
	};
	uint64_t timeout_ms;
	int left = 0;

	for (int i = 1; i < argc; i++) {
		size_t g = 0;

		while (g < sizeof(globals) / sizeof(globals[0]) &&
		       strcmp(argv[i], globals[g].name) != 0 &&
		       (globals[g].short_name == NULL ||
			strcmp(argv[i], globals[g].short_name) != 0))
			g++;
		if (g < sizeof(globals) / sizeof(globals[0])) {
			if (i + 1 == argc) {
				usage_error("%s needs a value", argv[i]);
				return -1;
			}
			*globals[g].value = argv[++i];
		} else if (strcmp(argv[i], "--yes") == 0) {
			ctl->yes = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*ret_help = true;
		} else {
			argv[left++] = argv[i];
		}
	}
	ctl->json = strcmp(output, "json") == 0;
	if (!ctl->json && strcmp(output, "table") != 0) {
		usage_error("--output must be table or json, not '%s'", output);
		return -1;
	}
	if (hf_text_parse_duration(timeout, 1000, &timeout_ms) < 0 || timeout_ms < 1 ||
	    timeout_ms > 3600000) {
		usage_error("--timeout must be a time from 1ms to 1h, such as 5s");
		return -1;
	}
	ctl->timeout_ms = (long)timeout_ms;
	return load_key(ctl, key_file) ? left : -1;
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .url = getenv("HOLDFAST_URL"), .app = getenv("HOLDFAST_APP") };
	bool help = false;
	int count, result;

	if (ctl.url == NULL || ctl.url[0] == '\0')
		ctl.url = "http://127.0.0.1:8080";
	count = take_globals(&ctl, argc, argv, &help);
	if (count < 0)
		return EXIT_USAGE;
	if (count > 0 && strcmp(argv[0], "help") == 0) {
		help = true;
		argv++;
		count--;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		int words = words_match(&commands[i], count, argv);

		if (words == 0)
			continue;
		if (help)
			return show_command_help(&commands[i]);
		curl_global_init(CURL_GLOBAL_DEFAULT);
		result = commands[i].run(&ctl, count - words, argv + words);
		curl_global_cleanup();
		return result;
	}
	if (count == 0) {
		show_help();
		return help ? EXIT_OK : EXIT_USAGE;
	}
	if (count == 1 && show_commands(argv[0]) > 0)
		return help ? EXIT_OK : EXIT_USAGE;
	return usage_error("unknown command '%s%s%s'", argv[0], count > 1 ? " " : "",
			   count > 1 ? argv[1] : "");
}
