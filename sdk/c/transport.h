/* sdk/c/transport.h - one TCP connection that never blocks, with or without TLS. */
#ifndef HOLDFAST_TRANSPORT_H
#define HOLDFAST_TRANSPORT_H

#include <sys/types.h>

#include "hf_base.h"

struct ssl_st;
struct ssl_ctx_st;

struct transport {
	int fd;             /* -1: closed; {.fd = -1} is an unused transport */
	struct ssl_st *ssl; /* NULL: plain */
	bool connecting;    /* TCP is not there yet */
	bool ready;         /* transport_advance() has returned 0 */
	bool wants_write;   /* progress needs a writable socket, whoever waits for it */
	char error[128];    /* after -EPROTO: what TLS did not like */
};

/* Begin to connect; see the result with transport_advance(). `host` in digits, or a name that is
 * looked up, blocking; `nth` rotates over its addresses. `tls_context` NULL: plain. `tls_name` is
 * what the certificate must be made out to. 0, -EHOSTUNREACH (no such name), -ENOMEM or what
 * socket(2) and connect(2) say. */
HF_MUST_CHECK int transport_open(struct transport *transport, const char *host, uint16_t port,
				 unsigned nth, struct ssl_ctx_st *tls_context,
				 const char *tls_name);
/* Safe on a closed one. `orderly`: tell the TLS peer. */
void transport_close(struct transport *transport, bool orderly);

/* Go on with connecting and with the handshake. 0: ready; -EAGAIN: not yet; -EPROTO: TLS failed,
 * see `error`; else what the network says. */
HF_MUST_CHECK int transport_advance(struct transport *transport);
/* Bytes read or written (> 0), -EAGAIN, -ECONNRESET at the end of the stream, or another error. */
HF_MUST_CHECK ssize_t transport_read(struct transport *transport, void *ret, size_t size);
HF_MUST_CHECK ssize_t transport_write(struct transport *transport, const void *data, size_t len);

/* NULL ca_file: the system's authorities. 0, -EINVAL (the file is no use) or -ENOMEM. */
HF_MUST_CHECK int transport_tls_new(const char *ca_file, struct ssl_ctx_st **ret_context);
void transport_tls_free(struct ssl_ctx_st *context);

#endif
