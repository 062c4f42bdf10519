/* tests/fuzz/fuzz_client_answer.c - what a dispatcher, or whoever answers in its place, sends to
 * the client library: HTTP around a list of servers. */
#include <stdio.h>
#include <stdlib.h>

#include "answer.h"
#include "selection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Every server taken can be written and read again. */
static void take(struct hf_bytes text)
{
	static struct selection selection;
	char address[SELECTION_TEXT_SIZE];
	struct endpoint again;

	selection = (struct selection){ 0 };
	if (selection_take(&selection, text, false, 1) < 0) {
		check(selection.fetched_count == 0);
		return;
	}
	check(selection.fetched_count > 0);
	for (size_t i = 0; i < selection.fetched_count; i++) {
		endpoint_format(&selection.fetched[i], address);
		check(endpoint_parse(hf_bytes_of_string(address), selection.fetched[i].tls,
				     &again) == 0);
		check(again.port == selection.fetched[i].port &&
		      strcmp(again.host, selection.fetched[i].host) == 0);
	}
	selection_begin_round(&selection, false, 0);
	while (selection_next(&selection) != NULL)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char reason[ANSWER_REASON_SIZE];
	struct answer answer;

	for (unsigned ended = 0; ended < 2; ended++) {
		if (answer_parse(data, size, ended, &answer) > 0) {
			check(answer.body.data >= data &&
			      answer.body.data + answer.body.len <= data + size);
			take(answer.body);
			answer_reason(&answer, reason);
			check(strlen(reason) < sizeof(reason));
		}
	}
	take(hf_bytes_of(data, size));
	return 0;
}
