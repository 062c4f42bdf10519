#include "json_slate.h"

#include <jansson.h>
#include <stdlib.h>

#include "hf_base.h"

#define SLATE_SIZE (32u << 10)
#define ALIGNMENT  _Alignof(max_align_t)

static struct {
	_Alignas(ALIGNMENT) uint8_t bytes[SLATE_SIZE];
	size_t used, live; /* bytes, blocks */
	bool open, installed;
} slate;

static void *slate_alloc(size_t size)
{
	size_t need = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	void *block = slate.bytes + slate.used;

	if (!slate.open || need > SLATE_SIZE - slate.used)
		return malloc(size);
	slate.used += need;
	slate.live++;
	return block;
}

static void slate_free(void *block)
{
	uint8_t *pos = block;

	if (pos < slate.bytes || pos >= slate.bytes + SLATE_SIZE)
		free(block);
	else if (--slate.live == 0)
		slate.used = 0;
}

void json_slate_begin(void)
{
	if (!slate.installed)
		json_set_alloc_funcs(slate_alloc, slate_free);
	slate.installed = true;
	slate.open = true;
}

void json_slate_end(void)
{
	slate.open = false;
}
