/* common/base/hf_log.h - structured log lines, one event and its key=value fields each.
 *
 *	HF_INFO("closed", "peer=%s code=%d reason=%s", peer, code, reason);
 *
 * gives, as text on stderr or in the file:
 *
 *	2026-01-31T11:59:58.412Z info room-1 room closed peer=127.0.0.1:4711 code=4201 reason=...
 *
 * or one JSON object: ts, level, node, mod, msg, and the pairs, whose values are strings, so that a
 * key has one type in all lines. Text without a key goes by "detail".
 *
 * The module is the macro HF_LOG_MODULE, defined before the include (default: "common"). A value
 * that may hold spaces, quotes or bytes of a client goes through hf_log_quote(). Lines over 2 KiB
 * are cut (JSON stays well-formed and says "cut"). One write(2) a line. A reader that stalls (a
 *pipe, a terminal) does not stall the process: lines are left out then, and the next one says
 *lost=N. */
#ifndef HF_LOG_H
#define HF_LOG_H

#include "hf_base.h"

enum hf_log_level { HF_LOG_DEBUG, HF_LOG_INFO, HF_LOG_WARN, HF_LOG_ERROR };
enum hf_log_format { HF_LOG_TEXT, HF_LOG_JSON };

struct hf_log_options {
	enum hf_log_level level;
	enum hf_log_format format;
	const char *file; /* NULL or "": stderr */
	const char *node; /* shown in every line; copied */
};

/* Set up or change the process's log. Returns 0 or -errno (the file can't be opened: the log stays
 * as it was). Before the first call the log writes text at level info to stderr. */
int hf_log_setup(const struct hf_log_options *options);
int hf_log_reopen(void); /* after rotation (USR1); 0 or -errno */
void hf_log_set_level(enum hf_log_level level);
bool hf_log_enabled(enum hf_log_level level);

/* `event` is a short fixed word or phrase, `fmt` gives "key=value key=value". */
void hf_log_write(enum hf_log_level level, const char *module, const char *event, const char *fmt,
		  ...) HF_PRINTF(4, 5);

/* Bytes from outside, made fit for one value: quoted when needed, controls and non-UTF-8 as \xNN,
 * cut at 96 bytes. Valid until the eighth next call. */
const char *hf_log_quote(const void *data, size_t len);

/* For what clients can provoke at will: at most one line per `interval_ms` per call site. True when
 * the caller may write its line, the very next one: it tells suppressed=N if N were left out. */
struct hf_log_throttle {
	uint64_t next_ms;
	uint32_t suppressed;
};
bool hf_log_throttle_pass(struct hf_log_throttle *throttle, uint32_t interval_ms);

#ifndef HF_LOG_MODULE
#define HF_LOG_MODULE "common"
#endif

#define HF_LOG(level, event, ...)                                               \
	do {                                                                    \
		if (hf_log_enabled(level))                                      \
			hf_log_write(level, HF_LOG_MODULE, event, __VA_ARGS__); \
	} while (0)
#define HF_DEBUG(event, ...) HF_LOG(HF_LOG_DEBUG, event, __VA_ARGS__)
#define HF_INFO(event, ...)  HF_LOG(HF_LOG_INFO, event, __VA_ARGS__)
#define HF_WARN(event, ...)  HF_LOG(HF_LOG_WARN, event, __VA_ARGS__)
#define HF_ERROR(event, ...) HF_LOG(HF_LOG_ERROR, event, __VA_ARGS__)

#endif
