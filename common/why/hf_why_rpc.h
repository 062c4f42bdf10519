/* common/why/hf_why_rpc.h - the call Why, which every service answers alike. */
#ifndef HF_WHY_RPC_H
#define HF_WHY_RPC_H

#include "common.pb-c.h"
#include "hf_why.h"

#define HF_WHY_REPLY_MAX 1000

/* Answers at once, or ends the call INVALID. The closure is that of any service: they are alike. */
void hf_why_answer(const struct hf_why *why, const Hf__WhyRequest *request,
		   void (*closure)(const Hf__WhyReply *reply, void *call), void *call);

#endif
