/* common/keeper/hf_keeper_backend.h - what one back end of the keeper gives to the front.
 *
 * The front (hf_keeper.c) checks paths, sizes and which part of the tree a call may touch; a back
 * end sees valid arguments only. A back end's keeper and watch embed the two structs below first.
 */
#ifndef HF_KEEPER_BACKEND_H
#define HF_KEEPER_BACKEND_H

#include "hf_keeper.h"

struct hf_keeper_backend {
	const char *scheme; /* "dir": what stands before the colon of a spec */
	int (*open)(struct hf_loop *loop, const char *place, struct hf_keeper **ret_keeper);
	void (*close)(struct hf_keeper *keeper);
	int (*get)(struct hf_keeper *keeper, const char *path, char **ret, size_t *ret_len);
	int (*set)(struct hf_keeper *keeper, const char *path, const void *value, size_t len);
	int (*create)(struct hf_keeper *keeper, const char *path, const void *value, size_t len);
	int (*remove)(struct hf_keeper *keeper, const char *path);
	int (*hold)(struct hf_keeper *keeper, const char *path, const void *value, size_t len);
	int (*release)(struct hf_keeper *keeper, const char *path);
	int (*watch)(struct hf_keeper *keeper, const char *path, hf_keeper_cb cb, void *ctx,
		     struct hf_keeper_watch **ret_watch);
	void (*unwatch)(struct hf_keeper_watch *watch);
};

struct hf_keeper {
	const struct hf_keeper_backend *backend;
};

struct hf_keeper_watch {
	struct hf_keeper *keeper;
};

extern const struct hf_keeper_backend hf_keeper_dir_backend;

#define HF_KEEPER_SEGMENT_MAX 63

/* One segment of a path: 1..63 of [A-Za-z0-9._-], not starting with '.'. */
bool hf_keeper_is_segment(const char *name, size_t len);
/* Does `path` lie in a part of the tree where entries live as long as their owners? */
bool hf_keeper_is_ephemeral(const char *path);

#endif
