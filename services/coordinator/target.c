#include "target.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"

TAILQ_HEAD(parcels, parcel);

struct lane {
	TAILQ_ENTRY(lane) link; /* in target->ready */
	struct parcels waiting;
	bool is_ready, running;
};

struct target {
	struct hf_table_node node;
	TAILQ_ENTRY(target) link; /* in targets->starved */
	struct targets *targets;
	uint32_t app;
	struct hf_webhook webhook, next; /* in force; as of the last submit */
	bool changed, starved;
	struct post_pool *pool;
	struct lane lanes[TARGET_LANES];
	TAILQ_HEAD(, lane) ready; /* lanes with work and no request */
	struct parcels in_flight;
	uint32_t in_flight_count;
	uint64_t waiting, waiting_bytes;
	uint64_t rate_due_us;                   /* when the bucket is empty again */
	struct hf_timer idle_timer, rest_timer; /* rest: armed while no request may start */
	struct hf_task run_task;
};

struct targets {
	struct hf_loop *loop;
	struct targets_limits limits;
	parcel_cb done;
	struct hf_table table;        /* by (app, id of the webhook) */
	TAILQ_HEAD(, target) starved; /* have work, but all together have too many requests */
	size_t waiting, in_flight;
	uint64_t bytes;
};

static uint64_t hash_of(uint32_t app, const char *id)
{
	return hf_hash(id, strlen(id)) ^ hf_hash_u64(app);
}

static struct target *find(const struct targets *targets, uint32_t app, const char *id)
{
	struct hf_table_node *node = hf_table_find(&targets->table, hash_of(app, id));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct target *target = HF_CONTAINER_OF(node, struct target, node);

		if (target->app == app && strcmp(target->webhook.id, id) == 0)
			return target;
	}
	return NULL;
}

static void make_ready(struct target *target, struct lane *lane)
{
	if (lane->is_ready || lane->running || TAILQ_EMPTY(&lane->waiting))
		return;
	lane->is_ready = true;
	TAILQ_INSERT_TAIL(&target->ready, lane, link);
}

/* Out of its lane's queue: it was sent, or will not be. */
static void unqueue(struct parcel *parcel)
{
	struct target *target = parcel->target;
	struct lane *lane = &target->lanes[parcel->lane];

	hf_wheel_disarm(&parcel->timer);
	TAILQ_REMOVE(&lane->waiting, parcel, link);
	target->waiting--;
	target->waiting_bytes -= parcel->request.body_len;
	target->targets->waiting--;
	if (lane->is_ready && TAILQ_EMPTY(&lane->waiting)) {
		lane->is_ready = false;
		TAILQ_REMOVE(&target->ready, lane, link);
	}
}

static void give_back(struct parcel *parcel, const struct post_outcome *outcome, bool lost)
{
	struct targets *targets = parcel->target->targets;

	targets->bytes -= parcel->request.body_len;
	targets->done(parcel, outcome, lost);
}

static void run(void *ctx);

static void schedule(struct target *target)
{
	hf_task_schedule(target->targets->loop, &target->run_task);
}

/* When there is room for a request, who waited for that may go on. */
static void feed_starved(struct targets *targets)
{
	struct target *target = TAILQ_FIRST(&targets->starved);

	if (target == NULL || targets->in_flight >= targets->limits.in_flight)
		return;
	TAILQ_REMOVE(&targets->starved, target, link);
	target->starved = false;
	schedule(target);
}

static void on_posted(const struct post_outcome *outcome, void *ctx)
{
	struct parcel *parcel = ctx;
	struct target *target = parcel->target;
	struct lane *lane = &target->lanes[parcel->lane];

	TAILQ_REMOVE(&target->in_flight, parcel, link);
	target->in_flight_count--;
	target->targets->in_flight--;
	lane->running = false;
	give_back(parcel, outcome, false);
	make_ready(target, lane);
	schedule(target);
	feed_starved(target->targets);
}

static void start(struct target *target, struct lane *lane)
{
	struct parcel *parcel = TAILQ_FIRST(&lane->waiting);
	struct targets *targets = target->targets;

	lane->is_ready = false;
	TAILQ_REMOVE(&target->ready, lane, link);
	unqueue(parcel);
	parcel->started_us = hf_loop_now_us(targets->loop);
	parcel->request.wall_ms = hf_loop_wall_ms(targets->loop);
	if (post_start(target->pool, &parcel->request, on_posted, parcel) < 0) {
		give_back(parcel, NULL, true);
		make_ready(target, lane);
		return;
	}
	parcel->running = lane->running = true;
	TAILQ_INSERT_TAIL(&target->in_flight, parcel, link);
	target->in_flight_count++;
	targets->in_flight++;
}

/* The definition as of the last submit comes into force; with it new connections, as the old ones
 * may lead where it does not allow. */
static bool renew(struct target *target)
{
	struct targets *targets = target->targets;

	if (target->pool != NULL && !target->changed)
		return true;
	if (target->in_flight_count > 0)
		return false;
	post_pool_free(target->pool);
	target->pool = NULL;
	target->webhook = target->next;
	target->changed = false;
	return post_pool_new(targets->loop, &target->webhook, &targets->limits.post,
			     &target->pool) == 0;
}

static void run(void *ctx)
{
	struct target *target = ctx;
	struct targets *targets = target->targets;

	if (hf_timer_armed(&target->rest_timer)) {
		feed_starved(targets);
		return;
	}
	if (!renew(target)) { /* runs again when the last request has ended */
		feed_starved(targets);
		return;
	}
	while (!TAILQ_EMPTY(&target->ready) &&
	       target->in_flight_count < target->webhook.max_in_flight) {
		if (targets->in_flight >= targets->limits.in_flight) {
			if (!target->starved)
				TAILQ_INSERT_TAIL(&targets->starved, target, link);
			target->starved = true;
			break;
		}
		start(target, TAILQ_FIRST(&target->ready));
	}
	/* What this one had no use for is the next one's: what it waited for may have timed out. */
	feed_starved(targets);
	if (target->in_flight_count == 0 && target->waiting == 0)
		hf_loop_arm(targets->loop, &target->idle_timer, targets->limits.idle_ms);
}

static void target_free(struct target *target)
{
	struct targets *targets = target->targets;
	struct parcel *parcel;

	post_pool_free(target->pool);
	while ((parcel = TAILQ_FIRST(&target->in_flight)) != NULL) {
		TAILQ_REMOVE(&target->in_flight, parcel, link);
		targets->in_flight--;
		give_back(parcel, NULL, true);
	}
	for (size_t i = 0; i < TARGET_LANES; i++) {
		while ((parcel = TAILQ_FIRST(&target->lanes[i].waiting)) != NULL) {
			unqueue(parcel);
			give_back(parcel, NULL, true);
		}
	}
	if (target->starved)
		TAILQ_REMOVE(&targets->starved, target, link);
	hf_wheel_disarm(&target->idle_timer);
	hf_wheel_disarm(&target->rest_timer);
	hf_task_cancel(targets->loop, &target->run_task);
	hf_table_remove(&targets->table, &target->node);
	free(target);
}

static void on_idle(struct hf_timer *timer, void *ctx)
{
	struct target *target = ctx;

	if (target->in_flight_count == 0 && target->waiting == 0)
		target_free(target);
}

static void on_rested(struct hf_timer *timer, void *ctx)
{
	schedule(ctx);
}

void targets_rest(struct targets *targets, uint32_t app, const char *webhook, uint64_t delay_ms)
{
	struct target *target = find(targets, app, webhook);

	if (target != NULL)
		hf_loop_arm(targets->loop, &target->rest_timer, delay_ms);
}

static struct target *target_new(struct targets *targets, uint32_t app,
				 const struct hf_webhook *webhook)
{
	struct target *target = calloc(1, sizeof(*target));

	if (target == NULL)
		return NULL;
	target->targets = targets;
	target->app = app;
	target->webhook = target->next = *webhook;
	TAILQ_INIT(&target->ready);
	TAILQ_INIT(&target->in_flight);
	for (size_t i = 0; i < TARGET_LANES; i++)
		TAILQ_INIT(&target->lanes[i].waiting);
	hf_timer_init(&target->idle_timer, on_idle, target);
	hf_timer_init(&target->rest_timer, on_rested, target);
	hf_task_init(&target->run_task, run, target);
	hf_table_insert(&targets->table, &target->node, hash_of(app, webhook->id));
	return target;
}

/* A token bucket that holds a second's worth. */
static bool take_rate(struct target *target, const struct hf_webhook *webhook)
{
	uint64_t now_us = hf_loop_now_us(target->targets->loop);
	uint64_t cost_us = 1000000 / webhook->max_per_second;
	uint64_t due_us = HF_MAX(target->rate_due_us, now_us);

	if (due_us + cost_us > now_us + HF_MAX(cost_us, (uint64_t)1000000))
		return false;
	target->rate_due_us = due_us + cost_us;
	return true;
}

static void on_waited(struct hf_timer *timer, void *ctx)
{
	struct parcel *parcel = ctx;

	unqueue(parcel);
	schedule(parcel->target);
	give_back(parcel, NULL, false);
}

int targets_submit(struct targets *targets, uint32_t app, const struct hf_webhook *webhook,
		   uint64_t lane_hash, struct parcel *parcel)
{
	const struct targets_limits *limits = &targets->limits;
	struct target *target = find(targets, app, webhook->id);
	size_t len = parcel->request.body_len;

	if (target == NULL)
		target = target_new(targets, app, webhook);
	if (target == NULL)
		return -ENOMEM;
	hf_wheel_disarm(&target->idle_timer);
	schedule(target); /* which arms it again if nothing comes of this */
	if (memcmp(&target->next, webhook, sizeof(*webhook)) != 0) {
		target->next = *webhook;
		target->changed = true;
	}
	if (target->waiting >= limits->queue || target->waiting_bytes + len > limits->queue_bytes ||
	    targets->bytes + len > limits->bytes)
		return -EAGAIN;
	if (!take_rate(target, webhook))
		return -EDQUOT;

	parcel->target = target;
	parcel->lane = (uint8_t)(lane_hash % TARGET_LANES);
	parcel->running = false;
	parcel->submitted_us = hf_loop_now_us(targets->loop);
	hf_timer_init(&parcel->timer, on_waited, parcel);
	hf_loop_arm(targets->loop, &parcel->timer, limits->queue_timeout_ms);
	TAILQ_INSERT_TAIL(&target->lanes[parcel->lane].waiting, parcel, link);
	target->waiting++;
	target->waiting_bytes += len;
	targets->waiting++;
	targets->bytes += len;
	make_ready(target, &target->lanes[parcel->lane]);
	return 0;
}

struct targets *targets_new(struct hf_loop *loop, parcel_cb done)
{
	struct targets *targets = calloc(1, sizeof(*targets));

	if (targets == NULL || hf_table_init(&targets->table) < 0) {
		free(targets);
		return NULL;
	}
	targets->loop = loop;
	targets->done = done;
	TAILQ_INIT(&targets->starved);
	return targets;
}

void targets_set_limits(struct targets *targets, const struct targets_limits *limits)
{
	targets->limits = *limits;
}

void targets_free(struct targets *targets)
{
	struct hf_table_node *node;
	size_t pos = 0;

	if (targets == NULL)
		return;
	while ((node = hf_table_walk(&targets->table, &pos)) != NULL) {
		target_free(HF_CONTAINER_OF(node, struct target, node));
		pos = 0; /* the bucket may have more */
	}
	hf_table_deinit(&targets->table);
	free(targets);
}

size_t targets_count(const struct targets *targets)
{
	return targets->table.count;
}

size_t targets_waiting(const struct targets *targets)
{
	return targets->waiting;
}

size_t targets_in_flight(const struct targets *targets)
{
	return targets->in_flight;
}
