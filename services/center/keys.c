/* services/center/keys.c - an app's API keys, and the keys that sign its clients' tokens.
 *
 * Secrets are made here and shown once, in the answer that makes them. Of an API key only the
 * SHA-256 is kept; a token key's secret must be kept, as rooms check signatures with it. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api.h"
#include "fields.h"
#include "held.h"
#include "hf_clock.h"
#include "hf_hash.h"
#include "hf_text.h"
#include "problem.h"

#define SECRET_BYTES     32
#define SECRET_TEXT_SIZE 48 /* base64 of SECRET_BYTES, either alphabet */
#define EXPIRES_MAX_S    253402300799ull

static const char *const role_names[] = {
	[HF_ROLE_VIEWER] = "viewer", [HF_ROLE_SENDER] = "sender", [HF_ROLE_ADMIN] = "admin", NULL
};

static json_t *word_expiry(uint64_t expires_ms)
{
	char text[HF_CLOCK_TEXT_SIZE];

	if (expires_ms == 0)
		return json_null();
	hf_clock_format(expires_ms, text);
	return json_string(text);
}

static json_t *word_key(const struct hf_api_key *key)
{
	json_t *networks = json_array(), *rate = json_null();

	for (size_t i = 0; i < key->network_count; i++) {
		char text[HF_CIDR_TEXT_MAX + 1];

		hf_cidr_format(&key->networks[i], text);
		json_array_append_new(networks, json_string(text));
	}
	if (key->requests_per_second > 0)
		rate = json_integer(key->requests_per_second);
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "id", key->id, "role", role_names[key->role],
			 "expires_at", word_expiry(key->expires_ms), "requests_per_second", rate,
			 "allowed_cidrs", networks);
}

void api_list_keys(struct call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < call->app->api_key_count; i++)
		json_array_append_new(list, word_key(&call->app->api_keys[i]));
	api_respond_json(call->exchange, 200, json_pack("{s:o}", "keys", list));
}

/* Unix seconds, or RFC 3339 in UTC ("2026-01-31T12:00:00Z"). */
static int parse_expiry(const json_t *value, uint64_t *ret_ms, struct problem *ret_problem)
{
	uint64_t seconds = 0;
	const char *end;
	int64_t at;
	int err;

	if (!json_is_string(value)) {
		err = fields_uint(value, "expires_at", 1, EXPIRES_MAX_S, "BAD_VALUE", &seconds,
				  ret_problem);
		*ret_ms = seconds * 1000;
		return err;
	}
	end = fields_parse_date(json_string_value(value), "%Y-%m-%dT%H:%M:%SZ", &at);
	if (end == NULL || *end != '\0' || at <= 0)
		return problem_set(ret_problem, 400, "BAD_VALUE", "expires_at",
				   json_string_value(value),
				   "expires_at must be Unix seconds or like 2026-01-31T12:00:00Z");
	*ret_ms = (uint64_t)at * 1000;
	return 0;
}

static void make_key(struct center *center, struct hf_api_key *key, char secret[SECRET_TEXT_SIZE])
{
	uint8_t bytes[SECRET_BYTES];
	char id[HF_ID_TEXT_SIZE];
	unsigned size = sizeof(key->secret_sha256);

	hf_id_format(hf_id_next(&center->service->ids, hf_loop_wall_ms(center->loop)), id);
	snprintf(key->id, sizeof(key->id), "ak_%s", id);
	hf_random_bytes(bytes, sizeof(bytes));
	hf_base64_encode(bytes, sizeof(bytes), true, secret);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (EVP_Digest(secret, strlen(secret), key->secret_sha256, &size, EVP_sha256(), NULL) != 1)
		abort(); /* out of memory; a key with an unknown digest must not be written */
}

static int parse_networks(const json_t *list, struct hf_api_key *ret, struct problem *ret_problem)
{
	size_t count = json_array_size(list);

	if (list == NULL || json_is_null(list))
		return 0;
	if (!json_is_array(list) || count > HF_API_KEY_NETWORKS)
		return problem_set(ret_problem, 400, "BAD_VALUE", "allowed_cidrs", NULL,
				   "allowed_cidrs must be an array of at most %d networks",
				   HF_API_KEY_NETWORKS);
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text == NULL || hf_cidr_parse(text, &ret->networks[i]) < 0)
			return problem_set(ret_problem, 400, "BAD_VALUE", "allowed_cidrs", text,
					   "a network is like 10.0.0.0/8");
	}
	ret->network_count = (uint32_t)count;
	return 0;
}

static int parse_key(const json_t *body, struct hf_api_key *ret, struct problem *ret_problem)
{
	static const char *const known[] = { "role", "expires_at", "requests_per_second",
					     "allowed_cidrs", NULL };
	uint64_t rate = 0;
	int role = HF_ROLE_SENDER;
	int err = fields_known(body, "", known, ret_problem);

	if (err == 0)
		err = fields_choice(json_object_get(body, "role"), "role", role_names, &role,
				    ret_problem);
	if (err == 0)
		err = parse_expiry(json_object_get(body, "expires_at"), &ret->expires_ms,
				   ret_problem);
	if (err == 0)
		err = fields_uint(json_object_get(body, "requests_per_second"),
				  "requests_per_second", 1, 1000000, "BAD_VALUE", &rate,
				  ret_problem);
	if (err == 0)
		err = parse_networks(json_object_get(body, "allowed_cidrs"), ret, ret_problem);
	ret->role = (enum hf_role)role;
	ret->requests_per_second = (uint32_t)rate;
	return err;
}

/* A new key, whose secret is shown in the answer and kept nowhere. */
struct new_key {
	struct hf_api_key key;
	char secret[SECRET_TEXT_SIZE];
};

static int add_key(struct hf_app *app, void *ctx, json_t **ret_answer, struct problem *ret_problem)
{
	const struct new_key *made = ctx;
	char whole[128];

	if (app->api_key_count == HF_APP_API_KEYS_MAX)
		return problem_set(ret_problem, 409, "TOO_MANY_KEYS", NULL, NULL,
				   "an app has %d API keys at most", HF_APP_API_KEYS_MAX);
	app->api_keys[app->api_key_count++] = made->key;
	*ret_answer = word_key(&made->key);
	snprintf(whole, sizeof(whole), "%s.%s", made->key.id, made->secret);
	json_object_set_new(*ret_answer, "secret", json_string(made->secret));
	json_object_set_new(*ret_answer, "key", json_string(whole));
	OPENSSL_cleanse(whole, sizeof(whole));
	return 0;
}

void api_create_key(struct call *call)
{
	struct new_key made = { .secret = "" };
	json_t *body = api_body(call);
	struct problem problem;

	if (body == NULL)
		return;
	if (parse_key(body, &made.key, &problem) < 0) {
		api_fail(call, &problem);
	} else {
		make_key(call->center, &made.key, made.secret);
		held_change(call, add_key, &made, 201);
	}
	OPENSSL_cleanse(&made, sizeof(made));
	json_decref(body);
}

static int no_such_key(struct problem *ret_problem)
{
	return problem_set(ret_problem, 404, "KEY_UNKNOWN", NULL, NULL, "the app has no such key");
}

static int remove_key(struct hf_app *app, void *id, json_t **ret_answer,
		      struct problem *ret_problem)
{
	size_t i = 0;

	while (i < app->api_key_count && strcmp(app->api_keys[i].id, id) != 0)
		i++;
	if (i == app->api_key_count)
		return no_such_key(ret_problem);
	app->api_key_count--;
	memmove(&app->api_keys[i], &app->api_keys[i + 1],
		(app->api_key_count - i) * sizeof(app->api_keys[0]));
	*ret_answer = held_word_deleted();
	return 0;
}

void api_delete_key(struct call *call)
{
	held_change(call, remove_key, call->arg, 200);
}

void api_list_token_keys(struct call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < call->app->token_key_count; i++)
		json_array_append_new(list, json_pack("{s:s}", "id", call->app->token_keys[i].id));
	api_respond_json(call->exchange, 200, json_pack("{s:o}", "token_keys", list));
}

/* The secret of the request, or a new one. */
static int take_secret(const json_t *value, struct hf_token_key *key, struct problem *ret_problem)
{
	uint8_t room[HF_TOKEN_SECRET_MAX * 2];
	size_t len = json_string_length(value);
	ssize_t n = -1;

	if (value == NULL || json_is_null(value)) {
		hf_random_bytes(key->secret, SECRET_BYTES);
		key->secret_len = SECRET_BYTES;
		return 0;
	}
	if (json_is_string(value) && len < HF_TOKEN_SECRET_MAX * 3 / 2)
		n = hf_base64_decode(json_string_value(value), len, false, room);
	if (n < HF_TOKEN_SECRET_MIN || n > HF_TOKEN_SECRET_MAX)
		return problem_set(ret_problem, 400, "BAD_VALUE", "secret", NULL,
				   "secret must be base64 of %d to %d bytes", HF_TOKEN_SECRET_MIN,
				   HF_TOKEN_SECRET_MAX);
	memcpy(key->secret, room, (size_t)n);
	key->secret_len = (size_t)n;
	return 0;
}

static int take_token_key_id(struct call *call, const json_t *value, struct hf_token_key *key,
			     struct problem *ret_problem)
{
	char text[HF_ID_TEXT_SIZE];
	const char *id = NULL;
	int err = fields_text(value, "id", 1, HF_TOKEN_KEY_ID_MAX, &id, ret_problem);

	if (err < 0)
		return err;
	if (id == NULL) {
		hf_id_format(hf_id_next(&call->center->service->ids,
					hf_loop_wall_ms(call->center->loop)),
			     text);
		snprintf(key->id, sizeof(key->id), "tk_%s", text);
		return 0;
	}
	memcpy(key->id, id, strlen(id) + 1);
	return 0;
}

static int add_token_key(struct hf_app *app, void *ctx, json_t **ret_answer,
			 struct problem *ret_problem)
{
	const struct hf_token_key *key = ctx;
	char secret[HF_TOKEN_SECRET_MAX * 2];

	for (size_t i = 0; i < app->token_key_count; i++)
		if (strcmp(app->token_keys[i].id, key->id) == 0)
			return problem_set(ret_problem, 409, "ALREADY_EXISTS", "id", key->id,
					   "the app has a token key with this id");
	if (app->token_key_count == HF_APP_TOKEN_KEYS_MAX)
		return problem_set(ret_problem, 409, "TOO_MANY_KEYS", NULL, NULL,
				   "an app has %d token keys at most: delete one first",
				   HF_APP_TOKEN_KEYS_MAX);
	app->token_keys[app->token_key_count++] = *key;
	hf_base64_encode(key->secret, key->secret_len, false, secret);
	*ret_answer = json_pack("{s:s, s:s, s:s}", "id", key->id, "alg", "HS256", "secret", secret);
	OPENSSL_cleanse(secret, sizeof(secret));
	return 0;
}

void api_create_token_key(struct call *call)
{
	static const char *const known[] = { "id", "secret", NULL };
	json_t *body = api_body(call);
	struct hf_token_key key = { .id = "" };
	struct problem problem;
	int err;

	if (body == NULL)
		return;
	err = fields_known(body, "", known, &problem);
	if (err == 0)
		err = take_token_key_id(call, json_object_get(body, "id"), &key, &problem);
	if (err == 0)
		err = take_secret(json_object_get(body, "secret"), &key, &problem);
	if (err < 0)
		api_fail(call, &problem);
	else
		held_change(call, add_token_key, &key, 201);
	OPENSSL_cleanse(&key, sizeof(key));
	json_decref(body);
}

static int remove_token_key(struct hf_app *app, void *id, json_t **ret_answer,
			    struct problem *ret_problem)
{
	size_t i = 0;

	while (i < app->token_key_count && strcmp(app->token_keys[i].id, id) != 0)
		i++;
	if (i == app->token_key_count)
		return no_such_key(ret_problem);
	app->token_key_count--;
	memmove(&app->token_keys[i], &app->token_keys[i + 1],
		(app->token_key_count - i) * sizeof(app->token_keys[0]));
	*ret_answer = held_word_deleted();
	return 0;
}

void api_delete_token_key(struct call *call)
{
	held_change(call, remove_token_key, call->arg, 200);
}
