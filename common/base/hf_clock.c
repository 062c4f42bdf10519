#include "hf_clock.h"

#include <time.h>

#define NEWEST_MS 253402300799999ull /* the end of year 9999: the text has four digits for it */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t hf_clock_wall_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / 1000000u;
}

uint64_t hf_clock_wall_us(void)
{
	return clock_ns(CLOCK_REALTIME) / 1000u;
}

uint64_t hf_clock_monotonic_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t hf_clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* `digits` decimal digits of `value`, then `after`; returns the position behind them. */
static char *put_number(char *pos, unsigned value, unsigned digits, char after)
{
	for (unsigned i = digits; i > 0; i--) {
		pos[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	pos[digits] = after;
	return pos + digits + 1;
}

void hf_clock_format(uint64_t wall_ms, char *ret)
{
	uint64_t ms = wall_ms < NEWEST_MS ? wall_ms : NEWEST_MS;
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	ret = put_number(ret, (unsigned)tm.tm_year + 1900, 4, '-');
	ret = put_number(ret, (unsigned)tm.tm_mon + 1, 2, '-');
	ret = put_number(ret, (unsigned)tm.tm_mday, 2, 'T');
	ret = put_number(ret, (unsigned)tm.tm_hour, 2, ':');
	ret = put_number(ret, (unsigned)tm.tm_min, 2, ':');
	ret = put_number(ret, (unsigned)tm.tm_sec, 2, '.');
	ret = put_number(ret, (unsigned)(ms % 1000), 3, 'Z');
	*ret = '\0';
}
