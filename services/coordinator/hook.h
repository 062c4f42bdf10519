/* services/coordinator/hook.h - what is known of a callback that has events on the way: does it
 * want a rest, is it failing, how much waits for it. One for each callback and class; gone when the
 * last queue that refers to it is. */
#ifndef COORDINATOR_HOOK_H
#define COORDINATOR_HOOK_H

#include <sys/queue.h>

#include "hf_apps.h"
#include "hf_table.h"
#include "verdict.h"

/* Embedded in a queue: its place among those of its callback. */
struct hook_member {
	LIST_ENTRY(hook_member) link;
};

struct hook {
	struct hf_table_node node;
	uint32_t app, refs;
	char id[HF_WEBHOOK_ID_MAX + 1];
	uint64_t resume_ms; /* no request before; 0: none is needed */
	uint64_t rest_ms;   /* how long the last rest was */
	bool failing;       /* the last outcome was one that nobody judged */
	uint64_t events, bytes;
	LIST_HEAD(, hook_member) members;
};

struct hooks {
	struct hf_table table;
	struct hf_apps *apps; /* borrowed */
};

HF_MUST_CHECK int hooks_init(struct hooks *hooks, struct hf_apps *apps);
void hooks_deinit(struct hooks *hooks); /* no hook is referred to any more */

/* NULL: out of memory. */
struct hook *hook_ref(struct hooks *hooks, uint32_t app, const char *id);
void hook_unref(struct hooks *hooks, struct hook *hook);

/* The callback as the app's document has it now; NULL: it is gone, or the app is. */
const struct hf_webhook *hook_webhook(const struct hooks *hooks, const struct hook *hook);
/* May requests be made: enabled, and so is its app? */
bool hook_is_on(const struct hooks *hooks, const struct hook *hook);

/* Take note of an outcome. True when it came back after failing: those who wait for a retry that
 * nobody judged may try soon. */
bool hook_note(struct hook *hook, const struct verdict *verdict, uint32_t retry_after_s,
	       uint64_t now_ms);

#endif
