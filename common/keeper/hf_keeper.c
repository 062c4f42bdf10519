#include "hf_keeper.h"

#include <errno.h>

#include "hf_keeper_backend.h"

#define SEGMENTS_MAX 6

static const struct hf_keeper_backend *const backends[] = { &hf_keeper_dir_backend };

bool hf_keeper_is_segment(const char *name, size_t len)
{
	if (len == 0 || len > HF_KEEPER_SEGMENT_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

/* Number of segments, 0 when `path` is not one of ours. */
static unsigned path_segments(const char *path)
{
	unsigned segments = 0;

	for (;;) {
		size_t len = strcspn(path, "/");

		if (++segments > SEGMENTS_MAX || !hf_keeper_is_segment(path, len))
			return 0;
		if (path[len] == '\0')
			return segments;
		path += len + 1;
	}
}

bool hf_keeper_is_ephemeral(const char *path)
{
	static const char *const trees[] = { "instances", "numbers" };

	for (size_t i = 0; i < HF_ARRAY_LEN(trees); i++) {
		size_t len = strlen(trees[i]);

		if (strncmp(path, trees[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
			return true;
	}
	return false;
}

static bool is_lasting(const char *path)
{
	return path_segments(path) > 0 && !hf_keeper_is_ephemeral(path);
}

static bool is_holdable(const char *path)
{
	return path_segments(path) > 1 && hf_keeper_is_ephemeral(path);
}

int hf_keeper_open(struct hf_loop *loop, const char *spec, struct hf_keeper **ret_keeper)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(backends); i++) {
		size_t len = strlen(backends[i]->scheme);

		if (strncmp(spec, backends[i]->scheme, len) == 0 && spec[len] == ':' &&
		    spec[len + 1] != '\0')
			return backends[i]->open(loop, spec + len + 1, ret_keeper);
	}
	return -EINVAL;
}

void hf_keeper_close(struct hf_keeper *keeper)
{
	if (keeper != NULL)
		keeper->backend->close(keeper);
}

int hf_keeper_get(struct hf_keeper *keeper, const char *path, char **ret, size_t *ret_len)
{
	if (path_segments(path) == 0)
		return -EINVAL;
	return keeper->backend->get(keeper, path, ret, ret_len);
}

int hf_keeper_set(struct hf_keeper *keeper, const char *path, const void *value, size_t len)
{
	if (!is_lasting(path))
		return -EINVAL;
	if (len > HF_KEEPER_VALUE_MAX)
		return -EMSGSIZE;
	return keeper->backend->set(keeper, path, value, len);
}

int hf_keeper_create(struct hf_keeper *keeper, const char *path, const void *value, size_t len)
{
	if (!is_lasting(path))
		return -EINVAL;
	if (len > HF_KEEPER_VALUE_MAX)
		return -EMSGSIZE;
	return keeper->backend->create(keeper, path, value, len);
}

int hf_keeper_remove(struct hf_keeper *keeper, const char *path)
{
	if (!is_lasting(path))
		return -EINVAL;
	return keeper->backend->remove(keeper, path);
}

int hf_keeper_hold(struct hf_keeper *keeper, const char *path, const void *value, size_t len)
{
	if (!is_holdable(path))
		return -EINVAL;
	if (len > HF_KEEPER_VALUE_MAX)
		return -EMSGSIZE;
	return keeper->backend->hold(keeper, path, value, len);
}

int hf_keeper_release(struct hf_keeper *keeper, const char *path)
{
	if (!is_holdable(path))
		return -EINVAL;
	return keeper->backend->release(keeper, path);
}

int hf_keeper_watch(struct hf_keeper *keeper, const char *path, hf_keeper_cb cb, void *ctx,
		    struct hf_keeper_watch **ret_watch)
{
	if (path_segments(path) == 0)
		return -EINVAL;
	return keeper->backend->watch(keeper, path, cb, ctx, ret_watch);
}

void hf_keeper_unwatch(struct hf_keeper_watch *watch)
{
	if (watch != NULL)
		watch->keeper->backend->unwatch(watch);
}
