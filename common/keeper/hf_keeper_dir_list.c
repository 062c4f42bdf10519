/* common/keeper/hf_keeper_dir_list.c - see hf_keeper_dir_list.h. */
#include "hf_keeper_dir_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_keeper_dir.h"

#define ENTRIES_MAX 65536
#define NAMES_MAX   (2 * ENTRIES_MAX) /* of a look: those in the folder, and those known */
/* A stamp younger than this may hide a second change in the same tick of the file system's clock.
 */
#define SETTLED_SEC 2

struct names {
	char (*items)[HF_KEEPER_DIR_NAME_SIZE];
	size_t count, capacity;
};

static struct dir_stamp stamp_of(const struct stat *st)
{
	return (struct dir_stamp){ .ino = st->st_ino,
				   .size = st->st_size,
				   .changed = st->st_ctim,
				   .settled = st->st_ctim.tv_sec + SETTLED_SEC < time(NULL) };
}

static bool stamp_vouches(const struct dir_stamp *old, const struct stat *now)
{
	return old->settled && old->ino == now->st_ino && old->size == now->st_size &&
	       old->changed.tv_sec == now->st_ctim.tv_sec &&
	       old->changed.tv_nsec == now->st_ctim.tv_nsec;
}

void hf_keeper_dir_list_deinit(struct dir_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->entries[i]);
	free(list->entries);
	*list = (struct dir_list){ .ephemeral = list->ephemeral };
}

/* One entry */

/* Where `name` is in the list, or belongs. */
static size_t place_of(const struct dir_list *list, const char *name)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(list->entries[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert(struct dir_list *list, size_t place, struct dir_entry *entry)
{
	if (list->count >= ENTRIES_MAX)
		return -E2BIG;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
		struct dir_entry **entries =
			realloc(list->entries, capacity * sizeof(struct dir_entry *));

		if (entries == NULL)
			return -ENOMEM;
		list->entries = entries;
		list->capacity = capacity;
	}
	memmove(list->entries + place + 1, list->entries + place,
		(list->count - place) * sizeof(struct dir_entry *));
	list->entries[place] = entry;
	list->count++;
	return 0;
}

static void take_out(struct dir_list *list, size_t place)
{
	free(list->entries[place]);
	list->count--;
	memmove(list->entries + place, list->entries + place + 1,
		(list->count - place) * sizeof(struct dir_entry *));
}

static int read_entry(int fd, const struct stat *st, const char *name, struct dir_entry **ret_entry)
{
	size_t len = (size_t)st->st_size;
	struct dir_entry *entry = malloc(sizeof(*entry) + len + 1);
	int err;

	if (entry == NULL)
		return -ENOMEM;
	err = hf_keeper_dir_read(fd, entry->value, len);
	if (err != 0) {
		free(entry);
		return err;
	}
	entry->stamp = stamp_of(st);
	entry->len = len;
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	*ret_entry = entry;
	return 0;
}

/* What `name` is now, or NULL when it is still what `old` is. -ENOENT: not an entry, or none any
 * more. */
static int load(const struct dir_list *list, const char *path, const char *name,
		const struct dir_entry *old, struct dir_entry **ret_entry)
{
	char file[PATH_MAX];
	struct stat st;
	int fd, err = 0;

	*ret_entry = NULL;
	if (snprintf(file, sizeof(file), "%s/%s", path, name) >= PATH_MAX)
		return -ENOENT;
	/* A lock leaves no trace in a stamp: who may have died is opened and asked for it. */
	if (old != NULL && !list->ephemeral && lstat(file, &st) == 0 &&
	    stamp_vouches(&old->stamp, &st))
		return 0;

	fd = hf_keeper_dir_open(file, list->ephemeral, &st);
	switch (fd) {
	case -ELOOP:
	case -ENXIO: /* a stranger in our folder */
		return -ENOENT;
	case -EACCES:
	case -EMSGSIZE: /* a slip of somebody's removes no app */
		return old != NULL && !list->ephemeral ? 0 : -ENOENT;
	}
	if (fd < 0)
		return fd;
	if (old == NULL || !stamp_vouches(&old->stamp, &st))
		err = read_entry(fd, &st, name, ret_entry);
	close(fd);
	return err;
}

static bool same_value(const struct dir_entry *a, const struct dir_entry *b)
{
	return a->len == b->len && memcmp(a->value, b->value, a->len) == 0;
}

static int look_at(struct dir_list *list, const char *path, const char *name, bool *changed)
{
	size_t place = place_of(list, name);
	struct dir_entry *old = NULL, *entry;
	int err;

	if (place < list->count && strcmp(list->entries[place]->name, name) == 0)
		old = list->entries[place];
	err = load(list, path, name, old, &entry);
	if (err == -ENOENT) {
		if (old != NULL)
			take_out(list, place);
		*changed |= old != NULL;
		return 0;
	}
	if (err != 0 || entry == NULL)
		return err;

	if (old == NULL) {
		err = insert(list, place, entry);
		if (err != 0) {
			free(entry);
			return err;
		}
	} else {
		list->entries[place] = entry;
	}
	*changed |= old == NULL || !same_value(old, entry);
	free(old);
	return 0;
}

int hf_keeper_dir_list_look(struct dir_list *list, const char *path,
			    const char (*names)[HF_KEEPER_DIR_NAME_SIZE], size_t count,
			    bool *changed)
{
	int first = 0;

	for (size_t i = 0; i < count; i++) { /* one that can't be read hides no other */
		int err = look_at(list, path, names[i], changed);

		if (first == 0)
			first = err;
	}
	return first;
}

/* Everything */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int add_name(struct names *names, const char *name)
{
	if (names->count == names->capacity) {
		size_t capacity = names->capacity > 0 ? 2 * names->capacity : 64;
		void *items = NULL;

		if (names->count >= NAMES_MAX)
			return -E2BIG;
		items = realloc(names->items, capacity * sizeof(*names->items));
		if (items == NULL)
			return -ENOMEM;
		names->items = items;
		names->capacity = capacity;
	}
	snprintf(names->items[names->count++], HF_KEEPER_DIR_NAME_SIZE, "%s", name);
	return 0;
}

static int read_names(DIR *dir, struct names *names)
{
	struct dirent *entry;

	while (errno = 0, (entry = readdir(dir)) != NULL) {
		int err;

		if (!hf_keeper_is_segment(entry->d_name, strlen(entry->d_name)) ||
		    (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN))
			continue;
		err = add_name(names, entry->d_name);
		if (err != 0)
			return err;
	}
	return -errno;
}

/* Sorted, each once. An entry that is replaced while a large folder is read may be shown twice, or
 * not at all; so who is known is asked for by name too. Of a newcomer that was passed over an event
 * tells. */
static int gather_names(const struct dir_list *list, const char *path, struct names *names)
{
	DIR *dir = opendir(path);
	size_t kept = 0;
	int err;

	if (dir == NULL)
		return -errno;
	err = read_names(dir, names);
	closedir(dir);
	for (size_t i = 0; i < list->count && err == 0; i++)
		err = add_name(names, list->entries[i]->name);
	if (err != 0 || names->count == 0)
		return err;

	qsort(names->items, names->count, sizeof(*names->items), by_name);
	for (size_t i = 0; i < names->count; i++) {
		if (i == 0 || strcmp(names->items[i], names->items[kept - 1]) != 0)
			memmove(names->items[kept++], names->items[i], sizeof(*names->items));
	}
	names->count = kept;
	return 0;
}

int hf_keeper_dir_list_look_whole(struct dir_list *list, const char *path, bool *changed)
{
	struct names names = { 0 };
	struct dir_stamp stamp;
	struct stat st;
	int err;

	if (stat(path, &st) < 0)
		return -errno;
	if (list->known && !list->ephemeral && stamp_vouches(&list->stamp, &st))
		return 0;
	stamp = stamp_of(&st);
	err = gather_names(list, path, &names);
	if (err == 0)
		err = hf_keeper_dir_list_look(list, path, names.items, names.count, changed);
	free(names.items);
	if (err != 0)
		return err;
	*changed |= !list->known;
	list->known = true;
	list->stamp = stamp;
	return 0;
}
