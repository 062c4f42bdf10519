/* tools/bench/why_cost.c - what a record of common/why costs, beside one clock_gettime(), which is
 * most of it. Prints one line of JSON: nanoseconds each, the best of some rounds, and microseconds
 * for one look through a full ring. */
#include <stdio.h>
#include <string.h>

#include "hf_why.h"

#define NOTES  2000000u
#define ROUNDS 7

static double best(double a, double b)
{
	return a == 0 || b < a ? b : a;
}

static double since_ns(uint64_t start_ns, double count)
{
	return (double)(hf_clock_monotonic_ns() - start_ns) / count;
}

int main(void)
{
	static struct hf_why_record found[100];
	static const char name[] = "01JABCDEFGHJKMNPQRSTVWXYZ0";
	struct hf_why_query query = { .app = 7, .message_id = 1, .max = 100 };
	double clock_ns = 0, note_ns = 0, named_ns = 0, find_us = 0;
	uint64_t start, sum = 0, oldest;
	struct hf_why why;

	if (hf_why_init(&why, 65536, 42) < 0)
		return 1;
	for (int round = 0; round < ROUNDS; round++) {
		start = hf_clock_monotonic_ns();
		for (uint64_t i = 0; i < NOTES; i++)
			sum += hf_clock_wall_us();
		clock_ns = best(clock_ns, since_ns(start, NOTES));
		start = hf_clock_monotonic_ns();
		for (uint64_t i = 0; i < NOTES; i++)
			hf_why_note(&why, HF_WHY_STORED, 7, i + 2, i, 0);
		note_ns = best(note_ns, since_ns(start, NOTES));
		start = hf_clock_monotonic_ns();
		for (uint64_t i = 0; i < NOTES; i++)
			hf_why_note_name(&why, HF_WHY_STORED, 7, name, sizeof(name) - 1, i + 2, 0);
		named_ns = best(named_ns, since_ns(start, NOTES));
		start = hf_clock_monotonic_ns();
		sum += hf_why_find(&why, &query, found, &oldest);
		find_us = best(find_us, since_ns(start, 1) / 1000);
	}
	printf("{\"clock_ns\": %.1f, \"note_ns\": %.1f, \"note_with_name_ns\": %.1f, "
	       "\"find_us\": %.0f, \"checksum\": %llu}\n",
	       clock_ns, note_ns, named_ns, find_us, (unsigned long long)sum % 10);
	hf_why_deinit(&why);
	return 0;
}
