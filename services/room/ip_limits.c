#include "ip_limits.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_hash.h"

#define FAILURE_MEMORY_MS 60000u

struct entry {
	struct hf_table_node node;
	uint8_t address[16];
	uint32_t connections;
	rate accepted, failed; /* buckets, see rate.h */
	uint32_t handle;
	uint64_t keep_until_ms; /* failures are remembered so long */
	uint64_t penalty_until_ms;
};

static bool is_exempt(const struct ip_limits *limits, const uint8_t address[16])
{
	for (size_t i = 0; i < limits->exempt_count; i++) {
		if (hf_cidr_has(&limits->exempt[i], address))
			return true;
	}
	return false;
}

int ip_table_init(struct ip_table *table, uint32_t limit)
{
	hf_slab_init(&table->entries, sizeof(struct entry), limit);
	table->sweep_pos = 0;
	return hf_table_init(&table->table);
}

void ip_table_deinit(struct ip_table *table)
{
	hf_table_deinit(&table->table);
	hf_slab_deinit(&table->entries);
}

static struct entry *find(const struct ip_table *table, const uint8_t key[16], uint64_t hash)
{
	struct hf_table_node *node = hf_table_find(&table->table, hash);

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct entry *entry = HF_CONTAINER_OF(node, struct entry, node);

		if (memcmp(entry->address, key, 16) == 0)
			return entry;
	}
	return NULL;
}

static struct entry *find_or_add(struct ip_table *table, const uint8_t key[16], uint64_t now_ms)
{
	uint64_t hash = hf_hash(key, 16);
	struct entry *entry = find(table, key, hash);
	hf_handle handle;

	if (entry != NULL)
		return entry;
	entry = hf_slab_alloc(&table->entries, &handle);
	if (entry == NULL)
		return NULL;
	entry->handle = handle;
	entry->accepted = entry->failed = rate_ticks(now_ms);
	memcpy(entry->address, key, 16);
	hf_table_insert(&table->table, &entry->node, hash);
	return entry;
}

static void forget_if_idle(struct ip_table *table, struct entry *entry, uint64_t now_ms)
{
	if (entry->connections > 0 || entry->keep_until_ms > now_ms)
		return;
	hf_table_remove(&table->table, &entry->node);
	hf_slab_free(&table->entries, entry->handle);
}

enum ip_verdict ip_opened(struct ip_table *table, const struct ip_limits *limits,
			  const struct sockaddr_storage *peer, uint64_t now_ms,
			  hf_handle *ret_handle)
{
	uint32_t cost = rate_cost(1, limits->accept_per_second);
	uint32_t burst = rate_cost(limits->accept_per_second, limits->accept_per_second);
	struct entry *entry;
	uint8_t key[16];

	*ret_handle = 0;
	if (!hf_cidr_address((const struct sockaddr *)peer, key) || is_exempt(limits, key))
		return IP_OK;
	if (!hf_cidr_is_ipv4(key))
		memset(key + 8, 0, 8);
	entry = find_or_add(table, key, now_ms);
	if (entry == NULL)
		return IP_OK;

	if (entry->penalty_until_ms > now_ms)
		return IP_PENALTY;
	if (limits->connections > 0 && entry->connections >= limits->connections)
		return IP_CONNECTIONS;
	if (!rate_take(&entry->accepted, rate_ticks(now_ms), cost, burst))
		return IP_ACCEPT_RATE;
	entry->connections++;
	*ret_handle = entry->handle;
	return IP_OK;
}

void ip_closed(struct ip_table *table, hf_handle handle, uint64_t now_ms)
{
	struct entry *entry = hf_slab_get(&table->entries, handle);

	if (entry == NULL)
		return;
	entry->connections--;
	/* Its rate of new connections must outlive the last of them. */
	if (entry->keep_until_ms < now_ms + 1000)
		entry->keep_until_ms = now_ms + 1000;
}

bool ip_login_failed(struct ip_table *table, const struct ip_limits *limits, hf_handle handle,
		     uint64_t now_ms)
{
	struct entry *entry = hf_slab_get(&table->entries, handle);
	uint32_t cost = rate_cost(60, limits->failed_per_minute);
	uint32_t burst = rate_cost(60, 1);

	if (entry == NULL || limits->failed_per_minute == 0)
		return false;
	entry->keep_until_ms = HF_MAX(entry->keep_until_ms, now_ms + FAILURE_MEMORY_MS);
	if (rate_take(&entry->failed, rate_ticks(now_ms), cost, burst))
		return false;
	entry->penalty_until_ms = now_ms + limits->penalty_ms;
	entry->keep_until_ms = HF_MAX(entry->keep_until_ms, entry->penalty_until_ms);
	return true;
}

void ip_sweep(struct ip_table *table, uint32_t steps, uint64_t now_ms)
{
	uint32_t until = table->sweep_pos + steps;

	while (table->sweep_pos < until) {
		hf_handle handle =
			hf_slab_next(&table->entries, &table->sweep_pos, until - table->sweep_pos);

		if (handle == 0)
			break;
		forget_if_idle(table, hf_slab_get(&table->entries, handle), now_ms);
	}
	if (table->sweep_pos >= hf_slab_end(&table->entries))
		table->sweep_pos = 0;
}
