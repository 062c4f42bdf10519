/* The agent's pure parts: what it would run, and what it takes for a child of an earlier agent. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "leftovers.h"
#include "plan.h"
#include "stores.h"

struct fixture {
	char folder[64];
	struct agent_config config;
	struct plan plan;
	char error[HF_CONFIG_ERROR_SIZE];
};

static void make_program(const struct fixture *f, const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	close(fd);
}

static void make_folder(const struct fixture *f, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->folder, "/tmp/hf-agent-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	make_program(f, "holdfast-room");
	make_folder(f, "saver");
	make_program(f, "saver/holdfast-saver");
	make_program(f, "redis-server");
	make_program(f, "mariadbd");
	make_program(f, "install");
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	plan_deinit(&f->plan);
	hf_config_deinit(agent_options, &f->config);
	nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* Read `yaml` with data_dir /d and the fixture's programs, check it, and plan it. */
static int plan(struct fixture *f, const char *yaml)
{
	char redis[128], mariadb[128], install[128];
	const struct hf_config_override overrides[] = {
		{ "data_dir", "/d" },
		{ "services_dir", f->folder },
		{ "redis.program", redis },
		{ "mariadb.program", mariadb },
		{ "mariadb.install_program", install },
	};
	int err;

	snprintf(redis, sizeof(redis), "%s/redis-server", f->folder);
	snprintf(mariadb, sizeof(mariadb), "%s/mariadbd", f->folder);
	snprintf(install, sizeof(install), "%s/install", f->folder);
	plan_deinit(&f->plan);
	hf_config_deinit(agent_options, &f->config);
	memset(&f->config, 0, sizeof(f->config));
	err = hf_config_parse(agent_options, "test", yaml, strlen(yaml), overrides,
			      HF_ARRAY_LEN(overrides), &f->config, f->error);
	if (err == 0)
		err = agent_config_check(&f->config, f->error);
	if (err == 0)
		err = plan_build(&f->config, &f->plan, f->error);
	return err;
}

static const char *joined(const struct plan_entry *entry)
{
	static char text[8192];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; entry->argv[i] != NULL; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ", entry->argv[i]);
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void test_places_in_options_are_filled_in(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "", "" },
		{ "listen=0.0.0.0:710{n}", "listen=0.0.0.0:7103" },
		{ "{id}.{n}", "room-3.3" },
		{ "f={data_dir}/{id}.pem", "f=/d/room-3.pem" },
		{ "l=[{name: a}]", "l=[{name: a}]" },
		{ "{", "{" },
		{ "{n", "{n" },
		{ "{{n}}", "{3}" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		char *text = plan_expand(cases[i].text, 3, "room-3", "/d");

		assert_string_equal(text, cases[i].expected);
		free(text);
	}
}

static void test_processes_are_numbered_over_all_entries_of_a_role(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(plan(f, "node: {prefix: h1-}\n"
				 "processes:\n"
				 " - {role: room, count: 2}\n"
				 " - {role: saver}\n"
				 " - {role: room, set: [\"listen=0.0.0.0:710{n}\"]}\n"),
			 0);
	assert_int_equal(f->plan.count, 4);
	assert_string_equal(f->plan.entries[0].name, "h1-room-1");
	assert_string_equal(f->plan.entries[1].name, "h1-room-2");
	assert_string_equal(f->plan.entries[2].name, "h1-saver-1");
	assert_string_equal(f->plan.entries[3].name, "h1-room-3");
	assert_int_equal(f->plan.entries[3].role, ROLE_ROOM);
	assert_has(joined(&f->plan.entries[3]), "--node-id h1-room-3 ");
	assert_has(joined(&f->plan.entries[3]), "--set keeper.backend=dir:/d/keeper ");
	assert_has(joined(&f->plan.entries[3]), "--set log.file=/d/log/h1-room-3.log ");
	assert_has(joined(&f->plan.entries[3]), "--set listen=0.0.0.0:7103 ");
	assert_has(joined(&f->plan.entries[2]), "/saver/holdfast-saver ");
	assert_null(strstr(joined(&f->plan.entries[2]), "redis.nodes"));
}

static void test_stores_come_first_and_savers_are_told_of_them(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(plan(f, "redis: {enabled: true, maxmemory: 1MiB}\n"
				 "mariadb: {enabled: true}\n"
				 "processes: [{role: saver, config: /etc/s.yaml, set: [a=b]}]\n"),
			 0);
	assert_int_equal(f->plan.count, 3);
	assert_string_equal(f->plan.entries[0].name, "redis");
	assert_has(joined(&f->plan.entries[0]), "--appendfsync always ");
	assert_has(joined(&f->plan.entries[0]), "--maxmemory-policy noeviction ");
	assert_has(joined(&f->plan.entries[0]), "--maxmemory 1048576 ");
	assert_string_equal(f->plan.entries[1].name, "mariadb");
	assert_has(joined(&f->plan.entries[1]), "--skip-networking ");
	assert_has(joined(&f->plan.entries[2]), "-c /etc/s.yaml ");
	assert_has(joined(&f->plan.entries[2]), "redis.nodes=unix:/d/run/redis.sock ");
	assert_has(joined(&f->plan.entries[2]), "database.socket=/d/run/mariadb.sock ");
	assert_has(joined(&f->plan.entries[2]), "database.password_file=/d/run/mariadb.password ");
}

static void test_a_plan_that_can_not_run_is_refused(void **state)
{
	static const struct {
		const char *yaml, *word;
	} cases[] = {
		{ "processes: [{role: center}]", "holdfast-center" },
		{ "processes: [{role: broom}]", "role" },
		{ "processes: [{count: 1}]", "role" },
		{ "processes: [{role: room, count: 257}]", "count" },
		{ "processes: [{role: room, set: [listen]}]", "key=value" },
		{ "processes: [{role: room, set: [\"=x\"]}]", "key=value" },
		{ "processes: [{role: room, count: 256}, {role: room, count: 256}, {role: room}]",
		  "more than" },
		{ "redis: {enabled: true}\nproceses: []", "proceses" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		assert_int_equal(plan(f, cases[i].yaml), -EINVAL);
		assert_has(f->error, cases[i].word);
	}
}

static void test_a_data_folder_too_long_for_sockets_is_refused(void **state)
{
	struct fixture *f = *state;
	char folder[128];
	const struct hf_config_override overrides[] = { { "data_dir", folder },
							{ "redis.enabled", "true" } };

	snprintf(folder, sizeof(folder), "/%0100d", 0);
	assert_int_equal(hf_config_parse(agent_options, "test", "", 0, overrides, 2, &f->config,
					 f->error),
			 0);
	assert_int_equal(agent_config_check(&f->config, f->error), -EINVAL);
	assert_has(f->error, "data_dir");
}

static void test_command_lines_are_compared_word_by_word(void **state)
{
	char *a[] = { "x", "y", NULL }, *b[] = { "x", "y", NULL }, *c[] = { "x", NULL },
	     *d[] = { "x", "z", NULL };

	assert_true(plan_argv_equal(a, b));
	assert_false(plan_argv_equal(a, c));
	assert_false(plan_argv_equal(c, a));
	assert_false(plan_argv_equal(a, d));
}

static void test_a_record_of_another_boot_names_nobody(void **state)
{
	struct leftovers list;

	assert_int_equal(leftovers_parse("boot aaa\n17 4711 room room-1\n", "bbb", &list), 0);
	assert_int_equal(list.count, 0);
	leftovers_deinit(&list);
	assert_int_equal(leftovers_parse("boot \n17 4711 room room-1\n", "", &list), 0);
	assert_int_equal(list.count, 0);
	leftovers_deinit(&list);
}

static void test_lines_that_make_no_sense_are_skipped(void **state)
{
	struct leftovers list;

	assert_int_equal(leftovers_parse("boot aaa\n"
					 "17 4711 room room-1\n"
					 "1 4711 room init\n"
					 "-1 4711 room all\n"
					 "0 4711 room group\n"
					 "18 0 room unborn\n"
					 "19 4711 broom room-1\n"
					 "20 4711\n"
					 "\n"
					 "99999999999 4711 room far\n"
					 "21 4712 redis redis",
					 "aaa", &list),
			 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.items[0].pid, 17);
	assert_string_equal(list.items[0].name, "room-1");
	assert_int_equal(list.items[1].role, ROLE_REDIS);
	assert_true(leftovers_has(&list, true));
	assert_true(leftovers_has(&list, false));
	leftovers_deinit(&list);
}

static void test_a_pid_given_to_somebody_else_is_not_ours(void **state)
{
	struct leftover items[] = { { .pid = getpid(), .born = leftovers_birth(getpid()) },
				    { .pid = getpid(), .born = leftovers_birth(getpid()) + 1 } };
	struct leftovers list = { .count = 2, .items = items };

	assert_int_not_equal(items[0].born, 0);
	assert_int_equal(leftovers_prune(&list), 1);
	assert_int_equal(items[0].born, leftovers_birth(getpid()));
}

static void test_a_zombie_has_ended(void **state)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_int_equal(leftovers_birth(pid), 0);
	waitpid(pid, NULL, 0);
	assert_int_equal(leftovers_birth(pid), 0);
}

static void test_a_data_folder_has_one_agent(void **state)
{
	struct fixture *f = *state;
	char folder[128];
	int first = -1, second = -1;

	snprintf(folder, sizeof(folder), "%s/deep/data", f->folder);
	assert_int_equal(leftovers_lock(folder, &first), 0);
	assert_int_equal(leftovers_lock(folder, &second), -EBUSY);
	assert_int_equal(second, -1);
	close(first);
	assert_int_equal(leftovers_lock(folder, &second), 0);
	close(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places_in_options_are_filled_in),
		TEST(test_processes_are_numbered_over_all_entries_of_a_role),
		TEST(test_stores_come_first_and_savers_are_told_of_them),
		TEST(test_a_plan_that_can_not_run_is_refused),
		TEST(test_a_data_folder_too_long_for_sockets_is_refused),
		cmocka_unit_test(test_command_lines_are_compared_word_by_word),
		cmocka_unit_test(test_a_record_of_another_boot_names_nobody),
		cmocka_unit_test(test_lines_that_make_no_sense_are_skipped),
		cmocka_unit_test(test_a_pid_given_to_somebody_else_is_not_ours),
		cmocka_unit_test(test_a_zombie_has_ended),
		TEST(test_a_data_folder_has_one_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
