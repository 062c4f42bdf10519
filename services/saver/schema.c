#define HF_LOG_MODULE "saver"
#include "schema.h"

#include <errno.h>
#include <mysqld_error.h>
#include <stdlib.h>

#include "hf_log.h"

/* To change the schema append steps; never touch one that was released. An empty registration or id
 * never occurs: both are checked at the door. */
static const char *const steps[] = {
	"CREATE TABLE IF NOT EXISTS schema_version ("
	" version INT UNSIGNED NOT NULL PRIMARY KEY,"
	" applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB",

	"CREATE TABLE IF NOT EXISTS messages ("
	" app INT UNSIGNED NOT NULL,"
	" registration VARBINARY(64) NOT NULL,"
	" message_id BIGINT UNSIGNED NOT NULL,"
	" class TINYINT UNSIGNED NOT NULL,"
	" expires_at BIGINT UNSIGNED NOT NULL,"
	" frame MEDIUMBLOB NOT NULL,"
	" PRIMARY KEY (app, registration, message_id),"
	" KEY expires_at (expires_at)) ENGINE=InnoDB",

	"CREATE TABLE IF NOT EXISTS store ("
	" only_row TINYINT UNSIGNED NOT NULL PRIMARY KEY,"
	" id BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",

	"ALTER TABLE messages ADD COLUMN delivery VARBINARY(512) NOT NULL DEFAULT ''",

	"CREATE TABLE IF NOT EXISTS registrations ("
	" app INT UNSIGNED NOT NULL,"
	" registration VARBINARY(64) NOT NULL,"
	" user_id VARBINARY(128) NOT NULL,"
	" platform VARBINARY(32) NOT NULL,"
	" sdk_version VARBINARY(32) NOT NULL,"
	" first_seen BIGINT UNSIGNED NOT NULL,"
	" last_seen BIGINT UNSIGNED NOT NULL,"
	" revision INT UNSIGNED NOT NULL,"
	" record BLOB NOT NULL,"
	" PRIMARY KEY (app, registration),"
	" KEY user_id (app, user_id),"
	" KEY platform (app, platform),"
	" KEY first_seen (app, first_seen),"
	" KEY last_seen (app, last_seen)) ENGINE=InnoDB",

	"CREATE TABLE IF NOT EXISTS registration_tags ("
	" app INT UNSIGNED NOT NULL,"
	" tag VARBINARY(40) NOT NULL,"
	" registration VARBINARY(64) NOT NULL,"
	" revision INT UNSIGNED NOT NULL,"
	" PRIMARY KEY (app, tag, registration),"
	" KEY registration (app, registration)) ENGINE=InnoDB",

	/* Jobs ('j'), broadcasts ('b') and recalls ('r'): kept.h. */
	"CREATE TABLE IF NOT EXISTS kept ("
	" app INT UNSIGNED NOT NULL,"
	" kind TINYINT UNSIGNED NOT NULL,"
	" id BIGINT UNSIGNED NOT NULL,"
	" expires_at BIGINT UNSIGNED NOT NULL,"
	" value MEDIUMBLOB NOT NULL,"
	" frame MEDIUMBLOB NOT NULL,"
	" PRIMARY KEY (app, kind, id),"
	" KEY expires_at (expires_at)) ENGINE=InnoDB",
};

static void run_step(struct saver_schema *schema);

static void finish(struct saver_schema *schema, const struct saver_outcome *outcome, int error)
{
	if (error == -EIO)
		HF_ERROR("schema_failed", "step=%u code=%u error=%s", schema->next, outcome->code,
			 hf_log_quote(outcome->text, strlen(outcome->text)));
	saver_database_schema_done(schema->database, error);
}

static void run(struct saver_schema *schema, struct hf_buffer *sql, int err, saver_database_cb cb)
{
	if (err == 0)
		err = saver_database_run_early(schema->database, sql, cb, schema);
	hf_buffer_deinit(sql);
	if (err < 0)
		finish(schema, NULL, err);
}

static void on_noted(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_schema *schema = ctx;

	if (outcome->error != 0) {
		finish(schema, outcome, outcome->error);
		return;
	}
	if (outcome->affected > 0)
		HF_INFO("schema_step", "version=%u", schema->next + 1);
	schema->next++;
	run_step(schema);
}

static void on_step(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_schema *schema = ctx;
	struct hf_buffer sql = { 0 };
	int err;

	/* A column that is there: another saver was first, or we were, and did not get to note it.
	 */
	if (outcome->error != 0 && outcome->code != ER_DUP_FIELDNAME) {
		finish(schema, outcome, outcome->error);
		return;
	}
	err = hf_buffer_printf(&sql, "INSERT IGNORE INTO schema_version (version) VALUES (%u)",
			       schema->next + 1);
	run(schema, &sql, err, on_noted);
}

static void run_step(struct saver_schema *schema)
{
	struct hf_buffer sql = { 0 };
	int err;

	if (schema->next == HF_ARRAY_LEN(steps)) {
		finish(schema, NULL, 0);
		return;
	}
	err = hf_buffer_append(&sql, steps[schema->next], strlen(steps[schema->next]));
	run(schema, &sql, err, on_step);
}

static void on_version(const struct saver_outcome *outcome, void *ctx)
{
	struct saver_schema *schema = ctx;
	MYSQL_ROW row = outcome->result != NULL ? mysql_fetch_row(outcome->result) : NULL;
	unsigned long version = 0;

	if (outcome->error == -ECONNRESET) {
		finish(schema, outcome, outcome->error);
		return;
	}
	if (outcome->error == 0 && row != NULL && row[0] != NULL) /* no table yet: no version */
		version = strtoul(row[0], NULL, 10);
	if (version > HF_ARRAY_LEN(steps))
		HF_WARN("schema_newer", "found=%lu known=%zu", version, HF_ARRAY_LEN(steps));
	schema->next = (unsigned)HF_MIN(version, HF_ARRAY_LEN(steps));
	run_step(schema);
}

void saver_schema_run(struct saver_schema *schema, struct saver_database *database)
{
	static const char query[] = "SELECT MAX(version) FROM schema_version";
	struct hf_buffer sql = { 0 };

	*schema = (struct saver_schema){ .database = database };
	run(schema, &sql, hf_buffer_append(&sql, query, sizeof(query) - 1), on_version);
}
