/* common/keeper/hf_keeper_dir_watch.c - watches of the `dir:` back end.
 *
 * One inotify descriptor a process, one record per watched folder with what was last seen in it. An
 * event only says "look": the folder is read again, once a turn, and callbacks run when something
 * differs. A holder's death shows as the close of its file, which the kernel reports shortly before
 * it drops the lock; so such a folder is looked at a few more times in the following milliseconds.
 * What slips through all of this is found by the look every 2 s. A look that fails (no descriptors,
 * say) changes nothing: a peer must not seem dead because we are in trouble. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "hf_keeper_dir.h"

#define RESCAN_MS        2000
#define RECHECK_FIRST_MS 2
#define RECHECKS         5 /* 2, 4, 8, 16, 32 ms */
#define CHILDREN_MAX     65536
/* A stamp younger than this may hide a second change in the same tick of the file system's clock.
 */
#define SETTLED_SEC 2

#define EVENTS                                                                               \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_ONLYDIR | \
	 IN_EXCL_UNLINK)

struct dir_stamp {
	ino_t ino;
	off_t size;
	struct timespec changed;
	bool settled;
};

struct dir_child {
	char *name, *value;
	size_t len;
	struct dir_stamp stamp;
	struct dir_child *same_as; /* while scanning: the value is still that one's */
};

struct dir_children {
	struct dir_child *items;
	size_t count, capacity;
};

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
	int wd; /* -1: not watched by the kernel */
	bool ephemeral;
	bool known; /* `children` is what a whole look has found */
	bool dirty; /* look at every child, whatever the folder's stamp says */
	unsigned rechecks;
	struct hf_timer recheck;
	struct dir_stamp stamp;
	struct dir_children children; /* sorted by name */
	char path[];
};

static struct dir_stamp stamp_of(const struct stat *st)
{
	return (struct dir_stamp){ .ino = st->st_ino,
				   .size = st->st_size,
				   .changed = st->st_ctim,
				   .settled = st->st_ctim.tv_sec + SETTLED_SEC < time(NULL) };
}

static bool stamp_vouches(const struct dir_stamp *old, const struct dir_stamp *now)
{
	return old->settled && old->ino == now->ino && old->size == now->size &&
	       old->changed.tv_sec == now->changed.tv_sec &&
	       old->changed.tv_nsec == now->changed.tv_nsec;
}

static void child_deinit(struct dir_child *child)
{
	free(child->name);
	if (child->same_as == NULL)
		free(child->value);
}

static void children_deinit(struct dir_children *children)
{
	for (size_t i = 0; i < children->count; i++)
		child_deinit(&children->items[i]);
	free(children->items);
	*children = (struct dir_children){ 0 };
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dir_child *)a)->name, ((const struct dir_child *)b)->name);
}

static int children_add(struct dir_children *children, const struct dir_child *child)
{
	if (children->count == children->capacity) {
		size_t capacity = children->capacity ? 2 * children->capacity : 16;
		struct dir_child *items = NULL;

		if (children->count >= CHILDREN_MAX)
			return -E2BIG;
		items = realloc(children->items, capacity * sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		children->items = items;
		children->capacity = capacity;
	}
	children->items[children->count++] = *child;
	return 0;
}

static bool is_held_now(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool held = fd >= 0 && hf_keeper_dir_is_held(fd) > 0;

	if (fd >= 0)
		close(fd);
	return held;
}

/* 0, -ENOENT (not an entry, or none any more), or why the look as a whole fails. */
static int load_child(struct dir_folder *folder, const char *dir, char *name,
		      struct dir_child *ret_child)
{
	struct dir_child key = { .name = name };
	struct dir_child *old = NULL;
	char file[PATH_MAX];
	struct stat st;
	int err;

	if (snprintf(file, sizeof(file), "%s/%s", dir, name) >= PATH_MAX)
		return -ENOENT;
	if (folder->children.count > 0)
		old = bsearch(&key, folder->children.items, folder->children.count, sizeof(key),
			      by_name);
	if (old != NULL && lstat(file, &st) == 0) {
		struct dir_stamp now = stamp_of(&st);

		if (stamp_vouches(&old->stamp, &now) && (!folder->ephemeral || is_held_now(file))) {
			*ret_child = (struct dir_child){
				.value = old->value, .len = old->len, .stamp = now, .same_as = old
			};
			return 0;
		}
	}

	*ret_child = (struct dir_child){ 0 };
	err = hf_keeper_dir_read(file, folder->ephemeral, &ret_child->value, &ret_child->len, &st);
	switch (err) {
	case 0:
		ret_child->stamp = stamp_of(&st);
		return 0;
	case -EACCES:
	case -EMSGSIZE:
		if (old != NULL && !folder->ephemeral) { /* a slip of somebody's removes no app */
			*ret_child = (struct dir_child){ .value = old->value,
							 .len = old->len,
							 .stamp = old->stamp,
							 .same_as = old };
			return 0;
		}
		return -ENOENT;
	case -ELOOP:
	case -ENXIO: /* a stranger in our folder, not an entry */
		return -ENOENT;
	default:
		return err;
	}
}

/* Add what `name` is now; what is no entry is left out. */
static int add_name(struct dir_folder *folder, const char *path, char *name,
		    struct dir_children *children)
{
	struct dir_child child;
	int err = load_child(folder, path, name, &child);

	if (err != 0)
		return err == -ENOENT ? 0 : err;
	child.name = strdup(name);
	err = child.name == NULL ? -ENOMEM : children_add(children, &child);
	if (err != 0)
		child_deinit(&child);
	return err;
}

static int scan_entries(struct dir_folder *folder, DIR *dir, const char *path,
			struct dir_children *children)
{
	struct dirent *entry;

	while (errno = 0, (entry = readdir(dir)) != NULL) {
		int err;

		if (!hf_keeper_is_segment(entry->d_name, strlen(entry->d_name)) ||
		    (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN))
			continue;
		err = add_name(folder, path, entry->d_name, children);
		if (err != 0)
			return err;
	}
	return -errno;
}

static void sort_children(struct dir_children *children)
{
	if (children->count > 0)
		qsort(children->items, children->count, sizeof(*children->items), by_name);
}

static void drop_twins(struct dir_children *children)
{
	size_t kept = 0;

	for (size_t i = 0; i < children->count; i++) {
		struct dir_child *child = &children->items[i];

		if (kept > 0 && strcmp(children->items[kept - 1].name, child->name) == 0)
			child_deinit(child);
		else
			children->items[kept++] = *child;
	}
	children->count = kept;
}

/* An entry that is replaced while a large folder is read may be shown twice, or not at all. The
 * first is sorted out here, and who was there before is gone only when asked for by name. Of a
 * newcomer that was passed over an event tells. */
static int mend_scan(struct dir_folder *folder, const char *path, struct dir_children *children)
{
	size_t scanned, n = 0;
	int err = 0;

	sort_children(children);
	drop_twins(children);
	scanned = children->count;
	for (size_t i = 0; i < folder->children.count && err == 0; i++) {
		char *name = folder->children.items[i].name;

		while (n < scanned && strcmp(children->items[n].name, name) < 0)
			n++;
		if (n == scanned || strcmp(children->items[n].name, name) != 0)
			err = add_name(folder, path, name, children);
	}
	sort_children(children);
	return err;
}

static bool children_equal(const struct dir_children *a, const struct dir_children *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct dir_child *x = &a->items[i], *y = &b->items[i];

		if (strcmp(x->name, y->name) != 0 || x->len != y->len ||
		    memcmp(x->value, y->value, x->len) != 0)
			return false;
	}
	return true;
}

/* The new list takes over the values that it only borrowed from the old one. */
static void children_swap(struct dir_children *current, struct dir_children *next)
{
	for (size_t i = 0; i < next->count; i++) {
		if (next->items[i].same_as != NULL)
			next->items[i].same_as->value = NULL;
		next->items[i].same_as = NULL;
	}
	children_deinit(current);
	*current = *next;
}

static void watch_folder(struct dir_folder *folder, const char *path)
{
	if (hf_keeper_dir_make(folder->keeper, folder->path) == 0 &&
	    folder->keeper->inotify_fd >= 0)
		folder->wd = inotify_add_watch(folder->keeper->inotify_fd, path, EVENTS);
}

/* Look at the folder. True when what is in it differs from what was known. */
static bool refresh(struct dir_folder *folder)
{
	struct dir_children next = { 0 };
	struct dir_stamp stamp;
	char path[PATH_MAX];
	bool changed = false;
	struct stat st;
	DIR *dir;
	int err;

	hf_keeper_dir_file(folder->keeper, folder->path, path);
	if (folder->wd < 0)
		watch_folder(folder, path); /* before the look: no change falls between */
	if (stat(path, &st) < 0)
		return false;
	stamp = stamp_of(&st);
	/* A lock leaves no trace in the folder's stamp; a change of lasting values does. */
	if (folder->known && !folder->dirty && !folder->ephemeral &&
	    stamp_vouches(&folder->stamp, &stamp))
		return false;

	dir = opendir(path);
	if (dir == NULL)
		return false;
	err = scan_entries(folder, dir, path, &next);
	closedir(dir);
	if (err == 0)
		err = mend_scan(folder, path, &next);
	if (err != 0) {
		children_deinit(&next);
		return false;
	}
	changed = !folder->known || !children_equal(&folder->children, &next);
	children_swap(&folder->children, &next);
	folder->stamp = stamp;
	folder->known = true;
	folder->dirty = false;
	return changed;
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
	size_t count = folder->children.count;
	struct hf_keeper_entry *entries = NULL;

	if (!folder->known || !somebody_is_due(folder))
		return;
	entries = calloc(count + 1, sizeof(*entries));
	if (entries == NULL)
		return; /* still due: tried again at the next look */
	for (size_t i = 0; i < count; i++) {
		const struct dir_child *child = &folder->children.items[i];

		entries[i] =
			(struct hf_keeper_entry){ .name = child->name,
						  .value = hf_bytes_of(child->value, child->len),
						  .ephemeral = folder->ephemeral };
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
	children_deinit(&folder->children);
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
		if ((folder->dirty || !folder->known) && refresh(folder))
			for (struct dir_watch *w = folder->watches; w != NULL; w = w->next)
				w->due = true;
		call_watches(folder);
	}
	keeper->delivering = false;
	reap(keeper);
}

static void look(struct dir_folder *folder)
{
	folder->dirty = true;
	hf_task_schedule(folder->keeper->loop, &folder->keeper->deliver);
}

static void on_recheck(struct hf_timer *timer, void *ctx)
{
	struct dir_folder *folder = ctx;

	look(folder);
	if (++folder->rechecks < RECHECKS)
		hf_loop_arm(folder->keeper->loop, timer, RECHECK_FIRST_MS << folder->rechecks);
}

static void on_rescan(struct hf_timer *timer, void *ctx)
{
	struct dir_keeper *keeper = ctx;

	for (struct dir_folder *folder = keeper->folders; folder != NULL; folder = folder->next) {
		bool changed = refresh(folder);

		for (struct dir_watch *w = folder->watches; changed && w != NULL; w = w->next)
			w->due = true;
	}
	hf_task_schedule(keeper->loop, &keeper->deliver);
	hf_loop_arm(keeper->loop, timer, RESCAN_MS);
}

static void handle_event(struct dir_keeper *keeper, const struct inotify_event *event)
{
	for (struct dir_folder *folder = keeper->folders; folder != NULL; folder = folder->next) {
		if (event->mask & IN_Q_OVERFLOW) {
			look(folder);
			continue;
		}
		if (folder->wd != event->wd)
			continue;
		if (event->mask & IN_IGNORED) /* the folder itself was removed */
			folder->wd = -1;
		if (event->len > 0 && event->name[0] == '.')
			return; /* a value on its way in: its rename is another event */
		look(folder);
		if (folder->ephemeral && (event->mask & IN_CLOSE_WRITE)) {
			folder->rechecks = 0;
			hf_loop_arm(keeper->loop, &folder->recheck, RECHECK_FIRST_MS);
		}
		return;
	}
}

static void on_inotify(evutil_socket_t fd, short what, void *ctx)
{
	union {
		struct inotify_event align;
		char bytes[4096];
	} buf;
	ssize_t len = read(fd, buf.bytes, sizeof(buf.bytes));

	for (ssize_t pos = 0; pos < len;) {
		const struct inotify_event *event = (const void *)(buf.bytes + pos);

		handle_event(ctx, event);
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
	folder->ephemeral = hf_keeper_is_ephemeral(path);
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
