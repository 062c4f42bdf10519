/* services/saver/database.h - MySQL (MariaDB) on the loop, through Connector/C's non-blocking API.
 *
 * Three links: one for statements that somebody waits for (commits of `durable` messages), one for
 * lists and counts that take as long as they take, one for all the rest, so that a long read never
 * delays a write. Each runs one statement at a time, in
 * order; each statement has a deadline and is its own transaction. A lost link is tried again with
 * back-off. The background link checks and migrates the schema (schema.c) before anything else
 * runs. */
#ifndef SAVER_DATABASE_H
#define SAVER_DATABASE_H

#include <mysql.h>

#include "hf_buffer.h"
#include "hf_loop.h"
#include "hf_metrics.h"

enum saver_link {
	SAVER_LINK_COMMIT,
	SAVER_LINK_BACKGROUND,
	SAVER_LINK_LISTS, /* reads only; the server ends a statement that takes too long */
	SAVER_LINK_COUNT
};

struct saver_database;

struct saver_database_options {
	const char *socket; /* "": use host and port */
	const char *host;
	unsigned port;
	const char *user, *password, *name;
	uint32_t timeout_ms;
	void (*on_up)(void *ctx); /* each time it becomes usable; and when it ceases to be */
	void (*on_down)(void *ctx);
	void *ctx;
};

HF_MUST_CHECK int saver_database_new(
	struct hf_loop *loop, struct hf_metrics *metrics,
	const struct saver_database_options *options,
	struct saver_database **ret_database); /* 0, -EINVAL or -ENOMEM */
void saver_database_start(struct saver_database *database);
void saver_database_close(struct saver_database *database); /* open statements end -ECONNRESET */
void saver_database_free(struct saver_database *database);  /* after close; NULL is fine */

/* The links that write are there and the schema is ours. */
bool saver_database_up(const struct saver_database *database);
/* Most bytes of one statement that the server takes (and we send). */
size_t saver_database_statement_max(const struct saver_database *database);
const char *saver_database_name(const struct saver_database *database);

/* `error`: 0, -ECONNRESET (the link was lost or late: it may have happened or not), or -EIO
 * (refused by the server, `text` says why). `result`: borrowed, NULL for statements without one. */
struct saver_outcome {
	int error;
	unsigned code; /* of the server, 0: none */
	const char *text;
	MYSQL_RES *result;
	uint64_t affected;
};
typedef void (*saver_database_cb)(const struct saver_outcome *outcome, void *ctx);

/* Queue one statement; takes the content of `sql` on success (it is left empty). `cb` runs exactly
 * once, later. 0, -ENOTCONN (not up, or this link is not: nothing was queued), or -ENOMEM. */
HF_MUST_CHECK int saver_database_run(struct saver_database *database, enum saver_link link,
				     struct hf_buffer *sql, saver_database_cb cb, void *ctx);
/* For schema.c: on the background link while it is connected, before the database is up. */
HF_MUST_CHECK int saver_database_run_early(struct saver_database *database, struct hf_buffer *sql,
					   saver_database_cb cb, void *ctx);
/* schema.c says how it went: the database is up, or the link is dropped and tried again. */
void saver_database_schema_done(struct saver_database *database, int error);

/* x'0123...', which no character set or quoting rule can misread. 0 or -ENOMEM. */
HF_MUST_CHECK int saver_sql_hex(struct hf_buffer *sql, const void *data, size_t len);

#endif
