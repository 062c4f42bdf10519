#include "labels.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "delivery.h"
#include "hf_hash.h"
#include "saver.h"
#include "script.h"

#define FLUSH_MS    1000
#define DAY_MS      86400000u
#define KEPT_MS     (36ull * DAY_MS)
#define DAYS_MAX    35u    /* of one report */
#define LABELS_MAX  1000   /* of one app and day, in Redis */
#define ENTRIES_MAX 10000u /* waiting for the next flush */
#define SLICE       1000u  /* sent in one turn */
#define OTHER       "~other"

enum {
	COUNT_MESSAGES,
	COUNT_TARGETS,
	COUNT_ACKED,
	COUNT_EXPIRED,
	COUNT_DROPPED,
	COUNT_RECALLED,
	COUNTS
};

struct entry {
	struct hf_table_node node;
	TAILQ_ENTRY(entry) link;
	hf_handle handle;
	uint32_t app, day;
	uint8_t label_len;
	uint8_t label[SAVER_LABEL_MAX];
	uint64_t counts[COUNTS];
};

struct saver_labels {
	struct saver *saver;
	struct hf_slab slab;
	struct hf_table table;
	TAILQ_HEAD(, entry) entries;
	struct hf_timer timer;
	uint64_t *lost;
};

/* KEYS: the hash. ARGV: label, most labels, name of the rest, life in ms, the six numbers. */
static const char script[] =
	"local l = ARGV[1]\n"
	"local v = redis.call('HGET', KEYS[1], l)\n"
	"if not v and l ~= '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then\n"
	"  l = ARGV[3]\n"
	"  v = redis.call('HGET', KEYS[1], l)\n"
	"end\n"
	"local n = {}\n"
	"for x in (v or ''):gmatch('%d+') do n[#n + 1] = tonumber(x) end\n"
	"for i = 1, 6 do n[i] = string.format('%.0f', (n[i] or 0) + tonumber(ARGV[4 + i])) end\n"
	"redis.call('HSET', KEYS[1], l, table.concat(n, ' '))\n"
	"return redis.call('PEXPIRE', KEYS[1], ARGV[4])";

static uint32_t today(const struct saver_labels *labels)
{
	return (uint32_t)(hf_loop_wall_ms(labels->saver->service->loop) / DAY_MS);
}

static struct entry *find(struct saver_labels *labels, uint32_t app, uint32_t day,
			  struct hf_bytes label, uint64_t hash)
{
	struct hf_table_node *node = hf_table_find(&labels->table, hash);

	for (; node != NULL; node = hf_table_find_next(node)) {
		struct entry *entry = HF_CONTAINER_OF(node, struct entry, node);

		if (entry->app == app && entry->day == day && entry->label_len == label.len &&
		    (label.len == 0 || memcmp(entry->label, label.data, label.len) == 0))
			return entry;
	}
	return NULL;
}

static void add(struct saver_labels *labels, uint32_t app, struct hf_bytes label, unsigned count,
		uint64_t n)
{
	struct entry *entry;
	hf_handle handle;
	uint64_t hash;
	uint32_t day;

	if (label.len > SAVER_LABEL_MAX)
		return;
	day = today(labels);
	hash = hf_hash_u64((uint64_t)day << 32 | app) ^
	       (label.len > 0 ? hf_hash(label.data, label.len) : 0);
	entry = find(labels, app, day, label, hash);
	if (entry == NULL) {
		entry = hf_slab_alloc(&labels->slab, &handle);
		if (entry == NULL) {
			++*labels->lost;
			return;
		}
		entry->handle = handle;
		entry->app = app;
		entry->day = day;
		entry->label_len = (uint8_t)label.len;
		if (label.len > 0)
			memcpy(entry->label, label.data, label.len);
		hf_table_insert(&labels->table, &entry->node, hash);
		TAILQ_INSERT_TAIL(&labels->entries, entry, link);
	}
	entry->counts[count] += n;
}

void saver_labels_count(struct saver_labels *labels, uint32_t app, struct hf_bytes label,
			enum saver_fate fate)
{
	static const unsigned count_of[SAVER_FATES] = {
		[SAVER_STORED] = COUNT_TARGETS,    [SAVER_ACKED] = COUNT_ACKED,
		[SAVER_EXPIRED] = COUNT_EXPIRED,   [SAVER_DROPPED] = COUNT_DROPPED,
		[SAVER_RECALLED] = COUNT_RECALLED, [SAVER_PURGED] = COUNT_DROPPED,
		[SAVER_COLLAPSED] = COUNT_DROPPED,
	};

	add(labels, app, label, count_of[fate], 1);
}

/* Under the label, and in the sum of all. */
static void add_both(struct saver_labels *labels, uint32_t app, struct hf_bytes label,
		     unsigned count, uint64_t n)
{
	add(labels, app, (struct hf_bytes){ 0 }, count, n);
	if (label.len > 0)
		add(labels, app, label, count, n);
}

void saver_labels_message(struct saver_labels *labels, uint32_t app, struct hf_bytes label)
{
	add_both(labels, app, label, COUNT_MESSAGES, 1);
}

void saver_labels_broadcast(struct saver_labels *labels, uint32_t app, struct hf_bytes label,
			    uint64_t targets, uint64_t dropped)
{
	add_both(labels, app, label, COUNT_MESSAGES, 1);
	add_both(labels, app, label, COUNT_TARGETS, targets);
	add_both(labels, app, label, COUNT_DROPPED, dropped);
}

static void script_key(struct saver_script *words, uint32_t app, uint32_t day)
{
	saver_script_text(words, "hf:l:%u:%u", app, day);
}

/* Sent, it is no longer ours: if the connection breaks now nobody knows whether it was added. */
static bool send_entry(struct saver_labels *labels, struct entry *entry)
{
	struct saver *saver = labels->saver;
	unsigned node = saver_app_node(saver, entry->app);
	struct saver_script words;

	if (saver_redis_state(saver->redis, node) != SAVER_NODE_SERVING)
		return false;
	saver_script_init(&words, script, 1);
	script_key(&words, entry->app, entry->day);
	saver_script_bytes(&words, hf_bytes_of(entry->label, entry->label_len));
	saver_script_number(&words, LABELS_MAX + 1); /* and the sum */
	saver_script_bytes(&words, HF_BYTES_LITERAL(OTHER));
	saver_script_number(&words, KEPT_MS);
	for (unsigned i = 0; i < COUNTS; i++)
		saver_script_number(&words, entry->counts[i]);
	return saver_script_send(saver->redis, node, SAVER_OP_REPORT, &words, saver_redis_ignore,
				 NULL) == SAVER_OK;
}

static void entry_free(struct saver_labels *labels, struct entry *entry)
{
	TAILQ_REMOVE(&labels->entries, entry, link);
	hf_table_remove(&labels->table, &entry->node);
	hf_slab_free(&labels->slab, entry->handle);
}

bool saver_labels_flush(struct saver_labels *labels)
{
	struct entry *entry = TAILQ_FIRST(&labels->entries);

	for (unsigned n = 0; entry != NULL && n < SLICE; n++) {
		struct entry *next = TAILQ_NEXT(entry, link);

		if (send_entry(labels, entry))
			entry_free(labels, entry);
		entry = next;
	}
	return TAILQ_EMPTY(&labels->entries);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct saver_labels *labels = ctx;

	(void)saver_labels_flush(labels);
	hf_loop_arm(labels->saver->service->loop, timer, FLUSH_MS);
}

int saver_labels_new(struct saver *saver, struct saver_labels **ret_labels)
{
	struct saver_labels *labels = calloc(1, sizeof(*labels));
	int err;

	if (labels == NULL)
		return -ENOMEM;
	labels->saver = saver;
	hf_slab_init(&labels->slab, sizeof(struct entry), ENTRIES_MAX);
	TAILQ_INIT(&labels->entries);
	err = hf_table_init(&labels->table);
	if (err < 0) {
		free(labels);
		return err;
	}
	labels->lost = hf_metrics_counter(saver->service->metrics,
					  "holdfast_saver_label_counts_lost_total", NULL,
					  "Counts for reports that there was no room for.");
	hf_timer_init(&labels->timer, on_timer, labels);
	hf_loop_arm(saver->service->loop, &labels->timer, FLUSH_MS);
	*ret_labels = labels;
	return 0;
}

void saver_labels_free(struct saver_labels *labels)
{
	if (labels == NULL)
		return;
	hf_wheel_disarm(&labels->timer);
	hf_table_deinit(&labels->table);
	hf_slab_deinit(&labels->slab);
	free(labels);
}

/* LabelReport: one HGET a day. */
struct report {
	struct saver *saver;
	Hf__LabelReportReply_Closure closure;
	void *call;
	enum saver_error error;
	uint32_t count, next, pending; /* replies come in the order of the days */
	Hf__LabelDay days[DAYS_MAX];
};

static void report_release(struct report *report)
{
	Hf__LabelReportReply reply = HF__LABEL_REPORT_REPLY__INIT;
	Hf__LabelDay *pointers[DAYS_MAX];

	if (--report->pending > 0)
		return;
	for (uint32_t i = 0; i < report->count; i++)
		pointers[i] = &report->days[i];
	reply.n_days = report->count;
	reply.days = pointers;
	if (report->error == SAVER_OK)
		report->closure(&reply, report->call);
	else
		saver_fail(report->saver, report->call, report->error);
	free(report);
}

static void read_day(Hf__LabelDay *day, const char *text)
{
	uint64_t *const counts[COUNTS] = { &day->messages, &day->targets, &day->acked,
					   &day->expired,  &day->dropped, &day->recalled };
	char *end = (char *)(uintptr_t)text;

	for (unsigned i = 0; i < COUNTS; i++)
		*counts[i] = strtoull(end, &end, 10);
}

static void on_day(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct report *report = ctx;
	Hf__LabelDay *day = &report->days[report->next++];

	if (error == SAVER_OK && reply->type == REDIS_REPLY_STRING)
		read_day(day, reply->str);
	else if (report->error == SAVER_OK)
		report->error = error;
	report_release(report);
}

void saver_on_label_report(Hf__Saver_Service *rpc, const Hf__LabelReportRequest *request,
			   Hf__LabelReportReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	unsigned node = saver_app_node(saver, request->app);
	struct report *report;
	enum saver_error error;

	if (request->days == 0 || request->days > DAYS_MAX ||
	    request->label.len > SAVER_LABEL_MAX) {
		saver_fail_invalid(saver, call, "BAD_REPORT");
		return;
	}
	error = saver_redis_admit(saver->redis, node);
	report = error == SAVER_OK ? malloc(sizeof(*report)) : NULL;
	if (report == NULL) {
		saver_fail(saver, call, error == SAVER_OK ? SAVER_INTERNAL : error);
		return;
	}
	*report = (struct report){ .saver = saver, .closure = closure, .call = call, .pending = 1 };
	for (uint32_t i = 0; i < request->days && report->error == SAVER_OK; i++) {
		struct saver_script words;

		hf__label_day__init(&report->days[i]);
		report->days[i].day = request->first_day + i;
		saver_script_init_command(&words, "HGET");
		script_key(&words, request->app, request->first_day + i);
		saver_script_bytes(&words, hf_bytes_of(request->label.data, request->label.len));
		report->error = saver_script_send(saver->redis, node, SAVER_OP_REPORT, &words,
						  on_day, report);
		report->pending += report->error == SAVER_OK;
		report->count++;
	}
	report_release(report);
}
