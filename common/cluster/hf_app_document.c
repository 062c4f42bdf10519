/* common/cluster/hf_app_document.c - one app as a document, and back. */
#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_apps.h"
#include "hf_text.h"

#define SECRET_TEXT_MAX 172 /* base64 of HF_TOKEN_SECRET_MAX bytes */
#define SHA256_SIZE     32
#define SHA256_TEXT     64
/* Longest secret that is hashed for a caller; what hfctl makes is far shorter. */
#define API_SECRET_MAX 256

static const char *const role_choices[] = { "viewer", "sender", "admin", NULL };

struct token_key_document {
	char *id, *secret;
};

struct api_key_document {
	char *id, *secret_sha256;
	int role;
	uint64_t expires_at, requests_per_second;
	struct hf_strings allowed_cidrs;
};

struct app_document {
	uint64_t id;
	char *name;
	bool enabled;
	struct hf_list token_keys, api_keys, webhooks;
	uint64_t messages_per_second, burst, payload, stored_per_registration, broadcasts,
		requests_per_second;
};

#define AT(field) offsetof(struct token_key_document, field)
/* Secrets are plain strings here: an HF_OPT_SECRET may name a file or a variable of the process
 * that reads it, which is not for a document that comes from the keeper. */
static const struct hf_option token_key_options[] = {
	{ "id", HF_OPT_STRING, AT(id), NULL, 1, HF_TOKEN_KEY_ID_MAX,
	  "what the header of a token calls `kid`" },
	{ "secret", HF_OPT_STRING, AT(secret), NULL, 24, SECRET_TEXT_MAX,
	  "key of HS256 in base64, 16 to 128 bytes decoded" },
	{ 0 },
};
#undef AT

#define AT(field) offsetof(struct api_key_document, field)
static const struct hf_option api_key_options[] = {
	{ "id", HF_OPT_STRING, AT(id), NULL, 1, 32, "name of the key in API calls" },
	{ "secret_sha256", HF_OPT_STRING, AT(secret_sha256), NULL, SHA256_TEXT, SHA256_TEXT,
	  "SHA-256 of the secret in hex; the secret itself is kept nowhere" },
	{ "role", HF_OPT_ENUM, AT(role), "sender", 0, 0, "viewer, sender or admin",
	  .choices = role_choices },
	{ "expires_at", HF_OPT_UINT, AT(expires_at), "0", 0, 253402300799,
	  "Unix time in seconds; 0: never" },
	{ "requests_per_second", HF_OPT_UINT, AT(requests_per_second), "0", 0, 1000000,
	  "requests a second with this key, per center; 0: no limit of its own" },
	{ "allowed_cidrs", HF_OPT_STRINGS, AT(allowed_cidrs), "", 0, HF_API_KEY_NETWORKS,
	  "networks that the key may be used from; none: from anywhere" },
	{ 0 },
};
#undef AT

#define AT(field) offsetof(struct app_document, field)
static const struct hf_option app_options[] = {
	{ "id", HF_OPT_UINT, AT(id), NULL, 1, INT32_MAX, "number of the app" },
	{ "name", HF_OPT_STRING, AT(name), "", 0, HF_APP_NAME_MAX, "name shown to people" },
	{ "enabled", HF_OPT_BOOL, AT(enabled), "true", 0, 0, "false refuses clients and calls" },
	{ "token_keys", HF_OPT_LIST, AT(token_keys), "", 0, HF_APP_TOKEN_KEYS_MAX,
	  "keys that sign client tokens; two, so that they can be rotated",
	  .items = token_key_options, .item_size = sizeof(struct token_key_document) },
	{ "api_keys", HF_OPT_LIST, AT(api_keys), "", 0, HF_APP_API_KEYS_MAX,
	  "keys of the center's API", .items = api_key_options,
	  .item_size = sizeof(struct api_key_document) },
	{ "limits.messages_per_second", HF_OPT_UINT, AT(messages_per_second), "10000", 1, 10000000,
	  "recipients a second, per center" },
	{ "limits.burst", HF_OPT_UINT, AT(burst), "20000", 1, 100000000,
	  "recipients at once, per center" },
	{ "limits.payload", HF_OPT_SIZE, AT(payload), "4KiB", 1, 65536, "size of one message" },
	{ "limits.stored_per_registration", HF_OPT_UINT, AT(stored_per_registration), "100", 1,
	  1000, "messages kept for one registration; the oldest leave first" },
	{ "limits.broadcasts", HF_OPT_UINT, AT(broadcasts), "4", 1, 100,
	  "broadcasts that run at once" },
	{ "limits.requests_per_second", HF_OPT_UINT, AT(requests_per_second), "1000", 1, 1000000,
	  "API requests a second that are no sends, per center" },
	{ "webhooks", HF_OPT_LIST, AT(webhooks), "", 0, HF_WEBHOOKS_MAX,
	  "where the business is called back", .items = hf_webhook_options,
	  .item_size = sizeof(struct hf_webhook_document) },
	{ 0 },
};
#undef AT

static int fail(char error[HF_CONFIG_ERROR_SIZE], const char *key, size_t index, const char *what)
{
	snprintf(error, HF_CONFIG_ERROR_SIZE, "%s[%zu]: %s", key, index, what);
	return -EINVAL;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool decode_hex(const char *text, uint8_t ret[SHA256_SIZE])
{
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		int high = hex_value(text[2 * i]);
		int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);

		if (low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return text[2 * SHA256_SIZE] == '\0';
}

static int read_token_keys(const struct hf_list *list, struct hf_app *app,
			   char error[HF_CONFIG_ERROR_SIZE])
{
	const struct token_key_document *items = list->items;

	for (size_t i = 0; i < list->count; i++) {
		struct hf_token_key *key = &app->token_keys[i];
		uint8_t secret[SECRET_TEXT_MAX + 4];
		ssize_t len =
			hf_base64_decode(items[i].secret, strlen(items[i].secret), false, secret);

		if (len < 0)
			return fail(error, "token_keys", i, "secret: not base64");
		if (len < HF_TOKEN_SECRET_MIN || len > HF_TOKEN_SECRET_MAX)
			return fail(error, "token_keys", i, "secret: 16 to 128 bytes, decoded");
		for (size_t j = 0; j < i; j++)
			if (strcmp(items[j].id, items[i].id) == 0)
				return fail(error, "token_keys", i, "id: used twice");
		memcpy(key->id, items[i].id, strlen(items[i].id) + 1);
		memcpy(key->secret, secret, (size_t)len);
		key->secret_len = (size_t)len;
	}
	app->token_key_count = list->count;
	return 0;
}

static int read_networks(const struct hf_strings *list, struct hf_api_key *key)
{
	for (size_t i = 0; i < list->count; i++)
		if (hf_cidr_parse(list->values[i], &key->networks[i]) < 0)
			return -EINVAL;
	key->network_count = (uint32_t)list->count;
	return 0;
}

static int read_api_keys(const struct hf_list *list, struct hf_app *app,
			 char error[HF_CONFIG_ERROR_SIZE])
{
	const struct api_key_document *items = list->items;

	for (size_t i = 0; i < list->count; i++) {
		struct hf_api_key *key = &app->api_keys[i];

		if (!decode_hex(items[i].secret_sha256, key->secret_sha256))
			return fail(error, "api_keys", i, "secret_sha256: not 64 hex digits");
		for (size_t j = 0; j < i; j++)
			if (strcmp(items[j].id, items[i].id) == 0)
				return fail(error, "api_keys", i, "id: used twice");
		memcpy(key->id, items[i].id, strlen(items[i].id) + 1);
		key->role = (enum hf_role)items[i].role;
		key->expires_ms = items[i].expires_at * 1000;
		key->requests_per_second = (uint32_t)items[i].requests_per_second;
		if (read_networks(&items[i].allowed_cidrs, key) < 0)
			return fail(error, "api_keys", i,
				    "allowed_cidrs: networks such as 10.0.0.0/8");
	}
	app->api_key_count = list->count;
	return 0;
}

int hf_app_decode(const char *text, size_t len, struct hf_app *ret,
		  char error[HF_CONFIG_ERROR_SIZE])
{
	struct app_document document = { 0 };
	struct hf_app app = { 0 };
	int err = hf_config_parse(app_options, "app", text, len, NULL, 0, &document, error);

	if (err != 0)
		return err;
	app.id = (uint32_t)document.id;
	memcpy(app.name, document.name, strlen(document.name) + 1);
	app.enabled = document.enabled;
	app.messages_per_second = (uint32_t)document.messages_per_second;
	app.burst = (uint32_t)document.burst;
	app.payload_max = (uint32_t)document.payload;
	app.stored_per_registration = (uint32_t)document.stored_per_registration;
	app.broadcasts = (uint32_t)document.broadcasts;
	app.requests_per_second = (uint32_t)document.requests_per_second;
	err = read_token_keys(&document.token_keys, &app, error);
	if (err == 0)
		err = read_api_keys(&document.api_keys, &app, error);
	if (err == 0)
		err = hf_webhooks_read(&document.webhooks, app.webhooks, &app.webhook_count, error);
	hf_config_deinit(app_options, &document);
	if (app.enabled && err == 0)
		app.event_mask = hf_webhooks_event_mask(app.webhooks, app.webhook_count);
	if (err == 0)
		*ret = app;
	return err;
}

static json_t *encode_token_keys(const struct hf_app *app)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < app->token_key_count; i++) {
		const struct hf_token_key *key = &app->token_keys[i];
		char secret[SECRET_TEXT_MAX + 4];

		hf_base64_encode(key->secret, key->secret_len, false, secret);
		if (json_array_append_new(list, json_pack("{s:s, s:s}", "id", key->id, "secret",
							  secret)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *encode_api_key(const struct hf_api_key *key)
{
	json_t *networks = json_array();
	char hex[SHA256_TEXT + 1];

	for (size_t i = 0; i < SHA256_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", key->secret_sha256[i]);
	for (size_t i = 0; networks != NULL && i < key->network_count; i++) {
		char text[HF_CIDR_TEXT_MAX + 1];

		hf_cidr_format(&key->networks[i], text);
		if (json_array_append_new(networks, json_string(text)) < 0) {
			json_decref(networks);
			return NULL;
		}
	}
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "id", key->id, "secret_sha256", hex,
			 "role", role_choices[key->role], "expires_at",
			 (json_int_t)(key->expires_ms / 1000), "requests_per_second",
			 (json_int_t)key->requests_per_second, "allowed_cidrs", networks);
}

static json_t *encode_api_keys(const struct hf_app *app)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < app->api_key_count; i++) {
		if (json_array_append_new(list, encode_api_key(&app->api_keys[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

char *hf_app_encode(const struct hf_app *app)
{
	json_t *token_keys = encode_token_keys(app);
	json_t *api_keys = encode_api_keys(app);
	json_t *webhooks = hf_webhooks_encode(app->webhooks, app->webhook_count);
	json_t *root = NULL;
	char *text = NULL;

	if (token_keys != NULL && api_keys != NULL && webhooks != NULL)
		root = json_pack("{s:I, s:s, s:b, s:O, s:O, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:O}",
				 "id", (json_int_t)app->id, "name", app->name, "enabled",
				 (int)app->enabled, "token_keys", token_keys, "api_keys", api_keys,
				 "limits", "messages_per_second",
				 (json_int_t)app->messages_per_second, "burst",
				 (json_int_t)app->burst, "payload", (json_int_t)app->payload_max,
				 "stored_per_registration",
				 (json_int_t)app->stored_per_registration, "broadcasts",
				 (json_int_t)app->broadcasts, "requests_per_second",
				 (json_int_t)app->requests_per_second, "webhooks", webhooks);
	if (root != NULL)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	json_decref(token_keys);
	json_decref(api_keys);
	json_decref(webhooks);
	return text;
}

/* A digest of each call's secret, with a context made once a process. */
static bool sha256(struct hf_bytes data, uint8_t ret[SHA256_SIZE])
{
	static EVP_MD_CTX *context;
	static EVP_MD *algorithm;

	if (algorithm == NULL)
		algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (context == NULL)
		context = EVP_MD_CTX_new();
	return algorithm != NULL && context != NULL &&
	       EVP_DigestInit_ex2(context, algorithm, NULL) == 1 &&
	       EVP_DigestUpdate(context, data.data, data.len) == 1 &&
	       EVP_DigestFinal_ex(context, ret, NULL) == 1;
}

const struct hf_api_key *hf_app_check_key(const struct hf_app *app, struct hf_bytes key_id,
					  struct hf_bytes secret)
{
	uint8_t digest[SHA256_SIZE];

	if (secret.len > API_SECRET_MAX || !sha256(secret, digest))
		return NULL;
	for (size_t i = 0; i < app->api_key_count; i++) {
		const struct hf_api_key *key = &app->api_keys[i];

		if (hf_bytes_equal(hf_bytes_of_string(key->id), key_id))
			return CRYPTO_memcmp(digest, key->secret_sha256, SHA256_SIZE) == 0 ? key
											   : NULL;
	}
	return NULL;
}
