#include "hf_wheel.h"

#include <stdlib.h>

#define LEVELS     6u
#define LEVEL_BITS 6u
#define SLOTS      (1u << LEVEL_BITS)
#define REACH      (1ull << (LEVELS * LEVEL_BITS)) /* ms; later timers wait in the farthest slot */

/* Level n has SLOTS slots of 64^n ms. The slot of a timer is chosen by its distance from `tick`; at
 * the tick that begins a slot of a level above 0, its timers are placed anew, now on a finer level.
 */
struct hf_wheel {
	uint64_t now_ms; /* of the newest advance */
	uint64_t tick;   /* every earlier millisecond has been run */
	uint64_t
		used[LEVELS]; /* a bit a slot; set for every slot that has timers, maybe for more */
	struct hf_timer *past;   /* armed for a time that was not after now_ms */
	struct hf_timer *firing; /* taken from their slot, to be called */
	struct hf_timer *slots[LEVELS][SLOTS];
};

struct hf_wheel *hf_wheel_new(uint64_t now_ms)
{
	struct hf_wheel *wheel = malloc(sizeof(*wheel));

	if (wheel != NULL)
		*wheel = (struct hf_wheel){ .now_ms = now_ms, .tick = now_ms + 1 };
	return wheel;
}

static void disarm_all(struct hf_timer *list)
{
	while (list != NULL) {
		struct hf_timer *next = list->next;

		list->prev = NULL;
		list = next;
	}
}

void hf_wheel_free(struct hf_wheel *wheel)
{
	if (wheel == NULL)
		return;
	for (unsigned level = 0; level < LEVELS; level++)
		for (unsigned slot = 0; slot < SLOTS; slot++)
			disarm_all(wheel->slots[level][slot]);
	disarm_all(wheel->past);
	free(wheel);
}

static void link_timer(struct hf_timer **list, struct hf_timer *timer)
{
	timer->next = *list;
	timer->prev = list;
	if (timer->next != NULL)
		timer->next->prev = &timer->next;
	*list = timer;
}

/* due_ms is not before `tick`. */
static void place(struct hf_wheel *wheel, struct hf_timer *timer)
{
	uint64_t distance = HF_MIN(timer->due_ms - wheel->tick, REACH - 1);
	unsigned level = (63u - (unsigned)__builtin_clzll(distance | 1)) / LEVEL_BITS;
	unsigned slot = (wheel->tick + distance) >> (level * LEVEL_BITS) & (SLOTS - 1);

	wheel->used[level] |= 1ull << slot;
	link_timer(&wheel->slots[level][slot], timer);
}

void hf_wheel_arm(struct hf_wheel *wheel, struct hf_timer *timer, uint64_t due_ms)
{
	hf_wheel_disarm(timer);
	timer->due_ms = due_ms;
	if (HF_UNLIKELY(due_ms <= wheel->now_ms))
		link_timer(&wheel->past, timer);
	else
		place(wheel, timer);
}

void hf_wheel_disarm(struct hf_timer *timer)
{
	if (timer->prev == NULL)
		return;
	*timer->prev = timer->next;
	if (timer->next != NULL)
		timer->next->prev = timer->prev;
	timer->prev = NULL;
}

/* The first millisecond from `tick` on that begins a slot with timers, or UINT64_MAX. Clears the
 * bits of slots that disarming has emptied. */
static uint64_t next_of_level(struct hf_wheel *wheel, unsigned level)
{
	unsigned shift = level * LEVEL_BITS;
	uint64_t first = (wheel->tick + (1ull << shift) - 1) >> shift;
	unsigned turn = first & (SLOTS - 1);

	while (wheel->used[level] != 0) {
		uint64_t used = wheel->used[level];
		uint64_t from_first = turn == 0 ? used : used >> turn | used << (SLOTS - turn);
		uint64_t found = first + (unsigned)__builtin_ctzll(from_first);

		if (wheel->slots[level][found & (SLOTS - 1)] != NULL)
			return found << shift;
		wheel->used[level] &= ~(1ull << (found & (SLOTS - 1)));
	}
	return UINT64_MAX;
}

static uint64_t next_tick(struct hf_wheel *wheel)
{
	uint64_t next = UINT64_MAX;

	for (unsigned level = 0; level < LEVELS; level++) {
		uint64_t candidate = next_of_level(wheel, level);

		next = HF_MIN(next, candidate);
	}
	return next;
}

/* Empty `list` into wheel->firing, where disarming and arming find its timers like in any slot. */
static void take_list(struct hf_wheel *wheel, struct hf_timer **list)
{
	wheel->firing = *list;
	*list = NULL;
	if (wheel->firing != NULL)
		wheel->firing->prev = &wheel->firing;
}

static void fire(struct hf_wheel *wheel, struct hf_timer **list)
{
	struct hf_timer *timer;

	take_list(wheel, list);
	while ((timer = wheel->firing) != NULL) {
		hf_wheel_disarm(timer);
		timer->cb(timer, timer->ctx); /* may free its record */
	}
}

/* Place the timers of all slots that begin at `tick` anew. */
static void cascade(struct hf_wheel *wheel)
{
	for (unsigned level = 1; level < LEVELS; level++) {
		unsigned shift = level * LEVEL_BITS;
		struct hf_timer *timer;

		if ((wheel->tick & ((1ull << shift) - 1)) != 0)
			return;
		take_list(wheel, &wheel->slots[level][wheel->tick >> shift & (SLOTS - 1)]);
		while ((timer = wheel->firing) != NULL) {
			hf_wheel_disarm(timer);
			place(wheel, timer);
		}
	}
}

void hf_wheel_advance(struct hf_wheel *wheel, uint64_t now_ms)
{
	uint64_t tick;

	wheel->now_ms = HF_MAX(wheel->now_ms, now_ms);
	fire(wheel, &wheel->past);
	while ((tick = next_tick(wheel)) <= wheel->now_ms) {
		wheel->tick = tick;
		cascade(wheel);
		wheel->tick = tick + 1;
		fire(wheel, &wheel->slots[0][tick & (SLOTS - 1)]);
	}
	wheel->tick = wheel->now_ms + 1;
}

uint64_t hf_wheel_wait_ms(const struct hf_wheel *wheel, uint64_t now_ms)
{
	uint64_t next;

	if (wheel->past != NULL)
		return 0;
	next = next_tick((struct hf_wheel *)wheel); /* only tidies the bits of empty slots */
	if (next == UINT64_MAX)
		return next;
	return next > now_ms ? next - now_ms : 0;
}
