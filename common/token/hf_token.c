/* common/token/hf_token.c - see the header. Logins come in storms, so a check takes its memory from
 * the stack but for the two small JSON documents, and the MAC context is made once a process. */
#include "hf_token.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "hf_text.h"

#define MAC_SIZE  32
#define MAC_TEXT  43 /* base64url of MAC_SIZE bytes */
#define DEPTH_MAX 8  /* nested arrays and objects in claims we ignore */
/* Decoding needs 3/4 of the characters; the encoder of hf_text.h wants 3 spare bytes. */
#define JSON_MAX        (HF_TOKEN_MAX * 3 / 4 + 4)
#define HEADERS_KEPT    16u
#define HEADER_KEPT_MAX 128u
/* NumericDate in seconds: year 9999, so that milliseconds never overflow. */
#define SECONDS_MAX 253402300799.0

struct token_parts {
	struct hf_bytes header, payload, signature, signed_text;
};

const char *hf_token_result_name(enum hf_token_result result)
{
	static const char *const names[] = {
		[HF_TOKEN_OK] = "ok",
		[HF_TOKEN_MALFORMED] = "malformed",
		[HF_TOKEN_KEY_UNKNOWN] = "key_unknown",
		[HF_TOKEN_BAD_SIGNATURE] = "bad_signature",
		[HF_TOKEN_EXPIRED] = "expired",
		[HF_TOKEN_NOT_YET_VALID] = "not_yet_valid",
		[HF_TOKEN_MISMATCH] = "mismatch",
	};

	return (size_t)result < HF_ARRAY_LEN(names) ? names[result] : "unknown";
}

/* Three parts, two dots. */
static bool split(struct hf_bytes token, struct token_parts *ret)
{
	const uint8_t *first, *second, *end;

	if (token.len == 0 || token.len > HF_TOKEN_MAX)
		return false;
	end = token.data + token.len;
	first = memchr(token.data, '.', token.len);
	if (first == NULL)
		return false;
	second = memchr(first + 1, '.', (size_t)(end - first - 1));
	if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
		return false;
	ret->header = hf_bytes_of(token.data, (size_t)(first - token.data));
	ret->payload = hf_bytes_of(first + 1, (size_t)(second - first - 1));
	ret->signature = hf_bytes_of(second + 1, (size_t)(end - second - 1));
	ret->signed_text = hf_bytes_of(token.data, (size_t)(second - token.data));
	return true;
}

/* jansson recurses per level: what is nested deeper than any token needs to be is not parsed at
 * all. */
static bool is_shallow(const uint8_t *text, size_t len)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > DEPTH_MAX)
				return false;
		} else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

/* A part's JSON object, NULL when it is none. jansson refuses bad UTF-8, \u0000 and trailing bytes.
 */
static json_t *decode_part(struct hf_bytes part)
{
	uint8_t text[JSON_MAX];
	ssize_t len = hf_base64_decode((const char *)part.data, part.len, true, text);
	json_t *root;

	if (len < 0 || !is_shallow(text, (size_t)len))
		return NULL;
	root = json_loadb((const char *)text, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

/* Which key a header names. */
static enum hf_token_result read_header(struct hf_bytes header,
					char ret_key_id[HF_TOKEN_KEY_ID_MAX + 1])
{
	enum hf_token_result result = HF_TOKEN_KEY_UNKNOWN;
	json_t *root = decode_part(header);
	const json_t *alg = json_object_get(root, "alg");
	const json_t *kid = json_object_get(root, "kid");

	if (root == NULL || !json_is_string(alg) || (kid != NULL && !json_is_string(kid)) ||
	    json_object_get(root, "crit") != NULL) { /* RFC 7515 4.1.11: we understand none */
		result = HF_TOKEN_MALFORMED;
	} else if (strcmp(json_string_value(alg), "HS256") != 0) {
		result = HF_TOKEN_BAD_SIGNATURE;
	} else if (kid != NULL && json_string_length(kid) <= HF_TOKEN_KEY_ID_MAX) {
		memcpy(ret_key_id, json_string_value(kid), json_string_length(kid) + 1);
		result = HF_TOKEN_OK;
	}
	json_decref(root);
	return result;
}

/* All tokens of a key begin with the same header, so those that came last are not read again. */
static enum hf_token_result find_key(struct hf_bytes header, const struct hf_token_key *keys,
				     size_t key_count, const struct hf_token_key **ret_key)
{
	static struct {
		uint8_t text[HEADER_KEPT_MAX];
		size_t len;
		char key_id[HF_TOKEN_KEY_ID_MAX + 1];
	} kept[HEADERS_KEPT], *known;
	char read[HF_TOKEN_KEY_ID_MAX + 1];
	const char *key_id = read;

	known = &kept[hf_hash(header.data, header.len) % HEADERS_KEPT];
	if (known->len > 0 && hf_bytes_equal(hf_bytes_of(known->text, known->len), header)) {
		key_id = known->key_id;
	} else {
		enum hf_token_result result = read_header(header, read);

		if (result != HF_TOKEN_OK)
			return result;
		if (header.len <= HEADER_KEPT_MAX) {
			memcpy(known->text, header.data, header.len);
			memcpy(known->key_id, read, sizeof(read));
			known->len = header.len;
		}
	}
	for (size_t i = 0; i < key_count; i++) {
		if (strcmp(key_id, keys[i].id) == 0) {
			*ret_key = &keys[i];
			return HF_TOKEN_OK;
		}
	}
	return HF_TOKEN_KEY_UNKNOWN;
}

/* One context for the process: fetching the algorithm costs more than a MAC of a token. */
static EVP_MAC_CTX *mac_context(void)
{
	static EVP_MAC_CTX *context;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac;

	if (context != NULL)
		return context;
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	context = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac); /* the context has its own reference */
	if (context != NULL && EVP_MAC_CTX_set_params(context, params) != 1) {
		EVP_MAC_CTX_free(context);
		context = NULL;
	}
	return context;
}

/* To make the context of a secret costs more than the MAC of a token, and the next token's is
 * mostly the same. */
static bool mac_begin(EVP_MAC_CTX *context, const struct hf_token_key *key)
{
	static struct hf_token_key last;

	if (key->secret_len == last.secret_len &&
	    memcmp(key->secret, last.secret, last.secret_len) == 0)
		return EVP_MAC_init(context, NULL, 0, NULL) == 1;
	last.secret_len = 0;
	if (EVP_MAC_init(context, key->secret, key->secret_len, NULL) != 1)
		return false;
	last = *key;
	return true;
}

static bool compute_mac(const struct hf_token_key *key, struct hf_bytes text, uint8_t ret[MAC_SIZE])
{
	EVP_MAC_CTX *context = mac_context();
	size_t len = 0;

	return context != NULL && mac_begin(context, key) &&
	       EVP_MAC_update(context, text.data, text.len) == 1 &&
	       EVP_MAC_final(context, ret, &len, MAC_SIZE) == 1 && len == MAC_SIZE;
}

static bool signature_matches(const struct token_parts *parts, const struct hf_token_key *key)
{
	uint8_t given[MAC_SIZE + 4], computed[MAC_SIZE];

	if (parts->signature.len != MAC_TEXT ||
	    hf_base64_decode((const char *)parts->signature.data, MAC_TEXT, true, given) !=
		    MAC_SIZE)
		return false;
	return compute_mac(key, parts->signed_text, computed) &&
	       CRYPTO_memcmp(given, computed, MAC_SIZE) == 0;
}

/* A NumericDate in seconds, perhaps with a fraction, as milliseconds. Absent: `absent`. */
static bool read_date(const json_t *root, const char *name, uint64_t absent, uint64_t *ret_ms)
{
	const json_t *value = json_object_get(root, name);
	double seconds = json_number_value(value);

	if (value == NULL) {
		*ret_ms = absent;
		return true;
	}
	if (!json_is_number(value) || !(seconds >= 0 && seconds <= SECONDS_MAX))
		return false;
	*ret_ms = (uint64_t)(seconds * 1000);
	return true;
}

static bool read_id(const json_t *value, char *ret, size_t max, size_t *ret_len)
{
	size_t len = json_string_length(value);

	if (!json_is_string(value) || !hf_text_is_id(json_string_value(value), len, max))
		return false;
	memcpy(ret, json_string_value(value), len + 1);
	*ret_len = len;
	return true;
}

static bool read_claims(const json_t *root, struct hf_token_claims *ret, uint64_t *ret_not_before)
{
	const json_t *app = json_object_get(root, "app");
	const json_t *uid = json_object_get(root, "uid");
	size_t uid_len;
	uint64_t issued;

	*ret = (struct hf_token_claims){ 0 };
	if (!json_is_integer(app) || json_integer_value(app) < 1 ||
	    json_integer_value(app) > INT32_MAX)
		return false;
	ret->app = (uint32_t)json_integer_value(app);
	return read_id(json_object_get(root, "sub"), ret->registration, HF_REGISTRATION_MAX,
		       &ret->registration_len) &&
	       (uid == NULL || read_id(uid, ret->user_id, HF_USER_ID_MAX, &uid_len)) &&
	       json_object_get(root, "exp") != NULL &&
	       read_date(root, "exp", 0, &ret->expires_ms) &&
	       read_date(root, "nbf", 0, ret_not_before) && read_date(root, "iat", 0, &issued);
}

enum hf_token_result hf_token_check(struct hf_bytes token, const struct hf_token_key *keys,
				    size_t key_count, uint32_t app, struct hf_bytes registration,
				    uint64_t wall_ms, struct hf_token_claims *ret_claims)
{
	const struct hf_token_key *key = NULL;
	struct hf_token_claims claims;
	enum hf_token_result result;
	struct token_parts parts;
	uint64_t not_before;
	json_t *root;
	bool ok;

	if (!split(token, &parts))
		return HF_TOKEN_MALFORMED;
	result = find_key(parts.header, keys, key_count, &key);
	if (result != HF_TOKEN_OK)
		return result;
	if (!signature_matches(&parts, key))
		return HF_TOKEN_BAD_SIGNATURE;

	root = decode_part(parts.payload);
	ok = root != NULL && read_claims(root, &claims, &not_before);
	json_decref(root);
	if (!ok)
		return HF_TOKEN_MALFORMED;
	if (claims.app != app ||
	    !hf_bytes_equal(hf_bytes_of(claims.registration, claims.registration_len),
			    registration))
		return HF_TOKEN_MISMATCH;
	if (wall_ms >= claims.expires_ms + HF_TOKEN_CLOCK_SKEW_MS)
		return HF_TOKEN_EXPIRED;
	if (wall_ms + HF_TOKEN_CLOCK_SKEW_MS < not_before)
		return HF_TOKEN_NOT_YET_VALID;
	*ret_claims = claims;
	return HF_TOKEN_OK;
}

/* Appends base64url of `root`'s text (takes the reference) and returns its length, or -errno. */
static int append_part(json_t *root, char *ret, size_t size)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	int len = -EINVAL; /* text that is no UTF-8 makes no JSON */

	json_decref(root);
	if (text == NULL)
		return len;
	if (4 * (strlen(text) + 2) / 3 + 1 > size)
		len = -EMSGSIZE;
	else
		len = (int)hf_base64_encode(text, strlen(text), true, ret);
	free(text);
	return len;
}

int hf_token_sign(const struct hf_token_claims *claims, const struct hf_token_key *key,
		  uint64_t wall_ms, char *ret, size_t size)
{
	size_t limit = HF_MIN(size, (size_t)HF_TOKEN_MAX + 1);
	uint8_t mac[MAC_SIZE];
	int header, payload;
	json_t *root;
	size_t len;

	root = json_pack("{s:s, s:s, s:s}", "alg", "HS256", "kid", key->id, "typ", "JWT");
	header = append_part(root, ret, limit);
	if (header < 0)
		return header;
	len = (size_t)header;
	if (len + 2 > limit)
		return -EMSGSIZE;
	ret[len++] = '.';

	root = json_pack("{s:I, s:s#, s:I, s:I, s:s*}", "app", (json_int_t)claims->app, "sub",
			 claims->registration, (int)claims->registration_len, "iat",
			 (json_int_t)(wall_ms / 1000), "exp",
			 (json_int_t)(claims->expires_ms / 1000), "uid",
			 claims->user_id[0] != '\0' ? claims->user_id : NULL);
	payload = append_part(root, ret + len, limit - len);
	if (payload < 0)
		return payload;
	len += (size_t)payload;

	if (len + 1 + MAC_TEXT + 1 + 3 >
	    limit) /* the encoder may want 3 bytes more than it fills */
		return -EMSGSIZE;
	if (!compute_mac(key, hf_bytes_of(ret, len), mac))
		return -EIO;
	ret[len++] = '.';
	len += hf_base64_encode(mac, sizeof(mac), true, ret + len);
	ret[len] = '\0';
	return (int)len;
}
