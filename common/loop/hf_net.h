/* common/loop/hf_net.h - addresses as text, listening and accepted sockets.
 *
 * An address is "127.0.0.1:443", "[::1]:443", "localhost:443" or "unix:/path". Names are not looked
 * up: a lookup would block the loop. Sockets are non-blocking and closed on exec. */
#ifndef HF_NET_H
#define HF_NET_H

#include <sys/socket.h>

#include "hf_base.h"

#define HF_NET_TEXT_SIZE 128 /* any address as text, with its NUL */

/* 0, or -EINVAL: not an address. */
HF_MUST_CHECK int hf_net_parse(const char *address, struct sockaddr_storage *ret,
			       socklen_t *ret_len);
/* "127.0.0.1:443", "[::1]:443", "unix:/path"; "unix:" for a peer without a name. */
void hf_net_format(const struct sockaddr_storage *address, socklen_t len,
		   char ret[HF_NET_TEXT_SIZE]);

/* A listening socket, or -errno. A stale Unix socket at the path is removed first. */
HF_MUST_CHECK int hf_net_listen(const char *address, int backlog);
/* Where `fd` is bound: the real port when the system chose it. 0 or -errno. */
HF_MUST_CHECK int hf_net_local(int fd, char ret[HF_NET_TEXT_SIZE]);
/* The next waiting connection, without Nagle's delay, or -errno. `ret_peer` may be NULL. */
HF_MUST_CHECK int hf_net_accept(int listener, char ret_peer[HF_NET_TEXT_SIZE]);

#endif
