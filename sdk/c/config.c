/* sdk/c/config.c - makes a client of a configuration, and takes it apart. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client.h"
#include "hf_clock.h"
#include "hf_text.h"

void hf_client_config_init(struct hf_client_config *config)
{
	*config = (struct hf_client_config){
		.struct_size = sizeof(*config),
		.platform = "linux",
		.auto_ack = 1,
		.dedup_ids = 1024,
		.connect_timeout_ms = 10000,
		.login_timeout_ms = 10000,
		.pong_timeout_ms = 10000,
		.first_retry_ms = 5000,
		.backoff_base_ms = 1000,
		.backoff_cap_ms = 120000,
		.stable_ms = 60000,
	};
}

static bool is_id(const char *text, size_t max)
{
	return text != NULL && hf_text_is_id(text, strlen(text), max);
}

static bool config_is_valid(const struct hf_client_config *config)
{
	const unsigned times[] = { config->connect_timeout_ms, config->login_timeout_ms,
				   config->pong_timeout_ms, config->backoff_base_ms,
				   config->backoff_cap_ms };
	struct endpoint endpoint;

	if (config->struct_size != sizeof(*config) || !is_id(config->device, HF_DEVICE_MAX) ||
	    !is_id(config->platform, HF_WIRE_LABEL_MAX) ||
	    (unsigned)config->network > HF_CLIENT_NETWORK_ETHERNET || config->dedup_ids < 16 ||
	    config->dedup_ids > 8192 || config->dispatcher_count > DISPATCHERS_MAX ||
	    config->address_count > SELECTION_FIXED_MAX ||
	    config->dispatcher_count + config->address_count == 0)
		return false;
	for (size_t i = 0; i < HF_ARRAY_LEN(times); i++) {
		if (times[i] == 0 || times[i] > 3600000)
			return false;
	}
	for (size_t i = 0; i < config->dispatcher_count; i++) {
		if (!fetch_url_is_valid(config->dispatchers[i]))
			return false;
	}
	for (size_t i = 0; i < config->address_count; i++) {
		if (endpoint_parse(hf_bytes_of_string(config->addresses[i]), false, &endpoint) < 0)
			return false;
	}
	return config->first_retry_ms <= 3600000 && config->stable_ms <= 3600000;
}

/* Replaces *text, which is the caller's, by a copy of ours. */
static bool own(const char **text)
{
	if (*text == NULL)
		return true;
	*text = strdup(*text);
	return *text != NULL;
}

static int take_config(struct hf_client *client, const struct hf_client_config *config)
{
	struct hf_client_config *ours = &client->config;
	bool ok;

	*ours = *config;
	ours->dispatchers = ours->addresses = NULL;
	ok = own(&ours->device);
	ok &= own(&ours->platform);
	ok &= own(&ours->ca_file);
	ok &= own(&ours->tls_name);
	ok &= own(&ours->cache_file);
	for (size_t i = 0; i < config->dispatcher_count; i++) {
		client->dispatchers[i] = strdup(config->dispatchers[i]);
		ok &= client->dispatchers[i] != NULL;
		client->dispatcher_count = i + 1;
	}
	for (size_t i = 0; i < config->address_count; i++) {
		if (endpoint_parse(hf_bytes_of_string(config->addresses[i]), config->tls,
				   &client->selection.fixed[i]) < 0)
			return -EINVAL;
		client->selection.fixed_count = i + 1;
	}
	return ok ? 0 : -ENOMEM;
}

int hf_client_new(const struct hf_client_config *config, struct hf_client **ret_client)
{
	struct hf_client *client;
	int err;

	if (!config_is_valid(config))
		return -EINVAL;
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return -ENOMEM;
	client->transport.fd = -1;
	client->epoll_fd = -1;
	client->backoff = (struct hf_backoff){ .base_ms = config->backoff_base_ms,
					       .cap_ms = config->backoff_cap_ms };
	client->fetch_reason = "start";
	err = take_config(client, config);
	if (err < 0)
		goto fail;
	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll_fd < 0) {
		err = -errno;
		goto fail;
	}
	if (client->config.cache_file != NULL)
		selection_load(&client->selection, client->config.cache_file, config->tls,
			       hf_clock_wall_ms());
	*ret_client = client;
	return 0;

fail:
	hf_client_free(client);
	return err;
}

void hf_client_free(struct hf_client *client)
{
	if (client == NULL)
		return;
	client_close_transport(client, true);
	transport_tls_free(client->tls_context);
	if (client->epoll_fd >= 0)
		close(client->epoll_fd);
	for (size_t i = 0; i < client->app_count; i++)
		app_free(client->apps[i]);
	for (size_t i = 0; i < client->dispatcher_count; i++)
		free(client->dispatchers[i]);
	hf_buffer_deinit(&client->in);
	hf_buffer_deinit(&client->out);
	free((char *)client->config.device);
	free((char *)client->config.platform);
	free((char *)client->config.ca_file);
	free((char *)client->config.tls_name);
	free((char *)client->config.cache_file);
	free(client);
}
