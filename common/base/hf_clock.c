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
static inline char *put_number(char *pos, unsigned value, unsigned digits, char after)
{
	for (unsigned i = digits; i > 0; i--) {
		pos[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	pos[digits] = after;
	return pos + digits + 1;
}

/* Days since 1970-01-01 as year, month and day; gmtime_r() would look at the time zone, and lock
 * it. Years that begin in March have the leap day at their end, and 400 of them have 146097 days.
 */
static void date_of(unsigned days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	unsigned shifted = days + 719468; /* since 0000-03-01 */
	unsigned era = shifted / 146097, in_era = shifted % 146097;
	unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	unsigned day = in_era - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * day + 2) / 153; /* 0: March */

	*ret_day = day - (153 * month + 2) / 5 + 1;
	*ret_month = month < 10 ? month + 3 : month - 9;
	*ret_year = year + era * 400 + (month >= 10);
}

void hf_clock_format(uint64_t wall_ms, char *ret)
{
	uint64_t ms = wall_ms < NEWEST_MS ? wall_ms : NEWEST_MS;
	unsigned in_day = (unsigned)(ms % 86400000), seconds = in_day / 1000;
	unsigned year, month, day;

	date_of((unsigned)(ms / 86400000), &year, &month, &day);
	ret = put_number(ret, year, 4, '-');
	ret = put_number(ret, month, 2, '-');
	ret = put_number(ret, day, 2, 'T');
	ret = put_number(ret, seconds / 3600, 2, ':');
	ret = put_number(ret, seconds / 60 % 60, 2, ':');
	ret = put_number(ret, seconds % 60, 2, '.');
	ret = put_number(ret, in_day % 1000, 3, 'Z');
	*ret = '\0';
}
