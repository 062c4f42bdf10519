/* common/service/hf_service_signals.c - what signals set off: drain, reload, log rotation. */
#define HF_LOG_MODULE "service"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_log.h"
#include "hf_service_internal.h"

#define DRAIN_POLL_MS 20
/* Peers learn from the keeper that we drain; until they have, they go on calling, and a process
 * that had nothing to do at that moment would leave them talking to nobody. */
#define DRAIN_NOTICE_MS 300
/* Answers in hand leave at the end of a turn, but a slow peer may keep them: not for ever. */
#define FLUSH_MAX_MS 1000

/* --- drain --- */

static bool is_drained(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;

	if (service->type->drained != NULL)
		return service->type->drained(service);
	return service->rpc == NULL || hf_rpc_server_running(service->rpc) == 0;
}

static void begin_flush(struct hf_runtime *runtime, uint64_t now_ms)
{
	runtime->phase = HF_PHASE_FLUSHING;
	runtime->flush_started_ms = now_ms;
	if (runtime->service.rpc != NULL)
		hf_rpc_server_drain(runtime->service.rpc);
}

static void check_drain(struct hf_runtime *runtime, uint64_t now_ms)
{
	struct hf_service *service = &runtime->service;
	uint64_t timeout_ms = hf_runtime_config(runtime)->drain_timeout_ms;
	uint64_t notice_ms = service->rpc != NULL ? HF_MIN(DRAIN_NOTICE_MS, timeout_ms) : 0;
	uint64_t elapsed_ms = now_ms - runtime->drain_started_ms;

	if (elapsed_ms >= notice_ms && is_drained(runtime)) {
		HF_INFO("drained", "after_ms=%" PRIu64, elapsed_ms);
		begin_flush(runtime, now_ms);
	} else if (elapsed_ms >= timeout_ms) {
		HF_WARN("drain timed out", "after_ms=%" PRIu64 " calls_unanswered=%u", elapsed_ms,
			service->rpc != NULL ? hf_rpc_server_running(service->rpc) : 0);
		begin_flush(runtime, now_ms);
	}
}

/* Every call is answered and every answer has left. */
static bool is_flushed(const struct hf_service *service)
{
	return service->rpc == NULL || (hf_rpc_server_running(service->rpc) == 0 &&
					!hf_rpc_server_has_output(service->rpc));
}

static void on_drain_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_runtime *runtime = ctx;
	struct hf_service *service = &runtime->service;
	uint64_t now_ms = hf_loop_now_ms(service->loop);

	if (runtime->phase == HF_PHASE_DRAINING) {
		check_drain(runtime, now_ms);
	} else if (is_flushed(service) || now_ms - runtime->flush_started_ms >= FLUSH_MAX_MS) {
		hf_loop_stop(service->loop);
		return;
	}
	hf_loop_arm(service->loop, timer, DRAIN_POLL_MS);
}

static void begin_drain(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;

	runtime->phase = HF_PHASE_DRAINING;
	runtime->drain_started_ms = hf_loop_now_ms(service->loop);
	*runtime->drain_active = 1;
	service->instance.state = HF_INSTANCE_DRAINING;
	hf_service_announce(service);
	HF_INFO("draining", "timeout_ms=%" PRIu64, hf_runtime_config(runtime)->drain_timeout_ms);
	if (service->type->drain != NULL)
		service->type->drain(service);
	hf_loop_arm(service->loop, &runtime->drain_timer, DRAIN_POLL_MS);
}

bool hf_service_drain(struct hf_service *service)
{
	struct hf_runtime *runtime = hf_runtime_of(service);

	if (runtime->phase != HF_PHASE_SERVING)
		return false;
	begin_drain(runtime);
	return true;
}

static void on_term(evutil_socket_t number, short what, void *arg)
{
	struct hf_runtime *runtime = arg;
	bool again = runtime->terminated;

	runtime->terminated = true;
	if (hf_service_drain(&runtime->service))
		return;
	if (!again && (runtime->phase == HF_PHASE_DRAINING || runtime->phase == HF_PHASE_FLUSHING))
		return; /* it drains because somebody asked for that */
	HF_WARN("leaving at once", "why=\"second TERM\"");
	hf_loop_stop(runtime->service.loop);
}

static void on_int(evutil_socket_t number, short what, void *arg)
{
	struct hf_runtime *runtime = arg;

	HF_INFO("leaving at once", "why=INT");
	hf_loop_stop(runtime->service.loop);
}

/* --- reload --- */

int hf_runtime_setup_log(struct hf_runtime *runtime)
{
	const struct hf_service_config *config = hf_runtime_config(runtime);
	struct hf_log_options options = {
		.level = (enum hf_log_level)config->log_level,
		.format = (enum hf_log_format)config->log_format,
		.file = config->log_file,
		.node = runtime->service.instance.id,
	};

	return hf_log_setup(&options);
}

/* What can't change while we run keeps its old value, so that the struct always says what is in
 * force. */
static unsigned keep_fixed_options(const struct hf_option *table, void *config, void *next)
{
	unsigned changed = 0;

	for (const struct hf_option *option = table; option->name != NULL; option++) {
		if (!hf_config_differs(option, config, next))
			continue;
		if (option->reloadable) {
			HF_INFO("option changed", "key=%s", option->name);
			changed++;
		} else {
			HF_WARN("option needs a restart", "key=%s", option->name);
			hf_config_swap(option, config, next);
		}
	}
	return changed;
}

/* `why` is a whole sentence, longer than hf_log_quote() keeps. What it quotes of the file is
 * printable already; only its own quotes must go. */
static void reload_failed(struct hf_runtime *runtime, char *why)
{
	for (char *p = why; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			*p = '\'';
	}
	HF_ERROR("reload refused", "why=\"%s\"", why);
	++*runtime->reloads_failed;
	*runtime->reload_successful = 0;
}

static void reload(struct hf_runtime *runtime)
{
	const struct hf_command *command = runtime->command;
	struct hf_service *service = &runtime->service;
	void *next = calloc(1, service->type->config_size), *old = runtime->config;
	char error[HF_CONFIG_ERROR_SIZE] = "out of memory";
	unsigned changed;

	if (next == NULL) {
		reload_failed(runtime, error);
		return;
	}
	if (hf_config_load(service->type->options, command->path, command->overrides,
			   command->override_count, next, error) < 0 ||
	    (service->type->check != NULL && service->type->check(next, error) < 0)) {
		reload_failed(runtime, error);
		hf_config_deinit(service->type->options, next);
		free(next);
		return;
	}
	changed = keep_fixed_options(service->type->options, old, next);
	runtime->config = next;
	service->config = next;
	if (hf_runtime_setup_log(runtime) < 0)
		HF_WARN("log file not reopened", "why=\"it goes on as it was\"");
	if (service->type->reload != NULL)
		service->type->reload(service, old);
	hf_config_deinit(service->type->options, old);
	free(old);

	++*runtime->reloads_ok;
	*runtime->reload_successful = 1;
	*runtime->reload_time = (int64_t)(hf_loop_wall_ms(service->loop) / 1000);
	HF_INFO("reloaded", "changed=%u", changed);
}

static void on_hup(evutil_socket_t number, short what, void *arg)
{
	reload(arg);
}

static void on_usr1(evutil_socket_t number, short what, void *arg)
{
	int err = hf_log_reopen();

	if (err < 0)
		HF_ERROR("log file not reopened", "err=%s", strerror(-err));
	else
		HF_INFO("log reopened", "pid=%ld", (long)getpid());
}

/* --- wiring --- */

int hf_signals_start(struct hf_runtime *runtime)
{
	static const struct {
		int number;
		event_callback_fn cb;
	} handlers[HF_SERVICE_SIGNALS] = {
		{ SIGTERM, on_term },
		{ SIGINT, on_int },
		{ SIGHUP, on_hup },
		{ SIGUSR1, on_usr1 },
	};

	signal(SIGPIPE, SIG_IGN);
	hf_timer_init(&runtime->drain_timer, on_drain_timer, runtime);
	for (size_t i = 0; i < HF_SERVICE_SIGNALS; i++) {
		runtime->signals[i] = evsignal_new(runtime->service.loop->base, handlers[i].number,
						   handlers[i].cb, runtime);
		if (runtime->signals[i] == NULL || event_add(runtime->signals[i], NULL) < 0) {
			HF_ERROR("signals not usable", "err=%s", strerror(ENOMEM));
			return -ENOMEM;
		}
	}
	return 0;
}

void hf_signals_stop(struct hf_runtime *runtime)
{
	hf_wheel_disarm(&runtime->drain_timer);
	for (size_t i = 0; i < HF_SERVICE_SIGNALS; i++) {
		if (runtime->signals[i] != NULL)
			event_free(runtime->signals[i]);
	}
}
