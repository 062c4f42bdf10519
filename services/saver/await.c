#include "await.h"

#include <errno.h>
#include <stdlib.h>

struct waiter {
	struct hf_table_node node;
	struct hf_timer timer;
	struct saver_await *await;
	uint64_t message_id;
	Hf__AwaitAckReply_Closure closure;
	void *call;
	struct saver_name name;
};

static void finish(struct waiter *waiter, bool acked)
{
	Hf__AwaitAckReply reply = HF__AWAIT_ACK_REPLY__INIT;

	hf_wheel_disarm(&waiter->timer);
	hf_table_remove(&waiter->await->table, &waiter->node);
	reply.acked = acked;
	waiter->closure(&reply, waiter->call);
	free(waiter);
}

static void on_timeout(struct hf_timer *timer, void *ctx)
{
	finish(ctx, false);
}

int saver_await_init(struct saver_await *await, struct hf_loop *loop, size_t max)
{
	*await = (struct saver_await){ .loop = loop, .max = max };
	return hf_table_init(&await->table);
}

void saver_await_end_all(struct saver_await *await)
{
	size_t pos = 0;
	struct hf_table_node *node;

	while ((node = hf_table_walk(&await->table, &pos)) != NULL) {
		while (node != NULL) {
			struct hf_table_node *next = node->next;

			finish(HF_CONTAINER_OF(node, struct waiter, node), false);
			node = next;
		}
	}
}

void saver_await_deinit(struct saver_await *await)
{
	if (await->loop == NULL)
		return;
	saver_await_end_all(await);
	hf_table_deinit(&await->table);
}

int saver_await_add(struct saver_await *await, const struct saver_name *name, uint64_t message_id,
		    uint32_t timeout_ms, Hf__AwaitAckReply_Closure closure, void *call)
{
	struct waiter *waiter;

	if (await->table.count >= await->max)
		return -ENOBUFS;
	waiter = malloc(sizeof(*waiter));
	if (waiter == NULL)
		return -ENOMEM;
	*waiter = (struct waiter){ .await = await,
				   .message_id = message_id,
				   .closure = closure,
				   .call = call,
				   .name = *name };
	hf_timer_init(&waiter->timer, on_timeout, waiter);
	hf_loop_arm(await->loop, &waiter->timer, timeout_ms);
	hf_table_insert(&await->table, &waiter->node, saver_message_hash(name, message_id));
	return 0;
}

void saver_await_notify(struct saver_await *await, const struct saver_name *name,
			uint64_t message_id, bool acked)
{
	struct hf_table_node *node, *next;

	if (await->table.count == 0)
		return;
	for (node = hf_table_find(&await->table, saver_message_hash(name, message_id));
	     node != NULL; node = next) {
		struct waiter *waiter = HF_CONTAINER_OF(node, struct waiter, node);

		next = hf_table_find_next(node);
		if (waiter->message_id == message_id && saver_name_equal(&waiter->name, name))
			finish(waiter, acked);
	}
}
