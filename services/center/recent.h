/* services/center/recent.h - what this center remembers of the messages that it took: the newest
 * some thousands, for GET /messages/{id}. The savers know the rest. */
#ifndef CENTER_RECENT_H
#define CENTER_RECENT_H

#include <sys/queue.h>

#include "hf_table.h"
#include "request.h"

struct recent_entry {
	struct hf_table_node node;
	TAILQ_ENTRY(recent_entry) link;
	uint64_t id, expires_ms;
	uint32_t app;
	enum request_class class;
	uint32_t targets, accepted, written, offline, dropped, unrouted;
	bool stored, routed; /* is that phase over? */
	char label[REQUEST_LABEL_MAX + 1];
};

struct recent {
	struct hf_table table;
	TAILQ_HEAD(, recent_entry) order; /* oldest first */
	size_t limit;
};

HF_MUST_CHECK int recent_init(struct recent *recent, size_t limit); /* 0 or -ENOMEM */
void recent_deinit(struct recent *recent);
/* A new entry for `id`, zeroed but for id and app; NULL out of memory. It may be gone by the next
 * turn. */
struct recent_entry *recent_add(struct recent *recent, uint64_t id, uint32_t app);
struct recent_entry *recent_find(const struct recent *recent, uint64_t id);

#endif
