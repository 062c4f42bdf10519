#include "deletes.h"

#include <errno.h>

#include "database.h"
#include "hf_cursor.h"

#define RECORD_MAX (4 + 8 + 1 + HF_REGISTRATION_MAX)

void saver_deletes_init(struct saver_deletes *deletes, size_t max)
{
	*deletes = (struct saver_deletes){ .max = max };
}

void saver_deletes_deinit(struct saver_deletes *deletes)
{
	hf_buffer_deinit(&deletes->records);
}

int saver_deletes_push(struct saver_deletes *deletes, const struct saver_name *name,
		       uint64_t message_id)
{
	uint8_t *room;
	struct hf_writer w;

	if (deletes->count >= deletes->max)
		return -ENOBUFS;
	room = hf_buffer_reserve(&deletes->records, RECORD_MAX);
	if (room == NULL)
		return -ENOMEM;
	w = hf_writer_of(room, RECORD_MAX);
	hf_writer_u32(&w, name->app);
	hf_writer_u64(&w, message_id);
	hf_writer_u8(&w, name->len);
	hf_writer_bytes(&w, name->bytes, name->len);
	hf_buffer_commit(&deletes->records, (size_t)(w.pos - room));
	deletes->count++;
	deletes->pushed++;
	return 0;
}

int saver_deletes_statement(struct saver_deletes *deletes, size_t rows_max, struct hf_buffer *sql)
{
	struct hf_cursor c =
		hf_cursor_of(hf_buffer_data(&deletes->records), hf_buffer_len(&deletes->records));
	const uint8_t *start = c.pos;
	size_t count = HF_MIN(rows_max, deletes->count);
	int err = hf_buffer_printf(sql, "DELETE FROM messages WHERE"
					" (app,registration,message_id) IN (");

	for (size_t i = 0; err == 0 && i < count; i++) {
		uint32_t app = hf_cursor_u32(&c);
		uint64_t id = hf_cursor_u64(&c);
		uint8_t len = hf_cursor_u8(&c);
		const uint8_t *registration = hf_cursor_bytes(&c, len);

		err = hf_buffer_printf(sql, "%s(%u,", i > 0 ? "," : "", app);
		if (err == 0)
			err = saver_sql_hex(sql, registration, len);
		if (err == 0)
			err = hf_buffer_printf(sql, ",%llu)", (unsigned long long)id);
	}
	if (err == 0)
		err = hf_buffer_append(sql, ")", 1);
	deletes->taken_count = err == 0 ? count : 0;
	deletes->taken_bytes = err == 0 ? (size_t)(c.pos - start) : 0;
	return err;
}

void saver_deletes_done(struct saver_deletes *deletes)
{
	hf_buffer_drain(&deletes->records, deletes->taken_bytes);
	deletes->count -= deletes->taken_count;
	saver_deletes_failed(deletes);
}

void saver_deletes_failed(struct saver_deletes *deletes)
{
	deletes->taken_count = deletes->taken_bytes = 0;
}
