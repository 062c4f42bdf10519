/* common/service/hf_service.c - the life of a process, in order: see hf_service.h. */
#define HF_LOG_MODULE "service"
#include "hf_service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_log.h"
#include "hf_net.h"
#include "hf_service_internal.h"
#include "hf_version.h"

const char *const hf_log_level_choices[] = { "debug", "info", "warn", "error", NULL };
const char *const hf_log_format_choices[] = { "text", "json", NULL };

/* What others dial. An advertised host without a port gets the port we really listen on. */
static int set_rpc_address(struct hf_service *service, const char *advertise, const char *bound)
{
	size_t size = sizeof(service->instance.rpc);
	const char *port = strrchr(bound, ':');
	int len;

	if (advertise[0] == '\0')
		len = snprintf(service->instance.rpc, size, "%s", bound);
	else if (strchr(advertise, ':') != NULL || strncmp(bound, "unix:", 5) == 0 || port == NULL)
		len = snprintf(service->instance.rpc, size, "%s", advertise);
	else
		len = snprintf(service->instance.rpc, size, "%s%s", advertise, port);
	return len >= 0 && (size_t)len < size ? 0 : -ENAMETOOLONG;
}

int hf_service_serve_rpc(struct hf_service *service, ProtobufCService *service_impl)
{
	const struct hf_service_config *config = service->config;
	struct hf_rpc_server_options options = {
		.address = config->rpc_bind,
		.service = service_impl,
	};
	int err = hf_rpc_server_new(service->loop, service->metrics, &options, &service->rpc);
	struct sockaddr_storage dialed;
	socklen_t dialed_len;
	const char *address;

	if (err < 0) {
		HF_ERROR("rpc port not usable", "address=%s err=%s", config->rpc_bind,
			 strerror(-err));
		return err;
	}
	address = hf_rpc_server_address(service->rpc);
	err = set_rpc_address(service, config->rpc_advertise, address);
	if (err == 0)
		err = hf_net_parse(service->instance.rpc, &dialed, &dialed_len);
	if (err < 0) /* said now, as the others would only find that they can't reach us */
		HF_ERROR("rpc.advertise not usable", "address=%s err=%s why=\"numeric or unix:\"",
			 hf_log_quote(service->instance.rpc, strlen(service->instance.rpc)),
			 strerror(-err));
	else if (config->rpc_advertise[0] == '\0' &&
		 (strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0))
		HF_WARN("rpc.advertise is not set", "address=%s why=\"others can't dial that\"",
			address);
	return err;
}

void hf_service_fatal(struct hf_service *service, const char *reason)
{
	HF_ERROR("fatal", "why=%s", hf_log_quote(reason, strlen(reason)));
	hf_runtime_of(service)->status = HF_EXIT_FATAL;
	hf_loop_stop(service->loop);
}

/* Log, loop, metrics, keeper, admin port, the service itself, and last our name in the keeper. */
static int start(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;
	int err;

	hf_cluster_name_node(runtime);
	err = hf_runtime_setup_log(runtime);
	if (err < 0) {
		HF_ERROR("log file not usable", "file=%s err=%s",
			 hf_runtime_config(runtime)->log_file, strerror(-err));
		return err;
	}
	HF_INFO("starting", "role=%s version=" HF_VERSION " pid=%ld", service->type->name,
		(long)getpid());
	hf_process_raise_limits();
	service->loop = hf_loop_new();
	service->metrics = hf_metrics_new();
	if (service->loop == NULL || service->metrics == NULL) {
		HF_ERROR("no event loop", "err=%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	hf_process_metrics(runtime);

	err = hf_signals_start(runtime);
	if (err == 0)
		err = hf_cluster_join(runtime);
	if (err == 0)
		err = hf_why_init(&service->why, hf_runtime_config(runtime)->why_records,
				  service->salt);
	if (err == 0)
		err = hf_admin_start(runtime);
	if (err < 0)
		return err;
	err = service->type->start(service);
	if (err < 0) {
		HF_ERROR("start failed", "err=%s", strerror(-err));
		return err;
	}
	service->instance.state = HF_INSTANCE_SERVING;
	return hf_cluster_hold_instance(runtime);
}

static void run(struct hf_runtime *runtime)
{
	const struct hf_instance *instance = &runtime->service.instance;

	runtime->phase = HF_PHASE_SERVING;
	HF_INFO("serving", "number=%" PRIu32 " rpc=%s admin=%s", instance->number,
		instance->rpc[0] != '\0' ? instance->rpc : "none", instance->admin);
	hf_loop_run(runtime->service.loop);
}

/* Copes with a start that got half way. Peers learn first that we are gone; both servers go before
 * the service: its unanswered calls then end in the void. */
static void stop(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;
	bool start_called = runtime->admin != NULL;

	hf_cluster_leave(runtime);
	hf_rpc_server_free(service->rpc);
	service->rpc = NULL;
	hf_http_server_free(runtime->admin);
	if (start_called && service->type->stop != NULL)
		service->type->stop(service);
	if (service->loop != NULL)
		hf_signals_stop(runtime);
	hf_keeper_close(service->keeper);
	hf_loop_free(service->loop);
	hf_metrics_free(service->metrics);
	hf_why_deinit(&service->why);
	HF_INFO("stopped", "status=%d", runtime->status);
}

int hf_service_main(const struct hf_service_type *type, int argc, char **argv)
{
	struct hf_command command = { 0 };
	struct hf_runtime runtime = { .service.type = type, .command = &command };

	if (hf_command_run(type, argc, argv, &command, &runtime.config, &runtime.status)) {
		runtime.service.config = runtime.config;
		runtime.status = HF_EXIT_CLEAN;
		if (start(&runtime) == 0)
			run(&runtime);
		else if (runtime.status == HF_EXIT_CLEAN)
			runtime.status = HF_EXIT_START;
		stop(&runtime);
		hf_config_deinit(type->options, runtime.config);
		free(runtime.config);
	}
	hf_command_deinit(&command);
	return runtime.status;
}
