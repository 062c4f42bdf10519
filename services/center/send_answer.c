/* services/center/send_answer.c - the words of the answer to a send. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_clock.h"
#include "send_internal.h"

/* Registrations that a replay lists: its answer is bounded. */
#define REPLAY_LISTED_MAX 200

static const char *durability_name(const struct message *message)
{
	if (message->class == REQUEST_TRANSIENT)
		return "none";
	return message->durability == HF__DURABILITY__COMMITTED ? "committed"
	       : message->durability == HF__DURABILITY__FSYNC   ? "fsync"
								: "memory";
}

const char *send_kind_name(const struct request *request)
{
	switch (request->kind) {
	case REQUEST_TAG:
		return "tag";
	case REQUEST_BROADCAST:
		return "broadcast";
	case REQUEST_LIST:
		break;
	}
	return request->user_count == 0 && request->target_count == 1 ? "unicast" : "multicast";
}

/* The recipients that there are. */
static uint32_t resolved_of(const struct message *message)
{
	return message->target_count - message->unregistered;
}

static bool is_satisfied(const struct send *send)
{
	const struct message *message = send->message;

	return (send->wait == REQUEST_WAIT_ROUTED && message->written == resolved_of(message)) ||
	       (send->wait == REQUEST_WAIT_ACKED && message->acked == resolved_of(message));
}

/* How far the message has come for all its recipients. */
static const char *state_name(const struct message *message, enum request_wait wait)
{
	if (wait == REQUEST_WAIT_NONE)
		return "accepted";
	if (message->acked == resolved_of(message))
		return "acked";
	if (message->written == resolved_of(message))
		return "routed";
	if (message->class == REQUEST_TRANSIENT && message->phase == MESSAGE_DONE &&
	    message->written == 0)
		return "failed"; /* nobody was there, and nothing is owed */
	return "accepted";
}

/* One entry of `failed` (an object) or of `unregistered` (an id). */
static json_t *word_target(const struct target *target)
{
	if (target->outcome == TARGET_UNREGISTERED)
		return json_stringn((const char *)target->registration, target->registration_len);
	return json_pack("{s:s%, s:s}", "registration_id", target->registration,
			 (size_t)target->registration_len, "reason", target->message->store_reason);
}

static int word_list(struct send *send, const char *name, enum target_outcome outcome, uint32_t max)
{
	const struct message *message = send->message;
	uint32_t listed = 0;
	int err = hf_buffer_printf(&send->text, ",\"%s\":[", name);

	for (uint32_t i = 0; err == 0 && i < message->target_count && listed < max; i++) {
		const struct target *target = &message->targets[i];
		json_t *item;
		char *text;

		if (target->outcome != outcome)
			continue;
		item = word_target(target);
		text = item != NULL ? json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
		err = text != NULL
			      ? hf_buffer_printf(&send->text, "%s%s", listed++ > 0 ? "," : "", text)
			      : -ENOMEM;
		free(text);
		json_decref(item);
	}
	return err == 0 ? hf_buffer_printf(&send->text, "]") : err;
}

static char *put_number(char *pos, uint32_t number)
{
	char digits[10];
	size_t count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	while (count > 0)
		*pos++ = digits[--count];
	return pos;
}

/* What every answer begins with: 231 bytes at most. Written by hand, as each message has one. */
#define HEAD_MAX 255
static int word_head(struct send *send, bool multicast)
{
	const struct message *message = send->message;
	char *start = (char *)hf_buffer_reserve(&send->text, HEAD_MAX), *pos = start;

	if (start == NULL)
		return -ENOMEM;
	pos = stpcpy(pos, "{\"message_id\":\"");
	hf_id_format(message->id, pos);
	pos = stpcpy(pos + HF_ID_TEXT_SIZE - 1, "\",\"state\":\"");
	pos = stpcpy(pos, state_name(message, send->wait));
	pos = stpcpy(pos, "\",\"accepted_at\":\"");
	hf_clock_format(message->wall_ms, pos);
	pos = stpcpy(pos + HF_CLOCK_TEXT_SIZE - 1, "\",\"targets\":{\"kind\":\"");
	pos = stpcpy(pos, multicast ? "multicast" : "unicast");
	pos = put_number(stpcpy(pos, "\",\"requested\":"), message->target_count);
	pos = put_number(stpcpy(pos, ",\"resolved\":"), resolved_of(message));
	pos = put_number(stpcpy(pos, ",\"accepted\":"), message->accepted);
	pos = stpcpy(pos, "},\"durability\":\"");
	pos = stpcpy(pos, durability_name(message));
	pos = stpcpy(pos, "\",\"replayed\":false");
	hf_buffer_commit(&send->text, (size_t)(pos - start));
	return 0;
}

/* The body of an accepted message, into send->text. */
static int word_answer(struct send *send, uint32_t listed_max)
{
	const struct message *message = send->message;
	bool multicast = message->target_count > 1 ||
			 (send->plan != NULL && send->plan->request.user_count > 0);
	int err;

	hf_buffer_clear(&send->text, SIZE_MAX);
	err = word_head(send, multicast);
	if (err == 0 && send->wait != REQUEST_WAIT_NONE)
		err = hf_buffer_printf(&send->text,
				       ",\"counters\":{\"written\":%u,\"offline\":%u,"
				       "\"dropped\":%u,\"unrouted\":%u,\"acked\":%u}",
				       message->written, message->offline, message->dropped,
				       message->unrouted, message->acked);
	if (err == 0 && message->failed > 0)
		err = word_list(send, "failed", TARGET_FAILED, listed_max);
	if (err == 0 && message->unregistered > 0)
		err = word_list(send, "unregistered", TARGET_UNREGISTERED, listed_max);
	return err == 0 ? hf_buffer_append(&send->text, "}", 1) : err;
}

static void on_complete(struct claim *claim)
{
	send_finish(HF_CONTAINER_OF(claim, struct send, claim));
}

/* Keep the answer as it is worded now for replays; false: finish without. */
static bool keep_answer(struct send *send)
{
	return send->claimed && !send->center->stopping &&
	       claim_complete(&send->claim, send->status,
			      hf_bytes_of(hf_buffer_data(&send->text), hf_buffer_len(&send->text)),
			      on_complete) == 0;
}

void send_answer_accepted(struct send *send)
{
	const struct message *message = send->message;
	bool keep, longer = HF_MAX(message->failed, message->unregistered) > REPLAY_LISTED_MAX;

	if (send->answered)
		return;
	send->answered = true;
	hf_wheel_disarm(&send->timer);
	send->status = is_satisfied(send) ? 200 : 202;
	send->retry_after_s = -1;
	keep = send->claimed && word_answer(send, REPLAY_LISTED_MAX) == 0 && keep_answer(send);
	if ((!keep || longer) && word_answer(send, UINT32_MAX) < 0)
		send->status = 500;
	if (!keep)
		send_finish(send);
}

void send_answer_job(struct send *send)
{
	const Hf__Job *job = &send->plan->job;
	char id[HF_ID_TEXT_SIZE], at[HF_CLOCK_TEXT_SIZE], due[HF_CLOCK_TEXT_SIZE];
	bool later = job->state == HF__JOB_STATE__JOB_SCHEDULED && job->due_ms > job->created_ms;
	int err;

	send->answered = true;
	send->status = 202;
	send->retry_after_s = -1;
	hf_id_format(job->id, id);
	hf_clock_format(job->created_ms, at);
	hf_clock_format(job->due_ms, due);
	err = hf_buffer_printf(&send->text,
			       "{\"message_id\":\"%s\",\"state\":\"%s\",\"accepted_at\":\"%s\","
			       "\"targets\":{\"kind\":\"%s\"}",
			       id, later ? "scheduled" : "accepted", at,
			       send_kind_name(&send->plan->request));
	if (err == 0 && later)
		err = hf_buffer_printf(&send->text, ",\"send_at\":\"%s\"", due);
	if (err == 0)
		err = hf_buffer_printf(&send->text, ",\"replayed\":false}");
	if (err < 0)
		send->status = 500;
	if (!keep_answer(send))
		send_finish(send);
}

static void answer_checked(struct send *send, int err)
{
	send->answered = true;
	send->status = err == 0 ? 200 : 500;
	send->retry_after_s = -1;
	send_finish(send);
}

void send_answer_valid(struct send *send, const struct request *request, size_t resolved)
{
	answer_checked(send, hf_buffer_printf(&send->text,
					      "{\"state\":\"valid\",\"targets\":{\"kind\":\"%s\","
					      "\"requested\":%zu,\"resolved\":%zu}}",
					      send_kind_name(request),
					      HF_MAX(request->target_count, request->user_count),
					      resolved));
}

void send_answer_counts(struct send *send, uint64_t online, int64_t registered, bool complete)
{
	char number[24] = "null";

	if (registered >= 0)
		snprintf(number, sizeof(number), "%lld", (long long)registered);
	answer_checked(send, hf_buffer_printf(&send->text,
					      "{\"state\":\"valid\",\"targets\":{\"kind\":\"%s\","
					      "\"online\":%llu,\"registered\":%s},\"complete\":%s}",
					      send_kind_name(&send->plan->request),
					      (unsigned long long)online, number,
					      complete ? "true" : "false"));
}

/* The first answer again, but for the one word that says so. */
void send_answer_replay(struct send *send, unsigned status, struct hf_bytes response)
{
	static const char word[] = "\"replayed\":false";
	const uint8_t *at = response.len > 0
				    ? memmem(response.data, response.len, word, sizeof(word) - 1)
				    : NULL;
	size_t head = at != NULL ? (size_t)(at - response.data) : response.len;
	size_t tail = at != NULL ? head + sizeof(word) - 1 : response.len;
	int err = 0;

	send->answered = true;
	send->replayed = true;
	send->status = status;
	send->retry_after_s = -1;
	++*send->center->counters.replayed;
	if (head > 0)
		err = hf_buffer_append(&send->text, response.data, head);
	if (err == 0 && at != NULL)
		err = hf_buffer_printf(&send->text, "\"replayed\":true%.*s",
				       (int)(response.len - tail),
				       (const char *)response.data + tail);
	if (err < 0)
		send->status = 500;
	send_finish(send);
}
