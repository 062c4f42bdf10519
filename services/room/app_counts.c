#include "app_counts.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"

int app_counts_init(struct app_counts *counts)
{
	return hf_table_init(&counts->table);
}

void app_counts_deinit(struct app_counts *counts)
{
	struct hf_table_node *node, *next;
	size_t pos = 0;

	if (counts->table.segments == NULL)
		return;
	while ((node = hf_table_walk(&counts->table, &pos)) != NULL) {
		for (; node != NULL; node = next) {
			next = node->next;
			free(HF_CONTAINER_OF(node, struct app_count, node));
		}
	}
	hf_table_deinit(&counts->table);
}

static struct app_count *find(const struct app_counts *counts, uint32_t app)
{
	struct hf_table_node *node = hf_table_find(&counts->table, hf_hash_u64(app));

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct app_count *count = HF_CONTAINER_OF(node, struct app_count, node);

		if (count->app == app)
			return count;
	}
	return NULL;
}

/* NULL: there is no row for it. */
static struct app_platform *find_platform(struct app_count *count, struct hf_bytes name)
{
	for (uint32_t i = 0; i < count->platform_count; i++) {
		struct app_platform *platform = &count->platforms[i];

		if (hf_bytes_equal(hf_bytes_of(platform->name, platform->len), name))
			return platform;
	}
	return NULL;
}

static struct app_platform *add_platform(struct app_count *count, struct hf_bytes name)
{
	struct app_platform *platform = find_platform(count, name);

	if (platform != NULL || count->platform_count == APP_COUNTS_PLATFORMS || name.len == 0 ||
	    name.len > sizeof(platform->name))
		return platform;
	platform = &count->platforms[count->platform_count++];
	platform->len = (uint8_t)name.len;
	memcpy(platform->name, name.data, name.len);
	return platform;
}

int app_counts_add(struct app_counts *counts, uint32_t app, struct hf_bytes platform_name,
		   bool has_user)
{
	struct app_count *count = find(counts, app);
	struct app_platform *platform;

	if (count == NULL) {
		count = calloc(1, sizeof(*count));
		if (count == NULL)
			return -ENOMEM;
		count->app = app;
		hf_table_insert(&counts->table, &count->node, hf_hash_u64(app));
	}
	count->sessions++;
	count->with_user += has_user;
	platform = add_platform(count, platform_name);
	if (platform != NULL)
		platform->sessions++;
	return 0;
}

void app_counts_remove(struct app_counts *counts, uint32_t app, struct hf_bytes platform_name,
		       bool has_user)
{
	struct app_count *count = find(counts, app);
	struct app_platform *platform = find_platform(count, platform_name);

	count->with_user -= has_user;
	if (platform != NULL)
		platform->sessions--;
	if (--count->sessions == 0) {
		hf_table_remove(&counts->table, &count->node);
		free(count);
	}
}

void app_counts_change_user(struct app_counts *counts, uint32_t app, bool had_user, bool has_user)
{
	struct app_count *count = find(counts, app);

	count->with_user += has_user;
	count->with_user -= had_user;
}

const struct app_count *app_counts_get(const struct app_counts *counts, uint32_t app)
{
	return find(counts, app);
}

uint32_t app_counts_sessions(const struct app_counts *counts, uint32_t app)
{
	const struct app_count *count = find(counts, app);

	return count == NULL ? 0 : count->sessions;
}
