/* TLS of the simulated devices: OpenSSL on the descriptor, buffers released while idle. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "client.h"

int secure_open(struct fleet *fleet)
{
	const char *ca_file = fleet->engine.worker->options->ca_file;

	fleet->tls = SSL_CTX_new(TLS_client_method());
	if (fleet->tls == NULL)
		return -ENOMEM;
	SSL_CTX_set_mode(fleet->tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(fleet->tls, SSL_SESS_CACHE_OFF);
	if (ca_file == NULL)
		return 0;
	SSL_CTX_set_verify(fleet->tls, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_load_verify_locations(fleet->tls, ca_file, NULL) == 1)
		return 0;
	fprintf(stderr, "hf-bench: --ca-file: %s can't be read\n", ca_file);
	return -EINVAL;
}

void secure_close(struct fleet *fleet)
{
	SSL_CTX_free(fleet->tls);
	fleet->tls = NULL;
}

int secure_begin(struct client *client)
{
	client->tls = SSL_new(client->fleet->tls);
	if (client->tls == NULL || SSL_set_fd(client->tls, client->fd) != 1)
		return -ENOMEM;
	SSL_set_connect_state(client->tls);
	return 0;
}

void secure_end(struct client *client)
{
	SSL_free(client->tls);
	client->tls = NULL;
}

/* What a call that did not succeed means, as an errno; 0: the peer has ended the stream. */
static int failure(const struct client *client, int result)
{
	int kind = SSL_get_error(client->tls, result);

	ERR_clear_error();
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return EAGAIN;
	return kind == SSL_ERROR_ZERO_RETURN ? 0 : ECONNRESET;
}

int secure_handshake(struct client *client, uint32_t *ret_events)
{
	int result = SSL_do_handshake(client->tls);

	*ret_events = EPOLLIN;
	if (result == 1)
		return 1;
	if (SSL_want_write(client->tls))
		*ret_events |= EPOLLOUT;
	return failure(client, result) == EAGAIN ? 0 : -1;
}

ssize_t secure_recv(struct client *client, void *buffer, size_t size)
{
	size_t n;
	int result;

	if (client->tls == NULL)
		return recv(client->fd, buffer, size, 0);
	result = SSL_read_ex(client->tls, buffer, size, &n);
	if (result == 1)
		return (ssize_t)n;
	errno = failure(client, result);
	return errno == 0 ? 0 : -1;
}

ssize_t secure_send(struct client *client, const void *data, size_t len)
{
	size_t n;
	int result;

	if (client->tls == NULL)
		return send(client->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	result = SSL_write_ex(client->tls, data, len, &n);
	if (result == 1)
		return (ssize_t)n;
	errno = failure(client, result);
	return -1;
}

bool secure_has_more(const struct client *client)
{
	return client->tls != NULL && SSL_pending(client->tls) > 0;
}
