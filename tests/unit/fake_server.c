/* tests/unit/fake_server.c */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_server.h"
#include "hf_clock.h"

void server_open(struct server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);

	*server = (struct server){ .fd = -1 };
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(server->listener >= 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(server->listener, 16), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
	server->port = ntohs(address.sin_port);
	snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", server->port);
}

void server_hang_up(struct server *server)
{
	if (server->fd >= 0)
		close(server->fd);
	server->fd = -1;
	hf_buffer_clear(&server->in, 0);
}

void server_close(struct server *server)
{
	server_hang_up(server);
	if (server->listener >= 0)
		close(server->listener);
	server->listener = -1;
	hf_buffer_deinit(&server->in);
}

static void on_state(struct hf_client *client, const struct hf_client_status *status, void *ctx)
{
	struct record *record = ctx;

	record->states[status->state]++;
	record->code = status->code;
	record->retry_in_ms = status->retry_in_ms;
	snprintf(record->reason, sizeof(record->reason), "%s", status->reason);
	snprintf(record->node, sizeof(record->node), "%s", status->node);
	snprintf(record->endpoint, sizeof(record->endpoint), "%s", status->endpoint);
}

static void on_app(struct hf_client *client, uint32_t app, unsigned code, const char *reason,
		   void *ctx)
{
	struct record *record = ctx;

	record->app_code[app % HF_ARRAY_LEN(record->app_code)] = code;
}

static void on_message(struct hf_client *client, const struct hf_client_message *message, void *ctx)
{
	struct record *record = ctx;

	record->messages++;
	record->last_id = message->id;
	record->redelivered = message->redelivered;
	record->answers = message->answers;
	snprintf(record->payload, sizeof(record->payload), "%.*s", (int)message->payload_len,
		 (const char *)message->payload);
	if (record->messages == record->stop_after)
		hf_client_stop(client, 0);
}

static void on_messages_lost(struct hf_client *client, uint32_t app, unsigned count, void *ctx)
{
	struct record *record = ctx;

	record->lost += count;
}

static void on_send_result(struct hf_client *client, uint32_t app, uint32_t sequence, int result,
			   const char *reason, void *ctx)
{
	struct record *record = ctx;

	record->results++;
	record->result_sequence = sequence;
	record->result = result;
}

static void on_token_needed(struct hf_client *client, uint32_t app, unsigned code, void *ctx)
{
	struct record *record = ctx;

	record->token_asked++;
	if (record->next_token != NULL)
		assert_int_equal(hf_client_set_token(client, app, record->next_token), 0);
}

static void on_error(struct hf_client *client, enum hf_client_error error, const char *detail,
		     void *ctx)
{
	struct record *record = ctx;

	record->errors[error]++;
	snprintf(record->error_detail, sizeof(record->error_detail), "%s", detail);
}

void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ 0 };
	server_open(&f->server);
	f->address = f->server.address;
	hf_client_config_init(&f->config);
	f->config.device = "d1";
	f->config.addresses = &f->address;
	f->config.address_count = 1;
	f->config.first_retry_ms = 20;
	f->config.backoff_base_ms = 20;
	f->config.backoff_cap_ms = 40;
	f->config.ctx = &f->record;
	f->config.callbacks = (struct hf_client_callbacks){
		.on_state = on_state,
		.on_app = on_app,
		.on_message = on_message,
		.on_messages_lost = on_messages_lost,
		.on_send_result = on_send_result,
		.on_token_needed = on_token_needed,
		.on_error = on_error,
	};
}

void fixture_deinit(struct fixture *f)
{
	hf_client_free(f->client);
	server_close(&f->server);
}

void fixture_start(struct fixture *f)
{
	const struct hf_client_app app = { .app = 7, .registration = "r7", .token = "t7" };

	assert_int_equal(hf_client_new(&f->config, &f->client), 0);
	assert_int_equal(hf_client_attach(f->client, &app), 0);
	assert_int_equal(hf_client_start(f->client), 0);
}

void server_log_in(struct fixture *f)
{
	static struct hf_wire_login login;
	struct hf_wire_login_ack ack = { .heartbeat_s = 60, .node = HF_BYTES_LITERAL("n1") };
	uint8_t frame[HF_WIRE_CONTROL_MAX];
	unsigned before = f->record.states[HF_CLIENT_CONNECTED];
	struct hf_wire_frame request = server_frame(f, &f->server, HF_WIRE_LOGIN);

	assert_int_equal(hf_wire_decode_login(request.body, &login), 0);
	for (size_t i = 0; i < login.session_count; i++)
		ack.results[ack.result_count++].app = login.sessions[i].app;
	server_send_encoded(&f->server, frame,
			    hf_wire_encode_login_ack(&ack, frame, sizeof(frame)));
	PUMP_UNTIL(f, &f->server, f->record.states[HF_CLIENT_CONNECTED] > before);
}

void fixture_connect(struct fixture *f)
{
	fixture_start(f);
	server_log_in(f);
}

static void accept_one(struct server *server)
{
	int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	server_hang_up(server);
	server->fd = fd;
	server->closed = false;
	server->accepted++;
}

static void read_all(struct server *server)
{
	ssize_t n = 0;

	while (server->fd >= 0) {
		uint8_t *room = hf_buffer_reserve(&server->in, 4096);

		assert_non_null(room);
		n = recv(server->fd, room, 4096, 0);
		if (n <= 0)
			break;
		hf_buffer_commit(&server->in, (size_t)n);
	}
	if (server->fd >= 0 && (n == 0 || errno != EAGAIN)) {
		close(server->fd);
		server->fd = -1;
		server->closed = true;
	}
}

void turn(struct fixture *f, struct server *server, int wait_ms)
{
	struct pollfd fds[3] = { { .fd = hf_client_fd(f->client), .events = POLLIN },
				 { .fd = server->listener, .events = POLLIN },
				 { .fd = server->fd, .events = POLLIN } };
	int timeout = hf_client_next_timeout_ms(f->client);

	if (timeout < 0 || timeout > wait_ms)
		timeout = wait_ms;
	poll(fds, 3, timeout);
	assert_int_equal(hf_client_process(f->client), 0);
	if (server->listener >= 0)
		accept_one(server);
	read_all(server);
}

static bool frame_is_there(struct server *server, struct hf_wire_frame *ret_frame, ssize_t *ret_n)
{
	if (hf_buffer_len(&server->in) == 0)
		return false;
	*ret_n = hf_wire_decode(hf_buffer_data(&server->in), hf_buffer_len(&server->in), UINT32_MAX,
				ret_frame, NULL);
	assert_true(*ret_n >= 0);
	return *ret_n > 0;
}

struct hf_wire_frame server_frame(struct fixture *f, struct server *server, unsigned type)
{
	struct hf_wire_frame frame;
	ssize_t n;

	PUMP_UNTIL(f, server, frame_is_there(server, &frame, &n));
	assert_string_equal(hf_wire_type_name(frame.type), hf_wire_type_name(type));
	memcpy(server->held, hf_buffer_data(&server->in), (size_t)n);
	frame.body.data = server->held + ((size_t)n - frame.body.len);
	hf_buffer_drain(&server->in, (size_t)n);
	return frame;
}

void server_send(struct server *server, const void *data, size_t len)
{
	assert_int_equal(send(server->fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

void server_send_encoded(struct server *server, const uint8_t *frame, ssize_t n)
{
	assert_true(n > 0);
	server_send(server, frame, (size_t)n);
}

void server_push(struct server *server, uint64_t id, uint32_t app, const char *payload)
{
	const struct hf_wire_push push = {
		.message_id = id, .app = app, .qos = 1, .payload = hf_bytes_of_string(payload)
	};
	uint8_t frame[1024];

	server_send_encoded(server, frame, hf_wire_encode_push(&push, frame, sizeof(frame)));
}

void server_bye(struct server *server, unsigned code, uint32_t delay_ms, const char *endpoint)
{
	struct hf_wire_bye bye = { .code = code,
				   .delay_ms = delay_ms,
				   .reason = HF_BYTES_LITERAL("because") };
	uint8_t frame[1024];

	if (endpoint != NULL)
		bye.endpoints[bye.endpoint_count++] = hf_bytes_of_string(endpoint);
	server_send_encoded(server, frame, hf_wire_encode_bye(&bye, frame, sizeof(frame)));
}
