/* tests/unit/test_center_runner.c - promises of the runner of jobs (services/center/runner.h), with
 * a made-up store that offers one broadcast, and a made-up room that walks it. */
#include "center_fixture.h"

#include "run.h"

#define JOB_ID 4711u

/* What the store and the room have and were asked. */
static struct {
	bool offered; /* somebody has had the lease */
	bool lost;    /* renewals find another's lease */
	Hf__JobState state;
	uint32_t revision;
	uint64_t owner, rate, targets;
	uint8_t spec[512];
	size_t spec_len;
	unsigned renewals, appended, held, loadable, removed;
	bool in_log, is_loadable;
	/* the room */
	bool task_known, task_done;
	unsigned counted, told, told_whole, asked, paused, cancelled;
	unsigned renewals_at_append, appended_at_start;
	uint32_t task_revision, task_rate;
	Hf__JobState finished; /* 0: not yet */
} store;

static void on_lease_jobs(Hf__Saver_Service *rpc, const Hf__LeaseJobsRequest *request,
			  Hf__LeaseJobsReply_Closure closure, void *call)
{
	Hf__LeaseJobsReply reply = HF__LEASE_JOBS_REPLY__INIT;
	Hf__Job job = HF__JOB__INIT, *jobs[1] = { &job };

	if (!store.offered && store.spec_len > 0) {
		store.offered = true;
		store.owner = request->owner;
		job.id = JOB_ID;
		job.app = 7;
		job.kind = HF__JOB_KIND__JOB_BROADCAST;
		job.state = store.state;
		job.revision = store.revision;
		job.rate_per_second = store.rate;
		job.spec = (ProtobufCBinaryData){ store.spec_len, store.spec };
		reply.n_jobs = 1;
		reply.jobs = jobs;
	}
	closure(&reply, call);
}

static void on_renew_job(Hf__Saver_Service *rpc, const Hf__RenewJobRequest *request,
			 Hf__RenewJobReply_Closure closure, void *call)
{
	Hf__RenewJobReply reply = HF__RENEW_JOB_REPLY__INIT;
	Hf__Job job = HF__JOB__INIT;

	assert_int_equal(request->owner, store.owner);
	assert_int_equal(request->job->id, JOB_ID);
	store.renewals++;
	if (request->job->progress != NULL)
		store.targets = request->job->progress->targets;
	job.id = JOB_ID;
	job.app = 7;
	reply.held = !store.lost && store.state < HF__JOB_STATE__JOB_CANCELLED;
	if (reply.held && request->finish)
		store.finished = store.state = request->job->state;
	job.state = store.state;
	job.revision = store.revision;
	job.rate_per_second = store.rate;
	reply.job = &job;
	closure(&reply, call);
}

static void on_log_append(Hf__Saver_Service *rpc, const Hf__LogAppendRequest *request,
			  Hf__LogAppendReply_Closure closure, void *call)
{
	Hf__LogAppendReply reply = HF__LOG_APPEND_REPLY__INIT;

	assert_int_equal(request->broadcast->message_id, JOB_ID);
	if (store.appended++ == 0)
		store.renewals_at_append = store.renewals;
	store.in_log = store.is_loadable = true;
	reply.version = 5;
	closure(&reply, call);
}

static size_t spans_of(Hf__LoadableSpan *span, Hf__LoadableSpan **list)
{
	hf__loadable_span__init(span);
	span->from = 5;
	span->until = store.is_loadable ? 0 : 6;
	list[0] = span;
	return 1;
}

static void on_log_read(Hf__Saver_Service *rpc, const Hf__LogReadRequest *request,
			Hf__LogReadReply_Closure closure, void *call)
{
	Hf__LogReadReply reply = HF__LOG_READ_REPLY__INIT;
	Hf__LoadableSpan span, *list[1];

	reply.known = store.in_log;
	reply.n_spans = spans_of(&span, list);
	reply.spans = list;
	closure(&reply, call);
}

static void on_log_change(Hf__Saver_Service *rpc, const Hf__LogChangeRequest *request,
			  Hf__LogChangeReply_Closure closure, void *call)
{
	Hf__LogChangeReply reply = HF__LOG_CHANGE_REPLY__INIT;
	Hf__LoadableSpan span, *list[1];

	store.held += request->state == HF__LOG_STATE__HELD;
	store.loadable += request->state == HF__LOG_STATE__LOADABLE;
	store.removed += request->state == HF__LOG_STATE__REMOVED;
	store.is_loadable = request->state == HF__LOG_STATE__LOADABLE;
	reply.known = store.in_log;
	reply.n_spans = spans_of(&span, list);
	reply.spans = list;
	closure(&reply, call);
}

static void answer_task(Hf__TaskProgress_Closure closure, void *call)
{
	Hf__TaskProgress reply = HF__TASK_PROGRESS__INIT;

	reply.incarnation = 3; /* as the fixture's instance says */
	reply.known = store.task_known;
	reply.revision = store.task_revision;
	reply.done = store.task_done;
	reply.sessions = 10;
	reply.matched = reply.written = store.task_done ? 10 : 4;
	closure(&reply, call);
}

static void on_start_task(Hf__Room_Service *rpc, const Hf__StartTaskRequest *request,
			  Hf__TaskProgress_Closure closure, void *call)
{
	assert_int_equal(request->broadcast->message_id, JOB_ID);
	if (store.told++ == 0)
		store.appended_at_start = store.appended;
	store.told_whole += request->broadcast->frame.len > 0;
	store.paused += request->state == HF__TASK_STATE__TASK_PAUSE;
	store.cancelled += request->state == HF__TASK_STATE__TASK_CANCEL;
	store.task_known = store.task_known || request->broadcast->frame.len > 0;
	store.task_revision = request->revision;
	store.task_rate = request->rate_millis;
	answer_task(closure, call);
}

static void on_read_task(Hf__Room_Service *rpc, const Hf__ReadTaskRequest *request,
			 Hf__TaskProgress_Closure closure, void *call)
{
	store.asked++;
	answer_task(closure, call);
}

static void on_count_sessions(Hf__Room_Service *rpc, const Hf__CountSessionsRequest *request,
			      Hf__CountSessionsReply_Closure closure, void *call)
{
	Hf__CountSessionsReply reply = HF__COUNT_SESSIONS_REPLY__INIT;

	store.counted++;
	reply.matched = 10;
	closure(&reply, call);
}

static int setup_runner(void **state)
{
	int err = setup(state);
	struct fixture *f = *state;

	memset(&store, 0, sizeof(store));
	store.state = HF__JOB_STATE__JOB_RUNNING;
	store.revision = 1;
	for (unsigned i = 0; i < SAVERS; i++) {
		f->savers[i].rpc.lease_jobs = on_lease_jobs;
		f->savers[i].rpc.renew_job = on_renew_job;
		f->savers[i].rpc.log_append = on_log_append;
		f->savers[i].rpc.log_read = on_log_read;
		f->savers[i].rpc.log_change = on_log_change;
	}
	f->room_rpc.start_task = on_start_task;
	f->room_rpc.read_task = on_read_task;
	f->room_rpc.count_sessions = on_count_sessions;
	return err;
}

static void put_app(struct fixture *f)
{
	char path[128], text[] = "{\"id\":7,\"name\":\"shop\"}";
	FILE *file;

	snprintf(path, sizeof(path), "%s/apps", f->path);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/apps/7", f->path);
	file = fopen(path, "w");
	assert_non_null(file);
	fwrite(text, 1, strlen(text), file);
	fclose(file);
	TURN_UNTIL(f, hf_apps_get(f->center->apps, 7) != NULL);
}

static void offer(struct fixture *f, Hf__Class class)
{
	Hf__Broadcast broadcast = HF__BROADCAST__INIT;
	static uint8_t frame[8];

	put_app(f);
	broadcast.message_id = JOB_ID;
	broadcast.app = 7;
	broadcast.frame = (ProtobufCBinaryData){ sizeof(frame), frame };
	broadcast.class_ = class;
	broadcast.expires_ms = hf_clock_wall_ms() + 3600000;
	store.spec_len = hf__broadcast__pack(&broadcast, store.spec);
	runner_kick(f->center);
	TURN_UNTIL(f, store.told > 0);
}

static void test_a_broadcast_is_claimed_then_logged_then_walked_then_finished(void **state)
{
	struct fixture *f = *state;

	offer(f, HF__CLASS__STORED);
	assert_int_equal(store.renewals_at_append, 1);
	assert_int_equal(store.appended_at_start, 1);
	assert_int_equal(store.told_whole, 1);
	assert_int_equal(store.counted, 0);
	store.task_done = true;
	TURN_UNTIL(f, store.finished == HF__JOB_STATE__JOB_DONE && f->center->runner.count == 0);
	assert_int_equal(store.targets, 10);
	assert_int_equal(store.removed, 0);
}

static void test_a_transient_one_is_never_in_the_log(void **state)
{
	struct fixture *f = *state;

	offer(f, HF__CLASS__TRANSIENT);
	store.task_done = true;
	TURN_UNTIL(f, store.finished == HF__JOB_STATE__JOB_DONE);
	assert_int_equal(store.appended, 0);
}

static void test_a_lost_lease_is_dropped_without_a_word(void **state)
{
	struct fixture *f = *state;

	offer(f, HF__CLASS__STORED);
	store.lost = true;
	TURN_UNTIL(f, f->center->runner.count == 0);
	assert_int_equal(store.finished, 0);
	assert_int_equal(store.removed + store.cancelled, 0);
	assert_int_equal(*f->center->runner.lost, 1);
}

static void test_a_cancelled_one_leaves_the_log_and_the_rooms(void **state)
{
	struct fixture *f = *state;

	offer(f, HF__CLASS__STORED);
	store.state = HF__JOB_STATE__JOB_CANCELLED;
	store.revision = 2;
	TURN_UNTIL(f, store.removed > 0 && store.cancelled > 0 && f->center->runner.count == 0);
	assert_int_equal(store.finished, 0);
}

static void test_a_pause_that_nobody_told_of_is_seen_to(void **state)
{
	struct fixture *f = *state;

	offer(f, HF__CLASS__STORED);
	store.state = HF__JOB_STATE__JOB_PAUSED;
	store.revision = 2;
	TURN_UNTIL(f, store.held == 1 && store.paused == 1 && store.task_revision == 2);
	store.task_done = true; /* a task that rests is not over, whatever it says */
	store.state = HF__JOB_STATE__JOB_RUNNING;
	store.revision = 3;
	TURN_UNTIL(f, store.loadable == 1 && store.task_revision == 3);
	TURN_UNTIL(f, store.finished == HF__JOB_STATE__JOB_DONE);
}

static void test_a_pace_is_counted_for_and_told(void **state)
{
	struct fixture *f = *state;

	store.rate = 20;
	offer(f, HF__CLASS__STORED);
	assert_int_equal(store.counted, 1);
	assert_int_equal(store.task_rate, 20000);
	store.rate = 40;
	store.revision = 2;
	TURN_UNTIL(f, store.task_rate == 40000 && store.task_revision == 2);
}

static void test_a_room_that_has_forgotten_it_is_told_again(void **state)
{
	struct fixture *f = *state;

	offer(f, HF__CLASS__STORED);
	store.task_known = false;
	TURN_UNTIL(f, store.told_whole == 2);
}

/* ---- many at once, and a scheduled send ---- */

static struct {
	unsigned leases, given, renewals;
	const char *spec;
	Hf__JobState finished;
} many;

/* As many as are asked for, of 40. */
static void on_lease_many(Hf__Saver_Service *rpc, const Hf__LeaseJobsRequest *request,
			  Hf__LeaseJobsReply_Closure closure, void *call)
{
	Hf__LeaseJobsReply reply = HF__LEASE_JOBS_REPLY__INIT;
	Hf__Job jobs[64], *pointers[64];

	many.leases++;
	while (reply.n_jobs < request->max && many.given < 40) {
		Hf__Job *job = pointers[reply.n_jobs] = &jobs[reply.n_jobs];

		hf__job__init(job);
		job->id = JOB_ID + many.given++;
		job->app = 7;
		job->kind = HF__JOB_KIND__JOB_BROADCAST;
		job->state = HF__JOB_STATE__JOB_RUNNING;
		reply.n_jobs++;
	}
	reply.jobs = pointers;
	closure(&reply, call);
}

static void on_lease_send(Hf__Saver_Service *rpc, const Hf__LeaseJobsRequest *request,
			  Hf__LeaseJobsReply_Closure closure, void *call)
{
	Hf__LeaseJobsReply reply = HF__LEASE_JOBS_REPLY__INIT;
	Hf__Job job = HF__JOB__INIT, *jobs[1] = { &job };

	if (many.given == 0) {
		many.given = 1;
		job.id = JOB_ID;
		job.app = 7;
		job.kind = HF__JOB_KIND__JOB_SEND;
		job.state = HF__JOB_STATE__JOB_RUNNING;
		job.due_ms = job.created_ms = hf_clock_wall_ms();
		job.spec =
			(ProtobufCBinaryData){ strlen(many.spec), (uint8_t *)(uintptr_t)many.spec };
		reply.n_jobs = 1;
		reply.jobs = jobs;
	}
	closure(&reply, call);
}

static void on_renew_many(Hf__Saver_Service *rpc, const Hf__RenewJobRequest *request,
			  Hf__RenewJobReply_Closure closure, void *call)
{
	Hf__RenewJobReply reply = HF__RENEW_JOB_REPLY__INIT;
	Hf__Job job = *request->job;

	many.renewals++;
	if (request->finish)
		many.finished = job.state;
	reply.held = true;
	reply.job = &job;
	closure(&reply, call);
}

static void run_many(struct fixture *f,
		     void (*on_lease)(Hf__Saver_Service *, const Hf__LeaseJobsRequest *,
				      Hf__LeaseJobsReply_Closure, void *))
{
	put_app(f);
	memset(&many, 0, sizeof(many));
	for (unsigned i = 0; i < SAVERS; i++) {
		f->savers[i].rpc.lease_jobs = on_lease;
		f->savers[i].rpc.renew_job = on_renew_many;
	}
}

static void test_jobs_that_are_due_together_are_not_begun_a_few_a_second(void **state)
{
	struct fixture *f = *state;
	uint64_t began_ms;

	run_many(f, on_lease_many);
	began_ms = hf_clock_monotonic_ms();
	runner_kick(f->center);
	TURN_UNTIL(f, many.given == 40);
	assert_true(hf_clock_monotonic_ms() - began_ms < RUN_TICK_MS);
	TURN_UNTIL(f, f->center->runner.count == 0);
}

static void test_a_scheduled_send_goes_on_for_those_it_was_not_stored_for(void **state)
{
	struct fixture *f = *state;

	run_many(f, on_lease_send);
	many.spec = "{\"audience\":{\"registration_id\":[\"a\",\"b\",\"c\"]},"
		    "\"message\":{\"data\":{\"n\":1}}}";
	f->poison = "b";
	runner_kick(f->center);
	TURN_UNTIL(f, f->stored_count == 2);
	for (unsigned seen = many.renewals; many.renewals < seen + 3;)
		hf_loop_turn(f->loop, true);
	assert_int_equal(many.finished, 0);
	f->poison = NULL;
	TURN_UNTIL(f, many.finished == HF__JOB_STATE__JOB_DONE);
	assert_int_equal(f->stored_count, 3); /* each once */
	TURN_UNTIL(f, f->center->runner.count == 0);
}

#define RUNNER_TEST(name) cmocka_unit_test_setup_teardown(name, setup_runner, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUNNER_TEST(test_a_broadcast_is_claimed_then_logged_then_walked_then_finished),
		RUNNER_TEST(test_a_transient_one_is_never_in_the_log),
		RUNNER_TEST(test_a_lost_lease_is_dropped_without_a_word),
		RUNNER_TEST(test_a_cancelled_one_leaves_the_log_and_the_rooms),
		RUNNER_TEST(test_a_pause_that_nobody_told_of_is_seen_to),
		RUNNER_TEST(test_a_pace_is_counted_for_and_told),
		RUNNER_TEST(test_a_room_that_has_forgotten_it_is_told_again),
		RUNNER_TEST(test_jobs_that_are_due_together_are_not_begun_a_few_a_second),
		RUNNER_TEST(test_a_scheduled_send_goes_on_for_those_it_was_not_stored_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
