/* services/room/tls.h - TLS on the clients' port, by OpenSSL straight on the descriptor.
 *
 * A listener with a certificate has a context; whoever's first byte is 0x16 gets a TLS object from
 * it. Everything behind sees the same read and write calls. Buffers are released while idle,
 * sessions resume by stateless tickets, renegotiation is off. */
#ifndef ROOM_TLS_H
#define ROOM_TLS_H

#include <sys/types.h>
#include <sys/uio.h>

#include "hf_base.h"

#define TLS_RECORD_MAX 16384u /* bytes of ours in one record */

struct ssl_ctx_st;
struct ssl_st;

/* NULL after logging why. */
HF_MUST_CHECK struct ssl_ctx_st *tls_context_new(const char *certificate, const char *key_file);
void tls_context_free(struct ssl_ctx_st *context); /* NULL is fine; connections keep theirs alive */
double tls_context_not_after(const struct ssl_ctx_st *context); /* seconds since 1970 */

HF_MUST_CHECK struct ssl_st *tls_new(struct ssl_ctx_st *context, int fd);
void tls_free(struct ssl_st *tls); /* NULL is fine */

/* 1: done; 0: needs the peer (*ret_want_write: a writable socket first); -1: failed. */
int tls_handshake(struct ssl_st *tls, bool *ret_want_write);
/* Like read(2) and write(2): bytes, 0 at the end (read), -EAGAIN, or another -errno. */
ssize_t tls_read(struct ssl_st *tls, void *buffer, size_t size);
/* Gathers the pieces into one record where they fit. After -EAGAIN the same bytes, up to
 * TLS_RECORD_MAX of them, must come first again. */
ssize_t tls_writev(struct ssl_st *tls, const struct iovec *pieces, int count);
void tls_shutdown(struct ssl_st *tls); /* says close_notify, if the socket takes it */

#endif
