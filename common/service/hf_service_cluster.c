/* common/service/hf_service_cluster.c - our place in the keeper: node number, salt, instance
 * record. */
#define HF_LOG_MODULE "service"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_hash.h"
#include "hf_log.h"
#include "hf_service_internal.h"

#define SALT_PATH         "config/cluster"
#define SALT_DIGITS       16
#define ANNOUNCE_RETRY_MS 1000
#define LOOK_MS           5000 /* between looks whether our entries are still there */
#define PATH_SIZE         192

bool hf_cluster_is_node_id(const char *id)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";

	return id[0] != '\0' && id[0] != '.' && strlen(id) <= HF_NODE_ID_MAX &&
	       id[strspn(id, allowed)] == '\0';
}

/* <service>-<host>-<pid>; a host name that is long or odd is cut and cleaned. */
static void default_node_id(const char *service, char ret[HF_NODE_ID_MAX + 1])
{
	char host[HF_NODE_ID_MAX + 1] = "localhost";

	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	for (char *p = host; *p != '\0'; p++) {
		char one[2] = { *p, '\0' };

		if (!hf_cluster_is_node_id(one))
			*p = '-';
	}
	snprintf(ret, HF_NODE_ID_MAX + 1, "%s-%.32s-%ld", service, host, (long)getpid());
}

static int hold_number(struct hf_runtime *runtime, uint32_t number)
{
	const char *id = runtime->service.instance.id;
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "numbers/%" PRIu32, number);
	return hf_keeper_hold(runtime->service.keeper, path, id, strlen(id));
}

/* The number is ours for as long as we live. The search starts at a place that depends on the id,
 * so that a restarted process mostly gets the number it had. */
static int claim_number(struct hf_runtime *runtime)
{
	struct hf_instance *instance = &runtime->service.instance;
	size_t len = strlen(instance->id);
	uint32_t first = hf_slot(0, 0, instance->id, len) % HF_ID_NODE_MAX;

	for (uint32_t i = 0; i < HF_ID_NODE_MAX; i++) {
		uint32_t number = (first + i) % HF_ID_NODE_MAX + 1;
		int err = hold_number(runtime, number);

		if (err == 0)
			instance->number = number;
		if (err != -EBUSY)
			return err;
	}
	return -EBUSY;
}

static int make_salt(struct hf_keeper *keeper)
{
	uint8_t bytes[SALT_DIGITS / 2];
	char text[64];
	int len = snprintf(text, sizeof(text), "{\"salt\":\"");
	int err;

	hf_random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%02x", bytes[i]);
	len += snprintf(text + len, sizeof(text) - (size_t)len, "\"}");
	err = hf_keeper_create(keeper, SALT_PATH, text, (size_t)len);
	return err == -EEXIST ? 0 : err; /* somebody was faster: theirs it is */
}

static int parse_salt(const char *text, size_t len, uint64_t *ret_salt)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *salt = json_string_value(json_object_get(root, "salt"));
	int err = -EINVAL;

	if (salt != NULL && strlen(salt) == SALT_DIGITS &&
	    strspn(salt, "0123456789abcdef") == SALT_DIGITS) {
		*ret_salt = strtoull(salt, NULL, 16);
		err = 0;
	}
	json_decref(root);
	return err;
}

static int read_salt(struct hf_runtime *runtime)
{
	struct hf_keeper *keeper = runtime->service.keeper;
	char *text = NULL;
	size_t len = 0;
	int err = hf_keeper_get(keeper, SALT_PATH, &text, &len);

	if (err == -ENOENT) {
		err = make_salt(keeper);
		if (err == 0)
			err = hf_keeper_get(keeper, SALT_PATH, &text, &len);
	}
	if (err == 0)
		err = parse_salt(text, len, &runtime->service.salt);
	free(text);
	return err;
}

/* --- the instance record --- */

static int write_instance(struct hf_runtime *runtime)
{
	const struct hf_instance *instance = &runtime->service.instance;
	char *text = hf_instance_encode(instance);
	struct hf_instance read_back;
	char path[PATH_SIZE];
	int err;

	if (text == NULL)
		return -ENOMEM;
	snprintf(path, sizeof(path), "instances/%s/%s", runtime->service.type->name, instance->id);
	/* A zone or an address that no peer accepts would leave us serving unseen. */
	err = hf_instance_decode(text, strlen(text), &read_back);
	if (err == 0)
		err = hf_keeper_hold(runtime->service.keeper, path, text, strlen(text));
	free(text);
	return err;
}

/* With that value, or with any if it is NULL. What can't be read now is taken for there. */
static bool is_there(struct hf_runtime *runtime, const char *path, const char *value)
{
	char *text = NULL;
	size_t len;
	int err = hf_keeper_get(runtime->service.keeper, path, &text, &len);
	bool there = err < 0 ? err != -ENOENT : value == NULL || strcmp(text, value) == 0;

	free(text);
	return there;
}

/* Entries are removed by hand, or by whoever tidies up the folder. Without them nobody finds us,
 * and another process may take our number. */
static bool are_entries_there(struct hf_runtime *runtime)
{
	const struct hf_instance *instance = &runtime->service.instance;
	char number[PATH_SIZE], record[PATH_SIZE];

	snprintf(number, sizeof(number), "numbers/%" PRIu32, instance->number);
	snprintf(record, sizeof(record), "instances/%s/%s", runtime->service.type->name,
		 instance->id);
	return is_there(runtime, number, instance->id) && is_there(runtime, record, NULL);
}

/* Peers must not go on with an old view of us: an announcement that failed is tried until it holds.
 */
static void announce_now(void *ctx)
{
	struct hf_runtime *runtime = ctx;
	int err = write_instance(runtime);

	if (err != runtime->announce_err) {
		if (err < 0)
			HF_ERROR("announcing failed", "err=%s", strerror(-err));
		else
			HF_INFO("announced again", "node=%s", runtime->service.instance.id);
	}
	runtime->announce_err = err;
	hf_loop_arm(runtime->service.loop, &runtime->announce_timer,
		    err < 0 ? ANNOUNCE_RETRY_MS : LOOK_MS);
}

static void on_announce_timer(struct hf_timer *timer, void *ctx)
{
	struct hf_runtime *runtime = ctx;
	int err;

	if (runtime->announce_err == 0 && are_entries_there(runtime)) {
		hf_loop_arm(runtime->service.loop, timer, LOOK_MS);
		return;
	}
	if (runtime->announce_err == 0)
		HF_WARN("entries lost", "node=%s action=\"announce again\"",
			runtime->service.instance.id);
	err = hold_number(runtime, runtime->service.instance.number);
	if (err == -EBUSY) { /* two that draw the same ids: one must go */
		hf_service_fatal(&runtime->service, "another process has our node number");
		return;
	}
	if (err < 0)
		HF_ERROR("node number lost", "number=%" PRIu32 " err=%s",
			 runtime->service.instance.number, strerror(-err));
	announce_now(runtime);
}

void hf_service_announce(struct hf_service *service)
{
	struct hf_runtime *runtime = hf_runtime_of(service);

	/* Before the first announcement nobody knows us, and after the last nobody shall. */
	if (runtime->phase != HF_PHASE_STARTING && runtime->phase != HF_PHASE_STOPPED)
		hf_task_schedule(service->loop, &runtime->announce_task);
}

int hf_cluster_hold_instance(struct hf_runtime *runtime)
{
	int err = write_instance(runtime);

	if (err < 0)
		HF_ERROR("could not announce", "node=%s err=%s%s", runtime->service.instance.id,
			 strerror(-err),
			 err == -EBUSY    ? " why=\"another process has this node.id\""
			 : err == -EINVAL ? " why=\"zone and addresses: ASCII without spaces\""
					  : "");
	else
		hf_loop_arm(runtime->service.loop, &runtime->announce_timer, LOOK_MS);
	return err;
}

int hf_cluster_join(struct hf_runtime *runtime)
{
	struct hf_service *service = &runtime->service;
	const struct hf_service_config *config = hf_runtime_config(runtime);
	struct hf_instance *instance = &service->instance;
	int err;

	snprintf(instance->zone, sizeof(instance->zone), "%s", config->zone);
	instance->weight = (uint32_t)config->weight;
	instance->state = HF_INSTANCE_STARTING;
	instance->since_ms = hf_loop_wall_ms(service->loop);
	hf_task_init(&runtime->announce_task, announce_now, runtime);
	hf_timer_init(&runtime->announce_timer, on_announce_timer, runtime);

	err = hf_keeper_open(service->loop, config->keeper, &service->keeper);
	if (err < 0) {
		HF_ERROR("keeper not usable", "backend=%s err=%s",
			 hf_log_quote(config->keeper, strlen(config->keeper)), strerror(-err));
		return err;
	}
	err = claim_number(runtime);
	if (err < 0) {
		HF_ERROR("no node number", "err=%s%s", strerror(-err),
			 err == -EBUSY ? " why=\"all 1023 are in use\"" : "");
		return err;
	}
	hf_id_generator_init(&service->ids, instance->number);
	instance->incarnation = hf_id_next(&service->ids, instance->since_ms);
	err = read_salt(runtime);
	if (err < 0)
		HF_ERROR("no cluster salt", "path=" SALT_PATH " err=%s", strerror(-err));
	return err;
}

void hf_cluster_name_node(struct hf_runtime *runtime)
{
	const char *configured = hf_runtime_config(runtime)->node_id;
	struct hf_instance *instance = &runtime->service.instance;

	if (configured[0] != '\0')
		snprintf(instance->id, sizeof(instance->id), "%s", configured);
	else
		default_node_id(runtime->service.type->name, instance->id);
}

void hf_cluster_leave(struct hf_runtime *runtime)
{
	const struct hf_instance *instance = &runtime->service.instance;
	char path[PATH_SIZE];
	int err;

	runtime->phase = HF_PHASE_STOPPED;
	if (runtime->service.keeper == NULL)
		return;
	hf_task_cancel(runtime->service.loop, &runtime->announce_task);
	hf_wheel_disarm(&runtime->announce_timer);
	snprintf(path, sizeof(path), "instances/%s/%s", runtime->service.type->name, instance->id);
	err = hf_keeper_release(runtime->service.keeper, path);
	if (err < 0 && err != -ENOENT)
		HF_WARN("leaving failed", "err=%s", strerror(-err));
}

uint16_t hf_service_slot(const struct hf_service *service, uint32_t app, const void *registration,
			 size_t len)
{
	return hf_slot(service->salt, app, registration, len);
}
