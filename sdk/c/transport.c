/* sdk/c/transport.c */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport.h"

/* OpenSSL's own socket BIO would raise SIGPIPE, which is not a library's to catch: this one sends
 * with MSG_NOSIGNAL. Its data is the transport. */
static int bio_write(BIO *bio, const char *data, int len)
{
	const struct transport *transport = BIO_get_data(bio);
	ssize_t n = send(transport->fd, data, (size_t)len, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)n;
}

static int bio_read(BIO *bio, char *ret, int size)
{
	const struct transport *transport = BIO_get_data(bio);
	ssize_t n = recv(transport->fd, ret, (size_t)size, 0);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/* Made once for each TLS context and kept in it: a static one would be global state. */
static BIO_METHOD *bio_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "holdfast");

	if (method == NULL)
		return NULL;
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

int transport_tls_new(const char *ca_file, SSL_CTX **ret_context)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	BIO_METHOD *method;
	int ok;

	if (context == NULL)
		return -ENOMEM;
	method = bio_method_new();
	if (method == NULL) {
		SSL_CTX_free(context);
		return -ENOMEM;
	}
	SSL_CTX_set_app_data(context, method);
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	ok = ca_file != NULL ? SSL_CTX_load_verify_locations(context, ca_file, NULL)
			     : SSL_CTX_set_default_verify_paths(context);
	ERR_clear_error();
	if (ok != 1) {
		transport_tls_free(context);
		return -EINVAL;
	}
	*ret_context = context;
	return 0;
}

void transport_tls_free(SSL_CTX *context)
{
	BIO_METHOD *method;

	if (context == NULL)
		return;
	method = SSL_CTX_get_app_data(context);
	SSL_CTX_free(context);
	BIO_meth_free(method);
}

static bool is_numeric(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static int tls_init(struct transport *transport, SSL_CTX *context, const char *name)
{
	BIO *bio = BIO_new(SSL_CTX_get_app_data(context));

	transport->ssl = SSL_new(context);
	if (transport->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, transport);
	BIO_set_init(bio, 1);
	SSL_set_bio(transport->ssl, bio, bio);
	SSL_set_connect_state(transport->ssl);
	if (is_numeric(name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(transport->ssl), name) == 1
			       ? 0
			       : -ENOMEM;
	return SSL_set_tlsext_host_name(transport->ssl, name) == 1 &&
			       SSL_set1_host(transport->ssl, name) == 1
		       ? 0
		       : -ENOMEM;
}

/* The nth address of `host`, modulo their number. */
static int look_up(const char *host, uint16_t port, unsigned nth, struct sockaddr_storage *ret,
		   socklen_t *ret_len)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list, *one;
	unsigned count = 0;
	char service[8];

	if (is_numeric(host))
		hints.ai_flags |= AI_NUMERICHOST;
	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host, service, &hints, &list) != 0)
		return -EHOSTUNREACH;
	for (one = list; one != NULL; one = one->ai_next)
		count++;
	one = list;
	for (unsigned i = nth % count; i > 0; i--)
		one = one->ai_next;
	memcpy(ret, one->ai_addr, one->ai_addrlen);
	*ret_len = one->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

int transport_open(struct transport *transport, const char *host, uint16_t port, unsigned nth,
		   SSL_CTX *tls_context, const char *tls_name)
{
	struct sockaddr_storage address;
	socklen_t address_len;
	int one = 1;
	int err = look_up(host, port, nth, &address, &address_len);

	if (err < 0)
		return err;
	*transport = (struct transport){ .connecting = true, .wants_write = true };
	transport->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (transport->fd < 0) {
		err = -errno;
		goto fail;
	}
	setsockopt(transport->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (tls_context != NULL && (err = tls_init(transport, tls_context, tls_name)) < 0)
		goto fail;
	if (connect(transport->fd, (struct sockaddr *)&address, address_len) < 0 &&
	    errno != EINPROGRESS) {
		err = -errno;
		goto fail;
	}
	return 0;

fail:
	transport_close(transport, false);
	return err;
}

void transport_close(struct transport *transport, bool orderly)
{
	if (transport->ssl != NULL) {
		if (orderly && transport->ready)
			SSL_shutdown(transport->ssl);
		SSL_free(transport->ssl);
		ERR_clear_error();
	}
	if (transport->fd >= 0)
		close(transport->fd);
	*transport = (struct transport){ .fd = -1 };
}

/* What a failed SSL call means. A certificate that was refused says more than the error queue. */
static int tls_error(struct transport *transport, int result)
{
	int saved = errno, kind = SSL_get_error(transport->ssl, result);
	long verify = SSL_get_verify_result(transport->ssl);
	unsigned long code = ERR_peek_last_error();

	ERR_clear_error();
	switch (kind) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		transport->wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return -ECONNRESET;
	case SSL_ERROR_SYSCALL:
		return result < 0 && saved > 0 ? -saved : -ECONNRESET;
	}
	if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return -ECONNRESET;
	snprintf(transport->error, sizeof(transport->error), "%s",
		 verify != X509_V_OK ? X509_verify_cert_error_string(verify)
				     : ERR_reason_error_string(code));
	return -EPROTO;
}

int transport_advance(struct transport *transport)
{
	int error = 0, result;
	socklen_t len = sizeof(error);

	if (transport->connecting) {
		struct sockaddr_storage peer;
		socklen_t peer_len = sizeof(peer);

		if (getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			return -errno;
		if (error != 0)
			return -error;
		if (getpeername(transport->fd, (struct sockaddr *)&peer, &peer_len) < 0)
			return errno == ENOTCONN ? -EAGAIN : -errno;
		transport->connecting = false;
		transport->wants_write = false;
	}
	if (transport->ssl != NULL && !transport->ready) {
		transport->wants_write = false;
		result = SSL_do_handshake(transport->ssl);
		if (result != 1)
			return tls_error(transport, result);
	}
	transport->ready = true;
	return 0;
}

ssize_t transport_read(struct transport *transport, void *ret, size_t size)
{
	ssize_t n;

	if (transport->ssl != NULL) {
		n = SSL_read(transport->ssl, ret, (int)HF_MIN(size, (size_t)1 << 20));
		return n > 0 ? n : tls_error(transport, (int)n);
	}
	n = recv(transport->fd, ret, size, 0);
	if (n > 0)
		return n;
	if (n == 0)
		return -ECONNRESET;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t transport_write(struct transport *transport, const void *data, size_t len)
{
	ssize_t n;

	transport->wants_write = false;
	if (transport->ssl != NULL) {
		n = SSL_write(transport->ssl, data, (int)HF_MIN(len, (size_t)1 << 20));
		return n > 0 ? n : tls_error(transport, (int)n);
	}
	n = send(transport->fd, data, len, MSG_NOSIGNAL);
	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EINTR)
		return -errno;
	transport->wants_write = true;
	return -EAGAIN;
}
