/* services/saver/refill_internal.h - what refill.c (looking, putting back, serving) and
 * refill_copy.c (filling an empty node from the database) share. Not for anybody else. */
#ifndef SAVER_REFILL_INTERNAL_H
#define SAVER_REFILL_INTERNAL_H

#include "kept.h"
#include "marker.h"
#include "refill.h"
#include "saver.h"

#define REFILL_RETRY_MS 1000

enum refill_phase {
	PHASE_DOWN,
	PHASE_LOOK,    /* what does hf:store say? */
	PHASE_EMPTY,   /* no hf:store: waiting for what a refill needs */
	PHASE_LEASE,   /* trying to become the one who refills */
	PHASE_WAIT,    /* another saver refills */
	PHASE_COPY,    /* copying rows of the database */
	PHASE_MARK,    /* writing hf:store */
	PHASE_RESTORE, /* putting back the rows that only we have */
	PHASE_SERVE,
	PHASE_REFUSED, /* this Redis is not ours */
};

struct refill_node {
	struct saver_refill *refill;
	unsigned number;
	enum refill_phase phase;
	struct hf_timer timer;
	struct saver_marker marker; /* as found or as written */
	uint64_t known_token;       /* of the content that held our rows when it was served last */
	bool querying;              /* a statement is under way, perhaps of an earlier try */
	uint32_t tries;             /* counts looks: a statement of an older one is ignored */
	uint32_t query_try;
	uint64_t deletes_before; /* asked for when the connection came: these go first */
	/* While copying or restoring: messages first, then registrations; copying also what kept.h
	 * has, last. */
	bool registrations, kept;
	uint32_t pending;
	bool failed, last_page;
	uint64_t copied;
	uint32_t pos;
	bool has_last;
	uint64_t last_id;
	struct saver_name last;
	struct saver_kept_row last_kept;
};

struct saver_refill {
	struct saver *saver;
	uint64_t store_id; /* 0: not known yet */
	bool asking;
	char lease[17];
	uint64_t *refilled, *restored;
	uint64_t *refilled_registrations, *restored_registrations;
	struct refill_node nodes[SAVER_REDIS_NODES_MAX];
};

static const struct hf_bytes store_key = { (const uint8_t *)"hf:store", 8 };

/* refill.c */
void saver_refill_set_phase(struct refill_node *node, enum refill_phase phase, uint64_t timer_ms);
void saver_refill_retry(struct refill_node *node); /* begin anew with a look */
/* A command to the node; false, and a retry is due, when it could not be sent. */
bool saver_refill_ask(struct refill_node *node, const struct hf_bytes *words, size_t count,
		      saver_redis_cb cb);
void saver_refill_ask_store_id(struct saver_refill *refill);
/* Counts in node->pending; `cb` gets the node. false: it could not be sent. */
bool saver_refill_put_message(struct refill_node *node, const struct saver_name *name, uint64_t id,
			      const struct saver_value *value, saver_redis_cb cb);
bool saver_refill_was_put(const redisReply *reply); /* it was not there before */
/* The node holds what the database has: the rows that only we hold go back, then it serves. */
void saver_refill_restore(struct refill_node *node);

/* refill_registry.c: false: something could not be sent. All count in node->pending. */
HF_MUST_CHECK int saver_refill_registrations_statement(const struct refill_node *node,
						       unsigned limit, struct hf_buffer *sql);
bool saver_refill_copy_registration(struct refill_node *node, MYSQL_ROW row,
				    const unsigned long *lengths, saver_redis_cb on_record,
				    saver_redis_cb on_index);
/* One slice of the records that only we hold. */
bool saver_refill_put_registrations(struct refill_node *node, unsigned slice, saver_redis_cb cb);

/* refill_copy.c */
void saver_refill_begin_copy(struct refill_node *node); /* the node is empty */

#endif
