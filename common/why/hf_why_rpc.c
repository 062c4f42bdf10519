#include "hf_why_rpc.h"

#include "hf_rpc_server.h"

void hf_why_answer(const struct hf_why *why, const Hf__WhyRequest *request,
		   void (*closure)(const Hf__WhyReply *reply, void *call), void *call)
{
	static struct hf_why_record found[HF_WHY_REPLY_MAX];
	static Hf__WhyRecord records[HF_WHY_REPLY_MAX];
	static Hf__WhyRecord *pointers[HF_WHY_REPLY_MAX];
	struct hf_why_query query = { .app = request->app,
				      .message_id = request->message_id,
				      .since_us = request->since_ms * 1000,
				      .max = HF_WHY_REPLY_MAX };
	Hf__WhyReply reply = HF__WHY_REPLY__INIT;

	if (request->registration.len > HF_REGISTRATION_MAX ||
	    (request->registration.len == 0 && request->message_id == 0)) {
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_REGISTRATION");
		return;
	}
	if (request->registration.len > 0)
		query.name = hf_why_name(why, request->app, request->registration.data,
					 request->registration.len);
	if (request->max > 0)
		query.max = HF_MIN(request->max, (uint32_t)HF_WHY_REPLY_MAX);
	reply.n_records = hf_why_find(why, &query, found, &reply.oldest_us);
	reply.records = pointers;
	for (size_t i = 0; i < reply.n_records; i++) {
		const struct hf_why_words *words = hf_why_words(found[i].outcome);

		hf__why_record__init(&records[i]);
		records[i].at_us = found[i].at_us;
		records[i].hop = words != NULL ? words->hop : HF_WHY_HOP_NONE;
		records[i].outcome = found[i].outcome;
		records[i].message_id = found[i].message_id;
		records[i].name_hash = found[i].name;
		records[i].detail = found[i].detail;
		pointers[i] = &records[i];
	}
	closure(&reply, call);
}
