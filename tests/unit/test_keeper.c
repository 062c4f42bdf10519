/* The `dir:` keeper between real processes: values and holds. */
#include "keeper_fixture.h"

#define CONTENDERS 6

static int work_create(struct hf_keeper *keeper, const void *arg)
{
	return hf_keeper_create(keeper, arg, "mine", 4);
}

/* Many turns of replacing, then says so. Values differ in length, so that a torn one would show. */
static int work_replace(struct hf_keeper *keeper, const void *arg)
{
	for (unsigned i = 0; i < 400; i++) {
		char value[64];
		int len = snprintf(value, sizeof(value), "<%.*s>", (int)(i % 50),
				   "..................................................");
		int err = hf_keeper_hold(keeper, arg, value, (size_t)len);

		if (err != 0)
			return err;
	}
	return 0;
}

static void test_a_value_comes_back_as_it_was_set(void **state)
{
	struct fixture *f = *state;
	static const char binary[] = { 'a', '\0', '\xff', 'b' };
	char *value;
	size_t len;

	assert_int_equal(get_error(f->keeper, "config/cluster"), -ENOENT);
	assert_int_equal(hf_keeper_set(f->keeper, "config/cluster", "one", 3), 0);
	assert_value(f->keeper, "config/cluster", "one");
	assert_int_equal(hf_keeper_set(f->keeper, "config/cluster", "", 0), 0);
	assert_value(f->keeper, "config/cluster", "");
	assert_int_equal(hf_keeper_set(f->keeper, "config/cluster", binary, sizeof(binary)), 0);
	assert_int_equal(hf_keeper_get(f->keeper, "config/cluster", &value, &len), 0);
	assert_int_equal(len, sizeof(binary));
	assert_memory_equal(value, binary, len);
	free(value);
	assert_int_equal(hf_keeper_remove(f->keeper, "config/cluster"), 0);
	assert_int_equal(hf_keeper_remove(f->keeper, "config/cluster"), -ENOENT);
	assert_int_equal(get_error(f->keeper, "config"), -ENOENT);
	assert_int_equal(get_error(f->keeper, "config/a/b"), -ENOENT);
}

static void test_unknown_back_ends_are_refused(void **state)
{
	struct fixture *f = *state;
	struct hf_keeper *keeper = NULL;

	assert_int_equal(hf_keeper_open(f->loop, "zoo:host", &keeper), -EINVAL);
	assert_int_equal(hf_keeper_open(f->loop, "dir:", &keeper), -EINVAL);
	assert_int_equal(hf_keeper_open(f->loop, "dir", &keeper), -EINVAL);
	assert_int_equal(hf_keeper_open(f->loop, "", &keeper), -EINVAL);
	assert_null(keeper);
}

static void test_invalid_paths_are_refused_by_every_call(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"/config",
		"config/",
		"config//x",
		"../x",
		"a/../b",
		".hidden",
		"a/.b",
		"a b",
		"a/b\n",
		"caf\xc3\xa9",
		"a/b/c/d/e/f/g",
		"a/0123456789012345678901234567890123456789012345678901234567890123",
	};
	struct fixture *f = *state;
	struct hf_keeper_watch *watch = NULL;
	struct seen seen = { 0 };

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		char ephemeral[128];

		snprintf(ephemeral, sizeof(ephemeral), "instances/%s", bad[i]);
		assert_int_equal(get_error(f->keeper, bad[i]), -EINVAL);
		assert_int_equal(hf_keeper_set(f->keeper, bad[i], "x", 1), -EINVAL);
		assert_int_equal(hf_keeper_create(f->keeper, bad[i], "x", 1), -EINVAL);
		assert_int_equal(hf_keeper_remove(f->keeper, bad[i]), -EINVAL);
		assert_int_equal(hf_keeper_hold(f->keeper, ephemeral, "x", 1), -EINVAL);
		assert_int_equal(hf_keeper_release(f->keeper, ephemeral), -EINVAL);
		assert_int_equal(hf_keeper_watch(f->keeper, bad[i], on_seen, &seen, &watch),
				 -EINVAL);
	}
	assert_int_equal(hf_keeper_set(f->keeper, "a/b/c/d/e/f", "x", 1), 0);
}

static void test_lasting_and_ephemeral_parts_do_not_mix(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(hf_keeper_set(f->keeper, "instances/room/r1", "x", 1), -EINVAL);
	assert_int_equal(hf_keeper_create(f->keeper, "numbers/1", "x", 1), -EINVAL);
	assert_int_equal(hf_keeper_remove(f->keeper, "numbers/1"), -EINVAL);
	assert_int_equal(hf_keeper_hold(f->keeper, "apps/1", "x", 1), -EINVAL);
	assert_int_equal(hf_keeper_hold(f->keeper, "numbers", "x", 1), -EINVAL);
	assert_int_equal(hf_keeper_set(f->keeper, "instances2/a", "x", 1), 0);
}

static void test_values_over_the_limit_are_refused(void **state)
{
	struct fixture *f = *state;
	char *big = calloc(1, HF_KEEPER_VALUE_MAX + 1);

	assert_non_null(big);
	assert_int_equal(hf_keeper_set(f->keeper, "config/x", big, HF_KEEPER_VALUE_MAX), 0);
	assert_int_equal(hf_keeper_set(f->keeper, "config/x", big, HF_KEEPER_VALUE_MAX + 1),
			 -EMSGSIZE);
	assert_int_equal(hf_keeper_create(f->keeper, "config/y", big, HF_KEEPER_VALUE_MAX + 1),
			 -EMSGSIZE);
	assert_int_equal(hf_keeper_hold(f->keeper, "numbers/1", big, HF_KEEPER_VALUE_MAX + 1),
			 -EMSGSIZE);
	free(big);
}

static void test_create_is_exclusive_between_processes(void **state)
{
	struct fixture *f = *state;
	struct child children[CONTENDERS];
	unsigned winners = 0;

	for (unsigned i = 0; i < CONTENDERS; i++) {
		int result;

		children[i] = spawn(f, work_create, "config/cluster", &result);
		if (result == 0)
			winners++;
		else
			assert_int_equal(result, -EEXIST);
	}
	for (unsigned i = 0; i < CONTENDERS; i++)
		reap(children[i]);
	assert_int_equal(winners, 1);
	assert_value(f->keeper, "config/cluster", "mine");
}

static void test_a_hold_is_busy_while_its_owner_lives_and_gone_when_it_is_killed(void **state)
{
	struct fixture *f = *state;
	struct hold hold = { "instances/room/room-1", "theirs" };
	int result;
	struct child child = spawn(f, work_hold, &hold, &result);

	assert_int_equal(result, 0);
	assert_value(f->keeper, hold.path, "theirs");
	assert_int_equal(hf_keeper_hold(f->keeper, hold.path, "ours", 4), -EBUSY);
	assert_int_equal(hf_keeper_release(f->keeper, hold.path), -ENOENT);
	assert_value(f->keeper, hold.path, "theirs");

	kill_hard(child);
	assert_int_equal(get_error(f->keeper, hold.path), -ENOENT);
	assert_int_equal(hf_keeper_hold(f->keeper, hold.path, "ours", 4), 0);
	assert_value(f->keeper, hold.path, "ours");
	assert_int_equal(hf_keeper_release(f->keeper, hold.path), 0);
	assert_int_equal(get_error(f->keeper, hold.path), -ENOENT);
	assert_int_equal(hf_keeper_release(f->keeper, hold.path), -ENOENT);
}

static void test_a_hold_ends_with_a_clean_close(void **state)
{
	struct fixture *f = *state;
	struct hold hold = { "numbers/17", "x" };
	int result;
	struct child child = spawn(f, work_hold, &hold, &result);

	assert_int_equal(result, 0);
	reap(child);
	assert_int_equal(get_error(f->keeper, hold.path), -ENOENT);
}

static void test_asking_about_a_hold_never_disturbs_it(void **state)
{
	struct fixture *f = *state;
	struct hf_keeper *other;

	assert_int_equal(hf_keeper_open(f->loop, f->spec, &other), 0);
	assert_int_equal(hf_keeper_hold(f->keeper, "numbers/1", "a", 1), 0);
	for (unsigned i = 0; i < 50; i++) {
		assert_value(other, "numbers/1", "a");
		assert_int_equal(hf_keeper_hold(other, "numbers/1", "b", 1), -EBUSY);
		assert_int_equal(hf_keeper_hold(f->keeper, "numbers/1", "a", 1), 0);
	}
	hf_keeper_close(other);
	assert_value(f->keeper, "numbers/1", "a");
}

static void test_a_replaced_hold_is_never_seen_missing_or_torn(void **state)
{
	struct fixture *f = *state;
	const char *path = "instances/room/room-1";
	struct child child;
	unsigned reads = 0;
	int status = 0;

	child = spawn(f, work_replace, path, NULL);
	while (get_error(f->keeper, path) == -ENOENT) /* until it is there at first */
		assert_int_equal(waitpid(child.pid, &status, WNOHANG), 0);
	for (bool ended = false; !ended; reads++) {
		char *value = NULL;
		size_t len = 0;
		int err = hf_keeper_get(f->keeper, path, &value, &len);

		assert_int_equal(err, 0);
		assert_true(len >= 2 && value[0] == '<' && value[len - 1] == '>');
		ended = len == 2 + 399 % 50 && reads > 400; /* the last value, or one like it */
		free(value);
	}
	reap(child);
	assert_true(reads > 400);
}

static void test_of_many_that_want_a_dead_ones_place_one_wins(void **state)
{
	struct fixture *f = *state;
	struct hold hold = { "instances/room/room-1", "x" };

	for (unsigned round = 0; round < 8; round++) {
		struct child children[CONTENDERS];
		int report[2], result;
		unsigned winners = 0;

		kill_hard(spawn(f, work_hold, &hold, &result));
		assert_int_equal(result, 0);

		/* All start together, and live until all have tried. */
		assert_int_equal(pipe2(report, O_CLOEXEC), 0);
		for (unsigned i = 0; i < CONTENDERS; i++) {
			int control[2];

			assert_int_equal(pipe2(control, O_CLOEXEC), 0);
			children[i].pid = fork();
			assert_true(children[i].pid >= 0);
			if (children[i].pid == 0) {
				struct hf_keeper *keeper;
				char byte;

				close(control[1]);
				if (hf_keeper_open(f->loop, f->spec, &keeper) != 0)
					_exit(99);
				result = hf_keeper_hold(keeper, hold.path, "new", 3);
				(void)!write(report[1], &result, sizeof(result));
				(void)!read(control[0], &byte, 1);
				_exit(0);
			}
			close(control[0]);
			children[i].control = control[1];
		}
		for (unsigned i = 0; i < CONTENDERS; i++) {
			assert_int_equal(read(report[0], &result, sizeof(result)), sizeof(result));
			if (result == 0)
				winners++;
			else
				assert_int_equal(result, -EBUSY);
		}
		assert_int_equal(winners, 1);
		assert_value(f->keeper, hold.path, "new");
		for (unsigned i = 0; i < CONTENDERS; i++)
			kill(children[i].pid, SIGKILL);
		for (unsigned i = 0; i < CONTENDERS; i++)
			reap(children[i]);
		close(report[0]);
		close(report[1]);
	}
}

static void test_a_hold_removed_by_hand_comes_back_with_its_next_value(void **state)
{
	struct fixture *f = *state;
	char file[128];

	assert_int_equal(hf_keeper_hold(f->keeper, "numbers/1", "a", 1), 0);
	snprintf(file, sizeof(file), "%s/tree/numbers/1", f->folder);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(get_error(f->keeper, "numbers/1"), -ENOENT);
	assert_int_equal(hf_keeper_hold(f->keeper, "numbers/1", "b", 1), 0);
	assert_value(f->keeper, "numbers/1", "b");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_value_comes_back_as_it_was_set),
		TEST(test_unknown_back_ends_are_refused),
		TEST(test_invalid_paths_are_refused_by_every_call),
		TEST(test_lasting_and_ephemeral_parts_do_not_mix),
		TEST(test_values_over_the_limit_are_refused),
		TEST(test_create_is_exclusive_between_processes),
		TEST(test_a_hold_is_busy_while_its_owner_lives_and_gone_when_it_is_killed),
		TEST(test_a_hold_ends_with_a_clean_close),
		TEST(test_asking_about_a_hold_never_disturbs_it),
		TEST(test_a_replaced_hold_is_never_seen_missing_or_torn),
		TEST(test_of_many_that_want_a_dead_ones_place_one_wins),
		TEST(test_a_hold_removed_by_hand_comes_back_with_its_next_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
