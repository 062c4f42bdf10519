/* sdk/c/selection.h - which server to try next.
 *
 * The candidates, in the order in which a round tries them: where the server itself sent us, the
 * server where our sessions still wait for us (only on demand), the server that worked last, those
 * a dispatcher named (at random, by weight), those of the config. A candidate that failed three
 * times in a row goes to the end for 6 to 30 minutes. */
#ifndef HOLDFAST_SELECTION_H
#define HOLDFAST_SELECTION_H

#include "hf_base.h"

#define SELECTION_FETCHED_MAX 16
#define SELECTION_FIXED_MAX   8
#define SELECTION_MOVED_MAX   8
#define SELECTION_MAX         (1 + SELECTION_FETCHED_MAX + SELECTION_FIXED_MAX + SELECTION_MOVED_MAX)
#define SELECTION_HOST_SIZE   254
#define SELECTION_TEXT_SIZE   (SELECTION_HOST_SIZE + 8) /* "[host]:65535" */

struct endpoint {
	char host[SELECTION_HOST_SIZE];
	uint16_t port;
	bool tls;
	uint32_t weight;
	uint32_t failures; /* in a row */
	uint64_t banned_until_ms;
};

struct selection {
	struct endpoint fetched[SELECTION_FETCHED_MAX], fixed[SELECTION_FIXED_MAX];
	struct endpoint moved[SELECTION_MOVED_MAX];
	size_t fetched_count, fixed_count, moved_count;
	char good[SELECTION_TEXT_SIZE]; /* what worked last; "" */
	struct endpoint home;           /* the same, wherever it was named */
	uint64_t fetched_wall_ms;       /* when the dispatcher said so; 0: never */
	struct endpoint *round[SELECTION_MAX];
	size_t round_count, round_next;
};

/* "host:port" or "[v6]:port". 0 or -EINVAL. */
HF_MUST_CHECK int endpoint_parse(struct hf_bytes text, bool tls, struct endpoint *ret);
void endpoint_format(const struct endpoint *endpoint, char ret[SELECTION_TEXT_SIZE]);

/* Reads a dispatcher's text, "ADDRESS:PORT TRANSPORT WEIGHT" a line, and takes what it names. Lines
 * with a transport that we don't know are skipped. `tls`: use it where the server speaks both.
 * Returns the number taken, or -EPROTO (the old ones stay). */
HF_MUST_CHECK int selection_take(struct selection *selection, struct hf_bytes text, bool tls,
				 uint64_t wall_ms);
/* Where the server sent us; forgotten after the next round. */
void selection_move(struct selection *selection, const struct hf_bytes *endpoints, size_t count,
		    bool tls);

/* `home`: begin with the server that worked last, whoever named it. */
void selection_begin_round(struct selection *selection, bool home, uint64_t now_ms);
/* NULL at the end of the round. */
struct endpoint *selection_next(struct selection *selection);
void selection_worked(struct selection *selection, struct endpoint *endpoint);
void selection_failed(struct endpoint *endpoint, uint64_t now_ms);

/* The cache file. A missing, old (7 days) or malformed one loads nothing. */
void selection_load(struct selection *selection, const char *path, bool tls, uint64_t wall_ms);
void selection_save(const struct selection *selection, const char *path);

#endif
