/* registration.created, .updated and .deleted: what callbacks hear of the registry. Added when the
 * record was changed already: the kill of a saver between the two loses the event. */
#include "hf_event.h"
#include "registry.h"
#include "spool.h"

static void put_field(struct hf_json_writer *w, const char *name, const ProtobufCBinaryData *value)
{
	hf_json_put_text(w, name);
	if (value->len > 0)
		hf_json_put_string(w, hf_bytes_of(value->data, value->len));
	else
		hf_json_put_text(w, "null");
}

static void put_tags(struct hf_json_writer *w, const Hf__RegistrationRecord *record)
{
	hf_json_put_text(w, ",\"tags\":[");
	for (size_t i = 0; i < record->n_tags; i++) {
		if (i > 0)
			hf_json_put_text(w, ",");
		hf_json_put_string(w, hf_bytes_of(record->tags[i].data, record->tags[i].len));
	}
	hf_json_put_text(w, "]");
}

/* Tags that do not fit are left out: the API has them. */
static size_t write_data(const struct saver_name *name, const Hf__RegistrationRecord *record,
			 char ret[HF_EVENT_DATA_MAX])
{
	struct hf_json_writer w = { ret, ret + HF_EVENT_DATA_MAX - 1, false }, whole;

	hf_json_put_text(&w, "{\"registration_id\":");
	hf_json_put_string(&w, saver_name_registration(name));
	put_field(&w, ",\"user_id\":", &record->user_id);
	put_field(&w, ",\"platform\":", &record->platform);
	put_field(&w, ",\"sdk_version\":", &record->sdk_version);
	whole = w;
	put_tags(&whole, record);
	if (!whole.failed)
		w = whole;
	if (w.failed)
		return 0; /* can't be: the parts have bounds */
	*w.pos++ = '}';   /* its place was kept back */
	return (size_t)(w.pos - ret);
}

void saver_registry_tell(struct saver *saver, const struct saver_name *name,
			 const Hf__RegistrationRecord *old, const Hf__RegistrationRecord *record)
{
	const Hf__RegistrationRecord *shown = record != NULL ? record : old;
	char data[HF_EVENT_DATA_MAX];
	struct saver_event event = { .type = HF__EVENT_TYPE__REGISTRATION_UPDATED };
	size_t len;

	if (record == NULL)
		event.type = HF__EVENT_TYPE__REGISTRATION_DELETED;
	else if (old == NULL)
		event.type = HF__EVENT_TYPE__REGISTRATION_CREATED;
	else if (old->revision == record->revision)
		return; /* only seen again */
	if (shown == NULL || !saver_spool_wants(saver, name->app, event.type))
		return;
	len = write_data(name, shown, data);
	if (len == 0)
		return;
	event.data = hf_bytes_of(data, len);
	event.id = hf_event_message_id(saver->service->salt, event.type,
				       shown->first_seen_ms << 20 ^ shown->revision, name->app,
				       name->bytes, name->len);
	if (saver_spool_add(saver, name, &event, 1) != SAVER_OK)
		return; /* it is lost, and counted there */
}
