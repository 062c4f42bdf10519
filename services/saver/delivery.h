/* services/saver/delivery.h - how a message is to be delivered (common.proto), as the store keeps
 * it: packed, beside the frame. Pure: no I/O. */
#ifndef SAVER_DELIVERY_H
#define SAVER_DELIVERY_H

#include <sys/types.h>

#include "common.pb-c.h"
#include "value.h"

#define SAVER_COLLAPSE_KEY_MAX 64
#define SAVER_PARAMS_MAX       256
#define SAVER_LABEL_MAX        50

/* Pack it into `buf`. 0: there is nothing to say (also for NULL); -EMSGSIZE: over a bound. */
HF_MUST_CHECK ssize_t saver_delivery_pack(const Hf__Delivery *delivery,
					  uint8_t buf[SAVER_DELIVERY_MAX]);
/* NULL: none, or bytes that no version of ours wrote. Freed by saver_delivery_free(). */
Hf__Delivery *saver_delivery_unpack(struct hf_bytes packed);
void saver_delivery_free(Hf__Delivery *delivery); /* NULL is fine */

#endif
