/* services/saver/saver.h - the state of a saver, what its modules share. README.md is the manual.
 *
 *	center, room --RPC--> store.c load.c ack.c inspect.c claims.c
 *	                           |            saver.c: saver_account(), the one place that counts
 *	             redis.h <-----+-----> write_behind.h --> database.h
 *
 * Beside them: refill.h (may a node serve?), sweep.h (expiry, what was left out), redelivery.h. */
#ifndef SAVER_H
#define SAVER_H

#include "await.h"
#include "database.h"
#include "health.h"
#include "hf_log.h"
#include "hf_peers.h"
#include "hf_service.h"
#include "history.h"
#include "owed.h"
#include "quarantine.h"
#include "redis.h"
#include "registry.h"
#include "saver.pb-c.h"
#include "write_behind.h"

#define SAVER_STORE_ITEMS_MAX 1000
#define SAVER_ACK_IDS_MAX     65536
#define SAVER_CAP_MAX         1000u

struct saver_acked;
struct saver_spool;

struct saver_config {
	struct hf_service_config service;
	struct hf_strings redis_nodes;
	char *redis_password;
	uint64_t redis_timeout_ms, redis_connections, redis_commands, redis_bytes;
	int redis_require;
	char *database_socket, *database_host, *database_user, *database_password, *database_name;
	uint64_t database_port, database_timeout_ms, database_delay_ms, database_batch;
	uint64_t database_rows, database_bytes;
	uint64_t store_ttl_ms, store_ttl_max_ms, store_cap;
	uint64_t redelivery_after_ms, redelivery_entries, redelivery_timeout_ms;
	uint64_t quarantine_loads, quarantine_time_ms, quarantine_deliveries;
	uint64_t quarantine_message_time_ms, quarantine_patience_ms, quarantine_entries;
	uint64_t registry_seen_ms, registry_known, registry_rows, registry_bytes;
	uint64_t history_messages, sweep_period_ms, await_max, claims_ttl_ms;
	uint64_t spool_events, spool_bytes, dead_letters_max, dead_letters_bytes;
	uint64_t broadcasts_cache, broadcasts_apps;
};

struct saver_metrics {
	uint64_t *fates[SAVER_FATES]; /* (message, registration) pairs, each counted once */
	uint64_t *refused[SAVER_ERROR_COUNT];
	uint64_t *invalid;
	uint64_t *unreadable; /* values in Redis that no version of ours wrote */
	uint64_t *quarantined_registrations, *quarantined_messages;
	uint64_t *owed_overflow;
	uint64_t *jobs_put, *jobs_leased;
	uint64_t *letters_dropped;
};

struct saver {
	Hf__Saver_Service rpc;
	struct hf_service *service;
	const struct saver_config *config;
	struct saver_metrics metrics;
	struct saver_redis *redis;
	struct saver_database *database;
	struct saver_write_behind *wb;
	struct saver_health *health;
	struct saver_refill *refill;
	struct saver_sweep *sweep;
	struct saver_redelivery *redelivery;
	struct saver_spool *spool;
	struct saver_labels *labels;
	struct saver_log_cache *log;
	struct saver_acked *acked;
	struct saver_kept *kept;
	struct saver_owed owed;
	bool owed_missed; /* some did not fit: a sweep offers them when there is room again */
	struct saver_quarantine quarantine;
	struct saver_history history;
	struct saver_await await;
	unsigned lease_node; /* the Redis node that LeaseJobs begins at next */
	struct saver_registry registry;
	struct hf_table trims; /* trim.c: queues that are being cut to their cap */
	struct hf_peers *registers, *rooms, *savers;
	struct hf_log_throttle unreadable_throttle;
	uint8_t owned[HF_SLOTS / 8]; /* as of the last change: newly owned ones are swept soon */
};

extern const struct hf_service_type saver_type;

static inline struct saver *saver_of(Hf__Saver_Service *rpc)
{
	return HF_CONTAINER_OF(rpc, struct saver, rpc);
}
static inline unsigned saver_node_of(const struct saver *saver, const struct saver_name *name)
{
	return saver_redis_node_of(saver->redis, name->slot);
}
/* The node that has an app's broadcast log and jobs. */
unsigned saver_app_node(const struct saver *saver, uint32_t app);
/* Does the slot belong to this process, as the keeper has it now? */
bool saver_owns(const struct saver *saver, uint16_t slot);

/* False after ending the call INVALID: the registration is not 1..64 bytes. */
HF_MUST_CHECK bool saver_name_of_request(struct saver *saver, uint32_t app,
					 const ProtobufCBinaryData *registration, void *call,
					 struct saver_name *ret_name);
/* The name that a reason has on the wire. */
const char *saver_error_reason(enum saver_error error);
/* End a call for a reason of the store, or for breaking a rule. */
void saver_fail(struct saver *saver, void *call, enum saver_error error);
void saver_fail_invalid(struct saver *saver, void *call, const char *reason);

/* One message came into the store for one registration, or left it: every counter and every table
 * that knows the message is told here and nowhere else. `was_there`: our command did it; when it
 * did not, it was counted before, and only what this process still holds in memory is forgotten. */
void saver_account(struct saver *saver, const struct saver_name *name, uint64_t message_id,
		   enum saver_fate fate, bool was_there);

/* Delete messages of one registration from Redis; each is accounted by whether it was really there.
 * The ids are copied. `cb` (may be NULL) runs once, later; `error` is the first one. */
typedef void (*saver_removed_cb)(uint32_t removed, enum saver_error error, void *ctx);
HF_MUST_CHECK enum saver_error saver_remove(struct saver *saver, const struct saver_name *name,
					    const uint64_t *ids, size_t count, enum saver_fate fate,
					    saver_removed_cb cb, void *ctx);

/* Delete all messages of one registration. SAVER_OK: `cb` runs once, later. Else it does not. */
HF_MUST_CHECK enum saver_error saver_purge(struct saver *saver, const struct saver_name *name,
					   saver_removed_cb cb, void *ctx);

/* MessageState of a broadcast, from its log. */
void saver_log_message_state(struct saver *saver, uint32_t app, uint64_t id,
			     Hf__MessageStateReply_Closure closure, void *call);

/* The queue holds more than `cap`: drop the oldest, and note how many in its field "!". */
void saver_trim(struct saver *saver, const struct saver_name *name, uint32_t cap);

/* The handlers, as protobuf-c wants them named. */
void saver_on_store(Hf__Saver_Service *rpc, const Hf__StoreRequest *request,
		    Hf__StoreReply_Closure closure, void *call);
void saver_on_load(Hf__Saver_Service *rpc, const Hf__LoadRequest *request,
		   Hf__LoadReply_Closure closure, void *call);
void saver_on_ack(Hf__Saver_Service *rpc, const Hf__AckRequest *request,
		  Hf__AckReply_Closure closure, void *call);
void saver_on_await_ack(Hf__Saver_Service *rpc, const Hf__AwaitAckRequest *request,
			Hf__AwaitAckReply_Closure closure, void *call);
void saver_on_message_state(Hf__Saver_Service *rpc, const Hf__MessageStateRequest *request,
			    Hf__MessageStateReply_Closure closure, void *call);
void saver_on_claim(Hf__Saver_Service *rpc, const Hf__ClaimRequest *request,
		    Hf__ClaimReply_Closure closure, void *call);
void saver_on_complete(Hf__Saver_Service *rpc, const Hf__CompleteRequest *request,
		       Hf__CompleteReply_Closure closure, void *call);
void saver_on_queue(Hf__Saver_Service *rpc, const Hf__QueueRequest *request,
		    Hf__QueueReply_Closure closure, void *call);
void saver_on_purge(Hf__Saver_Service *rpc, const Hf__PurgeRequest *request,
		    Hf__PurgeReply_Closure closure, void *call);
void saver_on_label_report(Hf__Saver_Service *rpc, const Hf__LabelReportRequest *request,
			   Hf__LabelReportReply_Closure closure, void *call);
void saver_on_why(Hf__Saver_Service *rpc, const Hf__WhyRequest *request,
		  Hf__WhyReply_Closure closure, void *call);
void saver_on_saver_stats(Hf__Saver_Service *rpc, const Hf__SaverStatsRequest *request,
			  Hf__SaverStatsReply_Closure closure, void *call);
void saver_on_spool_append(Hf__Saver_Service *rpc, const Hf__SpoolAppendRequest *request,
			   Hf__SpoolAppendReply_Closure closure, void *call);
void saver_on_spool_list(Hf__Saver_Service *rpc, const Hf__SpoolListRequest *request,
			 Hf__SpoolListReply_Closure closure, void *call);
void saver_on_spool_read(Hf__Saver_Service *rpc, const Hf__SpoolReadRequest *request,
			 Hf__SpoolReadReply_Closure closure, void *call);
void saver_on_spool_remove(Hf__Saver_Service *rpc, const Hf__SpoolRemoveRequest *request,
			   Hf__SpoolRemoveReply_Closure closure, void *call);
void saver_on_put_dead_letter(Hf__Saver_Service *rpc, const Hf__PutDeadLetterRequest *request,
			      Hf__PutDeadLetterReply_Closure closure, void *call);
void saver_on_list_dead_letters(Hf__Saver_Service *rpc, const Hf__ListDeadLettersRequest *request,
				Hf__ListDeadLettersReply_Closure closure, void *call);
void saver_on_take_dead_letter(Hf__Saver_Service *rpc, const Hf__TakeDeadLetterRequest *request,
			       Hf__TakeDeadLetterReply_Closure closure, void *call);

void saver_on_put_job(Hf__Saver_Service *rpc, const Hf__PutJobRequest *request,
		      Hf__PutJobReply_Closure closure, void *call);
void saver_on_read_job(Hf__Saver_Service *rpc, const Hf__ReadJobRequest *request,
		       Hf__ReadJobReply_Closure closure, void *call);
void saver_on_change_job(Hf__Saver_Service *rpc, const Hf__ChangeJobRequest *request,
			 Hf__ChangeJobReply_Closure closure, void *call);
void saver_on_list_jobs(Hf__Saver_Service *rpc, const Hf__ListJobsRequest *request,
			Hf__ListJobsReply_Closure closure, void *call);
void saver_on_lease_jobs(Hf__Saver_Service *rpc, const Hf__LeaseJobsRequest *request,
			 Hf__LeaseJobsReply_Closure closure, void *call);
void saver_on_renew_job(Hf__Saver_Service *rpc, const Hf__RenewJobRequest *request,
			Hf__RenewJobReply_Closure closure, void *call);
void saver_on_log_append(Hf__Saver_Service *rpc, const Hf__LogAppendRequest *request,
			 Hf__LogAppendReply_Closure closure, void *call);
void saver_on_log_change(Hf__Saver_Service *rpc, const Hf__LogChangeRequest *request,
			 Hf__LogChangeReply_Closure closure, void *call);
void saver_on_log_read(Hf__Saver_Service *rpc, const Hf__LogReadRequest *request,
		       Hf__LogReadReply_Closure closure, void *call);

#endif
