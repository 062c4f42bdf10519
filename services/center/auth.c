/* services/center/auth.c - see auth.h. */
#include "auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <strings.h>

#include "hf_cidr.h"
#include "hf_net.h"
#include "hf_text.h"

#define OPERATOR_ID         "operator"
#define OPERATOR_SECRET_MIN 16
#define CREDENTIALS_MAX     512 /* characters after "Bearer " or "Basic " */

struct credentials {
	char text[CREDENTIALS_MAX + 1];
	struct hf_bytes id, secret;
};

static void digest(const char *text, size_t len, uint8_t ret[32])
{
	unsigned size = 32;

	if (EVP_Digest(text, len, ret, &size, EVP_sha256(), NULL) != 1)
		memset(ret, 0, 32); /* no key has this digest */
}

int auth_init(struct center *center)
{
	static const char prefix[] = OPERATOR_ID ".";
	const char *secret = center->config->operator_key;

	center->has_operator = secret[0] != '\0';
	if (!center->has_operator)
		return 0;
	if (strncmp(secret, prefix, sizeof(prefix) - 1) == 0)
		secret += sizeof(prefix) - 1; /* the whole key, as operators' tools keep it */
	if (strlen(secret) < OPERATOR_SECRET_MIN)
		return -EINVAL;
	digest(secret, strlen(secret), center->operator_digest);
	return 0;
}

static bool take_scheme(struct hf_bytes *header, const char *scheme)
{
	size_t len = strlen(scheme);

	if (header->len <= len || strncasecmp((const char *)header->data, scheme, len) != 0)
		return false;
	header->data += len;
	header->len -= len;
	return true;
}

/* "Bearer id.secret" or "Basic base64(id:secret)"; an id has neither a dot nor a colon. */
static int read_credentials(struct hf_bytes header, struct credentials *ret)
{
	char separator = '.';
	size_t len;
	char *at;

	if (take_scheme(&header, "Bearer ") && header.len <= CREDENTIALS_MAX) {
		memcpy(ret->text, header.data, header.len);
		len = header.len;
	} else if (take_scheme(&header, "Basic ") && header.len <= CREDENTIALS_MAX) {
		ssize_t n = hf_base64_decode((const char *)header.data, header.len, false,
					     (uint8_t *)ret->text);

		if (n < 0)
			return -EINVAL;
		len = (size_t)n;
		separator = ':';
	} else {
		return -EINVAL;
	}
	ret->text[len] = '\0';
	at = strchr(ret->text, separator);
	if (at == NULL || strlen(ret->text) != len)
		return -EINVAL;
	ret->id = hf_bytes_of(ret->text, (size_t)(at - ret->text));
	ret->secret = hf_bytes_of(at + 1, len - ret->id.len - 1);
	return 0;
}

static bool is_operator(const struct center *center, const struct credentials *credentials)
{
	uint8_t given[32];

	if (!center->has_operator ||
	    !hf_bytes_equal(credentials->id, HF_BYTES_LITERAL(OPERATOR_ID)))
		return false;
	digest((const char *)credentials->secret.data, credentials->secret.len, given);
	return CRYPTO_memcmp(given, center->operator_digest, sizeof(given)) == 0;
}

static int denied(struct hf_http_exchange *exchange, struct problem *ret_problem,
		  const char *reason, const char *message)
{
	hf_http_add_header(exchange, "WWW-Authenticate", "Bearer realm=\"holdfast\"");
	return problem_set(ret_problem, 401, reason, NULL, NULL, "%s", message);
}

/* Is the key used from one of its networks? */
static bool is_allowed(const struct hf_api_key *key, const struct hf_http_exchange *exchange)
{
	const char *peer = hf_http_exchange_peer(exchange), *port = strrchr(peer, ':');
	char text[HF_NET_TEXT_SIZE];
	struct hf_cidr address;
	size_t len;

	if (key->network_count == 0)
		return true;
	if (peer[0] == '[')
		peer++;
	len = port != NULL ? (size_t)(port - peer) : strlen(peer);
	if (len > 0 && peer[len - 1] == ']')
		len--;
	if (len >= sizeof(text))
		return false;
	memcpy(text, peer, len);
	text[len] = '\0';
	if (hf_cidr_parse(text, &address) < 0)
		return false;
	for (uint32_t i = 0; i < key->network_count; i++)
		if (hf_cidr_has(&key->networks[i], address.address))
			return true;
	return false;
}

int auth_check(struct center *center, struct hf_http_exchange *exchange, const struct hf_app *app,
	       enum access access, const struct hf_api_key **ret_key, struct problem *ret_problem)
{
	static const enum access of_role[] = {
		[HF_ROLE_VIEWER] = ACCESS_VIEWER,
		[HF_ROLE_SENDER] = ACCESS_SENDER,
		[HF_ROLE_ADMIN] = ACCESS_ADMIN,
	};
	static const char *const needed[] = {
		[ACCESS_VIEWER] = "a viewer's key",
		[ACCESS_SENDER] = "a sender's key",
		[ACCESS_ADMIN] = "an admin's key",
		[ACCESS_OPS] = "the operator's key",
	};
	struct hf_bytes header = hf_http_exchange_header(exchange, "authorization");
	const struct hf_api_key *key;
	struct credentials credentials;

	if (ret_key != NULL)
		*ret_key = NULL;
	if (header.data == NULL)
		return denied(exchange, ret_problem, "KEY_MISSING",
			      "an Authorization header with an API key is required");
	if (read_credentials(header, &credentials) < 0)
		return denied(exchange, ret_problem, "KEY_MALFORMED",
			      "Authorization must be Bearer <key id>.<secret>, or Basic");
	if (is_operator(center, &credentials))
		return 0;
	key = app != NULL ? hf_app_check_key(app, credentials.id, credentials.secret) : NULL;
	if (key == NULL) /* also for an app that is not there: who may not ask shall not learn */
		return denied(exchange, ret_problem, "KEY_UNKNOWN", "no such API key");
	if (key->expires_ms != 0 && key->expires_ms <= hf_loop_wall_ms(center->loop))
		return denied(exchange, ret_problem, "KEY_EXPIRED", "the API key has expired");
	if (!is_allowed(key, exchange))
		return problem_set(ret_problem, 403, "IP_NOT_ALLOWED", NULL, NULL,
				   "the key may not be used from this address");
	if (of_role[key->role] < access)
		return problem_set(ret_problem, 403, "ROLE_DENIED", NULL, NULL,
				   "the key's role does not allow this: it needs %s",
				   needed[access]);
	if (ret_key != NULL)
		*ret_key = key;
	return 0;
}
