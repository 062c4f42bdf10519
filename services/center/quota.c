/* services/center/quota.c - see quota.h. */
#include "quota.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bucket.h"
#include "hf_hash.h"

/* Of an app, or of one of its keys. */
struct quota {
	struct hf_table_node node;
	uint32_t app;
	char key[sizeof(((struct hf_api_key *)NULL)->id)]; /* "": of the app itself */
	struct bucket recipients;                          /* of apps only */
	struct bucket requests;
};

int quota_init(struct center *center)
{
	return hf_table_init(&center->quotas);
}

/* Removes those that `keep` does not want; all when NULL. */
static void remove_quotas(struct center *center,
			  bool (*keep)(struct center *, const struct quota *))
{
	struct hf_table_node *node, *next;
	size_t pos = 0;

	while ((node = hf_table_walk(&center->quotas, &pos)) != NULL) {
		for (; node != NULL; node = next) {
			struct quota *quota = HF_CONTAINER_OF(node, struct quota, node);

			next = node->next;
			if (keep != NULL && keep(center, quota))
				continue;
			hf_table_remove(&center->quotas, node);
			free(quota);
		}
	}
}

static bool is_alive(struct center *center, const struct quota *quota)
{
	const struct hf_app *app = hf_apps_get(center->apps, quota->app);

	if (app == NULL || quota->key[0] == '\0')
		return app != NULL;
	for (size_t i = 0; i < app->api_key_count; i++)
		if (strcmp(app->api_keys[i].id, quota->key) == 0)
			return true;
	return false;
}

void quota_sweep(struct center *center)
{
	remove_quotas(center, is_alive);
}

void quota_deinit(struct center *center)
{
	if (center->quotas.segments == NULL)
		return;
	remove_quotas(center, NULL);
	hf_table_deinit(&center->quotas);
}

static struct quota *find(struct center *center, uint32_t app, const char *key)
{
	struct hf_table_node *node =
		hf_table_find(&center->quotas, hf_hash_registration(app, key, strlen(key)));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct quota *quota = HF_CONTAINER_OF(node, struct quota, node);

		if (quota->app == app && strcmp(quota->key, key) == 0)
			return quota;
	}
	return NULL;
}

static uint32_t burst_of(uint32_t requests_per_second)
{
	return 2 * requests_per_second;
}

/* `key` NULL: of the app itself. NULL: out of memory. */
static struct quota *find_or_make(struct center *center, const struct hf_app *app,
				  const struct hf_api_key *key)
{
	const char *name = key != NULL ? key->id : "";
	struct quota *quota = find(center, app->id, name);
	uint64_t now_ms = hf_loop_now_ms(center->loop);

	if (quota != NULL)
		return quota;
	quota = calloc(1, sizeof(*quota));
	if (quota == NULL)
		return NULL;
	quota->app = app->id;
	memcpy(quota->key, name, strlen(name) + 1);
	bucket_init(&quota->recipients, app->burst, now_ms);
	bucket_init(&quota->requests,
		    burst_of(key != NULL ? key->requests_per_second : app->requests_per_second),
		    now_ms);
	hf_table_insert(&center->quotas, &quota->node,
			hf_hash_registration(app->id, name, strlen(name)));
	return quota;
}

static int no_memory(struct problem *ret_problem)
{
	return problem_retry(ret_problem, 503, "OVERLOADED", 1, "out of memory");
}

static int in_seconds(uint64_t ms)
{
	return (int)((ms + 999) / 1000);
}

int quota_take(struct center *center, const struct hf_app *app, uint32_t cost,
	       struct problem *ret_problem)
{
	struct quota *quota = find_or_make(center, app, NULL);
	uint64_t wait_ms;

	if (quota == NULL)
		return no_memory(ret_problem);
	if (bucket_take(&quota->recipients, app->messages_per_second, app->burst, cost,
			hf_loop_now_ms(center->loop)))
		return 0;
	wait_ms = bucket_wait_ms(&quota->recipients, app->messages_per_second, app->burst, cost);
	return problem_retry(ret_problem, 429, "QUOTA_APP", in_seconds(wait_ms),
			     "the app sends more than its limit of recipients a second");
}

void quota_refund(struct center *center, uint32_t app_id, uint32_t cost)
{
	const struct hf_app *app = hf_apps_get(center->apps, app_id);
	struct quota *quota = find(center, app_id, "");

	if (app != NULL && quota != NULL)
		bucket_refund(&quota->recipients, app->burst, cost);
}

static void add_headers(const struct bucket *bucket, uint32_t rate, uint32_t burst,
			struct hf_http_exchange *exchange)
{
	char text[24];

	snprintf(text, sizeof(text), "%u", burst);
	hf_http_add_header(exchange, "X-RateLimit-Limit", text);
	snprintf(text, sizeof(text), "%u", bucket_left(bucket));
	hf_http_add_header(exchange, "X-RateLimit-Remaining", text);
	snprintf(text, sizeof(text), "%d", in_seconds(bucket_wait_ms(bucket, rate, burst, burst)));
	hf_http_add_header(exchange, "X-RateLimit-Reset", text);
}

void quota_headers(struct center *center, const struct hf_app *app,
		   struct hf_http_exchange *exchange)
{
	struct quota *quota = find_or_make(center, app, NULL);

	if (quota != NULL)
		add_headers(&quota->recipients, app->messages_per_second, app->burst, exchange);
}

/* Of the app, or of the key that is not NULL. */
static int take_request(struct center *center, const struct hf_app *app,
			const struct hf_api_key *key, struct quota **ret_quota,
			struct hf_http_exchange *exchange, struct problem *ret_problem)
{
	uint32_t rate = key != NULL ? key->requests_per_second : app->requests_per_second;
	struct quota *quota = find_or_make(center, app, key);
	uint64_t wait_ms;

	if (quota == NULL)
		return no_memory(ret_problem);
	*ret_quota = quota;
	if (bucket_take(&quota->requests, rate, burst_of(rate), 1, hf_loop_now_ms(center->loop)))
		return 0;
	add_headers(&quota->requests, rate, burst_of(rate), exchange);
	wait_ms = bucket_wait_ms(&quota->requests, rate, burst_of(rate), 1);
	return problem_retry(ret_problem, 429, key != NULL ? "QUOTA_KEY" : "QUOTA_APP",
			     in_seconds(wait_ms),
			     key != NULL
				     ? "the key makes more than its limit of requests a second"
				     : "the app makes more than its limit of requests a second");
}

int quota_take_request(struct center *center, const struct hf_app *app,
		       const struct hf_api_key *key, bool sends, struct hf_http_exchange *exchange,
		       struct problem *ret_problem)
{
	struct quota *of_key = NULL, *of_app = NULL;

	if (app == NULL || key == NULL)
		return 0;
	if (key->requests_per_second > 0 &&
	    take_request(center, app, key, &of_key, exchange, ret_problem) < 0)
		return -EINVAL;
	if (sends)
		return 0;
	if (take_request(center, app, NULL, &of_app, exchange, ret_problem) < 0) {
		if (of_key != NULL)
			bucket_refund(&of_key->requests, burst_of(key->requests_per_second), 1);
		return -EINVAL;
	}
	add_headers(&of_app->requests, app->requests_per_second, burst_of(app->requests_per_second),
		    exchange);
	return 0;
}
