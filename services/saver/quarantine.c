#include "quarantine.h"

static int suspects_init(struct saver_suspects *suspects, uint32_t max)
{
	hf_slab_init(&suspects->slab, sizeof(struct saver_suspect), max);
	TAILQ_INIT(&suspects->list);
	return hf_table_init(&suspects->table);
}

static void suspects_deinit(struct saver_suspects *suspects)
{
	hf_table_deinit(&suspects->table);
	hf_slab_deinit(&suspects->slab);
}

int saver_quarantine_init(struct saver_quarantine *quarantine, uint32_t table_max)
{
	int err;

	*quarantine = (struct saver_quarantine){ 0 };
	err = suspects_init(&quarantine->registrations, table_max);
	if (err == 0)
		err = suspects_init(&quarantine->messages, table_max);
	return err;
}

void saver_quarantine_deinit(struct saver_quarantine *quarantine)
{
	suspects_deinit(&quarantine->registrations);
	suspects_deinit(&quarantine->messages);
}

/* The 64-bit keyed hash stands for the name: two names that share it would share a count, once in
 * 2^64. */
static struct saver_suspect *find(const struct saver_suspects *suspects, uint64_t hash,
				  uint64_t message_id)
{
	struct hf_table_node *node = hf_table_find(&suspects->table, hash);

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct saver_suspect *suspect = HF_CONTAINER_OF(node, struct saver_suspect, node);

		if (suspect->message_id == message_id)
			return suspect;
	}
	return NULL;
}

static void set_until(struct saver_suspects *suspects, struct saver_suspect *suspect,
		      uint64_t until_ms)
{
	suspects->quarantined += until_ms != 0;
	suspects->quarantined -= suspect->until_ms != 0;
	suspect->until_ms = until_ms;
}

static void drop(struct saver_suspects *suspects, struct saver_suspect *suspect)
{
	set_until(suspects, suspect, 0);
	TAILQ_REMOVE(&suspects->list, suspect, link);
	hf_table_remove(&suspects->table, &suspect->node);
	hf_slab_free(&suspects->slab, suspect->handle);
}

/* Found or made, and now the most lately touched; NULL: out of memory. */
static struct saver_suspect *touch(struct saver_suspects *suspects, uint64_t hash,
				   uint64_t message_id)
{
	struct saver_suspect *suspect = find(suspects, hash, message_id);
	hf_handle handle;

	if (suspect != NULL) {
		TAILQ_REMOVE(&suspects->list, suspect, link);
		TAILQ_INSERT_TAIL(&suspects->list, suspect, link);
		return suspect;
	}
	if (suspects->slab.live >= suspects->slab.limit && !TAILQ_EMPTY(&suspects->list))
		drop(suspects, TAILQ_FIRST(&suspects->list));
	suspect = hf_slab_alloc(&suspects->slab, &handle);
	if (suspect == NULL)
		return NULL;
	suspect->handle = handle;
	suspect->message_id = message_id;
	hf_table_insert(&suspects->table, &suspect->node, hash);
	TAILQ_INSERT_TAIL(&suspects->list, suspect, link);
	return suspect;
}

/* One more without an ack; false: so soon after the last one that it does not count. (A clock that
 * was set back does: the difference is then huge.) */
static bool count(const struct saver_quarantine *quarantine, struct saver_suspect *suspect,
		  uint64_t now_ms)
{
	if (suspect->count > 0 && now_ms - suspect->counted_ms < quarantine->patience_ms)
		return false;
	suspect->count++;
	suspect->counted_ms = now_ms;
	return true;
}

uint64_t saver_quarantine_closed(struct saver_quarantine *quarantine, const struct saver_name *name,
				 uint64_t now_ms)
{
	struct saver_suspect *suspect = find(&quarantine->registrations, name->hash, 0);

	if (suspect == NULL || suspect->until_ms == 0)
		return 0;
	if (suspect->until_ms > now_ms)
		return suspect->until_ms;
	drop(&quarantine->registrations, suspect); /* served: another chance */
	return 0;
}

bool saver_quarantine_on_login_load(struct saver_quarantine *quarantine,
				    const struct saver_name *name, uint64_t now_ms)
{
	struct saver_suspect *suspect = touch(&quarantine->registrations, name->hash, 0);

	if (suspect == NULL || !count(quarantine, suspect, now_ms) ||
	    suspect->count < quarantine->loads || suspect->until_ms != 0)
		return false;
	set_until(&quarantine->registrations, suspect, now_ms + quarantine->loads_time_ms);
	return true;
}

void saver_quarantine_on_delivery(struct saver_quarantine *quarantine,
				  const struct saver_name *name, uint64_t message_id,
				  uint64_t now_ms)
{
	struct saver_suspect *suspect =
		touch(&quarantine->messages, saver_message_hash(name, message_id), message_id);

	if (suspect != NULL)
		count(quarantine, suspect, now_ms);
}

bool saver_quarantine_skips(struct saver_quarantine *quarantine, const struct saver_name *name,
			    uint64_t message_id, uint64_t now_ms, bool *first, bool *ret_new)
{
	struct saver_suspects *messages = &quarantine->messages;
	struct saver_suspect *suspect =
		find(messages, saver_message_hash(name, message_id), message_id);

	*ret_new = false;
	if (suspect == NULL) {
		*first = false;
		return false;
	}
	if (suspect->until_ms > now_ms)
		return true;
	if (suspect->until_ms != 0) { /* served: another chance */
		suspect->count = 0;
		set_until(messages, suspect, 0);
	}
	if (!*first)
		return false;
	*first = false;
	if (suspect->count < quarantine->deliveries)
		return false;
	set_until(messages, suspect, now_ms + quarantine->message_time_ms);
	*ret_new = true;
	return true;
}

uint32_t saver_quarantine_deliveries(const struct saver_quarantine *quarantine,
				     const struct saver_name *name, uint64_t message_id)
{
	struct saver_suspect *suspect =
		find(&quarantine->messages, saver_message_hash(name, message_id), message_id);

	return suspect != NULL ? suspect->count : 0;
}

void saver_quarantine_on_removed(struct saver_quarantine *quarantine, const struct saver_name *name,
				 uint64_t message_id)
{
	struct saver_suspect *suspect =
		find(&quarantine->messages, saver_message_hash(name, message_id), message_id);

	if (suspect != NULL)
		drop(&quarantine->messages, suspect);
}

void saver_quarantine_on_ack(struct saver_quarantine *quarantine, const struct saver_name *name,
			     uint64_t message_id)
{
	struct saver_suspect *suspect = find(&quarantine->registrations, name->hash, 0);

	if (suspect != NULL)
		drop(&quarantine->registrations, suspect);
	saver_quarantine_on_removed(quarantine, name, message_id);
}
