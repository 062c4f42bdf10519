/* common/cluster/hf_webhook.h - where an app's business is called back: part of its document.
 *
 *	{"id":"orders","url":"https://shop.example/hooks","enabled":true,"forward_types":["order"],
 *	 "secrets":["whsec_base64..."],"allow_cidrs":[],"timeout":"5s","max_in_flight":16,
 *	 "max_per_second":1000,"events":["message.*"],"batch":{"max_events":100,"max_wait":"100ms"},
 *	 "disabled_reason":""}
 *
 * `events` are names of events or their first part (hf_event.h); up to `max_events` go in one
 * request, and the first of them waits for `max_wait` at most. `disabled_reason` says why the
 * cluster turned `enabled` off: the callback answered 410.
 *
 * `forward_types` are the types of upstream messages that go there; "*" stands for all that no
 * other callback of the app names. Two secrets while one replaces the other: every request carries
 * a signature by each. A target in a private network is refused unless it lies in one of
 * `allow_cidrs`. */
#ifndef HF_WEBHOOK_H
#define HF_WEBHOOK_H

#include <jansson.h>

#include "hf_cidr.h"
#include "hf_config.h"

#define HF_WEBHOOKS_MAX              4 /* of one app */
#define HF_WEBHOOK_ID_MAX            32
#define HF_WEBHOOK_URL_MAX           255
#define HF_WEBHOOK_TYPES_MAX         8
#define HF_WEBHOOK_TYPE_MAX          32 /* as HF_WIRE_LABEL_MAX */
#define HF_WEBHOOK_SECRETS_MAX       2
#define HF_WEBHOOK_SECRET_MIN        24 /* bytes, decoded (Standard Webhooks) */
#define HF_WEBHOOK_SECRET_MAX        64
#define HF_WEBHOOK_SECRET_PREFIX     "whsec_"
#define HF_WEBHOOK_SECRET_TEXT       (6 + 88) /* prefix, and base64 of the longest */
#define HF_WEBHOOK_NETWORKS_MAX      8
#define HF_WEBHOOK_IN_FLIGHT_MAX     64
#define HF_WEBHOOK_TIMEOUT_MAX_MS    15000
#define HF_WEBHOOK_PER_SECOND_MAX    100000
#define HF_WEBHOOK_TIMEOUT_DEFAULT   "5s"
#define HF_WEBHOOK_IN_FLIGHT_DEFAULT "16"
#define HF_WEBHOOK_RATE_DEFAULT      "1000"
#define HF_WEBHOOK_PATTERNS_MAX      16
#define HF_WEBHOOK_PATTERN_MAX       31
#define HF_WEBHOOK_BATCH_MAX         500
#define HF_WEBHOOK_WAIT_MAX_MS       10000
#define HF_WEBHOOK_BATCH_DEFAULT     "100"
#define HF_WEBHOOK_WAIT_DEFAULT      "100ms"
#define HF_WEBHOOK_REASON_MAX        63

struct hf_webhook_secret {
	uint8_t len;
	uint8_t key[HF_WEBHOOK_SECRET_MAX];
};

/* Plain data without pointers, and zeroed where unused: two can be compared by memcmp(). */
struct hf_webhook {
	char id[HF_WEBHOOK_ID_MAX + 1];
	char url[HF_WEBHOOK_URL_MAX + 1];
	bool enabled;
	uint8_t type_count, secret_count, network_count;
	char types[HF_WEBHOOK_TYPES_MAX][HF_WEBHOOK_TYPE_MAX + 1];
	struct hf_webhook_secret secrets[HF_WEBHOOK_SECRETS_MAX];
	struct hf_cidr networks[HF_WEBHOOK_NETWORKS_MAX]; /* allow_cidrs */
	uint32_t timeout_ms;
	uint32_t max_in_flight;
	uint32_t max_per_second;
	uint8_t pattern_count;
	char patterns[HF_WEBHOOK_PATTERNS_MAX][HF_WEBHOOK_PATTERN_MAX + 1]; /* `events` */
	uint32_t event_mask; /* what they name, whether enabled or not */
	uint32_t batch_events, batch_wait_ms;
	char disabled_reason[HF_WEBHOOK_REASON_MAX + 1];
};

/* One item of `webhooks` as the table reads it. */
struct hf_webhook_document {
	char *id, *url;
	bool enabled;
	struct hf_strings forward_types, secrets, allow_cidrs, events;
	uint64_t timeout_ms, max_in_flight, max_per_second, batch_events, batch_wait_ms;
	char *disabled_reason;
};
extern const struct hf_option hf_webhook_options[];

/* The list that was read by the table above. 0, or -EINVAL with a message. */
HF_MUST_CHECK int hf_webhooks_read(const struct hf_list *list,
				   struct hf_webhook ret[HF_WEBHOOKS_MAX], size_t *ret_count,
				   char error[HF_CONFIG_ERROR_SIZE]);
/* The array for the document; NULL: out of memory. */
HF_MUST_CHECK json_t *hf_webhooks_encode(const struct hf_webhook *webhooks, size_t count);

/* "http://" or "https://", a host, no user, a port of 1 to 65535 if any, no fragment, at most
 * HF_WEBHOOK_URL_MAX bytes of printable ASCII without spaces. */
bool hf_webhook_url_is_valid(const char *url);
/* 1..32 bytes of [A-Za-z0-9_.-]. */
bool hf_webhook_id_is_valid(const char *id);
/* "whsec_" and base64 of 24 to 64 bytes. 0 or -EINVAL. */
HF_MUST_CHECK int hf_webhook_secret_parse(const char *text, struct hf_webhook_secret *ret);
void hf_webhook_secret_format(const struct hf_webhook_secret *secret,
			      char ret[HF_WEBHOOK_SECRET_TEXT + 4]);

/* Events that at least one enabled one of them wants. */
uint32_t hf_webhooks_event_mask(const struct hf_webhook *webhooks, size_t count);

/* Which of them takes upstream messages of this type; NULL: none. */
const struct hf_webhook *hf_webhook_for_type(const struct hf_webhook *webhooks, size_t count,
					     struct hf_bytes type);

#endif
