#include "registry_sql.h"

#include <errno.h>

#include "database.h"
#include "record.h"

/* The row that is there gives way to one of a later life of the registration, or of the same one
 * and not older. MySQL assigns from left to right: what the condition looks at comes last. */
#define NEWER(column)                                                             \
	column "=IF(VALUES(first_seen)>first_seen OR"                             \
	       " (VALUES(first_seen)=first_seen AND VALUES(revision)>=revision)," \
	       "VALUES(" column ")," column "),"

static const struct {
	const char *head, *tail;
} frames[SAVER_REGISTRY_STEPS] = {
	[SAVER_REGISTRY_ERASE] = { "DELETE FROM registrations WHERE (app,registration) IN (", ")" },
	[SAVER_REGISTRY_ERASE_TAGS] = { "DELETE FROM registration_tags"
					" WHERE (app,registration) IN (",
					")" },
	[SAVER_REGISTRY_UPSERT] = { "INSERT INTO registrations (app,registration,user_id,platform,"
				    "sdk_version,last_seen,record,revision,first_seen) VALUES ",
				    " ON DUPLICATE KEY UPDATE " NEWER("user_id") NEWER("platform")
					    NEWER("sdk_version") NEWER("last_seen") NEWER("record")
						    NEWER("revision") "first_seen=GREATEST(first_"
								      "seen,VALUES(first_seen))" },
	[SAVER_REGISTRY_UPSERT_TAGS] = { "INSERT INTO registration_tags"
					 " (app,tag,registration,revision) VALUES ",
					 " ON DUPLICATE KEY UPDATE revision=VALUES(revision)" },
	[SAVER_REGISTRY_STALE_TAGS] = { "DELETE t FROM registration_tags t JOIN registrations r"
					" ON r.app=t.app AND r.registration=t.registration"
					" WHERE t.revision<>r.revision AND"
					" (t.app,t.registration) IN (",
					")" },
};

void saver_registry_sql_deinit(struct saver_registry_sql *sql)
{
	for (unsigned i = 0; i < SAVER_REGISTRY_STEPS; i++)
		hf_buffer_deinit(&sql->steps[i]);
}

size_t saver_registry_sql_len(const struct saver_registry_sql *sql)
{
	size_t len = 0;

	for (unsigned i = 0; i < SAVER_REGISTRY_STEPS; i++)
		len = HF_MAX(len, hf_buffer_len(&sql->steps[i]));
	return len;
}

/* The statement's head, or the comma after what came before. */
static int begin(struct saver_registry_sql *sql, enum saver_registry_step step)
{
	struct hf_buffer *out = &sql->steps[step];

	return hf_buffer_len(out) > 0
		       ? hf_buffer_append(out, ",", 1)
		       : hf_buffer_append(out, frames[step].head, strlen(frames[step].head));
}

/* (app,registration) */
static int add_name(struct saver_registry_sql *sql, enum saver_registry_step step,
		    const struct saver_name *name)
{
	struct hf_buffer *out = &sql->steps[step];
	int err = begin(sql, step);

	if (err == 0)
		err = hf_buffer_printf(out, "(%u,", name->app);
	if (err == 0)
		err = saver_sql_hex(out, name->bytes, name->len);
	return err == 0 ? hf_buffer_append(out, ")", 1) : err;
}

static int add_text(struct hf_buffer *out, const ProtobufCBinaryData *text)
{
	int err = hf_buffer_append(out, ",", 1);

	return err == 0 ? saver_sql_hex(out, text->data, text->len) : err;
}

static int add_record(struct saver_registry_sql *sql, const struct saver_registry_row *row,
		      const Hf__RegistrationRecord *record)
{
	struct hf_buffer *out = &sql->steps[SAVER_REGISTRY_UPSERT];
	ProtobufCBinaryData value = { row->value_len, row->value };
	int err = begin(sql, SAVER_REGISTRY_UPSERT);

	if (err == 0)
		err = hf_buffer_printf(out, "(%u,", row->name.app);
	if (err == 0)
		err = saver_sql_hex(out, row->name.bytes, row->name.len);
	if (err == 0)
		err = add_text(out, &record->user_id);
	if (err == 0)
		err = add_text(out, &record->platform);
	if (err == 0)
		err = add_text(out, &record->sdk_version);
	if (err == 0)
		err = hf_buffer_printf(out, ",%llu", (unsigned long long)record->last_seen_ms);
	if (err == 0)
		err = add_text(out, &value);
	return err == 0 ? hf_buffer_printf(out, ",%u,%llu)", record->revision,
					   (unsigned long long)record->first_seen_ms)
			: err;
}

static int add_tags(struct saver_registry_sql *sql, const struct saver_name *name,
		    const Hf__RegistrationRecord *record)
{
	struct hf_buffer *out = &sql->steps[SAVER_REGISTRY_UPSERT_TAGS];
	int err = add_name(sql, SAVER_REGISTRY_STALE_TAGS, name);

	for (size_t i = 0; err == 0 && i < record->n_tags; i++) {
		err = begin(sql, SAVER_REGISTRY_UPSERT_TAGS);
		if (err == 0)
			err = hf_buffer_printf(out, "(%u", name->app);
		if (err == 0)
			err = add_text(out, &record->tags[i]);
		if (err == 0)
			err = hf_buffer_append(out, ",", 1);
		if (err == 0)
			err = saver_sql_hex(out, name->bytes, name->len);
		if (err == 0)
			err = hf_buffer_printf(out, ",%u)", record->revision);
	}
	return err;
}

int saver_registry_sql_add(struct saver_registry_sql *sql, const struct saver_registry_row *row)
{
	Hf__RegistrationRecord *record = NULL;
	int err = 0;

	if (row->value == NULL || row->taken.erase) {
		err = add_name(sql, SAVER_REGISTRY_ERASE, &row->name);
		if (err == 0)
			err = add_name(sql, SAVER_REGISTRY_ERASE_TAGS, &row->name);
	}
	if (err < 0 || row->value == NULL)
		return err;
	record = saver_record_decode(hf_bytes_of(row->value, row->value_len));
	if (record == NULL) /* it was decoded before it came here */
		return -ENOMEM;
	err = add_record(sql, row, record);
	if (err == 0 && row->taken.tags)
		err = add_tags(sql, &row->name, record);
	hf__registration_record__free_unpacked(record, NULL);
	return err;
}

int saver_registry_sql_end(struct saver_registry_sql *sql)
{
	int err = 0;

	for (unsigned i = 0; err == 0 && i < SAVER_REGISTRY_STEPS; i++) {
		if (hf_buffer_len(&sql->steps[i]) > 0)
			err = hf_buffer_append(&sql->steps[i], frames[i].tail,
					       strlen(frames[i].tail));
	}
	return err;
}
