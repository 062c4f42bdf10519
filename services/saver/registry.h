/* services/saver/registry.h - the registry of registrations: who attached validly at least once,
 * and as whom.
 *
 *	login (load.c), RPC --> registry.c --> edit.h --> Redis: records, users' sets
 *	                                         |
 *	                              saver_registry_changed()
 *	                                         |
 *	                                 registry_behind.h --> MySQL
 *
 * Redis is what counts; MySQL follows within seconds, answers the lists and counts (lists.c,
 * counts.c), and fills a Redis that came back empty (refill_registry.c). */
#ifndef SAVER_REGISTRY_H
#define SAVER_REGISTRY_H

#include "edit.h"
#include "known.h"
#include "registry_behind.h"

struct hf_service;

struct saver_registry {
	struct hf_table edits; /* edit.c: those that run */
	struct saver_known known;
	struct saver_registry_behind *behind;
	uint32_t lists_open; /* lists.c: calls that wait for the database */
	uint64_t *created, *updated, *seen, *deleted;
	uint64_t *unindexed; /* a login whose user has too many registrations already */
	uint64_t *unregistered;
	uint64_t *known_hits, *known_misses;
};

HF_MUST_CHECK int saver_registry_init(struct saver *saver); /* after Redis and the database */
void saver_registry_deinit(struct saver *saver);            /* after these are closed */
/* Slots changed hands, or a Redis was lost: what is known may be so no longer. */
void saver_registry_doubt(struct saver *saver);

/* A record was written or deleted: everybody who wants to hear of it is told here and nowhere else.
 * `old` NULL: created; `record` NULL: deleted, else `value` is its bytes. Only last_seen may differ
 * (saver_registry_change_of() tells). */
void saver_registry_changed(struct saver *saver, const struct saver_name *name,
			    const Hf__RegistrationRecord *old, const Hf__RegistrationRecord *record,
			    struct hf_bytes value);
/* registry_tell.c: the events of it. */
void saver_registry_tell(struct saver *saver, const struct saver_name *name,
			 const Hf__RegistrationRecord *old, const Hf__RegistrationRecord *record);
/* A registration has a record: note it, if we are told when it has no more. */
void saver_registry_note_known(struct saver *saver, const struct saver_name *name);

/* The record of who logs in: created or refreshed. Embedded in the load. */
struct saver_login {
	Hf__RegistrationRecord
		*record; /* as it is now, when `done` has run without an error; owned */
	struct saver_edit edit;
	void (*done)(struct saver_login *login, enum saver_error error);
	Hf__Profile *profile; /* a copy of ours */
};
/* SAVER_OK: `done` runs once, later; `login` outlives it. Else it does not run. The profile has
 * passed saver_profile_check(). */
HF_MUST_CHECK enum saver_error saver_login_begin(struct saver_login *login, struct saver *saver,
						 const struct saver_name *name,
						 const Hf__Profile *profile,
						 void (*done)(struct saver_login *login,
							      enum saver_error error));
void saver_login_deinit(struct saver_login *login); /* {0} is fine */

void saver_on_read_registrations(Hf__Saver_Service *rpc,
				 const Hf__ReadRegistrationsRequest *request,
				 Hf__ReadRegistrationsReply_Closure closure, void *call);
void saver_on_change_registration(Hf__Saver_Service *rpc,
				  const Hf__ChangeRegistrationRequest *request,
				  Hf__ChangeRegistrationReply_Closure closure, void *call);
void saver_on_forget_registration(Hf__Saver_Service *rpc,
				  const Hf__ForgetRegistrationRequest *request,
				  Hf__ForgetRegistrationReply_Closure closure, void *call);
void saver_on_read_users(Hf__Saver_Service *rpc, const Hf__ReadUsersRequest *request,
			 Hf__ReadUsersReply_Closure closure, void *call);
void saver_on_list_registrations(Hf__Saver_Service *rpc,
				 const Hf__ListRegistrationsRequest *request,
				 Hf__ListRegistrationsReply_Closure closure, void *call);
void saver_on_count_registrations(Hf__Saver_Service *rpc,
				  const Hf__CountRegistrationsRequest *request,
				  Hf__CountRegistrationsReply_Closure closure, void *call);
void saver_on_list_tags(Hf__Saver_Service *rpc, const Hf__ListTagsRequest *request,
			Hf__ListTagsReply_Closure closure, void *call);
void saver_on_registration_report(Hf__Saver_Service *rpc,
				  const Hf__RegistrationReportRequest *request,
				  Hf__RegistrationReportReply_Closure closure, void *call);

#endif
