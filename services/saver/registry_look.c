#include "registry_look.h"

#include <stdlib.h>

#include "saver.h"

#define WAIT_MS 200
#define STEP_MS 1

/* One name of a page, while its record is read. */
struct looked {
	struct saver_registry_look *look;
	struct saver_name name;
};

static void arm(struct saver_registry_look *look, uint64_t delay_ms)
{
	hf_loop_arm(look->saver->service->loop, &look->timer, delay_ms);
}

static void look_ended(struct saver_registry_look *look)
{
	look->active = false;
	arm(look, look->again ? WAIT_MS : look->saver->config->sweep_period_ms);
	look->again = false;
}

static void page_ended(struct saver_registry_look *look)
{
	if (look->failed) {
		look->failed = false;
		look->again = true;
		strcpy(look->cursor, "0");
	}
	if (strcmp(look->cursor, "0") == 0)
		look->node++;
	if (look->node == saver_redis_count(look->saver->redis))
		look_ended(look);
	else
		arm(look, STEP_MS);
}

/* In hand already: what is in hand is newer than what is read. */
static bool is_ours_already(const struct saver *saver, const struct saver_name *name)
{
	return saver_edit_runs(&saver->registry.edits, name) ||
	       saver_registry_rows_find(saver_registry_behind_rows(saver->registry.behind), name) !=
		       NULL;
}

static void on_record(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct looked *looked = ctx;
	struct saver_registry_look *look = looked->look;
	struct saver *saver = look->saver;
	struct saver_registry_work work = { .tags = true };
	Hf__RegistrationRecord *record;

	look->failed |= error != SAVER_OK;
	if (error == SAVER_OK && !is_ours_already(saver, &looked->name)) {
		if (reply->type == REDIS_REPLY_NIL) {
			work.erase = true;
			saver_registry_behind_put(saver->registry.behind, &looked->name,
						  hf_bytes_of(NULL, 0), work);
		} else if (reply->type == REDIS_REPLY_STRING &&
			   (record = saver_record_decode(saver_reply_bytes(reply))) != NULL) {
			hf__registration_record__free_unpacked(record, NULL);
			saver_registry_behind_put(saver->registry.behind, &looked->name,
						  saver_reply_bytes(reply), work);
		} else {
			++*saver->metrics.unreadable;
		}
	}
	free(looked);
	if (--look->pending == 0)
		page_ended(look);
}

static void read_record(struct saver_registry_look *look, const redisReply *key)
{
	struct saver *saver = look->saver;
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"), saver_reply_bytes(key) };
	struct hf_bytes registration;
	struct saver_name name;
	struct looked *looked;
	uint32_t app;

	if (!saver_record_key_decode(words[1], &app, &registration) ||
	    !saver_name_set(&name, saver->service->salt, app, registration.data,
			    registration.len) ||
	    !saver_owns(saver, name.slot) || saver_node_of(saver, &name) != look->node ||
	    is_ours_already(saver, &name))
		return;
	looked = malloc(sizeof(*looked));
	if (looked == NULL) {
		look->failed = true;
		return;
	}
	*looked = (struct looked){ look, name };
	if (saver_redis_send(saver->redis, look->node, SAVER_OP_SWEEP, words, 2, on_record,
			     looked) == SAVER_OK) {
		look->pending++;
	} else {
		look->failed = true;
		free(looked);
	}
}

static void on_page(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct saver_registry_look *look = ctx;

	look->failed = error != SAVER_OK || reply->type != REDIS_REPLY_ARRAY ||
		       reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
		       reply->element[1]->type != REDIS_REPLY_ARRAY ||
		       reply->element[0]->len >= sizeof(look->cursor);
	if (!look->failed) {
		memcpy(look->cursor, reply->element[0]->str, reply->element[0]->len + 1);
		for (size_t i = 0; i < reply->element[1]->elements; i++)
			read_record(look, reply->element[1]->element[i]);
	}
	if (look->pending == 0)
		page_ended(look);
}

static void ask_page(struct saver_registry_look *look)
{
	struct saver *saver = look->saver;
	struct hf_bytes words[5] = { HF_BYTES_LITERAL("SSCAN"), HF_BYTES_LITERAL(SAVER_DIRTY_KEY),
				     hf_bytes_of_string(look->cursor), HF_BYTES_LITERAL("COUNT"),
				     HF_BYTES_LITERAL("128") };

	if (!saver_registry_behind_has_room(saver->registry.behind) ||
	    saver_redis_send(saver->redis, look->node, SAVER_OP_SWEEP, words, 5, on_page, look) !=
		    SAVER_OK)
		arm(look, WAIT_MS);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct saver_registry_look *look = ctx;
	struct saver *saver = look->saver;

	if (look->pending > 0)
		return;
	if (!hf_peers_known(saver->savers)) { /* whose slots are whose? */
		arm(look, WAIT_MS);
		return;
	}
	if (!look->active) {
		look->active = true;
		look->node = 0;
		strcpy(look->cursor, "0");
	}
	while (look->node < saver_redis_count(saver->redis) &&
	       saver_redis_state(saver->redis, look->node) != SAVER_NODE_SERVING) {
		look->node++; /* asked for again when it serves */
		strcpy(look->cursor, "0");
	}
	if (look->node == saver_redis_count(saver->redis))
		look_ended(look);
	else
		ask_page(look);
}

void saver_registry_look_soon(struct saver_registry_look *look)
{
	if (look->active)
		look->again = true;
	else
		arm(look, WAIT_MS);
}

void saver_registry_look_init(struct saver_registry_look *look, struct saver *saver)
{
	*look = (struct saver_registry_look){ .saver = saver };
	hf_timer_init(&look->timer, on_timer, look);
	arm(look, WAIT_MS);
}

void saver_registry_look_deinit(struct saver_registry_look *look)
{
	hf_wheel_disarm(&look->timer);
}
