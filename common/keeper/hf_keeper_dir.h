/* common/keeper/hf_keeper_dir.h - inside of the `dir:` back end, shared by its files:
 * hf_keeper_dir.c (values and holds), hf_keeper_dir_list.c (what is in a folder) and
 * hf_keeper_dir_watch.c (watches). */
#ifndef HF_KEEPER_DIR_H
#define HF_KEEPER_DIR_H

#include <limits.h>
#include <sys/stat.h>

#include "hf_keeper_backend.h"

struct dir_hold;
struct dir_folder;

struct dir_keeper {
	struct hf_keeper base;
	struct hf_loop *loop;
	char *root; /* absolute */
	unsigned temp_counter;
	struct dir_hold *holds;

	/* The watching half. */
	int inotify_fd; /* -1: the kernel gave none; the periodic look alone must do */
	struct event *inotify_event;
	struct dir_folder *folders;
	struct hf_task deliver;
	struct hf_timer rescan;
	bool delivering;
};

void hf_keeper_dir_file(const struct dir_keeper *keeper, const char *path, char ret[PATH_MAX]);
/* Makes the folder of `path`'s own, and those above it. */
int hf_keeper_dir_make(const struct dir_keeper *keeper, const char *path);

/* Opens an entry for reading: a descriptor, and its stat. -ENOENT when it is not there, not a file,
 * or `ephemeral` and its owner is dead; -EMSGSIZE when over HF_KEEPER_VALUE_MAX. */
int hf_keeper_dir_open(const char *file, bool ephemeral, struct stat *ret_stat);
/* All of its value, NUL added: `ret` has room for size + 1. */
int hf_keeper_dir_read(int fd, char *ret, size_t size);

int hf_keeper_dir_watch_init(struct dir_keeper *keeper);
void hf_keeper_dir_watch_deinit(struct dir_keeper *keeper);
int hf_keeper_dir_watch(struct hf_keeper *base, const char *path, hf_keeper_cb cb, void *ctx,
			struct hf_keeper_watch **ret_watch);
void hf_keeper_dir_unwatch(struct hf_keeper_watch *base);

#endif
