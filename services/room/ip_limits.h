/* services/room/ip_limits.h - what one address may take: connections at once, new connections a
 * second, failed logins a minute (then a penalty time in which it is refused).
 *
 * IPv6 is counted by /64, as that is what one customer gets. An entry lives while its address has a
 * connection or a record of failures; the table is bounded, and an address that finds no room in
 * it is let in uncounted. Addresses of exempt networks are not counted at all. */
#ifndef HF_ROOM_IP_LIMITS_H
#define HF_ROOM_IP_LIMITS_H

#include <sys/socket.h>

#include "hf_cidr.h"
#include "hf_slab.h"
#include "hf_table.h"
#include "rate.h"

#define IP_NETWORKS_MAX 32

struct ip_limits {
	uint64_t connections; /* at once; 0: no limit, for this and the others */
	uint64_t accept_per_second;
	uint64_t failed_per_minute; /* logins */
	uint64_t penalty_ms;
	struct hf_cidr exempt[IP_NETWORKS_MAX];
	size_t exempt_count;
};

enum ip_verdict { IP_OK, IP_CONNECTIONS, IP_ACCEPT_RATE, IP_PENALTY };

struct ip_table {
	struct hf_table table;
	struct hf_slab entries;
	uint32_t sweep_pos;
};

HF_MUST_CHECK int ip_table_init(struct ip_table *table, uint32_t limit); /* 0 or -ENOMEM */
void ip_table_deinit(struct ip_table *table);

/* A connection from `peer` at `now_ms`. IP_OK: it is counted under *ret_handle (0: uncounted) until
 * ip_closed(). */
enum ip_verdict ip_opened(struct ip_table *table, const struct ip_limits *limits,
			  const struct sockaddr_storage *peer, uint64_t now_ms,
			  hf_handle *ret_handle);
void ip_closed(struct ip_table *table, hf_handle handle, uint64_t now_ms);
/* True when this failure brought the penalty on. */
bool ip_login_failed(struct ip_table *table, const struct ip_limits *limits, hf_handle handle,
		     uint64_t now_ms);
/* Forget what is no longer needed among the next `steps` entries. */
void ip_sweep(struct ip_table *table, uint32_t steps, uint64_t now_ms);

#endif
