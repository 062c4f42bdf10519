/* services/center/run_completed.c - the event message.completed: a broadcast is over, and its
 * business asked to be told. It is in the spool before the job is finished, so that it is told even
 * if this center dies here; whoever goes on makes the same event, with the same id. */
#include <stdlib.h>

#include "hf_event.h"
#include "run.h"

bool run_completed_wanted(const struct run *run)
{
	const Hf__Delivery *delivery = run->broadcast != NULL ? run->broadcast->delivery : NULL;

	return delivery != NULL && !run->told_completed &&
	       (delivery->receipts >> HF__EVENT_TYPE__MESSAGE_COMPLETED & 1) != 0;
}

static void put_count(struct hf_json_writer *w, const char *name, uint64_t value)
{
	hf_json_put_text(w, name);
	hf_json_put_uint(w, value);
}

/* What every event of a message says, and how this one ended. 0: it does not fit. */
static size_t word_data(const struct run *run, char ret[HF_EVENT_DATA_MAX])
{
	const Hf__Delivery *delivery = run->broadcast->delivery;
	struct hf_event_message message = {
		.message_id = run->id,
		.label = hf_bytes_of(delivery->label.data, delivery->label.len),
		.params = hf_bytes_of(delivery->receipt_params.data, delivery->receipt_params.len),
		.reason = run->reason,
	};
	ssize_t len = hf_event_message_data(&message, ret);
	struct hf_json_writer w = { .end = ret + HF_EVENT_DATA_MAX };
	Hf__Job job = HF__JOB__INIT;
	struct run_room sum;

	if (len <= 0)
		return 0;
	job.state = run->final_state;
	if (run->reason != NULL)
		job.reason = (ProtobufCBinaryData){ strlen(run->reason), (uint8_t *)run->reason };
	run_rooms_sum(run, &sum);
	w.pos = ret + len - 1; /* over the closing bracket */
	hf_json_put_text(&w, ",\"state\":\"");
	hf_json_put_text(&w, job_state_name(&job));
	put_count(&w, "\",\"counters\":{\"targets\":", HF_MAX(run->targets, sum.matched));
	put_count(&w, ",\"written\":", sum.written);
	put_count(&w, ",\"deferred\":", sum.deferred);
	put_count(&w, ",\"dropped\":", sum.dropped);
	hf_json_put_text(&w, "}}");
	return w.failed ? 0 : (size_t)(w.pos - ret);
}

static void on_appended(const Hf__SpoolAppendReply *reply, void *ctx)
{
	struct run *run = ctx;

	run->busy = false;
	if (!run_call_ended(run))
		return;
	/* A full spool stays full: the store has counted what it refused. */
	run->told_completed = (reply != NULL && (reply->n_failed == 0 ||
						 strcmp(reply->reason, "SPOOL_FULL") == 0)) ||
			      (reply == NULL && hf_rpc_last_status() == HF_RPC_INVALID);
	if (run->told_completed)
		run_renew(run);
}

void run_completed_tell(struct run *run)
{
	struct center *center = run->center;
	Hf__SpoolAppendRequest request = HF__SPOOL_APPEND_REQUEST__INIT;
	Hf__Event event = HF__EVENT__INIT, *events[1] = { &event };
	char key[HF_ID_TEXT_SIZE], data[HF_EVENT_DATA_MAX];

	if (run->busy)
		return;
	hf_id_format(run->id, key);
	event.type = HF__EVENT_TYPE__MESSAGE_COMPLETED;
	event.app = run->app;
	event.key = (ProtobufCBinaryData){ strlen(key), (uint8_t *)key };
	event.id = hf_event_message_id(center->service->salt, event.type, run->id, run->app, key,
				       strlen(key));
	event.at_ms = hf_loop_wall_ms(center->loop);
	event.data = (ProtobufCBinaryData){ word_data(run, data), (uint8_t *)data };
	request.n_events = 1;
	request.events = events;
	run->busy = true;
	run->calls++;
	hf__saver__spool_append(run_any_saver(run), &request, on_appended, run);
}
