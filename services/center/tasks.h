/* services/center/tasks.h - one word to all rooms about a broadcast, at once: pause, or stop.
 * What starts tasks and shares out the pace is run.c. */
#ifndef CENTER_TASKS_H
#define CENTER_TASKS_H

#include "center.h"

/* `done` runs once, later or from within; `all`: every room has confirmed; `written`: by the rooms
 * that answered, so far. */
void tasks_tell(struct center *center, uint32_t app, uint64_t id, uint32_t revision,
		Hf__TaskState state, void (*done)(bool all, uint64_t written, void *ctx),
		void *ctx);

#endif
