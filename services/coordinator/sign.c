#include "sign.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "hf_text.h"

#define SHA256_SIZE 32

static int sign_one(EVP_MAC_CTX *context, const struct hf_webhook_secret *secret,
		    struct hf_bytes head, struct hf_bytes body, char ret[SIGN_ONE])
{
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
								 (char[]){ "SHA256" }, 0),
				OSSL_PARAM_construct_end() };
	uint8_t mac[SHA256_SIZE];
	size_t len = 0;

	if (EVP_MAC_init(context, secret->key, secret->len, params) != 1 ||
	    EVP_MAC_update(context, head.data, head.len) != 1 ||
	    EVP_MAC_update(context, body.data, body.len) != 1 ||
	    EVP_MAC_final(context, mac, &len, sizeof(mac)) != 1)
		return -ENOMEM;
	memcpy(ret, "v1,", 3);
	hf_base64_encode(mac, sizeof(mac), false, ret + 3);
	return 0;
}

int sign(const struct hf_webhook *webhook, const char *id, uint64_t timestamp_s,
	 struct hf_bytes body, char ret[SIGN_SIZE])
{
	static EVP_MAC_CTX *context; /* made once a process */
	char head[96], one[SIGN_ONE];
	size_t len = 0;

	if (context == NULL) {
		EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

		context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
		EVP_MAC_free(mac);
		if (context == NULL)
			return -ENOMEM;
	}
	snprintf(head, sizeof(head), "%s.%" PRIu64 ".", id, timestamp_s);
	ret[0] = '\0';
	for (size_t i = 0; i < webhook->secret_count; i++) {
		if (sign_one(context, &webhook->secrets[i], hf_bytes_of_string(head), body, one) <
		    0)
			return -ENOMEM;
		len += (size_t)snprintf(ret + len, SIGN_SIZE - len, "%s%s", i > 0 ? " " : "", one);
	}
	return 0;
}
