/* common/loop/hf_net.c - see hf_net.h. */
#include "hf_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int parse_unix(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_un *un = (struct sockaddr_un *)ret;
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(un->sun_path))
		return -EINVAL;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len + 1);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

static int parse_port(const char *text, in_port_t *ret_port)
{
	unsigned port = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (port > 65535)
		return -EINVAL;
	*ret_port = htons((uint16_t)port);
	return 0;
}

int hf_net_parse(const char *address, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(address, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len;

	memset(ret, 0, sizeof(*ret));
	if (strncmp(address, "unix:", 5) == 0)
		return parse_unix(address + 5, ret, ret_len);
	if (colon == NULL || (len = (size_t)(colon - address)) == 0 || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, address, len);
	host[len] = '\0';

	if (host[0] == '[') {
		if (host[len - 1] != ']')
			return -EINVAL;
		host[len - 1] = '\0';
		in6->sin6_family = AF_INET6;
		*ret_len = sizeof(*in6);
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			return -EINVAL;
		return parse_port(colon + 1, &in6->sin6_port);
	}
	in4->sin_family = AF_INET;
	*ret_len = sizeof(*in4);
	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
		      &in4->sin_addr) != 1)
		return -EINVAL;
	return parse_port(colon + 1, &in4->sin_port);
}

void hf_net_format(const struct sockaddr_storage *address, socklen_t len,
		   char ret[HF_NET_TEXT_SIZE])
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_un *un = (const struct sockaddr_un *)address;
	char host[INET6_ADDRSTRLEN] = "";

	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		snprintf(ret, HF_NET_TEXT_SIZE, "%s:%u", host, ntohs(in4->sin_port));
	} else if (address->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(ret, HF_NET_TEXT_SIZE, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		size_t start = offsetof(struct sockaddr_un, sun_path);

		snprintf(ret, HF_NET_TEXT_SIZE, "unix:%.*s", (int)(len > start ? len - start : 0),
			 un->sun_path);
	}
}

/* A socket file whose owner is gone would make bind() fail for ever. One that still answers is left
 * alone, and so is any other kind of file. */
static void remove_stale_socket(const struct sockaddr_storage *address, socklen_t len)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)address;
	struct stat st;
	int fd;

	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, len) < 0 && errno == ECONNREFUSED)
		unlink(un->sun_path);
	close(fd);
}

int hf_net_listen(const char *address, int backlog)
{
	struct sockaddr_storage storage;
	socklen_t len;
	int one = 1, fd, err = hf_net_parse(address, &storage, &len);

	if (err < 0)
		return err;
	if (storage.ss_family == AF_UNIX)
		remove_stale_socket(&storage, len);
	fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (storage.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (storage.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&storage, len) < 0 || listen(fd, backlog) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int hf_net_local(int fd, char ret[HF_NET_TEXT_SIZE])
{
	struct sockaddr_storage storage = { 0 };
	socklen_t len = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &len) < 0)
		return -errno;
	hf_net_format(&storage, len, ret);
	return 0;
}

int hf_net_accept(int listener, char ret_peer[HF_NET_TEXT_SIZE])
{
	struct sockaddr_storage storage = { 0 };
	socklen_t len = sizeof(storage);
	int one = 1;
	int fd = accept4(listener, (struct sockaddr *)&storage, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (storage.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (ret_peer != NULL)
		hf_net_format(&storage, len, ret_peer);
	return fd;
}
