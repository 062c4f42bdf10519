/* push and http: requests on a schedule.
 *
 * The schedule is open loop: request i is due at start + i / rate whatever became of the ones
 * before. When every connection is full it waits, and its latency counts from when it was due. What
 * could not be sent before the end is a dropped arrival. With --rate 0 the loop is closed: each
 * answer makes room for the next request, and no such latency is to be had. */
#include <errno.h>
#include <stdlib.h>

#include "hf_text.h"
#include "http.h"

#define DRAIN_NS  5000000000ull /* for the last answers */
#define BURST_MAX 256           /* requests made in one turn */

struct load {
	struct engine engine;
	struct http_pool pool;
	struct target to;
	char host[128];
	const char *path;
	uint64_t next, end_ns, stop_ns; /* schedule: requests made; its end; the end of waiting */
	uint64_t random;
	enum kind kind;
	uint32_t *sequences; /* of each group of this worker */
	uint64_t groups;
	struct hf_buffer body;
	uint8_t *payload;
	char *base64;
};

static const struct options *options_of(const struct load *load)
{
	return load->engine.worker->options;
}

static uint64_t random_next(struct load *load)
{
	/* xorshift64* */
	load->random ^= load->random >> 12;
	load->random ^= load->random << 25;
	load->random ^= load->random >> 27;
	return load->random * 0x2545f4914f6cdd1dull;
}

/* "all", or {"tag":["bench-tag-3"]}. */
static int append_audience(struct load *load, uint64_t group)
{
	static const char *const fields[] = {
		[KIND_UNICAST] = "registration_id", [KIND_USER] = "user_id", [KIND_TAG] = "tag"
	};
	char name[GROUP_NAME_SIZE];

	if (load->kind == KIND_BROADCAST)
		return hf_buffer_printf(&load->body, "{\"audience\":\"all\"");
	groups_name(options_of(load), load->kind, group, name);
	return hf_buffer_printf(&load->body, "{\"audience\":{\"%s\":[\"%s\"]}", fields[load->kind],
				name);
}

static int append_message(struct load *load, uint64_t intended_ns, uint32_t *recipients)
{
	const struct worker *worker = load->engine.worker;
	const struct options *options = options_of(load);
	uint64_t place = random_next(load) % load->groups;
	/* A group belongs to one worker, so its sequence has one source. */
	uint64_t group = place * worker->count + worker->index;
	const struct payload payload = {
		.run = worker->shared->run,
		.sequence = ++load->sequences[place],
		.intended_ns = engine_wall_of(&load->engine, intended_ns),
		.sent_ns = load->engine.wall_ns,
	};
	int err = append_audience(load, group);

	*recipients += (uint32_t)groups_members(options, load->kind, group);
	payload_write(&payload, load->payload);
	hf_base64_encode(load->payload, options->size, false, load->base64);
	if (err == 0)
		err = hf_buffer_printf(&load->body,
				       ",\"message\":{\"data_b64\":\"%s\",\"qos\":%u,\"ttl\":%llu}",
				       load->base64, (unsigned)options->qos,
				       /* What is never stored has no time to live. */
				       options->qos > 0 ? (unsigned long long)options->ttl_s : 0);
	if (err == 0 && load->kind < KIND_TAG)
		err = hf_buffer_printf(&load->body, ",\"options\":{\"wait\":\"%s\"}",
				       options->wait);
	return err == 0 ? hf_buffer_append(&load->body, "}", 1) : err;
}

static int make_body(struct load *load, uint64_t intended_ns, uint32_t *recipients)
{
	const struct options *options = options_of(load);
	int err = 0;

	hf_buffer_clear(&load->body, SIZE_MAX);
	if (options->command == COMMAND_HTTP)
		return options->body == NULL ? 0
					     : hf_buffer_append(&load->body, options->body,
								strlen(options->body));
	if (options->batch == 1)
		return append_message(load, intended_ns, recipients);
	err = hf_buffer_printf(&load->body, "{\"parallel\":true,\"messages\":[");
	for (uint64_t i = 0; err == 0 && i < options->batch; i++) {
		if (i > 0)
			err = hf_buffer_append(&load->body, ",", 1);
		if (err == 0)
			err = append_message(load, intended_ns, recipients);
	}
	return err == 0 ? hf_buffer_printf(&load->body, "]}") : err;
}

static bool send_one(struct load *load, uint64_t intended_ns)
{
	const struct options *options = options_of(load);
	struct http_conn *conn = http_free_place(&load->pool);
	struct http_ticket ticket = { intended_ns, load->engine.now_ns, (uint32_t)options->batch,
				      0 };
	const char *key = load->engine.worker->targets->api_key;
	char head[1024], path[128];
	size_t body_len;
	int len;

	if (conn == NULL || make_body(load, intended_ns, &ticket.recipients) < 0)
		return false;
	body_len = hf_buffer_len(&load->body);
	snprintf(path, sizeof(path), "/v1/apps/%llu/messages%s", (unsigned long long)options->app,
		 options->batch > 1 ? "/batch" : "");
	len = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s",
		       options->command == COMMAND_PUSH ? "POST" : options->method,
		       options->command == COMMAND_PUSH ? path : load->path, load->host,
		       key != NULL ? "Authorization: Bearer " : "", key != NULL ? key : "",
		       key != NULL ? "\r\n" : "");
	if (body_len > 0 && len < (int)sizeof(head))
		len += snprintf(head + len, sizeof(head) - (size_t)len,
				"Content-Type: %s\r\nContent-Length: %zu\r\n",
				options->command == COMMAND_PUSH ? "application/json"
								 : options->content_type,
				body_len);
	if (len < (int)sizeof(head))
		len += snprintf(head + len, sizeof(head) - (size_t)len, "\r\n");
	if (len >= (int)sizeof(head) ||
	    http_request(conn, &ticket, head, (size_t)len, hf_buffer_data(&load->body), body_len))
		return false;
	load->engine.worker->stats->counters[COUNT_SENT]++;
	load->engine.worker->stats->counters[COUNT_SENT_MESSAGES] +=
		options->command == COMMAND_PUSH ? options->batch : 0;
	return true;
}

/* How often `mark` is in the answer. */
static uint32_t occurrences(const struct http_answer *answer, const char *mark)
{
	const char *at = answer->body, *end = at + answer->body_len;
	uint32_t count = 0;

	while ((at = memmem(at, (size_t)(end - at), mark, strlen(mark))) != NULL) {
		at += strlen(mark);
		count++;
	}
	return count;
}

/* With --wait acked, an answer says of each message whether its clients acked in time. */
static void record_acks(struct load *load, const struct http_ticket *ticket,
			const struct http_answer *answer)
{
	struct stats *stats = load->engine.worker->stats;
	uint64_t now_ns = load->engine.now_ns;
	uint32_t acked;

	if (strcmp(options_of(load)->wait, "acked") != 0 || answer->status / 100 != 2)
		return;
	acked = HF_MIN(occurrences(answer, "\"state\":\"acked\""), ticket->messages);
	stats->counters[COUNT_ACKED] += acked;
	for (uint32_t i = 0; i < acked; i++) {
		hf_histogram_record(&stats->hist[HIST_ACK], (now_ns - ticket->intended_ns) / 1000);
		hf_histogram_record(&stats->hist[HIST_ACK_UNCORRECTED],
				    (now_ns - ticket->sent_ns) / 1000);
	}
}

/* The messages of an answer, and the deliveries that they ask for. */
static void count_accepted(struct load *load, const struct http_ticket *ticket,
			   const struct http_answer *answer)
{
	static const char mark[] = "\"accepted\":";
	uint64_t *counters = load->engine.worker->stats->counters;
	const char *at;
	uint32_t accepted = 1, due = ticket->recipients;

	if (answer->status / 100 != 2 || options_of(load)->command != COMMAND_PUSH)
		return;
	if (ticket->messages > 1) {
		due = accepted = HF_MIN(occurrences(answer, "\"message_id\""), ticket->messages);
	} else if (load->kind == KIND_USER) {
		/* Center has looked up how many registrations the user has. */
		at = memmem(answer->body, answer->body_len, mark, sizeof(mark) - 1);
		if (at != NULL)
			due = (uint32_t)strtoul(at + sizeof(mark) - 1, NULL, 10);
	}
	counters[COUNT_ACCEPTED] += accepted;
	counters[COUNT_DUE] += due;
}

/* The first one is kept: it mostly says what is wrong with all of them. */
static void keep_refusal(struct load *load, const struct http_answer *answer)
{
	struct stats *stats = load->engine.worker->stats;
	size_t len = HF_MIN(answer->body_len, REFUSAL_SIZE - 8);

	if (answer->status / 100 == 2 || answer->status == 0 || stats->refusal[0] != '\0')
		return;
	len = (size_t)snprintf(stats->refusal, REFUSAL_SIZE, "%d %.*s", answer->status, (int)len,
			       answer->body);
	for (size_t i = 0; i < len && i < REFUSAL_SIZE; i++) {
		if ((unsigned char)stats->refusal[i] < ' ' ||
		    (unsigned char)stats->refusal[i] > '~')
			stats->refusal[i] = ' ';
	}
}

static enum counter status_counter(int status)
{
	if (status == 0)
		return COUNT_HTTP_LOST;
	if (status == 429)
		return COUNT_HTTP_429;
	if (status / 100 == 2)
		return COUNT_HTTP_2XX;
	return status / 100 == 5 ? COUNT_HTTP_5XX : COUNT_HTTP_4XX;
}

static void on_answer(struct http_pool *pool, const struct http_ticket *ticket,
		      const struct http_answer *answer)
{
	struct load *load = pool->ctx;
	struct stats *stats = load->engine.worker->stats;
	uint64_t now_ns = load->engine.now_ns;

	stats->counters[status_counter(answer->status)]++;
	if (answer->status == 0)
		return;
	stats->counters[COUNT_ANSWERED]++;
	count_accepted(load, ticket, answer);
	record_acks(load, ticket, answer);
	keep_refusal(load, answer);
	hf_histogram_record(&stats->hist[HIST_REQUEST], (now_ns - ticket->intended_ns) / 1000);
	hf_histogram_record(&stats->hist[HIST_REQUEST_UNCORRECTED],
			    (now_ns - ticket->sent_ns) / 1000);
}

static uint64_t due_ns(const struct load *load, uint64_t i)
{
	const struct worker *worker = load->engine.worker;

	return worker->shared->start_ns + (uint64_t)((double)(i * worker->count + worker->index) /
						     options_of(load)->rate * 1e9);
}

static uint64_t on_schedule(struct engine *engine)
{
	struct load *load = engine->ctx;
	bool open_loop = options_of(load)->rate > 0;
	uint64_t next_ns = UINT64_MAX;

	if (load->end_ns != 0 && engine->now_ns >= load->end_ns) {
		engine->worker->stats->schedule_done = true;
		return UINT64_MAX;
	}
	for (unsigned i = 0; i < BURST_MAX; i++) {
		uint64_t due = open_loop ? due_ns(load, load->next) : engine->now_ns;

		if (due > engine->now_ns) {
			next_ns = due;
			break;
		}
		if (!send_one(load, due))
			break; /* no place: an answer or the next tick brings one */
		load->next++;
		if (i == BURST_MAX - 1)
			next_ns = engine->now_ns;
	}
	http_flush(&load->pool);
	return next_ns;
}

static void on_tick(struct engine *engine)
{
	struct load *load = engine->ctx;

	if (load->end_ns == 0 || engine->now_ns < load->end_ns)
		return;
	if (http_in_flight(&load->pool) == 0 || engine->now_ns >= load->end_ns + DRAIN_NS)
		engine->done = true;
}

/* What was due and never sent. */
static void count_dropped(struct load *load)
{
	struct worker *worker = load->engine.worker;
	double seconds = (double)(load->end_ns - worker->shared->start_ns) / 1e9;
	double due;

	if (load->end_ns == 0 || options_of(load)->rate <= 0 || worker->shared->stop)
		return;
	due = seconds * options_of(load)->rate / worker->count;
	if (due > (double)load->next + 1)
		worker->stats->counters[COUNT_DROPPED_ARRIVALS] = (uint64_t)due - load->next;
}

int load_run(struct worker *worker)
{
	const struct options *options = worker->options;
	struct load *load = calloc(1, sizeof(*load));
	int err;

	if (load == NULL)
		return -ENOMEM;
	err = engine_open(&load->engine, worker);
	if (err == 0)
		err = url_parse(options->url, &load->to, load->host, &load->path);
	load->random = (worker->shared->run + worker->index + 1) * 0x9e3779b97f4a7c15ull;
	load->kind = options->command == COMMAND_PUSH ? (enum kind)kind_of(options->kind)
						      : KIND_BROADCAST;
	load->groups = (groups_count(options, load->kind) + worker->count - 1 - worker->index) /
		       worker->count;
	load->sequences = calloc(load->groups + 1, sizeof(*load->sequences));
	load->payload = calloc(1, options->size + 1);
	load->base64 = malloc(options->size * 4 / 3 + 8);
	load->pool = (struct http_pool){
		.engine = &load->engine,
		.to = &load->to,
		.conn_count = (uint32_t)HF_MAX(options->connections / worker->count, 1),
		.depth = (uint32_t)options->pipeline,
		.on_answer = on_answer,
		.ctx = load
	};
	if (load->sequences == NULL || load->payload == NULL || load->base64 == NULL)
		err = -ENOMEM;
	if (err == 0)
		err = http_open(&load->pool);
	if (err == 0) {
		load->engine.ctx = load;
		load->engine.on_schedule = on_schedule;
		load->engine.on_tick = on_tick;
		if (options->duration_ms > 0)
			load->end_ns = worker->shared->start_ns + options->duration_ms * 1000000u;
		engine_run(&load->engine);
		count_dropped(load);
		if (!worker->shared->stop)
			worker->stats->counters[COUNT_HTTP_LOST] += http_in_flight(&load->pool);
		if (worker->stats->counters[COUNT_ANSWERED] == 0 && load->pool.error != 0)
			snprintf(worker->stats->refusal, REFUSAL_SIZE, "no answer: %s",
				 strerror(load->pool.error));
		else if (worker->stats->counters[COUNT_ANSWERED] == 0 && load->next > 0)
			snprintf(worker->stats->refusal, REFUSAL_SIZE,
				 "no answer until 5 s after the end");
	}
	http_close(&load->pool);
	hf_buffer_deinit(&load->body);
	free(load->base64);
	free(load->payload);
	free(load->sequences);
	engine_close(&load->engine);
	free(load);
	return err;
}
