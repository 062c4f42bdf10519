#include "http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "hf_text.h"

#define READ_SIZE  65536
#define RETRY_NS   100000000ull
#define ANSWER_MAX (64u << 20)

/* `err`: why, as an errno; 0 when the server just ended it. */
static void lose(struct http_conn *conn, int err)
{
	struct http_pool *pool = conn->pool;
	const struct http_answer none = { 0 };

	pool->error = err != 0 ? err : ECONNRESET;

	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	conn->connecting = conn->want_write = false;
	conn->retry_ns = pool->engine->now_ns + RETRY_NS;
	hf_buffer_clear(&conn->out, 0);
	hf_buffer_clear(&conn->in, 0);
	while (conn->count > 0) {
		const struct http_ticket *ticket = &conn->ring[conn->head];

		conn->head = (conn->head + 1) % pool->depth;
		conn->count--;
		pool->on_answer(pool, ticket, &none);
	}
}

static void start(struct http_conn *conn)
{
	struct http_pool *pool = conn->pool;
	int on = 1;

	conn->fd =
		socket(pool->to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->fd < 0) {
		lose(conn, errno);
		return;
	}
	setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn->connecting = true;
	conn->want_write = true;
	if ((connect(conn->fd, (const struct sockaddr *)&pool->to->address, pool->to->len) < 0 &&
	     errno != EINPROGRESS) ||
	    engine_watch(pool->engine, conn->fd, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT, &conn->source) <
		    0)
		lose(conn, errno);
}

static void set_want_write(struct http_conn *conn, bool want)
{
	if (conn->want_write == want)
		return;
	conn->want_write = want;
	if (engine_watch(conn->pool->engine, conn->fd, EPOLL_CTL_MOD,
			 want ? EPOLLIN | EPOLLOUT : EPOLLIN, &conn->source) < 0)
		lose(conn, 0);
}

static void flush(struct http_conn *conn)
{
	size_t len;

	while ((len = hf_buffer_len(&conn->out)) > 0) {
		ssize_t n = send(conn->fd, hf_buffer_data(&conn->out), len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			lose(conn, 0);
			return;
		}
		hf_buffer_drain(&conn->out, (size_t)n);
	}
	set_want_write(conn, len > 0);
}

/* Value of a header in [head, end), or NULL. */
static const char *header(const char *head, const char *end, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = head; line < end;) {
		const char *next = memchr(line, '\n', (size_t)(end - line));

		if ((size_t)(end - line) > len && strncasecmp(line, name, len) == 0 &&
		    line[len] == ':') {
			line += len + 1;
			return line + strspn(line, " \t");
		}
		if (next == NULL)
			break;
		line = next + 1;
	}
	return NULL;
}

/* Size of a chunked body, its last chunk included; 0 while it is not all there; -1 broken. */
static ssize_t chunked_len(const char *body, size_t len)
{
	size_t pos = 0;

	for (;;) {
		const char *line_end = memmem(body + pos, len - pos, "\r\n", 2);
		unsigned long size;

		if (line_end == NULL)
			return 0;
		size = strtoul(body + pos, NULL, 16);
		if (size > ANSWER_MAX)
			return -1;
		pos = (size_t)(line_end - body) + 2;
		if (len - pos < size + 2)
			return 0;
		pos += size + 2;
		if (size == 0)
			return (ssize_t)pos;
	}
}

/* One answer from the front of `in`: its size, 0 while it is incomplete, -1 broken. */
static ssize_t take_answer(struct http_conn *conn, const char *data, size_t len)
{
	struct http_answer answer = { 0 };
	const char *end = memmem(data, len, "\r\n\r\n", 4), *value;
	struct http_ticket ticket;
	size_t head_len, digits;
	uint64_t length = 0;
	ssize_t body_len;

	if (end == NULL)
		return len > READ_SIZE ? -1 : 0;
	if (len < 12 || strncmp(data, "HTTP/1.", 7) != 0 || conn->count == 0)
		return -1;
	head_len = (size_t)(end - data) + 4;
	answer.status = atoi(data + 9);
	answer.body = data + head_len;
	value = header(data, end, "Transfer-Encoding");
	if (value != NULL && strncasecmp(value, "chunked", 7) == 0) {
		body_len = chunked_len(answer.body, len - head_len);
		if (body_len <= 0)
			return body_len;
	} else {
		value = header(data, end, "Content-Length");
		digits = value == NULL ? 0 : strspn(value, "0123456789");
		if (value != NULL && hf_text_parse_uint(value, digits, &length) < 0)
			return -1;
		if (length > ANSWER_MAX)
			return -1;
		if (len - head_len < length)
			return 0;
		body_len = (ssize_t)length;
	}
	if (answer.status == 100)
		return (ssize_t)head_len;
	answer.body_len = (size_t)body_len;
	ticket = conn->ring[conn->head];
	conn->head = (conn->head + 1) % conn->pool->depth;
	conn->count--;
	conn->pool->on_answer(conn->pool, &ticket, &answer);
	value = header(data, end, "Connection");
	if (value != NULL && strncasecmp(value, "close", 5) == 0)
		return -1;
	return (ssize_t)head_len + body_len;
}

static void on_readable(struct http_conn *conn)
{
	uint8_t *to = hf_buffer_reserve(&conn->in, READ_SIZE);
	size_t len;
	ssize_t n;

	n = to == NULL ? 0 : recv(conn->fd, to, READ_SIZE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(conn, 0);
		return;
	}
	hf_buffer_commit(&conn->in, (size_t)n);
	while ((len = hf_buffer_len(&conn->in)) > 0) {
		n = take_answer(conn, (const char *)hf_buffer_data(&conn->in), len);
		if (n == 0)
			return;
		if (n < 0) {
			lose(conn, EPROTO);
			return;
		}
		hf_buffer_drain(&conn->in, (size_t)n);
	}
}

static void on_events(struct source *source, uint32_t events)
{
	struct http_conn *conn = HF_CONTAINER_OF(source, struct http_conn, source);

	if (conn->fd < 0)
		return;
	if (conn->connecting) {
		socklen_t len = sizeof(int);
		int err = 0;

		getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (err != 0) {
			lose(conn, err);
			return;
		}
		conn->connecting = false;
	}
	if (events & EPOLLOUT)
		flush(conn);
	if (conn->fd >= 0 && events & ~(uint32_t)EPOLLOUT)
		on_readable(conn);
}

int http_open(struct http_pool *pool)
{
	pool->conns = calloc(pool->conn_count, sizeof(*pool->conns));
	if (pool->conns == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < pool->conn_count; i++) {
		struct http_conn *conn = &pool->conns[i];

		conn->source.on_events = on_events;
		conn->pool = pool;
		conn->fd = -1;
		conn->ring = calloc(pool->depth, sizeof(*conn->ring));
		if (conn->ring == NULL)
			return -ENOMEM;
	}
	return 0;
}

void http_close(struct http_pool *pool)
{
	for (uint32_t i = 0; pool->conns != NULL && i < pool->conn_count; i++) {
		struct http_conn *conn = &pool->conns[i];

		if (conn->fd >= 0)
			close(conn->fd);
		hf_buffer_deinit(&conn->out);
		hf_buffer_deinit(&conn->in);
		free(conn->ring);
	}
	free(pool->conns);
}

struct http_conn *http_free_place(struct http_pool *pool)
{
	for (uint32_t i = 0; i < pool->conn_count; i++) {
		struct http_conn *conn = &pool->conns[pool->next];

		pool->next = (pool->next + 1) % pool->conn_count;
		if (conn->fd < 0 && pool->engine->now_ns >= conn->retry_ns)
			start(conn);
		if (conn->fd >= 0 && !conn->connecting && conn->count < pool->depth)
			return conn;
	}
	return NULL;
}

int http_request(struct http_conn *conn, const struct http_ticket *ticket, const void *head,
		 size_t head_len, const void *body, size_t body_len)
{
	struct http_pool *pool = conn->pool;
	int err = hf_buffer_append(&conn->out, head, head_len);

	if (err == 0 && body_len > 0)
		err = hf_buffer_append(&conn->out, body, body_len);
	if (err < 0) {
		lose(conn, 0);
		return err;
	}
	conn->ring[(conn->head + conn->count++) % pool->depth] = *ticket;
	return 0;
}

void http_flush(struct http_pool *pool)
{
	for (uint32_t i = 0; i < pool->conn_count; i++) {
		struct http_conn *conn = &pool->conns[i];

		if (conn->fd >= 0 && !conn->connecting && !conn->want_write &&
		    hf_buffer_len(&conn->out) > 0)
			flush(conn);
	}
}

uint64_t http_in_flight(const struct http_pool *pool)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < pool->conn_count; i++)
		count += pool->conns[i].count;
	return count;
}
