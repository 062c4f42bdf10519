/* common/keeper/hf_keeper_dir_list.h - the entries of one folder of the `dir:` back end, as they
 * were found by looking. When to look is for hf_keeper_dir_watch.c to know.
 *
 * A look costs as much as there are names to look at, not as the folder has entries. An entry that
 * could not be looked at (no descriptors, say) stays what it was: a peer must not seem dead because
 * we are in trouble. */
#ifndef HF_KEEPER_DIR_LIST_H
#define HF_KEEPER_DIR_LIST_H

#include <sys/stat.h>
#include <time.h>

#include "hf_keeper_backend.h"

#define HF_KEEPER_DIR_NAME_SIZE (HF_KEEPER_SEGMENT_MAX + 1)

struct dir_stamp {
	ino_t ino;
	off_t size;
	struct timespec changed;
	bool settled; /* else it vouches for nothing */
};

struct dir_entry {
	struct dir_stamp stamp;
	size_t len;
	char name[HF_KEEPER_DIR_NAME_SIZE];
	char value[]; /* NUL added beyond len */
};

struct dir_list {
	bool ephemeral;
	bool known;                 /* everything was looked at once */
	struct dir_stamp stamp;     /* of the folder, before the last look at everything */
	struct dir_entry **entries; /* sorted by name */
	size_t count, capacity;
};

void hf_keeper_dir_list_deinit(struct dir_list *list);

/* Look at what is called so in the folder `path`. 0, or -errno when not all could be looked at;
 * either way *changed becomes true when something differs from what was known. */
HF_MUST_CHECK int hf_keeper_dir_list_look(struct dir_list *list, const char *path,
					  const char (*names)[HF_KEEPER_DIR_NAME_SIZE],
					  size_t count, bool *changed);
/* The same for everything in it; also for nothing, when all is lasting and the folder's stamp
 * vouches for it. Who does not trust the stamp clears `stamp.settled` before. */
HF_MUST_CHECK int hf_keeper_dir_list_look_whole(struct dir_list *list, const char *path,
						bool *changed);

#endif
