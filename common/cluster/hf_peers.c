/* common/cluster/hf_peers.c - see hf_peers.h. */
#include "hf_peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HF_LOG_MODULE "peers"
#include "hf_hash.h"
#include "hf_id.h"
#include "hf_log.h"

#define SLOT_WEIGHT      100 /* the same for all: every process must come to the same owners */
#define WARN_INTERVAL_MS 10000

struct record {
	struct hf_peer peer;
	struct hf_peers *peers;
	uint64_t text_hash; /* of the entry it was read from: most of a list is as it was before */
	bool in_table; /* may own slots: it was SERVING when the table was last brought up to date
			*/
	bool joined;   /* its on_join() has run */
	bool listed;   /* in the keeper's newest list */
};

struct hf_peers {
	struct hf_loop *loop;
	struct hf_metrics *metrics;
	struct hf_peers_options options;
	char *service;
	struct hf_keeper_watch *watch;
	bool known, freed;

	struct hf_peer *first; /* sorted by id */
	size_t count;
	struct hf_peer *by_number[HF_ID_NODE_MAX + 1];
	struct record *owners[HF_SLOTS];
	double scores[HF_SLOTS]; /* of the owner: a newcomer has only that to beat */
	uint32_t turn;           /* round robin */

	struct hf_log_throttle throttle;
	int64_t *nodes, *links; /* metrics */
};

static struct record *record_of(struct hf_peer *peer)
{
	return HF_CONTAINER_OF(peer, struct record, peer);
}

/* Slot owners */

static double slot_score(const struct record *record, unsigned slot)
{
	uint64_t key = (slot + 1) * 0x9e3779b97f4a7c15u; /* neighbours far apart */

	return hf_rendezvous(key, record->peer.instance.id, SLOT_WEIGHT);
}

static void slot_offer(struct hf_peers *peers, unsigned slot, struct record *record)
{
	struct record *owner = peers->owners[slot];
	double score = slot_score(record, slot);

	if (owner != NULL && (score < peers->scores[slot] ||
			      (score == peers->scores[slot] &&
			       strcmp(record->peer.instance.id, owner->peer.instance.id) > 0)))
		return;
	peers->owners[slot] = record;
	peers->scores[slot] = score;
}

static void table_add(struct hf_peers *peers, struct record *record)
{
	record->in_table = true;
	for (unsigned slot = 0; slot < HF_SLOTS; slot++)
		slot_offer(peers, slot, record);
}

/* Only the slots it owned look for a new owner. */
static void table_remove(struct hf_peers *peers, struct record *record)
{
	record->in_table = false;
	for (unsigned slot = 0; slot < HF_SLOTS; slot++) {
		if (peers->owners[slot] != record)
			continue;
		peers->owners[slot] = NULL;
		for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next) {
			if (record_of(peer)->in_table)
				slot_offer(peers, slot, record_of(peer));
		}
	}
}

/* Those who go first, so that nobody is offered a slot twice. */
static void table_update(struct hf_peers *peers)
{
	struct hf_peer *peer;

	for (peer = peers->first; peer != NULL; peer = peer->next) {
		if (record_of(peer)->in_table && peer->instance.state != HF_INSTANCE_SERVING)
			table_remove(peers, record_of(peer));
	}
	for (peer = peers->first; peer != NULL; peer = peer->next) {
		if (!record_of(peer)->in_table && peer->instance.state == HF_INSTANCE_SERVING)
			table_add(peers, record_of(peer));
	}
}

/* Records */

static void on_state(struct hf_rpc_client *client, bool connected, void *ctx)
{
	struct record *record = ctx;
	struct hf_peers *peers = record->peers;

	*peers->links += connected ? 1 : -1;
	if (peers->options.on_connected != NULL)
		peers->options.on_connected(&record->peer, connected, peers->options.ctx);
}

/* A peer that serves no RPC, or names no address that we can dial, stays without a client. */
static int record_connect(struct hf_peers *peers, struct record *record)
{
	struct hf_rpc_client_options options = {
		.address = record->peer.instance.rpc,
		.peer_role = peers->service,
		.service = peers->options.descriptor,
		.on_state = on_state,
		.ctx = record,
	};
	int err;

	if (options.service == NULL || options.address[0] == '\0')
		return 0;
	err = hf_rpc_client_new(peers->loop, peers->metrics, &options, &record->peer.client);
	if (err == -EINVAL && hf_log_throttle_pass(&peers->throttle, WARN_INTERVAL_MS))
		HF_WARN("peer has no usable address", "service=%s id=%s rpc=%s", peers->service,
			record->peer.instance.id,
			hf_log_quote(options.address, strlen(options.address)));
	return err == -EINVAL ? 0 : err;
}

static void record_free(struct record *record)
{
	if (record->peer.client != NULL && hf_rpc_client_connected(record->peer.client))
		--*record->peers->links;
	hf_rpc_client_free(record->peer.client);
	free(record);
}

static struct record *record_new(struct hf_peers *peers, const struct hf_instance *instance,
				 uint64_t text_hash)
{
	struct record *record = calloc(1, sizeof(*record));

	if (record == NULL)
		return NULL;
	record->peers = peers;
	record->peer.instance = *instance;
	record->text_hash = text_hash;
	if (record_connect(peers, record) < 0) {
		free(record);
		return NULL;
	}
	return record;
}

/* Following the list */

static void refuse(struct hf_peers *peers, const struct hf_keeper_entry *entry, const char *reason)
{
	char labels[160];

	snprintf(labels, sizeof(labels), "role=\"%s\",reason=\"%s\"", peers->service, reason);
	++*hf_metrics_counter(peers->metrics, "holdfast_discovery_refused_total", labels,
			      "Entries of the keeper that describe no instance.");
	if (hf_log_throttle_pass(&peers->throttle, WARN_INTERVAL_MS))
		HF_WARN("instance refused", "service=%s id=%s reason=%s", peers->service,
			hf_log_quote(entry->name, strlen(entry->name)), reason);
}

static bool same_process(const struct hf_instance *a, const struct hf_instance *b)
{
	return a->incarnation == b->incarnation && a->number == b->number &&
	       strcmp(a->rpc, b->rpc) == 0;
}

static bool differs_beside_load(const struct hf_instance *a, const struct hf_instance *b)
{
	return a->state != b->state || a->weight != b->weight || strcmp(a->zone, b->zone) != 0 ||
	       strcmp(a->admin, b->admin) != 0 || a->endpoint_count != b->endpoint_count ||
	       memcmp(a->endpoints, b->endpoints, a->endpoint_count * sizeof(a->endpoints[0])) != 0;
}

/* Bring in one entry. `found` is the peer of that id that we know, or NULL; `at` is where a new one
 * belongs in the list. True: something changed. */
static bool take_entry(struct hf_peers *peers, const struct hf_keeper_entry *entry,
		       struct record *found, struct hf_peer **at)
{
	uint64_t text_hash = hf_hash(entry->value.data, entry->value.len);
	struct hf_instance instance;
	struct record *record;
	bool changed;

	if (found != NULL && found->text_hash == text_hash) {
		found->listed = true;
		return false;
	}
	if (hf_instance_decode(entry->value.data, entry->value.len, &instance) < 0 ||
	    strcmp(instance.id, entry->name) != 0) {
		refuse(peers, entry, "malformed");
		return false;
	}
	if (found != NULL && same_process(&found->peer.instance, &instance)) {
		changed = differs_beside_load(&found->peer.instance, &instance);
		found->peer.instance = instance;
		found->text_hash = text_hash;
		found->listed = true;
		return changed;
	}
	record = peers->count > HF_ID_NODE_MAX ? NULL : record_new(peers, &instance, text_hash);
	if (record == NULL) {
		refuse(peers, entry, "no_room");
		return false;
	}
	record->listed = true;
	record->peer.next = *at;
	*at = &record->peer;
	peers->count++;
	return true;
}

/* Both lists are sorted. A new process under an old id goes in beside the old one, which leaves. */
static bool take_entries(struct hf_peers *peers, const struct hf_keeper_entry *entries,
			 size_t count)
{
	struct hf_peer **at = &peers->first;
	bool changed = false;

	for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next)
		record_of(peer)->listed = false;
	for (size_t i = 0; i < count; i++) {
		struct record *found = NULL;

		while (*at != NULL && strcmp((*at)->instance.id, entries[i].name) < 0)
			at = &(*at)->next;
		if (*at != NULL && strcmp((*at)->instance.id, entries[i].name) == 0)
			found = record_of(*at);
		changed |= take_entry(peers, &entries[i], found, at);
	}
	return changed;
}

/* Unlinks those who left; slots and look-ups no longer know them. */
static struct hf_peer *take_leavers(struct hf_peers *peers)
{
	struct hf_peer *leavers = NULL, **end = &leavers;

	for (struct hf_peer **at = &peers->first; *at != NULL;) {
		struct hf_peer *peer = *at;

		if (record_of(peer)->listed) {
			at = &peer->next;
			continue;
		}
		*at = peer->next;
		peers->count--;
		peer->next = NULL;
		*end = peer;
		end = &peer->next;
	}
	for (struct hf_peer *peer = leavers; peer != NULL; peer = peer->next)
		table_remove(peers, record_of(peer));
	return leavers;
}

static void index_numbers(struct hf_peers *peers)
{
	memset(peers->by_number, 0, sizeof(peers->by_number));
	for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next) {
		if (peer->instance.number <= HF_ID_NODE_MAX)
			peers->by_number[peer->instance.number] = peer;
	}
}

/* Calls that end CANCELED here may already go to the new owners. */
static void say_goodbye(struct hf_peers *peers, struct hf_peer *leavers)
{
	while (leavers != NULL) {
		struct hf_peer *peer = leavers;

		leavers = peer->next;
		peer->next = NULL;
		if (record_of(peer)->joined && peers->options.on_leave != NULL)
			peers->options.on_leave(peer, peers->options.ctx);
		record_free(record_of(peer));
	}
}

static void on_list(const struct hf_keeper_entry *entries, size_t count, void *ctx)
{
	struct hf_peers *peers = ctx;
	bool changed = take_entries(peers, entries, count) || !peers->known;
	struct hf_peer *leavers = take_leavers(peers);

	if (!changed && leavers == NULL)
		return;
	peers->known = true;
	table_update(peers);
	index_numbers(peers);
	*peers->nodes = (int64_t)peers->count;
	say_goodbye(peers, leavers);
	for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next) {
		if (record_of(peer)->joined)
			continue;
		record_of(peer)->joined = true;
		if (peers->options.on_join != NULL)
			peers->options.on_join(peer, peers->options.ctx);
	}
	if (peers->options.on_change != NULL)
		peers->options.on_change(peers, peers->options.ctx);
}

/* Life */

int hf_peers_new(struct hf_loop *loop, struct hf_metrics *metrics, struct hf_keeper *keeper,
		 const struct hf_peers_options *options, struct hf_peers **ret_peers)
{
	struct hf_peers *peers = calloc(1, sizeof(*peers));
	char path[128], labels[96];
	int err = -ENOMEM;

	if (peers == NULL)
		return err;
	peers->loop = loop;
	peers->metrics = metrics;
	peers->options = *options;
	peers->service = strdup(options->service);
	if (peers->service == NULL)
		goto fail;
	snprintf(labels, sizeof(labels), "role=\"%s\"", options->service);
	peers->nodes = hf_metrics_gauge(metrics, "holdfast_discovery_nodes", labels,
					"Live instances of a service, as the keeper has them.");
	peers->links = hf_metrics_gauge(metrics, "holdfast_discovery_links", labels,
					"Those of them that we are connected to.");
	snprintf(path, sizeof(path), "instances/%s", options->service);
	err = hf_keeper_watch(keeper, path, on_list, peers, &peers->watch);
	if (err < 0)
		goto fail;
	*ret_peers = peers;
	return 0;

fail:
	free(peers->service);
	free(peers);
	return err;
}

void hf_peers_free(struct hf_peers *peers)
{
	struct hf_peer *all;

	if (peers == NULL || peers->freed)
		return;
	peers->freed = true;
	hf_keeper_unwatch(peers->watch);
	all = peers->first;
	peers->first = NULL;
	peers->count = 0;
	memset(peers->by_number, 0, sizeof(peers->by_number));
	memset(peers->owners, 0, sizeof(peers->owners));
	say_goodbye(peers, all);
	*peers->nodes = 0;
	free(peers->service);
	free(peers);
}

/* Finding */

bool hf_peers_known(const struct hf_peers *peers)
{
	return peers->known;
}

size_t hf_peers_count(const struct hf_peers *peers)
{
	return peers->count;
}

struct hf_peer *hf_peers_first(const struct hf_peers *peers)
{
	return peers->first;
}

struct hf_peer *hf_peers_by_id(const struct hf_peers *peers, const char *id)
{
	struct hf_peer *peer = peers->first;

	while (peer != NULL && strcmp(peer->instance.id, id) != 0)
		peer = peer->next;
	return peer;
}

struct hf_peer *hf_peers_by_number(const struct hf_peers *peers, uint32_t number)
{
	return number <= HF_ID_NODE_MAX ? peers->by_number[number] : NULL;
}

struct hf_peer *hf_peers_by_slot(const struct hf_peers *peers, uint16_t slot)
{
	return slot < HF_SLOTS && peers->owners[slot] != NULL ? &peers->owners[slot]->peer : NULL;
}

/* Picking: each walks the candidates once. `connected`: only those we are connected to. */

static bool is_candidate(const struct hf_peer *peer, bool connected)
{
	if (peer->instance.state != HF_INSTANCE_SERVING)
		return false;
	return !connected || (peer->client != NULL && hf_rpc_client_connected(peer->client));
}

static struct hf_peer *pick_nth(struct hf_peers *peers, bool connected, size_t n)
{
	struct hf_peer *peer;

	for (peer = peers->first; peer != NULL; peer = peer->next) {
		if (is_candidate(peer, connected) && n-- == 0)
			return peer;
	}
	return NULL;
}

/* nginx's: everybody gains its weight, the richest is picked and pays the sum of all. Who has
 * weight 0 is picked only when all have. */
static struct hf_peer *pick_weighted(struct hf_peers *peers, bool connected)
{
	struct hf_peer *best = NULL;
	int64_t total = 0;

	for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next) {
		if (!is_candidate(peer, connected))
			continue;
		peer->smooth_weight += peer->instance.weight;
		total += peer->instance.weight;
		if (best == NULL || (peer->instance.weight > 0 && best->instance.weight == 0) ||
		    (peer->instance.weight > 0 && peer->smooth_weight > best->smooth_weight))
			best = peer;
	}
	if (best != NULL)
		best->smooth_weight -= total;
	return best;
}

/* Among equals the turn goes round, else the first by id would get every lonely call. */
static struct hf_peer *pick_least_in_flight(struct hf_peers *peers, bool connected, size_t count)
{
	size_t start = peers->turn++ % count, i = 0;
	uint32_t least = UINT32_MAX;
	size_t distance = SIZE_MAX;
	struct hf_peer *best = NULL;

	for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next) {
		uint32_t in_flight;
		size_t away;

		if (!is_candidate(peer, connected))
			continue;
		in_flight = peer->client != NULL ? hf_rpc_client_in_flight(peer->client) : 0;
		away = (i + count - start) % count;
		if (in_flight < least || (in_flight == least && away < distance)) {
			best = peer;
			least = in_flight;
			distance = away;
		}
		i++;
	}
	return best;
}

struct hf_peer *hf_peers_pick(struct hf_peers *peers, enum hf_balance balance)
{
	size_t serving = 0, linked = 0, count;
	bool connected;

	for (struct hf_peer *peer = peers->first; peer != NULL; peer = peer->next) {
		serving += is_candidate(peer, false);
		linked += is_candidate(peer, true);
	}
	if (serving == 0)
		return NULL;
	connected = linked > 0;
	count = connected ? linked : serving;
	switch (balance) {
	case HF_BALANCE_ROUND_ROBIN:
		return pick_nth(peers, connected, peers->turn++ % count);
	case HF_BALANCE_WEIGHTED:
		return pick_weighted(peers, connected);
	case HF_BALANCE_LEAST_IN_FLIGHT:
		return pick_least_in_flight(peers, connected, count);
	case HF_BALANCE_RANDOM:
		return pick_nth(peers, connected, hf_random_below(count));
	}
	return NULL;
}

ProtobufCService *hf_peers_call(struct hf_peers *peers, struct hf_peer *peer, uint32_t timeout_ms)
{
	if (peer == NULL || peer->client == NULL)
		return hf_rpc_to_nobody(peers->loop, peers->options.descriptor);
	return hf_rpc_to(peer->client, timeout_ms);
}
