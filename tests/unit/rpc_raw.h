/* tests/unit/rpc_raw.h - the other side of a link as bare bytes: for tests that break the rules. */
#ifndef RPC_RAW_H
#define RPC_RAW_H

#include "rpc_fixture.h"

/* A bare socket that collects what it hears. */
struct raw {
	struct fixture *f;
	int fd, listener;
	struct event *readable;
	struct hf_buffer in;
	bool eof, deaf;
};

static inline void on_raw_readable(evutil_socket_t fd, short what, void *arg)
{
	struct raw *raw = arg;
	uint8_t bytes[65536];
	ssize_t n = recv(raw->fd, bytes, sizeof(bytes), 0);

	if (n > 0) {
		assert_int_equal(hf_buffer_append(&raw->in, bytes, (size_t)n), 0);
		return;
	}
	raw->eof = true;
	event_del(raw->readable);
}

static inline void raw_start(struct raw *raw, int fd)
{
	raw->fd = fd;
	raw->readable =
		event_new(raw->f->loop->base, fd, EV_READ | EV_PERSIST, on_raw_readable, raw);
	assert_non_null(raw->readable);
	if (!raw->deaf)
		event_add(raw->readable, NULL);
}

static inline void raw_connect(struct raw *raw, struct fixture *f, bool deaf)
{
	struct sockaddr_storage address;
	socklen_t len;
	int fd;

	*raw = (struct raw){ .f = f, .listener = -1, .deaf = deaf };
	assert_int_equal(hf_net_parse(f->address, &address, &len), 0);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	raw_start(raw, fd);
}

static inline void on_raw_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct raw *raw = arg;
	int peer = hf_net_accept(raw->listener, NULL);

	assert_true(peer >= 0);
	raw_start(raw, peer);
}

/* Listens, and takes the first who comes. */
static inline struct event *raw_listen(struct raw *raw, struct fixture *f)
{
	struct event *acceptable;

	*raw = (struct raw){ .f = f, .fd = -1, .listener = hf_net_listen("127.0.0.1:0", 8) };
	assert_true(raw->listener >= 0);
	assert_int_equal(hf_net_local(raw->listener, f->address), 0);
	acceptable = event_new(f->loop->base, raw->listener, EV_READ, on_raw_acceptable, raw);
	assert_non_null(acceptable);
	event_add(acceptable, NULL);
	return acceptable;
}

static inline void raw_close(struct raw *raw)
{
	if (raw->readable != NULL)
		event_free(raw->readable);
	if (raw->fd >= 0)
		close(raw->fd);
	if (raw->listener >= 0)
		close(raw->listener);
	hf_buffer_deinit(&raw->in);
	*raw = (struct raw){ .fd = -1, .listener = -1 };
}

static inline void raw_send(struct raw *raw, const void *data, size_t len)
{
	assert_int_equal(send(raw->fd, data, len, MSG_NOSIGNAL), len);
}

static inline size_t frame_build(uint8_t *ret, enum hf_rpc_kind kind, uint32_t id, uint16_t method,
				 const void *body, size_t len)
{
	hf_rpc_header_encode(ret, kind, id, method, (uint32_t)len);
	if (len > 0)
		memcpy(ret + HF_RPC_HEADER_SIZE, body, len);
	return HF_RPC_HEADER_SIZE + len;
}

static inline void raw_send_frame(struct raw *raw, enum hf_rpc_kind kind, uint32_t id,
				  uint16_t method, const void *body, size_t len)
{
	uint8_t wire[512];

	raw_send(raw, wire, frame_build(wire, kind, id, method, body, len));
}

static inline void raw_greet(struct raw *raw, uint16_t version, enum hf_rpc_role role,
			     const char *name, uint32_t ping_ms)
{
	struct hf_rpc_hello hello = { version, role, hf_rpc_service_hash(name), ping_ms };
	uint8_t body[HF_RPC_HELLO_SIZE];

	hf_rpc_hello_encode(&hello, body);
	raw_send_frame(raw, HF_RPC_HELLO, 0, 0, body, sizeof(body));
}

static inline bool raw_has(struct raw *raw, struct hf_rpc_frame *ret_frame)
{
	return hf_rpc_frame_decode(hf_buffer_data(&raw->in), hf_buffer_len(&raw->in), ret_frame) >
	       0;
}

/* The next frame; its body is valid until the next call. */
static inline void raw_expect(struct raw *raw, enum hf_rpc_kind kind,
			      struct hf_rpc_frame *ret_frame)
{
	static uint8_t last[1024];

	RUN_UNTIL(raw->f, raw_has(raw, ret_frame));
	assert_int_equal(ret_frame->kind, kind);
	assert_true(ret_frame->body.len <= sizeof(last));
	memcpy(last, ret_frame->body.data, ret_frame->body.len);
	ret_frame->body.data = last;
	hf_buffer_drain(&raw->in, HF_RPC_HEADER_SIZE + ret_frame->body.len);
}

static inline void raw_connect_greeted(struct raw *raw, struct fixture *f)
{
	struct hf_rpc_frame frame;

	raw_connect(raw, f, false);
	raw_greet(raw, HF_RPC_VERSION, HF_RPC_CLIENT, "test.Echo", 1000);
	raw_expect(raw, HF_RPC_HELLO, &frame);
}

/* Echo request of `number` with the ECHO_ behaviour `what`. */
static inline size_t request_body(uint8_t *ret, int what, uint32_t number)
{
	Hf__ClaimReply request = HF__CLAIM_REPLY__INIT;

	request.result = (Hf__ClaimResult)what;
	request.status = number;
	return hf__claim_reply__pack(&request, ret);
}

static inline void expect_reply(struct raw *raw, uint32_t id, uint32_t number)
{
	struct hf_rpc_frame frame;
	Hf__ClaimReply *reply;

	raw_expect(raw, HF_RPC_REPLY, &frame);
	assert_int_equal(frame.call_id, id);
	reply = hf__claim_reply__unpack(NULL, frame.body.len, frame.body.data);
	assert_non_null(reply);
	assert_int_equal(reply->status, number);
	hf__claim_reply__free_unpacked(reply, NULL);
}

#endif
