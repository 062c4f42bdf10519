/* Load: what is owed to one registration, a page at a time, in the order of ids. */
#define HF_LOG_MODULE "saver"
#include <stdlib.h>

#include "delivery.h"
#include "hf_log.h"
#include "offer.h"
#include "saver.h"

#define PAGE_MAX  128u       /* messages read at once */
#define BYTES_MAX (2u << 20) /* of frames in one reply: half of what an RPC frame takes */

struct load {
	struct saver *saver;
	Hf__LoadReply_Closure closure;
	void *call;
	uint64_t after;
	uint32_t max_count, max_bytes, lost;
	bool has_lost;     /* the cap dropped something */
	bool login, first; /* first: no message of this load was looked at as a suspect yet */
	uint64_t *ids;     /* all that is owed after `after`, sorted */
	size_t count, next;
	size_t page_count, asked; /* asked: those of the page that lie in the queue */
	uint64_t page[PAGE_MAX];
	uint64_t closed_until; /* in quarantine */
	uint8_t waits;         /* for the ids, the log and the record */
	bool record_asked;
	enum saver_error error;
	struct saver_name name;
	struct saver_login record;    /* of a login with a profile: the record that this made */
	Hf__RegistrationRecord *read; /* of others, when the log has something: as it is */
	struct saver_offer offer;     /* broadcasts, as if they lay in the queue */
};

static void load_free(struct load *load)
{
	saver_offer_deinit(&load->offer);
	saver_login_deinit(&load->record);
	if (load->read != NULL)
		hf__registration_record__free_unpacked(load->read, NULL);
	free(load->ids);
	free(load);
}

static void fail(struct load *load, enum saver_error error)
{
	saver_fail(load->saver, load->call, error);
	load_free(load);
}

/* `messages` borrow from the reply of Redis, and from the offer. */
static void answer(struct load *load, Hf__LoadedMessage **messages, size_t count, bool more)
{
	struct saver *saver = load->saver;
	uint64_t now = hf_loop_wall_ms(saver->service->loop);
	Hf__LoadReply reply = HF__LOAD_REPLY__INIT;

	reply.n_messages = count;
	reply.messages = messages;
	reply.more = more || load->offer.cut;
	reply.log_version = load->offer.version;
	reply.lost = load->lost;
	reply.record = load->record.record;
	load->closure(&reply, load->call);
	for (size_t i = 0; i < count; i++) {
		hf_why_note_name(&saver->service->why, HF_WHY_LOADED, load->name.app,
				 load->name.bytes, load->name.len, messages[i]->message_id, 0);
		saver_quarantine_on_delivery(&saver->quarantine, &load->name,
					     messages[i]->message_id, now);
	}
	if (load->login && count > 0 &&
	    saver_quarantine_on_login_load(&saver->quarantine, &load->name, now)) {
		++*saver->metrics.quarantined_registrations;
		HF_WARN("registration_quarantined", "app=%u registration=%s loads=%u for_ms=%llu",
			load->name.app, hf_log_quote(load->name.bytes, load->name.len),
			saver->quarantine.loads,
			(unsigned long long)saver->quarantine.loads_time_ms);
	}
	load_free(load);
}

static void answer_quarantined(struct load *load)
{
	Hf__LoadReply reply = HF__LOAD_REPLY__INIT;

	reply.quarantined = true;
	reply.quarantined_until_ms = load->closed_until;
	reply.record = load->record.record;
	load->closure(&reply, load->call);
	load_free(load);
}

static void read_page(struct load *load);

static void note_unreadable(struct load *load, uint64_t id)
{
	struct saver *saver = load->saver;

	++*saver->metrics.unreadable;
	if (hf_log_throttle_pass(&saver->unreadable_throttle, 10000))
		HF_ERROR("value_unreadable", "app=%u registration=%s message=%llu", load->name.app,
			 hf_log_quote(load->name.bytes, load->name.len), (unsigned long long)id);
}

/* One that may be loaded, from the queue or from the log. */
struct found {
	uint64_t expires_ms;
	struct hf_bytes frame;
	Hf__Delivery *delivery;
	bool is_ours; /* the delivery: to be freed */
};

enum look { LOOK_GONE, LOOK_EXPIRED, LOOK_FOUND };

static enum look look_in_queue(struct load *load, uint64_t id, const redisReply *element,
			       uint64_t now, struct found *ret)
{
	struct saver_value value;

	if (element->type != REDIS_REPLY_STRING)
		return LOOK_GONE; /* acked a moment ago */
	if (!saver_value_decode(saver_reply_bytes(element), &value)) {
		note_unreadable(load, id);
		return LOOK_GONE;
	}
	if (value.expires_ms <= now)
		return LOOK_EXPIRED;
	*ret = (struct found){ value.expires_ms, value.frame, saver_delivery_unpack(value.delivery),
			       true };
	return LOOK_FOUND;
}

static enum look look_in_offer(const struct saver_candidate *candidate, uint64_t now,
			       struct found *ret)
{
	const struct saver_log_entry *entry = candidate->entry;

	if (candidate->frame == NULL || entry->expires_ms <= now)
		return LOOK_GONE;
	*ret = (struct found){ entry->expires_ms, saver_frame_bytes(candidate->frame),
			       entry->broadcast->delivery, false };
	return LOOK_FOUND;
}

/* `reply`: the values of those that were asked for; NULL when none was. */
static void use_page(struct load *load, const redisReply *reply)
{
	struct saver *saver = load->saver;
	Hf__LoadedMessage messages[PAGE_MAX], *pointers[PAGE_MAX];
	Hf__Delivery *ours[PAGE_MAX];
	uint64_t expired[PAGE_MAX], now = hf_loop_wall_ms(saver->service->loop);
	size_t count = 0, expired_count = 0, ours_count = 0, bytes = 0, next = 0, i;

	for (i = 0; i < load->page_count; i++) {
		const struct saver_candidate *candidate =
			saver_offer_find(&load->offer, load->page[i]);
		struct found found;
		enum look look;

		look = candidate != NULL ? look_in_offer(candidate, now, &found)
					 : look_in_queue(load, load->page[i],
							 reply->element[next++], now, &found);
		if (look == LOOK_EXPIRED)
			expired[expired_count++] = load->page[i];
		if (look != LOOK_FOUND)
			continue;
		if (found.is_ours)
			ours[ours_count++] = found.delivery;
		if (count == load->max_count ||
		    (count > 0 && bytes + found.frame.len > load->max_bytes))
			break;
		bytes += found.frame.len;
		hf__loaded_message__init(&messages[count]);
		messages[count].message_id = load->page[i];
		messages[count].expires_ms = found.expires_ms;
		messages[count].frame.data = (uint8_t *)(uintptr_t)found.frame.data;
		messages[count].frame.len = found.frame.len;
		messages[count].delivery = found.delivery;
		pointers[count] = &messages[count];
		count++;
	}
	if (expired_count > 0 && saver_remove(saver, &load->name, expired, expired_count,
					      SAVER_EXPIRED, NULL, NULL) != SAVER_OK)
		expired_count = 0; /* the sweep comes by */
	if (count == 0 && i == load->page_count && load->next < load->count)
		read_page(load);
	else
		answer(load, pointers, count, i < load->page_count || load->next < load->count);
	for (size_t n = 0; n < ours_count; n++)
		saver_delivery_free(ours[n]);
}

static void on_values(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct load *load = ctx;

	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_ARRAY || reply->elements != load->asked))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK)
		fail(load, error);
	else
		use_page(load, reply);
}

static void note_quarantined(struct load *load, uint64_t id)
{
	struct saver *saver = load->saver;

	++*saver->metrics.quarantined_messages;
	hf_why_note_name(&saver->service->why, HF_WHY_QUARANTINED, load->name.app, load->name.bytes,
			 load->name.len, id, 0);
	HF_WARN("message_quarantined",
		"app=%u registration=%s message=%llu deliveries=%u for_ms=%llu", load->name.app,
		hf_log_quote(load->name.bytes, load->name.len), (unsigned long long)id,
		saver->quarantine.deliveries,
		(unsigned long long)saver->quarantine.message_time_ms);
}

/* Ask for the next values, passing over what is in quarantine. */
static void read_page(struct load *load)
{
	struct saver *saver = load->saver;
	size_t max = HF_MIN(load->max_count, PAGE_MAX);
	uint8_t key[SAVER_KEY_MAX], fields[PAGE_MAX][SAVER_FIELD_SIZE];
	struct hf_bytes words[2 + PAGE_MAX] = { HF_BYTES_LITERAL("HMGET"),
						{ key, saver_queue_key_encode(&load->name, key) } };
	enum saver_error error;

	load->asked = 0;
	for (load->page_count = 0; load->page_count < max && load->next < load->count;) {
		uint64_t id = load->ids[load->next++];
		bool fresh;

		if (saver_quarantine_skips(&saver->quarantine, &load->name, id,
					   hf_loop_wall_ms(saver->service->loop), &load->first,
					   &fresh)) {
			if (fresh)
				note_quarantined(load, id);
			continue;
		}
		load->page[load->page_count++] = id;
		if (saver_offer_find(&load->offer, id) != NULL)
			continue;
		saver_field_encode(id, fields[load->asked]);
		words[2 + load->asked] = hf_bytes_of(fields[load->asked], SAVER_FIELD_SIZE);
		load->asked++;
	}
	if (load->page_count == 0) {
		answer(load, NULL, 0, false);
		return;
	}
	if (load->asked == 0) {
		use_page(load, NULL);
		return;
	}
	error = saver_redis_send_slot(saver->redis, load->name.slot, SAVER_OP_LOAD, words,
				      2 + load->asked, on_values, load);
	if (error != SAVER_OK)
		fail(load, error);
}

static void on_lost_forgotten(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct load *load = ctx;

	if (error != SAVER_OK)
		fail(load, error);
	else
		read_page(load);
}

static void on_lost(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct load *load = ctx;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING)
		load->lost = (uint32_t)strtoul(reply->str, NULL, 10);
}

/* The cap dropped something since the last load: say so once. */
static void read_lost(struct load *load)
{
	struct saver *saver = load->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("HGET"),
				     { key, saver_queue_key_encode(&load->name, key) },
				     HF_BYTES_LITERAL(SAVER_LOST_FIELD) };
	enum saver_error error = saver_redis_send_slot(saver->redis, load->name.slot, SAVER_OP_LOAD,
						       words, 3, on_lost, load);

	words[0] = HF_BYTES_LITERAL("HDEL");
	if (error ==
	    SAVER_OK) { /* on the same connection: both go, or neither; the 2nd reply ends it */
		error = saver_redis_send_slot(saver->redis, load->name.slot, SAVER_OP_LOAD, words,
					      3, on_lost_forgotten, load);
		if (error != SAVER_OK)
			saver_redis_reset(saver->redis, saver_node_of(saver, &load->name),
					  "half a load was sent");
	}
	if (error != SAVER_OK)
		fail(load, error);
}

/* Broadcasts go in among what is owed, in the order of ids. */
static enum saver_error merge_offer(struct load *load)
{
	const struct saver_offer *offer = &load->offer;
	uint64_t ids[SAVER_OFFER_MAX], *all;

	if (offer->count == 0)
		return SAVER_OK;
	all = realloc(load->ids, (load->count + offer->count) * sizeof(all[0]));
	if (all == NULL)
		return SAVER_INTERNAL;
	load->ids = all;
	for (size_t i = 0; i < offer->count; i++)
		ids[i] = offer->candidates[i].entry->id;
	load->count = saver_ids_merge(load->ids, load->count, ids, offer->count);
	if (offer->cut) /* what comes later must not be loaded before the rest of the log */
		load->count = saver_ids_find(load->ids, load->count, ids[offer->count - 1]) + 1;
	return SAVER_OK;
}

static void on_selected(struct saver_offer *offer, enum saver_error error)
{
	struct load *load = HF_CONTAINER_OF(offer, struct load, offer);

	if (error == SAVER_OK)
		error = merge_offer(load);
	if (error != SAVER_OK)
		fail(load, error);
	else if (load->has_lost)
		read_lost(load);
	else if (load->count > 0)
		read_page(load);
	else /* most logins find nothing: one round trip */
		answer(load, NULL, 0, false);
}

/* What was recalled is not loaded, and leaves. */
static void drop_recalled(struct load *load)
{
	struct saver *saver = load->saver;
	const struct saver_log_app *app = load->offer.app;
	uint64_t now = hf_loop_wall_ms(saver->service->loop), recalled[PAGE_MAX];
	size_t kept = 0, count = 0;

	if (app->recall_count == 0)
		return;
	for (size_t i = 0; i < load->count; i++) {
		if (!saver_log_is_recalled(app, load->ids[i], now))
			load->ids[kept++] = load->ids[i];
		else if (count < PAGE_MAX) /* the rest with the next load, or the sweep */
			recalled[count++] = load->ids[i];
	}
	load->count = kept;
	if (count > 0 && saver_remove(saver, &load->name, recalled, count, SAVER_RECALLED, NULL,
				      NULL) != SAVER_OK)
		count = 0; /* likewise */
}

static void one_has_come(struct load *load, enum saver_error error);

static void on_record_read(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct load *load = ctx;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING)
		load->read = saver_record_decode(saver_reply_bytes(reply));
	one_has_come(load, error);
}

/* No login: who it is decides which broadcasts it gets all the same. */
static void read_record(struct load *load)
{
	struct saver *saver = load->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"),
				     { key, saver_record_key_encode(&load->name, key) } };
	enum saver_error error;

	load->record_asked = true;
	load->waits++;
	error = saver_redis_send(saver->redis, saver_node_of(saver, &load->name), SAVER_OP_LOAD,
				 words, 2, on_record_read, load);
	if (error != SAVER_OK)
		one_has_come(load, error);
}

/* What there is to wait for has come. */
static void load_ready(struct load *load)
{
	uint64_t now = hf_loop_wall_ms(load->saver->service->loop);
	const Hf__RegistrationRecord *record =
		load->record.record != NULL ? load->record.record : load->read;

	if (load->error != SAVER_OK) {
		fail(load, load->error);
	} else if (load->closed_until != 0) {
		answer_quarantined(load);
	} else if (record != NULL && saver_record_is_barred(record, now)) {
		load->login = false; /* it gets nothing: that is no load without an ack */
		answer(load, NULL, 0, false);
	} else if (!load->record_asked && saver_offer_has_any(&load->offer)) {
		read_record(load);
	} else {
		drop_recalled(load);
		saver_offer_select(&load->offer, record, load->after, load->max_count,
				   load->max_bytes, on_selected);
	}
}

static void one_has_come(struct load *load, enum saver_error error)
{
	if (load->error == SAVER_OK)
		load->error = error;
	if (--load->waits == 0)
		load_ready(load);
}

static void on_record(struct saver_login *record, enum saver_error error)
{
	one_has_come(HF_CONTAINER_OF(record, struct load, record), error);
}

static void on_offer(struct saver_offer *offer, enum saver_error error)
{
	one_has_come(HF_CONTAINER_OF(offer, struct load, offer), error);
}

static void on_keys(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct load *load = ctx;

	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK && reply->elements > 0) {
		load->ids = malloc(reply->elements * sizeof(load->ids[0]));
		if (load->ids == NULL)
			error = SAVER_INTERNAL;
	}
	for (size_t i = 0; error == SAVER_OK && i < reply->elements; i++) {
		struct hf_bytes field = saver_reply_bytes(reply->element[i]);
		uint64_t id;

		if (saver_field_decode(field, &id) && id > load->after)
			load->ids[load->count++] = id;
		else if (field.len == 1 && field.data[0] == SAVER_LOST_FIELD[0])
			load->has_lost = true;
	}
	saver_ids_sort(load->ids, load->count);
	one_has_come(load, error);
}

/* All leave in one pipeline. What could not be sent is noted, and what was is waited for. */
static void begin(struct load *load, const Hf__LoadRequest *request)
{
	struct saver *saver = load->saver;
	uint8_t key[SAVER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("HKEYS"),
				     { key, saver_queue_key_encode(&load->name, key) } };
	enum saver_error error = SAVER_OK;

	load->waits = 1; /* while these are sent */
	if (load->login && request->profile != NULL) {
		load->record_asked = true;
		error = saver_login_begin(&load->record, saver, &load->name, request->profile,
					  on_record);
		load->waits += error == SAVER_OK;
	}
	if (error == SAVER_OK && load->closed_until == 0) {
		error = saver_redis_send_slot(saver->redis, load->name.slot, SAVER_OP_LOAD, words,
					      2, on_keys, load);
		load->waits += error == SAVER_OK;
	}
	if (error == SAVER_OK && load->closed_until == 0) {
		error = saver_offer_begin(&load->offer, saver, &load->name, on_offer);
		load->waits += error == SAVER_OK;
	}
	if (error == SAVER_OK && !load->record_asked && load->offer.acked_asked)
		read_record(load); /* there will be something to choose from */
	one_has_come(load, error);
}

void saver_on_load(Hf__Saver_Service *rpc, const Hf__LoadRequest *request,
		   Hf__LoadReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	const char *broken =
		request->profile != NULL ? saver_profile_check(request->profile) : NULL;
	struct saver_name name;
	struct load *load;
	enum saver_error error;

	if (!saver_name_of_request(saver, request->app, &request->registration, call, &name))
		return;
	if (broken != NULL) {
		saver_fail_invalid(saver, call, broken);
		return;
	}
	error = saver_redis_admit(saver->redis, saver_node_of(saver, &name));
	load = error == SAVER_OK ? malloc(sizeof(*load)) : NULL;
	if (load == NULL) {
		saver_fail(saver, call, error == SAVER_OK ? SAVER_INTERNAL : error);
		return;
	}
	*load = (struct load){
		.saver = saver,
		.closure = closure,
		.call = call,
		.after = request->after,
		.max_count = HF_MAX(HF_MIN(request->max_count, 1000u), 1u),
		.max_bytes = HF_MIN(request->max_bytes, BYTES_MAX),
		.login = request->login,
		.first = true,
		.closed_until = saver_quarantine_closed(&saver->quarantine, &name,
							hf_loop_wall_ms(saver->service->loop)),
		.name = name
	};
	begin(load, request);
}
