/* common/base/hf_clock.h - the two clocks. Wall time is for what is stored or shown (expiry, ids,
 * logs); monotonic time is for durations and deadlines. A process on the loop asks
 * hf_loop_now_ms() and hf_loop_wall_ms(), which read once a turn; these calls are for everything
 * else. */
#ifndef HF_CLOCK_H
#define HF_CLOCK_H

#include <stdint.h>

uint64_t hf_clock_wall_ms(void); /* milliseconds since 1970-01-01T00:00:00Z */
uint64_t hf_clock_wall_us(void);
uint64_t hf_clock_monotonic_ms(void); /* milliseconds since some fixed point */
uint64_t hf_clock_monotonic_ns(void);

/* "2026-01-31T11:59:58.412Z" for `wall_ms`, into `ret` of at least HF_CLOCK_TEXT_SIZE bytes. */
#define HF_CLOCK_TEXT_SIZE 25
void hf_clock_format(uint64_t wall_ms, char *ret);

#endif
