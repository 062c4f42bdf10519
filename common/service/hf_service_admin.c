/* common/service/hf_service_admin.c - the admin port: health, metrics, configuration, log level. */
#define HF_LOG_MODULE "admin"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_log.h"
#include "hf_service_internal.h"
#include "hf_version.h"

#define TEXT_TYPE    "text/plain; charset=utf-8"
#define JSON_TYPE    "application/json"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static const char *const phase_names[] = {
	[HF_PHASE_STARTING] = "starting", [HF_PHASE_SERVING] = "serving",
	[HF_PHASE_DRAINING] = "draining", [HF_PHASE_FLUSHING] = "draining",
	[HF_PHASE_STOPPED] = "stopped",
};

const char *hf_admin_not_ready(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;

	if (runtime->phase != HF_PHASE_SERVING)
		return phase_names[runtime->phase];
	if (runtime->announce_err < 0)
		return "not announced in the keeper";
	return service->type->not_ready != NULL ? service->type->not_ready(service) : NULL;
}

static void respond_text(struct hf_http_exchange *exchange, unsigned status, const char *text)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "%s\n", text);

	hf_http_respond(exchange, status, TEXT_TYPE, line,
			HF_MIN((size_t)HF_MAX(len, 0), sizeof(line) - 1));
}

static void respond_out_of_memory(struct hf_http_exchange *exchange)
{
	hf_http_respond_error(exchange, 503, "UNAVAILABLE", "OVERLOADED", "out of memory", NULL,
			      NULL, 1);
}

/* Takes `root`. */
static void respond_json(struct hf_http_exchange *exchange, unsigned status, json_t *root)
{
	char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
	struct hf_buffer out = { 0 };

	if (text != NULL && hf_buffer_printf(&out, "%s\n", text) == 0)
		hf_http_respond(exchange, status, JSON_TYPE, hf_buffer_data(&out),
				hf_buffer_len(&out));
	else
		respond_out_of_memory(exchange);
	hf_buffer_deinit(&out);
	free(text);
	json_decref(root);
}

static void on_livez(struct hf_runtime *runtime, struct hf_http_exchange *exchange)
{
	respond_text(exchange, 200, "ok");
}

static void on_readyz(struct hf_runtime *runtime, struct hf_http_exchange *exchange)
{
	const struct hf_service *service = &runtime->service;
	const char *why = hf_admin_not_ready(runtime), *remark = NULL;
	unsigned status = why == NULL ? 200 : 503;
	struct hf_bytes query = hf_http_exchange_request(exchange)->query;

	if (hf_http_query(query, "verbose").data == NULL) {
		respond_text(exchange, status, why == NULL ? "ok" : why);
		return;
	}
	if (runtime->phase == HF_PHASE_SERVING && service->type->remark != NULL)
		remark = service->type->remark(&runtime->service);
	respond_json(
		exchange, status,
		json_pack("{s:b,s:s,s:s?,s:s?,s:s,s:s,s:i,s:i}", "ready", why == NULL, "state",
			  phase_names[runtime->phase], "reason", why, "remark", remark, "role",
			  service->type->name, "node", service->instance.id, "calls_unanswered",
			  service->rpc != NULL ? (int)hf_rpc_server_running(service->rpc) : 0,
			  "drain_ms",
			  runtime->phase >= HF_PHASE_DRAINING
				  ? (int)(hf_loop_now_ms(service->loop) - runtime->drain_started_ms)
				  : 0));
}

static void on_metrics(struct hf_runtime *runtime, struct hf_http_exchange *exchange)
{
	struct hf_buffer out = { 0 };

	if (hf_metrics_write(runtime->service.metrics, &out) == 0)
		hf_http_respond(exchange, 200, METRICS_TYPE, hf_buffer_data(&out),
				hf_buffer_len(&out));
	else
		respond_out_of_memory(exchange);
	hf_buffer_deinit(&out);
}

static void on_version(struct hf_runtime *runtime, struct hf_http_exchange *exchange)
{
	const struct hf_instance *instance = &runtime->service.instance;
	char incarnation[HF_ID_TEXT_SIZE];

	hf_id_format(instance->incarnation, incarnation);
	respond_json(exchange, 200,
		     json_pack("{s:s,s:s,s:s,s:i,s:s,s:I,s:i}", "version", HF_VERSION, "role",
			       runtime->service.type->name, "node", instance->id, "number",
			       (int)instance->number, "incarnation", incarnation, "since_ms",
			       (json_int_t)instance->since_ms, "pid", (int)getpid()));
}

static void on_config(struct hf_runtime *runtime, struct hf_http_exchange *exchange)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out != NULL)
		hf_config_dump(runtime->service.type->options, runtime->config, out);
	if (out != NULL && fclose(out) == 0)
		hf_http_respond(exchange, 200, TEXT_TYPE, text, len);
	else
		respond_out_of_memory(exchange);
	free(text);
}

static void on_set_level(struct hf_runtime *runtime, struct hf_http_exchange *exchange,
			 struct hf_bytes name)
{
	for (int level = 0; hf_log_level_choices[level] != NULL; level++) {
		if (!hf_bytes_equal(hf_bytes_of_string(hf_log_level_choices[level]), name))
			continue;
		hf_log_set_level((enum hf_log_level)level);
		HF_INFO("log level set", "level=%s peer=%s", hf_log_level_choices[level],
			hf_http_exchange_peer(exchange));
		respond_text(exchange, 200, hf_log_level_choices[level]);
		return;
	}
	hf_http_respond_error(exchange, 400, "INVALID_ARGUMENT", "BAD_LOG_LEVEL",
			      "the level must be debug, info, warn or error", NULL, NULL, -1);
}

static const struct {
	const char *path;
	void (*handle)(struct hf_runtime *runtime, struct hf_http_exchange *exchange);
} routes[] = {
	{ "/livez", on_livez },     { "/readyz", on_readyz }, { "/metrics", on_metrics },
	{ "/version", on_version }, { "/config", on_config },
};

static void method_not_allowed(struct hf_http_exchange *exchange, const char *allowed)
{
	hf_http_add_header(exchange, "Allow", allowed);
	hf_http_respond_error(exchange, 405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED",
			      "this path does not take this method", NULL, NULL, -1);
}

static bool is_method(const struct hf_http_request *request, const char *name)
{
	return hf_bytes_equal(request->method, hf_bytes_of_string(name));
}

static void on_request(struct hf_http_exchange *exchange, void *ctx)
{
	static const char log_prefix[] = "/log/";
	struct hf_runtime *runtime = ctx;
	struct hf_service *service = &runtime->service;
	const struct hf_http_request *request = hf_http_exchange_request(exchange);
	struct hf_bytes path = request->path;

	for (size_t i = 0; i < HF_ARRAY_LEN(routes); i++) {
		if (!hf_bytes_equal(path, hf_bytes_of_string(routes[i].path)))
			continue;
		if (is_method(request, "GET") || is_method(request, "HEAD"))
			routes[i].handle(runtime, exchange);
		else
			method_not_allowed(exchange, "GET, HEAD");
		return;
	}
	if (path.len > strlen(log_prefix) &&
	    memcmp(path.data, log_prefix, strlen(log_prefix)) == 0) {
		if (is_method(request, "PUT"))
			on_set_level(runtime, exchange,
				     hf_bytes_of(path.data + strlen(log_prefix),
						 path.len - strlen(log_prefix)));
		else
			method_not_allowed(exchange, "PUT");
		return;
	}
	/* Before start() is through, the service's own routes have nothing to look at. */
	if (runtime->phase != HF_PHASE_STARTING && service->type->admin != NULL &&
	    service->type->admin(service, exchange))
		return;
	hf_http_respond_error(exchange, 404, "NOT_FOUND", "NO_ROUTE", "there is no such path", NULL,
			      NULL, -1);
}

int hf_admin_start(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;
	struct hf_http_server_options options = {
		.address = hf_runtime_config(runtime)->admin_bind,
		.name = "admin",
		.body_max = 65536,
		.connections_max = 64,
		.on_request = on_request,
		.ctx = runtime,
	};
	int err = hf_http_server_new(service->loop, service->metrics, &options, &runtime->admin);

	if (err < 0) {
		HF_ERROR("admin port not usable", "address=%s err=%s", options.address,
			 strerror(-err));
		return err;
	}
	snprintf(service->instance.admin, sizeof(service->instance.admin), "%s",
		 hf_http_server_address(runtime->admin));
	return 0;
}
