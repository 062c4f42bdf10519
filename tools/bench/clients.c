/* The schedules of conn, recv and storm: when which client connects, drops, comes back, beats. */
#include <errno.h>
#include <stdlib.h>

#include "client.h"

#define SECOND_NS   1000000000ull
#define SWEEP_TICKS 100 /* every client is looked at once a second */
#define SILENCE_S   10  /* no answer to a PING */

static const struct options *options_of(const struct fleet *fleet)
{
	return fleet->engine.worker->options;
}

/* Those of all workers interleave by their numbers. 0: all that this stage still has are done. */
static uint64_t follow_stage(struct fleet *fleet, const struct stage *stage)
{
	bool up = stage->to > stage->from;

	for (unsigned i = 0; up ? fleet->next_arrival < fleet->count : fleet->next_arrival > 0;
	     i++) {
		struct client *client = &fleet->clients[fleet->next_arrival - !up];
		uint64_t due_ns = fleet->engine.worker->shared->start_ns;

		if (!stage_has(stage, client->number))
			break;
		due_ns += stage_due_ns(stage, client->number);
		if (due_ns > fleet->engine.now_ns)
			return due_ns;
		if (i == BURST)
			return fleet->engine.now_ns;
		client->left = !up;
		if (!up)
			client_drop(client, DROP_BYE);
		else if (!client->waiting)
			client_start(client, due_ns);
		fleet->next_arrival += up ? 1 : -1ull;
	}
	return 0;
}

static uint64_t follow_shape(struct fleet *fleet)
{
	const struct shape *shape = &options_of(fleet)->shape;

	while (fleet->stage < shape->count) {
		const struct stage *stage = &shape->stages[fleet->stage];
		uint64_t due_ns = follow_stage(fleet, stage);

		if (due_ns != 0)
			return due_ns;
		due_ns =
			fleet->engine.worker->shared->start_ns + stage->begin_ns + stage->length_ns;
		if (due_ns > fleet->engine.now_ns)
			return due_ns;
		fleet->stage++;
	}
	return UINT64_MAX;
}

static uint64_t make_returns(struct fleet *fleet)
{
	double share = options_of(fleet)->reconnect_rate / fleet->engine.worker->count;

	for (unsigned i = 0; fleet->next_back < fleet->back_count; i++) {
		struct client *client = &fleet->clients[fleet->back[fleet->next_back]];
		uint64_t due_ns = fleet->back_start_ns;

		if (share > 0)
			due_ns += (uint64_t)((double)fleet->next_back / share * 1e9);
		if (due_ns > fleet->engine.now_ns)
			return due_ns;
		if (i == BURST)
			return fleet->engine.now_ns;
		fleet->next_back++;
		client_start(client, due_ns);
	}
	return UINT64_MAX;
}

static void begin_wave(struct fleet *fleet)
{
	struct wave *wave = &fleet->engine.worker->stats->waves[fleet->next_wave];

	fleet->back_count = fleet->next_back = 0;
	fleet->back_start_ns = wave->begin_ns = fleet->engine.now_ns;
	fleet->current_wave = ++fleet->next_wave;
	fleet->drop_pos = 0;
	fleet->in_storm = true;
}

/* The same clients drop in each wave, so that the others stay a steady measure; and some of them at
 * a time, so that these are read meanwhile. */
static uint64_t drop_some(struct fleet *fleet)
{
	struct wave *wave = &fleet->engine.worker->stats->waves[fleet->current_wave - 1];
	enum drop_kind kind = options_of(fleet)->resume ? DROP_CUT : DROP_BYE;
	unsigned dropped = 0;

	if (options_of(fleet)->reset)
		kind = DROP_RESET;
	for (; fleet->drop_pos < fleet->count && dropped < BURST; fleet->drop_pos++) {
		struct client *client = &fleet->clients[fleet->drop_pos];

		if (client->state != CLIENT_OPEN ||
		    !mix_chosen(client->number, 0, options_of(fleet)->fraction))
			continue;
		client_drop(client, kind);
		client->dropped = true;
		client->back = BACK_WAVE;
		client->wave = (uint8_t)fleet->current_wave;
		fleet->back[fleet->back_count++] = (uint32_t)fleet->drop_pos;
		wave->dropped++;
		dropped++;
	}
	return fleet->drop_pos < fleet->count ? fleet->engine.now_ns : UINT64_MAX;
}

static uint64_t wave_due(const struct fleet *fleet)
{
	const struct options *options = options_of(fleet);

	return fleet->engine.worker->shared->start_ns + shape_length_ns(&options->shape) +
	       (options->settle_ms + fleet->next_wave * options->wave_every_ms) * 1000000u;
}

static uint64_t on_schedule(struct engine *engine)
{
	struct fleet *fleet = engine->ctx;
	uint64_t next_ns = follow_shape(fleet), wave_ns = UINT64_MAX, back_ns;

	engine->worker->stats->schedule_done = next_ns == UINT64_MAX;
	next_ns = HF_MIN(next_ns, retry_due(fleet));
	next_ns = HF_MIN(next_ns, mix_churn_due(fleet));
	if (fleet->upstream != NULL)
		next_ns = HF_MIN(next_ns, upstream_send_due(fleet));
	if (options_of(fleet)->command == COMMAND_STORM) {
		if (fleet->next_wave < options_of(fleet)->waves) {
			wave_ns = wave_due(fleet);
			if (engine->now_ns >= wave_ns) {
				begin_wave(fleet);
				wave_ns = UINT64_MAX;
			}
		}
		if (fleet->current_wave > 0)
			wave_ns = HF_MIN(wave_ns, drop_some(fleet));
		back_ns = make_returns(fleet);
		next_ns = HF_MIN(next_ns, HF_MIN(wave_ns, back_ns));
	}
	return next_ns;
}

static void look_after(struct fleet *fleet, struct client *client)
{
	uint32_t idle_s = (uint32_t)(fleet->engine.now_ns / SECOND_NS) - client->last_sent_s;

	if (client->state == CLIENT_IDLE)
		return;
	if (client->state != CLIENT_OPEN) {
		if (fleet->engine.now_ns - client->started_ns >=
		    options_of(fleet)->login_timeout_ms * 1000000u)
			client_give_up(client);
		return;
	}
	if (client->silent && idle_s > SILENCE_S) {
		client_give_up(client);
		return;
	}
	/* A little early: a beat that is late by a sweep and the way must not cost it. */
	if (client->heartbeat_s > 0 && idle_s + 2 >= client->heartbeat_s)
		client_ping(client);
	if (client->slow && client->state == CLIENT_OPEN)
		client_read_slowly(client);
}

/* Beats, deadlines and slow reading: a share of the clients each tick, each of them once a second.
 */
static void sweep(struct fleet *fleet)
{
	fleet->sweep_credit += fleet->count;
	for (; fleet->sweep_credit >= SWEEP_TICKS; fleet->sweep_credit -= SWEEP_TICKS) {
		look_after(fleet, &fleet->clients[fleet->sweep_pos]);
		fleet->sweep_pos = (fleet->sweep_pos + 1) % fleet->count;
	}
}

static bool wave_is_over(const struct fleet *fleet)
{
	const struct wave *wave = &fleet->engine.worker->stats->waves[fleet->current_wave - 1];

	return fleet->drop_pos == fleet->count && fleet->next_back == fleet->back_count &&
	       wave->recovered == wave->dropped;
}

static void on_tick(struct engine *engine)
{
	struct fleet *fleet = engine->ctx;

	if (fleet->in_storm && wave_is_over(fleet))
		fleet->in_storm = false;
	if (fleet->count > 0)
		sweep(fleet);
	if (fleet->end_ns != 0 && engine->now_ns >= fleet->end_ns)
		engine->done = true;
}

static void set_end(struct fleet *fleet)
{
	const struct options *options = options_of(fleet);

	if (options->duration_ms == 0)
		return;
	fleet->end_ns = fleet->engine.worker->shared->start_ns + shape_length_ns(&options->shape) +
			options->duration_ms * 1000000u;
	if (options->command == COMMAND_STORM)
		fleet->end_ns +=
			(options->settle_ms + (options->waves - 1) * options->wave_every_ms) *
			1000000u;
}

int clients_run(struct worker *worker)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));
	int err;

	if (fleet == NULL)
		return -ENOMEM;
	err = engine_open(&fleet->engine, worker);
	fleet->count = worker->options->count / worker->count +
		       (worker->index < worker->options->count % worker->count);
	fleet->clients = calloc(fleet->count + 1, sizeof(*fleet->clients));
	fleet->back = calloc(fleet->count + 1, sizeof(*fleet->back));
	fleet->buffer = malloc(CLIENT_BUFFER);
	if (err < 0 || fleet->clients == NULL || fleet->back == NULL || fleet->buffer == NULL)
		goto out;
	for (uint64_t i = 0; i < fleet->count; i++)
		client_init(&fleet->clients[i], fleet,
			    (uint32_t)(i * worker->count + worker->index));
	if ((err = retry_open(fleet)) < 0 || (err = mix_open(fleet)) < 0)
		goto out;
	if (worker->options->resume && (err = tickets_open(fleet)) < 0)
		goto out;
	if (worker->options->tls && (err = secure_open(fleet)) < 0)
		goto out;
	if (worker->options->command == COMMAND_UPSTREAM && (err = upstream_open(fleet)) < 0)
		goto out;
	fleet->engine.ctx = fleet;
	fleet->engine.on_schedule = on_schedule;
	fleet->engine.on_tick = on_tick;
	set_end(fleet);
	engine_run(&fleet->engine);
	/* The connections end with the process: the server sees them leave without BYE, as a
	 * network that breaks, unless there is time to say it. */
	for (uint64_t i = 0; i < fleet->count; i++)
		client_drop(&fleet->clients[i], DROP_BYE);
out:
	upstream_close(fleet);
	retry_close(fleet);
	mix_close(fleet);
	tickets_close(fleet);
	secure_close(fleet);
	free(fleet->buffer);
	free(fleet->back);
	free(fleet->clients);
	engine_close(&fleet->engine);
	free(fleet);
	return err;
}
