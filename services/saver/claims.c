/* Claim and Complete: the idempotency keys of the API, in Redis only.
 *
 * hf:i:<app>:<key> = u8 version | u8 done | u64 owner | u32 status | u8 n | fingerprint | response
 *
 * A claim that is not completed lapses by itself; a completed one answers for a day. */
#include <stdio.h>
#include <stdlib.h>

#include "hf_cursor.h"
#include "saver.h"

#define CLAIM_VERSION   1
#define FINGERPRINT_MAX 64
#define RESPONSE_MAX    65536
#define HEADER_MAX      (1 + 1 + 8 + 4 + 1 + FINGERPRINT_MAX)
#define LEASE_MIN_MS    1000u
#define LEASE_MAX_MS    600000u
#define TRIES           3

struct claim_value {
	bool done;
	uint64_t owner;
	uint32_t status;
	struct hf_bytes fingerprint, response;
};

static bool claim_decode(struct hf_bytes bytes, struct claim_value *ret)
{
	struct hf_cursor c = hf_cursor_of(bytes.data, bytes.len);
	uint8_t version = hf_cursor_u8(&c), len;

	ret->done = hf_cursor_u8(&c) != 0;
	ret->owner = hf_cursor_u64(&c);
	ret->status = hf_cursor_u32(&c);
	len = hf_cursor_u8(&c);
	ret->fingerprint = hf_bytes_of(hf_cursor_bytes(&c, len), len);
	ret->response = hf_bytes_of(c.pos, hf_cursor_left(&c));
	return !c.failed && version == CLAIM_VERSION;
}

/* All but the response; returns the length. */
static size_t claim_encode(const struct claim_value *value, uint8_t ret[HEADER_MAX])
{
	struct hf_writer w = hf_writer_of(ret, HEADER_MAX);

	hf_writer_u8(&w, CLAIM_VERSION);
	hf_writer_u8(&w, value->done);
	hf_writer_u64(&w, value->owner);
	hf_writer_u32(&w, value->status);
	hf_writer_u8(&w, (uint8_t)value->fingerprint.len);
	hf_writer_bytes(&w, value->fingerprint.data, value->fingerprint.len);
	return (size_t)(w.pos - ret);
}

/* The key, and the slot that says which node has it. False after ending the call. */
static bool read_key(struct saver *saver, uint32_t app, const ProtobufCBinaryData *key,
		     const ProtobufCBinaryData *fingerprint, void *call,
		     struct saver_name *ret_name)
{
	if (app == 0 || fingerprint->len > FINGERPRINT_MAX ||
	    !saver_name_set(ret_name, saver->service->salt, app, key->data, key->len)) {
		saver_fail_invalid(saver, call, "BAD_KEY");
		return false;
	}
	return true;
}

static size_t claim_key(const struct saver_name *name, uint8_t ret[SAVER_KEY_MAX])
{
	size_t len = saver_queue_key_encode(name, ret);

	ret[3] = 'i'; /* hf:q: is the queues' */
	return len;
}

struct claim {
	struct saver *saver;
	Hf__ClaimReply_Closure closure;
	void *call;
	unsigned tries;
	bool set;
	uint64_t owner;
	uint32_t lease_ms;
	uint8_t fingerprint[FINGERPRINT_MAX];
	size_t fingerprint_len;
	struct saver_name name;
};

static enum saver_error try_claim(struct claim *claim);

static void claim_end(struct claim *claim, enum saver_error error, const Hf__ClaimReply *reply)
{
	if (error == SAVER_OK)
		claim->closure(reply, claim->call);
	else
		saver_fail(claim->saver, claim->call, error);
	free(claim);
}

static void on_set(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct claim *claim = ctx;

	if (error == SAVER_OK) /* else the claim may have ended already */
		claim->set = reply->type == REDIS_REPLY_STATUS;
}

static void on_get(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct claim *claim = ctx;
	Hf__ClaimReply answer = HF__CLAIM_REPLY__INIT;
	struct claim_value value;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_NIL) {
		/* Neither set nor there: it lapsed between the two, or Redis is out of memory. */
		error = ++claim->tries < TRIES ? try_claim(claim) : SAVER_STORE_FULL;
		if (error == SAVER_OK)
			return;
	}
	if (error == SAVER_OK &&
	    (reply->type != REDIS_REPLY_STRING || !claim_decode(saver_reply_bytes(reply), &value)))
		error = SAVER_INTERNAL;
	if (error != SAVER_OK) {
		claim_end(claim, error, NULL);
		return;
	}
	if (!hf_bytes_equal(value.fingerprint,
			    hf_bytes_of(claim->fingerprint, claim->fingerprint_len))) {
		answer.result = HF__CLAIM_RESULT__MISMATCH;
	} else if (value.done) {
		answer.result = HF__CLAIM_RESULT__REPLAY;
		answer.status = value.status;
		answer.response.data = (uint8_t *)value.response.data;
		answer.response.len = value.response.len;
	} else if (claim->set || value.owner == claim->owner) {
		answer.result = HF__CLAIM_RESULT__CLAIMED;
	} else {
		answer.result = HF__CLAIM_RESULT__IN_PROGRESS;
	}
	claim_end(claim, SAVER_OK, &answer);
}

/* SET NX and GET in one go: one round trip whatever is there. */
static enum saver_error try_claim(struct claim *claim)
{
	struct saver *saver = claim->saver;
	unsigned node = saver_node_of(saver, &claim->name);
	struct claim_value value = {
		.owner = claim->owner, .fingerprint = { claim->fingerprint, claim->fingerprint_len }
	};
	uint8_t key[SAVER_KEY_MAX], header[HEADER_MAX];
	char lease[12];
	int len = snprintf(lease, sizeof(lease), "%u", claim->lease_ms);
	struct hf_bytes words[6] = { HF_BYTES_LITERAL("SET"),
				     { key, claim_key(&claim->name, key) },
				     { header, claim_encode(&value, header) },
				     HF_BYTES_LITERAL("NX"),
				     HF_BYTES_LITERAL("PX"),
				     { (uint8_t *)lease, (size_t)len } };
	struct hf_bytes get[2] = { HF_BYTES_LITERAL("GET"), words[1] };
	enum saver_error error =
		saver_redis_send(saver->redis, node, SAVER_OP_CLAIM, words, 6, on_set, claim);

	if (error == SAVER_OK) {
		error = saver_redis_send(saver->redis, node, SAVER_OP_CLAIM, get, 2, on_get, claim);
		if (error != SAVER_OK) /* on_set() still has the claim: let it end first */
			saver_redis_reset(saver->redis, node, "half a claim was sent");
	}
	return error;
}

void saver_on_claim(Hf__Saver_Service *rpc, const Hf__ClaimRequest *request,
		    Hf__ClaimReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct saver_name name;
	struct claim *claim;
	enum saver_error error;

	if (!read_key(saver, request->app, &request->key, &request->fingerprint, call, &name))
		return;
	claim = calloc(1, sizeof(*claim));
	if (claim == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	claim->saver = saver;
	claim->closure = closure;
	claim->call = call;
	claim->owner = request->owner;
	claim->lease_ms = HF_MAX(HF_MIN(request->lease_ms, LEASE_MAX_MS), LEASE_MIN_MS);
	claim->name = name;
	claim->fingerprint_len = request->fingerprint.len;
	if (request->fingerprint.len > 0)
		memcpy(claim->fingerprint, request->fingerprint.data, request->fingerprint.len);
	error = saver_redis_admit(saver->redis, saver_node_of(saver, &name));
	if (error == SAVER_OK)
		error = try_claim(claim);
	if (error != SAVER_OK)
		claim_end(claim, error, NULL);
}

struct complete {
	struct saver *saver;
	Hf__CompleteReply_Closure closure;
	void *call;
};

static void on_completed(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct complete *complete = ctx;
	Hf__CompleteReply answer = HF__COMPLETE_REPLY__INIT;

	if (error == SAVER_OK)
		complete->closure(&answer, complete->call);
	else
		saver_fail(complete->saver, complete->call, error);
	free(complete);
}

/* Only the claim's owner completes it (or nobody, when it lapsed): checked and done in one step, by
 * Redis. KEYS[1]; ARGV: owner as in bytes 3 to 10, the new value ("": delete), milliseconds to keep
 * it. */
static const char script[] =
	"local v = redis.call('GET', KEYS[1])\n"
	"if v and (string.byte(v, 2) ~= 0 or string.sub(v, 3, 10) ~= ARGV[1]) then return 0 end\n"
	"if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end\n"
	"redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\n"
	"return 1";

void saver_on_complete(Hf__Saver_Service *rpc, const Hf__CompleteRequest *request,
		       Hf__CompleteReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct claim_value value = { .done = true,
				     .owner = request->owner,
				     .status = request->status,
				     .fingerprint = { request->fingerprint.data,
						      request->fingerprint.len } };
	uint8_t key[SAVER_KEY_MAX], owner[8], *bytes;
	struct hf_writer w = hf_writer_of(owner, sizeof(owner));
	struct hf_bytes words[7] = { HF_BYTES_LITERAL("EVAL"),
				     hf_bytes_of(script, sizeof(script) - 1),
				     HF_BYTES_LITERAL("1"),
				     { key, 0 },
				     { owner, sizeof(owner) } };
	char ttl[24];
	struct saver_name name;
	struct complete *complete;
	enum saver_error error;
	size_t len = 0;

	if (!read_key(saver, request->app, &request->key, &request->fingerprint, call, &name))
		return;
	if (request->response.len > RESPONSE_MAX) {
		saver_fail_invalid(saver, call, "RESPONSE_TOO_LONG");
		return;
	}
	complete = malloc(sizeof(*complete));
	bytes = malloc(HEADER_MAX + request->response.len);
	if (complete == NULL || bytes == NULL) {
		free(complete);
		free(bytes);
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	*complete = (struct complete){ saver, closure, call };
	if (request->status != 0) {
		len = claim_encode(&value, bytes);
		if (request->response.len > 0)
			memcpy(bytes + len, request->response.data, request->response.len);
		len += request->response.len;
	}
	snprintf(ttl, sizeof(ttl), "%llu", (unsigned long long)saver->config->claims_ttl_ms);
	hf_writer_u64(&w, request->owner);
	words[3].len = claim_key(&name, key);
	words[5] = hf_bytes_of(bytes, len);
	words[6] = hf_bytes_of_string(ttl);
	error = saver_redis_send(saver->redis, saver_node_of(saver, &name), SAVER_OP_CLAIM, words,
				 7, on_completed, complete);
	free(bytes);
	if (error != SAVER_OK)
		on_completed(NULL, error, complete);
}
