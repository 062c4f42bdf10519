/* ReadUsers: the registrations of users, each looked at: a user's set may name too many. */
#include <stdlib.h>

#include "hf_hash.h"
#include "saver.h"

#define USERS_MAX     1000u
#define USERS_AT_ONCE 16u        /* sets that are being read, or their records */
#define ANSWER_MAX    (2u << 20) /* bytes of registrations: half of what an RPC takes */
#define NAME_COST     (HF_REGISTRATION_MAX + 16u)

struct members;

struct users {
	struct saver *saver;
	Hf__ReadUsersReply_Closure closure;
	void *call;
	enum saver_error error;
	bool too_much;
	uint32_t app, running;
	size_t count, next, bytes;
	struct members *members[USERS_MAX];
	struct hf_bytes ids[USERS_MAX]; /* in `text` */
	uint8_t text[];
};

/* One user's set, and which of its names the records bear out. */
struct members {
	struct users *users;
	struct hf_bytes user_id;
	uint32_t pending, kept;
	size_t count;
	struct member {
		struct members *members;
		bool ours;
		struct saver_name name;
	} all[];
};

static void next_users(struct users *users);

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int order = memcmp(x->name.bytes, y->name.bytes, HF_MIN(x->name.len, y->name.len));

	return order != 0 ? order : (int)x->name.len - (int)y->name.len;
}

/* Those that are the user's come first, sorted. */
static void tidy(struct members *members)
{
	for (size_t i = 0; i < members->count; i++) {
		if (members->all[i].ours)
			members->all[members->kept++] = members->all[i];
	}
	members->kept = HF_MIN(members->kept, SAVER_USER_REGISTRATIONS_MAX);
	if (members->kept > 0)
		qsort(members->all, members->kept, sizeof(members->all[0]), compare_members);
}

static void fill_user(const struct members *members, Hf__UserRegistrations *ret,
		      ProtobufCBinaryData *names)
{
	hf__user_registrations__init(ret);
	ret->registrations = names;
	for (size_t i = 0; members != NULL && i < members->kept; i++)
		names[ret->n_registrations++] =
			(ProtobufCBinaryData){ members->all[i].name.len,
					       (uint8_t *)(uintptr_t)members->all[i].name.bytes };
}

static void answer(struct users *users)
{
	Hf__ReadUsersReply reply = HF__READ_USERS_REPLY__INIT;
	Hf__UserRegistrations all[USERS_MAX], *pointers[USERS_MAX];
	size_t total = 0, used = 0;
	ProtobufCBinaryData *names;

	for (size_t i = 0; i < users->count; i++)
		total += users->members[i] != NULL ? users->members[i]->kept : 0;
	names = malloc((total + 1) * sizeof(*names));
	for (size_t i = 0; names != NULL && i < users->count; i++) {
		fill_user(users->members[i], &all[i], names + used);
		used += all[i].n_registrations;
		pointers[i] = &all[i];
	}
	reply.n_users = users->count;
	reply.users = pointers;
	if (names == NULL)
		saver_fail(users->saver, users->call, SAVER_INTERNAL);
	else
		users->closure(&reply, users->call);
	free(names);
}

static void finish(struct users *users)
{
	if (users->error != SAVER_OK)
		saver_fail(users->saver, users->call, users->error);
	else if (users->too_much)
		saver_fail_invalid(users->saver, users->call, "TOO_MANY_RESULTS");
	else
		answer(users);
	for (size_t i = 0; i < users->count; i++)
		free(users->members[i]);
	free(users);
}

static void user_read(struct users *users, enum saver_error error)
{
	if (users->error == SAVER_OK)
		users->error = error;
	users->running--;
	next_users(users);
}

/* The set names a registration that is another user's or nobody's. Only the saver that would write
 * such a record may say so: for others it may be a moment too early. */
static void drop_member(const struct members *members, const struct saver_name *name)
{
	struct saver *saver = members->users->saver;
	struct hf_bytes user_id = members->user_id;
	uint8_t key[SAVER_USER_KEY_MAX];
	struct hf_bytes words[3] = { HF_BYTES_LITERAL("SREM"),
				     { key, saver_user_key_encode(name->app, user_id, key) },
				     saver_name_registration(name) };
	unsigned node = saver_redis_node_of(saver->redis, hf_slot(saver->service->salt, name->app,
								  user_id.data, user_id.len));

	if (saver_owns(saver, name->slot) && !saver_edit_runs(&saver->registry.edits, name))
		(void)!saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_WRITE, words, 3,
					saver_redis_ignore, NULL);
}

static void on_record(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct member *member = ctx;
	struct members *members = member->members;
	struct users *users = members->users;
	Hf__RegistrationRecord *record = NULL;

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING)
		record = saver_record_decode(saver_reply_bytes(reply));
	member->ours = record != NULL &&
		       hf_bytes_equal(hf_bytes_of(record->user_id.data, record->user_id.len),
				      members->user_id);
	if (error == SAVER_OK && !member->ours)
		drop_member(members, &member->name);
	if (record != NULL)
		hf__registration_record__free_unpacked(record, NULL);
	if (users->error == SAVER_OK)
		users->error = error;
	if (--members->pending > 0)
		return;
	tidy(members);
	user_read(users, SAVER_OK);
}

static struct members *take_members(struct users *users, struct hf_bytes user_id,
				    const redisReply *reply)
{
	struct members *members =
		malloc(sizeof(*members) + reply->elements * sizeof(members->all[0]));

	if (members == NULL)
		return NULL;
	*members = (struct members){ .users = users, .user_id = user_id };
	for (size_t i = 0; i < reply->elements; i++) {
		struct member *member = &members->all[members->count];

		*member = (struct member){ .members = members };
		if (reply->element[i]->type == REDIS_REPLY_STRING &&
		    saver_name_set(&member->name, users->saver->service->salt, users->app,
				   reply->element[i]->str, reply->element[i]->len))
			members->count++;
	}
	return members;
}

static enum saver_error read_records(struct members *members)
{
	struct saver *saver = members->users->saver;
	enum saver_error error = SAVER_OK;

	for (size_t i = 0; i < members->count && error == SAVER_OK; i++) {
		struct member *member = &members->all[i];
		uint8_t key[SAVER_KEY_MAX];
		struct hf_bytes words[2] = { HF_BYTES_LITERAL("GET"),
					     { key, saver_record_key_encode(&member->name, key) } };

		error = saver_redis_send(saver->redis, saver_node_of(saver, &member->name),
					 SAVER_OP_REGISTRY_READ, words, 2, on_record, member);
		members->pending += error == SAVER_OK;
	}
	return error;
}

/* What SMEMBERS was asked for. */
struct set_read {
	struct users *users;
	size_t index;
};

static void on_set(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct set_read read = *(struct set_read *)ctx;
	struct users *users = read.users;
	struct members *members = NULL;

	free(ctx);
	if (error == SAVER_OK && reply->type != REDIS_REPLY_ARRAY)
		error = SAVER_INTERNAL;
	if (error == SAVER_OK) {
		users->bytes += reply->elements * NAME_COST;
		users->too_much |= users->bytes > ANSWER_MAX;
	}
	if (error == SAVER_OK && !users->too_much && reply->elements > 0) {
		members = take_members(users, users->ids[read.index], reply);
		error = members == NULL ? SAVER_INTERNAL : read_records(members);
		users->members[read.index] = members;
	}
	if (members == NULL || members->pending == 0)
		user_read(users, error);
	else if (users->error == SAVER_OK)
		users->error = error; /* those that were asked for are waited for */
}

static enum saver_error read_set(struct users *users, size_t index)
{
	struct saver *saver = users->saver;
	struct hf_bytes user_id = users->ids[index];
	uint8_t key[SAVER_USER_KEY_MAX];
	struct hf_bytes words[2] = { HF_BYTES_LITERAL("SMEMBERS"),
				     { key, saver_user_key_encode(users->app, user_id, key) } };
	unsigned node = saver_redis_node_of(saver->redis, hf_slot(saver->service->salt, users->app,
								  user_id.data, user_id.len));
	struct set_read *read = malloc(sizeof(*read));
	enum saver_error error = saver_redis_admit(saver->redis, node);

	if (read == NULL)
		return SAVER_INTERNAL;
	*read = (struct set_read){ users, index };
	if (error == SAVER_OK)
		error = saver_redis_send(saver->redis, node, SAVER_OP_REGISTRY_READ, words, 2,
					 on_set, read);
	if (error != SAVER_OK)
		free(read);
	return error;
}

static void next_users(struct users *users)
{
	while (users->error == SAVER_OK && !users->too_much && users->running < USERS_AT_ONCE &&
	       users->next < users->count) {
		users->error = read_set(users, users->next++);
		users->running += users->error == SAVER_OK;
	}
	if (users->running == 0)
		finish(users);
}

void saver_on_read_users(Hf__Saver_Service *rpc, const Hf__ReadUsersRequest *request,
			 Hf__ReadUsersReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	size_t text_len = 0, used = 0;
	struct users *users;

	if (request->n_user_ids > USERS_MAX) {
		saver_fail_invalid(saver, call, "TOO_MANY_ITEMS");
		return;
	}
	for (size_t i = 0; i < request->n_user_ids; i++) {
		if (request->user_ids[i].len == 0 || request->user_ids[i].len > HF_USER_ID_MAX) {
			saver_fail_invalid(saver, call, "BAD_USER_ID");
			return;
		}
		text_len += request->user_ids[i].len;
	}
	users = calloc(1, sizeof(*users) + text_len);
	if (users == NULL) {
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	users->saver = saver;
	users->closure = closure;
	users->call = call;
	users->app = request->app;
	users->count = request->n_user_ids;
	for (size_t i = 0; i < users->count; i++) {
		const ProtobufCBinaryData *id = &request->user_ids[i];

		memcpy(users->text + used, id->data, id->len);
		users->ids[i] = hf_bytes_of(users->text + used, id->len);
		used += id->len;
	}
	next_users(users);
}
