/* sdk/c/selection.c */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_hash.h"
#include "hf_text.h"
#include "selection.h"

#define BAN_AFTER     3
#define BAN_MS        (6 * 60 * 1000u)
#define BAN_MAX_MS    (30 * 60 * 1000u)
#define CACHE_AGE_MS  (7ull * 24 * 3600 * 1000)
#define CACHE_MAX     16384
#define CACHE_HEADER  "holdfast-endpoints 1"
#define WEIGHT_MAX    1000000
#define LINE_MAX_SIZE 512

int endpoint_parse(struct hf_bytes text, bool tls, struct endpoint *ret)
{
	const char *host = (const char *)text.data;
	const char *colon = text.len > 0 ? memrchr(text.data, ':', text.len) : NULL;
	size_t host_len;
	uint64_t port;

	if (colon == NULL)
		return -EINVAL;
	host_len = (size_t)(colon - host);
	if (hf_text_parse_uint(colon + 1, text.len - host_len - 1, &port) < 0 || port == 0 ||
	    port > UINT16_MAX)
		return -EINVAL;
	if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
		host++;
		host_len -= 2;
	} else if (memchr(host, ':', host_len) != NULL) {
		return -EINVAL; /* v6 without brackets: where does the port begin? */
	}
	if (!hf_text_is_id(host, host_len, sizeof(ret->host) - 1) ||
	    memchr(host, ' ', host_len) != NULL)
		return -EINVAL;
	*ret = (struct endpoint){ .port = (uint16_t)port, .tls = tls, .weight = 1 };
	memcpy(ret->host, host, host_len);
	return 0;
}

void endpoint_format(const struct endpoint *endpoint, char ret[SELECTION_TEXT_SIZE])
{
	bool v6 = strchr(endpoint->host, ':') != NULL;

	snprintf(ret, SELECTION_TEXT_SIZE, "%s%s%s:%u", v6 ? "[" : "", endpoint->host,
		 v6 ? "]" : "", endpoint->port);
}

static bool same(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && a->tls == b->tls && strcmp(a->host, b->host) == 0;
}

/* One line without its end. 1: taken; 0: a transport that we don't speak; or -EPROTO. */
static int parse_line(const char *line, size_t len, bool tls, struct endpoint *ret)
{
	char text[LINE_MAX_SIZE], address[SELECTION_TEXT_SIZE], transport[16];
	unsigned weight;
	int end = 0;

	if (len >= sizeof(text))
		return -EPROTO;
	memcpy(text, line, len);
	text[len] = '\0';
	if (sscanf(text, "%261s %15s %9u %n", address, transport, &weight, &end) != 3 ||
	    (size_t)end != len)
		return -EPROTO;
	if (strcmp(transport, "tls") == 0)
		tls = true;
	else if (strcmp(transport, "tcp") != 0)
		return 0;
	if (endpoint_parse(hf_bytes_of_string(address), tls, ret) < 0)
		return -EPROTO;
	ret->weight = HF_MIN(weight, (unsigned)WEIGHT_MAX);
	return 1;
}

/* Dispatcher lines into `ret`; those beyond `max` are ignored. Returns their number or -EPROTO. */
static int parse_lines(struct hf_bytes text, bool tls, struct endpoint *ret, size_t max)
{
	const char *pos = (const char *)text.data, *end = pos + text.len;
	size_t count = 0;

	while (pos < end) {
		const char *newline = memchr(pos, '\n', (size_t)(end - pos));
		size_t len = (size_t)((newline != NULL ? newline : end) - pos);
		struct endpoint endpoint;
		int taken = 0;

		if (len > 0 && pos[len - 1] == '\r')
			len--;
		if (len > 0)
			taken = parse_line(pos, len, tls, &endpoint);
		if (taken < 0)
			return taken;
		if (taken > 0 && count < max)
			ret[count++] = endpoint;
		pos = newline != NULL ? newline + 1 : end;
	}
	return (int)count;
}

int selection_take(struct selection *selection, struct hf_bytes text, bool tls, uint64_t wall_ms)
{
	struct endpoint list[SELECTION_FETCHED_MAX];
	int count = text.len > 0 ? parse_lines(text, tls, list, HF_ARRAY_LEN(list)) : -EPROTO;

	if (count <= 0)
		return -EPROTO;
	for (int i = 0; i < count; i++) {
		for (size_t j = 0; j < selection->fetched_count; j++) {
			if (same(&list[i], &selection->fetched[j])) {
				list[i].failures = selection->fetched[j].failures;
				list[i].banned_until_ms = selection->fetched[j].banned_until_ms;
			}
		}
	}
	memcpy(selection->fetched, list, (size_t)count * sizeof(list[0]));
	selection->fetched_count = (size_t)count;
	selection->fetched_wall_ms = wall_ms;
	selection->round_count = 0; /* it pointed at the old ones */
	return count;
}

void selection_move(struct selection *selection, const struct hf_bytes *endpoints, size_t count,
		    bool tls)
{
	selection->moved_count = 0;
	for (size_t i = 0; i < count && i < SELECTION_MOVED_MAX; i++) {
		if (endpoint_parse(endpoints[i], tls, &selection->moved[selection->moved_count]) ==
		    0)
			selection->moved_count++;
	}
}

static void add(struct selection *selection, struct endpoint *endpoint)
{
	for (size_t i = 0; i < selection->round_count; i++) {
		if (same(selection->round[i], endpoint))
			return;
	}
	selection->round[selection->round_count++] = endpoint;
}

static void add_good(struct selection *selection)
{
	char text[SELECTION_TEXT_SIZE];

	for (size_t i = 0; i < selection->fetched_count; i++) {
		endpoint_format(&selection->fetched[i], text);
		if (strcmp(text, selection->good) == 0)
			add(selection, &selection->fetched[i]);
	}
}

/* All of `list`, drawn one after another with their weights as chances. */
static void add_by_weight(struct selection *selection, struct endpoint *list, size_t count)
{
	bool drawn[SELECTION_FETCHED_MAX] = { false };

	for (size_t left = count; left > 0; left--) {
		uint64_t total = 0, point;

		for (size_t i = 0; i < count; i++)
			total += drawn[i] ? 0 : (uint64_t)list[i].weight + 1;
		point = hf_random_below(total);
		for (size_t i = 0; i < count; i++) {
			uint64_t share = drawn[i] ? 0 : (uint64_t)list[i].weight + 1;

			if (point < share) {
				drawn[i] = true;
				add(selection, &list[i]);
				break;
			}
			point -= share;
		}
	}
}

/* Banned ones go to the end and keep their order, so that they are tried when nothing else is left.
 */
static void put_banned_last(struct selection *selection, uint64_t now_ms)
{
	struct endpoint *sorted[SELECTION_MAX];
	size_t count = 0;

	for (unsigned banned = 0; banned < 2; banned++) {
		for (size_t i = 0; i < selection->round_count; i++) {
			if ((selection->round[i]->banned_until_ms > now_ms) == banned)
				sorted[count++] = selection->round[i];
		}
	}
	memcpy(selection->round, sorted, count * sizeof(sorted[0]));
}

void selection_begin_round(struct selection *selection, bool home, uint64_t now_ms)
{
	selection->round_count = selection->round_next = 0;
	if (home && selection->home.port != 0)
		add(selection, &selection->home);
	for (size_t i = 0; i < selection->moved_count; i++)
		add(selection, &selection->moved[i]);
	if (selection->moved_count == 0)
		add_good(selection);
	add_by_weight(selection, selection->fetched, selection->fetched_count);
	add_by_weight(selection, selection->fixed, selection->fixed_count);
	put_banned_last(selection, now_ms);
	selection->moved_count = 0; /* the entries stay until the next move, for this round */
}

struct endpoint *selection_next(struct selection *selection)
{
	if (selection->round_next >= selection->round_count)
		return NULL;
	return selection->round[selection->round_next++];
}

void selection_worked(struct selection *selection, struct endpoint *endpoint)
{
	endpoint->failures = 0;
	endpoint->banned_until_ms = 0;
	endpoint_format(endpoint, selection->good);
	if (endpoint != &selection->home)
		selection->home = *endpoint;
}

void selection_failed(struct endpoint *endpoint, uint64_t now_ms)
{
	uint32_t times;

	if (++endpoint->failures < BAN_AFTER)
		return;
	times = endpoint->failures - BAN_AFTER + 1;
	endpoint->banned_until_ms = now_ms + HF_MIN((uint64_t)BAN_MS * times, (uint64_t)BAN_MAX_MS);
}

/* The file: a header with the time, the server that worked last or "-", then lines as a dispatcher
 * writes them. */
void selection_load(struct selection *selection, const char *path, bool tls, uint64_t wall_ms)
{
	char bytes[CACHE_MAX], good[SELECTION_TEXT_SIZE];
	unsigned long long written_ms;
	FILE *file = fopen(path, "re");
	size_t len;
	int start = 0;

	if (file == NULL)
		return;
	len = fread(bytes, 1, sizeof(bytes) - 1, file);
	fclose(file);
	bytes[len] = '\0';
	if (sscanf(bytes, CACHE_HEADER " %llu %261s%n", &written_ms, good, &start) != 2 ||
	    bytes[start] != '\n' || written_ms > wall_ms || wall_ms - written_ms > CACHE_AGE_MS)
		return;
	if (selection_take(selection, hf_bytes_of(bytes + start, len - (size_t)start), tls,
			   written_ms) > 0)
		snprintf(selection->good, sizeof(selection->good), "%s", good);
}

void selection_save(const struct selection *selection, const char *path)
{
	char temporary[4096], text[SELECTION_TEXT_SIZE];
	FILE *file;
	bool ok;

	if (selection->fetched_count == 0 ||
	    (size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return;
	file = fopen(temporary, "we");
	if (file == NULL)
		return;
	fprintf(file, CACHE_HEADER " %llu %s\n", (unsigned long long)selection->fetched_wall_ms,
		selection->good[0] != '\0' ? selection->good : "-");
	for (size_t i = 0; i < selection->fetched_count; i++) {
		const struct endpoint *endpoint = &selection->fetched[i];

		endpoint_format(endpoint, text);
		fprintf(file, "%s %s %u\n", text, endpoint->tls ? "tls" : "tcp", endpoint->weight);
	}
	ok = ferror(file) == 0;
	ok &= fclose(file) == 0;
	if (!ok || rename(temporary, path) < 0)
		unlink(temporary);
}
