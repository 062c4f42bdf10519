#define HF_LOG_MODULE "saver"
#include "redis.h"

#include <errno.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/sds.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_backoff.h"
#include "hf_buffer.h"
#include "hf_clock.h"
#include "hf_config.h"
#include "hf_log.h"

#define MARKS         512u
#define OPS_PER_BLOCK 256u
#define SCRATCH_KEEP  65536u

/* One command on its way; recycled through a free list. */
struct op {
	struct op *next;
	struct node *node;
	saver_redis_cb cb;
	void *ctx;
	uint64_t connection; /* of the node, when it was sent */
	enum saver_op kind;
};

struct op_block {
	struct op_block *next;
	struct op ops[OPS_PER_BLOCK];
};

/* When the commands up to sequence `upto` left. */
struct mark {
	uint64_t upto, at_ns;
};

struct node {
	struct saver_redis *redis;
	unsigned number;
	enum saver_node_state state;
	char *text;  /* as configured */
	char *path;  /* Unix socket, or NULL */
	char ip[64]; /* numeric */
	int port;
	redisAsyncContext *ac; /* NULL: between attempts */
	bool connected, dirty;
	uint64_t connection;       /* counts connections: tells replies of an older one */
	uint64_t queued, answered; /* commands of this connection */
	uint64_t unmarked_since;   /* ns; first command since the last mark */
	struct mark marks[MARKS];
	unsigned mark_first, mark_count;
	struct hf_backoff backoff;
	struct hf_timer timer; /* next attempt when down, else the oldest command's deadline */
	int64_t *up;
};

struct saver_redis {
	struct hf_loop *loop;
	struct saver_redis_options options;
	char *password;
	unsigned count;
	bool closed;
	struct node *nodes;
	struct op_block *blocks;
	struct op *free_ops;
	struct hf_buffer scratch; /* one encoded command */
	struct hf_turn_hook hook;
	struct hf_histogram *duration;
	uint64_t *results[SAVER_OP_COUNT][2];
	struct hf_log_throttle refused;
};

static const char *const op_names[SAVER_OP_COUNT] = {
	"store", "load",          "remove",         "inspect", "claim", "redeliver",
	"sweep", "refill",        "check",          "job",     "log",   "broadcast",
	"spool", "registry_read", "registry_write", "report",
};

static void connect_node(struct node *node);

static void retry_later(struct node *node)
{
	if (!node->redis->closed)
		hf_loop_arm(node->redis->loop, &node->timer, hf_backoff_next_ms(&node->backoff));
}

/* The connection is gone or about to be: callbacks that still run must find the node down. Once
 * each. */
static void node_lost(struct node *node, const char *reason)
{
	struct saver_redis *redis = node->redis;
	bool was_connected = node->connected;

	node->ac = NULL;
	node->connected = node->dirty = false;
	node->state = SAVER_NODE_DOWN;
	node->connection++;
	node->queued = node->answered = 0;
	node->unmarked_since = 0;
	node->mark_count = 0;
	*node->up = 0;
	if (!redis->closed && (was_connected || node->backoff.attempts == 0))
		HF_WARN("redis_lost", "node=%u address=%s reason=%s", node->number, node->text,
			hf_log_quote(reason, strlen(reason)));
	retry_later(node);
	if (was_connected)
		redis->options.on_lost(node->number, redis->options.ctx);
}

static void node_cut(struct node *node, const char *reason)
{
	redisAsyncContext *ac = node->ac;

	if (ac == NULL)
		return;
	ac->data = NULL;
	node_lost(node, reason);
	redisAsyncFree(ac); /* ends its commands; they belong to an older connection by now */
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct node *node = ac->data;
	struct saver_redis *redis;

	if (node == NULL)
		return;
	redis = node->redis;
	if (status != REDIS_OK) {
		node_lost(node, ac->errstr != NULL ? ac->errstr : "connect"); /* hiredis frees it */
		return;
	}
	node->connected = true;
	node->state = SAVER_NODE_CHECKING;
	*node->up = 1;
	hf_wheel_disarm(&node->timer);
	HF_INFO("redis_connected", "node=%u address=%s", node->number, node->text);
	redis->options.on_connected(node->number, redis->options.ctx);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct node *node = ac->data;

	if (node != NULL)
		node_lost(node, status == REDIS_OK ? "closed" : ac->errstr);
}

static void on_auth(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct node *node = ctx;

	if (error != SAVER_OK && node->connected)
		node_cut(node, "AUTH was refused");
}

static void connect_node(struct node *node)
{
	struct saver_redis *redis = node->redis;
	redisAsyncContext *ac = node->path != NULL ? redisAsyncConnectUnix(node->path)
						   : redisAsyncConnect(node->ip, node->port);
	struct hf_bytes auth[2] = { HF_BYTES_LITERAL("AUTH"), hf_bytes_of_string(redis->password) };

	if (ac == NULL || ac->err != 0) {
		node_lost(node, ac == NULL ? "out of memory" : ac->errstr);
		if (ac != NULL)
			redisAsyncFree(ac);
		return;
	}
	ac->data = node;
	node->ac = ac;
	if (redisLibeventAttach(ac, redis->loop->base) != REDIS_OK) {
		node_cut(node, "event");
		return;
	}
	redisAsyncSetConnectCallback(ac, on_connect);
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	hf_loop_arm(redis->loop, &node->timer, redis->options.timeout_ms);
	if (redis->password[0] != '\0' &&
	    saver_redis_send_early(redis, node->number, SAVER_OP_CHECK, auth, 2, on_auth, node) !=
		    SAVER_OK)
		node_cut(node, "out of memory");
}

/* Either the time for a new attempt, or the oldest command (or the connect itself) is late. */
static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct node *node = ctx;
	struct saver_redis *redis = node->redis;
	uint64_t timeout_ns = (uint64_t)redis->options.timeout_ms * 1000000, age;

	if (node->ac == NULL) {
		connect_node(node);
		return;
	}
	if (!node->connected) {
		node_cut(node, "connect timed out");
		return;
	}
	if (node->mark_count == 0)
		return;
	age = hf_clock_monotonic_ns() - node->marks[node->mark_first].at_ns;
	if (age >= timeout_ns)
		node_cut(node, "timed out");
	else
		hf_loop_arm(redis->loop, timer, (timeout_ns - age) / 1000000 + 1);
}

/* End of a turn: what it produced leaves now, in one write, rather than in the next turn. */
static void on_turn_end(void *ctx)
{
	struct saver_redis *redis = ctx;

	for (unsigned i = 0; i < redis->count; i++) {
		struct node *node = &redis->nodes[i];
		unsigned last;

		if (!node->dirty || !node->connected)
			continue;
		node->dirty = false;
		if (node->mark_count == MARKS) { /* the last mark then speaks for later ones too */
			last = (node->mark_first + MARKS - 1) % MARKS;
		} else {
			last = (node->mark_first + node->mark_count++) % MARKS;
			node->marks[last].at_ns = node->unmarked_since;
		}
		node->marks[last].upto = node->queued;
		node->unmarked_since = 0;
		if (!hf_timer_armed(&node->timer))
			hf_loop_arm(redis->loop, &node->timer, redis->options.timeout_ms);
		redisAsyncHandleWrite(node->ac);
	}
}

static enum saver_error classify(struct saver_redis *redis, const struct op *op,
				 const redisReply *reply)
{
	const char *text = reply->str;
	enum saver_error error = SAVER_STORE_UNAVAILABLE;

	if (strncmp(text, "OOM ", 4) == 0 ||
	    (strncmp(text, "MISCONF", 7) == 0 && strstr(text, "No space left") != NULL))
		error = SAVER_STORE_FULL;
	if (hf_log_throttle_pass(&redis->refused, 10000))
		HF_WARN("redis_refused", "node=%u op=%s error=%s", op->node->number,
			op_names[op->kind], hf_log_quote(text, reply->len));
	return error;
}

static void account_reply(struct node *node)
{
	node->answered++;
	while (node->mark_count > 0 && node->answered >= node->marks[node->mark_first].upto) {
		uint64_t age_ns = hf_clock_monotonic_ns() - node->marks[node->mark_first].at_ns;

		hf_histogram_record(node->redis->duration, age_ns / 1000);
		node->mark_first = (node->mark_first + 1) % MARKS;
		node->mark_count--;
	}
}

static void on_reply(redisAsyncContext *ac, void *data, void *privdata)
{
	struct op *op = privdata;
	struct node *node = op->node;
	struct saver_redis *redis = node->redis;
	redisReply *reply = data;
	enum saver_error error = SAVER_OK;
	saver_redis_cb cb = op->cb;
	void *ctx = op->ctx;

	if (op->connection == node->connection)
		account_reply(node);
	if (reply == NULL)
		error = SAVER_STORE_UNAVAILABLE;
	else if (reply->type == REDIS_REPLY_ERROR)
		error = classify(redis, op, reply);
	++*redis->results[op->kind][error != SAVER_OK];
	op->next = redis->free_ops;
	redis->free_ops = op;
	cb(error == SAVER_OK ? reply : NULL, error, ctx);
}

static struct op *op_alloc(struct saver_redis *redis)
{
	struct op *op = redis->free_ops;

	if (op == NULL) {
		struct op_block *block = malloc(sizeof(*block));

		if (block == NULL)
			return NULL;
		block->next = redis->blocks;
		redis->blocks = block;
		for (unsigned i = 0; i < OPS_PER_BLOCK; i++) {
			block->ops[i].next = redis->free_ops;
			redis->free_ops = &block->ops[i];
		}
		op = redis->free_ops;
	}
	redis->free_ops = op->next;
	return op;
}

static uint8_t *put_number(uint8_t *pos, char mark, size_t value)
{
	char digits[20];
	unsigned n = 0;

	*pos++ = (uint8_t)mark;
	do
		digits[n++] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	while (n > 0)
		*pos++ = (uint8_t)digits[--n];
	*pos++ = '\r';
	*pos++ = '\n';
	return pos;
}

static int encode(struct hf_buffer *scratch, const struct hf_bytes *words, size_t count)
{
	size_t size = 24;
	uint8_t *start, *pos;

	for (size_t i = 0; i < count; i++)
		size += 26 + words[i].len;
	hf_buffer_clear(scratch, SCRATCH_KEEP);
	start = pos = hf_buffer_reserve(scratch, size);
	if (start == NULL)
		return -ENOMEM;
	pos = put_number(pos, '*', count);
	for (size_t i = 0; i < count; i++) {
		pos = put_number(pos, '$', words[i].len);
		if (words[i].len > 0)
			memcpy(pos, words[i].data, words[i].len);
		pos += words[i].len;
		*pos++ = '\r';
		*pos++ = '\n';
	}
	hf_buffer_commit(scratch, (size_t)(pos - start));
	return 0;
}

enum saver_error saver_redis_send_early(struct saver_redis *redis, unsigned number,
					enum saver_op kind, const struct hf_bytes *words,
					size_t count, saver_redis_cb cb, void *ctx)
{
	struct node *node = &redis->nodes[number];
	struct op *op;

	if (node->ac == NULL)
		return SAVER_STORE_UNAVAILABLE;
	if (encode(&redis->scratch, words, count) < 0 || (op = op_alloc(redis)) == NULL)
		return SAVER_INTERNAL;
	*op = (struct op){
		.node = node, .cb = cb, .ctx = ctx, .connection = node->connection, .kind = kind
	};
	if (redisAsyncFormattedCommand(node->ac, on_reply, op,
				       (const char *)hf_buffer_data(&redis->scratch),
				       hf_buffer_len(&redis->scratch)) != REDIS_OK) {
		op->next = redis->free_ops;
		redis->free_ops = op;
		return SAVER_STORE_UNAVAILABLE;
	}
	if (node->unmarked_since == 0)
		node->unmarked_since = hf_clock_monotonic_ns();
	node->queued++;
	node->dirty = true;
	return SAVER_OK;
}

enum saver_error saver_redis_send(struct saver_redis *redis, unsigned number, enum saver_op kind,
				  const struct hf_bytes *words, size_t count, saver_redis_cb cb,
				  void *ctx)
{
	switch (redis->nodes[number].state) {
	case SAVER_NODE_DOWN:
		return SAVER_STORE_UNAVAILABLE;
	case SAVER_NODE_CHECKING:
		return SAVER_REFILLING;
	case SAVER_NODE_SERVING:
		break;
	}
	return saver_redis_send_early(redis, number, kind, words, count, cb, ctx);
}

enum saver_error saver_redis_admit(const struct saver_redis *redis, unsigned number)
{
	const struct node *node = &redis->nodes[number];

	if (node->state == SAVER_NODE_DOWN)
		return SAVER_STORE_UNAVAILABLE;
	if (node->state == SAVER_NODE_CHECKING)
		return SAVER_REFILLING;
	if (node->queued - node->answered >= redis->options.commands_max ||
	    sdslen(node->ac->c.obuf) >= redis->options.bytes_max)
		return SAVER_OVERLOADED;
	return SAVER_OK;
}

/* "host:port" or "unix:/path" into the node. */
static int parse_address(struct node *node, const char *text)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	const char *colon = strrchr(text, ':');
	char host[256];
	size_t len;
	int err = -EINVAL;

	node->text = strdup(text);
	if (node->text == NULL)
		return -ENOMEM;
	if (strncmp(text, "unix:", 5) == 0) {
		node->path = node->text + 5;
		return node->path[0] == '/' ? 0 : -EINVAL;
	}
	if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	len = (size_t)(colon - text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len);
		host[len - 2] = '\0';
	}
	node->port = atoi(colon + 1);
	if (node->port <= 0 || node->port > 65535 || getaddrinfo(host, NULL, &hints, &found) != 0)
		return -EINVAL;
	if (getnameinfo(found->ai_addr, found->ai_addrlen, node->ip, sizeof(node->ip), NULL, 0,
			NI_NUMERICHOST) == 0)
		err = 0;
	freeaddrinfo(found);
	return err;
}

static void make_metrics(struct saver_redis *redis, struct hf_metrics *metrics)
{
	char labels[64];

	for (unsigned i = 0; i < SAVER_OP_COUNT; i++) {
		for (unsigned failed = 0; failed < 2; failed++) {
			snprintf(labels, sizeof(labels), "store=\"redis\",op=\"%s\",result=\"%s\"",
				 op_names[i], failed ? "error" : "ok");
			redis->results[i][failed] = hf_metrics_counter(
				metrics, "holdfast_saver_operations_total", labels,
				"Commands and statements by what they were for.");
		}
	}
	redis->duration =
		hf_metrics_histogram(metrics, "holdfast_saver_operation_duration_seconds",
				     "store=\"redis\"",
				     "From the first command of a turn to the answer of its last.",
				     1000000);
	for (unsigned i = 0; i < redis->count; i++) {
		snprintf(labels, sizeof(labels), "node=\"%u\"", i);
		redis->nodes[i].up = hf_metrics_gauge(metrics, "holdfast_saver_redis_up", labels,
						      "Is the Redis node connected?");
	}
}

int saver_redis_new(struct hf_loop *loop, struct hf_metrics *metrics,
		    const struct saver_redis_options *options, struct saver_redis **ret_redis)
{
	struct saver_redis *redis = calloc(1, sizeof(*redis));
	int err = -ENOMEM;

	if (redis == NULL)
		return err;
	redis->loop = loop;
	redis->options = *options;
	redis->count = (unsigned)options->nodes->count;
	redis->nodes = calloc(redis->count, sizeof(*redis->nodes));
	redis->password = strdup(options->password);
	if (redis->nodes == NULL || redis->password == NULL)
		goto fail;
	for (unsigned i = 0; i < redis->count; i++) {
		struct node *node = &redis->nodes[i];

		node->redis = redis;
		node->number = i;
		node->backoff = (struct hf_backoff){ .base_ms = 50, .cap_ms = 2000 };
		hf_timer_init(&node->timer, on_timer, node);
		err = parse_address(node, options->nodes->values[i]);
		if (err < 0) {
			HF_ERROR("redis_address", "node=%u address=%s err=%s", i,
				 options->nodes->values[i], strerror(-err));
			goto fail;
		}
	}
	make_metrics(redis, metrics);
	redis->hook = (struct hf_turn_hook){ .fn = on_turn_end, .ctx = redis };
	hf_loop_add_hook(loop, &redis->hook);
	*ret_redis = redis;
	return 0;

fail:
	saver_redis_free(redis);
	return err;
}

void saver_redis_start(struct saver_redis *redis)
{
	for (unsigned i = 0; i < redis->count; i++)
		connect_node(&redis->nodes[i]);
}

void saver_redis_close(struct saver_redis *redis)
{
	redis->closed = true;
	for (unsigned i = 0; i < redis->count; i++) {
		node_cut(&redis->nodes[i], "closing");
		hf_wheel_disarm(&redis->nodes[i].timer);
	}
}

void saver_redis_free(struct saver_redis *redis)
{
	struct op_block *block;

	if (redis == NULL)
		return;
	if (redis->hook.fn != NULL)
		hf_loop_remove_hook(redis->loop, &redis->hook);
	while ((block = redis->blocks) != NULL) {
		redis->blocks = block->next;
		free(block);
	}
	for (unsigned i = 0; redis->nodes != NULL && i < redis->count; i++)
		free(redis->nodes[i].text);
	hf_buffer_deinit(&redis->scratch);
	free(redis->password);
	free(redis->nodes);
	free(redis);
}

unsigned saver_redis_count(const struct saver_redis *redis)
{
	return redis->count;
}

unsigned saver_redis_node_of(const struct saver_redis *redis, uint16_t slot)
{
	return (unsigned)slot * redis->count / HF_SLOTS;
}

const char *saver_redis_address(const struct saver_redis *redis, unsigned number)
{
	return redis->nodes[number].text;
}

enum saver_node_state saver_redis_state(const struct saver_redis *redis, unsigned number)
{
	return redis->nodes[number].state;
}

void saver_redis_serve(struct saver_redis *redis, unsigned number)
{
	struct node *node = &redis->nodes[number];

	if (node->state != SAVER_NODE_CHECKING)
		return;
	node->state = SAVER_NODE_SERVING;
	hf_backoff_reset(&node->backoff);
}

void saver_redis_reset(struct saver_redis *redis, unsigned number, const char *reason)
{
	node_cut(&redis->nodes[number], reason);
}

bool saver_redis_all_serving(const struct saver_redis *redis)
{
	for (unsigned i = 0; i < redis->count; i++) {
		if (redis->nodes[i].state != SAVER_NODE_SERVING)
			return false;
	}
	return true;
}

void saver_redis_ignore(const redisReply *reply, enum saver_error error, void *ctx)
{
}
