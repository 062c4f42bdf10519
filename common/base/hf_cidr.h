/* common/base/hf_cidr.h - networks of IP addresses, and which addresses belong to the outside
 * world. Pure. IPv4 lives here as ::ffff:a.b.c.d, so that one comparison serves both. */
#ifndef HF_CIDR_H
#define HF_CIDR_H

#include <sys/socket.h>

#include "hf_base.h"

#define HF_CIDR_TEXT_MAX 49 /* "ffff:...:255.255.255.255/128" */

struct hf_cidr {
	uint8_t address[16];
	uint8_t bits; /* of the IPv6 form: 96 more than IPv4 prefixes say */
};

/* "10.0.0.0/8", "::1/128", or an address alone. 0 or -EINVAL. */
HF_MUST_CHECK int hf_cidr_parse(const char *text, struct hf_cidr *ret);
/* "10.0.0.0/8" */
void hf_cidr_format(const struct hf_cidr *network, char ret[HF_CIDR_TEXT_MAX + 1]);
/* The address of an AF_INET or AF_INET6 socket; false for any other family. */
bool hf_cidr_address(const struct sockaddr *address, uint8_t ret[16]);
bool hf_cidr_has(const struct hf_cidr *network, const uint8_t address[16]);
bool hf_cidr_is_ipv4(const uint8_t address[16]);

/* May a stranger name this address and have us connect to it? False for loopback, private,
 * link-local, shared, multicast, documentation and other special networks (RFC 6890), whether
 * written as IPv4, as IPv6, or as IPv4 inside of IPv6 (mapped, 6to4, NAT64). */
bool hf_cidr_is_public(const uint8_t address[16]);

#endif
