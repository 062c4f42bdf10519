/* services/center/resolve.c - see resolve.h. */
#include "resolve.h"

#include <errno.h>
#include <stdlib.h>

#define USERS_A_CALL   40  /* of 256 registrations of 64 bytes each: below the limit of a frame */
#define RECORDS_A_CALL 500 /* of 100 tags of 40 bytes each */

/* Registrations that are gathered before those that came twice are left out: users of an app have
 * few in common. */
#define GATHERED_MAX (4 * (size_t)REQUEST_RESOLVED_MAX)

struct resolve {
	struct center *center;
	uint32_t app;
	const struct request *request;
	struct hf_arena *arena;
	resolve_done done;
	void *ctx;
	unsigned open; /* calls, and one while they are made */
	bool failed;   /* somebody did not answer, or memory ran out */
	bool too_many;
	struct hf_bytes *targets;
	bool *matched; /* beside targets, while records are read */
	size_t count, room;
};

/* Which targets a call asked about. */
struct records_call {
	struct resolve *resolve;
	size_t count;
	uint32_t at[];
};

static void finish(struct resolve *resolve)
{
	struct problem problem;
	int err = 0;

	if (resolve->failed)
		err = problem_retry(&problem, 503, "STORE_UNAVAILABLE", 1,
				    "the registry did not answer in time");
	else if (resolve->too_many)
		err = problem_set(&problem, 400, "TOO_MANY_TARGETS", "audience", NULL,
				  "the audience is more than %d registrations; send to it in parts",
				  REQUEST_RESOLVED_MAX);
	else if (resolve->count == 0)
		err = problem_set(&problem, 404, "NO_RECIPIENTS", "audience", NULL,
				  "no registration is meant by this audience");
	resolve->done(resolve->ctx, err, resolve->targets, resolve->count, &problem);
	free(resolve->matched);
	free(resolve);
}

static int compare(const void *a, const void *b)
{
	const struct hf_bytes *left = a, *right = b;
	int order = memcmp(left->data, right->data, HF_MIN(left->len, right->len));

	return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* ---- what else must match ---- */

static bool needs_records(const Hf__Audience *audience)
{
	return audience->n_tag + audience->n_tag_and + audience->n_tag_not + audience->n_platform >
		       0 ||
	       audience->version_min.len > 0 || audience->version_max.len > 0;
}

static bool matches(const struct resolve *resolve, struct hf_bytes registration,
		    const Hf__RegistrationRecord *record)
{
	uint8_t tags[HF_TAGS_PACKED_MAX];
	struct hf_profile profile = { .app = resolve->app, .registration = registration };

	if (record != NULL) {
		profile.platform = hf_bytes_of(record->platform.data, record->platform.len);
		profile.sdk_version =
			hf_bytes_of(record->sdk_version.data, record->sdk_version.len);
		profile.tags =
			hf_bytes_of(tags, hf_tags_pack(record->tags,
						       HF_MIN(record->n_tags, (size_t)HF_TAGS_MAX),
						       tags));
	}
	return hf_audience_matches(resolve->request->audience, &profile);
}

static void keep_matched(struct resolve *resolve)
{
	size_t kept = 0;

	for (size_t i = 0; i < resolve->count; i++)
		if (resolve->matched[i])
			resolve->targets[kept++] = resolve->targets[i];
	resolve->count = kept;
	finish(resolve);
}

static void on_records(const Hf__ReadRegistrationsReply *reply, void *ctx)
{
	struct records_call *call = ctx;
	struct resolve *resolve = call->resolve;

	if (reply == NULL || reply->n_entries != call->count)
		resolve->failed = true;
	for (size_t i = 0; !resolve->failed && i < call->count; i++) {
		const Hf__RegistrationEntry *entry = reply->entries[i];

		resolve->matched[call->at[i]] =
			entry->known && entry->record != NULL &&
			matches(resolve, resolve->targets[call->at[i]], entry->record);
	}
	free(call);
	if (--resolve->open == 0)
		keep_matched(resolve);
}

static struct hf_peer *owner_of(const struct resolve *resolve, size_t i)
{
	struct hf_bytes name = resolve->targets[i];

	return hf_peers_by_slot(resolve->center->savers,
				hf_service_slot(resolve->center->service, resolve->app, name.data,
						name.len));
}

/* Ask the owner of target `first` about it and others of its own, up to a call's worth. */
static void ask_records(struct resolve *resolve, size_t first, bool *asked)
{
	struct center *center = resolve->center;
	struct hf_peer *peer = owner_of(resolve, first);
	struct records_call *call = malloc(sizeof(*call) + RECORDS_A_CALL * sizeof(call->at[0]));
	Hf__ReadRegistrationsRequest request = HF__READ_REGISTRATIONS_REQUEST__INIT;

	hf_arena_reset(&center->call);
	request.registrations =
		hf_arena_alloc(&center->call, RECORDS_A_CALL * sizeof(*request.registrations));
	if (call == NULL || request.registrations == NULL) {
		free(call);
		resolve->failed = true;
		return;
	}
	call->resolve = resolve;
	call->count = 0;
	for (size_t i = first; i < resolve->count && call->count < RECORDS_A_CALL; i++) {
		struct hf_bytes name = resolve->targets[i];

		if (asked[i] || owner_of(resolve, i) != peer)
			continue;
		asked[i] = true;
		request.registrations[call->count] =
			(ProtobufCBinaryData){ name.len, (uint8_t *)name.data };
		call->at[call->count++] = (uint32_t)i;
	}
	request.app = resolve->app;
	request.n_registrations = call->count;
	resolve->open++;
	hf__saver__read_registrations(hf_peers_call(center->savers, peer,
						    (uint32_t)center->config->query_ms),
				      &request, on_records, call);
}

static void filter(struct resolve *resolve)
{
	const Hf__Audience *audience = resolve->request->audience;
	bool *asked = calloc(HF_MAX(resolve->count, (size_t)1), sizeof(*asked));

	resolve->matched = calloc(HF_MAX(resolve->count, (size_t)1), sizeof(*resolve->matched));
	if (asked == NULL || resolve->matched == NULL) {
		resolve->failed = true;
		free(asked);
		finish(resolve);
		return;
	}
	resolve->open = 1;
	for (size_t i = 0; i < resolve->count && !resolve->failed; i++) {
		if (!needs_records(audience))
			resolve->matched[i] = matches(resolve, resolve->targets[i], NULL);
		else if (!asked[i])
			ask_records(resolve, i, asked);
	}
	free(asked);
	if (--resolve->open == 0)
		keep_matched(resolve);
}

/* ---- users ---- */

/* Registrations of several users, each once. */
static void tidy(struct resolve *resolve)
{
	size_t kept = 0;

	if (resolve->count > 0)
		qsort(resolve->targets, resolve->count, sizeof(*resolve->targets), compare);
	for (size_t i = 0; i < resolve->count; i++) {
		struct hf_bytes one = resolve->targets[i];

		if (kept > 0 && hf_bytes_equal(one, resolve->targets[kept - 1]))
			continue;
		resolve->targets[kept++] = one;
	}
	resolve->count = kept;
	resolve->too_many = kept > REQUEST_RESOLVED_MAX;
}

static void users_read(struct resolve *resolve)
{
	if (!resolve->failed && !resolve->too_many)
		tidy(resolve);
	if (resolve->failed || resolve->too_many || resolve->request->audience == NULL)
		finish(resolve);
	else
		filter(resolve);
}

static bool add(struct resolve *resolve, const ProtobufCBinaryData *name)
{
	const struct request *request = resolve->request;
	struct hf_bytes one = hf_bytes_of(name->data, name->len), *more;
	size_t room = resolve->room > 0 ? 2 * resolve->room : 256;

	if (name->len == 0 || name->len > HF_REGISTRATION_MAX)
		return true; /* no such registration can be */
	if (request->target_count > 0 &&
	    bsearch(&one, request->targets, request->target_count, sizeof(one), compare) == NULL)
		return true; /* not one of the named */
	if (resolve->count == GATHERED_MAX) {
		resolve->too_many = true;
		return true;
	}
	if (resolve->count == resolve->room) {
		more = hf_arena_alloc(resolve->arena, room * sizeof(*more));
		if (more == NULL)
			return false;
		if (resolve->count > 0)
			memcpy(more, resolve->targets, resolve->count * sizeof(*more));
		resolve->targets = more;
		resolve->room = room;
	}
	resolve->targets[resolve->count].data =
		hf_arena_copy(resolve->arena, name->data, name->len);
	resolve->targets[resolve->count].len = name->len;
	return resolve->targets[resolve->count++].data != NULL;
}

static void on_users(const Hf__ReadUsersReply *reply, void *ctx)
{
	struct resolve *resolve = ctx;

	if (reply == NULL)
		resolve->failed = true;
	for (size_t i = 0; !resolve->failed && i < reply->n_users; i++)
		for (size_t j = 0; !resolve->failed && j < reply->users[i]->n_registrations; j++)
			if (!add(resolve, &reply->users[i]->registrations[j]))
				resolve->failed = true;
	if (--resolve->open == 0)
		users_read(resolve);
}

static void ask_users(struct resolve *resolve, size_t first, size_t count)
{
	struct center *center = resolve->center;
	Hf__ReadUsersRequest request = HF__READ_USERS_REQUEST__INIT;
	ProtobufCBinaryData users[USERS_A_CALL];
	struct hf_bytes user = resolve->request->users[first];
	uint16_t slot = hf_service_slot(center->service, resolve->app, user.data, user.len);

	for (size_t i = 0; i < count; i++) {
		user = resolve->request->users[first + i];
		users[i] = (ProtobufCBinaryData){ user.len, (uint8_t *)user.data };
	}
	request.app = resolve->app;
	request.n_user_ids = count;
	request.user_ids = users;
	resolve->open++;
	hf__saver__read_users(hf_peers_call(center->savers, hf_peers_by_slot(center->savers, slot),
					    (uint32_t)center->config->query_ms),
			      &request, on_users, resolve);
}

void resolve_start(struct center *center, uint32_t app, const struct request *request,
		   struct hf_arena *arena, resolve_done done, void *ctx)
{
	struct resolve *resolve = calloc(1, sizeof(*resolve));
	struct problem problem;

	if (resolve == NULL) {
		problem_retry(&problem, 503, "OVERLOADED", 1, "out of memory");
		done(ctx, -EINVAL, NULL, 0, &problem);
		return;
	}
	*resolve = (struct resolve){ .center = center,
				     .app = app,
				     .request = request,
				     .arena = arena,
				     .done = done,
				     .ctx = ctx };
	if (request->user_count == 0) {
		resolve->targets = request->targets;
		resolve->count = request->target_count;
		if (request->audience == NULL)
			finish(resolve);
		else
			filter(resolve);
		return;
	}
	resolve->open = 1;
	for (size_t i = 0; i < request->user_count; i += USERS_A_CALL)
		ask_users(resolve, i, HF_MIN(request->user_count - i, (size_t)USERS_A_CALL));
	if (--resolve->open == 0)
		users_read(resolve);
}
