/* The `dir:` keeper between real processes. Children are forked before they open anything: a lock
 * belongs to an open file description, and fork shares those. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf_clock.h"
#include "hf_keeper.h"

#define PATIENCE_MS 20000
#define PROMPT_MS   1500 /* below the periodic look of 2 s: only an event is as quick */
#define CONTENDERS  6

struct fixture {
	char folder[64], spec[96];
	struct hf_loop *loop;
	struct hf_keeper *keeper;
};

struct seen {
	unsigned calls;
	char text[512]; /* "a=1 b=2 " */
};

struct child {
	pid_t pid;
	int control; /* a byte into it lets the child end cleanly */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->folder, "/tmp/hf-keeper-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->spec, sizeof(f->spec), "dir:%s/tree", f->folder);
	f->loop = hf_loop_new();
	assert_non_null(f->loop);
	assert_int_equal(hf_keeper_open(f->loop, f->spec, &f->keeper), 0);
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

static void on_seen(const struct hf_keeper_entry *entries, size_t count, void *ctx)
{
	struct seen *seen = ctx;
	size_t len = 0;

	seen->calls++;
	seen->text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		len += (size_t)snprintf(seen->text + len, sizeof(seen->text) - len, "%s=%.*s ",
					entries[i].name, (int)entries[i].value.len,
					(const char *)entries[i].value.data);
}

static void on_timeout(struct hf_timer *timer, void *ctx)
{
	fail_msg("nothing happened in time");
}

static void wait_for(struct fixture *f, const struct seen *seen, const char *text)
{
	struct hf_timer guard;

	hf_timer_init(&guard, on_timeout, NULL);
	hf_loop_arm(f->loop, &guard, PATIENCE_MS);
	while (seen->calls == 0 || strcmp(seen->text, text) != 0)
		hf_loop_turn(f->loop, true);
	hf_wheel_disarm(&guard);
}

/* The same by an event: sooner than the periodic look would find it. */
static void wait_promptly(struct fixture *f, const struct seen *seen, const char *text)
{
	uint64_t start = hf_clock_monotonic_ms();

	wait_for(f, seen, text);
	assert_true(hf_clock_monotonic_ms() - start < PROMPT_MS);
}

static void assert_value(struct hf_keeper *keeper, const char *path, const char *text)
{
	char *value = NULL;
	size_t len = 0;

	assert_int_equal(hf_keeper_get(keeper, path, &value, &len), 0);
	assert_string_equal(value, text);
	assert_int_equal(len, strlen(text));
	free(value);
}

static int get_error(struct hf_keeper *keeper, const char *path)
{
	char *value = NULL;
	size_t len;
	int err = hf_keeper_get(keeper, path, &value, &len);

	if (err == 0)
		free(value);
	return err;
}

/* Fork a child that runs `work` with its own keeper, reports the result, and lives until let go. */
static struct child spawn(const struct fixture *f, int (*work)(struct hf_keeper *, const void *),
			  const void *arg, int *ret_result)
{
	int control[2], report[2], result = -ECHILD;
	struct child child;

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(control, O_CLOEXEC), 0);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0) {
		struct hf_loop *loop = hf_loop_new();
		struct hf_keeper *keeper = NULL;
		char byte;

		close(control[1]);
		if (loop == NULL || hf_keeper_open(loop, f->spec, &keeper) != 0)
			_exit(99);
		result = work(keeper, arg);
		(void)!write(report[1], &result, sizeof(result)); /* nobody may be asking */
		while (read(control[0], &byte, 1) < 0 && errno == EINTR)
			;
		hf_keeper_close(keeper);
		_exit(0);
	}
	close(control[0]);
	close(report[1]);
	child.control = control[1];
	if (ret_result != NULL) {
		assert_int_equal(read(report[0], &result, sizeof(result)), sizeof(result));
		*ret_result = result;
	}
	close(report[0]);
	return child;
}

static void reap(struct child child)
{
	int status;

	(void)!write(child.control, "",
		     1); /* a close would not do: later children share this end */
	close(child.control);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
}

static void kill_hard(struct child child)
{
	kill(child.pid, SIGKILL);
	reap(child);
}

struct hold {
	const char *path, *value;
};

static int work_hold(struct hf_keeper *keeper, const void *arg)
{
	const struct hold *hold = arg;

	return hf_keeper_hold(keeper, hold->path, hold->value, strlen(hold->value));
}

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

static void test_a_watch_tells_of_an_empty_folder_from_the_loop(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 };
	struct hf_keeper_watch *watch;

	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	assert_int_equal(seen.calls, 0);
	wait_for(f, &seen, "");
	assert_int_equal(seen.calls, 1);
}

static void test_a_watch_sees_additions_changes_and_removals_sorted(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 }, second = { 0 };
	struct hf_keeper_watch *watch, *other;

	assert_int_equal(hf_keeper_set(f->keeper, "apps/9", "nine", 4), 0);
	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	wait_promptly(f, &seen, "9=nine ");
	assert_int_equal(hf_keeper_set(f->keeper, "apps/11", "eleven", 6), 0);
	wait_promptly(f, &seen, "11=eleven 9=nine ");
	assert_int_equal(hf_keeper_set(f->keeper, "apps/9", "NINE", 4), 0);
	wait_promptly(f, &seen, "11=eleven 9=NINE ");
	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &second, &other), 0);
	assert_int_equal(hf_keeper_remove(f->keeper, "apps/11"), 0);
	wait_promptly(f, &seen, "9=NINE ");
	wait_promptly(f, &second, "9=NINE ");
	hf_keeper_unwatch(watch);
	hf_keeper_unwatch(other);
	hf_keeper_unwatch(NULL);
}

static void test_several_changes_of_one_turn_are_told_once(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 };
	struct hf_keeper_watch *watch;

	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	wait_for(f, &seen, "");
	for (char name[] = "apps/1"; name[5] <= '6'; name[5]++)
		assert_int_equal(hf_keeper_set(f->keeper, name, "x", 1), 0);
	wait_for(f, &seen, "1=x 2=x 3=x 4=x 5=x 6=x ");
	assert_int_equal(seen.calls, 2);
}

static void test_a_watch_sees_a_killed_owner_leave_at_once(void **state)
{
	struct fixture *f = *state;
	struct hold one = { "instances/room/room-1", "1" }, two = { "instances/room/room-2", "2" };
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	struct child first, second;
	int result;

	assert_int_equal(hf_keeper_watch(f->keeper, "instances/room", on_seen, &seen, &watch), 0);
	wait_promptly(f, &seen, "");
	first = spawn(f, work_hold, &one, &result);
	second = spawn(f, work_hold, &two, &result);
	wait_promptly(f, &seen, "room-1=1 room-2=2 ");
	kill_hard(first);
	wait_promptly(f, &seen, "room-2=2 ");
	kill_hard(second);
	wait_promptly(f, &seen, "");

	/* The dead one's place is taken again, and the taker's death shows as well. */
	first = spawn(f, work_hold, &one, &result);
	assert_int_equal(result, 0);
	wait_promptly(f, &seen, "room-1=1 ");
	kill_hard(first);
	wait_promptly(f, &seen, "");
}

static void test_a_watch_survives_the_removal_of_its_folder(void **state)
{
	struct fixture *f = *state;
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	char folder[128];

	assert_int_equal(hf_keeper_set(f->keeper, "apps/1", "x", 1), 0);
	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	wait_for(f, &seen, "1=x ");
	snprintf(folder, sizeof(folder), "%s/tree/apps", f->folder);
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	wait_for(f, &seen, "");
	assert_int_equal(hf_keeper_set(f->keeper, "apps/2", "y", 1), 0);
	wait_for(f, &seen, "2=y ");
}

static void test_strangers_in_the_folder_are_no_entries(void **state)
{
	struct fixture *f = *state;
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	char path[128];
	FILE *file;

	assert_int_equal(hf_keeper_set(f->keeper, "apps/1", "x", 1), 0);
	assert_int_equal(hf_keeper_set(f->keeper, "apps/sub/2", "x", 1), 0);
	snprintf(path, sizeof(path), "%s/tree/apps/bad name", f->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	snprintf(path, sizeof(path), "%s/tree/apps/huge", f->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), HF_KEEPER_VALUE_MAX + 1), 0);
	fclose(file);
	snprintf(path, sizeof(path), "%s/tree/apps/pipe", f->folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/tree/apps/link", f->folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);

	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	wait_for(f, &seen, "1=x ");
	assert_int_equal(get_error(f->keeper, "apps/huge"), -EMSGSIZE);
	assert_int_equal(get_error(f->keeper, "apps/link"), -ELOOP);
	assert_int_equal(get_error(f->keeper, "apps/pipe"), -ENOENT);
}

struct self_unwatch {
	struct hf_keeper_watch *watch;
	unsigned calls;
};

static void on_seen_unwatch(const struct hf_keeper_entry *entries, size_t count, void *ctx)
{
	struct self_unwatch *self = ctx;

	self->calls++;
	hf_keeper_unwatch(self->watch);
}

static void test_a_watch_may_be_ended_inside_its_own_callback(void **state)
{
	struct fixture *f = *state;
	struct self_unwatch self = { 0 };
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };

	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen_unwatch, &self, &self.watch),
			 0);
	wait_for(f, &seen, "");
	assert_int_equal(hf_keeper_set(f->keeper, "apps/1", "x", 1), 0);
	wait_for(f, &seen, "1=x ");
	assert_int_equal(self.calls, 1);
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
		TEST(test_a_watch_tells_of_an_empty_folder_from_the_loop),
		TEST(test_a_watch_sees_additions_changes_and_removals_sorted),
		TEST(test_several_changes_of_one_turn_are_told_once),
		TEST(test_a_watch_sees_a_killed_owner_leave_at_once),
		TEST(test_a_watch_survives_the_removal_of_its_folder),
		TEST(test_strangers_in_the_folder_are_no_entries),
		TEST(test_a_watch_may_be_ended_inside_its_own_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
