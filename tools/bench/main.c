/* hf-bench: the load tester. See README.md, or --help. */
#include "bench.h"

static const struct command {
	const char *name;
	unsigned kind;
	int (*run)(const struct options *options);
	const char *summary, *text;
} commands[] = {
	{ "conn", COMMAND_CONN, supervise, "open and hold connections",
	  "Opens --count connections at --connrate a second, or as --ramp says, logs in on each, "
	  "keeps\n"
	  "them alive, and has those that end come back as the SDKs do. A room lets in 200 a "
	  "second "
	  "of one\n"
	  "address, and 2000 at once: exempt the load hosts there (limits.per_ip_exempt).\n" },
	{ "recv", COMMAND_RECV, supervise, "conn, and count and time what is pushed",
	  "Start it first, then `hf-bench push` with the same --prefix, --startnumber and "
	  "--count.\n"
	  "With --kind tag or user there, --tags or --users are the same for both too. Latency is "
	  "from\n"
	  "the moment that the sender meant to send: run both on one machine, or give both "
	  "--clock.\n"
	  "`hf-bench merge` of both folders tells what was lost.\n" },
	{ "storm", COMMAND_STORM, supervise, "recv, while a share of the clients drops and returns",
	  "The same share drops in each wave; the others are the measure: `deliver` is what they "
	  "saw\n"
	  "in quiet times, `deliver_storm` while the dropped ones were coming back.\n" },
	{ "upstream", COMMAND_UPSTREAM, supervise, "conn, and clients send to their business",
	  "Messages of --rate a second, all clients together, go from clients in turn to the "
	  "callback "
	  "of\n"
	  "--type, once all are there. `upstream` is the time until UPSTREAM_ACK, which says that "
	  "the\n"
	  "business has answered; what it answers comes as a push. Sends begin a second after "
	  "the last\n"
	  "connection and end a second before the end. The operator adds the callback: POST\n"
	  "/v1/apps/APP/webhooks with its url and forward_types; without one, all are refused.\n" },
	{ "push", COMMAND_PUSH, supervise, "send messages through center's API",
	  "Start `hf-bench recv` first, with the same --app, --prefix, --startnumber, --count "
	  "(and\n"
	  "--tags, --users): a registration that never logged in is refused. Each request sends\n"
	  "--batch messages, each to a random registration, user or tag of these; or to everybody\n"
	  "of the app. The payload's head carries a sequence number and two times: when the "
	  "message\n"
	  "was due and when it left.\n" },
	{ "http", COMMAND_HTTP, supervise, "send any HTTP request at a rate",
	  "For center, the dispatcher, or anything else that speaks HTTP/1.1 and takes "
	  "pipelining.\n" },
	{ "report", COMMAND_REPORT, report_command, "print what a run wrote: text, json or html",
	  "Arguments: the folders that --out named.\n" },
	{ "merge", COMMAND_MERGE, merge_command, "make one result of several runs",
	  "Arguments: the folders that --out named, of several hosts, or of a recv and its "
	  "push.\n" },
};

static void help(FILE *to)
{
	fputs("usage: hf-bench COMMAND [OPTIONS]\n\n", to);
	for (size_t i = 0; i < HF_ARRAY_LEN(commands); i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("\nhf-bench COMMAND --help lists the options of one command.\n\n"
	      "You need, of the cluster's operator: the id of an app that is yours alone (a "
	      "broadcast goes to\n"
	      "all of it); a token key of the app, to sign what clients log in with (POST\n"
	      "/v1/apps/APP/token_keys gives its secret), or a file of ready tokens; for push, an "
	      "API key of the\n"
	      "role sender (POST /v1/apps/APP/keys; one line ID.SECRET); and limits that allow the "
	      "load: of the\n"
	      "app messages_per_second, burst and broadcasts, of the rooms limits.per_ip_exempt "
	      "for your hosts.\n\n"
	      "  # 10,000 clients that stay a minute\n"
	      "  hf-bench conn --dispatcher http://127.0.0.1:8081 -A 1 --token-key-id ID \\\n"
	      "      --token-secret-file token.secret -c 10000 -R 2000 -d 60s -o out/conn\n"
	      "  # up to 5,000 within five minutes, an hour there, and down; with the habits of "
	      "devices\n"
	      "  hf-bench recv ... --ramp 5000:5m,5000:1h,0:1m --net cell --churn 0.5%/m --slow 1% "
	      "\\\n"
	      "      --loss-app 0.1% --resume on -d 5s -o out/day\n"
	      "  # what is pushed to them, and the push; open out/both/report.html\n"
	      "  hf-bench recv --dispatcher http://127.0.0.1:8081 -A 1 --token-key-id ID \\\n"
	      "      --token-secret-file token.secret -c 1000 -d 40s -o out/recv &\n"
	      "  hf-bench push -u http://127.0.0.1:8080 -A 1 --key-file sender.key -c 1000 \\\n"
	      "      -r 500 -d 30s -o out/push\n"
	      "  wait; hf-bench merge out/recv out/push -o out/both --fail-if 'deliver.p99>200ms' "
	      "\\\n"
	      "      --fail-if 'lost>0'\n"
	      "  # from two machines: the same --clock URL for both, and merge the folders on "
	      "one\n\n"
	      "Each latency counts from when its work was due; NAME_uncorrected, from when it "
	      "really began: a\n"
	      "server that stalls shows in the former. lost, duplicated and reordered come from "
	      "sequence\n"
	      "numbers in the messages; recv alone counts what the API refused as lost, merge "
	      "knows better.\n\n"
	      "Exit status: 0 done, 1 usage, or a file can't be read or written, 4 nothing "
	      "answered, 6 the run is\n"
	      "invalid (the tool was the bottleneck), 99 a --fail-if came true.\n",
	      to);
}

static void help_command(const struct command *command)
{
	printf("usage: hf-bench %s [OPTIONS]%s\n%s.\n%s\n", command->name,
	       command->kind & (COMMAND_REPORT | COMMAND_MERGE) ? " DIR..." : "", command->summary,
	       command->text);
	options_help(stdout, command->kind);
}

int main(int argc, char **argv)
{
	static struct options options;
	const char *name = argc > 1 ? argv[1] : "";
	int code;

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		help(stdout);
		return EXIT_DONE;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("hf-bench " HOLDFAST_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		for (int k = 2; k < argc; k++) {
			if (strcmp(argv[k], "--help") == 0 || strcmp(argv[k], "-h") == 0) {
				help_command(&commands[i]);
				return EXIT_DONE;
			}
		}
		options.command_name = commands[i].name;
		options.argc = argc;
		options.argv = argv;
		code = options_parse(argc - 2, argv + 2, commands[i].kind, &options);
		return code != EXIT_DONE ? code : commands[i].run(&options);
	}
	if (argc > 1) {
		fprintf(stderr, "hf-bench: %s is no command (--help)\n", name);
		return EXIT_USAGE;
	}
	help(stderr);
	return EXIT_USAGE;
}
