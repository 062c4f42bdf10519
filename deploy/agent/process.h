/* deploy/agent/process.h - child processes: started, watched, restarted with back-off, stopped.
 *
 *	          start                 exit, still wanted
 *	WAITING ---------> RUNNING ------------------------> BACKOFF
 *	   ^                  ^ |                               |
 *	   |                  +-|-------------------------------+  after the delay
 *	   |     exit           | stop (TERM, then KILL)
 *	   +-------- STOPPING <-+
 *
 * Children end with us: the kernel sends them TERM when the agent dies, however it dies. What is
 * left of an earlier agent is found by the record that is kept of all children (leftovers.h). */
#ifndef PROCESS_H
#define PROCESS_H

#include <sys/queue.h>
#include <sys/types.h>

#include "agent_config.h"
#include "hf_backoff.h"
#include "hf_instance.h"
#include "hf_loop.h"

enum process_state { PROCESS_WAITING, PROCESS_RUNNING, PROCESS_BACKOFF, PROCESS_STOPPING };

struct supervisor;

struct process {
	TAILQ_ENTRY(process) link;
	struct supervisor *supervisor;
	char name[HF_NODE_ID_MAX + 1];
	enum agent_role role;
	char **argv; /* of the next start */
	enum process_state state;
	bool wanted;   /* to be restarted when it ends */
	bool ready;    /* a store that answers, a service that serves */
	pid_t pid;     /* 0: none */
	uint64_t born; /* its start time as the kernel tells it: (pid, born) names it for good */
	uint64_t since_ms;   /* wall clock, when it entered its state */
	uint64_t started_ms; /* monotonic */
	uint64_t restarts;
	char last_exit[48]; /* "", "status 2", "signal 9" */
	struct hf_backoff backoff;
	struct hf_timer timer;       /* BACKOFF: the restart; STOPPING: the kill */
	struct hf_instance instance; /* what it says of itself in the keeper; id "": nothing */
};

TAILQ_HEAD(process_list, process);

struct supervisor {
	struct hf_loop *loop;
	const char *data_dir; /* borrowed */
	uint64_t stop_timeout_ms;
	struct process_list processes;
	struct event *child_event;
	/* Runs after a process changed its state (and, when it ended, was reaped). */
	void (*on_change)(struct process *process, void *ctx);
	void *ctx;
};

HF_MUST_CHECK int supervisor_init(struct supervisor *supervisor, struct hf_loop *loop,
				  const char *data_dir,
				  void (*on_change)(struct process *process, void *ctx), void *ctx);
/* Ends what is left, without the loop: services, then stores; each gets a moment, then is killed.
 */
void supervisor_deinit(struct supervisor *supervisor);
struct process *supervisor_find(const struct supervisor *supervisor, const char *name);
void supervisor_signal(const struct supervisor *supervisor, int number); /* services only */

/* Takes `argv` on success. NULL: out of memory. */
struct process *process_new(struct supervisor *supervisor, const char *name, enum agent_role role,
			    char **argv);
void process_free(struct process *process);  /* has no child; NULL is fine */
void process_start(struct process *process); /* from WAITING; a failure is logged and tried again */
void process_stop(struct process *process);  /* in any state */
const char *process_state_name(const struct process *process); /* for people */

#endif
