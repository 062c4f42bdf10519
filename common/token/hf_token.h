/* common/token/hf_token.h - client tokens: JWT (RFC 7519) signed with HS256 (RFC 7518) by the app.
 *
 *	header  {"alg":"HS256","kid":"<key id>","typ":"JWT"}
 *	claims  app (number), sub (registration id) and exp are required; nbf, iat, uid (user id)
 *
 * The signature is compared in constant time before any claim is looked at. Any other `alg`, "none"
 * among them, is refused. At most HF_TOKEN_MAX bytes; unknown claims are ignored. */
#ifndef HF_TOKEN_H
#define HF_TOKEN_H

#include "hf_base.h"

#define HF_TOKEN_MAX           2048
#define HF_TOKEN_KEY_ID_MAX    32
#define HF_TOKEN_SECRET_MAX    128
#define HF_TOKEN_SECRET_MIN    16
#define HF_TOKEN_CLOCK_SKEW_MS 60000 /* tolerated on nbf and exp */

enum hf_token_result {
	HF_TOKEN_OK,
	HF_TOKEN_MALFORMED,   /* not three base64url parts of JSON, or a claim of the wrong type */
	HF_TOKEN_KEY_UNKNOWN, /* kid is none of the app's */
	HF_TOKEN_BAD_SIGNATURE, /* or an algorithm we do not accept */
	HF_TOKEN_EXPIRED,
	HF_TOKEN_NOT_YET_VALID,
	HF_TOKEN_MISMATCH, /* signed for another app or registration */
};
const char *hf_token_result_name(enum hf_token_result result); /* "expired": for logs and labels */

struct hf_token_key {
	char id[HF_TOKEN_KEY_ID_MAX + 1];
	uint8_t secret[HF_TOKEN_SECRET_MAX];
	size_t secret_len;
};

struct hf_token_claims {
	uint32_t app;
	char registration[HF_REGISTRATION_MAX + 1];
	size_t registration_len;
	char user_id[HF_USER_ID_MAX + 1]; /* "" when absent */
	uint64_t expires_ms;              /* wall clock */
};

/* Check `token` against `keys` and that it was signed for (app, registration). Fills *ret_claims
 * on HF_TOKEN_OK only. */
enum hf_token_result hf_token_check(struct hf_bytes token, const struct hf_token_key *keys,
				    size_t key_count, uint32_t app, struct hf_bytes registration,
				    uint64_t wall_ms, struct hf_token_claims *ret_claims);

/* Sign `claims` (as hfctl and tests do; a business does it with any JWT library). Returns the
 * length of the NUL-terminated text in `ret`, -EMSGSIZE, or -EINVAL (an id or key id that is not
 * UTF-8). */
HF_MUST_CHECK int hf_token_sign(const struct hf_token_claims *claims,
				const struct hf_token_key *key, uint64_t wall_ms, char *ret,
				size_t size);

#endif
