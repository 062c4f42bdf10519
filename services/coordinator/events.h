/* services/coordinator/events.h - the two classes of events on their way to callbacks.
 *
 *	rooms --Report--> report.c --> presence.c --> status.c ---+
 *	                                                          +--> target.h --> post.h
 *	savers --Poke--> receipts.c <--SpoolRead, SpoolRemove--> saver
 *
 * Both cut events by (app, callback, lane) and have one request in flight for each: that keeps the
 * events of a key in order. */
#ifndef COORDINATOR_EVENTS_H
#define COORDINATOR_EVENTS_H

#include "coordinator.h"
#include "event.pb-c.h"
#include "hook.h"

/* Metrics of a class. */
struct events_metrics {
	uint64_t *results[POST_DENIED + 1];
	uint64_t *delivered;
	struct hf_histogram *duration_us;
};
void events_metrics_init(struct events_metrics *metrics, struct hf_metrics *registry,
			 const char *class);
/* Count a request that has an outcome, and log it when it failed. */
void events_count_request(struct coordinator_state *state, struct events_metrics *metrics,
			  const char *class, const struct parcel *parcel, const char *webhook,
			  const struct post_outcome *outcome);
uint64_t *events_dropped(struct coordinator_state *state, const char *class, const char *reason);

/* Turn a callback off, in the app's document. */
void events_disable_webhook(struct coordinator_state *state, uint32_t app, const char *webhook,
			    const char *reason);

/* receipts.c */
HF_MUST_CHECK int receipts_open(struct coordinator_state *state);
void receipts_configure(struct coordinator_state *state);
void receipts_lanes_changed(struct coordinator_state *state); /* coordinators came or went */
void receipts_apps_changed(struct coordinator_state *state);
bool receipts_busy(const struct coordinator_state *state); /* something is half done */
void receipts_stop(struct coordinator_state *state);       /* before what it calls is freed */
void receipts_close(struct coordinator_state *state);

/* status.c: add an event for each callback that wants it; the content is copied. False: for one of
 * them there was no room. */
HF_MUST_CHECK int status_open(struct coordinator_state *state);
void status_configure(struct coordinator_state *state);
bool status_add(struct coordinator_state *state, const Hf__Event *event);
bool status_busy(const struct coordinator_state *state);
void status_close(struct coordinator_state *state);

/* presence.c: a registration of the user in event->key came or went. False: no room. */
HF_MUST_CHECK int presence_open(struct coordinator_state *state);
bool presence_hint(struct coordinator_state *state, const Hf__Event *event);
void presence_stop(struct coordinator_state *state); /* before what it calls is freed */
void presence_close(struct coordinator_state *state);

/* report.c: sequences of this process grow with time and never repeat. */
HF_MUST_CHECK int report_open(struct coordinator_state *state);
void report_close(struct coordinator_state *state);
uint64_t report_sequence(struct coordinator_state *state);

#endif
