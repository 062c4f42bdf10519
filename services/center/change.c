/* services/center/change.c - see change.h. */
#include "change.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_rpc.h"
#include "lookup.h"

#define IN_FLIGHT 64 /* calls of one change to the savers at a time */

/* One call to a saver or a room. */
struct change_call {
	struct change *change;
	struct change_item *item;
};

static Hf__RegistrationRecord *copy_record(const Hf__RegistrationRecord *record)
{
	uint8_t *packed = malloc(hf__registration_record__get_packed_size(record));
	Hf__RegistrationRecord *copy = NULL;

	if (packed != NULL)
		copy = hf__registration_record__unpack(
			NULL, hf__registration_record__pack(record, packed), packed);
	free(packed);
	return copy;
}

static Hf__ChangeRegistrationRequest *copy_request(const Hf__ChangeRegistrationRequest *request)
{
	uint8_t *packed = malloc(hf__change_registration_request__get_packed_size(request) + 1);
	Hf__ChangeRegistrationRequest *copy = NULL;

	if (packed != NULL)
		copy = hf__change_registration_request__unpack(
			NULL, hf__change_registration_request__pack(request, packed), packed);
	free(packed);
	return copy;
}

static void finish(struct change *change)
{
	change->done(change, change->ctx);
	for (size_t i = 0; i < change->count; i++)
		if (change->items[i].record != NULL)
			hf__registration_record__free_unpacked(change->items[i].record, NULL);
	hf__change_registration_request__free_unpacked(change->request, NULL);
	free(change);
}

/* ---- telling the rooms ---- */

static void one_told(struct change *change)
{
	if (--change->open == 0)
		finish(change);
}

static void on_told(const Hf__UpdateSessionReply *reply, void *ctx)
{
	struct change_call *call = ctx;

	/* A session that is gone came back elsewhere, or will, and read the new record. */
	if (reply != NULL)
		call->item->session = reply->known ? CHANGE_SESSION_TOLD : CHANGE_NO_SESSION;
	one_told(call->change);
	free(call);
}

static void tell(struct change *change, struct change_item *item, const struct lookup_item *found)
{
	struct center *center = change->center;
	Hf__UpdateSessionRequest request = HF__UPDATE_SESSION_REQUEST__INIT;
	struct change_call *call;

	item->session = found->presence == HF__PRESENCE__OFFLINE ? CHANGE_NO_SESSION
								 : CHANGE_SESSION_UNTOLD;
	if (found->presence != HF__PRESENCE__ONLINE || center->stopping)
		return;
	call = malloc(sizeof(*call));
	if (call == NULL)
		return;
	*call = (struct change_call){ change, item };
	request.session = found->session;
	request.epoch = found->epoch;
	request.record = item->record;
	change->open++;
	hf__room__update_session(hf_peers_call(center->rooms,
					       hf_peers_by_number(center->rooms, found->room),
					       (uint32_t)center->config->query_ms),
				 &request, on_told, call);
}

static void on_found(struct lookup *lookup, void *ctx)
{
	struct change *change = ctx;
	size_t at = 0;

	for (size_t i = 0; i < lookup->count; i++, at++) {
		while (change->items[at].outcome != CHANGE_MADE)
			at++; /* only the others were looked up, in their order */
		tell(change, &change->items[at], &lookup->items[i]);
	}
	one_told(change);
}

static void look_up(struct change *change)
{
	struct hf_bytes *made = calloc(change->count, sizeof(*made));
	size_t count = 0;

	for (size_t i = 0; i < change->count; i++) {
		if (change->items[i].outcome != CHANGE_MADE)
			continue;
		change->items[i].session = CHANGE_SESSION_UNTOLD;
		if (made != NULL)
			made[count++] = change->items[i].registration;
	}
	change->open = 1;
	if (count == 0 || change->center->stopping ||
	    lookup_start(change->center, change->request->app, made, count, on_found, change) < 0)
		one_told(change);
	free(made);
}

/* ---- changing the records ---- */

static void pump(struct change *change);

/* Why the store refused, as the API names it. */
static const char *refusal(const char *reason)
{
	static const char *const known[] = { "TOO_MANY_TAGS", "TOO_MANY_REGISTRATIONS" };

	for (size_t i = 0; i < HF_ARRAY_LEN(known); i++)
		if (strcmp(known[i], reason) == 0)
			return known[i];
	return "BAD_VALUE";
}

static void on_changed(const Hf__ChangeRegistrationReply *reply, void *ctx)
{
	struct change_call *call = ctx;
	struct change_item *item = call->item;
	struct change *change = call->change;

	free(call);
	item->outcome = CHANGE_FAILED;
	if (reply == NULL && hf_rpc_last_status() == HF_RPC_INVALID) {
		item->outcome = CHANGE_REFUSED;
		item->reason = refusal(hf_rpc_last_reason());
	} else if (reply != NULL && !reply->known) {
		item->outcome = CHANGE_UNKNOWN;
	} else if (reply != NULL && reply->record != NULL) {
		item->record = copy_record(reply->record);
		item->changed = reply->changed;
		if (item->record != NULL)
			item->outcome = CHANGE_MADE;
	}
	change->open--;
	pump(change);
}

static void ask(struct change *change, struct change_item *item)
{
	struct center *center = change->center;
	Hf__ChangeRegistrationRequest request = *change->request;
	struct change_call *call = malloc(sizeof(*call));
	uint16_t slot = hf_service_slot(center->service, request.app, item->registration.data,
					item->registration.len);

	item->outcome = CHANGE_FAILED;
	if (call == NULL)
		return;
	*call = (struct change_call){ change, item };
	request.registration =
		(ProtobufCBinaryData){ item->registration.len,
				       (uint8_t *)(uintptr_t)item->registration.data };
	change->open++;
	hf__saver__change_registration(hf_peers_call(center->savers,
						     hf_peers_by_slot(center->savers, slot),
						     (uint32_t)center->config->query_ms),
				       &request, on_changed, call);
}

static void pump(struct change *change)
{
	if (change->pumping)
		return;
	change->pumping = true;
	while (change->next < change->count && change->open < IN_FLIGHT &&
	       !change->center->stopping)
		ask(change, &change->items[change->next++]);
	change->pumping = false;
	if (change->open > 0)
		return;
	if (change->center->stopping)
		finish(change);
	else
		look_up(change);
}

int change_start(struct center *center, const Hf__ChangeRegistrationRequest *request,
		 const struct hf_bytes *registrations, size_t count, change_done done, void *ctx)
{
	size_t names = 0;
	struct change *change;
	uint8_t *copy;

	for (size_t i = 0; i < count; i++)
		names += registrations[i].len;
	change = calloc(1, sizeof(*change) + count * sizeof(change->items[0]) + names);
	if (change == NULL)
		return -ENOMEM;
	change->request = copy_request(request);
	if (change->request == NULL) {
		free(change);
		return -ENOMEM;
	}
	change->center = center;
	change->done = done;
	change->ctx = ctx;
	change->count = count;
	copy = (uint8_t *)&change->items[count];
	for (size_t i = 0; i < count; i++) {
		memcpy(copy, registrations[i].data, registrations[i].len);
		change->items[i].registration = hf_bytes_of(copy, registrations[i].len);
		copy += registrations[i].len;
	}
	pump(change);
	return 0;
}
