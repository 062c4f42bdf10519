/* services/saver/record.h - the record of a registration: its bytes, its keys, and how it changes.
 * Pure: no I/O.
 *
 *	hf:r:<app>:<registration>   u8 version | RegistrationRecord, packed
 *	hf:u:<app>:<user id>        set of the registrations that carry this user id. Written before
 *	                            the record: it may name too many, never too few
 *	hf:d                        set of keys of records that MySQL may not have as they are
 */
#ifndef SAVER_RECORD_H
#define SAVER_RECORD_H

#include "hf_audience.h"
#include "saver.pb-c.h"
#include "value.h"

#define SAVER_RECORD_PREFIX  "hf:r:"
#define SAVER_USER_PREFIX    "hf:u:"
#define SAVER_DIRTY_KEY      "hf:d"
#define SAVER_USER_KEY_MAX   (5 + 10 + 1 + HF_USER_ID_MAX)
#define SAVER_BAR_REASON_MAX 123
#define SAVER_RECORD_MAX     4800 /* bytes of a value */

/* Version, tags, four strings, four integers. */
_Static_assert(1 + HF_TAGS_MAX * (2 + HF_TAG_MAX) + 4 * 3 + HF_USER_ID_MAX + HF_PLATFORM_MAX +
			       HF_SDK_VERSION_MAX + SAVER_BAR_REASON_MAX + 4 * 11 <=
		       SAVER_RECORD_MAX,
	       "the largest record fits");

size_t saver_record_key_encode(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX]);
HF_MUST_CHECK bool saver_record_key_decode(struct hf_bytes key, uint32_t *ret_app,
					   struct hf_bytes *ret_registration);
size_t saver_user_key_encode(uint32_t app, struct hf_bytes user_id,
			     uint8_t ret[SAVER_USER_KEY_MAX]);

/* NULL: of a version that we do not know, cut short, over a limit, or no memory. To be freed with
 * hf__registration_record__free_unpacked(record, NULL). */
HF_MUST_CHECK Hf__RegistrationRecord *saver_record_decode(struct hf_bytes value);
/* The record keeps to its limits. Returns the bytes written. */
size_t saver_record_encode(const Hf__RegistrationRecord *record, uint8_t ret[SAVER_RECORD_MAX]);
bool saver_record_is_barred(const Hf__RegistrationRecord *record, uint64_t now_ms);
/* The tags of the record as hf_audience.h wants them. */
struct hf_bytes saver_record_tags(const Hf__RegistrationRecord *record,
				  uint8_t ret[HF_TAGS_PACKED_MAX]);
bool saver_record_same_tags(const Hf__RegistrationRecord *a, const Hf__RegistrationRecord *b);

/* A record that is made of an old one and a request; what it points to is theirs. */
struct saver_draft {
	Hf__RegistrationRecord record; /* its tags are those below */
	bool changed;                  /* more than last_seen */
	bool seen;                     /* last_seen has moved */
	ProtobufCBinaryData tags[HF_TAGS_MAX];
};

/* `old` NULL: a new one, first seen now. */
void saver_draft_init(struct saver_draft *draft, const Hf__RegistrationRecord *old,
		      uint64_t now_ms);
/* A client has attached. last_seen moves when it is older than `seen_interval_ms`, or when the
 * record is to be written anyway. */
void saver_draft_login(struct saver_draft *draft, const Hf__Profile *profile, uint64_t now_ms,
		       uint64_t seen_interval_ms);
/* 0, or -E2BIG: more tags than a registration has. */
HF_MUST_CHECK int saver_draft_change(struct saver_draft *draft,
				     const Hf__ChangeRegistrationRequest *request);

/* Is what came over RPC within its limits? NULL, or the rule that it breaks. */
const char *saver_profile_check(const Hf__Profile *profile);
const char *saver_change_check(const Hf__ChangeRegistrationRequest *request);

#endif
