#include "hook.h"

#include <stdlib.h>

#include "hf_hash.h"

#define REST_MIN_MS 1000
#define REST_MAX_MS 60000

static uint64_t hash_of(uint32_t app, const char *id)
{
	return hf_hash(id, strlen(id)) ^ hf_hash_u64(app);
}

int hooks_init(struct hooks *hooks, struct hf_apps *apps)
{
	hooks->apps = apps;
	return hf_table_init(&hooks->table);
}

void hooks_deinit(struct hooks *hooks)
{
	hf_table_deinit(&hooks->table);
}

struct hook *hook_ref(struct hooks *hooks, uint32_t app, const char *id)
{
	uint64_t hash = hash_of(app, id);
	struct hf_table_node *node = hf_table_find(&hooks->table, hash);
	struct hook *hook;

	for (; node != NULL; node = hf_table_find_next(node)) {
		hook = HF_CONTAINER_OF(node, struct hook, node);
		if (hook->app == app && strcmp(hook->id, id) == 0) {
			hook->refs++;
			return hook;
		}
	}
	hook = calloc(1, sizeof(*hook));
	if (hook == NULL)
		return NULL;
	hook->app = app;
	hook->refs = 1;
	memcpy(hook->id, id, strlen(id) + 1);
	hf_table_insert(&hooks->table, &hook->node, hash);
	return hook;
}

void hook_unref(struct hooks *hooks, struct hook *hook)
{
	if (hook == NULL || --hook->refs > 0)
		return;
	hf_table_remove(&hooks->table, &hook->node);
	free(hook);
}

const struct hf_webhook *hook_webhook(const struct hooks *hooks, const struct hook *hook)
{
	const struct hf_app *app = hf_apps_get(hooks->apps, hook->app);

	for (size_t i = 0; app != NULL && i < app->webhook_count; i++)
		if (strcmp(app->webhooks[i].id, hook->id) == 0)
			return &app->webhooks[i];
	return NULL;
}

bool hook_is_on(const struct hooks *hooks, const struct hook *hook)
{
	const struct hf_app *app = hf_apps_get(hooks->apps, hook->app);
	const struct hf_webhook *webhook = hook_webhook(hooks, hook);

	return webhook != NULL && webhook->enabled && app->enabled;
}

bool hook_note(struct hook *hook, const struct verdict *verdict, uint32_t retry_after_s,
	       uint64_t now_ms)
{
	bool was_failing = hook->failing;
	uint64_t asked_ms = HF_MIN(retry_after_s, VERDICT_RETRY_AFTER) * 1000ull;

	hook->failing = verdict->unreachable;
	if (verdict->kind == VERDICT_DELIVERED) {
		/* What was under way when the callback asked for a rest does not end it. */
		if (now_ms >= hook->resume_ms)
			hook->resume_ms = hook->rest_ms = 0;
		return was_failing;
	}
	if (verdict->throttle || asked_ms > 0) {
		hook->rest_ms = HF_MIN(HF_MAX(2 * hook->rest_ms, (uint64_t)REST_MIN_MS),
				       (uint64_t)REST_MAX_MS);
		hook->resume_ms = now_ms + HF_MAX(hook->rest_ms, asked_ms);
	}
	return false;
}
