/* common/cluster/hf_instance.h - what a process says of itself under instances/<service>/<id>: a
 *JSON object, written by its owner, read by everybody.
 *
 *	{"id":"room-1","number":17,"state":"serving","rpc":"127.0.0.1:40001","admin":"127.0.0.1:40002",
 *	 "weight":100,"load":0,"zone":"default","since_ms":1769860798412,"incarnation":"0123456789ABC",
 *	 "endpoints":[{"address":"127.0.0.1:7001","transport":"tcp"}]}
 */
#ifndef HF_INSTANCE_H
#define HF_INSTANCE_H

#include "hf_base.h"

#define HF_INSTANCE_ENDPOINTS_MAX 16
#define HF_ADDRESS_MAX            108 /* "unix:" and a path, or host:port */

enum hf_instance_state {
	HF_INSTANCE_STARTING, /* do not call it yet */
	HF_INSTANCE_SERVING,
	HF_INSTANCE_DRAINING, /* finish what is there, bring nothing new; owns no slot */
};

struct hf_endpoint {
	char address[HF_ADDRESS_MAX];
	char transport[8]; /* "tcp" (plain and TLS on one port) or "tls" */
};

struct hf_instance {
	char id[HF_NODE_ID_MAX + 1];
	uint32_t number;      /* node number, see hf_id.h */
	uint64_t incarnation; /* an id drawn at start: tells a restart from the same process */
	enum hf_instance_state state;
	char rpc[HF_ADDRESS_MAX], admin[HF_ADDRESS_MAX];
	char zone[HF_NODE_ID_MAX + 1];
	uint32_t weight;
	uint64_t load; /* rooms: connections */
	uint64_t since_ms;
	size_t endpoint_count;
	struct hf_endpoint endpoints[HF_INSTANCE_ENDPOINTS_MAX];
};

/* JSON text, malloc'd; NULL out of memory. */
HF_MUST_CHECK char *hf_instance_encode(const struct hf_instance *instance);
HF_MUST_CHECK int hf_instance_decode(const void *text, size_t len,
				     struct hf_instance *ret); /* 0, -EINVAL */

#endif
