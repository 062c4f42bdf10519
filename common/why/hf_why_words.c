/* common/why/hf_why_words.c - what the outcomes are called; the text ends where its detail follows.
 */
#include "hf_why.h"

#define WORDS(outcome, hop, detail, name, text) \
	[HF_WHY_##outcome] = { HF_WHY_##hop, HF_WHY_DETAIL_##detail, name, text }

static const struct hf_why_words words[HF_WHY_OUTCOMES] = {
	WORDS(ACCEPTED, CENTER, COUNT, "accepted", "accepted; registrations addressed:"),
	WORDS(STORE_DONE, CENTER, SAVER, "store_done", "stored, says"),
	WORDS(STORE_FAILED, CENTER, SAVER, "store_failed", "could not be stored by"),
	WORDS(FOUND_ONLINE, CENTER, ROOM, "found_online", "found online in"),
	WORDS(FOUND_OFFLINE, CENTER, NONE, "found_offline",
	      "found offline: kept for the next login"),
	WORDS(NOT_FOUND, CENTER, NONE, "not_found", "where it is was not known in time"),
	WORDS(PUSH_WRITTEN, CENTER, ROOM, "push_written", "written, says"),
	WORDS(PUSH_DEFERRED, CENTER, ROOM, "push_deferred", "client is behind, says"),
	WORDS(PUSH_IN_FLIGHT, CENTER, ROOM, "push_in_flight", "written before, says"),
	WORDS(PUSH_GONE, CENTER, ROOM, "push_gone", "no such session any more, says"),
	WORDS(PUSH_DROPPED, CENTER, ROOM, "push_dropped",
	      "dropped as the client's queue is full, says"),
	WORDS(PUSH_FAILED, CENTER, ROOM, "push_failed", "no answer to the push from"),
	WORDS(STORED, SAVER, NONE, "stored", "stored"),
	WORDS(LOADED, SAVER, NONE, "loaded", "read for a session"),
	WORDS(ACKED, SAVER, NONE, "acked", "acked: no longer owed"),
	WORDS(EXPIRED, SAVER, NONE, "expired", "expired: no longer owed"),
	WORDS(DROPPED_CAP, SAVER, NONE, "dropped_cap",
	      "dropped: the registration has more stored messages than its cap"),
	WORDS(PURGED, SAVER, NONE, "purged", "purged by an operator"),
	WORDS(COLLAPSED, SAVER, NONE, "collapsed", "replaced by a newer one with its collapse key"),
	WORDS(RECALLED, SAVER, NONE, "recalled", "recalled: no longer owed"),
	WORDS(QUARANTINED, SAVER, NONE, "quarantined",
	      "left out: delivered too often without an ack"),
	WORDS(REDELIVERED, SAVER, ROOM, "redelivered", "not acked in time: offered again to"),
	WORDS(SESSION_ADDED, REGISTER, ROOM, "session_added", "session registered in"),
	WORDS(SESSION_REMOVED, REGISTER, ROOM, "session_removed", "session gone from"),
	WORDS(SESSION_STALE, REGISTER, ROOM, "session_stale",
	      "older than the session known: refused from"),
	WORDS(SESSION_KICKED, REGISTER, ROOM, "session_kicked", "session ended on request in"),
	WORDS(LOGIN, ROOM, NONE, "login", "logged in"),
	WORDS(RESUMED, ROOM, NONE, "resumed", "resumed in place after a flash cut"),
	WORDS(CLOSED, ROOM, CLOSE, "closed", "session ended:"),
	WORDS(WRITTEN, ROOM, NONE, "written", "written to the client"),
	WORDS(DEFERRED, ROOM, NONE, "deferred", "client is behind: loaded when it has acked"),
	WORDS(IN_FLIGHT, ROOM, NONE, "in_flight", "written before and not acked yet"),
	WORDS(GONE, ROOM, NONE, "gone", "no such session any more"),
	WORDS(DROPPED, ROOM, NONE, "dropped", "dropped: no room for it"),
	WORDS(LOADED_WRITTEN, ROOM, NONE, "loaded_written", "loaded and written to the client"),
	WORDS(TASK_WRITTEN, ROOM, NONE, "task_written", "broadcast written to the client"),
	WORDS(CLIENT_ACKED, ROOM, NONE, "client_acked", "acked by the client"),
	WORDS(POSTED, COORDINATOR, STATUS, "posted", "sent to its business: HTTP"),
	WORDS(POST_FAILED, COORDINATOR, STATUS, "post_failed",
	      "its business did not take it: HTTP"),
	WORDS(EVENT_DELIVERED, COORDINATOR, STATUS, "event_delivered",
	      "event taken by its business: HTTP"),
	WORDS(EVENT_FAILED, COORDINATOR, STATUS, "event_failed",
	      "event not taken by its business: HTTP"),
	WORDS(LINGERING, ROOM, NONE, "lingering",
	      "connection lost: the session waits to be resumed"),
	WORDS(PARKED, ROOM, NONE, "parked", "connection lost: kept for the client to come back"),
	WORDS(RESENT, ROOM, NONE, "resent", "written to the client that came back"),
	WORDS(JOB_ACCEPTED, CENTER, NONE, "job_accepted", "accepted: to be run when it is due"),
	WORDS(JOB_LEASED, CENTER, NONE, "job_leased", "runs it from now on"),
	WORDS(JOB_OVER, CENTER, NONE, "job_over", "has run it to its end"),
	WORDS(DROPPED_EXPIRED, ROOM, NONE, "dropped_expired", "expired before it could be written"),
	WORDS(DROPPED_EARLY, ROOM, NONE, "dropped_early",
	      "dropped: transient, and the login was not over yet"),
};

const struct hf_why_words *hf_why_words(uint32_t outcome)
{
	return outcome < HF_WHY_OUTCOMES && words[outcome].name != NULL ? &words[outcome] : NULL;
}
