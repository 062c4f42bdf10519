/* common/keeper/hf_keeper_dir_watch.c - watches of the `dir:` back end.
 *
 * One inotify descriptor a process, one record per watched folder with the list of what was last
 * seen in it. An event names who is to be looked at: that is done once a turn, and callbacks run
 * when something differs. A holder's death shows as the close of its file, which the kernel reports
 * shortly before it drops the lock; so whom events named is looked at a few more times in the
 * following milliseconds. More names than a folder's record has room for, or events that were lost,
 * mean a look at everything, and what slips through all of this is found by such a look every 2 s.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "hf_keeper_dir.h"
#include "hf_keeper_dir_list.h"

#define RESCAN_MS        2000
#define RECHECK_FIRST_MS 2
#define RECHECKS         5  /* 2, 4, 8, 16, 32 ms */
#define NAMES_MAX        32 /* looked at one by one */

/* What our own calls and the deaths of holders bring about. IN_CREATE and IN_MOVED_FROM would wake
 * all watchers for each value on its way in, under its first name; what only these tell of, an
 * entry that is linked, or moved away, by hand, waits for the look every 2 s. */
#define EVENTS (IN_MOVED_TO | IN_DELETE | IN_CLOSE_WRITE | IN_ONLYDIR | IN_EXCL_UNLINK)

struct dir_watch {
	struct hf_keeper_watch base;
	struct dir_watch *next;
	struct dir_folder *folder;
	hf_keeper_cb cb;
	void *ctx;
	bool due, dead;
};

struct dir_folder {
	struct dir_folder *next;
	struct dir_keeper *keeper;
	struct dir_watch *watches;
	int wd;     /* -1: not watched by the kernel */
	bool due;   /* look at `names` */
	bool whole; /* look at everything */
	unsigned rechecks;
	struct hf_timer recheck;
	char names[NAMES_MAX][HF_KEEPER_DIR_NAME_SIZE]; /* kept until their rechecks are over */
	size_t name_count;                              /* NAMES_MAX: there may have been more */
	struct dir_list list;
	char path[];
};

static void watch_folder(struct dir_folder *folder, const char *path)
{
	if (hf_keeper_dir_make(folder->keeper, folder->path) == 0 &&
	    folder->keeper->inotify_fd >= 0)
		folder->wd = inotify_add_watch(folder->keeper->inotify_fd, path, EVENTS);
}

/* The next look is at everything, whatever the folder's stamp says. */
static void doubt(struct dir_folder *folder)
{
	folder->whole = true;
	folder->list.stamp.settled = false;
}

static void look(struct dir_folder *folder)
{
	char path[PATH_MAX];
	bool changed = false;
	int err = 0;

	hf_keeper_dir_file(folder->keeper, folder->path, path);
	if (folder->wd < 0)
		watch_folder(folder, path); /* before the look: no change falls between */
	if (folder->whole || !folder->list.known)
		err = hf_keeper_dir_list_look_whole(&folder->list, path, &changed);
	if (err == 0 && folder->due) /* the folder's stamp does not vouch for these */
		err = hf_keeper_dir_list_look(&folder->list, path, folder->names,
					      folder->name_count, &changed);
	for (struct dir_watch *w = folder->watches; changed && w != NULL; w = w->next)
		w->due = true;
	folder->due = folder->whole = false;
	if (err < 0)
		doubt(folder);
	if (!hf_timer_armed(&folder->recheck))
		folder->name_count = 0;
}

static bool somebody_is_due(const struct dir_folder *folder)
{
	for (const struct dir_watch *watch = folder->watches; watch != NULL; watch = watch->next)
		if (watch->due && !watch->dead)
			return true;
	return false;
}

static void call_watches(struct dir_folder *folder)
{
	size_t count = folder->list.count;
	struct hf_keeper_entry *entries = NULL;

	if (!folder->list.known || !somebody_is_due(folder))
		return;
	entries = calloc(count + 1, sizeof(*entries));
	if (entries == NULL)
		return; /* still due: tried again at the next look */
	for (size_t i = 0; i < count; i++) {
		const struct dir_entry *entry = folder->list.entries[i];

		entries[i] =
			(struct hf_keeper_entry){ .name = entry->name,
						  .value = hf_bytes_of(entry->value, entry->len),
						  .ephemeral = folder->list.ephemeral };
	}
	for (struct dir_watch *watch = folder->watches; watch != NULL; watch = watch->next) {
		if (!watch->due || watch->dead)
			continue;
		watch->due = false;
		watch->cb(entries, count, watch->ctx);
	}
	free(entries);
}

static void folder_free(struct dir_folder *folder)
{
	if (folder->wd >= 0)
		inotify_rm_watch(folder->keeper->inotify_fd, folder->wd);
	hf_wheel_disarm(&folder->recheck);
	hf_keeper_dir_list_deinit(&folder->list);
	free(folder);
}

/* Free the dead watches, and the folders that nobody watches any more. */
static void reap(struct dir_keeper *keeper)
{
	for (struct dir_folder **f = &keeper->folders; *f != NULL;) {
		struct dir_folder *folder = *f;

		for (struct dir_watch **w = &folder->watches; *w != NULL;) {
			struct dir_watch *watch = *w;

			if (watch->dead) {
				*w = watch->next;
				free(watch);
			} else {
				w = &watch->next;
			}
		}
		if (folder->watches == NULL) {
			*f = folder->next;
			folder_free(folder);
		} else {
			f = &folder->next;
		}
	}
}

/* The task of a turn: look at all folders with something to see, then tell. */
static void on_deliver(void *ctx)
{
	struct dir_keeper *keeper = ctx;

	keeper->delivering = true;
	for (struct dir_folder *folder = keeper->folders; folder != NULL; folder = folder->next) {
		if (folder->due || folder->whole || !folder->list.known)
			look(folder);
		call_watches(folder);
	}
	keeper->delivering = false;
	reap(keeper);
}

static void on_recheck(struct hf_timer *timer, void *ctx)
{
	struct dir_folder *folder = ctx;

	if (folder->name_count == NAMES_MAX)
		doubt(folder);
	else
		folder->due = true;
	hf_task_schedule(folder->keeper->loop, &folder->keeper->deliver);
	if (++folder->rechecks < RECHECKS)
		hf_loop_arm(folder->keeper->loop, timer, RECHECK_FIRST_MS << folder->rechecks);
}

static void on_rescan(struct hf_timer *timer, void *ctx)
{
	struct dir_keeper *keeper = ctx;

	for (struct dir_folder *folder = keeper->folders; folder != NULL; folder = folder->next)
		folder->whole = true;
	hf_task_schedule(keeper->loop, &keeper->deliver);
	hf_loop_arm(keeper->loop, timer, RESCAN_MS);
}

static void remember(struct dir_folder *folder, const char *name)
{
	folder->due = true;
	for (size_t i = 0; i < folder->name_count; i++)
		if (strcmp(folder->names[i], name) == 0)
			return;
	if (folder->name_count < NAMES_MAX)
		memcpy(folder->names[folder->name_count++], name, strlen(name) + 1);
	if (folder->name_count == NAMES_MAX)
		doubt(folder);
}

static void handle_event(struct dir_folder *folder, const struct inotify_event *event)
{
	if (event->mask & IN_IGNORED) /* the folder itself was removed */
		folder->wd = -1;
	if (event->len == 0)
		doubt(folder);
	else if (hf_keeper_is_segment(event->name, strlen(event->name)))
		remember(folder, event->name);
	else
		return; /* a value on its way in: its rename is another event */
	hf_task_schedule(folder->keeper->loop, &folder->keeper->deliver);
	if (folder->list.ephemeral && (event->mask & IN_CLOSE_WRITE)) {
		folder->rechecks = 0;
		hf_loop_arm(folder->keeper->loop, &folder->recheck, RECHECK_FIRST_MS);
	}
}

static void on_inotify(evutil_socket_t fd, short what, void *ctx)
{
	union {
		struct inotify_event align;
		char bytes[4096];
	} buf;
	ssize_t len = read(fd, buf.bytes, sizeof(buf.bytes));
	struct dir_keeper *keeper = ctx;

	for (ssize_t pos = 0; pos < len;) {
		const struct inotify_event *event = (const void *)(buf.bytes + pos);

		for (struct dir_folder *f = keeper->folders; f != NULL; f = f->next) {
			/* Of a queue that ran over we learn no more than that. */
			if (f->wd == event->wd || (event->mask & IN_Q_OVERFLOW))
				handle_event(f, event);
		}
		pos += (ssize_t)(sizeof(*event) + event->len);
	}
}

int hf_keeper_dir_watch_init(struct dir_keeper *keeper)
{
	hf_task_init(&keeper->deliver, on_deliver, keeper);
	hf_timer_init(&keeper->rescan, on_rescan, keeper);
	keeper->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (keeper->inotify_fd < 0)
		return 0; /* their number per user is small: live with the periodic look */
	keeper->inotify_event = event_new(keeper->loop->base, keeper->inotify_fd,
					  EV_READ | EV_PERSIST, on_inotify, keeper);
	if (keeper->inotify_event == NULL || event_add(keeper->inotify_event, NULL) < 0) {
		hf_keeper_dir_watch_deinit(keeper);
		return -ENOMEM;
	}
	return 0;
}

void hf_keeper_dir_watch_deinit(struct dir_keeper *keeper)
{
	for (struct dir_folder *folder = keeper->folders; folder != NULL; folder = folder->next)
		for (struct dir_watch *watch = folder->watches; watch != NULL; watch = watch->next)
			watch->dead = true;
	reap(keeper);
	hf_task_cancel(keeper->loop, &keeper->deliver);
	hf_wheel_disarm(&keeper->rescan);
	if (keeper->inotify_event != NULL)
		event_free(keeper->inotify_event);
	if (keeper->inotify_fd >= 0)
		close(keeper->inotify_fd);
}

static struct dir_folder *get_folder(struct dir_keeper *keeper, const char *path)
{
	size_t size = strlen(path) + 1;
	struct dir_folder *folder = keeper->folders;

	while (folder != NULL && strcmp(folder->path, path) != 0)
		folder = folder->next;
	if (folder != NULL)
		return folder;

	folder = calloc(1, sizeof(*folder) + size);
	if (folder == NULL)
		return NULL;
	folder->keeper = keeper;
	folder->wd = -1;
	folder->list.ephemeral = hf_keeper_is_ephemeral(path);
	hf_timer_init(&folder->recheck, on_recheck, folder);
	memcpy(folder->path, path, size);
	folder->next = keeper->folders;
	keeper->folders = folder;
	return folder;
}

int hf_keeper_dir_watch(struct hf_keeper *base, const char *path, hf_keeper_cb cb, void *ctx,
			struct hf_keeper_watch **ret_watch)
{
	struct dir_keeper *keeper = HF_CONTAINER_OF(base, struct dir_keeper, base);
	struct dir_watch *watch = malloc(sizeof(*watch));
	struct dir_folder *folder;
	int err = hf_keeper_dir_make(keeper, path);

	if (err < 0 || watch == NULL) {
		free(watch);
		return err < 0 ? err : -ENOMEM;
	}
	folder = get_folder(keeper, path);
	if (folder == NULL) {
		free(watch);
		return -ENOMEM;
	}
	*watch = (struct dir_watch){ .base.keeper = base,
				     .next = folder->watches,
				     .folder = folder,
				     .cb = cb,
				     .ctx = ctx,
				     .due = true };
	folder->watches = watch;
	hf_task_schedule(keeper->loop, &keeper->deliver);
	if (!hf_timer_armed(&keeper->rescan))
		hf_loop_arm(keeper->loop, &keeper->rescan, RESCAN_MS);
	*ret_watch = &watch->base;
	return 0;
}

void hf_keeper_dir_unwatch(struct hf_keeper_watch *base)
{
	struct dir_watch *watch = HF_CONTAINER_OF(base, struct dir_watch, base);
	struct dir_keeper *keeper = HF_CONTAINER_OF(base->keeper, struct dir_keeper, base);

	watch->dead = true;
	if (!keeper->delivering)
		reap(keeper);
}
