/* services/center/change.h - changing the store's records of registrations, and telling the rooms
 * that hold their sessions.
 *
 *	Saver.ChangeRegistration for each  ->  Register.Lookup  ->  Room.UpdateSession
 *
 * One change is made to all registrations of a list, some dozens at a time. Each registration's
 * change stands alone: one that fails leaves the others as they are, and may be asked for again. */
#ifndef CENTER_CHANGE_H
#define CENTER_CHANGE_H

#include "center.h"

enum change_outcome {
	CHANGE_OPEN,
	CHANGE_MADE,    /* it is so now; also when it was so before */
	CHANGE_UNKNOWN, /* the registration never attached */
	CHANGE_REFUSED, /* it would break a limit: `reason` */
	CHANGE_FAILED,  /* the store did not answer; ask again */
};
enum change_session {
	CHANGE_NO_SESSION, /* not connected: the next login reads the record */
	CHANGE_SESSION_TOLD,
	CHANGE_SESSION_UNTOLD, /* connected, perhaps, and not told: ask again */
};

struct change_item {
	struct hf_bytes registration; /* into our own copy */
	uint8_t outcome;              /* enum change_outcome */
	uint8_t session;              /* enum change_session */
	bool changed;
	const char *reason;             /* a literal */
	Hf__RegistrationRecord *record; /* as it is now; of those made */
};

struct change;
typedef void (*change_done)(struct change *change, void *ctx);
struct change {
	struct center *center;
	Hf__ChangeRegistrationRequest *request; /* registration is filled in for each call */
	change_done done;
	void *ctx;
	size_t next, open;
	bool pumping;
	size_t count;
	struct change_item items[];
};

/* `request` says app and what to change; copied, as the ids are. `done` runs once, later or from
 * within, also when the process ends before all is done (then some are still OPEN); the change is
 * freed after it. -ENOMEM: it won't. */
HF_MUST_CHECK int change_start(struct center *center, const Hf__ChangeRegistrationRequest *request,
			       const struct hf_bytes *registrations, size_t count, change_done done,
			       void *ctx);

#endif
