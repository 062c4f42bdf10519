/* services/saver/redelivery.h - asks for one more delivery of what was stored and is not acked.
 *
 * So a process that died between store and push strands no message until the next login.
 *
 *	owed.h says what is due -> Register.Lookup -> online: read from Redis -> Room.Push
 *	                                           -> offline: the next login loads it */
#ifndef SAVER_REDELIVERY_H
#define SAVER_REDELIVERY_H

#include "hf_base.h"

struct saver;
struct saver_redelivery;

HF_MUST_CHECK int saver_redelivery_new(struct saver *saver, struct saver_redelivery **ret);
/* After the peers and Redis are closed. NULL is fine. */
void saver_redelivery_free(struct saver_redelivery *redelivery);

#endif
