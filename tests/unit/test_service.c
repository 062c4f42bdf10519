/* tests/unit/test_service.c - the life of a process: a small service in a child, watched from
 * outside through its admin port, the keeper and its exit status. */
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf_clock.h"
#include "hf_http_server.h"
#include "hf_service.h"
#include "register.pb-c.h"

#define PATIENCE_MS 20000
#define ARGS_MAX    16

/* --- the service --- */

struct tiny_config {
	struct hf_service_config service;
	uint64_t size, fixed;
	bool fail_start;
};

struct tiny_state {
	bool warm, finished;
	ProtobufCService nobody; /* is never called */
};

#define AT(member) offsetof(struct tiny_config, member)

static const struct hf_option tiny_options[] = {
	HF_SERVICE_OPTIONS(struct tiny_config),
	{ "size", HF_OPT_UINT, AT(size), "1", 1, 9, "a number", .reloadable = true },
	{ "fixed", HF_OPT_UINT, AT(fixed), "1", 1, 9, "a number for life" },
	{ "fail_start", HF_OPT_BOOL, AT(fail_start), "false", 0, 0, "start() fails" },
	{ 0 },
};

static int tiny_start(struct hf_service *service)
{
	struct tiny_state *state = calloc(1, sizeof(*state));

	if (state == NULL)
		return -ENOMEM;
	service->state = state;
	state->nobody.descriptor = &hf__register__descriptor;
	if (((const struct tiny_config *)service->config)->fail_start)
		return -EIO;
	return hf_service_serve_rpc(service, &state->nobody);
}

static const char *tiny_not_ready(struct hf_service *service)
{
	return ((struct tiny_state *)service->state)->warm ? NULL : "warming up";
}

static void tiny_reload(struct hf_service *service, const void *old)
{
	service->instance.load = ((const struct tiny_config *)service->config)->size * 10 +
				 ((const struct tiny_config *)old)->size;
	hf_service_announce(service);
}

static bool tiny_drained(struct hf_service *service)
{
	return ((struct tiny_state *)service->state)->finished;
}

static void tiny_stop(struct hf_service *service)
{
	free(service->state);
}

static bool is_path(const struct hf_http_exchange *exchange, const char *path)
{
	return hf_bytes_equal(hf_http_exchange_request(exchange)->path, hf_bytes_of_string(path));
}

static bool tiny_admin(struct hf_service *service, struct hf_http_exchange *exchange)
{
	const struct tiny_config *config = service->config;
	struct tiny_state *state = service->state;
	char text[64];

	if (is_path(exchange, "/warm"))
		state->warm = true;
	else if (is_path(exchange, "/finish"))
		state->finished = true;
	else if (is_path(exchange, "/fatal"))
		hf_service_fatal(service, "asked for");
	else if (!is_path(exchange, "/values"))
		return false;
	snprintf(text, sizeof(text), "size=%d fixed=%d salt=%016llx", (int)config->size,
		 (int)config->fixed, (unsigned long long)service->salt);
	hf_http_respond(exchange, 200, "text/plain", text, strlen(text));
	return true;
}

static const struct hf_service_type tiny_type = {
	.name = "tiny",
	.summary = "a service for a test",
	.options = tiny_options,
	.config_size = sizeof(struct tiny_config),
	.start = tiny_start,
	.reload = tiny_reload,
	.not_ready = tiny_not_ready,
	.drained = tiny_drained,
	.stop = tiny_stop,
	.admin = tiny_admin,
};

/* --- watching it --- */

struct fixture {
	char folder[64], config[96], keeper_set[128], log_set[128];
	struct hf_loop *loop;
	struct hf_keeper *keeper;
	struct hf_keeper_watch *watch;
	size_t count;
	struct hf_instance instances[4];
};

static void on_instances(const struct hf_keeper_entry *entries, size_t count, void *ctx)
{
	struct fixture *f = ctx;

	assert_true(count <= HF_ARRAY_LEN(f->instances));
	for (size_t i = 0; i < count; i++)
		assert_int_equal(hf_instance_decode(entries[i].value.data, entries[i].value.len,
						    &f->instances[i]),
				 0);
	f->count = count;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char spec[96];

	assert_non_null(f);
	strcpy(f->folder, "/tmp/hf-service-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(spec, sizeof(spec), "dir:%s/tree", f->folder);
	snprintf(f->config, sizeof(f->config), "%s/tiny.yaml", f->folder);
	snprintf(f->keeper_set, sizeof(f->keeper_set), "keeper.backend=%s", spec);
	snprintf(f->log_set, sizeof(f->log_set), "log.file=%s/log", f->folder);
	f->loop = hf_loop_new();
	assert_non_null(f->loop);
	assert_int_equal(hf_keeper_open(f->loop, spec, &f->keeper), 0);
	assert_int_equal(hf_keeper_watch(f->keeper, "instances/tiny", on_instances, f, &f->watch),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hf_keeper_close(f->keeper);
	hf_loop_free(f->loop);
	nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void write_config(const struct fixture *f, const char *text)
{
	FILE *file = fopen(f->config, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* Run it with the test's keeper and log, and what else is given up to a NULL. */
static pid_t spawn(const struct fixture *f, ...)
{
	char *args[ARGS_MAX] = { "holdfast-tiny",       "-c",    (char *)f->config, "--set",
				 (char *)f->keeper_set, "--set", (char *)f->log_set };
	int count = 7;
	va_list more;
	pid_t pid;

	va_start(more, f);
	while ((args[count] = va_arg(more, char *)) != NULL)
		assert_true(++count < ARGS_MAX);
	va_end(more);

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		exit(hf_service_main(&tiny_type, count, args));
	return pid;
}

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void on_timeout(struct hf_timer *timer, void *ctx)
{
	fail_msg("waited too long for: %s", (const char *)ctx);
}

#define WAIT_UNTIL(f, condition)                                       \
	do {                                                           \
		struct hf_timer guard;                                 \
                                                                       \
		hf_timer_init(&guard, on_timeout, (void *)#condition); \
		hf_loop_arm((f)->loop, &guard, PATIENCE_MS);           \
		while (!(condition))                                   \
			hf_loop_turn((f)->loop, true);                 \
		hf_wheel_disarm(&guard);                               \
	} while (0)

/* Ask the admin port; returns the status, the whole answer in `ret`. */
static int ask(const struct hf_instance *instance, const char *method, const char *path, char *ret,
	       size_t size)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	const char *colon = strrchr(instance->admin, ':');
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char request[256];
	size_t len = 0;
	ssize_t n;

	assert_non_null(colon);
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	n = snprintf(request, sizeof(request),
		     "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s\r\n", method, path,
		     strcmp(method, "PUT") == 0 ? "Content-Length: 0\r\n" : "");
	assert_int_equal(write(fd, request, (size_t)n), n);
	while (len + 1 < size && (n = read(fd, ret + len, size - 1 - len)) > 0)
		len += (size_t)n;
	ret[len] = '\0';
	close(fd);
	assert_memory_equal(ret, "HTTP/1.1 ", 9);
	return atoi(ret + 9);
}

static void assert_answer(const struct hf_instance *instance, const char *path, int status,
			  const char *part)
{
	char answer[65536];

	assert_int_equal(ask(instance, "GET", path, answer, sizeof(answer)), status);
	if (strstr(answer, part) == NULL)
		fail_msg("no '%s' in: %s", part, answer);
}

/* Until `path` says `part`: for what leaves no trace in the keeper. */
static void wait_for_answer(const struct hf_instance *instance, const char *path, const char *part)
{
	uint64_t deadline_ms = hf_clock_monotonic_ms() + PATIENCE_MS;
	char answer[65536];

	do {
		if (hf_clock_monotonic_ms() > deadline_ms)
			fail_msg("%s never said %s", path, part);
		ask(instance, "GET", path, answer, sizeof(answer));
	} while (strstr(answer, part) == NULL);
}

static void wait_until_serving(struct fixture *f)
{
	WAIT_UNTIL(f, f->count == 1 && f->instances[0].state == HF_INSTANCE_SERVING);
}

/* --- the promises --- */

static void test_it_starts_becomes_ready_drains_and_leaves(void **state)
{
	struct fixture *f = *state;
	struct hf_instance *me = &f->instances[0];
	pid_t pid;

	write_config(f, "size: 3\n");
	pid = spawn(f, "--node-id", "tiny-1", NULL);
	wait_until_serving(f);
	assert_string_equal(me->id, "tiny-1");
	assert_true(me->number >= 1 && me->number <= HF_ID_NODE_MAX);
	assert_true(me->since_ms > 0 && me->incarnation > 0);
	assert_memory_equal(me->rpc, "127.0.0.1:", 10);

	assert_answer(me, "/livez", 200, "ok");
	assert_answer(me, "/readyz", 503, "warming up");
	assert_answer(me, "/warm", 200, "size=3");
	assert_answer(me, "/readyz", 200, "ok");
	assert_answer(me, "/readyz?verbose", 200, "\"ready\": true");
	assert_answer(me, "/version", 200, "\"role\": \"tiny\"");
	assert_answer(me, "/config", 200, "size: 3\n");
	assert_answer(me, "/metrics", 200, "holdfast_build_info{version=");
	assert_answer(me, "/metrics", 200, "holdfast_loop_turn_seconds_count ");
	assert_answer(me, "/nothing", 404, "NO_ROUTE");

	assert_int_equal(kill(pid, SIGTERM), 0);
	WAIT_UNTIL(f, me->state == HF_INSTANCE_DRAINING);
	assert_answer(me, "/readyz", 503, "draining");
	assert_answer(me, "/metrics", 200, "holdfast_drain_active 1\n");
	assert_answer(me, "/finish", 200, "size=3");
	assert_int_equal(exit_status(pid), 0);
	WAIT_UNTIL(f, f->count == 0);
}

static void test_a_bad_reload_keeps_the_old_configuration(void **state)
{
	struct fixture *f = *state;
	struct hf_instance *me = &f->instances[0];
	pid_t pid;

	write_config(f, "size: 3\nfixed: 4\n");
	pid = spawn(f, NULL);
	wait_until_serving(f);

	write_config(f, "size: 33\nfixed: 5\n");
	assert_int_equal(kill(pid, SIGHUP), 0);
	wait_for_answer(me, "/metrics", "holdfast_config_last_reload_successful 0\n");
	assert_answer(me, "/values", 200, "size=3 fixed=4");

	/* what can change changes, the rest waits for a restart */
	write_config(f, "size: 5\nfixed: 5\n");
	assert_int_equal(kill(pid, SIGHUP), 0);
	WAIT_UNTIL(f, me->load == 53); /* new and old, seen by reload() */
	assert_answer(me, "/values", 200, "size=5 fixed=4");
	assert_answer(me, "/metrics", 200, "holdfast_config_last_reload_successful 1\n");
	assert_answer(me, "/metrics", 200, "holdfast_config_reloads_total{result=\"failed\"} 1\n");

	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(exit_status(pid), 0);
}

static void test_a_drain_ends_at_its_timeout(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	write_config(f, "shutdown: {drain_timeout: 50ms}\n");
	pid = spawn(f, NULL);
	wait_until_serving(f);
	assert_int_equal(kill(pid, SIGTERM), 0); /* tiny is never drained by itself */
	assert_int_equal(exit_status(pid), 0);
}

static void test_a_second_term_ends_the_drain(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	write_config(f, "shutdown: {drain_timeout: 1h}\n");
	pid = spawn(f, NULL);
	wait_until_serving(f);
	assert_int_equal(kill(pid, SIGTERM), 0);
	WAIT_UNTIL(f, f->instances[0].state == HF_INSTANCE_DRAINING);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(exit_status(pid), 0);
}

static void test_a_node_id_belongs_to_one_process(void **state)
{
	struct fixture *f = *state;
	pid_t first, second;

	write_config(f, "node: {id: twin}\n");
	first = spawn(f, NULL);
	wait_until_serving(f);
	second = spawn(f, NULL);
	assert_int_equal(exit_status(second), 2);
	assert_int_equal(f->count, 1);
	assert_answer(&f->instances[0], "/livez", 200, "ok");

	/* killed without a chance to say goodbye, its name is free again */
	assert_int_equal(kill(first, SIGKILL), 0);
	assert_int_equal(waitpid(first, NULL, 0), first);
	WAIT_UNTIL(f, f->count == 0);
	second = spawn(f, NULL);
	wait_until_serving(f);
	assert_int_equal(kill(second, SIGINT), 0);
	assert_int_equal(exit_status(second), 0);
}

/* A copy of the file that the process holds: the same text, and no lock. */
static void put_back_unheld(const struct fixture *f, const char *path)
{
	char file[192], text[4096];
	FILE *stream;
	size_t len;

	snprintf(file, sizeof(file), "%s/tree/%s", f->folder, path);
	stream = fopen(file, "r");
	assert_non_null(stream);
	len = fread(text, 1, sizeof(text), stream);
	fclose(stream);
	assert_int_equal(unlink(file), 0);
	stream = fopen(file, "w");
	assert_non_null(stream);
	assert_int_equal(fwrite(text, 1, len, stream), len);
	assert_int_equal(fclose(stream), 0);
}

static void test_lost_entries_come_back_but_a_lost_number_is_the_end(void **state)
{
	struct fixture *f = *state;
	char number[64], file[192];
	pid_t pid;

	write_config(f, "");
	pid = spawn(f, "--node-id", "tiny-1", NULL);
	wait_until_serving(f);
	put_back_unheld(f, "instances/tiny/tiny-1");
	WAIT_UNTIL(f, f->count == 0);
	WAIT_UNTIL(f, f->count == 1); /* at its next look */

	snprintf(number, sizeof(number), "numbers/%u", f->instances[0].number);
	snprintf(file, sizeof(file), "%s/tree/%s", f->folder, number);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(hf_keeper_hold(f->keeper, number, "thief", 5), 0);
	assert_int_equal(exit_status(pid), 3);
}

static void test_processes_share_the_salt_and_no_number(void **state)
{
	struct fixture *f = *state;
	char first[4096], second[4096];
	pid_t pids[2];

	write_config(f, "");
	pids[0] = spawn(f, "--node-id", "a", NULL);
	pids[1] = spawn(f, "--node-id", "b", NULL);
	WAIT_UNTIL(f, f->count == 2);
	assert_int_not_equal(f->instances[0].number, f->instances[1].number);
	ask(&f->instances[0], "GET", "/values", first, sizeof(first));
	ask(&f->instances[1], "GET", "/values", second, sizeof(second));
	assert_non_null(strstr(first, "salt="));
	assert_string_equal(strstr(first, "salt="), strstr(second, "salt="));
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(kill(pids[i], SIGINT), 0);
		assert_int_equal(exit_status(pids[i]), 0);
	}
}

static void test_the_log_level_can_be_put(void **state)
{
	struct fixture *f = *state;
	char answer[4096];
	pid_t pid;

	write_config(f, "");
	pid = spawn(f, NULL);
	wait_until_serving(f);
	assert_int_equal(ask(&f->instances[0], "PUT", "/log/debug", answer, sizeof(answer)), 200);
	assert_int_equal(ask(&f->instances[0], "PUT", "/log/loud", answer, sizeof(answer)), 400);
	assert_int_equal(ask(&f->instances[0], "GET", "/log/debug", answer, sizeof(answer)), 405);
	assert_int_equal(ask(&f->instances[0], "PUT", "/livez", answer, sizeof(answer)), 405);
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(exit_status(pid), 0);
}

static void test_exit_statuses_tell_what_went_wrong(void **state)
{
	struct fixture *f = *state;
	char answer[4096];
	pid_t pid;

	write_config(f, "size: 33\n");
	assert_int_equal(exit_status(spawn(f, NULL)), 1);
	assert_int_equal(exit_status(spawn(f, "-t", NULL)), 1);
	write_config(f, "size: 3\n");
	assert_int_equal(exit_status(spawn(f, "--set", "size", NULL)), 1);
	assert_int_equal(exit_status(spawn(f, "--node-id", "../x", NULL)), 1);
	assert_int_equal(exit_status(spawn(f, "stray", NULL)), 1);
	assert_int_equal(exit_status(spawn(f, "--set", "fail_start=true", NULL)), 2);
	assert_int_equal(exit_status(spawn(f, "--set", "keeper.backend=moon:1", NULL)), 2);
	assert_int_equal(exit_status(spawn(f, "--set", "admin.bind=192.0.2.1:1", NULL)), 2);
	/* what no peer could read or dial */
	assert_int_equal(exit_status(spawn(f, "--set", "node.zone=two words", NULL)), 2);
	assert_int_equal(exit_status(spawn(f, "--set", "rpc.advertise=a.name", NULL)), 2);

	pid = spawn(f, NULL);
	wait_until_serving(f);
	ask(&f->instances[0], "GET", "/fatal", answer, sizeof(answer));
	assert_int_equal(exit_status(pid), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_it_starts_becomes_ready_drains_and_leaves),
		TEST(test_a_bad_reload_keeps_the_old_configuration),
		TEST(test_a_drain_ends_at_its_timeout),
		TEST(test_a_second_term_ends_the_drain),
		TEST(test_a_node_id_belongs_to_one_process),
		TEST(test_lost_entries_come_back_but_a_lost_number_is_the_end),
		TEST(test_processes_share_the_salt_and_no_number),
		TEST(test_the_log_level_can_be_put),
		TEST(test_exit_statuses_tell_what_went_wrong),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
