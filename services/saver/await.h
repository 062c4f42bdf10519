/* services/saver/await.h - callers who wait until one registration has acked one message. */
#ifndef SAVER_AWAIT_H
#define SAVER_AWAIT_H

#include "hf_loop.h"
#include "hf_table.h"
#include "saver.pb-c.h"
#include "value.h"

struct saver_await {
	struct hf_loop *loop;
	struct hf_table table;
	size_t max;
};

HF_MUST_CHECK int saver_await_init(struct saver_await *await, struct hf_loop *loop, size_t max);
/* Ends what still waits: not acked. */
void saver_await_end_all(struct saver_await *await);
void saver_await_deinit(struct saver_await *await); /* and ends them, too */
/* Answer with `closure` at the ack or at the timeout. 0, -ENOBUFS (too many wait), or -ENOMEM. */
HF_MUST_CHECK int saver_await_add(struct saver_await *await, const struct saver_name *name,
				  uint64_t message_id, uint32_t timeout_ms,
				  Hf__AwaitAckReply_Closure closure, void *call);
/* The message was acked (or left the store otherwise): all who wait for it hear so. */
void saver_await_notify(struct saver_await *await, const struct saver_name *name,
			uint64_t message_id, bool acked);

#endif
