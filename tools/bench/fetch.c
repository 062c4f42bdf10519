#include "fetch.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "hf_net.h"
#include "hf_text.h"

static int look_up(const char *address, const char *colon, struct target *ret, size_t max)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char host[256];
	uint64_t port;
	size_t count = 0;

	/* getaddrinfo() takes a port modulo 65536. */
	if ((size_t)(colon - address) >= sizeof(host) ||
	    hf_text_parse_uint(colon + 1, strlen(colon + 1), &port) < 0 || port < 1 || port > 65535)
		return -EINVAL;
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return -EINVAL;
	for (struct addrinfo *one = found; one != NULL && count < max; one = one->ai_next) {
		ret[count] = (struct target){ .len = one->ai_addrlen };
		memcpy(&ret[count++].address, one->ai_addr, one->ai_addrlen);
	}
	freeaddrinfo(found);
	return count > 0 ? (int)count : -EINVAL;
}

int fetch_resolve(const char *address, struct target *ret, size_t max)
{
	const char *colon = strrchr(address, ':');

	if (max > 0 && hf_net_parse(address, &ret->address, &ret->len) == 0)
		return 1;
	return colon == NULL || colon == address ? -EINVAL : look_up(address, colon, ret, max);
}

int fetch_connect(const struct target *to)
{
	int fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_sec = FETCH_WAIT_S };
	int err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&to->address, to->len) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* What came instead of a page, in the words of its status line or of the error. */
static void explain(char why[FETCH_WHY], const char *answer, size_t len, int err)
{
	size_t line = len > 0 ? strcspn(answer, "\r\n") : 0;

	if (len == 0) {
		snprintf(why, FETCH_WHY, "no answer: %s",
			 err == 0        ? "the connection was closed"
			 : err == EAGAIN ? "it took too long"
					 : strerror(err));
	} else if (line < 12 || strncmp(answer, "HTTP/1.", 7) != 0) {
		snprintf(why, FETCH_WHY, "what answers is no HTTP server");
	} else {
		snprintf(why, FETCH_WHY, "the answer is %.*s", (int)HF_MIN(line - 9, 60),
			 answer + 9);
		for (char *c = why; *c != '\0'; c++) {
			if (*c < ' ' || *c > '~')
				*c = ' ';
		}
	}
}

char *fetch_get(const struct target *to, const char *host, const char *path, size_t max,
		char why[FETCH_WHY])
{
	char request[1024], *answer = malloc(max + 1), *body;
	int fd = fetch_connect(to), request_len, err = fd < 0 ? -fd : 0;
	size_t len = 0;
	ssize_t n = 0;

	request_len =
		snprintf(request, sizeof(request),
			 "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
	if (fd >= 0 && answer != NULL && request_len < (int)sizeof(request) &&
	    send(fd, request, (size_t)request_len, MSG_NOSIGNAL) == request_len) {
		while (len < max && (n = recv(fd, answer + len, max - len, 0)) > 0)
			len += (size_t)n;
		err = n < 0 ? errno : 0;
	}
	if (fd >= 0)
		close(fd);
	if (answer == NULL) {
		explain(why, "", 0, ENOMEM);
		return NULL;
	}
	answer[len] = '\0';
	if (len < 12 || strncmp(answer + 8, " 200", 4) != 0 ||
	    (body = strstr(answer, "\r\n\r\n")) == NULL) {
		explain(why, answer, len, err);
		free(answer);
		return NULL;
	}
	memmove(answer, body + 4, strlen(body + 4) + 1);
	return answer;
}
