/* Tokens as clients send them. The first byte chooses between the raw input and a token whose
 * header and claims are the input (split at the first 0 byte) under a good signature, so that what
 * lies behind the signature is reached too. */
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "hf_text.h"
#include "hf_token.h"

#define DOCUMENT_MAX 1600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const void *token, size_t len, const struct hf_token_key *key)
{
	struct hf_token_claims claims;

	if (hf_token_check(hf_bytes_of(token, len), key, 1, 7, HF_BYTES_LITERAL("reg-1"),
			   1769860798412, &claims) != HF_TOKEN_OK)
		return;
	if (claims.app != 7 || claims.registration_len != 5 ||
	    strlen(claims.user_id) > HF_USER_ID_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char token[4 * DOCUMENT_MAX];
	struct hf_token_key key = { .id = "k1", .secret_len = 16 };
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	const uint8_t *claims;
	size_t header_len, len;

	memset(key.secret, 'A', key.secret_len);
	if (size == 0 || size > DOCUMENT_MAX)
		return 0;
	if (data[0] != 's') {
		check(data, size, &key);
		return 0;
	}
	data++;
	size--;
	claims = memchr(data, 0, size);
	if (claims == NULL)
		return 0;
	header_len = (size_t)(claims++ - data);
	len = hf_base64_encode(data, header_len, true, token);
	token[len++] = '.';
	len += hf_base64_encode(claims, size - header_len - 1, true, token + len);
	HMAC(EVP_sha256(), key.secret, (int)key.secret_len, (uint8_t *)token, len, mac, &mac_len);
	token[len++] = '.';
	len += hf_base64_encode(mac, mac_len, true, token + len);
	check(token, len, &key);
	return 0;
}
