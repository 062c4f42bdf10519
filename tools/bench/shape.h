/* tools/bench/shape.h - how many clients there shall be, and when: straight lines from one level to
 * the next. Client `n` is there while the level is above n. Times are from the start of the run. */
#ifndef SHAPE_H
#define SHAPE_H

#include "hf_base.h"

#define STAGES_MAX     32
#define SHAPE_LEVEL    100000000ull  /* highest level */
#define SHAPE_STAGE_MS 2592000000ull /* 30 days: longest stage */

struct stage {
	double from, to; /* levels */
	uint64_t begin_ns, length_ns;
};
struct shape {
	size_t count;
	struct stage stages[STAGES_MAX];
};

/* One line up to `level`, at `rate` a second. */
void shape_line(struct shape *ret, uint64_t level, double rate);
/* "LEVEL:TIME,..": from 0 to each LEVEL in turn, each within its TIME. 0, -EINVAL (not that, or a
 * number out of bounds) or -E2BIG (more stages than STAGES_MAX). */
HF_MUST_CHECK int shape_parse(struct shape *ret, const char *text);
uint64_t shape_peak(const struct shape *shape);
uint64_t shape_length_ns(const struct shape *shape);
bool shape_falls(const struct shape *shape); /* anywhere */

/* Does client `number` come (a stage that rises) or leave (one that falls) in this stage; and when:
 * when the level is at its number. */
static inline bool stage_has(const struct stage *stage, uint64_t number)
{
	return (double)number >= HF_MIN(stage->from, stage->to) &&
	       (double)number < HF_MAX(stage->from, stage->to);
}
static inline uint64_t stage_due_ns(const struct stage *stage, uint64_t number)
{
	double share = ((double)number - stage->from) / (stage->to - stage->from);

	return stage->begin_ns + (uint64_t)(share * (double)stage->length_ns);
}

#endif
