/* tests/unit/keeper_fixture.h - what the tests of the keeper share: a tree in a temporary folder,
 * and other processes. Children are forked before they open anything: a lock belongs to an open
 * file description, and fork shares those. */
#ifndef KEEPER_FIXTURE_H
#define KEEPER_FIXTURE_H

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

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	hf_keeper_close(f->keeper);
	hf_loop_free(f->loop);
	nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static inline void on_seen(const struct hf_keeper_entry *entries, size_t count, void *ctx)
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

static inline void on_timeout(struct hf_timer *timer, void *ctx)
{
	fail_msg("nothing happened in time");
}

static inline void wait_for(struct fixture *f, const struct seen *seen, const char *text)
{
	struct hf_timer guard;

	hf_timer_init(&guard, on_timeout, NULL);
	hf_loop_arm(f->loop, &guard, PATIENCE_MS);
	while (seen->calls == 0 || strcmp(seen->text, text) != 0)
		hf_loop_turn(f->loop, true);
	hf_wheel_disarm(&guard);
}

static inline void assert_value(struct hf_keeper *keeper, const char *path, const char *text)
{
	char *value = NULL;
	size_t len = 0;

	assert_int_equal(hf_keeper_get(keeper, path, &value, &len), 0);
	assert_string_equal(value, text);
	assert_int_equal(len, strlen(text));
	free(value);
}

static inline int get_error(struct hf_keeper *keeper, const char *path)
{
	char *value = NULL;
	size_t len;
	int err = hf_keeper_get(keeper, path, &value, &len);

	if (err != 0)
		assert_null(value);
	free(value);
	return err;
}

/* Fork a child that runs `work` with its own keeper, reports the result, and lives until let go. */
static inline struct child spawn(const struct fixture *f,
				 int (*work)(struct hf_keeper *, const void *), const void *arg,
				 int *ret_result)
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
		hf_loop_free(loop);
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

static inline void reap(struct child child)
{
	int status;

	(void)!write(child.control, "",
		     1); /* a close would not do: later children share this end */
	close(child.control);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
}

static inline void kill_hard(struct child child)
{
	kill(child.pid, SIGKILL);
	reap(child);
}

struct hold {
	const char *path, *value;
};

static inline int work_hold(struct hf_keeper *keeper, const void *arg)
{
	const struct hold *hold = arg;

	return hf_keeper_hold(keeper, hold->path, hold->value, strlen(hold->value));
}

#endif
