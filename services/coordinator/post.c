#include "post.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>

#include "hf_buffer.h"
#include "hf_id.h"
#include "sign.h"

#define HEADERS_MAX     16384 /* bytes of an answer's head */
#define CONNECTION_IDLE 60L   /* seconds a connection may have been idle and be used again */

struct post {
	LIST_ENTRY(post) link;
	struct post_pool *pool;
	CURL *easy;
	struct curl_slist *headers;
	post_cb cb;
	void *ctx;
	struct hf_buffer body;
	size_t header_bytes;
	bool too_large, denied, allowed;
	char error[CURL_ERROR_SIZE];
};

struct post_pool {
	struct hf_loop *loop;
	struct hf_webhook webhook;
	struct post_limits limits;
	CURLM *multi;
	struct hf_timer timer;
	struct hf_task task; /* finished transfers are told outside of libcurl's callbacks */
	LIST_HEAD(, post) posts;
};

static void post_free(struct post *post)
{
	LIST_REMOVE(post, link);
	if (post->easy != NULL) {
		curl_multi_remove_handle(post->pool->multi, post->easy);
		curl_easy_cleanup(post->easy);
	}
	curl_slist_free_all(post->headers);
	hf_buffer_deinit(&post->body);
	free(post);
}

static enum post_result result_of(const struct post *post, CURLcode code)
{
	if (post->too_large)
		return POST_TOO_LARGE;
	if (post->denied && !post->allowed)
		return POST_DENIED;
	switch (code) {
	case CURLE_OK:
		return POST_ANSWERED;
	case CURLE_OPERATION_TIMEDOUT:
		return POST_TIMEOUT;
	default:
		return POST_FAILED;
	}
}

static void finish(struct post *post, CURLcode code)
{
	struct post_outcome outcome = { .result = result_of(post, code) };
	const char *type = NULL;
	curl_off_t retry_after = 0;
	long status = 0;

	curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(post->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(post->easy, CURLINFO_RETRY_AFTER, &retry_after);
	outcome.status = (unsigned)status;
	outcome.retry_after_s = (uint32_t)HF_MIN(HF_MAX(retry_after, 0), (curl_off_t)86400);
	outcome.is_json = type != NULL && strncasecmp(type, "application/json", 16) == 0;
	outcome.body = hf_bytes_of(hf_buffer_data(&post->body), hf_buffer_len(&post->body));
	outcome.detail = post->denied             ? "address not allowed"
			 : post->error[0] != '\0' ? post->error
			 : code != CURLE_OK       ? curl_easy_strerror(code)
						  : "";
	post->cb(&outcome, post->ctx);
	post_free(post);
}

static void tell_finished(void *ctx)
{
	struct post_pool *pool = ctx;
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(pool->multi, &left)) != NULL) {
		struct post *post = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &post);
		finish(post, message->data.result);
	}
}

static void act(struct post_pool *pool, curl_socket_t fd, int what)
{
	int running;

	curl_multi_socket_action(pool->multi, fd, what, &running);
	hf_task_schedule(pool->loop, &pool->task);
}

static void on_event(evutil_socket_t fd, short what, void *ctx)
{
	act(ctx, fd,
	    (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wish(CURLM *multi, long timeout_ms, void *ctx)
{
	struct post_pool *pool = ctx;

	if (timeout_ms < 0)
		hf_wheel_disarm(&pool->timer);
	else
		hf_loop_arm(pool->loop, &pool->timer, (uint64_t)timeout_ms);
	return 0;
}

static int on_socket_wish(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct post_pool *pool = ctx;
	struct event *event = socket_ctx;
	short wanted = EV_PERSIST;

	if (event != NULL)
		event_free(event);
	event = NULL;
	if (what != CURL_POLL_REMOVE) {
		wanted |= what & CURL_POLL_IN ? EV_READ : 0;
		wanted |= what & CURL_POLL_OUT ? EV_WRITE : 0;
		/* Without memory the transfer's own timeout ends it. */
		event = event_new(pool->loop->base, fd, wanted, on_event, pool);
		if (event != NULL)
			event_add(event, NULL);
	}
	curl_multi_assign(pool->multi, fd, event);
	return 0;
}

/* The address is the one that connect(2) will get. */
static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct post *post = ctx;
	const struct hf_webhook *webhook = &post->pool->webhook;
	uint8_t ip[16];
	bool allowed = false;

	if (hf_cidr_address(&address->addr, ip)) {
		allowed = hf_cidr_is_public(ip);
		for (size_t i = 0; !allowed && i < webhook->network_count; i++)
			allowed = hf_cidr_has(&webhook->networks[i], ip);
	}
	if (!allowed) {
		post->denied = true;
		return CURL_SOCKET_BAD;
	}
	post->allowed = true;
	return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		      address->protocol);
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct post *post = ctx;

	post->header_bytes += size * count;
	return post->header_bytes > HEADERS_MAX ? 0 : size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct post *post = ctx;
	size_t len = size * count;
	uint8_t *room;

	if (hf_buffer_len(&post->body) + len > post->pool->limits.answer_max) {
		post->too_large = true;
		return 0; /* ends the transfer */
	}
	room = hf_buffer_reserve(&post->body, len);
	if (room == NULL)
		return 0;
	memcpy(room, data, len);
	hf_buffer_commit(&post->body, len);
	return len;
}

static int add_header(struct post *post, const char *text)
{
	struct curl_slist *longer = curl_slist_append(post->headers, text);

	if (longer == NULL)
		return -ENOMEM;
	post->headers = longer;
	return 0;
}

static int add_headers(struct post *post, const struct post_request *request)
{
	uint64_t timestamp_s = request->wall_ms / 1000;
	char number[HF_ID_TEXT_SIZE], id[HF_ID_TEXT_SIZE + 4], text[SIGN_SIZE + 32];
	char signature[SIGN_SIZE];
	int err;

	hf_id_format(request->id, number);
	snprintf(id, sizeof(id), "msg_%s", number);
	err = sign(&post->pool->webhook, id, timestamp_s,
		   hf_bytes_of(request->body, request->body_len), signature);
	if (err == 0)
		err = add_header(post, "Content-Type: application/json");
	if (err == 0)
		err = add_header(post, "Expect:"); /* no round trip before the body */
	snprintf(text, sizeof(text), "webhook-id: %s", id);
	if (err == 0)
		err = add_header(post, text);
	snprintf(text, sizeof(text), "webhook-timestamp: %" PRIu64, timestamp_s);
	if (err == 0)
		err = add_header(post, text);
	snprintf(text, sizeof(text), "webhook-signature: %s", signature);
	if (err == 0)
		err = add_header(post, text);
	snprintf(text, sizeof(text), "X-Holdfast-App: %" PRIu32, request->app);
	if (err == 0)
		err = add_header(post, text);
	snprintf(text, sizeof(text), "X-Holdfast-Attempt: %u", request->attempt);
	if (err == 0)
		err = add_header(post, text);
	return err;
}

static int set_options(struct post *post, const struct post_request *request)
{
	const struct post_pool *pool = post->pool;
	CURL *easy = post->easy;
	CURLcode code = CURLE_OK;

#define SET(option, value)                                            \
	do {                                                          \
		if (code == CURLE_OK)                                 \
			code = curl_easy_setopt(easy, option, value); \
	} while (0)
	SET(CURLOPT_URL, pool->webhook.url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L); /* a name that does not resolve must not hold the loop */
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_USERAGENT, "Holdfast");
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_POSTFIELDS, request->body);
	SET(CURLOPT_POSTFIELDSIZE, (long)request->body_len);
	SET(CURLOPT_HTTPHEADER, post->headers);
	SET(CURLOPT_TIMEOUT_MS, (long)pool->webhook.timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)pool->limits.connect_timeout_ms);
	SET(CURLOPT_MAXAGE_CONN, CONNECTION_IDLE);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, post);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, post);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, post);
	SET(CURLOPT_ERRORBUFFER, post->error);
	SET(CURLOPT_PRIVATE, post);
	if (pool->limits.ca_file[0] != '\0')
		SET(CURLOPT_CAINFO, pool->limits.ca_file);
#undef SET
	return code == CURLE_OK ? 0 : -ENOMEM;
}

int post_start(struct post_pool *pool, const struct post_request *request, post_cb cb, void *ctx)
{
	struct post *post = calloc(1, sizeof(*post));

	if (post == NULL)
		return -ENOMEM;
	post->pool = pool;
	post->cb = cb;
	post->ctx = ctx;
	LIST_INSERT_HEAD(&pool->posts, post, link);
	post->easy = curl_easy_init();
	if (post->easy == NULL || add_headers(post, request) < 0 ||
	    set_options(post, request) < 0 ||
	    curl_multi_add_handle(pool->multi, post->easy) != CURLM_OK) {
		post_free(post);
		return -ENOMEM;
	}
	return 0;
}

int post_pool_new(struct hf_loop *loop, const struct hf_webhook *webhook,
		  const struct post_limits *limits, struct post_pool **ret_pool)
{
	struct post_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return -ENOMEM;
	pool->loop = loop;
	pool->webhook = *webhook;
	pool->limits = *limits;
	LIST_INIT(&pool->posts);
	hf_timer_init(&pool->timer, on_timer, pool);
	hf_task_init(&pool->task, tell_finished, pool);
	pool->multi = curl_multi_init();
	if (pool->multi == NULL) {
		free(pool);
		return -ENOMEM;
	}
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wish);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wish);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)webhook->max_in_flight);
	curl_multi_setopt(pool->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*ret_pool = pool;
	return 0;
}

void post_pool_free(struct post_pool *pool)
{
	if (pool == NULL)
		return;
	while (!LIST_EMPTY(&pool->posts))
		post_free(LIST_FIRST(&pool->posts));
	curl_multi_cleanup(pool->multi);
	hf_task_cancel(pool->loop, &pool->task);
	hf_wheel_disarm(&pool->timer);
	free(pool);
}
