/* services/saver/registry_sql.h - one batch of the registry as SQL. Pure.
 *
 * Each statement can be repeated, and together they can be cut anywhere and begun anew: tags come
 * in before those that are no longer so leave. */
#ifndef SAVER_REGISTRY_SQL_H
#define SAVER_REGISTRY_SQL_H

#include "hf_buffer.h"
#include "registry_rows.h"

enum saver_registry_step {
	SAVER_REGISTRY_ERASE,
	SAVER_REGISTRY_ERASE_TAGS,
	SAVER_REGISTRY_UPSERT,
	SAVER_REGISTRY_UPSERT_TAGS,
	SAVER_REGISTRY_STALE_TAGS,
	SAVER_REGISTRY_STEPS
};

struct saver_registry_sql {
	struct hf_buffer steps[SAVER_REGISTRY_STEPS]; /* empty: nothing to do in this step */
};

void saver_registry_sql_deinit(struct saver_registry_sql *sql);
/* A row that was taken. 0 or -ENOMEM. */
HF_MUST_CHECK int saver_registry_sql_add(struct saver_registry_sql *sql,
					 const struct saver_registry_row *row);
/* After the last row: 0 or -ENOMEM. */
HF_MUST_CHECK int saver_registry_sql_end(struct saver_registry_sql *sql);
/* Bytes of the longest statement so far. */
size_t saver_registry_sql_len(const struct saver_registry_sql *sql);

#endif
