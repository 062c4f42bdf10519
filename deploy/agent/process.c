#define HF_LOG_MODULE "agent"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hf_log.h"
#include "leftovers.h"
#include "plan.h"

#define BACKOFF_BASE_MS 500
#define BACKOFF_CAP_MS  30000
#define STEADY_MS       60000 /* who ran that long is not in a crash loop */
/* supervisor_deinit(): their moment to close, looked at in steps. */
#define CLOSE_MS      5000
#define CLOSE_STEP_MS 20

static void set_state(struct process *process, enum process_state state)
{
	process->state = state;
	process->since_ms = hf_loop_wall_ms(process->supervisor->loop);
	if (state != PROCESS_RUNNING) {
		process->ready = false;
		process->instance.id[0] = '\0';
	}
	process->supervisor->on_change(process, process->supervisor->ctx);
}

const char *process_state_name(const struct process *process)
{
	switch (process->state) {
	case PROCESS_WAITING:
		return process->wanted ? "waiting" : "stopped";
	case PROCESS_RUNNING:
		return process->ready ? "running" : "starting";
	case PROCESS_BACKOFF:
		return "restarting";
	case PROCESS_STOPPING:
		return "stopping";
	}
	return "unknown";
}

/* The whole group, as a child may have children: all were put into a group of their own. */
static void send_signal(const struct process *process, int number)
{
	if (process->pid > 0)
		kill(-process->pid, number);
}

/* --- the child's side, between fork and exec --- */

static void child_run(const struct process *process, pid_t agent, int log_fd)
{
	static const int defaults[] = { SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD };
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	setpgid(0, 0); /* a Ctrl-C is for the agent, which then stops everything in order */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != agent) /* it died before the line above */
		_exit(1);
	for (size_t i = 0; i < HF_ARRAY_LEN(defaults); i++)
		signal(defaults[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null_fd, STDIN_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	execv(process->argv[0], process->argv);
	dprintf(STDERR_FILENO, "%s: %s\n", process->argv[0], strerror(errno));
	_exit(127);
}

/* --- start, exit, stop --- */

static int spawn(struct process *process)
{
	const char *data_dir = process->supervisor->data_dir;
	char path[PATH_MAX];
	pid_t agent = getpid(), pid;
	int log_fd, err = 0;

	snprintf(path, sizeof(path), "%s/log/%s.log", data_dir, process->name);
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (log_fd < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child_run(process, agent, log_fd);
	if (pid < 0)
		err = -errno;
	close(log_fd);
	if (err < 0)
		return err;
	setpgid(pid, pid); /* as the child does: whoever comes first */
	process->pid = pid;
	process->born = leftovers_birth(pid);
	process->started_ms = hf_loop_now_ms(process->supervisor->loop);
	return 0;
}

static void schedule_restart(struct process *process)
{
	uint32_t delay_ms = hf_backoff_next_ms(&process->backoff);

	process->restarts++;
	HF_INFO("restart planned", "name=%s delay_ms=%" PRIu32, process->name, delay_ms);
	hf_loop_arm(process->supervisor->loop, &process->timer, delay_ms);
	set_state(process, PROCESS_BACKOFF);
}

static void start_now(struct process *process)
{
	int err = spawn(process);

	if (err < 0) {
		HF_ERROR("start failed", "name=%s err=%s", process->name, strerror(-err));
		schedule_restart(process);
		return;
	}
	HF_INFO("started", "name=%s pid=%ld", process->name, (long)process->pid);
	leftovers_record(process->supervisor);
	set_state(process, PROCESS_RUNNING);
}

void process_start(struct process *process)
{
	process->wanted = true;
	if (process->state == PROCESS_WAITING)
		start_now(process);
}

void process_stop(struct process *process)
{
	struct supervisor *supervisor = process->supervisor;

	process->wanted = false;
	if (process->state == PROCESS_BACKOFF) {
		hf_wheel_disarm(&process->timer);
		set_state(process, PROCESS_WAITING);
	} else if (process->state == PROCESS_RUNNING) {
		HF_INFO("stopping", "name=%s pid=%ld", process->name, (long)process->pid);
		send_signal(process, SIGTERM);
		hf_loop_arm(supervisor->loop, &process->timer, supervisor->stop_timeout_ms);
		set_state(process, PROCESS_STOPPING);
	}
}

static void on_timer(struct hf_timer *timer, void *ctx)
{
	struct process *process = ctx;

	if (process->state == PROCESS_BACKOFF) {
		start_now(process);
	} else if (process->state == PROCESS_STOPPING) {
		HF_WARN("killing", "name=%s pid=%ld why=\"it did not end in time\"", process->name,
			(long)process->pid);
		send_signal(process, SIGKILL);
	}
}

static void describe_exit(struct process *process, int status)
{
	if (WIFSIGNALED(status))
		snprintf(process->last_exit, sizeof(process->last_exit), "signal %d",
			 WTERMSIG(status));
	else
		snprintf(process->last_exit, sizeof(process->last_exit), "status %d",
			 WEXITSTATUS(status));
}

static void on_exit_of(struct process *process, int status)
{
	uint64_t ran_ms = hf_loop_now_ms(process->supervisor->loop) - process->started_ms;
	bool asked = process->state == PROCESS_STOPPING;

	describe_exit(process, status);
	HF_LOG(asked || status == 0 ? HF_LOG_INFO : HF_LOG_WARN, "ended",
	       "name=%s pid=%ld exit=\"%s\" asked=%s ran_ms=%" PRIu64, process->name,
	       (long)process->pid, process->last_exit, asked ? "yes" : "no", ran_ms);
	process->pid = 0;
	process->born = 0;
	hf_wheel_disarm(&process->timer);
	leftovers_record(process->supervisor);
	if (!process->wanted) {
		set_state(process, PROCESS_WAITING);
		return;
	}
	if (ran_ms >= STEADY_MS)
		hf_backoff_reset(&process->backoff);
	schedule_restart(process);
}

static void reap_children(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct process *process;

		TAILQ_FOREACH (process, &supervisor->processes, link) {
			if (process->pid == pid) {
				on_exit_of(process, status);
				break;
			}
		}
	}
}

static void on_child(evutil_socket_t number, short what, void *ctx)
{
	reap_children(ctx);
}

/* --- the list --- */

struct process *process_new(struct supervisor *supervisor, const char *name, enum agent_role role,
			    char **argv)
{
	struct process *process = calloc(1, sizeof(*process));

	if (process == NULL)
		return NULL;
	process->supervisor = supervisor;
	snprintf(process->name, sizeof(process->name), "%s", name);
	process->role = role;
	process->argv = argv;
	process->backoff =
		(struct hf_backoff){ .base_ms = BACKOFF_BASE_MS, .cap_ms = BACKOFF_CAP_MS };
	process->since_ms = hf_loop_wall_ms(supervisor->loop);
	process->wanted = true;
	hf_timer_init(&process->timer, on_timer, process);
	TAILQ_INSERT_TAIL(&supervisor->processes, process, link);
	return process;
}

void process_free(struct process *process)
{
	if (process == NULL)
		return;
	hf_wheel_disarm(&process->timer);
	TAILQ_REMOVE(&process->supervisor->processes, process, link);
	plan_argv_free(process->argv);
	free(process);
}

struct process *supervisor_find(const struct supervisor *supervisor, const char *name)
{
	struct process *process;

	TAILQ_FOREACH (process, &supervisor->processes, link)
		if (strcmp(process->name, name) == 0)
			return process;
	return NULL;
}

void supervisor_signal(const struct supervisor *supervisor, int number)
{
	struct process *process;

	TAILQ_FOREACH (process, &supervisor->processes, link)
		if (!agent_role_is_store(process->role) && process->state == PROCESS_RUNNING)
			send_signal(process, number);
}

int supervisor_init(struct supervisor *supervisor, struct hf_loop *loop, const char *data_dir,
		    void (*on_change)(struct process *process, void *ctx), void *ctx)
{
	*supervisor = (struct supervisor){
		.loop = loop, .data_dir = data_dir, .on_change = on_change, .ctx = ctx
	};
	TAILQ_INIT(&supervisor->processes);
	supervisor->child_event = evsignal_new(loop->base, SIGCHLD, on_child, supervisor);
	if (supervisor->child_event == NULL || event_add(supervisor->child_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void ignore_change(struct process *process, void *ctx)
{
}

/* The loop does not run any more: signal, then wait here until they have ended or time is up. */
static void end_all(struct supervisor *supervisor, bool stores, int number, unsigned wait_ms)
{
	struct process *process;
	unsigned alive = 1;

	TAILQ_FOREACH (process, &supervisor->processes, link) {
		process->wanted = false;
		if (agent_role_is_store(process->role) == stores)
			send_signal(process, number);
	}
	for (unsigned waited_ms = 0; alive > 0 && waited_ms <= wait_ms;
	     waited_ms += CLOSE_STEP_MS) {
		reap_children(supervisor);
		alive = 0;
		TAILQ_FOREACH (process, &supervisor->processes, link)
			alive += process->pid > 0 && agent_role_is_store(process->role) == stores;
		if (alive > 0)
			usleep(CLOSE_STEP_MS * 1000);
	}
}

void supervisor_deinit(struct supervisor *supervisor)
{
	struct process *process;

	if (supervisor->loop == NULL)
		return;
	supervisor->on_change = ignore_change;
	end_all(supervisor, false, SIGINT, CLOSE_MS); /* "leave at once" to a service */
	end_all(supervisor, false, SIGKILL, CLOSE_MS);
	end_all(supervisor, true, SIGTERM, CLOSE_MS);
	end_all(supervisor, true, SIGKILL, CLOSE_MS);
	while ((process = TAILQ_FIRST(&supervisor->processes)) != NULL)
		process_free(process);
	if (supervisor->child_event != NULL)
		event_free(supervisor->child_event);
}
