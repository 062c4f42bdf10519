#include "notes.h"

#include <stdlib.h>

struct notes {
	size_t count;
	struct {
		uint64_t message_id, name;
		uint32_t app;
	} items[];
};

/* The data of message events begins with it (hf_event_message_data()). 0: of no message. */
static uint64_t message_of(const Hf__Event *event)
{
	static const char head[] = "{\"message_id\":\"";
	size_t len = sizeof(head) - 1;
	uint64_t id = 0;

	if (event->data.len < len + HF_ID_TEXT_SIZE - 1 ||
	    memcmp(event->data.data, head, len) != 0 ||
	    hf_id_parse((const char *)event->data.data + len, HF_ID_TEXT_SIZE - 1, &id) < 0)
		return 0;
	return id;
}

struct notes *notes_new(const struct hf_service *service, Hf__Event *const *events, size_t count)
{
	struct notes *notes = malloc(sizeof(*notes) + count * sizeof(notes->items[0]));

	if (notes == NULL)
		return NULL;
	notes->count = count;
	for (size_t i = 0; i < count; i++) {
		const Hf__Event *event = events[i];

		notes->items[i].app = event->app;
		notes->items[i].message_id = message_of(event);
		notes->items[i].name =
			hf_why_name(&service->why, event->app, event->key.data, event->key.len);
	}
	return notes;
}

void notes_end(struct notes *notes, struct hf_service *service, const struct post_outcome *outcome)
{
	for (size_t i = 0; outcome != NULL && notes != NULL && i < notes->count; i++)
		hf_why_note(&service->why,
			    outcome->result == POST_ANSWERED && outcome->status / 100 == 2
				    ? HF_WHY_EVENT_DELIVERED
				    : HF_WHY_EVENT_FAILED,
			    notes->items[i].app, notes->items[i].message_id, notes->items[i].name,
			    outcome->status);
	free(notes);
}
