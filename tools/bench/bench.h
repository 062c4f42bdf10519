/* tools/bench/bench.h - what the parts of hf-bench share.
 *
 *	main -> options -> supervise --fork--> clients (conn, recv, storm) -> client
 *	                       |       `-----> load (push, http)           -> http
 *	                       `-> output -> report
 *
 * One process supervises; workers do the load, each with one epoll loop and one `struct stats` in
 * memory that all of them share. Workers only ever add to their own; the supervisor sums. */
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>
#include <sys/socket.h>

#include "hf_base.h"
#include "hf_histogram.h"
#include "hf_token.h"
#include "shape.h"

#define LIST_MAX     64
#define WORKERS_MAX  256
#define WAVES_MAX    32
#define REFUSAL_SIZE 200

enum exit_code {
	EXIT_DONE = 0,
	EXIT_USAGE = 1,
	EXIT_UNREACHABLE = 4, /* not one client logged in, not one request answered */
	EXIT_INVALID = 6,     /* the tool was the bottleneck, or one of its processes died */
	EXIT_THRESHOLD = 99,  /* a --fail-if came true */
};

enum command_kind {
	COMMAND_CONN = 1 << 0,
	COMMAND_RECV = 1 << 1,
	COMMAND_STORM = 1 << 2,
	COMMAND_PUSH = 1 << 3,
	COMMAND_HTTP = 1 << 4,
	COMMAND_REPORT = 1 << 5,
	COMMAND_MERGE = 1 << 6,
	COMMAND_UPSTREAM = 1 << 7,
};
#define COMMANDS_CLIENT (COMMAND_CONN | COMMAND_RECV | COMMAND_STORM | COMMAND_UPSTREAM)
#define COMMANDS_LOAD   (COMMAND_PUSH | COMMAND_HTTP)
#define COMMANDS_RUN    (COMMANDS_CLIENT | COMMANDS_LOAD)

struct list {
	size_t count;
	char *items[LIST_MAX];
};

struct wait_range {
	uint32_t base_ms, cap_ms;
};

struct options {
	unsigned command; /* enum command_kind */
	const char *command_name;
	/* whom */
	struct list addresses, ifaddrs;
	char *dispatcher, *url, *key_file;
	uint64_t app;
	char *token_key_id, *token_secret_file, *token_file;
	/* how many */
	uint64_t count, start_number, processes;
	char *prefix;
	char *kind; /* of --kind, and how many tags and users the clients are spread over */
	uint64_t tags, users;
	double connect_rate, rate;
	char *ramp;
	struct shape shape; /* of --ramp, or --count and --connrate */
	double churn;       /* share of the clients a second */
	double slow_share, loss_app;
	uint64_t duration_ms, heartbeat_s;
	char *net;
	bool retry, resume;
	uint64_t login_timeout_ms, first_retry_ms;
	struct wait_range backoff;
	bool no_ack, tls;
	char *ca_file;
	uint64_t expect;
	/* messages */
	uint64_t size, qos, ttl_s, batch;
	char *wait, *forward_type;
	/* requests */
	uint64_t connections, pipeline;
	char *method, *body, *body_file, *content_type;
	/* storm */
	uint64_t waves, settle_ms, wave_every_ms;
	double fraction, reconnect_rate;
	bool reset;
	/* what comes out */
	char *out, *format, *stats_file, *prom, *clock;
	struct list server_metrics;
	bool no_color;
	struct list fail_if;
	bool quiet;
	uint64_t lag_limit_ms, interval_ms;
	struct list arguments; /* not options: folders of report and merge */
	int argc;
	char **argv;
};

/* options.c: EXIT_DONE, or an exit code after having said what is wrong. */
int options_parse(int argc, char **argv, unsigned command, struct options *ret);
void options_help(FILE *to, unsigned command);
void thresholds_help(FILE *to); /* thresholds.c */

/* ---- counters ---- */

enum counter {
	COUNT_STARTED,   /* connection attempts */
	COUNT_CONNECTED, /* TCP */
	COUNT_LOGINS,
	COUNT_FAILED,             /* attempts that did not get to LOGIN_ACK; each is one of: */
	COUNT_FAILED_REFUSED,     /* nobody listens there */
	COUNT_FAILED_UNREACHABLE, /* no way there */
	COUNT_FAILED_TIMEOUT,     /* of the kernel, or --login-timeout */
	COUNT_FAILED_RESET,       /* closed or reset before LOGIN_ACK, without BYE */
	COUNT_FAILED_BYE,         /* BYE before LOGIN_ACK: refused[] has the codes */
	COUNT_FAILED_TLS,
	COUNT_FAILED_PROTOCOL, /* what came is not this protocol */
	COUNT_FAILED_LOCAL,    /* no descriptor, port or memory here */
	COUNT_CUT,             /* logged-in connections that ended without BYE, not by us */
	COUNT_RECONNECTED,     /* logins of who came back; by enum back: */
	COUNT_RECONNECTED_FAILED,
	COUNT_RECONNECTED_CLOSED,
	COUNT_RECONNECTED_CUT,
	COUNT_RECONNECTED_WAVE,
	COUNT_RECONNECTED_CHURN,
	COUNT_RESUMED, /* of these: by ticket */
	COUNT_CHURNED, /* cut by us, for --churn */
	COUNT_RX_MESSAGES,
	COUNT_RX_BYTES, /* all that was read */
	COUNT_UNIQUE,   /* of this tool's messages: seen for the first time */
	COUNT_EXPECTED, /* highest sequence, summed over clients */
	COUNT_DUPLICATED,
	COUNT_REORDERED,
	COUNT_FOREIGN, /* messages that this tool did not make */
	COUNT_CLOCK_NEGATIVE,
	COUNT_ACKS,
	COUNT_APP_LOST,      /* for --loss-app, neither counted as received nor acked */
	COUNT_REDELIVERED,   /* of these: came again */
	COUNT_SENT,          /* requests */
	COUNT_SENT_MESSAGES, /* in them */
	COUNT_ACCEPTED,      /* messages that the API took */
	COUNT_DUE,           /* deliveries that these ask for: one message may be for many */
	COUNT_ACKED,         /* of these, when the answer came: --wait acked */
	COUNT_ANSWERED,      /* requests */
	COUNT_DROPPED_ARRIVALS,
	COUNT_HTTP_2XX,
	COUNT_HTTP_429,
	COUNT_HTTP_4XX, /* the others */
	COUNT_HTTP_5XX,
	COUNT_HTTP_LOST, /* no answer: the connection ended */
	COUNT_UPSTREAM_SENT,
	COUNT_UPSTREAM_ACCEPTED, /* UPSTREAM_ACK with code 0 */
	COUNT_UPSTREAM_REFUSED,  /* with another, a full socket, or too many unanswered */
	COUNT_UPSTREAM_ANSWERS,  /* pushes that name the sequence of a message sent */
	COUNTERS
};
extern const char *const counter_names[COUNTERS];

/* Why a client that comes back was not there; the first reason, when several came together. */
enum back { BACK_NONE, BACK_FAILED, BACK_CLOSED, BACK_CUT, BACK_WAVE, BACK_CHURN };

enum hist {
	HIST_CONNECT,           /* connect() to established */
	HIST_TLS,               /* established to the end of the handshake */
	HIST_AUTH,              /* the way is open, until LOGIN_ACK */
	HIST_LOGIN,             /* intended start to LOGIN_ACK */
	HIST_LOGIN_UNCORRECTED, /* connect() to LOGIN_ACK */
	HIST_DELIVER,           /* intended send to receipt, steady clients in quiet times */
	HIST_DELIVER_UNCORRECTED,
	HIST_DELIVER_STORM, /* steady clients while others come back */
	HIST_DELIVER_BACK,  /* clients that we dropped, after their return */
	HIST_DELIVER_SLOW,  /* clients that read slowly */
	HIST_REDELIVER,     /* lost by the app, until it came again */
	HIST_REQUEST,       /* intended send to answer */
	HIST_REQUEST_UNCORRECTED,
	HIST_ACK, /* intended send until all clients that it was for have acked: --wait acked */
	HIST_ACK_UNCORRECTED,
	HIST_UPSTREAM, /* intended send to UPSTREAM_ACK: the business has answered */
	HIST_UPSTREAM_UNCORRECTED,
	HIST_LAG, /* how late a 10 ms tick of a worker runs */
	HISTS
};
extern const char *const hist_names[HISTS];

#define CLOSE_CODES 402 /* 4000..4399, then 1000, then others */
static inline unsigned close_index(uint32_t code)
{
	if (code >= 4000 && code < 4400)
		return code - 4000;
	return code == 1000 ? 400 : 401;
}
static inline unsigned close_code(unsigned index) /* 0: others */
{
	if (index < 400)
		return 4000 + index;
	return index == 400 ? 1000 : 0;
}

struct wave {
	uint64_t begin_ns; /* when its clients were dropped */
	uint64_t dropped, recovered;
	uint64_t done_ns; /* the newest recovery */
};

/* One worker's; all in microseconds but where the name says otherwise. */
struct stats {
	uint64_t counters[COUNTERS];
	int64_t open;                  /* logged in now */
	int64_t opening;               /* between connect() and LOGIN_ACK */
	uint64_t refused[CLOSE_CODES]; /* BYE before LOGIN_ACK */
	uint64_t closed[CLOSE_CODES];  /* and after it */
	uint64_t cpu_us;               /* of this process so far */
	uint64_t lag_max_us;           /* since the supervisor last looked */
	uint64_t heartbeat_turns;      /* grows while the worker lives */
	bool schedule_done;            /* all arrivals were made */
	char refusal[REFUSAL_SIZE];    /* the first request that was refused: why */
	uint64_t full_ns;              /* when all clients of this worker were logged in, first */
	struct wave waves[WAVES_MAX];
	struct hf_histogram hist[HISTS];
};

struct shared {
	volatile bool stop;
	uint64_t start_ns;   /* monotonic: the schedule of every worker counts from here */
	int64_t wall_offset; /* wall clock - monotonic, ns */
	uint32_t run;        /* names this run's messages */
	struct stats stats[];
};

struct worker {
	const struct options *options;
	struct shared *shared;
	struct stats *stats;
	unsigned index, count;
	const struct targets *targets;
};

void stats_add(struct stats *into, const struct stats *from); /* stats.c */

/* ---- whom to connect to, and as whom (targets.c) ---- */

struct target {
	struct sockaddr_storage address;
	socklen_t len;
};
struct targets {
	size_t count, source_count, token_count;
	struct target rooms[LIST_MAX], sources[LIST_MAX];
	struct hf_token_key key;
	bool has_key;
	char **tokens; /* --token-file, by client number from --startnumber */
	char *api_key; /* ID.SECRET */
};
/* An exit code; what was said is to be freed by _close(), also after an error. */
int targets_open(const struct options *options, struct targets *ret);
void targets_close(struct targets *targets);
/* "prefix17"; returns its length. */
size_t targets_registration(const struct options *options, uint64_t number,
			    char ret[HF_REGISTRATION_MAX + 1]);
/* Length, or -errno. */
int targets_token(const struct options *options, const struct targets *targets, uint64_t number,
		  char *ret, size_t size);
/* host and port of "http://host:port/path"; the path, with its "/", into *ret_path. 0 or -EINVAL */
int url_parse(const char *url, struct target *ret, char host[128], const char **ret_path);

/* ---- the head of a message that this tool sends (payload.c) ---- */

#define PAYLOAD_HEAD 32
#define SEQUENCE_MAX UINT32_MAX
struct payload {
	uint32_t run;
	uint64_t sequence;    /* of this run and registration, from 1 */
	uint64_t intended_ns; /* wall clock */
	uint64_t sent_ns;
};
void payload_write(const struct payload *payload, uint8_t ret[PAYLOAD_HEAD]);
bool payload_read(struct hf_bytes data, struct payload *ret);

/* Which of one sender's messages a client has had (sequence.c). A client follows a few senders. */
#define STREAMS 4
struct stream {
	uint64_t seen; /* bit i: highest - i came */
	uint32_t highest;
	uint32_t run; /* 0: nobody's */
};
/* Counts what is expected, duplicated and reordered. False: the client has had this one. */
bool sequence_take(struct stream streams[STREAMS], const struct payload *payload,
		   uint64_t counters[COUNTERS]);

/* ---- whom a message is for (groups.c) ----
 *
 * A message goes to a group: one registration, everyone with a tag, all of a user's, or everybody.
 * A client is in one group of each kind at most, so a sequence for each group tells what is lost.
 */
enum kind { KIND_UNICAST, KIND_USER, KIND_TAG, KIND_BROADCAST, KINDS };
#define GROUP_NAME_SIZE 160
int kind_of(const char *name); /* enum kind, or -1 */
uint64_t groups_count(const struct options *options, enum kind kind);
/* Registrations of the id range that are in it. */
uint64_t groups_members(const struct options *options, enum kind kind, uint64_t group);
/* The group of client `number`. */
uint64_t groups_of(const struct options *options, enum kind kind, uint64_t number);
/* "bench-17", "bench-tag-3", "bench-user-3"; returns its length. Not of KIND_BROADCAST. */
size_t groups_name(const struct options *options, enum kind kind, uint64_t group,
		   char ret[GROUP_NAME_SIZE]);

/* ---- workers; each returns when the run ends ---- */
int clients_run(struct worker *worker); /* conn, recv, storm */
int load_run(struct worker *worker);    /* push, http */

/* ---- supervise.c, output.c, report.c, merge.c, thresholds.c ---- */

struct summary; /* output.h */
int supervise(const struct options *options);
int report_command(const struct options *options);
int merge_command(const struct options *options);

#endif
