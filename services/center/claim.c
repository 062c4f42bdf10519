/* services/center/claim.c - see claim.h. */
#include "claim.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_backoff.h"
#include "hf_rpc.h"

#define RETRY_BASE_MS 50
#define RETRY_CAP_MS  400

static void try_claim(struct claim *claim);
static void try_complete(struct claim *claim);

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct claim *claim = ctx;

	if (claim->response != NULL)
		try_complete(claim);
	else
		try_claim(claim);
}

/* Another attempt after a while; false: there is no time for one. */
static bool again(struct claim *claim)
{
	struct hf_loop *loop = claim->center->loop;
	struct hf_backoff backoff = { RETRY_BASE_MS, RETRY_CAP_MS, claim->attempts++ };
	uint64_t delay_ms = 1 + hf_backoff_next_ms(&backoff);

	if (claim->center->stopping || hf_loop_now_ms(loop) + delay_ms >= claim->deadline_ms)
		return false;
	hf_loop_arm(loop, &claim->timer, delay_ms);
	return true;
}

static void fingerprint(struct claim *claim, struct hf_bytes text)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	char route[64];
	size_t len =
		(size_t)snprintf(route, sizeof(route), "POST\n/v1/apps/%u/messages\n", claim->app);

	if (sha == NULL || EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(sha, route, len) != 1 ||
	    EVP_DigestUpdate(sha, text.data, text.len) != 1 ||
	    EVP_DigestFinal_ex(sha, claim->fingerprint, NULL) != 1)
		abort(); /* out of memory: a key must never be kept with a wrong fingerprint */
	EVP_MD_CTX_free(sha);
}

void claim_init(struct claim *claim, struct center *center, uint32_t app, struct hf_bytes key,
		struct hf_bytes text, uint32_t lease_ms)
{
	*claim = (struct claim){ .center = center, .app = app, .lease_ms = lease_ms };
	claim->key_len = key.len;
	memcpy(claim->key, key.data, key.len);
	claim->owner = hf_id_next(&center->service->ids, hf_loop_wall_ms(center->loop));
	hf_timer_init(&claim->timer, on_timer, claim);
	fingerprint(claim, text);
}

void claim_deinit(struct claim *claim)
{
	hf_wheel_disarm(&claim->timer);
	free(claim->response);
	claim->response = NULL;
}

static ProtobufCService *saver_of(struct claim *claim)
{
	struct center *center = claim->center;
	uint16_t slot = hf_service_slot(center->service, claim->app, claim->key, claim->key_len);

	return hf_peers_call(center->savers, hf_peers_by_slot(center->savers, slot),
			     (uint32_t)center->config->store_try_ms);
}

static void end_claim(struct claim *claim, enum claim_result result, unsigned status,
		      struct hf_bytes response)
{
	claim->on_result(claim, result, status, response);
}

static void on_claimed(const Hf__ClaimReply *reply, void *ctx)
{
	static const enum claim_result results[] = {
		[HF__CLAIM_RESULT__CLAIMED] = CLAIM_WON,
		[HF__CLAIM_RESULT__IN_PROGRESS] = CLAIM_IN_PROGRESS,
		[HF__CLAIM_RESULT__REPLAY] = CLAIM_REPLAY,
		[HF__CLAIM_RESULT__MISMATCH] = CLAIM_MISMATCH,
	};
	struct claim *claim = ctx;

	if (reply != NULL && (unsigned)reply->result < HF_ARRAY_LEN(results)) {
		end_claim(claim, results[reply->result], reply->status,
			  hf_bytes_of(reply->response.data, reply->response.len));
		return;
	}
	/* The same owner may claim again: it finds its own claim when the answer was lost. */
	if (!again(claim))
		end_claim(claim, CLAIM_UNAVAILABLE, 0, hf_bytes_of(NULL, 0));
}

static void try_claim(struct claim *claim)
{
	Hf__ClaimRequest request = HF__CLAIM_REQUEST__INIT;

	request.app = claim->app;
	request.key = (ProtobufCBinaryData){ claim->key_len, (uint8_t *)claim->key };
	request.fingerprint =
		(ProtobufCBinaryData){ sizeof(claim->fingerprint), claim->fingerprint };
	request.owner = claim->owner;
	request.lease_ms = claim->lease_ms;
	hf__saver__claim(saver_of(claim), &request, on_claimed, claim);
}

void claim_start(struct claim *claim, void (*on_result)(struct claim *, enum claim_result,
							unsigned status, struct hf_bytes response))
{
	claim->on_result = on_result;
	claim->deadline_ms =
		hf_loop_now_ms(claim->center->loop) + claim->center->config->store_total_ms;
	try_claim(claim);
}

static void send_complete(struct claim *claim, unsigned status, struct hf_bytes response,
			  Hf__CompleteReply_Closure closure, void *ctx)
{
	Hf__CompleteRequest request = HF__COMPLETE_REQUEST__INIT;

	request.app = claim->app;
	request.key = (ProtobufCBinaryData){ claim->key_len, (uint8_t *)claim->key };
	request.fingerprint =
		(ProtobufCBinaryData){ sizeof(claim->fingerprint), claim->fingerprint };
	request.owner = claim->owner;
	request.status = status;
	request.response = (ProtobufCBinaryData){ response.len, (uint8_t *)response.data };
	hf__saver__complete(saver_of(claim), &request, closure, ctx);
}

static void on_completed(const Hf__CompleteReply *reply, void *ctx)
{
	struct claim *claim = ctx;

	/* An answer that is not kept lets the next try of this key send it all again: the caller
	 * rather waits a little, while the key's slot finds a new owner. */
	if (reply == NULL && again(claim))
		return;
	claim->on_complete(claim);
}

static void try_complete(struct claim *claim)
{
	send_complete(claim, claim->status, hf_bytes_of(claim->response, claim->response_len),
		      on_completed, claim);
}

int claim_complete(struct claim *claim, unsigned status, struct hf_bytes response,
		   void (*on_complete)(struct claim *))
{
	claim->response = malloc(response.len);
	if (claim->response == NULL)
		return -ENOMEM;
	memcpy(claim->response, response.data, response.len);
	claim->response_len = response.len;
	claim->status = status;
	claim->attempts = 0;
	claim->deadline_ms =
		hf_loop_now_ms(claim->center->loop) + claim->center->config->store_total_ms;
	claim->on_complete = on_complete;
	try_complete(claim);
	return 0;
}

static void on_given_up(const Hf__CompleteReply *reply, void *ctx)
{
	/* Lost or not: without it the key is free when its lease lapses. */
}

void claim_give_up(struct claim *claim)
{
	if (!claim->center->stopping)
		send_complete(claim, 0, hf_bytes_of(NULL, 0), on_given_up, NULL);
}
