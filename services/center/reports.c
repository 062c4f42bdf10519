/* services/center/reports.c - GET .../reports/registrations, .../reports/messages and
 * .../reports/labels. */
#include <stdio.h>
#include <stdlib.h>

#include "ask.h"
#include "hf_clock.h"
#include "message_state.h"
#include "query.h"

#define HOUR_MS    3600000ull
#define DAY_MS     (24 * HOUR_MS)
#define POINTS_MAX 100
#define DAYS_MAX   35
#define LABEL_MAX  50
#define IDS_MAX    100
#define IDS_TEXT   (2 * IDS_MAX * HF_ID_TEXT_SIZE)

/* ---- registrations ---- */

struct registration_report {
	struct ask ask; /* first */
	const char *unit;
	uint64_t start_ms, unit_ms;
	size_t count;
};

static void on_registration_report(const Hf__RegistrationReportReply *reply, void *ctx)
{
	struct registration_report *report = ctx;
	json_t *points;

	if (reply == NULL || reply->n_created != report->count ||
	    reply->n_last_seen != report->count) {
		ask_no_store(&report->ask);
		free(report);
		return;
	}
	points = json_array();
	for (size_t i = 0; i < report->count; i++) {
		char at[HF_CLOCK_TEXT_SIZE];

		hf_clock_format(report->start_ms + i * report->unit_ms, at);
		json_array_append_new(points, json_pack("{s:s, s:I, s:I}", "at", at, "created",
							(json_int_t)reply->created[i], "last_seen",
							(json_int_t)reply->last_seen[i]));
	}
	ask_answer(&report->ask, json_pack("{s:s, s:o}", "unit", report->unit, "points", points));
	free(report);
}

void api_report_registrations(struct call *call)
{
	static const char *const units[] = { "hour", "day", NULL };
	static const uint64_t unit_ms[] = { HOUR_MS, DAY_MS };
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	Hf__RegistrationReportRequest request = HF__REGISTRATION_REPORT_REQUEST__INIT;
	struct hf_peers *savers = call->center->savers;
	uint64_t count = 0, start_ms = 0;
	struct registration_report *report;
	struct problem problem;
	int unit = 1;

	if (query_choice(query, "unit", units, &unit, &problem) < 0 ||
	    query_uint(query, "count", 1, POINTS_MAX, &count, &problem) < 0 ||
	    query_time(query, "start", &start_ms, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	if (count == 0)
		count = unit == 0 ? 24 : 30;
	if (start_ms == 0) /* so that the last one is now's */
		start_ms = hf_loop_wall_ms(call->center->loop) - (count - 1) * unit_ms[unit];
	report = ask_new(call, sizeof(*report));
	if (report == NULL)
		return;
	report->unit = units[unit];
	report->unit_ms = unit_ms[unit];
	report->start_ms = start_ms - start_ms % unit_ms[unit];
	report->count = (size_t)count;
	request.app = call->app_id;
	request.start_ms = report->start_ms;
	request.unit_ms = report->unit_ms;
	request.count = (uint32_t)count;
	hf__saver__registration_report(
		hf_peers_call(savers, hf_peers_pick(savers, HF_BALANCE_LEAST_IN_FLIGHT),
			      (uint32_t)call->center->config->query_ms),
		&request, on_registration_report, report);
}

/* ---- messages ---- */

struct message_report {
	struct ask ask; /* first */
	unsigned open;
	size_t count;
	struct message_item {
		struct message_report *report;
		uint64_t id;
		json_t *state;
		const char *reason; /* why there is none; a literal */
	} items[];
};

static void end_message_report(struct message_report *report)
{
	json_t *states = json_array(), *errors = json_array();

	for (size_t i = 0; i < report->count; i++) {
		const struct message_item *item = &report->items[i];
		char id[HF_ID_TEXT_SIZE];

		hf_id_format(item->id, id);
		if (item->state != NULL)
			json_array_append_new(states, item->state);
		else
			json_array_append_new(errors, json_pack("{s:s, s:s}", "message_id", id,
								"reason", item->reason));
	}
	ask_answer(&report->ask, json_pack("{s:o, s:o}", "messages", states, "errors", errors));
	free(report);
}

static void on_message(json_t *state, const struct problem *problem, void *ctx)
{
	struct message_item *item = ctx;

	item->state = state;
	if (state == NULL)
		item->reason = problem->reason;
	if (--item->report->open == 0)
		end_message_report(item->report);
}

/* "0AKQ...,0AKR...": their number, or -EINVAL with the problem. */
static int parse_ids(struct hf_bytes query, uint64_t ret[IDS_MAX], struct problem *ret_problem)
{
	char text[IDS_TEXT + 1];
	size_t len, at = 0;
	int count = 0;

	if (query_id(query, "message_ids", IDS_TEXT, text, &len, ret_problem) < 0)
		return -EINVAL;
	if (len == 0)
		return problem_set(ret_problem, 400, "MISSING_FIELD", "message_ids", NULL,
				   "message_ids is required");
	for (; at < len; count++) {
		size_t id_len = strcspn(text + at, ",");

		if (count == IDS_MAX)
			return problem_set(ret_problem, 400, "TOO_MANY_TARGETS", "message_ids",
					   NULL, "message_ids may name %d messages at most",
					   IDS_MAX);
		if (hf_id_parse(text + at, id_len, &ret[count]) < 0 || text[len - 1] == ',')
			return problem_set(ret_problem, 400, "BAD_VALUE", "message_ids", NULL,
					   "message_ids must be message ids with commas between "
					   "them");
		at += id_len + 1;
	}
	return count;
}

void api_report_messages(struct call *call)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	struct message_report *report;
	struct problem problem;
	uint64_t ids[IDS_MAX];
	int count = parse_ids(query, ids, &problem);

	if (count < 0) {
		api_fail(call, &problem);
		return;
	}
	report = ask_new(call, sizeof(*report) + (size_t)count * sizeof(report->items[0]));
	if (report == NULL)
		return;
	report->count = (size_t)count;
	report->open = 1; /* held while the calls are made */
	for (size_t i = 0; i < report->count; i++) {
		struct message_item *item = &report->items[i];

		*item = (struct message_item){ report, ids[i], NULL, "OVERLOADED" };
		if (message_state_read(call->center, call->app_id, ids[i], on_message, item) == 0)
			report->open++;
	}
	if (--report->open == 0)
		end_message_report(report);
}

/* ---- labels ---- */

struct label_report {
	struct ask ask; /* first */
	char label[LABEL_MAX + 1];
};

static json_t *word_day(const Hf__LabelDay *day)
{
	char date[HF_CLOCK_TEXT_SIZE];

	hf_clock_format(day->day * DAY_MS, date);
	date[10] = '\0'; /* 2026-01-31 */
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "day", date, "messages",
			 (json_int_t)day->messages, "targets", (json_int_t)day->targets, "acked",
			 (json_int_t)day->acked, "expired", (json_int_t)day->expired, "dropped",
			 (json_int_t)day->dropped, "recalled", (json_int_t)day->recalled);
}

static void on_label_report(const Hf__LabelReportReply *reply, void *ctx)
{
	struct label_report *report = ctx;
	json_t *days, *label;

	if (reply == NULL) {
		ask_no_store(&report->ask);
		free(report);
		return;
	}
	days = json_array();
	for (size_t i = 0; i < reply->n_days; i++)
		json_array_append_new(days, word_day(reply->days[i]));
	label = report->label[0] != '\0' ? json_string(report->label) : json_null();
	ask_answer(&report->ask, json_pack("{s:o, s:o}", "label", label, "days", days));
	free(report);
}

static int parse_label_report(struct call *call, char label[LABEL_MAX + 1],
			      Hf__LabelReportRequest *ret, struct problem *ret_problem)
{
	struct hf_bytes query = hf_http_exchange_request(call->exchange)->query;
	uint64_t to_ms = hf_loop_wall_ms(call->center->loop), from_ms = 0;
	size_t label_len;

	if (query_id(query, "label", LABEL_MAX, label, &label_len, ret_problem) < 0 ||
	    query_time(query, "to", &to_ms, ret_problem) < 0 ||
	    query_time(query, "from", &from_ms, ret_problem) < 0)
		return -1;
	if (from_ms == 0)
		from_ms = to_ms > 6 * DAY_MS ? to_ms - 6 * DAY_MS : 0;
	if (from_ms / DAY_MS > to_ms / DAY_MS || to_ms / DAY_MS - from_ms / DAY_MS >= DAYS_MAX)
		return problem_set(ret_problem, 400, "BAD_VALUE", "from", NULL,
				   "from must not be after to, and %d days are shown at most",
				   DAYS_MAX);
	ret->app = call->app_id;
	ret->label = (ProtobufCBinaryData){ label_len, (uint8_t *)label };
	ret->first_day = (uint32_t)(from_ms / DAY_MS);
	ret->days = (uint32_t)(to_ms / DAY_MS - from_ms / DAY_MS + 1);
	return 0;
}

void api_report_labels(struct call *call)
{
	Hf__LabelReportRequest request = HF__LABEL_REPORT_REQUEST__INIT;
	struct hf_peers *savers = call->center->savers;
	char label[LABEL_MAX + 1] = "";
	struct label_report *report;
	struct problem problem;

	if (parse_label_report(call, label, &request, &problem) < 0) {
		api_fail(call, &problem);
		return;
	}
	report = ask_new(call, sizeof(*report));
	if (report == NULL)
		return;
	memcpy(report->label, label, sizeof(label));
	hf__saver__label_report(hf_peers_call(savers,
					      hf_peers_pick(savers, HF_BALANCE_LEAST_IN_FLIGHT),
					      (uint32_t)call->center->config->query_ms),
				&request, on_label_report, report);
}
