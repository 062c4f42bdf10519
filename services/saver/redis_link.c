#include "redis_link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_clock.h"

#define INPUT_SIZE 65536u
#define OUT_KEEP   (256u << 10)

int saver_redis_io_init(struct saver_redis_io *io)
{
	io->input = malloc(INPUT_SIZE);
	return io->input != NULL ? 0 : -ENOMEM;
}

void saver_redis_io_deinit(struct saver_redis_io *io)
{
	free(io->input);
	io->input = NULL;
}

void saver_redis_link_init(struct saver_redis_link *link, struct saver_redis_io *io, void *owner)
{
	*link = (struct saver_redis_link){ .io = io, .owner = owner, .fd = -1 };
	STAILQ_INIT(&link->ops);
}

static void broken(struct saver_redis_link *link, const char *reason)
{
	link->io->on_broken(link, reason);
}

/* Replies */

static void take_marks(struct saver_redis_link *link)
{
	while (link->mark_count > 0 && link->answered >= link->marks[link->mark_first].upto) {
		uint64_t age_ns = hf_clock_monotonic_ns() - link->marks[link->mark_first].at_ns;

		if (link->io->duration != NULL)
			hf_histogram_record(link->io->duration, age_ns / 1000);
		link->mark_first = (link->mark_first + 1) % SAVER_REDIS_MARKS;
		link->mark_count--;
	}
}

/* False: the link was closed. */
static bool deliver(struct saver_redis_link *link, const redisReply *reply)
{
	struct saver_redis_op *op = STAILQ_FIRST(&link->ops);
	uint64_t era = link->era;

	if (op == NULL) {
		/* As a Redis says that it has too many clients. */
		broken(link,
		       reply->type == REDIS_REPLY_ERROR ? reply->str : "a reply to no command");
		return false;
	}
	STAILQ_REMOVE_HEAD(&link->ops, next);
	link->bytes -= op->size;
	link->answered++;
	take_marks(link);
	link->io->on_reply(link, op, reply);
	return link->era == era;
}

/* Bytes of the integer reply at the start of `data`; 0: none, or not all of it. */
static size_t take_integer(const uint8_t *data, size_t len, long long *ret)
{
	size_t pos = 1;
	long long value = 0;

	if (data[0] != ':')
		return 0;
	/* Longer and negative ones are the reader's. */
	for (; pos < len && pos < 16 && data[pos] >= '0' && data[pos] <= '9'; pos++)
		value = value * 10 + (data[pos] - '0');
	if (pos == 1 || len - pos < 2 || data[pos] != '\r' || data[pos + 1] != '\n')
		return 0;
	*ret = value;
	return pos + 2;
}

static void on_input(struct saver_redis_link *link, const uint8_t *data, size_t len)
{
	redisReply integer = { .type = REDIS_REPLY_INTEGER };
	size_t pos = 0, n;
	void *reply;
	bool alive;

	while (!link->part && pos < len &&
	       (n = take_integer(data + pos, len - pos, &integer.integer)) > 0) {
		pos += n;
		if (!deliver(link, &integer))
			return;
	}
	if (pos == len)
		return;
	if (redisReaderFeed(link->reader, (const char *)data + pos, len - pos) != REDIS_OK) {
		broken(link, link->reader->errstr);
		return;
	}
	do {
		if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
			broken(link, link->reader->errstr);
			return;
		}
		link->part = reply == NULL;
		if (link->part)
			return;
		alive = deliver(link, reply);
		freeReplyObject(reply);
	} while (alive && link->reader->pos < link->reader->len);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct saver_redis_link *link = arg;
	ssize_t n = recv(link->fd, link->io->input, INPUT_SIZE, 0);

	if (n > 0)
		on_input(link, link->io->input, (size_t)n);
	else if (n == 0)
		broken(link, "closed");
	else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		broken(link, strerror(errno));
}

/* Commands */

static uint8_t *put_number(uint8_t *pos, char mark, size_t value)
{
	char digits[20];
	unsigned n = 0;

	*pos++ = (uint8_t)mark;
	do
		digits[n++] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	while (n > 0)
		*pos++ = (uint8_t)digits[--n];
	*pos++ = '\r';
	*pos++ = '\n';
	return pos;
}

int saver_redis_link_send(struct saver_redis_link *link, struct saver_redis_op *op,
			  const struct hf_bytes *words, size_t count)
{
	size_t size = 24;
	uint8_t *start, *pos;

	for (size_t i = 0; i < count; i++)
		size += 26 + words[i].len;
	start = pos = hf_buffer_reserve(&link->out, size);
	if (start == NULL)
		return -ENOMEM;
	pos = put_number(pos, '*', count);
	for (size_t i = 0; i < count; i++) {
		pos = put_number(pos, '$', words[i].len);
		if (words[i].len > 0)
			memcpy(pos, words[i].data, words[i].len);
		pos += words[i].len;
		*pos++ = '\r';
		*pos++ = '\n';
	}
	hf_buffer_commit(&link->out, (size_t)(pos - start));
	op->size = (uint32_t)(pos - start);
	link->bytes += op->size;
	STAILQ_INSERT_TAIL(&link->ops, op, next);
	link->queued++;
	if (link->unmarked_ns == 0)
		link->unmarked_ns = hf_clock_monotonic_ns();
	return 0;
}

static void mark(struct saver_redis_link *link)
{
	unsigned last;

	if (link->unmarked_ns == 0)
		return;
	if (link->mark_count == SAVER_REDIS_MARKS) { /* the last then speaks for later ones too */
		last = (link->mark_first + SAVER_REDIS_MARKS - 1) % SAVER_REDIS_MARKS;
	} else {
		last = (link->mark_first + link->mark_count++) % SAVER_REDIS_MARKS;
		link->marks[last].at_ns = link->unmarked_ns;
	}
	link->marks[last].upto = link->queued;
	link->unmarked_ns = 0;
}

void saver_redis_link_flush(struct saver_redis_link *link)
{
	size_t len = hf_buffer_len(&link->out);
	ssize_t n;

	if (!link->up || len == 0)
		return;
	mark(link);
	n = send(link->fd, hf_buffer_data(&link->out), len, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		broken(link, strerror(errno));
		return;
	}
	if (n == (ssize_t)len) {
		hf_buffer_clear(&link->out, OUT_KEEP);
		return;
	}
	if (n > 0)
		hf_buffer_drain(&link->out, (size_t)n);
	if (event_add(&link->writable, NULL) < 0)
		broken(link, "out of memory");
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct saver_redis_link *link = arg;
	socklen_t size = sizeof(int);
	int err = 0;

	if (link->up) {
		saver_redis_link_flush(link);
		return;
	}
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0)
		err = errno;
	if (err == 0 && event_add(&link->readable, NULL) < 0)
		err = ENOMEM;
	if (err != 0) {
		broken(link, strerror(err));
		return;
	}
	link->up = true;
	link->io->on_up(link);
}

/* Opening and closing */

int saver_redis_link_open(struct saver_redis_link *link, const struct sockaddr *address,
			  socklen_t len)
{
	struct event_base *base = link->io->loop->base;
	int on = 1, err = -ENOMEM;

	link->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (link->fd < 0)
		return -errno;
	if (address->sa_family != AF_UNIX)
		(void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	link->reader = redisReaderCreate();
	if (link->reader == NULL ||
	    event_assign(&link->readable, base, link->fd, EV_READ | EV_PERSIST, on_readable, link) <
		    0 ||
	    event_assign(&link->writable, base, link->fd, EV_WRITE, on_writable, link) < 0)
		goto fail;
	if (connect(link->fd, address, len) < 0 && errno != EINPROGRESS) {
		err = -errno;
		goto fail;
	}
	if (event_add(&link->writable, NULL) == 0)
		return 0;

fail:
	if (link->reader != NULL)
		redisReaderFree(link->reader);
	link->reader = NULL;
	close(link->fd);
	link->fd = -1;
	return err;
}

void saver_redis_link_close(struct saver_redis_link *link, struct saver_redis_ops *ret_ops)
{
	if (link->fd < 0)
		return;
	event_del(&link->readable);
	event_del(&link->writable);
	close(link->fd);
	redisReaderFree(link->reader);
	hf_buffer_deinit(&link->out);
	STAILQ_CONCAT(ret_ops, &link->ops);
	link->fd = -1;
	link->up = link->part = false;
	link->reader = NULL;
	link->bytes = 0;
	link->era++;
	link->queued = link->answered = 0;
	link->unmarked_ns = 0;
	link->mark_count = 0;
}
