/* hf_token: only what an app really signed, for this registration and this time, gets in. Tokens
 * are built here with OpenSSL's one-shot HMAC, so that signing and checking do not only agree with
 * each other. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "hf_text.h"
#include "hf_token.h"

#define NOW_MS   1769860798412ull
#define NOW_S    "1769860798"
#define FUTURE_S "1769864398" /* an hour later */
#define HEADER   "{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"
#define CLAIMS   "{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"ana\"}"

static struct hf_token_key keys[2];

static int setup(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		snprintf(keys[i].id, sizeof(keys[i].id), "k%zu", i + 1);
		keys[i].secret_len = 32;
		memset(keys[i].secret, (int)('A' + i), keys[i].secret_len);
	}
	return 0;
}

static enum hf_token_result check(const char *token, size_t len, struct hf_token_claims *ret)
{
	uint8_t *exact = malloc(len > 0 ? len : 1);
	enum hf_token_result result;

	assert_non_null(exact);
	memcpy(exact, token, len);
	result = hf_token_check(hf_bytes_of(exact, len), keys, 2, 7, HF_BYTES_LITERAL("reg-1"),
				NOW_MS, ret);
	free(exact);
	return result;
}

/* A token of these two documents, signed with `key`. */
static size_t make_raw(const void *header, size_t header_len, const void *claims, size_t claims_len,
		       const struct hf_token_key *key, char *ret)
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	size_t len = hf_base64_encode(header, header_len, true, ret);

	ret[len++] = '.';
	len += hf_base64_encode(claims, claims_len, true, ret + len);
	HMAC(EVP_sha256(), key->secret, (int)key->secret_len, (uint8_t *)ret, len, mac, &mac_len);
	ret[len++] = '.';
	len += hf_base64_encode(mac, mac_len, true, ret + len);
	return len;
}

static enum hf_token_result check_documents(const char *header, const char *claims)
{
	struct hf_token_claims ret;
	char token[8192];
	size_t len = make_raw(header, strlen(header), claims, strlen(claims), &keys[0], token);

	return check(token, len, &ret);
}

static enum hf_token_result check_claims(const char *claims)
{
	return check_documents(HEADER, claims);
}

static void test_the_hs256_example_of_rfc_7515_has_a_good_signature(void **state)
{
	/* RFC 7515 appendix A.1. Its header names no key, so the MAC alone is checked here. */
	static const char key_text[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
				       "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
	static const char signed_text[] =
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
		"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
		"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
	static const char signature[] = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
	struct hf_token_key key = { .id = "k1" };
	struct hf_token_claims claims;
	uint8_t mac[EVP_MAX_MD_SIZE];
	char text[64], token[512];
	unsigned mac_len;

	key.secret_len = (size_t)hf_base64_decode(key_text, strlen(key_text), true, key.secret);
	assert_int_equal(key.secret_len, 64);
	HMAC(EVP_sha256(), key.secret, (int)key.secret_len, (const uint8_t *)signed_text,
	     strlen(signed_text), mac, &mac_len);
	hf_base64_encode(mac, mac_len, true, text);
	assert_string_equal(text, signature);

	/* The whole token passes for us once it has a kid; without one no key is tried. */
	snprintf(token, sizeof(token), "%s.%s", signed_text, signature);
	assert_int_equal(hf_token_check(hf_bytes_of_string(token), &key, 1, 7,
					HF_BYTES_LITERAL("joe"), NOW_MS, &claims),
			 HF_TOKEN_KEY_UNKNOWN);
	memcpy(&keys[0], &key, sizeof(key));
	assert_int_equal(check_claims(CLAIMS), HF_TOKEN_OK);
	setup(NULL);
}

static void test_a_good_token_gives_its_claims(void **state)
{
	struct hf_token_claims claims;
	char token[1024];
	size_t len = make_raw(HEADER, strlen(HEADER), CLAIMS, strlen(CLAIMS), &keys[0], token);

	assert_int_equal(check(token, len, &claims), HF_TOKEN_OK);
	assert_int_equal(claims.app, 7);
	assert_string_equal(claims.registration, "reg-1");
	assert_int_equal(claims.registration_len, 5);
	assert_string_equal(claims.user_id, "ana");
	assert_int_equal(claims.expires_ms, 1769864398000);
	assert_int_equal(check_claims("{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}"),
			 HF_TOKEN_OK);
	assert_int_equal(check_claims("{\"app\":7,\"sub\":\"reg-1\",\"exp\":1769864398.75,"
				      "\"aud\":[\"x\",{\"y\":[1]}],\"iat\":" NOW_S "}"),
			 HF_TOKEN_OK);
}

static void test_what_we_sign_we_accept(void **state)
{
	struct hf_token_claims in = { .app = 7,
				      .registration = "reg-1",
				      .registration_len = 5,
				      .expires_ms = NOW_MS + 60000 };
	struct hf_token_claims out;
	char token[HF_TOKEN_MAX + 1];
	int len = hf_token_sign(&in, &keys[1], NOW_MS, token, sizeof(token));

	assert_true(len > 0);
	assert_int_equal(len, strlen(token));
	assert_int_equal(check(token, (size_t)len, &out), HF_TOKEN_OK);
	assert_string_equal(out.user_id, "");
	assert_int_equal(out.expires_ms, (NOW_MS + 60000) / 1000 * 1000);

	snprintf(in.user_id, sizeof(in.user_id), "J\"o\\\xc3\xa9");
	len = hf_token_sign(&in, &keys[1], NOW_MS, token, sizeof(token));
	assert_true(len > 0);
	assert_int_equal(check(token, (size_t)len, &out), HF_TOKEN_OK);
	assert_string_equal(out.user_id, in.user_id);
}

static void test_signing_never_writes_past_its_room(void **state)
{
	struct hf_token_claims claims = {
		.app = 7, .registration = "reg-1", .registration_len = 5, .expires_ms = NOW_MS
	};
	char token[HF_TOKEN_MAX + 1];
	int need = hf_token_sign(&claims, &keys[0], NOW_MS, token, sizeof(token));

	for (size_t size = 0; size < (size_t)need; size++) {
		char *room = malloc(size > 0 ? size : 1);

		assert_non_null(room);
		assert_int_equal(hf_token_sign(&claims, &keys[0], NOW_MS, room, size), -EMSGSIZE);
		free(room);
	}
}

static void test_other_algorithms_are_refused(void **state)
{
	static const char *const algorithms[] = { "none",  "None",  "NONE", "HS512", "HS384",
						  "RS256", "hs256", "",     "EdDSA" };
	struct hf_token_claims claims;
	char unsigned_token[512];
	size_t len;

	for (size_t i = 0; i < HF_ARRAY_LEN(algorithms); i++) {
		char header[128];

		snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"k1\"}", algorithms[i]);
		assert_int_equal(check_documents(header, CLAIMS), HF_TOKEN_BAD_SIGNATURE);
	}
	assert_int_equal(check_documents("{\"kid\":\"k1\"}", CLAIMS), HF_TOKEN_MALFORMED);
	assert_int_equal(check_documents("{\"alg\":null,\"kid\":\"k1\"}", CLAIMS),
			 HF_TOKEN_MALFORMED);

	/* "alg":"none" with the empty signature that RFC 7515 gives it */
	len = make_raw("{\"alg\":\"none\",\"kid\":\"k1\"}", 25, CLAIMS, strlen(CLAIMS), &keys[0],
		       unsigned_token);
	while (unsigned_token[len - 1] != '.')
		len--;
	assert_int_equal(check(unsigned_token, len, &claims), HF_TOKEN_BAD_SIGNATURE);
	len = make_raw(HEADER, strlen(HEADER), CLAIMS, strlen(CLAIMS), &keys[0], unsigned_token);
	while (unsigned_token[len - 1] != '.')
		len--;
	assert_int_equal(check(unsigned_token, len, &claims), HF_TOKEN_BAD_SIGNATURE);
}

static void test_unknown_keys_and_critical_headers_are_refused(void **state)
{
	assert_int_equal(check_documents("{\"alg\":\"HS256\",\"kid\":\"k3\"}", CLAIMS),
			 HF_TOKEN_KEY_UNKNOWN);
	assert_int_equal(check_documents("{\"alg\":\"HS256\"}", CLAIMS), HF_TOKEN_KEY_UNKNOWN);
	assert_int_equal(check_documents("{\"alg\":\"HS256\",\"kid\":1}", CLAIMS),
			 HF_TOKEN_MALFORMED);
	assert_int_equal(check_documents("{\"alg\":\"HS256\",\"kid\":\"k1\",\"crit\":[\"b64\"]}",
					 CLAIMS),
			 HF_TOKEN_MALFORMED);
	/* named one key, signed with the other */
	assert_int_equal(check_documents("{\"alg\":\"HS256\",\"kid\":\"k2\"}", CLAIMS),
			 HF_TOKEN_BAD_SIGNATURE);
}

static void test_any_change_of_a_character_is_refused(void **state)
{
	struct hf_token_claims claims;
	char token[1024];
	size_t len = make_raw(HEADER, strlen(HEADER), CLAIMS, strlen(CLAIMS), &keys[0], token);

	for (size_t i = 0; i < len; i++) {
		char old = token[i];

		token[i] = old == 'A' ? 'B' : 'A';
		assert_int_not_equal(check(token, len, &claims), HF_TOKEN_OK);
		token[i] = old;
	}
	assert_int_equal(check(token, len, &claims), HF_TOKEN_OK);
}

static void test_every_prefix_and_every_extension_is_refused(void **state)
{
	struct hf_token_claims claims;
	char token[1024];
	size_t len = make_raw(HEADER, strlen(HEADER), CLAIMS, strlen(CLAIMS), &keys[0], token);

	for (size_t i = 0; i < len; i++)
		assert_int_not_equal(check(token, i, &claims), HF_TOKEN_OK);
	for (const char *extra = "=. \nA"; *extra != '\0'; extra++) {
		token[len] = *extra;
		assert_int_not_equal(check(token, len + 1, &claims), HF_TOKEN_OK);
	}
	assert_int_equal(check("", 0, &claims), HF_TOKEN_MALFORMED);
	assert_int_equal(check("..", 2, &claims), HF_TOKEN_MALFORMED);
	assert_int_equal(check("....", 4, &claims), HF_TOKEN_MALFORMED);
}

static void test_tokens_over_the_limit_are_refused(void **state)
{
	struct hf_token_claims ret;
	char claims[2048], token[4096];
	size_t fitting = 0, len = 0;

	for (size_t pad = 1200; len <= HF_TOKEN_MAX; pad++) {
		int n = snprintf(claims, sizeof(claims),
				 "{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S
				 ",\"x\":\"%0*d\"}",
				 (int)pad, 0);

		len = make_raw(HEADER, strlen(HEADER), claims, (size_t)n, &keys[0], token);
		if (len <= HF_TOKEN_MAX) {
			assert_int_equal(check(token, len, &ret), HF_TOKEN_OK);
			fitting = len;
		}
	}
	assert_true(fitting > HF_TOKEN_MAX - 4);
	assert_int_equal(check(token, len, &ret), HF_TOKEN_MALFORMED);
}

static void test_times_are_held_to_within_the_skew(void **state)
{
	struct hf_token_claims claims;
	struct hf_bytes registration = HF_BYTES_LITERAL("reg-1");
	const char *text = "{\"app\":7,\"sub\":\"reg-1\",\"exp\":2000,\"nbf\":1000}";
	char token[1024];
	size_t len = make_raw(HEADER, strlen(HEADER), text, strlen(text), &keys[0], token);
	struct hf_bytes bytes = hf_bytes_of(token, len);
	const struct {
		uint64_t wall_ms;
		enum hf_token_result result;
	} cases[] = {
		{ 0, HF_TOKEN_NOT_YET_VALID },
		{ 1000000 - HF_TOKEN_CLOCK_SKEW_MS - 1, HF_TOKEN_NOT_YET_VALID },
		{ 1000000 - HF_TOKEN_CLOCK_SKEW_MS, HF_TOKEN_OK },
		{ 2000000 + HF_TOKEN_CLOCK_SKEW_MS - 1, HF_TOKEN_OK },
		{ 2000000 + HF_TOKEN_CLOCK_SKEW_MS, HF_TOKEN_EXPIRED },
		{ UINT64_MAX / 2, HF_TOKEN_EXPIRED },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++)
		assert_int_equal(hf_token_check(bytes, keys, 2, 7, registration, cases[i].wall_ms,
						&claims),
				 cases[i].result);
}

/* What is remembered of the tokens before must not let in what they would not. */
static void test_each_token_is_checked_by_its_own_key_whatever_came_before(void **state)
{
	struct hf_token_key changed = keys[0];
	struct hf_token_claims claims;
	char good[HF_TOKEN_MAX], other[HF_TOKEN_MAX], forged[HF_TOKEN_MAX];
	const char *second = "{\"alg\":\"HS256\",\"kid\":\"k2\",\"typ\":\"JWT\"}";
	size_t len = make_raw(HEADER, strlen(HEADER), CLAIMS, strlen(CLAIMS), &keys[0], good);
	size_t other_len =
		make_raw(second, strlen(second), CLAIMS, strlen(CLAIMS), &keys[1], other);
	size_t forged_len =
		make_raw(HEADER, strlen(HEADER), CLAIMS, strlen(CLAIMS), &keys[1], forged);

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(check(good, len, &claims), HF_TOKEN_OK);
		assert_int_equal(check(forged, forged_len, &claims), HF_TOKEN_BAD_SIGNATURE);
		assert_int_equal(check(other, other_len, &claims), HF_TOKEN_OK);
	}
	changed.secret[31] ^= 1;
	assert_int_equal(hf_token_check(hf_bytes_of(good, len), &changed, 1, 7,
					HF_BYTES_LITERAL("reg-1"), NOW_MS, &claims),
			 HF_TOKEN_BAD_SIGNATURE);
	assert_int_equal(hf_token_check(hf_bytes_of(good, len), &keys[1], 1, 7,
					HF_BYTES_LITERAL("reg-1"), NOW_MS, &claims),
			 HF_TOKEN_KEY_UNKNOWN);
	assert_int_equal(check(good, len, &claims), HF_TOKEN_OK);
}

static void test_a_token_is_for_one_app_and_one_registration(void **state)
{
	assert_int_equal(check_claims("{\"app\":8,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}"),
			 HF_TOKEN_MISMATCH);
	assert_int_equal(check_claims("{\"app\":7,\"sub\":\"reg-2\",\"exp\":" FUTURE_S "}"),
			 HF_TOKEN_MISMATCH);
	assert_int_equal(check_claims("{\"app\":7,\"sub\":\"reg-11\",\"exp\":" FUTURE_S "}"),
			 HF_TOKEN_MISMATCH);
	assert_int_equal(check_claims("{\"app\":7,\"sub\":\"reg-\",\"exp\":" FUTURE_S "}"),
			 HF_TOKEN_MISMATCH);
}

static void test_malformed_claims_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"7",
		"{}",
		"{\"app\":7,\"sub\":\"reg-1\"}",
		"{\"app\":7,\"exp\":" FUTURE_S "}",
		"{\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":\"7\",\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":7.0,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":0,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":-7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":4294967303,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":7,\"sub\":1,\"exp\":" FUTURE_S "}",
		"{\"app\":7,\"sub\":\"\",\"exp\":" FUTURE_S "}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":\"" FUTURE_S "\"}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":-1}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":1e300}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":1e999}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"nbf\":true}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"iat\":\"x\"}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":7}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"\"}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"a\\nb\"}",
		/* NUL, escaped: "reg-1" must not be matched by "reg-1\0..." */
		"{\"app\":7,\"sub\":\"reg-1\\u0000x\",\"exp\":" FUTURE_S "}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"a\\u0000\"}",
		/* not UTF-8; half a surrogate pair */
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"\xff\xfe\"}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"\xc0\x80\"}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"\\ud800\"}",
		/* said twice */
		"{\"app\":7,\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":7,\"sub\":\"x\",\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":1,\"exp\":" FUTURE_S "}",
		/* more after the document */
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "}{}",
		"{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S "",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		if (check_claims(bad[i]) != HF_TOKEN_MALFORMED)
			fail_msg("accepted or misnamed: %s", bad[i]);
}

static void test_a_raw_nul_in_the_claims_is_refused(void **state)
{
	char claims[] = "{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"a?b\"}";
	struct hf_token_claims ret;
	char token[1024];
	size_t len;

	*strchr(claims, '?') = '\0';
	len = make_raw(HEADER, strlen(HEADER), claims, sizeof(claims) - 1, &keys[0], token);
	assert_int_equal(check(token, len, &ret), HF_TOKEN_MALFORMED);
}

static void test_ids_at_their_limits(void **state)
{
	char claims[1024], user[HF_USER_ID_MAX + 2];

	for (int extra = 0; extra < 2; extra++) {
		snprintf(user, sizeof(user), "%0*d", HF_USER_ID_MAX + extra, 0);
		snprintf(claims, sizeof(claims),
			 "{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"uid\":\"%s\"}", user);
		assert_int_equal(check_claims(claims), extra ? HF_TOKEN_MALFORMED : HF_TOKEN_OK);
	}
	snprintf(claims, sizeof(claims), "{\"app\":7,\"sub\":\"%0*d\",\"exp\":" FUTURE_S "}",
		 HF_REGISTRATION_MAX + 1, 0);
	assert_int_equal(check_claims(claims), HF_TOKEN_MALFORMED);
}

static void test_deep_documents_are_refused_unparsed(void **state)
{
	static const char start[] = "{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S ",\"x\":";
	char claims[1500];

	for (unsigned depth = 1; depth < 600; depth += depth < 12 ? 1 : 97) {
		size_t len = sizeof(start) - 1;

		memcpy(claims, start, len);
		memset(claims + len, '[', depth);
		memset(claims + len + depth, ']', depth);
		memcpy(claims + len + 2 * depth, "}", 2);
		assert_int_equal(check_claims(claims),
				 depth < 8 ? HF_TOKEN_OK : HF_TOKEN_MALFORMED);
	}
	assert_int_equal(check_claims("{\"app\":7,\"sub\":\"reg-1\",\"exp\":" FUTURE_S
				      ",\"x\":\"[[[[[[[[[[[[\\\"[[[[[[\"}"),
			 HF_TOKEN_OK);
}

static void test_every_result_has_a_name(void **state)
{
	assert_string_equal(hf_token_result_name(HF_TOKEN_OK), "ok");
	assert_string_equal(hf_token_result_name(HF_TOKEN_EXPIRED), "expired");
	assert_string_equal(hf_token_result_name(HF_TOKEN_MISMATCH), "mismatch");
	assert_string_equal(hf_token_result_name((enum hf_token_result)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_hs256_example_of_rfc_7515_has_a_good_signature),
		cmocka_unit_test(test_a_good_token_gives_its_claims),
		cmocka_unit_test(test_what_we_sign_we_accept),
		cmocka_unit_test(test_signing_never_writes_past_its_room),
		cmocka_unit_test(test_other_algorithms_are_refused),
		cmocka_unit_test(test_unknown_keys_and_critical_headers_are_refused),
		cmocka_unit_test(test_any_change_of_a_character_is_refused),
		cmocka_unit_test(test_every_prefix_and_every_extension_is_refused),
		cmocka_unit_test(test_tokens_over_the_limit_are_refused),
		cmocka_unit_test(test_times_are_held_to_within_the_skew),
		cmocka_unit_test(test_each_token_is_checked_by_its_own_key_whatever_came_before),
		cmocka_unit_test(test_a_token_is_for_one_app_and_one_registration),
		cmocka_unit_test(test_malformed_claims_are_refused),
		cmocka_unit_test(test_a_raw_nul_in_the_claims_is_refused),
		cmocka_unit_test(test_ids_at_their_limits),
		cmocka_unit_test(test_deep_documents_are_refused_unparsed),
		cmocka_unit_test(test_every_result_has_a_name),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
