/* common/cluster/hf_apps.h - the apps of the cluster, as the keeper has them under apps/<id>.
 *
 * One app is a JSON (hence YAML) document, read through a table of options (hf_app_document.c):
 *
 *	{"id":7,"name":"shop","enabled":true,
 *	 "token_keys":[{"id":"k1","secret":"base64..."}],
 *	 "api_keys":[{"id":"ak_1","secret_sha256":"hex...","role":"sender","expires_at":0,
 *	              "requests_per_second":0,"allowed_cidrs":["10.0.0.0/8"]}],
 *	 "limits":{"messages_per_second":10000,"burst":20000,"payload":"4KiB",
 *	           "stored_per_registration":100,"broadcasts":4,"requests_per_second":1000},
 *	 "webhooks":[{"id":"orders","url":"https://...","forward_types":["order"],...}]}
 *
 * At most 2 token keys, so that they can be rotated, 32 API keys, and 4 webhooks (hf_webhook.h).
 * `expires_at` is Unix time in seconds, 0 for never. Only `id` is required. The name under apps/ is
 * the id in decimal; a document that says another id is refused. */
#ifndef HF_APPS_H
#define HF_APPS_H

#include "hf_cidr.h"
#include "hf_config.h"
#include "hf_keeper.h"
#include "hf_token.h"
#include "hf_webhook.h"

#define HF_APP_TOKEN_KEYS_MAX 2
#define HF_APP_API_KEYS_MAX   32
#define HF_APP_NAME_MAX       64
#define HF_API_KEY_NETWORKS   4 /* of one key */

enum hf_role {
	HF_ROLE_VIEWER,
	HF_ROLE_SENDER,
	HF_ROLE_ADMIN
}; /* each may do what the one before may */

struct hf_api_key {
	char id[33];
	uint8_t secret_sha256[32];
	enum hf_role role;
	uint64_t expires_ms;          /* 0: never */
	uint32_t requests_per_second; /* of this key, per center; 0: no limit of its own */
	uint32_t network_count;       /* 0: from anywhere */
	struct hf_cidr networks[HF_API_KEY_NETWORKS];
};

struct hf_app {
	uint32_t id; /* 1..2^31-1 */
	char name[HF_APP_NAME_MAX + 1];
	bool enabled;
	size_t token_key_count;
	struct hf_token_key token_keys[HF_APP_TOKEN_KEYS_MAX];
	size_t api_key_count;
	struct hf_api_key api_keys[HF_APP_API_KEYS_MAX];
	uint32_t messages_per_second, burst; /* recipients, per app and center */
	uint32_t payload_max;                /* bytes, up to 64 KiB */
	uint32_t stored_per_registration;    /* 1..1000; the oldest leave first */
	uint32_t broadcasts;                 /* running at once */
	uint32_t requests_per_second;        /* other requests than sends, per app and center */
	size_t webhook_count;
	struct hf_webhook webhooks[HF_WEBHOOKS_MAX];
	uint32_t event_mask; /* events that at least one callback wants; 0 for a disabled app */
};

struct hf_apps;

/* Follows the keeper. `on_change` (may be NULL) runs after each change. 0 or -errno. */
HF_MUST_CHECK int hf_apps_new(struct hf_keeper *keeper, void (*on_change)(struct hf_apps *, void *),
			      void *ctx, struct hf_apps **ret_apps);
void hf_apps_free(struct hf_apps *apps);
bool hf_apps_known(const struct hf_apps *apps); /* has the first list arrived? */
/* Borrowed until the next turn of the loop; NULL: no such app. A definition that does not parse is
 * logged with its error, and the one before it stays in force. */
const struct hf_app *hf_apps_get(const struct hf_apps *apps, uint32_t id);
/* Does the keeper have a definition of it, whether or not it parses? */
bool hf_apps_has(const struct hf_apps *apps, uint32_t id);
size_t hf_apps_count(const struct hf_apps *apps);
/* Ascending ids: the first with an id above `after` (0: from the start), NULL at the end. */
const struct hf_app *hf_apps_after(const struct hf_apps *apps, uint32_t after);

/* Document <-> struct: 0 or -EINVAL with a message that names key and range. */
HF_MUST_CHECK int hf_app_decode(const char *text, size_t len, struct hf_app *ret,
				char error[HF_CONFIG_ERROR_SIZE]);
HF_MUST_CHECK char *hf_app_encode(const struct hf_app *app); /* JSON, malloc'd */

/* Compares in constant time. NULL when the key is unknown or the secret is wrong; an expired key is
 * returned: the caller looks at expires_ms. */
const struct hf_api_key *hf_app_check_key(const struct hf_app *app, struct hf_bytes key_id,
					  struct hf_bytes secret);

#endif
