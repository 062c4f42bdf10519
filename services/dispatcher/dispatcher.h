/* services/dispatcher/dispatcher.h - answers a client's "where do I connect?" from memory.
 *
 * Data: the live rooms and the apps, as the keeper has them; nothing else, and nothing per client.
 */
#ifndef DISPATCHER_H
#define DISPATCHER_H

#include "hf_apps.h"
#include "hf_http_server.h"
#include "hf_peers.h"
#include "hf_service.h"
#include "selection.h"

struct keepalive_config {
	uint64_t initial_ms, min_ms, max_ms, step_ms;
};

struct dispatcher_config {
	struct hf_service_config service;
	char *api_bind, *api_advertise;
	uint64_t connections_max;
	uint64_t requests_per_second;
	uint64_t ttl_ms;
	struct keepalive_config cellular, wifi;
	uint64_t backoff_base_ms, backoff_max_ms;
	uint64_t connect_timeout_ms;
};

struct dispatcher_state {
	struct hf_service *service;
	const struct dispatcher_config *config;
	struct hf_peers *rooms;
	struct hf_apps *apps;
	struct hf_http_server *http;
	double tokens; /* of the request rate */
	uint64_t tokens_ms;
	uint64_t *requests[SELECTION_REASON_COUNT];
	uint64_t *refused_rate, *refused_bad, *refused_app, *refused_no_room;
};

extern const struct hf_service_type dispatcher_type;

/* endpoints.c */
void endpoints_request(struct hf_http_exchange *exchange, void *ctx);
bool endpoints_explain(struct hf_service *service, struct hf_http_exchange *exchange);

#endif
