/* services/saver/edit.h - one change of one record: read, decide, write.
 *
 * Changes of one registration run one after the other within this process, so that none undoes
 * another; between two savers, for the moment in which a slot changes hands, the last one wins.
 * The user's set is written before the record, and left after it: a crash in between leaves at
 * worst a name in a set that its record does not bear out, and readers look at the record. */
#ifndef SAVER_EDIT_H
#define SAVER_EDIT_H

#include "hf_table.h"
#include "record.h"
#include "redis.h"

#define SAVER_USER_REGISTRATIONS_MAX 256

struct saver;

enum saver_edit_act {
	SAVER_EDIT_KEEP,  /* leave it as it is */
	SAVER_EDIT_WRITE, /* the draft becomes the record */
	SAVER_EDIT_FORGET /* there shall be no record */
};

/* Embedded in the record of the call. */
struct saver_edit {
	/* The caller's: fill in before saver_edit_start(). */
	struct saver *saver;
	struct saver_name name;
	bool strict; /* a user with too many registrations ends it; else he is only not indexed */
	/* `old`: NULL when there is no record. What the draft points to must last until `done`. */
	enum saver_edit_act (*decide)(struct saver_edit *edit, const Hf__RegistrationRecord *old,
				      struct saver_draft *draft);
	/* The last call, exactly once and later: the edit may be freed. `record` as it is now,
	 * NULL: none, or an error; borrowed. */
	void (*done)(struct saver_edit *edit, enum saver_error error,
		     const Hf__RegistrationRecord *record);
	/* Results. */
	bool too_many; /* strict, and nothing was written */

	/* edit.c's own. */
	struct hf_table_node node;
	struct saver_edit *waiting, *waiting_tail; /* of the one that runs: those after it */
	uint32_t waiting_count;
	bool added; /* to the user's set, by us */
	Hf__RegistrationRecord *old, *record;
	size_t value_len;
	uint8_t *value;
};

/* SAVER_OK, or an error and no callback runs. Asks for the record at once, unless another edit of
 * it runs. */
HF_MUST_CHECK enum saver_error saver_edit_start(struct saver_edit *edit);
/* Is a change of this record under way? */
bool saver_edit_runs(const struct hf_table *edits, const struct saver_name *name);

#endif
