/* tools/hfctl/hfctl.h - the operator's command line: a thin client of center's HTTP API.
 *
 * One table of commands (main.c) is dispatch and help at once. A command parses its words, makes
 * one or a few requests (request.c), and shows the answer (output.c): as a table made from named
 * columns, or with -o json exactly as the API gave it. */
#ifndef HFCTL_H
#define HFCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit status of the program. */
enum {
	EXIT_OK = 0,
	EXIT_USAGE = 1,
	EXIT_NOT_FOUND = 2,
	EXIT_REFUSED = 3, /* key or role; or the API said no */
	EXIT_UNREACHABLE = 4,
	EXIT_TIMEOUT = 5,
	EXIT_PARTIAL = 6, /* some of several targets */
};

struct ctl {
	const char *url; /* of a center */
	char key[512];   /* "id.secret" */
	const char *app; /* --app */
	bool json, yes;
	long timeout_ms;
};

/* One option of a command: `--name VALUE`, or a flag. */
struct ctl_option {
	const char *name;     /* without "--"; NULL ends the list */
	const char *argument; /* shown in help; NULL: a flag */
	const char *help;
	const char **value; /* set to the argument, or to "" for a flag */
};

/* Parse the words of a command: options anywhere, the others in order into `words`
 * (NULL-terminated, at most `max`). False after saying what is wrong. */
bool ctl_parse(int argc, char **argv, const struct ctl_option *options, const char **words,
	       size_t max);
/* The app as a path segment, checked; NULL after saying that --app is missing or wrong. */
const char *ctl_app(const struct ctl *ctl);
/* "name" percent-encoded into `ret`; false when it does not fit. */
bool ctl_escape(const char *text, char *ret, size_t size);
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* request.c: *ret_answer is the JSON (NULL when there is none), to be freed with json_decref().
 * Returns an exit status; on anything but EXIT_OK the error has been shown on stderr. `body` is
 * taken. */
int ctl_request(const struct ctl *ctl, const char *method, json_t *body, json_t **ret_answer,
		const char *path_format, ...) __attribute__((format(printf, 5, 6)));

/* push.c: "15m", "500/s" or "none" as the API's pace. */
json_t *pace_of(const char *text);
/* A query string from pairs of name and value (NULL: left out): "?a=b&c=d", or "". False after
 * saying that it is too long. */
struct ctl_parameter {
	const char *name, *value; /* name NULL ends the list */
};
bool ctl_query(const struct ctl_parameter *parameters, char *ret, size_t size);

/* output.c */
struct ctl_column {
	const char *header; /* NULL ends the list */
	const char *key;    /* "a.b" goes into objects */
};
/* The array under `key` of the answer as a table, or the whole answer as JSON. */
void show_list(const struct ctl *ctl, const json_t *answer, const char *key,
	       const struct ctl_column *columns);
/* The same, and on stderr how to see the next page if there is one. */
void show_page(const struct ctl *ctl, const json_t *answer, const char *key,
	       const struct ctl_column *columns);
/* One object as "key: value" lines, or as JSON. */
void show_object(const struct ctl *ctl, const json_t *answer);

/* One function a command; argv[0] is the first word after the command's name. */
int command_status(struct ctl *ctl, int argc, char **argv);
int command_node_list(struct ctl *ctl, int argc, char **argv);
int command_node_drain(struct ctl *ctl, int argc, char **argv);
int command_push_send(struct ctl *ctl, int argc, char **argv);
int command_push_status(struct ctl *ctl, int argc, char **argv);
int command_push_cancel(struct ctl *ctl, int argc, char **argv);
int command_push_pause(struct ctl *ctl, int argc, char **argv);
int command_push_resume(struct ctl *ctl, int argc, char **argv);
int command_push_pace(struct ctl *ctl, int argc, char **argv);
int command_broadcast_list(struct ctl *ctl, int argc, char **argv);
int command_client_show(struct ctl *ctl, int argc, char **argv);
int command_client_kick(struct ctl *ctl, int argc, char **argv);
int command_client_list(struct ctl *ctl, int argc, char **argv);
int command_client_info(struct ctl *ctl, int argc, char **argv);
int command_client_set(struct ctl *ctl, int argc, char **argv);
int command_client_forget(struct ctl *ctl, int argc, char **argv);
int command_client_bar(struct ctl *ctl, int argc, char **argv);
int command_client_unbar(struct ctl *ctl, int argc, char **argv);
int command_user_show(struct ctl *ctl, int argc, char **argv);
int command_user_kick(struct ctl *ctl, int argc, char **argv);
int command_tag_list(struct ctl *ctl, int argc, char **argv);
int command_tag_show(struct ctl *ctl, int argc, char **argv);
int command_tag_add(struct ctl *ctl, int argc, char **argv);
int command_tag_remove(struct ctl *ctl, int argc, char **argv);
int command_tag_delete(struct ctl *ctl, int argc, char **argv);
int command_presence(struct ctl *ctl, int argc, char **argv);
int command_report_registrations(struct ctl *ctl, int argc, char **argv);
int command_report_messages(struct ctl *ctl, int argc, char **argv);
int command_report_labels(struct ctl *ctl, int argc, char **argv);
int command_app_list(struct ctl *ctl, int argc, char **argv);
int command_app_create(struct ctl *ctl, int argc, char **argv);
int command_app_show(struct ctl *ctl, int argc, char **argv);
int command_app_set(struct ctl *ctl, int argc, char **argv);
int command_app_enable(struct ctl *ctl, int argc, char **argv);
int command_app_disable(struct ctl *ctl, int argc, char **argv);
int command_app_delete(struct ctl *ctl, int argc, char **argv);
int command_key_list(struct ctl *ctl, int argc, char **argv);
int command_key_create(struct ctl *ctl, int argc, char **argv);
int command_key_revoke(struct ctl *ctl, int argc, char **argv);
int command_token_key_create(struct ctl *ctl, int argc, char **argv);
int command_token_key_revoke(struct ctl *ctl, int argc, char **argv);
int command_token_gen(struct ctl *ctl, int argc, char **argv);
int command_token_check(struct ctl *ctl, int argc, char **argv);
int command_queue_show(struct ctl *ctl, int argc, char **argv);
int command_queue_purge(struct ctl *ctl, int argc, char **argv);
int command_why(struct ctl *ctl, int argc, char **argv);
int command_webhook_list(struct ctl *ctl, int argc, char **argv);
int command_webhook_add(struct ctl *ctl, int argc, char **argv);
int command_webhook_show(struct ctl *ctl, int argc, char **argv);
int command_webhook_set(struct ctl *ctl, int argc, char **argv);
int command_webhook_delete(struct ctl *ctl, int argc, char **argv);
int command_webhook_test(struct ctl *ctl, int argc, char **argv);
int command_webhook_failures(struct ctl *ctl, int argc, char **argv);
int command_webhook_retry(struct ctl *ctl, int argc, char **argv);
int command_webhook_rotate_secret(struct ctl *ctl, int argc, char **argv);
int command_version(struct ctl *ctl, int argc, char **argv);

#endif
