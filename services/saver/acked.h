/* services/saver/acked.h - the sets that tell which broadcasts a registration has acked.
 *
 * A broadcast to many comes back as as many acks within moments. All that one turn brings go to
 * Redis together, a script for each hundred or so: a script for each ack costs Redis four times as
 * much. Ids are written as numbers, which Redis keeps in 8 bytes each. */
#ifndef SAVER_ACKED_H
#define SAVER_ACKED_H

#include "redis.h"

struct saver;
struct saver_acked;

#define SAVER_ACKED_ID_MAX 20 /* digits of an id */

size_t saver_acked_id_encode(uint64_t id, uint8_t ret[SAVER_ACKED_ID_MAX]);
HF_MUST_CHECK bool saver_acked_id_decode(struct hf_bytes text, uint64_t *ret_id);

HF_MUST_CHECK int saver_acked_new(struct saver *saver, struct saver_acked **ret_acked);
void saver_acked_close(struct saver_acked *acked); /* after Redis is closed; NULL is fine */
void saver_acked_free(struct saver_acked *acked);  /* likewise */

/* Without an error: `is_new`: it was not in the set before; `members`: how many are in it now. */
typedef void (*saver_acked_cb)(bool is_new, uint64_t members, enum saver_error error, void *ctx);
/* Put the id into the registration's set, and keep the set for `ttl_ms` at least. `ordered`: after
 * what was sent for the registration's slot before, which costs a script of its own. `cb` runs
 * once, later; not SAVER_OK: it does not. */
HF_MUST_CHECK enum saver_error saver_acked_add(struct saver_acked *acked,
					       const struct saver_name *name, uint64_t id,
					       uint64_t ttl_ms, bool ordered, saver_acked_cb cb,
					       void *ctx);
/* Send what this turn has added on the node of that registration: before its set is read, so that
 * what was acked first is in it. */
void saver_acked_flush(struct saver_acked *acked, const struct saver_name *name);

#endif
