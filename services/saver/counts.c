/* CountRegistrations: by SQL what SQL can say; versions and percentages are looked at here, in
 * slices. Who does not have a tag is counted in slices too: one statement would go through all
 * registrations, and take the longer the more there are. */
#include <stdlib.h>

#include "lists.h"
#include "saver.h"

#define SLICE    5000u
#define TIME_MAX 10000u /* ms for all slices; a caller waits no longer */

struct counting {
	struct saver_list list;
	Hf__CountRegistrationsReply_Closure closure;
	Hf__Audience *audience; /* a copy */
	struct hf_buffer where; /* of all its statements */
	uint32_t app;
	uint64_t count, until_ms;
	uint8_t after_len;
	uint8_t after[HF_REGISTRATION_MAX];
};

static void release(struct saver_list *list)
{
	struct counting *counting = (struct counting *)list;

	if (counting->audience != NULL)
		hf__audience__free_unpacked(counting->audience, NULL);
	hf_buffer_deinit(&counting->where);
	free(counting);
}

static void answer(struct counting *counting)
{
	Hf__CountRegistrationsReply reply = HF__COUNT_REGISTRATIONS_REPLY__INIT;

	reply.count = counting->count;
	counting->closure(&reply, counting->list.call);
	saver_list_end(&counting->list);
}

/* " AND [NOT] EXISTS (... one of the tags)" */
static int add_tag_test(struct hf_buffer *sql, const char *how, const ProtobufCBinaryData *tags,
			size_t count)
{
	int err;

	if (count == 0)
		return 0;
	err = hf_buffer_printf(sql,
			       " AND %s (SELECT 1 FROM registration_tags t WHERE t.app=r.app"
			       " AND t.registration=r.registration",
			       how);
	if (err == 0)
		err = saver_sql_in(sql, "t.tag", tags, count);
	return err == 0 ? hf_buffer_append(sql, ")", 1) : err;
}

static int add_exclude(struct hf_buffer *sql, const Hf__Audience *audience)
{
	return audience->n_exclude == 0 ? 0
					: saver_sql_in(sql, "NOT r.registration", audience->exclude,
						       audience->n_exclude);
}

static int make_where(struct counting *counting)
{
	const Hf__Audience *audience = counting->audience;
	struct hf_buffer *sql = &counting->where;
	int err = hf_buffer_printf(sql, " FROM registrations r WHERE r.app=%u", counting->app);

	if (err == 0)
		err = add_tag_test(sql, "EXISTS", audience->tag, audience->n_tag);
	for (size_t i = 0; err == 0 && i < audience->n_tag_and; i++)
		err = add_tag_test(sql, "EXISTS", &audience->tag_and[i], 1);
	if (err == 0)
		err = add_tag_test(sql, "NOT EXISTS", audience->tag_not, audience->n_tag_not);
	if (err == 0 && audience->n_platform > 0)
		err = saver_sql_in(sql, "r.platform", audience->platform, audience->n_platform);
	return err == 0 ? add_exclude(sql, audience) : err;
}

/* The rest of the audience, which needs a look at each registration. */
static Hf__Audience rest_of(const Hf__Audience *audience)
{
	Hf__Audience rest = HF__AUDIENCE__INIT;

	rest.version_min = audience->version_min;
	rest.version_max = audience->version_max;
	rest.percentage = audience->percentage;
	rest.percentage_seed = audience->percentage_seed;
	return rest;
}

static void on_counted(struct saver_list *list, MYSQL_RES *rows)
{
	struct counting *counting = (struct counting *)list;
	MYSQL_ROW row = mysql_fetch_row(rows);

	counting->count = row != NULL && row[0] != NULL ? strtoull(row[0], NULL, 10) : 0;
	answer(counting);
}

static void count_all(struct counting *counting)
{
	struct hf_buffer sql = { 0 };
	int err = hf_buffer_printf(&sql, "SELECT COUNT(*)");

	if (err == 0)
		err = hf_buffer_append(&sql, hf_buffer_data(&counting->where),
				       hf_buffer_len(&counting->where));
	counting->list.on_rows = on_counted;
	saver_list_run(&counting->list, &sql, err);
}

static void count_slice(struct counting *counting)
{
	struct hf_buffer sql = { 0 };
	int err = hf_buffer_printf(&sql, "SELECT r.registration, r.sdk_version");

	if (err == 0)
		err = hf_buffer_append(&sql, hf_buffer_data(&counting->where),
				       hf_buffer_len(&counting->where));
	if (err == 0 && counting->after_len > 0) {
		err = hf_buffer_printf(&sql, " AND r.registration>");
		if (err == 0)
			err = saver_sql_hex(&sql, counting->after, counting->after_len);
	}
	if (err == 0)
		err = hf_buffer_printf(&sql, " ORDER BY r.registration LIMIT %u", SLICE);
	saver_list_run(&counting->list, &sql, err);
}

static void on_slice(struct saver_list *list, MYSQL_RES *rows)
{
	struct counting *counting = (struct counting *)list;
	Hf__Audience rest = rest_of(counting->audience);
	uint32_t seen = 0;
	MYSQL_ROW row;

	while ((row = mysql_fetch_row(rows)) != NULL) {
		const unsigned long *lengths = mysql_fetch_lengths(rows);
		struct hf_profile profile = {
			.app = counting->app,
			.registration = saver_row_bytes(row[0], lengths[0]),
			.sdk_version = saver_row_bytes(row[1], lengths[1]),
		};

		seen++;
		counting->count += hf_audience_matches(&rest, &profile);
		counting->after_len = (uint8_t)HF_MIN(lengths[0], sizeof(counting->after));
		memcpy(counting->after, row[0], counting->after_len);
	}
	if (seen < SLICE)
		answer(counting);
	else if (hf_loop_now_ms(list->saver->service->loop) > counting->until_ms)
		saver_list_fail(list, SAVER_DATABASE_UNAVAILABLE);
	else
		count_slice(counting);
}

static Hf__Audience *copy_audience(const Hf__Audience *audience)
{
	size_t len = audience != NULL ? hf__audience__get_packed_size(audience) : 0;
	uint8_t *packed = malloc(len + 1);
	Hf__Audience *copy = NULL;

	if (packed == NULL)
		return NULL;
	if (audience != NULL)
		hf__audience__pack(audience, packed);
	copy = hf__audience__unpack(NULL, len, packed); /* of nothing: everybody */
	free(packed);
	return copy;
}

void saver_on_count_registrations(Hf__Saver_Service *rpc,
				  const Hf__CountRegistrationsRequest *request,
				  Hf__CountRegistrationsReply_Closure closure, void *call)
{
	struct saver *saver = saver_of(rpc);
	struct counting *counting;
	Hf__Audience rest;
	const char *field;

	if (request->audience != NULL && hf_audience_check(request->audience, &field) < 0) {
		saver_fail_invalid(saver, call, "BAD_AUDIENCE");
		return;
	}
	if (!saver_list_admit(saver, call))
		return;
	counting = calloc(1, sizeof(*counting));
	if (counting == NULL) {
		saver->registry.lists_open--;
		saver_fail(saver, call, SAVER_INTERNAL);
		return;
	}
	counting->list = (struct saver_list){ saver, call, on_slice, release };
	counting->closure = closure;
	counting->app = request->app;
	counting->until_ms = hf_loop_now_ms(saver->service->loop) + TIME_MAX;
	counting->audience = copy_audience(request->audience);
	if (counting->audience == NULL || make_where(counting) < 0) {
		saver_list_fail(&counting->list, SAVER_INTERNAL);
		return;
	}
	rest = rest_of(counting->audience);
	if (hf_audience_is_all(&rest) && counting->audience->n_tag_not == 0)
		count_all(counting);
	else
		count_slice(counting);
}
