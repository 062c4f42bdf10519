/* services/center/quota.c - see quota.h. */
#include "quota.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bucket.h"
#include "hf_hash.h"

struct quota {
	struct hf_table_node node;
	uint32_t app;
	struct bucket bucket;
};

int quota_init(struct center *center)
{
	return hf_table_init(&center->quotas);
}

/* Removes those that `keep` does not want; all when NULL. */
static void remove_quotas(struct center *center, bool (*keep)(struct center *, uint32_t))
{
	struct hf_table_node *node, *next;
	size_t pos = 0;

	while ((node = hf_table_walk(&center->quotas, &pos)) != NULL) {
		for (; node != NULL; node = next) {
			struct quota *quota = HF_CONTAINER_OF(node, struct quota, node);

			next = node->next;
			if (keep != NULL && keep(center, quota->app))
				continue;
			hf_table_remove(&center->quotas, node);
			free(quota);
		}
	}
}

static bool is_app(struct center *center, uint32_t app)
{
	return hf_apps_get(center->apps, app) != NULL;
}

void quota_sweep(struct center *center)
{
	remove_quotas(center, is_app);
}

void quota_deinit(struct center *center)
{
	if (center->quotas.segments == NULL)
		return;
	remove_quotas(center, NULL);
	hf_table_deinit(&center->quotas);
}

static struct quota *find(struct center *center, uint32_t app)
{
	struct hf_table_node *node = hf_table_find(&center->quotas, hf_hash_u64(app));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct quota *quota = HF_CONTAINER_OF(node, struct quota, node);

		if (quota->app == app)
			return quota;
	}
	return NULL;
}

static struct quota *find_or_make(struct center *center, const struct hf_app *app)
{
	struct quota *quota = find(center, app->id);

	if (quota != NULL)
		return quota;
	quota = calloc(1, sizeof(*quota));
	if (quota == NULL)
		return NULL;
	quota->app = app->id;
	bucket_init(&quota->bucket, app->burst, hf_loop_now_ms(center->loop));
	hf_table_insert(&center->quotas, &quota->node, hf_hash_u64(app->id));
	return quota;
}

int quota_take(struct center *center, const struct hf_app *app, uint32_t cost,
	       struct problem *ret_problem)
{
	struct quota *quota = find_or_make(center, app);
	uint64_t wait_ms;

	if (quota == NULL)
		return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
	if (bucket_take(&quota->bucket, app->messages_per_second, app->burst, cost,
			hf_loop_now_ms(center->loop)))
		return 0;
	wait_ms = bucket_wait_ms(&quota->bucket, app->messages_per_second, app->burst, cost);
	return problem_retry(ret_problem, 429, "QUOTA_APP", (int)((wait_ms + 999) / 1000),
			     "the app sends more than its limit of recipients a second");
}

void quota_refund(struct center *center, uint32_t app_id, uint32_t cost)
{
	const struct hf_app *app = hf_apps_get(center->apps, app_id);
	struct quota *quota = find(center, app_id);

	if (app != NULL && quota != NULL)
		bucket_refund(&quota->bucket, app->burst, cost);
}

void quota_headers(struct center *center, const struct hf_app *app,
		   struct hf_http_exchange *exchange)
{
	struct quota *quota = find_or_make(center, app);
	uint64_t full_ms;
	char text[24];

	if (quota == NULL)
		return;
	full_ms = bucket_wait_ms(&quota->bucket, app->messages_per_second, app->burst, app->burst);
	snprintf(text, sizeof(text), "%u", app->burst);
	hf_http_add_header(exchange, "X-RateLimit-Limit", text);
	snprintf(text, sizeof(text), "%u", bucket_left(&quota->bucket));
	hf_http_add_header(exchange, "X-RateLimit-Remaining", text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)((full_ms + 999) / 1000));
	hf_http_add_header(exchange, "X-RateLimit-Reset", text);
}
