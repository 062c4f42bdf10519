#define HF_LOG_MODULE "saver"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "hf_backoff.h"
#include "hf_clock.h"
#include "hf_config.h"
#include "hf_log.h"
#include "redis_commands.h"

#define KEEPALIVE_MS 5000u
#define READ_SIZE    16384u /* what a Redis reads of one connection at a time, and a little more */

struct node {
	struct saver_redis *redis;
	unsigned number;
	enum saver_node_state state;
	char *text; /* as configured */
	struct sockaddr_storage address;
	socklen_t address_len;
	struct saver_redis_link links[SAVER_REDIS_LINKS_MAX];
	unsigned links_up;
	bool connecting;
	uint64_t open; /* commands that are not answered, on all links */
	struct hf_backoff backoff;
	struct hf_timer timer;     /* next attempt when down, else the oldest command's deadline */
	struct hf_timer keepalive; /* asks on links that are quiet */
	int64_t *up;
};

struct saver_redis {
	struct saver_redis_options options;
	struct saver_redis_io io;
	char *password;
	unsigned count;
	bool closed;
	struct node *nodes;
	struct saver_redis_commands commands;
	struct hf_turn_hook hook;
	struct hf_task
		kick; /* something is queued: the loop must not wait before the hook has run */
};

static void on_reply(struct saver_redis_link *link, struct saver_redis_op *op,
		     const redisReply *reply)
{
	struct node *node = link->owner;

	node->open--;
	saver_redis_commands_end(&node->redis->commands, op, reply, node->number);
}

/* One connection is gone, or of no use. So are the others: behind them may be another Redis by now.
 * Callbacks that still run find the node down. */
static void node_lost(struct node *node, const char *reason)
{
	struct saver_redis *redis = node->redis;
	bool was_connected = node->state != SAVER_NODE_DOWN;
	struct saver_redis_ops ops = STAILQ_HEAD_INITIALIZER(ops);
	struct saver_redis_op *op;

	if (!redis->closed && (was_connected || node->backoff.attempts == 0))
		HF_WARN("redis_lost", "node=%u address=%s reason=%s", node->number, node->text,
			hf_log_quote(reason, strlen(reason)));
	node->connecting = false;
	node->state = SAVER_NODE_DOWN;
	node->links_up = 0;
	node->open = 0;
	*node->up = 0;
	for (unsigned i = 0; i < redis->options.links; i++)
		saver_redis_link_close(&node->links[i], &ops);
	hf_wheel_disarm(&node->keepalive);
	if (redis->closed)
		hf_wheel_disarm(&node->timer);
	else
		hf_loop_arm(redis->io.loop, &node->timer, hf_backoff_next_ms(&node->backoff));
	if (was_connected)
		redis->options.on_lost(node->number, redis->options.ctx);
	while ((op = STAILQ_FIRST(&ops)) != NULL) {
		STAILQ_REMOVE_HEAD(&ops, next);
		saver_redis_commands_end(&redis->commands, op, NULL, node->number);
	}
}

static void node_cut(struct node *node, const char *reason)
{
	if (node->connecting || node->state != SAVER_NODE_DOWN)
		node_lost(node, reason);
}

static void on_broken(struct saver_redis_link *link, const char *reason)
{
	node_lost(link->owner, reason);
}

static enum saver_error send_on(struct node *node, struct saver_redis_link *link, uint16_t slot,
				enum saver_op kind, const struct hf_bytes *words, size_t count,
				saver_redis_cb cb, void *ctx)
{
	struct saver_redis *redis = node->redis;
	struct saver_redis_op *op =
		saver_redis_commands_begin(&redis->commands, slot, kind, cb, ctx);

	if (op == NULL)
		return SAVER_INTERNAL;
	if (saver_redis_link_send(link, op, words, count) < 0) {
		saver_redis_commands_undo(&redis->commands, op);
		return SAVER_INTERNAL;
	}
	node->open++;
	hf_task_schedule(redis->io.loop, &redis->kick);
	return SAVER_OK;
}

static void on_auth(const redisReply *reply, enum saver_error error, void *ctx)
{
	if (error != SAVER_OK)
		node_cut(ctx, "AUTH was refused");
}

static void on_up(struct saver_redis_link *link)
{
	struct node *node = link->owner;
	struct saver_redis *redis = node->redis;
	struct hf_bytes auth[2] = { HF_BYTES_LITERAL("AUTH"), hf_bytes_of_string(redis->password) };

	if (redis->password[0] != '\0' &&
	    send_on(node, link, HF_SLOTS, SAVER_OP_CHECK, auth, 2, on_auth, node) != SAVER_OK) {
		node_cut(node, "out of memory");
		return;
	}
	if (++node->links_up < redis->options.links)
		return;
	node->connecting = false;
	node->state = SAVER_NODE_CHECKING;
	*node->up = 1;
	hf_wheel_disarm(&node->timer);
	hf_loop_arm(redis->io.loop, &node->keepalive, KEEPALIVE_MS);
	HF_INFO("redis_connected", "node=%u address=%s", node->number, node->text);
	redis->options.on_connected(node->number, redis->options.ctx);
}

static void connect_node(struct node *node)
{
	struct saver_redis *redis = node->redis;
	int err = 0;

	node->connecting = true;
	hf_loop_arm(redis->io.loop, &node->timer, redis->options.timeout_ms);
	for (unsigned i = 0; i < redis->options.links && err == 0; i++)
		err = saver_redis_link_open(&node->links[i],
					    (const struct sockaddr *)&node->address,
					    node->address_len);
	if (err < 0)
		node_lost(node, strerror(-err));
}

/* When the oldest command left that is not answered; 0: there is none. */
static uint64_t oldest_of(const struct node *node)
{
	uint64_t oldest = 0;

	for (unsigned i = 0; i < node->redis->options.links; i++) {
		uint64_t at_ns = saver_redis_link_oldest_ns(&node->links[i]);

		if (at_ns != 0 && (oldest == 0 || at_ns < oldest))
			oldest = at_ns;
	}
	return oldest;
}

/* Either the time for a new attempt, or the oldest command (or the connect itself) is late. */
static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct node *node = ctx;
	struct saver_redis *redis = node->redis;
	uint64_t timeout_ns = (uint64_t)redis->options.timeout_ms * 1000000, oldest, age;

	if (node->connecting) {
		node_lost(node, "connect timed out");
		return;
	}
	if (node->state == SAVER_NODE_DOWN) {
		connect_node(node);
		return;
	}
	oldest = oldest_of(node);
	if (oldest == 0)
		return;
	age = hf_clock_monotonic_ns() - oldest;
	if (age >= timeout_ns)
		node_lost(node, "timed out");
	else
		hf_loop_arm(redis->io.loop, timer, (timeout_ns - age) / 1000000 + 1);
}

/* A link that is used only under load must neither be ended as idle nor break unseen. */
static void on_keepalive(struct hf_timer *timer, void *ctx)
{
	struct node *node = ctx;
	struct saver_redis *redis = node->redis;
	struct hf_bytes ping = HF_BYTES_LITERAL("PING");

	for (unsigned i = 1; i < redis->options.links; i++) {
		if (STAILQ_EMPTY(&node->links[i].ops) &&
		    send_on(node, &node->links[i], HF_SLOTS, SAVER_OP_CHECK, &ping, 1,
			    saver_redis_ignore, NULL) != SAVER_OK)
			break; /* no memory: the next time */
	}
	hf_loop_arm(redis->io.loop, timer, KEEPALIVE_MS);
}

/* End of a turn: what it produced leaves now, in one write for each link. */
static void on_turn_end(void *ctx)
{
	struct saver_redis *redis = ctx;

	for (unsigned i = 0; i < redis->count; i++) {
		struct node *node = &redis->nodes[i];

		for (unsigned j = 0; j < redis->options.links && node->open > 0; j++)
			saver_redis_link_flush(&node->links[j]);
		if (node->open > 0 && node->state != SAVER_NODE_DOWN &&
		    !hf_timer_armed(&node->timer))
			hf_loop_arm(redis->io.loop, &node->timer, redis->options.timeout_ms);
	}
}

/* Its only work is to make the turn that runs the hook. */
static void on_kick(void *ctx)
{
}

/* The first link that has less to do than Redis reads of it at once; else the least busy one. So a
 * quiet node has all in one place, and a busy one gets as much at a time as it takes. */
static unsigned choose_link(const struct node *node)
{
	unsigned best = 0;

	for (unsigned i = 0; i < node->redis->options.links; i++) {
		if (node->links[i].bytes < READ_SIZE)
			return i;
		if (node->links[i].bytes < node->links[best].bytes)
			best = i;
	}
	return best;
}

static enum saver_error may_send(const struct node *node)
{
	switch (node->state) {
	case SAVER_NODE_DOWN:
		return SAVER_STORE_UNAVAILABLE;
	case SAVER_NODE_CHECKING:
		return SAVER_REFILLING;
	case SAVER_NODE_SERVING:
		break;
	}
	return SAVER_OK;
}

enum saver_error saver_redis_send_early(struct saver_redis *redis, unsigned number,
					enum saver_op kind, const struct hf_bytes *words,
					size_t count, saver_redis_cb cb, void *ctx)
{
	struct node *node = &redis->nodes[number];

	if (node->state == SAVER_NODE_DOWN)
		return SAVER_STORE_UNAVAILABLE;
	return send_on(node, &node->links[0], HF_SLOTS, kind, words, count, cb, ctx);
}

enum saver_error saver_redis_send(struct saver_redis *redis, unsigned number, enum saver_op kind,
				  const struct hf_bytes *words, size_t count, saver_redis_cb cb,
				  void *ctx)
{
	enum saver_error error = may_send(&redis->nodes[number]);

	return error != SAVER_OK
		       ? error
		       : saver_redis_send_early(redis, number, kind, words, count, cb, ctx);
}

enum saver_error saver_redis_send_slot(struct saver_redis *redis, uint16_t slot, enum saver_op kind,
				       const struct hf_bytes *words, size_t count,
				       saver_redis_cb cb, void *ctx)
{
	struct node *node = &redis->nodes[saver_redis_node_of(redis, slot)];
	struct saver_slot_use *use = &redis->commands.slots[slot];
	enum saver_error error = may_send(node);

	if (error != SAVER_OK)
		return error;
	if (use->open == 0)
		use->link = choose_link(node);
	return send_on(node, &node->links[use->link], slot, kind, words, count, cb, ctx);
}

/* Its answers take a good part of the time after which its connection is cut: more commands would
 * bring that about, and all of them would have to be sent again. */
static bool is_slow(const struct node *node)
{
	uint64_t oldest_ns = oldest_of(node);

	return oldest_ns != 0 && hf_clock_monotonic_ns() - oldest_ns >
					 (uint64_t)node->redis->options.timeout_ms * 1000000 / 4;
}

enum saver_error saver_redis_admit(const struct saver_redis *redis, unsigned number)
{
	const struct node *node = &redis->nodes[number];
	enum saver_error error = may_send(node);
	size_t unsent = 0;

	if (error != SAVER_OK)
		return error;
	for (unsigned i = 0; i < redis->options.links; i++)
		unsent += hf_buffer_len(&node->links[i].out);
	return node->open >= redis->options.commands_max || unsent >= redis->options.bytes_max ||
			       is_slow(node)
		       ? SAVER_OVERLOADED
		       : SAVER_OK;
}

/* "host:port" or "unix:/path" into the node. */
static int parse_address(struct node *node, const char *text)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	struct sockaddr_un *path = (struct sockaddr_un *)&node->address;
	const char *colon = strrchr(text, ':');
	char host[256];
	size_t len;

	node->text = strdup(text);
	if (node->text == NULL)
		return -ENOMEM;
	if (strncmp(text, "unix:", 5) == 0) {
		len = strlen(text + 5);
		if (text[5] != '/' || len >= sizeof(path->sun_path))
			return -EINVAL;
		path->sun_family = AF_UNIX;
		memcpy(path->sun_path, text + 5, len + 1);
		node->address_len = sizeof(*path);
		return 0;
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
	if (atoi(colon + 1) <= 0 || atoi(colon + 1) > 65535 ||
	    getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return -EINVAL;
	memcpy(&node->address, found->ai_addr, found->ai_addrlen);
	node->address_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static void make_metrics(struct saver_redis *redis, struct hf_metrics *metrics)
{
	char labels[64];

	redis->io.duration =
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

static int node_init(struct saver_redis *redis, unsigned number)
{
	struct node *node = &redis->nodes[number];
	const char *text = redis->options.nodes->values[number];
	int err;

	node->redis = redis;
	node->number = number;
	node->backoff = (struct hf_backoff){ .base_ms = 50, .cap_ms = 2000 };
	for (unsigned i = 0; i < SAVER_REDIS_LINKS_MAX; i++)
		saver_redis_link_init(&node->links[i], &redis->io, node);
	hf_timer_init(&node->timer, on_timer, node);
	hf_timer_init(&node->keepalive, on_keepalive, node);
	err = parse_address(node, text);
	if (err < 0)
		HF_ERROR("redis_address", "node=%u address=%s err=%s", number, text,
			 strerror(-err));
	return err;
}

int saver_redis_new(struct hf_loop *loop, struct hf_metrics *metrics,
		    const struct saver_redis_options *options, struct saver_redis **ret_redis)
{
	struct saver_redis *redis = calloc(1, sizeof(*redis));
	int err = -ENOMEM;

	if (redis == NULL)
		return err;
	redis->options = *options;
	redis->options.links = HF_MAX(HF_MIN(options->links, SAVER_REDIS_LINKS_MAX), 1u);
	redis->io = (struct saver_redis_io){
		.loop = loop, .on_up = on_up, .on_reply = on_reply, .on_broken = on_broken
	};
	saver_redis_commands_init(&redis->commands, metrics);
	hf_task_init(&redis->kick, on_kick, redis);
	redis->nodes = calloc(options->nodes->count, sizeof(*redis->nodes));
	redis->password = strdup(options->password);
	if (redis->nodes == NULL || redis->password == NULL || saver_redis_io_init(&redis->io) < 0)
		goto fail;
	redis->count = (unsigned)options->nodes->count;
	for (unsigned i = 0; i < redis->count; i++) {
		err = node_init(redis, i);
		if (err < 0)
			goto fail;
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
	if (redis == NULL)
		return;
	if (redis->hook.fn != NULL)
		hf_loop_remove_hook(redis->io.loop, &redis->hook);
	hf_task_cancel(redis->io.loop, &redis->kick);
	saver_redis_commands_deinit(&redis->commands);
	for (unsigned i = 0; i < redis->count; i++)
		free(redis->nodes[i].text);
	saver_redis_io_deinit(&redis->io);
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

bool saver_redis_slot_busy(const struct saver_redis *redis, uint16_t slot)
{
	return redis->commands.slots[slot].open > 0;
}

void saver_redis_ignore(const redisReply *reply, enum saver_error error, void *ctx)
{
}
