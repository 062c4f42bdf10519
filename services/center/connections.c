/* services/center/connections.c - GET .../connections: of a registration, of a user, of a room, or
 * all.
 *
 * Which sessions: a registration's and a user's by Register.Lookup, a room's by Room.ListSessions,
 * all by that of one room after the other. Then Room.Describe says more of each. */
#include <stdio.h>
#include <stdlib.h>

#include "ask.h"
#include "connection_id.h"
#include "hf_clock.h"
#include "hf_rpc.h"
#include "lookup.h"
#include "query.h"
#include "records.h"
#include "steer.h"

#define USER_CURSOR 'u'
#define ROOM_CURSOR 'c'

struct listed {
	struct connection_id id;
	char node[HF_NODE_ID_MAX + 1];
	char registration[HF_REGISTRATION_MAX + 1];
	json_t *word; /* NULL: gone meanwhile */
};

enum list_kind { OF_REGISTRATION, OF_USER, OF_ROOMS };

struct listing {
	struct ask ask; /* first */
	enum list_kind kind;
	bool one_room;   /* of OF_ROOMS */
	bool incomplete; /* something did not answer */
	char id[HF_USER_ID_MAX + 1];
	size_t limit, count;
	uint32_t room, after; /* of OF_ROOMS: where the next page starts; room 0: at the end */
	uint64_t deadline_ms;
	uint8_t next[HF_REGISTRATION_MAX]; /* of OF_USER: the last one of the page */
	size_t next_len;
	unsigned open;
	struct listed *items; /* `limit` of them */
};

/* ---- the answer ---- */

static void listing_free(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		json_decref(listing->items[i].word);
	free(listing->items);
	free(listing);
}

static json_t *word_next(const struct listing *listing)
{
	uint32_t position[2] = { listing->room, listing->after };

	if (listing->kind == OF_ROOMS)
		return query_next_cursor(ROOM_CURSOR, position,
					 listing->room != 0 ? sizeof(position) : 0);
	return query_next_cursor(USER_CURSOR, listing->next, listing->next_len);
}

static void answer(struct listing *listing)
{
	json_t *list = json_array();

	for (size_t i = 0; i < listing->count; i++)
		if (listing->items[i].word != NULL)
			json_array_append(list, listing->items[i].word);
	if (listing->kind == OF_REGISTRATION && listing->incomplete) {
		json_decref(list);
		ask_unavailable(&listing->ask, "REGISTER_DEGRADED",
				"where this registration is, is not known right now");
	} else {
		ask_answer(&listing->ask,
			   json_pack("{s:o, s:o, s:b}", "connections", list, "next_cursor",
				     word_next(listing), "complete", (int)!listing->incomplete));
	}
	listing_free(listing);
}

static void end_unavailable(struct listing *listing, const char *reason, const char *message)
{
	ask_unavailable(&listing->ask, reason, message);
	listing_free(listing);
}

/* ---- Describe ---- */

struct describe {
	struct listing *listing;
	struct listed *item;
};

static json_t *word_time(uint64_t wall_ms)
{
	char text[HF_CLOCK_TEXT_SIZE];

	hf_clock_format(wall_ms, text);
	return wall_ms > 0 ? json_string(text) : json_null();
}

static json_t *word_plain(const struct listed *item)
{
	char id[CONNECTION_ID_SIZE];

	connection_id_format(&item->id, id);
	return json_pack("{s:s, s:s, s:s}", "connection_id", id, "registration_id",
			 item->registration, "node", item->node);
}

static json_t *word_described(const struct listed *item, const Hf__DescribeReply *reply)
{
	json_t *word = word_plain(item), *more;
	char ip[HF_ADDRESS_MAX], *port;

	snprintf(ip, sizeof(ip), "%s", reply->peer);
	port = strrchr(ip, ':');
	if (port != NULL)
		*port = '\0';
	more = json_pack("{s:o, s:b, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:i, s:I}",
			 "peer_ip", ip[0] != '\0' ? json_string(ip) : json_null(), "lingering",
			 (int)reply->lingering, "transport", reply->transport, "platform",
			 reply->platform, "sdk_version", reply->sdk_version, "network",
			 reply->network, "device", record_text(reply->device), "user_id",
			 record_text(reply->user_id), "connected_at",
			 word_time(reply->connected_ms), "last_rx_at",
			 word_time(reply->last_heard_ms), "keepalive_s", (int)reply->heartbeat_s,
			 "unacked", (int)reply->unacked, "send_queue_bytes",
			 (json_int_t)reply->queued_bytes);
	if (word != NULL && more != NULL)
		json_object_update(word, more);
	json_decref(more);
	return word;
}

static void one_less(struct listing *listing)
{
	if (--listing->open == 0)
		answer(listing);
}

static void on_described(const Hf__DescribeReply *reply, void *ctx)
{
	struct describe *describe = ctx;
	struct listing *listing = describe->listing;

	if (reply != NULL) {
		describe->item->word = word_described(describe->item, reply);
	} else if (hf_rpc_last_status() != HF_RPC_NOT_FOUND) {
		describe->item->word = word_plain(describe->item);
		listing->incomplete = true;
	}
	free(describe);
	one_less(listing);
}

static void describe_all(struct listing *listing)
{
	struct center *center = listing->ask.center;

	listing->open = 1; /* held while the calls are made */
	for (size_t i = 0; i < listing->count && ask_goes_on(&listing->ask); i++) {
		struct listed *item = &listing->items[i];
		struct hf_peer *room = hf_peers_by_number(center->rooms, item->id.room);
		struct describe *describe = malloc(sizeof(*describe));
		Hf__DescribeRequest request = HF__DESCRIBE_REQUEST__INIT;

		if (describe == NULL) {
			listing->incomplete = true;
			continue;
		}
		*describe = (struct describe){ listing, item };
		request.session = item->id.session;
		request.epoch = item->id.epoch;
		listing->open++;
		hf__room__describe(hf_peers_call(center->rooms, room,
						 (uint32_t)center->config->query_ms),
				   &request, on_described, describe);
	}
	one_less(listing);
}

/* ---- of registrations ---- */

static void add(struct listing *listing, const struct hf_peer *room, struct connection_id id,
		struct hf_bytes registration)
{
	struct listed *item = &listing->items[listing->count++];

	item->id = id;
	memcpy(item->node, room->instance.id, sizeof(item->node));
	memcpy(item->registration, registration.data, registration.len);
}

static void on_found(struct lookup *lookup, void *ctx)
{
	struct listing *listing = ctx;

	for (size_t i = 0; i < lookup->count; i++) {
		const struct lookup_item *found = &lookup->items[i];
		const struct hf_peer *room = NULL;

		if (found->presence == HF__PRESENCE__OFFLINE)
			continue;
		if (found->presence == HF__PRESENCE__ONLINE)
			room = hf_peers_by_number(lookup->center->rooms, found->room);
		if (room == NULL)
			listing->incomplete = true;
		else
			add(listing, room,
			    (struct connection_id){ found->room, found->session, found->epoch },
			    found->registration);
	}
	describe_all(listing);
}

static void look_up(struct listing *listing, const struct hf_bytes *registrations, size_t count)
{
	if (lookup_start(listing->ask.center, listing->ask.app, registrations, count, on_found,
			 listing) < 0)
		end_unavailable(listing, "OVERLOADED", "out of memory");
}

static int compare(struct hf_bytes a, struct hf_bytes b)
{
	size_t len = HF_MIN(a.len, b.len);
	int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* They come sorted: the page is those behind the cursor. */
static void on_user(const Hf__ReadUsersReply *reply, void *ctx)
{
	struct listing *listing = ctx;
	const Hf__UserRegistrations *user =
		reply != NULL && reply->n_users == 1 ? reply->users[0] : NULL;
	struct hf_bytes after = hf_bytes_of(listing->next, listing->next_len);
	struct hf_bytes ids[REQUEST_TARGETS_MAX];
	size_t count = 0, i = 0;

	if (user == NULL || !ask_goes_on(&listing->ask)) {
		ask_no_store(&listing->ask);
		listing_free(listing);
		return;
	}
	for (; i < user->n_registrations && count < listing->limit; i++) {
		struct hf_bytes id =
			hf_bytes_of(user->registrations[i].data, user->registrations[i].len);

		if (id.len <= HF_REGISTRATION_MAX && compare(id, after) > 0)
			ids[count++] = id;
	}
	listing->next_len = 0;
	if (i < user->n_registrations && count > 0) {
		listing->next_len = ids[count - 1].len;
		memcpy(listing->next, ids[count - 1].data, ids[count - 1].len);
	}
	look_up(listing, ids, count);
}

/* ---- of rooms ---- */

static void next_page(struct listing *listing);

/* The room with the smallest number from `number` on; NULL: none. */
static struct hf_peer *room_from(struct center *center, uint32_t number)
{
	struct hf_peer *found = NULL;

	for (struct hf_peer *room = hf_peers_first(center->rooms); room != NULL; room = room->next)
		if (room->instance.number >= number &&
		    (found == NULL || room->instance.number < found->instance.number))
			found = room;
	return found;
}

static void leave_room(struct listing *listing)
{
	const struct hf_peer *next =
		listing->one_room ? NULL : room_from(listing->ask.center, listing->room + 1);

	listing->room = next != NULL ? next->instance.number : 0;
	listing->after = 0;
}

static void on_sessions(const Hf__ListSessionsReply *reply, void *ctx)
{
	struct listing *listing = ctx;
	const struct hf_peer *room = hf_peers_by_number(listing->ask.center->rooms, listing->room);

	if (reply == NULL && listing->one_room) {
		end_unavailable(listing, "NODE_UNAVAILABLE", "the room did not answer");
		return;
	}
	listing->incomplete |= reply == NULL;
	for (size_t i = 0; reply != NULL && room != NULL && i < reply->n_sessions &&
			   listing->count < listing->limit;
	     i++) {
		const Hf__ListedSession *session = reply->sessions[i];

		if (session->registration.len <= HF_REGISTRATION_MAX)
			add(listing, room,
			    (struct connection_id){ listing->room, session->session,
						    session->epoch },
			    hf_bytes_of(session->registration.data, session->registration.len));
	}
	if (reply != NULL && reply->next != 0)
		listing->after = reply->next;
	else
		leave_room(listing);
	next_page(listing);
}

static void next_page(struct listing *listing)
{
	struct center *center = listing->ask.center;
	Hf__ListSessionsRequest request = HF__LIST_SESSIONS_REQUEST__INIT;

	/* Where the app has few sessions a room's page may be empty: then time bounds the search.
	 */
	if (listing->room == 0 || listing->count == listing->limit || !ask_goes_on(&listing->ask) ||
	    hf_loop_now_ms(center->loop) >= listing->deadline_ms) {
		describe_all(listing);
		return;
	}
	request.app = listing->ask.app;
	request.after = listing->after;
	request.limit = (uint32_t)(listing->limit - listing->count);
	hf__room__list_sessions(hf_peers_call(center->rooms,
					      hf_peers_by_number(center->rooms, listing->room),
					      (uint32_t)center->config->query_ms),
				&request, on_sessions, listing);
}

static int find_room(struct listing *listing, const struct query_page *page,
		     struct problem *ret_problem)
{
	struct center *center = listing->ask.center;
	const struct hf_peer *room = listing->one_room ? hf_peers_by_id(center->rooms, listing->id)
						       : room_from(center, 0);
	uint32_t position[2];

	if (room == NULL && listing->one_room)
		return problem_set(ret_problem, 404, "NODE_UNKNOWN", "node", listing->id,
				   "there is no such room");
	listing->room = room != NULL ? room->instance.number : 0;
	if (page->cursor_len == sizeof(position)) {
		memcpy(position, page->cursor, sizeof(position));
		listing->after = position[1];
		if (!listing->one_room) {
			room = room_from(center, position[0]);
			listing->room = room != NULL ? room->instance.number : 0;
		}
		if (listing->room != position[0])
			listing->after = 0; /* that room is gone; on with the next */
	} else if (page->cursor_len != 0) {
		return problem_set(ret_problem, 400, "BAD_VALUE", "cursor", NULL,
				   "cursor must be the next_cursor of a page of this list");
	}
	return 0;
}

/* ---- the request ---- */

struct list_query {
	enum list_kind kind;
	bool one_room;
	char id[HF_USER_ID_MAX + 1];
	size_t id_len;
	struct query_page page;
};

static int parse(struct hf_bytes query, struct list_query *ret, struct problem *ret_problem)
{
	static const struct {
		const char *name;
		enum list_kind kind;
		size_t max;
	} ways[] = {
		{ "registration_id", OF_REGISTRATION, HF_REGISTRATION_MAX },
		{ "user_id", OF_USER, HF_USER_ID_MAX },
		{ "node", OF_ROOMS, HF_NODE_ID_MAX },
	};
	const char *given = NULL;
	bool by_room;

	ret->kind = OF_ROOMS;
	ret->id_len = 0;
	for (size_t i = 0; i < HF_ARRAY_LEN(ways); i++) {
		if (!query_has(query, ways[i].name))
			continue;
		if (given != NULL)
			return problem_set(ret_problem, 400, "CONFLICTING_FIELDS", ways[i].name,
					   NULL, "list connections by %s or by %s, not by both",
					   given, ways[i].name);
		given = ways[i].name;
		ret->kind = ways[i].kind;
		if (query_id(query, given, ways[i].max, ret->id, &ret->id_len, ret_problem) < 0)
			return -EINVAL;
	}
	by_room = ret->kind == OF_ROOMS;
	ret->one_room = by_room && given != NULL;
	return query_page(query, by_room ? ROOM_CURSOR : USER_CURSOR,
			  by_room ? 2 * sizeof(uint32_t) : HF_REGISTRATION_MAX, REQUEST_TARGETS_MAX,
			  &ret->page, ret_problem);
}

static void begin(struct listing *listing, const struct list_query *query)
{
	struct hf_bytes id = hf_bytes_of(listing->id, query->id_len);
	struct problem problem;

	switch (query->kind) {
	case OF_REGISTRATION:
		look_up(listing, &id, 1);
		break;
	case OF_USER:
		listing->next_len = query->page.cursor_len;
		memcpy(listing->next, query->page.cursor, listing->next_len);
		steer_read_users(listing->ask.center, listing->ask.app, &id, 1, on_user, listing);
		break;
	case OF_ROOMS:
		if (find_room(listing, &query->page, &problem) == 0) {
			next_page(listing);
			break;
		}
		ask_fail(&listing->ask, &problem);
		listing_free(listing);
		break;
	}
}

void api_list_connections(struct call *call)
{
	struct list_query query;
	struct listing *listing;
	struct problem problem;

	if (parse(hf_http_exchange_request(call->exchange)->query, &query, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	listing = ask_new(call, sizeof(*listing));
	if (listing == NULL)
		return;
	listing->kind = query.kind;
	listing->one_room = query.one_room;
	memcpy(listing->id, query.id, query.id_len);
	listing->limit = query.page.limit;
	listing->deadline_ms = hf_loop_now_ms(call->center->loop) + call->center->config->query_ms;
	listing->items = calloc(listing->limit, sizeof(listing->items[0]));
	if (listing->items == NULL)
		end_unavailable(listing, "OVERLOADED", "out of memory");
	else
		begin(listing, &query);
}
