/* services/center/queue.c - what is owed to one registration: shown, and forgotten. */
#include <stdlib.h>

#include "api.h"
#include "hf_clock.h"
#include "hf_rpc.h"
#include "hf_text.h"
#include "problem.h"

struct asking {
	struct center *center;
	struct hf_http_exchange *exchange; /* NULL: the client left */
};

static void on_client_left(struct hf_http_exchange *exchange, void *ctx)
{
	((struct asking *)ctx)->exchange = NULL;
}

/* Checks the path's registration id and makes the context of the call; NULL: already answered. */
static struct asking *begin(struct call *call)
{
	struct problem problem;
	struct asking *asking;

	if (!hf_text_is_id(call->arg, call->arg_len, HF_REGISTRATION_MAX)) {
		problem_set(&problem, 400, "BAD_VALUE", "registration_id", NULL,
			    "a registration id is text of 1 to %d bytes, without control "
			    "characters",
			    HF_REGISTRATION_MAX);
		api_fail(call, &problem);
		return NULL;
	}
	asking = malloc(sizeof(*asking));
	if (asking == NULL) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		api_fail(call, &problem);
		return NULL;
	}
	*asking = (struct asking){ call->center, call->exchange };
	hf_http_exchange_on_abort(call->exchange, on_client_left, asking);
	return asking;
}

static ProtobufCService *saver_of(struct call *call)
{
	struct center *center = call->center;
	uint16_t slot = hf_service_slot(center->service, call->app_id, call->arg, call->arg_len);

	return hf_peers_call(center->savers, hf_peers_by_slot(center->savers, slot),
			     (uint32_t)center->config->query_ms);
}

/* Takes the answer: NULL says that the store could not be asked. */
static void end(struct asking *asking, json_t *answer)
{
	if (asking->exchange == NULL) {
		json_decref(answer);
	} else if (answer != NULL) {
		api_respond_json(asking->exchange, 200, answer);
	} else {
		center_count_refusal(asking->center, "STORE_UNAVAILABLE");
		hf_http_respond_error(asking->exchange, 503, NULL, "STORE_UNAVAILABLE",
				      "the store did not answer", NULL, NULL, 1);
	}
	free(asking);
}

static json_t *word_message(const Hf__QueuedMessage *message)
{
	char id[HF_ID_TEXT_SIZE], created[HF_CLOCK_TEXT_SIZE], expires[HF_CLOCK_TEXT_SIZE];

	hf_id_format(message->message_id, id);
	hf_clock_format(hf_id_wall_ms(message->message_id), created);
	hf_clock_format(message->expires_ms, expires);
	return json_pack("{s:s, s:s, s:s, s:i, s:i}", "message_id", id, "created_at", created,
			 "expires_at", expires, "size", (int)message->size, "deliveries",
			 (int)message->deliveries);
}

static void on_queue(const Hf__QueueReply *reply, void *ctx)
{
	json_t *list;

	if (reply == NULL) {
		end(ctx, NULL);
		return;
	}
	list = json_array();
	for (size_t i = 0; i < reply->n_messages; i++)
		json_array_append_new(list, word_message(reply->messages[i]));
	end(ctx, json_pack("{s:b, s:o}", "quarantined", reply->quarantined, "messages", list));
}

void api_show_queue(struct call *call)
{
	Hf__QueueRequest request = HF__QUEUE_REQUEST__INIT;
	struct asking *asking = begin(call);

	if (asking == NULL)
		return;
	request.app = call->app_id;
	request.registration = (ProtobufCBinaryData){ call->arg_len, (uint8_t *)call->arg };
	hf__saver__queue(saver_of(call), &request, on_queue, asking);
}

static void on_purged(const Hf__PurgeReply *reply, void *ctx)
{
	end(ctx, reply != NULL ? json_pack("{s:i}", "purged", (int)reply->purged) : NULL);
}

void api_purge_queue(struct call *call)
{
	Hf__PurgeRequest request = HF__PURGE_REQUEST__INIT;
	struct asking *asking = begin(call);

	if (asking == NULL)
		return;
	request.app = call->app_id;
	request.registration = (ProtobufCBinaryData){ call->arg_len, (uint8_t *)call->arg };
	hf__saver__purge(saver_of(call), &request, on_purged, asking);
}
