/* services/center/connection_id.h - the name of one session in the API:
 * "<room's number>-<handle>-<epoch>", as "3-0100002a-0AKQRJ3EQ2W00". The epoch is drawn once, so
 * that the name never comes to mean another's session, also not after the room was restarted.
 * Opaque to callers. Pure. */
#ifndef CENTER_CONNECTION_ID_H
#define CENTER_CONNECTION_ID_H

#include "hf_base.h"
#include "hf_id.h"

#define CONNECTION_ID_SIZE (10 + 1 + 8 + 1 + HF_ID_TEXT_SIZE)

struct connection_id {
	uint32_t room, session;
	uint64_t epoch;
};

void connection_id_format(const struct connection_id *id, char ret[CONNECTION_ID_SIZE]);
HF_MUST_CHECK int connection_id_parse(const char *text, struct connection_id *ret); /* -EINVAL */
bool connection_id_equal(const struct connection_id *a, const struct connection_id *b);

#endif
