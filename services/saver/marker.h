/* services/saver/marker.h - the value of hf:store: whose store a Redis node is, which part of it.
 *
 *	"1 <store id> <node>/<nodes> <salt> <token>"     numbers in hex but for the place
 *
 * The place and (with several nodes) a print of the cluster's salt say which registrations the node
 * must hold: with other ones it would hold wrong queues, and must not serve. */
#ifndef SAVER_MARKER_H
#define SAVER_MARKER_H

#include "redis.h"

#define SAVER_MARKER_MAX 96

struct saver;

struct saver_marker {
	uint64_t store_id, salt_print, token;
	unsigned node, nodes;
};

/* For node `number` of this saver's Redis, with a fresh token. */
void saver_marker_set(struct saver_marker *marker, const struct saver *saver, uint64_t store_id,
		      unsigned number);
size_t saver_marker_format(const struct saver_marker *marker, char ret[SAVER_MARKER_MAX]);
HF_MUST_CHECK bool saver_marker_parse(struct saver_marker *ret, struct hf_bytes text);
/* Is it what node `number` must carry? `store_id` 0: not known yet, any will do. */
bool saver_marker_fits(const struct saver_marker *marker, const struct saver *saver,
		       uint64_t store_id, unsigned number);

#endif
