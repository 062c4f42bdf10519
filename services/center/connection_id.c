/* services/center/connection_id.c - see connection_id.h. */
#include "connection_id.h"

#include <errno.h>
#include <stdio.h>

#include "hf_text.h"

#define HANDLE_DIGITS 8

void connection_id_format(const struct connection_id *id, char ret[CONNECTION_ID_SIZE])
{
	char epoch[HF_ID_TEXT_SIZE];

	hf_id_format(id->epoch, epoch);
	snprintf(ret, CONNECTION_ID_SIZE, "%u-%08x-%s", id->room, id->session, epoch);
}

/* Exactly HANDLE_DIGITS of them, small letters. */
static int parse_hex(const char *text, uint32_t *ret)
{
	uint32_t value = 0;

	for (size_t i = 0; i < HANDLE_DIGITS; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint32_t)(c - 'a' + 10);
		else
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

int connection_id_parse(const char *text, struct connection_id *ret)
{
	size_t digits = strcspn(text, "-");
	uint64_t room, epoch;
	uint32_t session;

	if (hf_text_parse_uint(text, digits, &room) < 0 || room > UINT32_MAX)
		return -EINVAL;
	text += digits;
	if (*text++ != '-' || strlen(text) != HANDLE_DIGITS + 1 + HF_ID_TEXT_SIZE - 1 ||
	    text[HANDLE_DIGITS] != '-' || parse_hex(text, &session) < 0 ||
	    hf_id_parse(text + HANDLE_DIGITS + 1, HF_ID_TEXT_SIZE - 1, &epoch) < 0)
		return -EINVAL;
	*ret = (struct connection_id){ (uint32_t)room, session, epoch };
	return 0;
}

bool connection_id_equal(const struct connection_id *a, const struct connection_id *b)
{
	return a->room == b->room && a->session == b->session && a->epoch == b->epoch;
}
