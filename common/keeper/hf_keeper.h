/* common/keeper/hf_keeper.h - the cluster's small shared tree: who lives, what is configured.
 *
 *	config/cluster            {"salt": "..."}: made once by whoever comes first
 *	instances/<service>/<id>  ephemeral: one live process (hf_instance.h)
 *	numbers/<n>               ephemeral: a node number 1..1023 in use (hf_id.h)
 *	apps/<id>                 one app: name, keys, limits (hf_apps.h)
 *
 * A path is 1..6 segments of [A-Za-z0-9._-], at most 63 bytes each, none starting with '.';
 * a value at most 64 KiB. What lies under instances/ and numbers/ is ephemeral: it is written by
 * hf_keeper_hold() and ended by hf_keeper_release() alone; everything else by set, create and
 * remove alone. A call on the wrong part is -EINVAL, a value too long -EMSGSIZE.
 *
 * Back end `dir:PATH` (one machine): a folder. Values are files replaced by rename, so a reader
 * never sees a half of one. An ephemeral's file is locked by its owner (open file description lock)
 * for as long as it lives: the kernel drops the lock when the process dies, however it dies.
 * Watchers learn of changes by inotify - the close of a dead owner's file is such an event - and
 * look again every 2 s in case one was lost. A file without a lock under instances/ or numbers/
 * does not exist. */
#ifndef HF_KEEPER_H
#define HF_KEEPER_H

#include "hf_base.h"
#include "hf_loop.h"

#define HF_KEEPER_VALUE_MAX 65536

struct hf_keeper;
struct hf_keeper_watch;

struct hf_keeper_entry {
	const char *name; /* last segment */
	struct hf_bytes value;
	bool ephemeral;
};

/* `spec`: "dir:PATH" (made when missing). 0, -EINVAL (unknown back end), or -errno. */
HF_MUST_CHECK int hf_keeper_open(struct hf_loop *loop, const char *spec,
				 struct hf_keeper **ret_keeper);
/* Ends every ephemeral of this process and every watch. NULL is fine. */
void hf_keeper_close(struct hf_keeper *keeper);

/* The value into `ret` (caller frees with free(), NUL added beyond len). 0, -ENOENT, -EINVAL
 * (path), -errno. */
HF_MUST_CHECK int hf_keeper_get(struct hf_keeper *keeper, const char *path, char **ret,
				size_t *ret_len);
HF_MUST_CHECK int hf_keeper_set(struct hf_keeper *keeper, const char *path, const void *value,
				size_t len);
/* Only if nothing is there: 0 or -EEXIST. Atomic between processes. */
HF_MUST_CHECK int hf_keeper_create(struct hf_keeper *keeper, const char *path, const void *value,
				   size_t len);
HF_MUST_CHECK int hf_keeper_remove(struct hf_keeper *keeper, const char *path); /* 0 or -ENOENT */

/* Hold `path` with `value` until removed, closed or dead. Again on a path of our own: the value is
 * replaced, without a moment in which it is gone. -EBUSY: another live process holds it. */
HF_MUST_CHECK int hf_keeper_hold(struct hf_keeper *keeper, const char *path, const void *value,
				 size_t len);
HF_MUST_CHECK int hf_keeper_release(struct hf_keeper *keeper, const char *path);

/* `cb` runs with all live children of `path` (sorted by name), first soon after this call from the
 * loop, then after every change, several changes perhaps in one. Entries are borrowed for the call.
 */
typedef void (*hf_keeper_cb)(const struct hf_keeper_entry *entries, size_t count, void *ctx);
HF_MUST_CHECK int hf_keeper_watch(struct hf_keeper *keeper, const char *path, hf_keeper_cb cb,
				  void *ctx, struct hf_keeper_watch **ret_watch);
void hf_keeper_unwatch(struct hf_keeper_watch *watch); /* NULL is fine; safe inside its own cb */

#endif
