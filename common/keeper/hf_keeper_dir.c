/* common/keeper/hf_keeper_dir.c - the keeper as a folder: values are files, holds are locked files.
 *
 * Every file appears whole: it is written under a name that starts with '.', then renamed. The file
 * of a hold carries an open file description lock from before it is renamed until its owner lets go
 * or dies, so at any moment "linked and locked" means "held". Readers ask about the lock and never
 * take it: one that did would look like an owner to the next. */
#include "hf_keeper_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ROOT_MAX      (PATH_MAX - 512) /* leaves room for the longest path and a temporary name */
#define CLAIM_TRIES   16
#define READ_TRIES    64
#define BUSY_TRIES    3
#define DEAD_KEEP_SEC 86400 /* files of the dead that nobody took over are swept after this */

struct dir_hold {
	struct dir_hold *next;
	int fd; /* its description owns the lock */
	char path[];
};

static struct dir_keeper *keeper_of(struct hf_keeper *base)
{
	return HF_CONTAINER_OF(base, struct dir_keeper, base);
}

void hf_keeper_dir_file(const struct dir_keeper *keeper, const char *path, char ret[PATH_MAX])
{
	int len = snprintf(ret, PATH_MAX, "%s/%s", keeper->root, path);

	if (len < 0 || len >= PATH_MAX) /* ROOT_MAX and the front's limits rule it out */
		abort();
}

/* mkdir -p. The tree holds secrets of apps: nobody but its owner looks into it. */
static int make_folders(const char *folder)
{
	char prefix[PATH_MAX];

	if (mkdir(folder, 0700) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	for (size_t i = 1;; i++) {
		if (folder[i] != '/' && folder[i] != '\0')
			continue;
		memcpy(prefix, folder, i);
		prefix[i] = '\0';
		if (mkdir(prefix, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (folder[i] == '\0')
			return 0;
	}
}

int hf_keeper_dir_make(const struct dir_keeper *keeper, const char *path)
{
	char folder[PATH_MAX];

	hf_keeper_dir_file(keeper, path, folder);
	return make_folders(folder);
}

/* Is the file behind `fd` locked by somebody else's description? 1, 0 or -errno. Takes no lock. */
static int is_held(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type != F_UNLCK;
}

static int take_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* Is the file behind `fd` the one that `file` names now? */
static bool is_linked(int fd, const char *file)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && lstat(file, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
	       ours.st_dev == theirs.st_dev;
}

/* One look. -EAGAIN: the file was replaced meanwhile, look again. */
static int open_once(const char *file, bool ephemeral, struct stat *ret_stat)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int err = 0;

	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (fstat(fd, ret_stat) < 0)
		err = -errno;
	else if (!S_ISREG(ret_stat->st_mode))
		err = -ENOENT;
	else if (ret_stat->st_size > HF_KEEPER_VALUE_MAX)
		err = -EMSGSIZE;
	if (err == 0 && ephemeral) {
		int held = is_held(fd);

		/* Unlocked may mean dead, or replaced between our open and our question. */
		if (held == 0)
			err = is_linked(fd, file) ? -ENOENT : -EAGAIN;
		else if (held < 0)
			err = held;
	}
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

int hf_keeper_dir_open(const char *file, bool ephemeral, struct stat *ret_stat)
{
	for (unsigned i = 0; i < READ_TRIES; i++) {
		int fd = open_once(file, ephemeral, ret_stat);

		if (fd != -EAGAIN)
			return fd;
	}
	return -EBUSY;
}

int hf_keeper_dir_read(int fd, char *ret, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, ret + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO; /* shrank: not one of our files */
		len += (size_t)n;
	}
	ret[size] = '\0';
	return 0;
}

static int write_all(int fd, const void *value, size_t len)
{
	const char *pos = value;

	while (len > 0) {
		ssize_t n = write(fd, pos, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		pos += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A new file beside `path`'s, name in `ret_temp`, with the value in it. `locked`: with the lock of
 * a hold; otherwise flushed to disk, as it is meant to last. Returns the descriptor or -errno. */
static int temp_new(struct dir_keeper *keeper, const char *path, const void *value, size_t len,
		    bool locked, char ret_temp[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	int folder_len = slash ? (int)(slash - path) : 0;
	int fd, err;

	for (;;) {
		int n = snprintf(ret_temp, PATH_MAX, "%s/%.*s/.tmp-%ld-%u", keeper->root,
				 folder_len, path, (long)getpid(), keeper->temp_counter++);

		if (n < 0 || n >= PATH_MAX)
			return -ENAMETOOLONG;
		fd = open(ret_temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0)
			break;
		if (errno == ENOENT) {
			char folder[PATH_MAX];

			memcpy(folder, ret_temp, (size_t)n + 1);
			err = make_folders(dirname(folder));
			if (err < 0)
				return err;
		} else if (errno != EEXIST) {
			return -errno;
		}
	}

	err = write_all(fd, value, len);
	if (err == 0 && locked)
		err = take_lock(fd);
	if (err == 0 && !locked && fsync(fd) < 0)
		err = -errno;
	if (err == 0)
		return fd;
	unlink(ret_temp);
	close(fd);
	return err;
}

/* A rename is on disk when its folder is. */
static void sync_folder_of(const char *file)
{
	char folder[PATH_MAX];
	int fd;

	memcpy(folder, file, strlen(file) + 1);
	fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

static int dir_get(struct hf_keeper *base, const char *path, char **ret, size_t *ret_len)
{
	char file[PATH_MAX], *value;
	struct stat st;
	int fd, err;

	hf_keeper_dir_file(keeper_of(base), path, file);
	fd = hf_keeper_dir_open(file, hf_keeper_is_ephemeral(path), &st);
	if (fd < 0)
		return fd;
	value = malloc((size_t)st.st_size + 1);
	err = value == NULL ? -ENOMEM : hf_keeper_dir_read(fd, value, (size_t)st.st_size);
	close(fd);
	if (err != 0) {
		free(value);
		return err;
	}
	*ret = value;
	*ret_len = (size_t)st.st_size;
	return 0;
}

static int write_lasting(struct hf_keeper *base, const char *path, const void *value, size_t len,
			 unsigned rename_flags)
{
	struct dir_keeper *keeper = keeper_of(base);
	char file[PATH_MAX], temp[PATH_MAX];
	int err = 0;
	int fd = temp_new(keeper, path, value, len, false, temp);

	if (fd < 0)
		return fd;
	close(fd);
	hf_keeper_dir_file(keeper, path, file);
	if (renameat2(AT_FDCWD, temp, AT_FDCWD, file, rename_flags) < 0) {
		err = -errno;
		unlink(temp);
		return err;
	}
	sync_folder_of(file);
	return 0;
}

static int dir_set(struct hf_keeper *base, const char *path, const void *value, size_t len)
{
	return write_lasting(base, path, value, len, 0);
}

static int dir_create(struct hf_keeper *base, const char *path, const void *value, size_t len)
{
	return write_lasting(base, path, value, len, RENAME_NOREPLACE);
}

static int dir_remove(struct hf_keeper *base, const char *path)
{
	char file[PATH_MAX];

	hf_keeper_dir_file(keeper_of(base), path, file);
	if (unlink(file) < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	sync_folder_of(file);
	return 0;
}

/* Put our locked `temp` at `file`, where a dead owner's file may lie. Of two contenders one wins:
 * the lock on the dead file is won by one, and who finds, with the lock, that the file is not
 * linked any more came too late and starts over. */
static int claim(const char *temp, const char *file)
{
	for (unsigned i = 0; i < CLAIM_TRIES; i++) {
		int dead, err = 0;

		if (renameat2(AT_FDCWD, temp, AT_FDCWD, file, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
		dead = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (dead < 0 && errno == ENOENT)
			continue;
		if (dead < 0)
			return -errno;
		err = take_lock(dead);
		if (err == 0 && !is_linked(dead, file)) {
			close(dead);
			continue;
		}
		if (err == 0 && rename(temp, file) < 0)
			err = -errno;
		close(dead);
		return err;
	}
	return -EBUSY;
}

/* As claim(); a sweeper (below) may have the lock of a dead file for a few microseconds. */
static int claim_patiently(const char *temp, const char *file)
{
	int err = -EBUSY;

	for (unsigned i = 0; i < BUSY_TRIES && err == -EBUSY; i++) {
		err = claim(temp, file);
		if (err == -EBUSY)
			sched_yield();
	}
	return err;
}

/* Files beside `file` that died long ago and were never taken over (names with a pid in them, and
 * temporary ones of processes killed at the wrong moment). */
static void sweep_dead_beside(const char *file)
{
	char folder[PATH_MAX];
	time_t before = time(NULL) - DEAD_KEEP_SEC;
	struct dirent *entry;
	DIR *dir;

	memcpy(folder, file, strlen(file) + 1);
	dir = opendir(dirname(folder));
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char path[PATH_MAX];
		struct stat st;
		int fd;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode) || st.st_mtime > before)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= PATH_MAX)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			continue;
		if (is_held(fd) == 0 && take_lock(fd) == 0 && is_linked(fd, path))
			unlink(path);
		close(fd);
	}
	if (dir != NULL)
		closedir(dir);
}

static struct dir_hold **find_hold(struct dir_keeper *keeper, const char *path)
{
	struct dir_hold **pos = &keeper->holds;

	while (*pos != NULL && strcmp((*pos)->path, path) != 0)
		pos = &(*pos)->next;
	return pos;
}

static void forget_hold(struct dir_hold **pos)
{
	struct dir_hold *hold = *pos;

	*pos = hold->next;
	close(hold->fd);
	free(hold);
}

/* The new value's file, locked, goes over the old one; only then does the old lock end. */
static int replace_hold(struct dir_hold **pos, int fd, const char *temp, const char *file)
{
	struct dir_hold *hold = *pos;
	int err;

	if (is_linked(hold->fd, file))
		err = rename(temp, file) < 0 ? -errno : 0;
	else /* somebody removed our file by hand; another may have come since */
		err = claim(temp, file);
	if (err == -EBUSY)
		forget_hold(pos);
	if (err != 0)
		return err;
	close(hold->fd);
	hold->fd = fd;
	return 0;
}

static int new_hold(struct dir_hold **pos, const char *path, int fd, const char *temp,
		    const char *file)
{
	size_t size = strlen(path) + 1;
	struct dir_hold *hold = malloc(sizeof(*hold) + size);
	int err;

	if (hold == NULL)
		return -ENOMEM;
	err = claim_patiently(temp, file);
	if (err != 0) {
		free(hold);
		return err;
	}
	*hold = (struct dir_hold){ .fd = fd };
	memcpy(hold->path, path, size);
	*pos = hold;
	sweep_dead_beside(file);
	return 0;
}

static int dir_hold(struct hf_keeper *base, const char *path, const void *value, size_t len)
{
	struct dir_keeper *keeper = keeper_of(base);
	struct dir_hold **pos = find_hold(keeper, path);
	char file[PATH_MAX], temp[PATH_MAX];
	int err;
	int fd = temp_new(keeper, path, value, len, true, temp);

	if (fd < 0)
		return fd;
	hf_keeper_dir_file(keeper, path, file);
	if (*pos != NULL)
		err = replace_hold(pos, fd, temp, file);
	else
		err = new_hold(pos, path, fd, temp, file);
	if (err != 0) {
		unlink(temp);
		close(fd);
	}
	return err;
}

static int dir_release(struct hf_keeper *base, const char *path)
{
	struct dir_keeper *keeper = keeper_of(base);
	struct dir_hold **pos = find_hold(keeper, path);
	char file[PATH_MAX];

	if (*pos == NULL)
		return -ENOENT;
	hf_keeper_dir_file(keeper, path, file);
	if (is_linked((*pos)->fd, file))
		unlink(file);
	forget_hold(pos);
	return 0;
}

static void dir_close(struct hf_keeper *base)
{
	struct dir_keeper *keeper = keeper_of(base);

	hf_keeper_dir_watch_deinit(keeper);
	while (keeper->holds != NULL)
		dir_release(base, keeper->holds->path);
	free(keeper->root);
	free(keeper);
}

static int dir_open(struct hf_loop *loop, const char *place, struct hf_keeper **ret_keeper)
{
	struct dir_keeper *keeper;
	int err;

	if (strlen(place) > ROOT_MAX)
		return -ENAMETOOLONG;
	err = make_folders(place);
	if (err < 0)
		return err;
	keeper = calloc(1, sizeof(*keeper));
	if (keeper == NULL)
		return -ENOMEM;
	keeper->base.backend = &hf_keeper_dir_backend;
	keeper->loop = loop;
	keeper->inotify_fd = -1;
	keeper->root = realpath(place, NULL); /* the process may change its folder later */
	if (keeper->root == NULL)
		err = -errno;
	else if (strlen(keeper->root) > ROOT_MAX)
		err = -ENAMETOOLONG;
	if (err == 0)
		err = hf_keeper_dir_watch_init(keeper);
	if (err != 0) {
		free(keeper->root);
		free(keeper);
		return err;
	}
	*ret_keeper = &keeper->base;
	return 0;
}

const struct hf_keeper_backend hf_keeper_dir_backend = {
	.scheme = "dir",
	.open = dir_open,
	.close = dir_close,
	.get = dir_get,
	.set = dir_set,
	.create = dir_create,
	.remove = dir_remove,
	.hold = dir_hold,
	.release = dir_release,
	.watch = hf_keeper_dir_watch,
	.unwatch = hf_keeper_dir_unwatch,
};
