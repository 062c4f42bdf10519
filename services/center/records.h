/* services/center/records.h - what the store knows of registrations, and who of them is connected:
 * Saver.ReadRegistrations and Register.Lookup over all slot owners. */
#ifndef CENTER_RECORDS_H
#define CENTER_RECORDS_H

#include <jansson.h>

#include "center.h"
#include "lookup.h"
#include "problem.h"

/* What of a registration is shown; bits. */
enum {
	RECORD_ONLINE = 1 << 0,
	RECORD_NODE = 1 << 1,
	RECORD_USER_ID = 1 << 2,
	RECORD_TAGS = 1 << 3,
	RECORD_PLATFORM = 1 << 4,
	RECORD_SDK_VERSION = 1 << 5,
	RECORD_FIRST_SEEN = 1 << 6,
	RECORD_LAST_SEEN = 1 << 7,
	RECORD_BAR = 1 << 8,
	RECORD_ALL = (1 << 9) - 1,
	RECORD_OF_REGISTER = RECORD_ONLINE | RECORD_NODE,
	RECORD_OF_STORE = RECORD_ALL & ~RECORD_OF_REGISTER,
};
/* Names of fields, as they stand in answers, to bits; null or absent: all. */
HF_MUST_CHECK int records_parse_fields(const json_t *fields, unsigned *ret_fields,
				       struct problem *ret_problem);

struct record_item {
	struct hf_bytes registration; /* into our own copy */
	uint16_t slot;
	bool read, known;    /* its saver answered; it attached at least once */
	json_t *record;      /* what the store knows of it; NULL unless known */
	Hf__Presence online; /* NOT_YET_KNOWN also when it was not asked for */
	uint32_t room;
};
struct records;
typedef void (*records_done)(struct records *records, void *ctx);
struct records {
	struct center *center;
	uint32_t app;
	unsigned fields, open;
	records_done done;
	void *ctx;
	bool unread; /* a saver did not answer: its items are not read */
	size_t count;
	struct record_item items[];
};

/* Copies the ids. `done` runs once, later or from within; the records are freed after it. -ENOMEM:
 * it won't. */
HF_MUST_CHECK int records_start(struct center *center, uint32_t app,
				const struct hf_bytes *registrations, size_t count, unsigned fields,
				records_done done, void *ctx);

/* One registration as the API shows it. `record`: what record_word_stored() made, borrowed; NULL:
 * never attached. */
json_t *record_word(const struct center *center, const struct record_item *item, unsigned fields);
json_t *record_word_stored(const Hf__RegistrationRecord *record, unsigned fields, uint64_t now_ms);
/* Of text from another process; null when it is empty or not UTF-8. */
json_t *record_text(ProtobufCBinaryData bytes);

#endif
