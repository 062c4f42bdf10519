/* services/center/api.h - the routes of the API, and what their handlers share. */
#ifndef CENTER_API_H
#define CENTER_API_H

#include "auth.h"
#include "center.h"

#define API_ARG_MAX 192 /* bytes of an {id} in a path: 64, percent-encoded */

#define API_SUB_MAX 32 /* of a {sub}, which is never encoded */

struct route;

/* One request whose key was checked; lives as long as the handler runs. */
struct call {
	struct center *center;
	struct hf_http_exchange *exchange;
	const struct route *route;
	uint32_t app_id;
	const struct hf_app *app; /* of app_id; NULL for routes without {app} only */
	char arg[API_ARG_MAX + 1];
	size_t arg_len;
	char sub[API_SUB_MAX + 1]; /* of a path with two: {sub} */
};

enum body_kind { BODY_NONE, BODY_JSON, BODY_BATCH, BODY_STREAM };

struct route {
	const char *method, *path; /* "/v1/apps/{app}/keys/{id}" */
	enum access access;
	enum body_kind body;
	bool sends;                         /* needs an enabled app */
	void (*handler)(struct call *call); /* answers now or later */
	const char *query; /* names of query parameters, with spaces between them; NULL: none */
};

extern const struct route api_routes[]; /* ends with a NULL method */

/* Callbacks of the HTTP server; ctx is the center. */
bool api_on_head(struct hf_http_exchange *exchange, void *ctx);
void api_on_request(struct hf_http_exchange *exchange, void *ctx);

void api_fail(struct call *call, const struct problem *problem);
void api_respond_json(struct hf_http_exchange *exchange, unsigned status,
		      json_t *body); /* takes body */
/* The JSON object of the body; NULL: already answered. */
HF_MUST_CHECK json_t *api_body(struct call *call);
/* messages.c */
void api_send(struct call *call);
/* message_state.c, message_control.c, broadcasts.c */
void api_message_state(struct call *call);
void api_cancel_message(struct call *call);
void api_pause_message(struct call *call);
void api_resume_message(struct call *call);
void api_change_message(struct call *call);
void api_list_broadcasts(struct call *call);
/* batch.c, stream.c */
void api_send_batch(struct call *call);
void api_send_stream(struct call *call);
/* registrations.c, registration_change.c */
void api_query_registrations(struct call *call);
void api_list_registrations(struct call *call);
void api_show_registration(struct call *call);
void api_change_registration(struct call *call);
void api_delete_registration(struct call *call);
void api_bar_registration(struct call *call);
void api_unbar_registration(struct call *call);
void api_show_user(struct call *call);
/* tags.c */
void api_list_tags(struct call *call);
void api_show_tag(struct call *call);
void api_delete_tag(struct call *call);
void api_tag_registrations(struct call *call);
/* connections.c, disconnect.c, presence.c, queue.c */
void api_list_connections(struct call *call);
void api_disconnect(struct call *call);
void api_presence_stats(struct call *call);
void api_show_queue(struct call *call);
void api_purge_queue(struct call *call);
/* reports.c */
void api_report_registrations(struct call *call);
void api_report_messages(struct call *call);
void api_report_labels(struct call *call);
/* apps.c, keys.c */
void api_list_apps(struct call *call);
void api_create_app(struct call *call);
void api_show_app(struct call *call);
void api_change_app(struct call *call);
void api_delete_app(struct call *call);
void api_list_keys(struct call *call);
void api_create_key(struct call *call);
void api_delete_key(struct call *call);
void api_list_token_keys(struct call *call);
void api_create_token_key(struct call *call);
void api_delete_token_key(struct call *call);
/* webhooks.c */
void api_list_webhooks(struct call *call);
void api_create_webhook(struct call *call);
void api_show_webhook(struct call *call);
void api_change_webhook(struct call *call);
void api_delete_webhook(struct call *call);
/* why.c */
void api_why_message(struct call *call);
void api_why_registration(struct call *call);
HF_MUST_CHECK int why_serve(struct center *center); /* the RPC port; 0 or -errno, logged */
/* deliveries.c */
void api_test_webhook(struct call *call);
void api_list_deliveries(struct call *call);
void api_retry_delivery(struct call *call);
/* nodes.c */
void api_list_nodes(struct call *call);
void api_drain_node(struct call *call);

#endif
