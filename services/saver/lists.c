/* ListRegistrations, ListTags and RegistrationReport: pages of what MySQL has. */
#define HF_LOG_MODULE "saver"
#include "lists.h"

#include <errno.h>
#include <stdlib.h>

#include "hf_log.h"
#include "saver.h"

#define WAITING_MAX    64u
#define REPORT_MAX     100u
#define LIST_BYTES_MAX (2u << 20) /* of records in one answer: half of what an RPC takes */
#define HOUR_MS        3600000ull

/* --- What they share --- */

bool saver_list_admit(struct saver *saver, void *call)
{
	if (saver->registry.lists_open < WAITING_MAX) {
		saver->registry.lists_open++;
		return true;
	}
	saver_fail(saver, call, SAVER_OVERLOADED);
	return false;
}

void saver_list_end(struct saver_list *list)
{
	list->saver->registry.lists_open--;
	list->release(list);
}

void saver_list_fail(struct saver_list *list, enum saver_error error)
{
	saver_fail(list->saver, list->call, error);
	saver_list_end(list);
}

static void on_outcome(const struct saver_outcome *outcome, void *ctx)
{
	static struct hf_log_throttle throttle;
	struct saver_list *list = ctx;

	if (outcome->error == 0 && outcome->result != NULL) {
		list->on_rows(list, outcome->result);
		return;
	}
	if (outcome->error == -EIO && hf_log_throttle_pass(&throttle, 10000))
		HF_WARN("list_refused", "code=%u error=%s", outcome->code,
			hf_log_quote(outcome->text, strlen(outcome->text)));
	saver_list_fail(list, SAVER_DATABASE_UNAVAILABLE);
}

void saver_list_run(struct saver_list *list, struct hf_buffer *sql, int err)
{
	if (err == 0)
		err = saver_database_run(list->saver->database, SAVER_LINK_LISTS, sql, on_outcome,
					 list);
	hf_buffer_deinit(sql);
	if (err == -ENOTCONN)
		saver_list_fail(list, SAVER_DATABASE_UNAVAILABLE);
	else if (err < 0)
		saver_list_fail(list, SAVER_INTERNAL);
}

int saver_sql_in(struct hf_buffer *sql, const char *column, const ProtobufCBinaryData *values,
		 size_t count)
{
	int err = hf_buffer_printf(sql, " AND %s IN (", column);

	for (size_t i = 0; err == 0 && i < count; i++) {
		if (i > 0)
			err = hf_buffer_append(sql, ",", 1);
		if (err == 0)
			err = saver_sql_hex(sql, values[i].data, values[i].len);
	}
	return err == 0 ? hf_buffer_append(sql, ")", 1) : err;
}

/* " AND <column><op>x'..'" */
static int add_test(struct hf_buffer *sql, const char *column, const char *op,
		    const ProtobufCBinaryData *value)
{
	int err = hf_buffer_printf(sql, " AND %s%s", column, op);

	return err == 0 ? saver_sql_hex(sql, value->data, value->len) : err;
}

static void release_plain(struct saver_list *list)
{
	free(list);
}

/* --- ListRegistrations --- */

struct registrations {
	struct saver_list list;
	Hf__ListRegistrationsReply_Closure closure;
	uint32_t limit;
};

static void on_registrations(struct saver_list *list, MYSQL_RES *rows)
{
	struct registrations *page = (struct registrations *)list;
	Hf__ListRegistrationsReply reply = HF__LIST_REGISTRATIONS_REPLY__INIT;
	Hf__ListedRegistration listed[SAVER_LIST_MAX], *pointers[SAVER_LIST_MAX];
	size_t count = 0, bytes = 0;
	MYSQL_ROW row;

	while ((row = mysql_fetch_row(rows)) != NULL) {
		const unsigned long *lengths = mysql_fetch_lengths(rows);
		Hf__RegistrationRecord *record;

		bytes += lengths[0] + lengths[1];
		if (count == page->limit || (count > 0 && bytes > LIST_BYTES_MAX)) {
			reply.more = true;
			break;
		}
		record = saver_record_decode(saver_row_bytes(row[1], lengths[1]));
		if (record == NULL) {
			++*list->saver->metrics.unreadable;
			continue;
		}
		hf__listed_registration__init(&listed[count]);
		listed[count].registration = (ProtobufCBinaryData){ lengths[0], (uint8_t *)row[0] };
		listed[count].record = record;
		pointers[count] = &listed[count];
		count++;
	}
	reply.n_registrations = count;
	reply.registrations = pointers;
	page->closure(&reply, list->call);
	for (size_t i = 0; i < count; i++)
		hf__registration_record__free_unpacked(listed[i].record, NULL);
	saver_list_end(list);
}

static int registrations_statement(const Hf__ListRegistrationsRequest *request,
				   struct hf_buffer *sql)
{
	bool by_tag = request->tag.len > 0;
	int err = hf_buffer_printf(sql,
				   by_tag ? "SELECT r.registration, r.record"
					    " FROM registration_tags t JOIN registrations r"
					    " ON r.app=t.app AND r.registration=t.registration"
					    " WHERE t.app=%u"
					  : "SELECT r.registration, r.record FROM registrations r"
					    " WHERE r.app=%u",
				   request->app);

	if (err == 0 && by_tag)
		err = add_test(sql, "t.tag", "=", &request->tag);
	if (err == 0 && request->after.len > 0)
		err = add_test(sql, by_tag ? "t.registration" : "r.registration", ">",
			       &request->after);
	if (err == 0 && request->user_id.len > 0)
		err = add_test(sql, "r.user_id", "=", &request->user_id);
	if (err == 0 && request->platform.len > 0)
		err = add_test(sql, "r.platform", "=", &request->platform);
	return err == 0 ? hf_buffer_printf(sql, " ORDER BY %s.registration LIMIT %u",
					   by_tag ? "t" : "r", request->limit + 1)
			: err;
}

void saver_on_list_registrations(Hf__Saver_Service *rpc,
				 const Hf__ListRegistrationsRequest *request,
				 Hf__ListRegistrationsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct registrations *page;
	struct hf_buffer sql = { 0 };

	if (request->limit < 1 || request->limit > SAVER_LIST_MAX) {
		saver_fail_invalid(saver, call, "BAD_LIMIT");
		return;
	}
	if (request->after.len > HF_REGISTRATION_MAX || request->tag.len > HF_TAG_MAX ||
	    request->user_id.len > HF_USER_ID_MAX || request->platform.len > HF_PLATFORM_MAX) {
		saver_fail_invalid(saver, call, "BAD_FILTER");
		return;
	}
	page = malloc(sizeof(*page));
	if (page == NULL || !saver_list_admit(saver, call)) {
		if (page == NULL)
			saver_fail(saver, call, SAVER_INTERNAL);
		free(page);
		return;
	}
	*page = (struct registrations){ { saver, call, on_registrations, release_plain },
					closure,
					request->limit };
	saver_list_run(&page->list, &sql, registrations_statement(request, &sql));
}

/* --- ListTags --- */

struct tags {
	struct saver_list list;
	Hf__ListTagsReply_Closure closure;
	uint32_t limit;
};

static void on_tags(struct saver_list *list, MYSQL_RES *rows)
{
	struct tags *page = (struct tags *)list;
	Hf__ListTagsReply reply = HF__LIST_TAGS_REPLY__INIT;
	Hf__ListedTag listed[SAVER_LIST_MAX], *pointers[SAVER_LIST_MAX];
	MYSQL_ROW row;

	while ((row = mysql_fetch_row(rows)) != NULL) {
		Hf__ListedTag *tag = &listed[reply.n_tags];

		if (reply.n_tags == page->limit) {
			reply.more = true;
			break;
		}
		hf__listed_tag__init(tag);
		tag->tag = (ProtobufCBinaryData){ mysql_fetch_lengths(rows)[0], (uint8_t *)row[0] };
		tag->registrations = strtoull(row[1], NULL, 10);
		pointers[reply.n_tags++] = tag;
	}
	reply.tags = pointers;
	page->closure(&reply, list->call);
	saver_list_end(list);
}

/* What begins with the prefix lies between it and the next text of its length. */
static int add_prefix(struct hf_buffer *sql, const ProtobufCBinaryData *prefix)
{
	uint8_t next[HF_TAG_MAX];
	size_t len = prefix->len;
	int err = 0;

	if (len == 0)
		return 0;
	err = add_test(sql, "tag", ">=", prefix);
	memcpy(next, prefix->data, len);
	while (len > 0 && next[len - 1] == 0xff)
		len--;
	if (err < 0 || len == 0)
		return err;
	next[len - 1]++;
	return add_test(sql, "tag", "<", &(ProtobufCBinaryData){ len, next });
}

static int tags_statement(const Hf__ListTagsRequest *request, struct hf_buffer *sql)
{
	int err = hf_buffer_printf(sql,
				   "SELECT tag, COUNT(*) FROM registration_tags"
				   " WHERE app=%u",
				   request->app);

	if (err == 0)
		err = add_prefix(sql, &request->prefix);
	if (err == 0 && request->after.len > 0)
		err = add_test(sql, "tag", ">", &request->after);
	return err == 0 ? hf_buffer_printf(sql, " GROUP BY tag ORDER BY tag LIMIT %u",
					   request->limit + 1)
			: err;
}

void saver_on_list_tags(Hf__Saver_Service *rpc, const Hf__ListTagsRequest *request,
			Hf__ListTagsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct hf_buffer sql = { 0 };
	struct tags *page;

	if (request->limit < 1 || request->limit > SAVER_LIST_MAX) {
		saver_fail_invalid(saver, call, "BAD_LIMIT");
		return;
	}
	if (request->prefix.len > HF_TAG_MAX || request->after.len > HF_TAG_MAX) {
		saver_fail_invalid(saver, call, "BAD_FILTER");
		return;
	}
	page = malloc(sizeof(*page));
	if (page == NULL || !saver_list_admit(saver, call)) {
		if (page == NULL)
			saver_fail(saver, call, SAVER_INTERNAL);
		free(page);
		return;
	}
	*page = (struct tags){ { saver, call, on_tags, release_plain }, closure, request->limit };
	saver_list_run(&page->list, &sql, tags_statement(request, &sql));
}

/* --- RegistrationReport --- */

struct report {
	struct saver_list list;
	Hf__RegistrationReportReply_Closure closure;
	uint32_t count;
	uint64_t counts[2][REPORT_MAX]; /* created, last seen */
};

static void on_report(struct saver_list *list, MYSQL_RES *rows)
{
	struct report *report = (struct report *)list;
	Hf__RegistrationReportReply reply = HF__REGISTRATION_REPORT_REPLY__INIT;
	MYSQL_ROW row;

	while ((row = mysql_fetch_row(rows)) != NULL) {
		unsigned long which = strtoul(row[0], NULL, 10), at = strtoul(row[1], NULL, 10);

		if (which < 2 && at < report->count)
			report->counts[which][at] = strtoull(row[2], NULL, 10);
	}
	reply.n_created = reply.n_last_seen = report->count;
	reply.created = report->counts[0];
	reply.last_seen = report->counts[1];
	report->closure(&reply, list->call);
	saver_list_end(list);
}

static int add_report(struct hf_buffer *sql, unsigned which, const char *column,
		      const Hf__RegistrationReportRequest *request)
{
	return hf_buffer_printf(sql,
				"SELECT %u, (%s-%llu) DIV %llu AS n, COUNT(*) FROM registrations"
				" WHERE app=%u AND %s>=%llu AND %s<%llu GROUP BY n",
				which, column, (unsigned long long)request->start_ms,
				(unsigned long long)request->unit_ms, request->app, column,
				(unsigned long long)request->start_ms, column,
				(unsigned long long)(request->start_ms +
						     request->count * request->unit_ms));
}

void saver_on_registration_report(Hf__Saver_Service *rpc,
				  const Hf__RegistrationReportRequest *request,
				  Hf__RegistrationReportReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct hf_buffer sql = { 0 };
	struct report *report;
	int err;

	if (request->count < 1 || request->count > REPORT_MAX ||
	    (request->unit_ms != HOUR_MS && request->unit_ms != 24 * HOUR_MS) ||
	    request->start_ms > UINT64_MAX / 4) {
		saver_fail_invalid(saver, call, "BAD_RANGE");
		return;
	}
	report = calloc(1, sizeof(*report));
	if (report == NULL || !saver_list_admit(saver, call)) {
		if (report == NULL)
			saver_fail(saver, call, SAVER_INTERNAL);
		free(report);
		return;
	}
	report->list = (struct saver_list){ saver, call, on_report, release_plain };
	report->closure = closure;
	report->count = request->count;
	err = add_report(&sql, 0, "first_seen", request);
	if (err == 0)
		err = hf_buffer_printf(&sql, " UNION ALL ");
	if (err == 0)
		err = add_report(&sql, 1, "last_seen", request);
	saver_list_run(&report->list, &sql, err);
}
