#include "ticket.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "hf_cursor.h"
#include "hf_hash.h"

#define NAMED_SIZE  8u
#define DIGEST_SIZE 32u

int ticket_key_init(struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	hf_random_bytes(key->secret, sizeof(key->secret));
	key->context = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac); /* the context has its own reference */
	if (key->context != NULL && EVP_MAC_CTX_set_params(key->context, params) == 1)
		return 0;
	ticket_key_deinit(key);
	return -ENOMEM;
}

void ticket_key_deinit(struct ticket_key *key)
{
	EVP_MAC_CTX_free(key->context);
	*key = (struct ticket_key){ 0 };
}

static bool compute_mac(const struct ticket_key *key, const uint8_t named[NAMED_SIZE],
			uint8_t ret[DIGEST_SIZE])
{
	size_t len = 0;

	return EVP_MAC_init(key->context, key->secret, sizeof(key->secret), NULL) == 1 &&
	       EVP_MAC_update(key->context, named, NAMED_SIZE) == 1 &&
	       EVP_MAC_final(key->context, ret, &len, DIGEST_SIZE) == 1 && len == DIGEST_SIZE;
}

int ticket_make(const struct ticket_key *key, hf_handle connection, uint32_t since,
		uint8_t ret[TICKET_SIZE])
{
	struct hf_writer w = hf_writer_of(ret, TICKET_SIZE);
	uint8_t mac[DIGEST_SIZE];

	hf_writer_u32(&w, connection);
	hf_writer_u32(&w, since);
	if (!compute_mac(key, ret, mac))
		return -EIO;
	memcpy(ret + NAMED_SIZE, mac, TICKET_SIZE - NAMED_SIZE);
	return 0;
}

int ticket_read(const struct ticket_key *key, struct hf_bytes ticket, hf_handle *ret_connection,
		uint32_t *ret_since)
{
	struct hf_cursor c = hf_cursor_of(ticket.data, ticket.len);
	uint8_t mac[DIGEST_SIZE];
	uint32_t connection, since;

	if (ticket.len != TICKET_SIZE || !compute_mac(key, ticket.data, mac) ||
	    CRYPTO_memcmp(ticket.data + NAMED_SIZE, mac, TICKET_SIZE - NAMED_SIZE) != 0)
		return -EACCES;
	connection = hf_cursor_u32(&c);
	since = hf_cursor_u32(&c);
	*ret_connection = connection;
	*ret_since = since;
	return 0;
}
