#define HF_LOG_MODULE "saver"
#include "saver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "acked.h"
#include "hf_log.h"
#include "kept.h"
#include "labels.h"
#include "log_cache.h"
#include "redelivery.h"
#include "refill.h"
#include "register.pb-c.h"
#include "room.pb-c.h"
#include "spool.h"
#include "sweep.h"

#define AT(member) offsetof(struct saver_config, member)

enum { SAVER_REQUIRE_MEMORY, SAVER_REQUIRE_FSYNC };
static const char *const durability_choices[] = { "memory", "fsync", NULL };

static const struct hf_option saver_options[] = {
	HF_SERVICE_OPTIONS(struct saver_config),
	{ "redis.nodes", HF_OPT_STRINGS, AT(redis_nodes), "127.0.0.1:6379", 1,
	  SAVER_REDIS_NODES_MAX,
	  "host:port or unix:/path of each Redis; node i of n has slots i*4096/n and up" },
	{ "redis.password", HF_OPT_SECRET, AT(redis_password), "", 0, 512, "for AUTH" },
	{ "redis.timeout", HF_OPT_MSEC, AT(redis_timeout_ms), "2s", 50, 60000,
	  "an older unanswered command cuts the connection" },
	{ "redis.connections", HF_OPT_UINT, AT(redis_connections), "8", 1, SAVER_REDIS_LINKS_MAX,
	  "connections to each node; it takes some 16 KiB from each between two flushes" },
	{ "redis.require", HF_OPT_ENUM, AT(redis_require), "fsync", 0, 0,
	  "memory or fsync: with fsync /readyz says no when a Redis promises less",
	  durability_choices, NULL, 0, true },
	{ "redis.commands", HF_OPT_UINT, AT(redis_commands), "100000", 100, 10000000,
	  "unanswered commands a node; above it calls end OVERLOADED" },
	{ "redis.bytes", HF_OPT_SIZE, AT(redis_bytes), "64MiB", 1 << 20, 1ull << 32,
	  "unsent bytes a node; above it calls end OVERLOADED" },
	{ "database.socket", HF_OPT_STRING, AT(database_socket), "", 0, 107,
	  "Unix socket of MySQL or MariaDB; empty: use host and port" },
	{ "database.host", HF_OPT_STRING, AT(database_host), "127.0.0.1", 1, 255,
	  "resolved once, at start" },
	{ "database.port", HF_OPT_UINT, AT(database_port), "3306", 1, 65535, "TCP port" },
	{ "database.user", HF_OPT_STRING, AT(database_user), "holdfast", 0, 128, "user" },
	{ "database.password", HF_OPT_SECRET, AT(database_password), "", 0, 512, "password" },
	{ "database.name", HF_OPT_STRING, AT(database_name), "holdfast", 1, 64,
	  "made when it is missing and the user may; letters, digits and _" },
	{ "database.timeout", HF_OPT_MSEC, AT(database_timeout_ms), "5s", 100, 600000,
	  "longest statement; then the link is cut" },
	{ "database.delay", HF_OPT_MSEC, AT(database_delay_ms), "1s", 0, 600000,
	  "a stored message acked sooner is never written to the database" },
	{ "database.batch", HF_OPT_UINT, AT(database_batch), "500", 1, 1000,
	  "most rows of one insert" },
	{ "database.rows", HF_OPT_UINT, AT(database_rows), "200000", 1000, 10000000,
	  "rows that may wait in memory to be written, and as many deletes" },
	{ "database.bytes", HF_OPT_SIZE, AT(database_bytes), "256MiB", 1 << 20, 1ull << 36,
	  "their frames" },
	{ "store.ttl", HF_OPT_MSEC, AT(store_ttl_ms), "1d", 1000, 28 * 86400000ull,
	  "expiry of messages that come without one" },
	{ "store.ttl_max", HF_OPT_MSEC, AT(store_ttl_max_ms), "28d", 1000, 366 * 86400000ull,
	  "latest expiry" },
	{ "store.cap", HF_OPT_UINT, AT(store_cap), "100", 1, SAVER_CAP_MAX,
	  "messages kept for a registration when the caller names no cap" },
	{ "redelivery.after", HF_OPT_MSEC, AT(redelivery_after_ms), "3s", 100, 60000,
	  "a message not acked by then is looked after; then after twice that, and so on" },
	{ "redelivery.entries", HF_OPT_UINT, AT(redelivery_entries), "500000", 1000, 16000000,
	  "messages looked after; above it a later sweep or the next login delivers" },
	{ "redelivery.timeout", HF_OPT_MSEC, AT(redelivery_timeout_ms), "2s", 50, 60000,
	  "longest wait for a register or a room" },
	{ "quarantine.loads", HF_OPT_UINT, AT(quarantine_loads), "5", 1, 1000000,
	  "logins that load messages with no ack between; then the queue is closed" },
	{ "quarantine.time", HF_OPT_MSEC, AT(quarantine_time_ms), "10m", 1000, 7 * 86400000ull,
	  "for how long" },
	{ "quarantine.deliveries", HF_OPT_UINT, AT(quarantine_deliveries), "5", 1, 1000000,
	  "deliveries of one message with no ack; then loads leave it out" },
	{ "quarantine.message_time", HF_OPT_MSEC, AT(quarantine_message_time_ms), "1h", 1000,
	  28 * 86400000ull, "for how long" },
	{ "quarantine.patience", HF_OPT_MSEC, AT(quarantine_patience_ms), "30s", 0, 3600000,
	  "logins or deliveries that follow each other so soon count as one" },
	{ "quarantine.entries", HF_OPT_UINT, AT(quarantine_entries), "200000", 1000, 16000000,
	  "registrations, and messages, that are counted" },
	{ "history.messages", HF_OPT_UINT, AT(history_messages), "1000000", 1000, 16000000,
	  "recent messages whose counts are known; 80 bytes each" },
	{ "registry.seen_interval", HF_OPT_MSEC, AT(registry_seen_ms), "10m", 0, 86400000,
	  "a login that changes nothing else writes last_seen only when it is older than this" },
	{ "registry.known", HF_OPT_UINT, AT(registry_known), "1048576", 1024, 1 << 28,
	  "registrations known to exist without asking Redis; 8 bytes each, up to a power of two" },
	{ "registry.rows", HF_OPT_UINT, AT(registry_rows), "100000", 1000, 10000000,
	  "changed records that may wait in memory to be written to the database" },
	{ "registry.bytes", HF_OPT_SIZE, AT(registry_bytes), "64MiB", 1 << 20, 1ull << 36,
	  "their size" },
	{ "sweep.period", HF_OPT_MSEC, AT(sweep_period_ms), "10m", 1000, 86400000,
	  "time for one pass over all queues: expiry, and what the database lacks", NULL, NULL, 0,
	  true },
	{ "await.max", HF_OPT_UINT, AT(await_max), "50000", 1, 1000000,
	  "callers that wait for an ack" },
	{ "claims.ttl", HF_OPT_MSEC, AT(claims_ttl_ms), "1d", 1000, 7 * 86400000ull,
	  "for how long an idempotency key answers" },
	{ "spool.events", HF_OPT_UINT, AT(spool_events), "100000", 1, 100000000,
	  "events that may wait for an app's callbacks; above it new ones are refused", NULL, NULL,
	  0, true },
	{ "spool.bytes", HF_OPT_SIZE, AT(spool_bytes), "64MiB", 65536, 1ull << 36, "their bytes",
	  NULL, NULL, 0, true },
	{ "dead_letters.max", HF_OPT_UINT, AT(dead_letters_max), "1000", 1, 100000,
	  "deliveries that were given up, kept for each callback; the oldest leave first", NULL,
	  NULL, 0, true },
	{ "dead_letters.bytes", HF_OPT_SIZE, AT(dead_letters_bytes), "32MiB", 65536, 1ull << 32,
	  "their bytes", NULL, NULL, 0, true },
	{ "broadcasts.cache", HF_OPT_SIZE, AT(broadcasts_cache), "64MiB", 1 << 20, 1ull << 36,
	  "memory for broadcast logs; above it frames are read again when they are needed" },
	{ "broadcasts.apps", HF_OPT_UINT, AT(broadcasts_apps), "4096", 1, 1000000,
	  "apps whose log is known at once" },
	{ 0 },
};

/* How each reason looks to a caller; the names are part of the protocol (saver.proto). */
static const struct {
	enum hf_rpc_status status;
	const char *reason;
} errors[SAVER_ERROR_COUNT] = {
	[SAVER_STORE_UNAVAILABLE] = { HF_RPC_UNAVAILABLE, "STORE_UNAVAILABLE" },
	[SAVER_STORE_FULL] = { HF_RPC_UNAVAILABLE, "STORE_FULL" },
	[SAVER_DATABASE_UNAVAILABLE] = { HF_RPC_UNAVAILABLE, "DATABASE_UNAVAILABLE" },
	[SAVER_REFILLING] = { HF_RPC_UNAVAILABLE, "REFILLING" },
	[SAVER_OVERLOADED] = { HF_RPC_OVERLOADED, "OVERLOADED" },
	[SAVER_INTERNAL] = { HF_RPC_INTERNAL, "INTERNAL" },
	[SAVER_LOG_FULL] = { HF_RPC_OVERLOADED, "LOG_FULL" },
	[SAVER_BROADCAST_CONCURRENCY] = { HF_RPC_OVERLOADED, "BROADCAST_CONCURRENCY" },
	[SAVER_JOBS_FULL] = { HF_RPC_OVERLOADED, "JOBS_FULL" },
};

const char *saver_error_reason(enum saver_error error)
{
	return errors[error].reason;
}

void saver_fail(struct saver *saver, void *call, enum saver_error error)
{
	++*saver->metrics.refused[error];
	hf_rpc_fail(call, errors[error].status, errors[error].reason);
}

void saver_fail_invalid(struct saver *saver, void *call, const char *reason)
{
	++*saver->metrics.invalid;
	hf_rpc_fail(call, HF_RPC_INVALID, reason);
}

bool saver_name_of_request(struct saver *saver, uint32_t app,
			   const ProtobufCBinaryData *registration, void *call,
			   struct saver_name *ret_name)
{
	if (saver_name_set(ret_name, saver->service->salt, app, registration->data,
			   registration->len))
		return true;
	saver_fail_invalid(saver, call, "BAD_REGISTRATION");
	return false;
}

bool saver_owns(const struct saver *saver, uint16_t slot)
{
	const struct hf_peer *owner = hf_peers_by_slot(saver->savers, slot);

	return owner != NULL && owner->instance.number == saver->service->instance.number;
}

/* Slots that came to us: nobody remembers what of theirs is not acked or not written. */
static void on_savers_changed(struct hf_peers *peers, void *ctx)
{
	struct saver *saver = ctx;
	bool gained = false, lost = false;

	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		uint8_t bit = (uint8_t)(1u << slot % 8);
		bool had = saver->owned[slot / 8] & bit;

		if (!saver_owns(saver, (uint16_t)slot)) {
			saver->owned[slot / 8] &= (uint8_t)~bit;
			lost |= had;
		} else if (!had) {
			saver->owned[slot / 8] |= bit;
			gained = true;
		}
	}
	if (lost)
		saver_registry_doubt(saver);
	if (gained && saver->sweep != NULL) {
		saver_sweep_hurry(saver->sweep);
		saver_registry_behind_look(saver->registry.behind);
	}
}

static void on_redis_connected(unsigned node, void *ctx)
{
	saver_refill_on_connected(((struct saver *)ctx)->refill, node);
}

static void on_redis_lost(unsigned node, void *ctx)
{
	struct saver *saver = ctx;

	saver_refill_on_lost(saver->refill, node);
	saver_registry_doubt(saver); /* it may come back empty */
	saver_log_cache_on_lost(saver->log, node);
}

/* Rows may have been left out, and sweeps could not compare. */
static void on_database_up(void *ctx)
{
	struct saver *saver = ctx;

	HF_INFO("database_up", "name=%s", saver_database_name(saver->database));
	saver_write_behind_on_database(saver->wb, true);
	saver_sweep_hurry(saver->sweep);
}

static void on_database_down(void *ctx)
{
	struct saver *saver = ctx;

	saver_write_behind_on_database(saver->wb, false);
}

static double read_quarantined(void *ctx)
{
	return (double)((struct saver *)ctx)->quarantine.registrations.quarantined;
}

static double read_owed(void *ctx)
{
	return (double)saver_owed_count(&((struct saver *)ctx)->owed);
}

static void make_metrics(struct saver *saver)
{
	struct hf_metrics *m = saver->service->metrics;
	struct saver_metrics *metrics = &saver->metrics;
	static const char dropped[] = "Messages that left the store undelivered, by reason.";
	static const char quarantined[] = "Times that something was put into quarantine.";
	char labels[64];

	metrics->fates[SAVER_STORED] =
		hf_metrics_counter(m, "holdfast_messages_stored_total", NULL,
				   "Messages stored, one for each registration.");
	metrics->fates[SAVER_ACKED] =
		hf_metrics_counter(m, "holdfast_messages_acked_total", NULL,
				   "Messages acked and deleted, one for each registration.");
	metrics->fates[SAVER_EXPIRED] =
		hf_metrics_counter(m, "holdfast_messages_expired_total", NULL,
				   "Messages deleted as their time was over.");
	metrics->fates[SAVER_DROPPED] =
		hf_metrics_counter(m, "holdfast_messages_dropped_total", "reason=\"cap\"", dropped);
	metrics->fates[SAVER_PURGED] = hf_metrics_counter(m, "holdfast_messages_dropped_total",
							  "reason=\"purged\"", dropped);
	metrics->fates[SAVER_COLLAPSED] = hf_metrics_counter(m, "holdfast_messages_dropped_total",
							     "reason=\"collapsed\"", dropped);
	metrics->fates[SAVER_RECALLED] =
		hf_metrics_counter(m, "holdfast_messages_recalled_total", NULL,
				   "Messages deleted as their business took them back.");
	for (unsigned i = 1; i < SAVER_ERROR_COUNT; i++) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", errors[i].reason);
		metrics->refused[i] =
			hf_metrics_counter(m, "holdfast_saver_refused_total", labels,
					   "Calls refused, in whole or in part, by reason.");
	}
	metrics->invalid =
		hf_metrics_counter(m, "holdfast_saver_refused_total", "reason=\"INVALID\"",
				   "Calls refused, in whole or in part, by reason.");
	metrics->unreadable = hf_metrics_counter(m, "holdfast_saver_unreadable_total", NULL,
						 "Values in Redis that were passed over.");
	metrics->quarantined_registrations =
		hf_metrics_counter(m, "holdfast_saver_quarantines_total", "of=\"registration\"",
				   quarantined);
	metrics->quarantined_messages = hf_metrics_counter(m, "holdfast_saver_quarantines_total",
							   "of=\"message\"", quarantined);
	metrics->owed_overflow =
		hf_metrics_counter(m, "holdfast_saver_owed_overflow_total", NULL,
				   "Messages not looked after, as redelivery.entries was reached.");
	metrics->jobs_put = hf_metrics_counter(m, "holdfast_saver_jobs_put_total", NULL,
					       "Jobs accepted, repeated calls too.");
	metrics->jobs_leased =
		hf_metrics_counter(m, "holdfast_saver_jobs_leased_total", NULL,
				   "Jobs given to a center to run, or to go on with.");
	metrics->letters_dropped = hf_metrics_counter(
		m, "holdfast_saver_dead_letters_dropped_total", NULL,
		"Deliveries given up that left, as dead_letters.max or .bytes was reached.");
	hf_metrics_gauge_fn(m, "holdfast_saver_quarantined_registrations", NULL,
			    "Queues that are closed now.", read_quarantined, saver);
	hf_metrics_gauge_fn(m, "holdfast_saver_owed_messages", NULL,
			    "Messages looked after until they are acked.", read_owed, saver);
}

static int make_tables(struct saver *saver)
{
	const struct saver_config *config = saver->config;
	int err = saver_owed_init(&saver->owed, (uint32_t)config->redelivery_entries,
				  config->redelivery_after_ms);

	if (err == 0)
		err = saver_quarantine_init(&saver->quarantine,
					    (uint32_t)config->quarantine_entries);
	if (err == 0)
		err = saver_history_init(&saver->history, (uint32_t)config->history_messages);
	if (err == 0)
		err = saver_await_init(&saver->await, saver->service->loop, config->await_max);
	if (err == 0)
		err = hf_table_init(&saver->trims);
	saver->quarantine.loads = (uint32_t)config->quarantine_loads;
	saver->quarantine.loads_time_ms = config->quarantine_time_ms;
	saver->quarantine.deliveries = (uint32_t)config->quarantine_deliveries;
	saver->quarantine.message_time_ms = config->quarantine_message_time_ms;
	saver->quarantine.patience_ms = config->quarantine_patience_ms;
	return err;
}

static int make_stores(struct saver *saver)
{
	const struct saver_config *config = saver->config;
	struct hf_service *service = saver->service;
	struct saver_redis_options redis = {
		.nodes = &config->redis_nodes,
		.password = config->redis_password,
		.timeout_ms = (uint32_t)config->redis_timeout_ms,
		.commands_max = (uint32_t)config->redis_commands,
		.bytes_max = config->redis_bytes,
		.links = (unsigned)config->redis_connections,
		.on_connected = on_redis_connected,
		.on_lost = on_redis_lost,
		.ctx = saver,
	};
	struct saver_database_options database = {
		.socket = config->database_socket,
		.host = config->database_host,
		.port = (unsigned)config->database_port,
		.user = config->database_user,
		.password = config->database_password,
		.name = config->database_name,
		.timeout_ms = (uint32_t)config->database_timeout_ms,
		.on_up = on_database_up,
		.on_down = on_database_down,
		.ctx = saver,
	};
	struct saver_write_behind_options behind = {
		.delay_ms = (uint32_t)config->database_delay_ms,
		.batch = (uint32_t)config->database_batch,
		.rows_max = (uint32_t)config->database_rows,
		.bytes_max = config->database_bytes,
	};
	int err = saver_redis_new(service->loop, service->metrics, &redis, &saver->redis);

	if (err < 0)
		return err;
	err = saver_database_new(service->loop, service->metrics, &database, &saver->database);
	if (err < 0) {
		HF_ERROR("database_options", "host=%s name=%s err=%s", config->database_host,
			 config->database_name, strerror(-err));
		return err;
	}
	return saver_write_behind_new(service->loop, service->metrics, saver->redis,
				      saver->database, &behind, &saver->wb);
}

static int make_peers(struct saver *saver)
{
	struct hf_service *service = saver->service;
	struct hf_peers_options registers = { .service = "register",
					      .descriptor = &hf__register__descriptor };
	struct hf_peers_options rooms = { .service = "room", .descriptor = &hf__room__descriptor };
	struct hf_peers_options savers = { .service = "saver",
					   .on_change = on_savers_changed,
					   .ctx = saver };
	int err = hf_peers_new(service->loop, service->metrics, service->keeper, &registers,
			       &saver->registers);

	if (err == 0)
		err = hf_peers_new(service->loop, service->metrics, service->keeper, &rooms,
				   &saver->rooms);
	if (err == 0)
		err = hf_peers_new(service->loop, service->metrics, service->keeper, &savers,
				   &saver->savers);
	if (err < 0)
		HF_ERROR("keeper_watch", "err=%s", strerror(-err));
	return err;
}

static const Hf__Saver_Service handlers = {
	.base = { &hf__saver__descriptor, protobuf_c_service_invoke_internal, NULL },
	.store = saver_on_store,
	.load = saver_on_load,
	.ack = saver_on_ack,
	.await_ack = saver_on_await_ack,
	.message_state = saver_on_message_state,
	.claim = saver_on_claim,
	.complete = saver_on_complete,
	.queue = saver_on_queue,
	.purge = saver_on_purge,
	.saver_stats = saver_on_saver_stats,
	.log_append = saver_on_log_append,
	.log_change = saver_on_log_change,
	.log_read = saver_on_log_read,
	.why = saver_on_why,
	.label_report = saver_on_label_report,
	.put_job = saver_on_put_job,
	.read_job = saver_on_read_job,
	.change_job = saver_on_change_job,
	.list_jobs = saver_on_list_jobs,
	.lease_jobs = saver_on_lease_jobs,
	.renew_job = saver_on_renew_job,
	.spool_append = saver_on_spool_append,
	.spool_list = saver_on_spool_list,
	.spool_read = saver_on_spool_read,
	.spool_remove = saver_on_spool_remove,
	.put_dead_letter = saver_on_put_dead_letter,
	.list_dead_letters = saver_on_list_dead_letters,
	.take_dead_letter = saver_on_take_dead_letter,
	.read_registrations = saver_on_read_registrations,
	.change_registration = saver_on_change_registration,
	.forget_registration = saver_on_forget_registration,
	.read_users = saver_on_read_users,
	.list_registrations = saver_on_list_registrations,
	.count_registrations = saver_on_count_registrations,
	.list_tags = saver_on_list_tags,
	.registration_report = saver_on_registration_report,
};

static int saver_start(struct hf_service *service)
{
	struct saver *saver = calloc(1, sizeof(*saver));
	int err;

	if (saver == NULL)
		return -ENOMEM;
	service->state = saver;
	saver->rpc = handlers;
	saver->service = service;
	saver->config = service->config;
	make_metrics(saver);
	err = make_tables(saver);
	if (err == 0)
		err = make_stores(
			saver); /* before the RPC server: its hook flushes what ours made */
	if (err == 0)
		err = saver_registry_init(saver);
	if (err == 0)
		err = saver_log_cache_new(saver, &saver->log);
	if (err == 0)
		err = saver_acked_new(saver, &saver->acked);
	if (err == 0)
		err = saver_kept_new(saver, &saver->kept);
	if (err == 0) {
		saver->health = saver_health_new(saver->redis);
		err = saver->health == NULL ? -ENOMEM : saver_refill_new(saver, &saver->refill);
	}
	if (err == 0)
		err = make_peers(saver);
	if (err == 0)
		err = saver_spool_new(saver, &saver->spool);
	if (err == 0)
		err = saver_labels_new(saver, &saver->labels);
	if (err == 0)
		err = saver_redelivery_new(saver, &saver->redelivery);
	if (err == 0)
		err = saver_sweep_new(saver, &saver->sweep);
	if (err < 0)
		return err;
	saver_database_start(saver->database);
	saver_redis_start(saver->redis);
	return hf_service_serve_rpc(service, &saver->rpc.base);
}

static void saver_reload(struct hf_service *service, const void *old)
{
	((struct saver *)service->state)->config = service->config;
}

static const char *saver_not_ready(struct hf_service *service)
{
	struct saver *saver = service->state;
	static char reason[128];

	for (unsigned node = 0; node < saver_redis_count(saver->redis); node++) {
		const char *why = saver_refill_reason(saver->refill, node);

		if (why == NULL && saver->config->redis_require == SAVER_REQUIRE_FSYNC)
			why = saver_health_weakness(saver->health, node);
		if (why == NULL)
			continue;
		snprintf(reason, sizeof(reason), "redis node %u: %s", node, why);
		return reason;
	}
	return NULL;
}

static const char *saver_remark(struct hf_service *service)
{
	struct saver *saver = service->state;
	static char remark[128];

	if (!saver_database_up(saver->database))
		return "the database is away: durable messages are refused";
	for (unsigned node = 0; node < saver_redis_count(saver->redis); node++) {
		const char *why = saver_health_weakness(saver->health, node);

		if (why == NULL)
			continue;
		snprintf(remark, sizeof(remark), "redis node %u is durability memory: %s", node,
			 why);
		return remark;
	}
	return NULL;
}

static void saver_drain(struct hf_service *service)
{
	struct saver *saver = service->state;

	saver_write_behind_hurry(saver->wb);
	saver_registry_behind_hurry(saver->registry.behind);
	saver_log_flush(saver->log);
	saver_await_end_all(&saver->await); /* they may wait for minutes: our leaving does not */
}

/* What is not written when the database is away stays in Redis: the next owner's sweep finds it. */
static bool saver_drained(struct hf_service *service)
{
	struct saver *saver = service->state;

	if (service->rpc != NULL && hf_rpc_server_running(service->rpc) > 0)
		return false;
	if (!saver_log_flush(saver->log) ||
	    (!saver_labels_flush(saver->labels) && saver_redis_all_serving(saver->redis)))
		return false;
	return !saver_database_up(saver->database) ||
	       (saver_write_behind_pending(saver->wb) == 0 &&
		saver_write_behind_deletes(saver->wb) == 0 &&
		saver_registry_behind_pending(saver->registry.behind) == 0);
}

static void saver_stop(struct hf_service *service)
{
	struct saver *saver = service->state;

	if (saver == NULL)
		return;
	/* First everything that may call back ends, while all that it may touch is still there. */
	hf_peers_free(saver->registers);
	hf_peers_free(saver->rooms);
	hf_peers_free(saver->savers);
	saver_spool_close(saver->spool);
	if (saver->redis != NULL)
		saver_redis_close(saver->redis);
	saver_acked_close(saver->acked);
	if (saver->database != NULL)
		saver_database_close(saver->database);
	saver_await_deinit(&saver->await);
	saver_sweep_free(saver->sweep);
	saver_redelivery_free(saver->redelivery);
	saver_refill_free(saver->refill);
	saver_write_behind_free(saver->wb);
	saver_registry_deinit(saver);
	saver_health_free(saver->health);
	saver_acked_free(saver->acked);
	saver_log_cache_free(saver->log);
	saver_kept_free(saver->kept);
	saver_database_free(saver->database);
	saver_redis_free(saver->redis);
	saver_spool_free(saver->spool);
	saver_labels_free(saver->labels);
	hf_table_deinit(&saver->trims);
	saver_history_deinit(&saver->history);
	saver_quarantine_deinit(&saver->quarantine);
	saver_owed_deinit(&saver->owed);
	free(saver);
	service->state = NULL;
}

const struct hf_service_type saver_type = {
	.name = "saver",
	.summary = "the store: what is owed to whom, in Redis and MySQL",
	.options = saver_options,
	.config_size = sizeof(struct saver_config),
	.start = saver_start,
	.reload = saver_reload,
	.not_ready = saver_not_ready,
	.remark = saver_remark,
	.drain = saver_drain,
	.drained = saver_drained,
	.stop = saver_stop,
};
