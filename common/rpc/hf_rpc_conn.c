/* common/rpc/hf_rpc_conn.c - see hf_rpc_conn.h. */
#include "hf_rpc_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_SIZE   ((size_t)256 << 10)
#define LARGE_FRAME  (INPUT_SIZE / 2) /* such a frame is read into memory of its own */
#define PARTIAL_KEEP ((size_t)4 << 10)
#define OUTPUT_KEEP  ((size_t)1 << 20)
#define ARENA_KEEP   ((size_t)1 << 20)

static struct hf_rpc_io *all_io; /* one a loop, hence one in a process but for tests */

/* A connection that breaks here runs callbacks that may put frames on others, hence the loop. */
static void on_turn_end(void *ctx)
{
	struct hf_rpc_io *io = ctx;
	struct hf_rpc_conn *conn;

	io->refs++; /* the last owner may go in a callback */
	while ((conn = LIST_FIRST(&io->dirty)) != NULL)
		hf_rpc_conn_flush(conn);
	hf_task_cancel(io->loop, &io->kick);
	hf_rpc_io_unref(io);
}

static void on_kick(void *ctx)
{
}

int hf_rpc_io_ref(struct hf_loop *loop, struct hf_rpc_io **ret_io)
{
	struct hf_rpc_io *io;

	for (io = all_io; io != NULL; io = io->next) {
		if (io->loop == loop) {
			io->refs++;
			*ret_io = io;
			return 0;
		}
	}
	io = calloc(1, sizeof(*io));
	if (io == NULL)
		return -ENOMEM;
	io->input = malloc(INPUT_SIZE);
	if (io->input == NULL) {
		free(io);
		return -ENOMEM;
	}
	io->loop = loop;
	io->refs = 1;
	io->hook = (struct hf_turn_hook){ .fn = on_turn_end, .ctx = io };
	hf_task_init(&io->kick, on_kick, io);
	hf_arena_init(&io->arena, 0, ARENA_KEEP);
	hf_loop_add_hook(loop, &io->hook);
	io->next = all_io;
	all_io = io;
	*ret_io = io;
	return 0;
}

void hf_rpc_io_unref(struct hf_rpc_io *io)
{
	struct hf_rpc_io **at = &all_io;

	if (io == NULL || --io->refs > 0)
		return;
	while (*at != io)
		at = &(*at)->next;
	*at = io->next;
	hf_loop_remove_hook(io->loop, &io->hook);
	hf_task_cancel(io->loop, &io->kick);
	hf_arena_deinit(&io->arena);
	free(io->input);
	free(io);
}

/* Closing */

void hf_rpc_conn_init(struct hf_rpc_conn *conn, struct hf_rpc_io *io,
		      const struct hf_rpc_conn_handler *handler)
{
	*conn = (struct hf_rpc_conn){ .io = io, .handler = handler, .fd = -1 };
}

void hf_rpc_conn_enter(struct hf_rpc_conn *conn)
{
	conn->busy++;
}

/* Buffers go only here, as a frame that is being handled may lie in `partial`. */
void hf_rpc_conn_leave(struct hf_rpc_conn *conn)
{
	if (--conn->busy > 0)
		return;
	if (conn->fd < 0) {
		hf_buffer_deinit(&conn->partial);
		hf_buffer_deinit(&conn->out);
		conn->expected = 0;
	}
	if (conn->released)
		conn->handler->on_released(conn);
}

void hf_rpc_conn_close(struct hf_rpc_conn *conn)
{
	if (conn->fd < 0)
		return;
	hf_rpc_conn_enter(conn);
	event_del(&conn->readable);
	event_del(&conn->writable);
	close(conn->fd);
	conn->fd = -1;
	if (conn->dirty)
		LIST_REMOVE(conn, dirty_link);
	conn->dirty = false;
	hf_rpc_conn_leave(conn);
}

void hf_rpc_conn_release(struct hf_rpc_conn *conn)
{
	hf_rpc_conn_enter(conn);
	hf_rpc_conn_close(conn);
	conn->released = true;
	hf_rpc_conn_leave(conn);
}

static void conn_end(struct hf_rpc_conn *conn, const char *reason)
{
	if (conn->fd < 0)
		return;
	hf_rpc_conn_close(conn);
	conn->handler->on_closed(conn, reason);
}

/* Reading */

static const char *decode_failure(ssize_t err)
{
	return err == -EMSGSIZE ? HF_RPC_CLOSE_TOO_LARGE : HF_RPC_CLOSE_BAD_FRAME;
}

/* Handles the whole frames at the start of `data`; returns the bytes they took. */
static size_t handle_frames(struct hf_rpc_conn *conn, const uint8_t *data, size_t len)
{
	size_t used = 0;

	while (conn->fd >= 0 && !conn->paused && used < len) {
		struct hf_rpc_frame frame;
		ssize_t n = hf_rpc_frame_decode(data + used, len - used, &frame);
		const char *reason = NULL;

		if (n == 0)
			break;
		if (n < 0)
			reason = decode_failure(n);
		else
			reason = conn->handler->on_frame(conn, &frame);
		if (reason != NULL) {
			conn_end(conn, reason);
			break;
		}
		used += (size_t)n;
	}
	return used;
}

/* Bytes received, or 0 when there is nothing to handle: not ready, or the connection has ended. */
static size_t receive(struct hf_rpc_conn *conn, void *room, size_t size)
{
	ssize_t n = recv(conn->fd, room, size, 0);

	if (n > 0) {
		conn->heard_ms = hf_loop_now_ms(conn->io->loop);
		return (size_t)n;
	}
	if (n == 0)
		conn_end(conn, HF_RPC_CLOSE_BY_PEER);
	else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		conn_end(conn, HF_RPC_CLOSE_RESET);
	return 0;
}

/* Exactly the rest of one large frame, so that nothing follows it in the buffer. */
static void read_large(struct hf_rpc_conn *conn)
{
	size_t missing = conn->expected - hf_buffer_len(&conn->partial);
	uint8_t *room = hf_buffer_reserve(&conn->partial, missing);
	size_t n;

	if (room == NULL) {
		conn_end(conn, HF_RPC_CLOSE_NO_MEMORY);
		return;
	}
	n = receive(conn, room, missing);
	if (n == 0)
		return;
	hf_buffer_commit(&conn->partial, n);
	if (n < missing)
		return;
	conn->expected = 0;
	handle_frames(conn, hf_buffer_data(&conn->partial), hf_buffer_len(&conn->partial));
	hf_buffer_clear(&conn->partial, PARTIAL_KEEP);
}

/* Keep what handle_frames() left: of an incomplete frame, or of a connection that was paused. What
 * a pause left has not been looked at: no length is believed that the decoder would refuse. */
static void keep_rest(struct hf_rpc_conn *conn, const uint8_t *rest, size_t len)
{
	struct hf_rpc_frame frame;
	ssize_t n = hf_rpc_frame_decode(rest, len, &frame);
	size_t size = n == 0 ? hf_rpc_frame_size(rest, len) : 0;

	if (n < 0) {
		conn_end(conn, decode_failure(n));
		return;
	}
	if (size > LARGE_FRAME) {
		conn->expected = size;
		if (hf_buffer_reserve(&conn->partial, size) == NULL) {
			conn_end(conn, HF_RPC_CLOSE_NO_MEMORY);
			return;
		}
	}
	if (hf_buffer_append(&conn->partial, rest, len) < 0)
		conn_end(conn, HF_RPC_CLOSE_NO_MEMORY);
}

static void read_shared(struct hf_rpc_conn *conn)
{
	uint8_t *input = conn->io->input;
	size_t kept = hf_buffer_len(&conn->partial);
	size_t n = receive(conn, input + kept, INPUT_SIZE - kept);
	size_t used;

	if (n == 0)
		return;
	if (kept > 0)
		memcpy(input, hf_buffer_data(&conn->partial), kept);
	hf_buffer_clear(&conn->partial, PARTIAL_KEEP);
	used = handle_frames(conn, input, kept + n);
	if (conn->fd >= 0 && used < kept + n)
		keep_rest(conn, input + used, kept + n - used);
}

/* Frames that a pause left; true when all whole ones are handled. */
static bool handle_kept(struct hf_rpc_conn *conn)
{
	size_t used, len = hf_buffer_len(&conn->partial);

	if (len == 0 || conn->expected > 0)
		return true;
	used = handle_frames(conn, hf_buffer_data(&conn->partial), len);
	if (conn->fd < 0)
		return false;
	hf_buffer_drain(&conn->partial, used);
	if (conn->paused)
		return false;
	if (used > 0 && used < len) { /* may begin a large frame: let keep_rest() look at it */
		struct hf_buffer rest = conn->partial;

		hf_buffer_init(&conn->partial);
		keep_rest(conn, hf_buffer_data(&rest), hf_buffer_len(&rest));
		hf_buffer_deinit(&rest);
	}
	return conn->fd >= 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct hf_rpc_conn *conn = arg;

	hf_rpc_conn_enter(conn);
	if (handle_kept(conn)) {
		if (conn->expected > 0)
			read_large(conn);
		else
			read_shared(conn);
	}
	hf_rpc_conn_leave(conn);
}

void hf_rpc_conn_pause(struct hf_rpc_conn *conn)
{
	if (conn->fd < 0 || conn->paused)
		return;
	conn->paused = true;
	event_del(&conn->readable);
}

void hf_rpc_conn_resume(struct hf_rpc_conn *conn)
{
	if (conn->fd < 0 || !conn->paused)
		return;
	conn->paused = false;
	if (event_add(&conn->readable, NULL) < 0) {
		conn_end(conn, HF_RPC_CLOSE_NO_MEMORY);
		return;
	}
	event_active(&conn->readable, EV_READ, 0); /* for the frames that are kept already */
}

/* Writing */

static void mark_dirty(struct hf_rpc_conn *conn)
{
	struct hf_rpc_io *io = conn->io;

	if (conn->dirty)
		return;
	conn->dirty = true;
	if (LIST_EMPTY(&io->dirty))
		hf_task_schedule(io->loop, &io->kick);
	LIST_INSERT_HEAD(&io->dirty, conn, dirty_link);
}

uint8_t *hf_rpc_conn_put(struct hf_rpc_conn *conn, enum hf_rpc_kind kind, uint32_t call_id,
			 uint16_t method, size_t body_len)
{
	uint8_t *p;

	assert(body_len <= HF_RPC_FRAME_MAX);
	if (conn->fd < 0 || conn->broken != NULL)
		return NULL;
	p = hf_buffer_reserve(&conn->out, HF_RPC_HEADER_SIZE + body_len);
	if (!conn->blocked)
		mark_dirty(conn);
	if (p == NULL) {
		conn->broken = HF_RPC_CLOSE_NO_MEMORY;
		mark_dirty(conn);
		return NULL;
	}
	hf_rpc_header_encode(p, kind, call_id, method, (uint32_t)body_len);
	hf_buffer_commit(&conn->out, HF_RPC_HEADER_SIZE + body_len);
	return p + HF_RPC_HEADER_SIZE;
}

void hf_rpc_conn_put_empty(struct hf_rpc_conn *conn, enum hf_rpc_kind kind, uint32_t call_id)
{
	if (hf_rpc_conn_put(conn, kind, call_id, 0, 0) == NULL)
		return; /* ends by itself */
}

void hf_rpc_conn_put_hello(struct hf_rpc_conn *conn, const struct hf_rpc_hello *hello)
{
	uint8_t *body = hf_rpc_conn_put(conn, HF_RPC_HELLO, 0, 0, HF_RPC_HELLO_SIZE);

	if (body != NULL)
		hf_rpc_hello_encode(hello, body);
}

static void conn_send(struct hf_rpc_conn *conn)
{
	size_t len = hf_buffer_len(&conn->out);
	ssize_t n = send(conn->fd, hf_buffer_data(&conn->out), len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		conn_end(conn, HF_RPC_CLOSE_RESET);
		return;
	}
	if (n > 0) {
		hf_buffer_drain(&conn->out, (size_t)n);
		conn->sent_ms = hf_loop_now_ms(conn->io->loop);
	}
	if (n == (ssize_t)len) {
		hf_buffer_clear(&conn->out, OUTPUT_KEEP);
		conn->blocked = false;
	} else if (event_add(&conn->writable, NULL) < 0) {
		conn_end(conn, HF_RPC_CLOSE_NO_MEMORY);
		return;
	} else {
		conn->blocked = true;
	}
	if (n > 0 && conn->handler->on_written != NULL)
		conn->handler->on_written(conn);
}

void hf_rpc_conn_flush(struct hf_rpc_conn *conn)
{
	hf_rpc_conn_enter(conn);
	if (conn->dirty)
		LIST_REMOVE(conn, dirty_link);
	conn->dirty = false;
	if (conn->broken != NULL)
		conn_end(conn, conn->broken);
	else if (conn->fd >= 0 && !conn->connecting && hf_buffer_len(&conn->out) > 0)
		conn_send(conn);
	hf_rpc_conn_leave(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct hf_rpc_conn *conn = arg;
	socklen_t len = sizeof(int);
	int err = 0;

	hf_rpc_conn_enter(conn);
	if (conn->connecting) {
		if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err != 0) {
			conn_end(conn, HF_RPC_CLOSE_RESET);
		} else if (event_add(&conn->readable, NULL) < 0) {
			conn_end(conn, HF_RPC_CLOSE_NO_MEMORY);
		} else {
			conn->connecting = false;
			conn->heard_ms = hf_loop_now_ms(conn->io->loop);
			conn->handler->on_open(conn);
		}
	} else if (hf_buffer_len(&conn->out) > 0) {
		conn_send(conn);
	}
	hf_rpc_conn_leave(conn);
}

int hf_rpc_conn_open(struct hf_rpc_conn *conn, int fd, bool connecting)
{
	struct event_base *base = conn->io->loop->base;
	int err;

	assert(conn->fd < 0 && conn->busy == 0 && !conn->released);
	event_assign(&conn->readable, base, fd, EV_READ | EV_PERSIST, on_readable, conn);
	event_assign(&conn->writable, base, fd, EV_WRITE, on_writable, conn);
	conn->broken = NULL;
	conn->blocked = conn->paused = false;
	conn->connecting = connecting;
	conn->fd = fd;
	conn->heard_ms = conn->sent_ms = hf_loop_now_ms(conn->io->loop);
	err = event_add(connecting ? &conn->writable : &conn->readable, NULL);
	if (err < 0)
		hf_rpc_conn_close(conn);
	return err < 0 ? -ENOMEM : 0;
}
