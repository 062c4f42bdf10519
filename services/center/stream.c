/* services/center/stream.c - POST .../messages/stream: a message a line in, its result a line out.
 *
 * Results come in the order of the lines. At most stream.in_flight messages are under way; then, or
 * when the client does not read its results, no more is read from it. */
#include <stdlib.h>

#include "api.h"
#include "hf_buffer.h"
#include "problem.h"
#include "send.h"

#define PENDING_MAX (64u << 10) /* unread result bytes above which reading stops */

struct line {
	struct stream *stream;
	struct send *send;
	struct hf_buffer result;
	bool over;
};

struct stream {
	struct center *center;
	struct hf_http_exchange *exchange;
	uint32_t app;
	struct hf_buffer in; /* lines not begun yet */
	struct hf_task task;
	bool ended;  /* the client has sent all */
	bool broken; /* a line was too long: nothing after it can be trusted to be a line */
	size_t first, used, room; /* ring: results are written from `first` on */
	struct line lines[];
};

static void stream_free(struct stream *stream)
{
	hf_task_cancel(stream->center->loop, &stream->task);
	for (size_t i = 0; i < stream->room; i++)
		hf_buffer_deinit(&stream->lines[i].result);
	hf_buffer_deinit(&stream->in);
	free(stream);
}

static void on_sent(const struct send_answer *answer, void *ctx)
{
	struct line *line = ctx;

	line->send = NULL;
	line->over = true;
	if (hf_buffer_append(&line->result, hf_buffer_data(answer->text),
			     hf_buffer_len(answer->text)) < 0)
		line->stream->broken = true;
	hf_task_schedule(line->stream->center->loop, &line->stream->task);
}

static struct line *take_slot(struct stream *stream)
{
	struct line *line = &stream->lines[(stream->first + stream->used) % stream->room];

	stream->used++;
	line->stream = stream;
	line->over = false;
	return line;
}

static void refuse_line(struct stream *stream, const struct problem *problem)
{
	struct line *line = take_slot(stream);
	char *text = problem_text(problem, hf_http_exchange_request_id(stream->exchange));

	center_count_refusal(stream->center, problem->reason);
	if (text != NULL && hf_buffer_append(&line->result, text, strlen(text)) < 0)
		stream->broken = true;
	free(text);
	line->over = true;
}

static void begin_line(struct stream *stream, struct hf_bytes text)
{
	const struct hf_app *app = hf_apps_get(stream->center->apps, stream->app);
	struct problem problem;
	struct line *line;
	struct send_input input = {
		.app = app,
		.text = text,
		.request_id = hf_http_exchange_request_id(stream->exchange),
	};

	if (app == NULL || !app->enabled) {
		problem_set(&problem, 403, "APP_DISABLED", NULL, NULL, "the app is disabled");
		refuse_line(stream, &problem);
		return;
	}
	line = take_slot(stream);
	line->send = send_begin(stream->center, &input, on_sent, line);
}

/* The next line of what came, without its end. false: none is whole. */
static bool next_line(struct stream *stream, struct hf_bytes *ret_line, size_t *ret_used)
{
	const uint8_t *data = hf_buffer_data(&stream->in);
	size_t len = hf_buffer_len(&stream->in);
	const uint8_t *end = len > 0 ? memchr(data, '\n', len) : NULL;

	if (len == 0 || (end == NULL && !stream->ended))
		return false;
	*ret_line = hf_bytes_of(data, end != NULL ? (size_t)(end - data) : len);
	*ret_used = ret_line->len + (end != NULL);
	if (ret_line->len > 0 && ret_line->data[ret_line->len - 1] == '\r')
		ret_line->len--;
	return true;
}

static bool has_line(struct stream *stream)
{
	struct hf_bytes line;
	size_t used;

	return next_line(stream, &line, &used);
}

static void check_length(struct stream *stream)
{
	struct problem problem;

	if (hf_buffer_len(&stream->in) <= stream->center->config->body_max ||
	    stream->used == stream->room)
		return;
	problem_set(&problem, 413, "PAYLOAD_TOO_LARGE", NULL, NULL,
		    "a line has more than %zu bytes; the stream ends here",
		    (size_t)stream->center->config->body_max);
	refuse_line(stream, &problem);
	stream->broken = true;
}

static void begin_lines(struct stream *stream)
{
	struct hf_bytes text;
	size_t used;

	while (!stream->broken && stream->used < stream->room) {
		if (!next_line(stream, &text, &used)) {
			check_length(stream);
			break;
		}
		if (text.len > 0)
			begin_line(stream, text);
		hf_buffer_drain(&stream->in, used);
	}
}

static void write_results(struct stream *stream)
{
	while (stream->used > 0 && stream->lines[stream->first].over) {
		struct line *line = &stream->lines[stream->first];

		if (hf_buffer_append(&line->result, "\n", 1) == 0)
			hf_http_stream_write(stream->exchange, hf_buffer_data(&line->result),
					     hf_buffer_len(&line->result));
		hf_buffer_clear(&line->result, 4096);
		stream->first = (stream->first + 1) % stream->room;
		stream->used--;
	}
}

/* Everything that may move a stream ends here, once a turn. */
static void on_task(void *ctx)
{
	struct stream *stream = ctx;
	bool held_up;

	write_results(stream);
	if (hf_http_stream_pending(stream->exchange) < PENDING_MAX)
		begin_lines(stream);
	write_results(stream); /* of lines that were refused at once */
	if (stream->used == 0 &&
	    (stream->broken || (stream->ended && hf_buffer_len(&stream->in) == 0))) {
		hf_http_stream_end(stream->exchange);
		stream_free(stream);
		return;
	}
	held_up = stream->used == stream->room ||
		  hf_http_stream_pending(stream->exchange) >= PENDING_MAX;
	if (held_up || stream->broken)
		hf_http_stream_pause(stream->exchange);
	else
		hf_http_stream_resume(stream->exchange);
	if (stream->used == 0 && !held_up && has_line(stream))
		hf_task_schedule(stream->center->loop, &stream->task); /* nobody else will */
}

static void on_data(struct hf_http_exchange *exchange, struct hf_bytes piece, void *ctx)
{
	struct stream *stream = ctx;

	if (piece.len == 0)
		stream->ended = true;
	else if (!stream->broken && hf_buffer_append(&stream->in, piece.data, piece.len) < 0)
		stream->broken = true;
	hf_http_stream_pause(exchange); /* until on_task has seen it */
	hf_task_schedule(stream->center->loop, &stream->task);
}

static void on_written(struct hf_http_exchange *exchange, void *ctx)
{
	struct stream *stream = ctx;

	hf_task_schedule(stream->center->loop, &stream->task);
}

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	struct stream *stream = ctx;

	for (size_t i = 0; i < stream->room; i++)
		if (stream->lines[i].send != NULL)
			send_detach(stream->lines[i].send);
	stream_free(stream);
}

/* Runs with the head: the body comes in pieces. */
void api_send_stream(struct call *call)
{
	size_t room = (size_t)call->center->config->stream_in_flight;
	struct stream *stream = calloc(1, sizeof(*stream) + room * sizeof(stream->lines[0]));
	struct problem problem;

	if (stream == NULL) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		api_fail(call, &problem);
		return;
	}
	stream->center = call->center;
	stream->exchange = call->exchange;
	stream->app = call->app_id;
	stream->room = room;
	hf_task_init(&stream->task, on_task, stream);
	hf_http_exchange_on_abort(call->exchange, on_client_left, stream);
	hf_http_exchange_stream(call->exchange, on_data, stream);
	hf_http_stream_on_written(call->exchange, on_written, stream);
	hf_http_stream_begin(call->exchange, 200, "application/x-ndjson");
}
