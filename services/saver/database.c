#define HF_LOG_MODULE "saver"
#include "database.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "hf_backoff.h"
#include "hf_clock.h"
#include "hf_log.h"
#include "schema.h"

#define STATEMENT_MAX (4u << 20)
#define SETUP_STEPS   6u

struct job {
	struct job *next;
	struct hf_buffer sql;
	saver_database_cb cb;
	void *ctx;
};

/* What the link waits for the server to finish. */
enum phase {
	PHASE_DOWN,
	PHASE_CONNECT,
	PHASE_QUERY,  /* the statement, up to the head of its answer */
	PHASE_RESULT, /* the rows of the answer */
	PHASE_IDLE,
};

struct link {
	struct saver_database *database;
	enum saver_link number;
	enum phase phase;
	bool ready; /* set up: statements may run */
	unsigned setup_step;
	MYSQL *mysql;
	MYSQL *connected; /* result of the connect */
	int failed;       /* result of the statement */
	MYSQL_RES *result;
	struct job *jobs, **jobs_tail; /* the first one runs */
	uint64_t started_ns;
	struct event *event;
	struct hf_timer timer; /* deadline of the operation, or the next attempt */
	struct hf_task advance;
	struct hf_backoff backoff;
};

struct saver_database {
	struct hf_loop *loop;
	struct saver_database_options options;
	char *texts[5]; /* copies that options point to */
	char ip[64];
	bool schema_ok, was_up, closed;
	size_t packet_max;
	struct link links[SAVER_LINK_COUNT];
	struct saver_schema schema;
	struct hf_histogram *duration;
	uint64_t *results[2];
	int64_t *up;
};

static const char *const link_names[] = { "commit", "background", "lists" };

static void start_query(struct link *link);
static void step(struct link *link, int events);

static void update_up(struct saver_database *database)
{
	bool up = saver_database_up(database);

	if (up == database->was_up)
		return;
	database->was_up = up;
	*database->up = up;
	if (up)
		database->options.on_up(database->options.ctx);
	else
		database->options.on_down(database->options.ctx);
}

static void end_job(struct link *link, const struct saver_outcome *outcome)
{
	struct job *job = link->jobs;

	link->jobs = job->next;
	if (link->jobs == NULL)
		link->jobs_tail = &link->jobs;
	++*link->database->results[outcome->error != 0];
	job->cb(outcome, job->ctx);
	hf_buffer_deinit(&job->sql);
	free(job);
}

/* Close without waiting for anything, end what was asked of the link, come back later. */
static void link_lost(struct link *link, const char *reason)
{
	struct saver_database *database = link->database;
	struct saver_outcome outcome = { .error = -ECONNRESET, .text = reason };
	bool was_ready = link->ready;

	if (!database->closed && (was_ready || link->backoff.attempts == 0))
		HF_WARN("database_lost", "link=%s reason=%s", link_names[link->number],
			hf_log_quote(reason, strlen(reason)));
	event_del(link->event);
	hf_wheel_disarm(&link->timer);
	hf_task_cancel(database->loop, &link->advance);
	if (link->mysql != NULL) {
		if (link->phase != PHASE_IDLE) /* mysql_close() must not wait to say goodbye */
			shutdown(mysql_get_socket(link->mysql), SHUT_RDWR);
		mysql_close(link->mysql);
		link->mysql = NULL;
	}
	link->phase = PHASE_DOWN;
	link->ready = false;
	if (link->number == SAVER_LINK_BACKGROUND)
		database->schema_ok = false;
	if (!database->closed)
		hf_loop_arm(database->loop, &link->timer, hf_backoff_next_ms(&link->backoff));
	update_up(database);
	/* A callback may fail to queue a new one (not up), but never waits for this loop to end. */
	while (link->jobs != NULL)
		end_job(link, &outcome);
}

/* The server (or the socket) is awaited for `wait`, bits of MYSQL_WAIT_*. */
static void await_link(struct link *link, int wait)
{
	short what = (short)((wait & MYSQL_WAIT_READ ? EV_READ : 0) |
			     (wait & MYSQL_WAIT_WRITE ? EV_WRITE : 0));

	event_del(link->event);
	event_assign(link->event, link->database->loop->base, mysql_get_socket(link->mysql), what,
		     event_get_callback(link->event), link);
	event_add(link->event, NULL);
}

/* SQL errors of the client library (2000..2999) mean that the connection is of no more use. */
static bool is_connection_error(unsigned code)
{
	return code >= 2000 && code < 3000;
}

static int setup_statement(struct link *link, struct hf_buffer *sql)
{
	const char *name = link->database->options.name;
	unsigned limit_ms;

	switch (link->setup_step) {
	case 0:
		return hf_buffer_printf(sql, "CREATE DATABASE IF NOT EXISTS `%s`", name);
	case 1:
		return hf_buffer_printf(sql, "USE `%s`", name);
	case 2:
		return hf_buffer_printf(sql, "SET SESSION sql_mode='STRICT_ALL_TABLES',"
					     " autocommit=1, innodb_lock_wait_timeout=5");
	case 3: /* no gap locks between savers that insert and delete side by side */
		return hf_buffer_printf(sql, "SET SESSION TRANSACTION ISOLATION LEVEL"
					     " READ COMMITTED");
	case 4: /* MariaDB and MySQL have two words for it, and each passes over the other's */
		if (link->number != SAVER_LINK_LISTS)
			return hf_buffer_printf(sql, "DO 0");
		limit_ms = link->database->options.timeout_ms / 10 * 8;
		return hf_buffer_printf(sql,
					"SET SESSION autocommit=1"
					" /*M!100101 , max_statement_time=%u.%03u */"
					" /*!80000 , max_execution_time=%u */",
					limit_ms / 1000, limit_ms % 1000, limit_ms);
	default:
		return hf_buffer_printf(
			sql, "SELECT @@max_allowed_packet, @@innodb_flush_log_at_trx_commit");
	}
}

static void setup_next(struct link *link);

static void on_setup(const struct saver_outcome *outcome, void *ctx)
{
	struct link *link = ctx;
	struct saver_database *database = link->database;
	MYSQL_ROW row;

	if (outcome->error == -ECONNRESET)
		return;
	if (outcome->error != 0 &&
	    link->setup_step != 0) { /* creating may be forbidden: USE tells */
		HF_ERROR("database_setup", "step=%u code=%u error=%s", link->setup_step,
			 outcome->code, hf_log_quote(outcome->text, strlen(outcome->text)));
		link->setup_step = UINT32_MAX;
		return;
	}
	if (link->setup_step++ < SETUP_STEPS - 1)
		return;
	row = outcome->result != NULL ? mysql_fetch_row(outcome->result) : NULL;
	if (row != NULL && row[0] != NULL && row[1] != NULL) {
		database->packet_max = strtoul(row[0], NULL, 10);
		if (link->number == SAVER_LINK_COMMIT && strcmp(row[1], "1") != 0)
			HF_WARN("database_weak",
				"innodb_flush_log_at_trx_commit=%s durable=not_after_a_power_cut",
				row[1]);
	}
}

static int push_job(struct link *link, struct hf_buffer *sql, saver_database_cb cb, void *ctx)
{
	struct job *job = malloc(sizeof(*job));

	if (job == NULL)
		return -ENOMEM;
	*job = (struct job){ .sql = *sql, .cb = cb, .ctx = ctx };
	hf_buffer_init(sql);
	*link->jobs_tail = job;
	link->jobs_tail = &job->next;
	if (link->phase == PHASE_IDLE)
		hf_task_schedule(link->database->loop, &link->advance);
	return 0;
}

/* The link is idle and not ready: the next statement of its setup, or it becomes ready. */
static void setup_next(struct link *link)
{
	struct saver_database *database = link->database;
	struct hf_buffer sql = { 0 };

	if (link->setup_step == UINT32_MAX) {
		link_lost(link, "setup");
		return;
	}
	if (link->setup_step < SETUP_STEPS) {
		if (setup_statement(link, &sql) < 0 || push_job(link, &sql, on_setup, link) < 0) {
			hf_buffer_deinit(&sql);
			link_lost(link, "out of memory");
		}
		return;
	}
	link->ready = true;
	HF_INFO("database_connected", "link=%s database=%s", link_names[link->number],
		database->options.name);
	if (link->number == SAVER_LINK_BACKGROUND) {
		saver_schema_run(&database->schema, database);
	} else {
		hf_backoff_reset(&link->backoff);
		update_up(database);
	}
}

/* Task: the link is idle; give it something to do. */
static void on_advance(void *ctx)
{
	struct link *link = ctx;

	if (link->phase != PHASE_IDLE)
		return;
	if (link->jobs == NULL && !link->ready)
		setup_next(link);
	if (link->phase == PHASE_IDLE && link->jobs != NULL)
		start_query(link);
}

static void go_idle(struct link *link)
{
	link->phase = PHASE_IDLE;
	await_link(link, MYSQL_WAIT_READ); /* a server that goes away says so at once */
	hf_wheel_disarm(&link->timer);
	if (link->jobs != NULL || !link->ready)
		hf_task_schedule(link->database->loop, &link->advance);
}

static void finish_query(struct link *link)
{
	struct saver_outcome outcome = { .text = "" };
	unsigned code = mysql_errno(link->mysql);

	if (code != 0 && is_connection_error(code)) {
		link_lost(link, mysql_error(link->mysql));
		return;
	}
	hf_histogram_record(link->database->duration,
			    (hf_clock_monotonic_ns() - link->started_ns) / 1000);
	outcome.error = code != 0 ? -EIO : 0;
	outcome.code = code;
	outcome.text = mysql_error(link->mysql);
	outcome.result = link->result;
	outcome.affected = code == 0 ? mysql_affected_rows(link->mysql) : 0;
	go_idle(link);
	end_job(link, &outcome);
	if (outcome.result != NULL)
		mysql_free_result(outcome.result);
	link->result = NULL;
}

/* One operation of the current phase ended (nothing is awaited any more): on to the next phase. */
static void phase_done(struct link *link)
{
	int wait;

	switch (link->phase) {
	case PHASE_CONNECT:
		if (link->connected == NULL) {
			link_lost(link, mysql_error(link->mysql));
			return;
		}
		link->setup_step = 0;
		go_idle(link);
		return;
	case PHASE_QUERY:
		link->result = NULL;
		if (link->failed != 0 || mysql_field_count(link->mysql) == 0) {
			finish_query(link);
			return;
		}
		link->phase = PHASE_RESULT;
		wait = mysql_store_result_start(&link->result, link->mysql);
		if (wait != 0)
			await_link(link, wait);
		else
			finish_query(link);
		return;
	case PHASE_RESULT:
		finish_query(link);
		return;
	case PHASE_DOWN:
	case PHASE_IDLE:
		return;
	}
}

static void step(struct link *link, int events)
{
	int wait = 0;

	switch (link->phase) {
	case PHASE_CONNECT:
		wait = mysql_real_connect_cont(&link->connected, link->mysql, events);
		break;
	case PHASE_QUERY:
		wait = mysql_real_query_cont(&link->failed, link->mysql, events);
		break;
	case PHASE_RESULT:
		wait = mysql_store_result_cont(&link->result, link->mysql, events);
		break;
	case PHASE_IDLE:
		link_lost(link, "closed by the server");
		return;
	case PHASE_DOWN:
		return;
	}
	if (wait != 0)
		await_link(link, wait);
	else
		phase_done(link);
}

static void on_event(evutil_socket_t fd, short what, void *ctx)
{
	step(ctx,
	     (what & EV_READ ? MYSQL_WAIT_READ : 0) | (what & EV_WRITE ? MYSQL_WAIT_WRITE : 0));
}

static void start_query(struct link *link)
{
	struct job *job = link->jobs;
	int wait;

	link->phase = PHASE_QUERY;
	link->started_ns = hf_clock_monotonic_ns();
	hf_loop_arm(link->database->loop, &link->timer, link->database->options.timeout_ms);
	wait = mysql_real_query_start(&link->failed, link->mysql,
				      (const char *)hf_buffer_data(&job->sql),
				      hf_buffer_len(&job->sql));
	if (wait != 0)
		await_link(link, wait);
	else
		phase_done(link);
}

static void start_connect(struct link *link)
{
	struct saver_database *database = link->database;
	const struct saver_database_options *o = &database->options;
	bool local = o->socket[0] != '\0';
	int wait;

	link->mysql = mysql_init(NULL);
	if (link->mysql == NULL) {
		link_lost(link, "out of memory");
		return;
	}
	mysql_options(link->mysql, MYSQL_OPT_NONBLOCK, NULL);
	mysql_options(link->mysql, MYSQL_SET_CHARSET_NAME, "binary");
	link->phase = PHASE_CONNECT;
	hf_loop_arm(database->loop, &link->timer, o->timeout_ms);
	wait = mysql_real_connect_start(&link->connected, link->mysql, local ? NULL : database->ip,
					o->user, o->password, NULL, local ? 0 : o->port,
					local ? o->socket : NULL, 0);
	if (wait != 0)
		await_link(link, wait);
	else
		phase_done(link);
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct link *link = ctx;

	if (link->phase == PHASE_DOWN)
		start_connect(link);
	else /* the library ends the operation with an error of its own */
		step(link, MYSQL_WAIT_TIMEOUT);
}

static int make_links(struct saver_database *database)
{
	for (unsigned i = 0; i < SAVER_LINK_COUNT; i++) {
		struct link *link = &database->links[i];

		link->database = database;
		link->number = (enum saver_link)i;
		link->jobs_tail = &link->jobs;
		link->backoff = (struct hf_backoff){ .base_ms = 100, .cap_ms = 3000 };
		hf_timer_init(&link->timer, on_timer, link);
		hf_task_init(&link->advance, on_advance, link);
		link->event = event_new(database->loop->base, -1, 0, on_event, link);
		if (link->event == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* The name goes into statements between back quotes; the host is resolved once, as a loop must not
 * wait. */
static int check_options(struct saver_database *database)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_";
	const struct saver_database_options *o = &database->options;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	int err = -EINVAL;

	if (o->name[0] == '\0' || strlen(o->name) > 64 ||
	    strspn(o->name, allowed) != strlen(o->name))
		return -EINVAL;
	if (o->socket[0] != '\0')
		return 0;
	if (getaddrinfo(o->host, NULL, &hints, &found) != 0)
		return -EINVAL;
	if (getnameinfo(found->ai_addr, found->ai_addrlen, database->ip, sizeof(database->ip), NULL,
			0, NI_NUMERICHOST) == 0)
		err = 0;
	freeaddrinfo(found);
	return err;
}

static int copy_texts(struct saver_database *database)
{
	const char **texts[] = { &database->options.socket, &database->options.host,
				 &database->options.user, &database->options.password,
				 &database->options.name };

	for (unsigned i = 0; i < HF_ARRAY_LEN(texts); i++) {
		database->texts[i] = strdup(*texts[i]);
		if (database->texts[i] == NULL)
			return -ENOMEM;
		*texts[i] = database->texts[i];
	}
	return 0;
}

int saver_database_new(struct hf_loop *loop, struct hf_metrics *metrics,
		       const struct saver_database_options *options,
		       struct saver_database **ret_database)
{
	struct saver_database *database = calloc(1, sizeof(*database));
	int err;

	if (database == NULL)
		return -ENOMEM;
	database->loop = loop;
	database->options = *options;
	database->packet_max = 1u << 20;
	err = copy_texts(database);
	if (err == 0)
		err = check_options(database);
	if (err == 0)
		err = make_links(database);
	if (err < 0) {
		saver_database_free(database);
		return err;
	}
	for (unsigned failed = 0; failed < 2; failed++)
		database->results[failed] = hf_metrics_counter(
			metrics, "holdfast_saver_operations_total",
			failed ? "store=\"database\",op=\"statement\",result=\"error\""
			       : "store=\"database\",op=\"statement\",result=\"ok\"",
			"Commands and statements by what they were for.");
	database->duration =
		hf_metrics_histogram(metrics, "holdfast_saver_operation_duration_seconds",
				     "store=\"database\"", "One statement.", 1000000);
	database->up = hf_metrics_gauge(metrics, "holdfast_saver_database_up", NULL,
					"Is the database usable?");
	*ret_database = database;
	return 0;
}

void saver_database_start(struct saver_database *database)
{
	for (unsigned i = 0; i < SAVER_LINK_COUNT; i++)
		start_connect(&database->links[i]);
}

void saver_database_close(struct saver_database *database)
{
	database->closed = true;
	for (unsigned i = 0; i < SAVER_LINK_COUNT; i++)
		link_lost(&database->links[i], "closing");
}

void saver_database_free(struct saver_database *database)
{
	if (database == NULL)
		return;
	for (unsigned i = 0; i < SAVER_LINK_COUNT; i++) {
		if (database->links[i].event != NULL)
			event_free(database->links[i].event);
	}
	for (unsigned i = 0; i < HF_ARRAY_LEN(database->texts); i++)
		free(database->texts[i]);
	free(database);
}

bool saver_database_up(const struct saver_database *database)
{
	return database->schema_ok && database->links[SAVER_LINK_COMMIT].ready &&
	       database->links[SAVER_LINK_BACKGROUND].ready;
}

size_t saver_database_statement_max(const struct saver_database *database)
{
	return HF_MIN(database->packet_max - database->packet_max / 16, STATEMENT_MAX);
}

const char *saver_database_name(const struct saver_database *database)
{
	return database->options.name;
}

int saver_database_run(struct saver_database *database, enum saver_link number,
		       struct hf_buffer *sql, saver_database_cb cb, void *ctx)
{
	if (!saver_database_up(database) || !database->links[number].ready)
		return -ENOTCONN;
	return push_job(&database->links[number], sql, cb, ctx);
}

int saver_database_run_early(struct saver_database *database, struct hf_buffer *sql,
			     saver_database_cb cb, void *ctx)
{
	struct link *link = &database->links[SAVER_LINK_BACKGROUND];

	return link->ready ? push_job(link, sql, cb, ctx) : -ENOTCONN;
}

void saver_database_schema_done(struct saver_database *database, int error)
{
	struct link *link = &database->links[SAVER_LINK_BACKGROUND];

	if (!link->ready) /* lost on the way: it begins anew by itself */
		return;
	if (error != 0) {
		link->setup_step = UINT32_MAX;
		link->ready = false; /* dropped by the next idle turn */
		hf_task_schedule(database->loop, &link->advance);
		return;
	}
	hf_backoff_reset(&link->backoff);
	database->schema_ok = true;
	update_up(database);
}

int saver_sql_hex(struct hf_buffer *sql, const void *data, size_t len)
{
	static const char digits[16] = "0123456789ABCDEF";
	const uint8_t *bytes = data;
	uint8_t *out = hf_buffer_reserve(sql, 2 * len + 3);

	if (out == NULL)
		return -ENOMEM;
	*out++ = 'x';
	*out++ = '\'';
	for (size_t i = 0; i < len; i++) {
		*out++ = (uint8_t)digits[bytes[i] >> 4];
		*out++ = (uint8_t)digits[bytes[i] & 15];
	}
	*out = '\'';
	hf_buffer_commit(sql, 2 * len + 3);
	return 0;
}
