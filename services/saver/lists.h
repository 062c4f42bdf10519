/* services/saver/lists.h - what the lists and counts of the registry share: one statement on the
 * link for reading, and a bound on how many wait for it. */
#ifndef SAVER_LISTS_H
#define SAVER_LISTS_H

#include <protobuf-c/protobuf-c.h>

#include "database.h"
#include "redis.h"

struct saver;

#define SAVER_LIST_MAX 1000u

/* One call. The structs of the calls begin with it. */
struct saver_list {
	struct saver *saver;
	void *call;
	/* With the rows, borrowed; frees the list, or runs the next statement. */
	void (*on_rows)(struct saver_list *list, MYSQL_RES *rows);
	void (*release)(struct saver_list *list);
};

/* Takes a place; false after ending the call. */
HF_MUST_CHECK bool saver_list_admit(struct saver *saver, void *call);
/* Runs the statement (`err`: of building it), or fails the call and releases the list. */
void saver_list_run(struct saver_list *list, struct hf_buffer *sql, int err);
void saver_list_fail(struct saver_list *list, enum saver_error error);
/* The call was answered. */
void saver_list_end(struct saver_list *list);

/* " AND <column> IN (x'..',x'..')" */
HF_MUST_CHECK int saver_sql_in(struct hf_buffer *sql, const char *column,
			       const ProtobufCBinaryData *values, size_t count);

static inline struct hf_bytes saver_row_bytes(const char *field, unsigned long len)
{
	return hf_bytes_of(field, len);
}

#endif
