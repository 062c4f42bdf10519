/* services/saver/registry_look.h - a look into hf:d: what an earlier owner of our slots, or we when
 * there were too many, did not bring to MySQL. */
#ifndef SAVER_REGISTRY_LOOK_H
#define SAVER_REGISTRY_LOOK_H

#include "hf_loop.h"

struct saver;

struct saver_registry_look {
	struct saver *saver;
	struct hf_timer timer;
	bool active, again, failed;
	unsigned node;
	char cursor[24];
	uint32_t pending;
};

void saver_registry_look_init(struct saver_registry_look *look, struct saver *saver);
void saver_registry_look_deinit(struct saver_registry_look *look); /* after Redis is closed */
void saver_registry_look_soon(struct saver_registry_look *look);

#endif
