/* services/saver/refill_registry.c - the registry's part of a refill: records and users' sets, from
 * the database and from what only we hold. A user's set may be on another node than the record. */
#include <stdlib.h>

#include "hf_hash.h"
#include "refill_internal.h"

static bool send_command(struct refill_node *node, const struct hf_bytes *words, size_t count,
			 saver_redis_cb cb)
{
	if (saver_redis_send_early(node->refill->saver->redis, node->number, SAVER_OP_REFILL, words,
				   count, cb, node) != SAVER_OK)
		return false;
	node->pending++;
	return true;
}

static bool put_record(struct refill_node *node, const struct saver_name *name, const char *command,
		       struct hf_bytes value, saver_redis_cb cb)
{
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[3] = { hf_bytes_of_string(command),
				     { key, saver_record_key_encode(name, key) },
				     value };

	return send_command(node, words, value.data != NULL ? 3 : 2, cb);
}

/* When the user's set is on this node. */
static bool put_index(struct refill_node *node, const struct saver_name *name,
		      struct hf_bytes user_id, saver_redis_cb cb)
{
	struct saver *saver = node->refill->saver;
	uint8_t key[SAVER_USER_KEY_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("SADD"),
				     { key, 0 },
				     saver_name_registration(name) };

	if (user_id.len == 0 || user_id.len > HF_USER_ID_MAX ||
	    saver_redis_node_of(saver->redis, hf_slot(saver->service->salt, name->app, user_id.data,
						      user_id.len)) != node->number)
		return true;
	words[1].len = saver_user_key_encode(name->app, user_id, key);
	return send_command(node, words, 3, cb);
}

int saver_refill_registrations_statement(const struct refill_node *node, unsigned limit,
					 struct hf_buffer *sql)
{
	const struct saver_name *last = &node->last;
	int err = hf_buffer_printf(sql,
				   "SELECT app, registration, user_id, record FROM registrations");

	if (err == 0 && node->has_last) {
		err = hf_buffer_printf(sql, " WHERE app > %u OR (app = %u AND registration > ",
				       last->app, last->app);
		if (err == 0)
			err = saver_sql_hex(sql, last->bytes, last->len);
		if (err == 0)
			err = hf_buffer_append(sql, ")", 1);
	}
	return err == 0 ? hf_buffer_printf(sql, " ORDER BY app, registration LIMIT %u", limit)
			: err;
}

/* SETNX: what is there already stays as it is. */
bool saver_refill_copy_registration(struct refill_node *node, MYSQL_ROW row,
				    const unsigned long *lengths, saver_redis_cb on_record,
				    saver_redis_cb on_index)
{
	struct saver *saver = node->refill->saver;

	node->has_last = true;
	if (!saver_name_set(&node->last, saver->service->salt, (uint32_t)strtoul(row[0], NULL, 10),
			    row[1], lengths[1]))
		return true;
	if (!put_index(node, &node->last, hf_bytes_of(row[2], lengths[2]), on_index))
		return false;
	return saver_node_of(saver, &node->last) != node->number ||
	       put_record(node, &node->last, "SETNX", hf_bytes_of(row[3], lengths[3]), on_record);
}

/* As it is here, whatever the node has; and noted as not yet in MySQL. */
static bool put_row(struct refill_node *node, const struct saver_registry_row *row,
		    saver_redis_cb cb)
{
	struct saver *saver = node->refill->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes note[3] = { HF_BYTES_LITERAL("SADD"),
				    HF_BYTES_LITERAL(SAVER_DIRTY_KEY),
				    { key, saver_record_key_encode(&row->name, key) } };
	Hf__RegistrationRecord *record = NULL;
	bool sent = true;

	if (row->value != NULL)
		record = saver_record_decode(hf_bytes_of(row->value, row->value_len));
	if (record != NULL)
		sent = put_index(node, &row->name,
				 hf_bytes_of(record->user_id.data, record->user_id.len), cb);
	if (record != NULL)
		hf__registration_record__free_unpacked(record, NULL);
	if (!sent || saver_node_of(saver, &row->name) != node->number)
		return sent;
	if (!send_command(node, note, 3, cb))
		return false;
	if (row->value == NULL)
		return put_record(node, &row->name, "DEL", hf_bytes_of(NULL, 0), cb);
	++*node->refill->restored_registrations;
	return put_record(node, &row->name, "SET", hf_bytes_of(row->value, row->value_len), cb);
}

bool saver_refill_put_registrations(struct refill_node *node, unsigned slice, saver_redis_cb cb)
{
	struct saver_registry_rows *rows =
		saver_registry_behind_rows(node->refill->saver->registry.behind);
	unsigned steps = 0;

	while (node->pending < slice && steps++ < 20 * slice) {
		hf_handle handle = hf_slab_next(&rows->slab, &node->pos, slice);
		struct saver_registry_row *row =
			handle != 0 ? hf_slab_get(&rows->slab, handle) : NULL;

		if (row == NULL) {
			if (node->pos >= hf_slab_end(&rows->slab))
				break;
			continue;
		}
		if (!put_row(node, row, cb))
			return false;
	}
	return true;
}
