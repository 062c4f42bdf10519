#define HF_LOG_MODULE "tls"
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <time.h>

#include "hf_log.h"

/* A handshake takes three messages of the client at most, and nobody changes keys more than a few
 * times in the life of a connection: who sends more wants our time. */
#define HANDSHAKE_MESSAGES_MAX 64u

static void log_failure(const char *what, const char *file)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	HF_ERROR("certificate not usable", "step=%s file=%s err=%s", what,
		 hf_log_quote(file, strlen(file)), hf_log_quote(text, strlen(text)));
}

static size_t message_count(const SSL *tls)
{
	return (size_t)(uintptr_t)SSL_get_app_data(tls);
}

static void on_message(int sent, int version, int type, const void *data, size_t len, SSL *tls,
		       void *ctx)
{
	if (!sent && type == SSL3_RT_HANDSHAKE)
		SSL_set_app_data(tls, (void *)(uintptr_t)(message_count(tls) + 1));
}

struct ssl_ctx_st *tls_context_new(const char *certificate, const char *key_file)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL) {
		log_failure("context", certificate);
		return NULL;
	}
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* A record without data ends the read: one client's flood of them must not hold the loop.
	 */
	SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_msg_callback(context, on_message);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 1);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
		log_failure("certificate", certificate);
		goto fail;
	}
	if (SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(context) != 1) {
		log_failure("key", key_file);
		goto fail;
	}
	return context;

fail:
	SSL_CTX_free(context);
	return NULL;
}

void tls_context_free(struct ssl_ctx_st *context)
{
	SSL_CTX_free(context);
}

double tls_context_not_after(const struct ssl_ctx_st *context)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context)), &tm) != 1)
		return 0;
	return (double)timegm(&tm);
}

struct ssl_st *tls_new(struct ssl_ctx_st *context, int fd)
{
	SSL *tls = SSL_new(context);

	if (tls == NULL || SSL_set_fd(tls, fd) != 1) {
		ERR_clear_error();
		SSL_free(tls);
		return NULL;
	}
	SSL_set_accept_state(tls);
	return tls;
}

void tls_free(struct ssl_st *tls)
{
	SSL_free(tls);
}

/* What a call that did not succeed means, as a -errno. */
static int failure(struct ssl_st *tls, int result, bool *ret_want_write)
{
	int err = errno;
	int kind = SSL_get_error(tls, result);

	ERR_clear_error();
	*ret_want_write = kind == SSL_ERROR_WANT_WRITE;
	switch (kind) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_SYSCALL:
		return err != 0 ? -err : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int tls_handshake(struct ssl_st *tls, bool *ret_want_write)
{
	int result;

	errno = 0;
	result = SSL_do_handshake(tls);
	*ret_want_write = false;
	if (result == 1)
		return 1;
	return failure(tls, result, ret_want_write) == -EAGAIN ? 0 : -1;
}

ssize_t tls_read(struct ssl_st *tls, void *buffer, size_t size)
{
	bool want_write;
	size_t n;
	int result;

	errno = 0;
	result = SSL_read_ex(tls, buffer, size, &n);
	if (result == 1)
		return (ssize_t)n;
	if (message_count(tls) > HANDSHAKE_MESSAGES_MAX) {
		ERR_clear_error();
		return -EPROTO;
	}
	if (SSL_get_shutdown(tls) & SSL_RECEIVED_SHUTDOWN) {
		ERR_clear_error();
		return 0;
	}
	return failure(tls, result, &want_write);
}

ssize_t tls_writev(struct ssl_st *tls, const struct iovec *pieces, int count)
{
	static uint8_t record[TLS_RECORD_MAX];
	const void *data = pieces[0].iov_base;
	size_t len = HF_MIN(pieces[0].iov_len, (size_t)TLS_RECORD_MAX), n;
	bool want_write;
	int result;

	if (count > 1 && len < TLS_RECORD_MAX) {
		len = 0;
		for (int i = 0; i < count && len < TLS_RECORD_MAX; i++) {
			size_t take = HF_MIN(pieces[i].iov_len, TLS_RECORD_MAX - len);

			memcpy(record + len, pieces[i].iov_base, take);
			len += take;
		}
		data = record;
	}
	errno = 0;
	result = SSL_write_ex(tls, data, len, &n);
	if (result == 1)
		return (ssize_t)n;
	return failure(tls, result, &want_write);
}

void tls_shutdown(struct ssl_st *tls)
{
	SSL_shutdown(tls);
	ERR_clear_error();
}
