/* Disconnect: a list of registrations cut by slot owner, one Register.Kick each, answers put
 * together. */
#define HF_LOG_MODULE "coordinator"
#include <stdlib.h>

#include "coordinator.h"
#include "hf_log.h"

struct disconnect {
	struct coordinator_state *state;
	Hf__KickReply_Closure closure;
	void *call;
	size_t count;
	uint32_t waiting; /* registers that have not answered */
	Hf__KickResult results[DISCONNECT_MAX];
};

/* The part of it that one register answers. */
struct part {
	struct disconnect *disconnect;
	size_t count;
	uint32_t results[]; /* indexes into disconnect->results */
};

struct target {
	struct hf_peer *owner; /* NULL: nobody serves its slot */
	uint32_t index;
};

static void answer_when_done(struct disconnect *disconnect)
{
	Hf__KickReply reply = HF__KICK_REPLY__INIT;

	if (--disconnect->waiting > 0)
		return;
	for (size_t i = 0; i < disconnect->count; i++)
		++*disconnect->state->disconnects[disconnect->results[i]];
	reply.n_results = disconnect->count;
	reply.results = disconnect->results;
	disconnect->closure(&reply, disconnect->call);
	free(disconnect);
}

static void on_kicked(const Hf__KickReply *reply, void *ctx)
{
	struct part *part = ctx;
	struct disconnect *disconnect = part->disconnect;

	if (reply == NULL || reply->n_results != part->count) {
		/* The results stay at "failed". */
		HF_WARN("disconnect failed", "status=%s reason=%s registrations=%zu",
			hf_rpc_status_name(hf_rpc_last_status()),
			hf_log_quote(hf_rpc_last_reason(), strlen(hf_rpc_last_reason())),
			part->count);
	} else {
		for (size_t i = 0; i < part->count; i++) {
			if ((unsigned)reply->results[i] <= HF__KICK_RESULT__KICK_FAILED)
				disconnect->results[part->results[i]] = reply->results[i];
		}
	}
	free(part);
	answer_when_done(disconnect);
}

static int by_owner(const void *a, const void *b)
{
	uintptr_t left = (uintptr_t)((const struct target *)a)->owner;
	uintptr_t right = (uintptr_t)((const struct target *)b)->owner;

	return (left > right) - (left < right);
}

/* One Register.Kick for targets that all belong to one owner. */
static void ask_register(struct disconnect *disconnect, const Hf__KickRequest *request,
			 const struct target *targets, size_t count)
{
	struct coordinator_state *state = disconnect->state;
	struct part *part = malloc(sizeof(*part) + count * sizeof(part->results[0]));
	ProtobufCBinaryData registrations[DISCONNECT_MAX];
	Hf__KickRequest asked = HF__KICK_REQUEST__INIT;

	if (part == NULL)
		return; /* the results stay at "failed" */
	part->disconnect = disconnect;
	part->count = count;
	for (size_t i = 0; i < count; i++) {
		part->results[i] = targets[i].index;
		registrations[i] = request->registrations[targets[i].index];
	}
	asked.app = request->app;
	asked.code = request->code;
	asked.reason = request->reason;
	asked.n_registrations = count;
	asked.registrations = registrations;
	disconnect->waiting++;
	hf__register__kick(hf_peers_call(state->registers, targets[0].owner,
					 (uint32_t)state->config->disconnect_timeout_ms),
			   &asked, on_kicked, part);
}

static bool request_is_valid(const Hf__KickRequest *request)
{
	if (request->app == 0 || request->n_registrations == 0 ||
	    request->n_registrations > DISCONNECT_MAX ||
	    strlen(request->reason) > DISCONNECT_REASON_MAX)
		return false;
	for (size_t i = 0; i < request->n_registrations; i++) {
		if (request->registrations[i].len < 1 ||
		    request->registrations[i].len > HF_REGISTRATION_MAX)
			return false;
	}
	return true;
}

void on_disconnect(Hf__Coordinator_Service *rpc, const Hf__KickRequest *request,
		   Hf__KickReply_Closure closure, void *call)
{
	struct coordinator_state *state = HF_CONTAINER_OF(rpc, struct coordinator_state, rpc);
	struct target targets[DISCONNECT_MAX];
	struct disconnect *disconnect;
	size_t done = 0, count = request->n_registrations;

	if (!request_is_valid(request)) {
		++*state->bad_requests;
		hf_rpc_fail(call, HF_RPC_INVALID, "BAD_DISCONNECT");
		return;
	}
	disconnect = malloc(sizeof(*disconnect));
	if (disconnect == NULL) {
		hf_rpc_fail(call, HF_RPC_INTERNAL, "OUT_OF_MEMORY");
		return;
	}
	disconnect->state = state;
	disconnect->closure = closure;
	disconnect->call = call;
	disconnect->count = count;
	disconnect->waiting = 1; /* ourselves, until every register is asked */
	for (size_t i = 0; i < count; i++) {
		uint16_t slot = hf_service_slot(state->service, request->app,
						request->registrations[i].data,
						request->registrations[i].len);

		disconnect->results[i] = HF__KICK_RESULT__KICK_FAILED;
		targets[i].owner = hf_peers_by_slot(state->registers, slot);
		targets[i].index = (uint32_t)i;
	}
	qsort(targets, count, sizeof(targets[0]), by_owner);
	while (done < count) {
		size_t n = 1;

		while (done + n < count && targets[done + n].owner == targets[done].owner)
			n++;
		ask_register(disconnect, request, targets + done, n);
		done += n;
	}
	answer_when_done(disconnect);
}
