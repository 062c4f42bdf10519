#include "verdict.h"

#include <stdio.h>

struct verdict verdict_of(const struct post_outcome *outcome)
{
	unsigned status = outcome->status;
	bool answered = outcome->result == POST_ANSWERED || outcome->result == POST_TOO_LARGE;
	struct verdict verdict = { .kind = VERDICT_FAILED, .unreachable = !answered };

	if (!answered)
		return verdict;
	if (status / 100 == 2)
		verdict.kind = VERDICT_DELIVERED;
	else if (status == 410)
		verdict.kind = VERDICT_GONE;
	else if ((status / 100 == 4 && status != 408 && status != 425 && status != 429) ||
		 status / 100 == 3)
		verdict.kind = VERDICT_REFUSED_BY_BUSINESS;
	verdict.throttle = status == 429 || status == 502 || status == 504;
	verdict.unreachable = verdict.throttle || status == 503;
	return verdict;
}

uint64_t verdict_delay(const struct verdict_schedule *schedule, const struct verdict *verdict,
		       unsigned attempt, uint32_t retry_after_s, uint64_t random)
{
	uint64_t delay_ms, fifth;

	if (attempt == 0 || attempt > schedule->count ||
	    (verdict->kind == VERDICT_REFUSED_BY_BUSINESS && attempt >= VERDICT_REFUSED))
		return UINT64_MAX;
	delay_ms = schedule->delays_ms[attempt - 1];
	fifth = delay_ms / 5;
	delay_ms = delay_ms - fifth + (fifth > 0 ? random % (2 * fifth + 1) : 0);
	return HF_MAX(delay_ms, HF_MIN(retry_after_s, VERDICT_RETRY_AFTER) * 1000ull);
}

void verdict_reason(const struct post_outcome *outcome, char *ret, size_t size)
{
	static const char *const names[] = {
		[POST_ANSWERED] = "",
		[POST_TIMEOUT] = "timeout",
		[POST_FAILED] = "no connection or a broken answer",
		[POST_TOO_LARGE] = "",
		[POST_DENIED] = "address denied",
	};

	if (names[outcome->result][0] != '\0')
		snprintf(ret, size, "%s", names[outcome->result]);
	else
		snprintf(ret, size, "HTTP %u", outcome->status);
}
