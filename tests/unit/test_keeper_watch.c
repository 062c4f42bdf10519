/* The `dir:` keeper between real processes: watches. */
#include <dirent.h>
#include <dlfcn.h>
#include <sys/resource.h>

#include "keeper_fixture.h"

#define PROMPT_MS 1500 /* below the periodic look of 2 s: only an event is as quick */
#define MANY      40   /* more than are looked at one by one */

/* What readdir() may do with a file that is replaced while a large folder is read. */
static const char *passed_over = "", *shown_twice = "";
static unsigned folders_read;

struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*next)(DIR *);
	static struct dirent *last;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "readdir");
	if (last != NULL && strcmp(last->d_name, shown_twice) == 0) {
		struct dirent *again = last;

		last = NULL;
		return again;
	}
	do
		last = next(dir);
	while (last != NULL && strcmp(last->d_name, passed_over) == 0);
	folders_read += last == NULL;
	return last;
}

/* The same by an event: sooner than the periodic look would find it. */
static void wait_promptly(struct fixture *f, const struct seen *seen, const char *text)
{
	uint64_t start = hf_clock_monotonic_ms();

	wait_for(f, seen, text);
	assert_true(hf_clock_monotonic_ms() - start < PROMPT_MS);
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

/* Files that come and go beside the entries, more than are looked at one by one. */
static void make_everything_looked_at(const struct fixture *f)
{
	for (unsigned i = 0; i < MANY; i++) {
		char path[128];
		int fd;

		snprintf(path, sizeof(path), "%s/tree/apps/z%u", f->folder, i);
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		assert_true(fd >= 0);
		close(fd);
		assert_int_equal(unlink(path), 0);
	}
}

static void test_an_entry_is_neither_lost_nor_doubled_by_reading_the_folder(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 };
	struct hf_keeper_watch *watch;

	for (char name[] = "apps/1"; name[5] <= '3'; name[5]++)
		assert_int_equal(hf_keeper_set(f->keeper, name, "x", 1), 0);
	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	wait_for(f, &seen, "1=x 2=x 3=x ");
	folders_read = 0;
	passed_over = "1";
	make_everything_looked_at(f);
	assert_int_equal(hf_keeper_set(f->keeper, "apps/1", "y", 1), 0);
	wait_promptly(f, &seen, "1=y 2=x 3=x ");
	passed_over = "";
	shown_twice = "2";
	make_everything_looked_at(f);
	assert_int_equal(hf_keeper_set(f->keeper, "apps/2", "y", 1), 0);
	wait_promptly(f, &seen, "1=y 2=y 3=x ");
	shown_twice = "3";
	make_everything_looked_at(f);
	assert_int_equal(hf_keeper_remove(f->keeper, "apps/1"), 0);
	wait_promptly(f, &seen, "2=y 3=x ");
	assert_int_equal(seen.calls, 4);
	assert_true(folders_read >= 3);
	shown_twice = "";
}

static char *text_of_many(const char *value, char text[512])
{
	size_t len = 0;

	for (unsigned i = 10; i < 10 + MANY; i++)
		len += (size_t)snprintf(text + len, 512 - len, "r%u=%s ", i, value);
	return text;
}

static int work_hold_many(struct hf_keeper *keeper, const void *value)
{
	int err = 0;

	for (unsigned i = 10; i < 10 + MANY && err == 0; i++) {
		char path[64];

		snprintf(path, sizeof(path), "instances/room/r%u", i);
		err = hf_keeper_hold(keeper, path, value, strlen(value));
	}
	return err;
}

/* More changes at once than are looked at one by one. */
static void test_many_who_come_and_die_at_once_are_all_seen(void **state)
{
	struct fixture *f = *state;
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	struct child child;
	char text[512];
	int result;

	assert_int_equal(hf_keeper_watch(f->keeper, "instances/room", on_seen, &seen, &watch), 0);
	wait_for(f, &seen, "");
	child = spawn(f, work_hold_many, "x", &result);
	assert_int_equal(result, 0);
	wait_promptly(f, &seen, text_of_many("x", text));
	kill_hard(child);
	wait_promptly(f, &seen, "");
}

/* The folder is read by the look every 2 s only, however many change or die one after the other. */
static void test_what_changes_is_looked_at_alone(void **state)
{
	struct fixture *f = *state;
	struct hold one = { "instances/room/r99", "x" };
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	struct child many;
	char text[512];
	uint64_t start;
	int result;

	assert_int_equal(hf_keeper_watch(f->keeper, "instances/room", on_seen, &seen, &watch), 0);
	many = spawn(f, work_hold_many, "x", &result);
	wait_for(f, &seen, text_of_many("x", text));
	start = hf_clock_monotonic_ms();
	folders_read = 0;
	for (unsigned i = 0; i < 10; i++) {
		char more[600], value[] = { (char)('0' + i), '\0' };
		struct child other;

		one.value = value;
		other = spawn(f, work_hold, &one, &result);
		assert_int_equal(result, 0);
		snprintf(more, sizeof(more), "%sr99=%s ", text, value);
		wait_for(f, &seen, more);
		kill_hard(other);
		wait_for(f, &seen, text);
	}
	assert_in_range(folders_read, 0, 1 + (hf_clock_monotonic_ms() - start) / 2000);
	reap(many);
}

/* The kernel keeps so many events for us, and drops the rest. */
static void test_a_change_whose_event_was_dropped_is_seen(void **state)
{
	struct fixture *f = *state;
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	char here[128], there[128];
	unsigned most = 0;
	FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%u", &most), 1);
	fclose(file);
	assert_int_equal(hf_keeper_watch(f->keeper, "apps", on_seen, &seen, &watch), 0);
	wait_for(f, &seen, "");
	snprintf(here, sizeof(here), "%s/tree/apps/.here", f->folder);
	snprintf(there, sizeof(there), "%s/tree/apps/.there", f->folder);
	file = fopen(here, "w");
	assert_non_null(file);
	fclose(file);
	for (unsigned i = 0; i <= most / 4; i++) { /* two events each */
		assert_int_equal(rename(here, there), 0);
		assert_int_equal(rename(there, here), 0);
	}
	assert_int_equal(hf_keeper_set(f->keeper, "apps/1", "x", 1), 0);
	wait_promptly(f, &seen, "1=x ");
}

static void on_time(struct hf_timer *timer, void *ctx)
{
	*(bool *)ctx = true;
}

/* Without a descriptor nothing can be looked at: nobody is taken for dead because of that. */
static void test_a_look_that_fails_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct hold one = { "instances/room/r1", "x" }, two = { "instances/room/r2", "x" };
	struct rlimit old, none;
	struct hf_keeper_watch *watch;
	struct seen seen = { 0 };
	struct child first, second;
	struct hf_timer timer;
	bool looked = false;
	int result;

	assert_int_equal(hf_keeper_watch(f->keeper, "instances/room", on_seen, &seen, &watch), 0);
	first = spawn(f, work_hold, &one, &result);
	wait_for(f, &seen, "r1=x ");
	second = spawn(f, work_hold, &two, &result);
	assert_int_equal(result, 0);
	kill_hard(first);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	hf_timer_init(&timer, on_time, &looked);
	hf_loop_arm(f->loop, &timer, 2500); /* longer than to the look at everything */
	while (!looked)
		hf_loop_turn(f->loop, true);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(seen.calls, 1);
	wait_for(f, &seen, "r2=x ");
	reap(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_watch_tells_of_an_empty_folder_from_the_loop),
		TEST(test_a_watch_sees_additions_changes_and_removals_sorted),
		TEST(test_several_changes_of_one_turn_are_told_once),
		TEST(test_a_watch_sees_a_killed_owner_leave_at_once),
		TEST(test_a_watch_survives_the_removal_of_its_folder),
		TEST(test_strangers_in_the_folder_are_no_entries),
		TEST(test_a_watch_may_be_ended_inside_its_own_callback),
		TEST(test_an_entry_is_neither_lost_nor_doubled_by_reading_the_folder),
		TEST(test_many_who_come_and_die_at_once_are_all_seen),
		TEST(test_what_changes_is_looked_at_alone),
		TEST(test_a_change_whose_event_was_dropped_is_seen),
		TEST(test_a_look_that_fails_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
