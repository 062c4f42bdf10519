#include "hf_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "hf_clock.h"
#include "hf_cursor.h"
#include "hf_text.h"

#define LINE_MAX_LEN 2048u
#define QUOTE_MAX    96u /* bytes of a quoted value */
#define QUOTE_TEXTS  8u

static struct {
	int fd;
	enum hf_log_level level;
	enum hf_log_format format;
	uint32_t suppressed; /* lines a throttle held back before the one that is about to come */
	uint32_t lost;       /* lines that could not be written since the last one that could */
	char node[HF_NODE_ID_MAX + 1];
	char file[PATH_MAX]; /* "": stderr */
} logger = { .fd = STDERR_FILENO, .level = HF_LOG_INFO, .format = HF_LOG_TEXT, .node = "-" };

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static int open_log(const char *file)
{
	int fd;

	if (file[0] == '\0')
		return STDERR_FILENO;
	fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	return fd < 0 ? -errno : fd;
}

static void replace_fd(int fd)
{
	if (logger.fd != STDERR_FILENO)
		close(logger.fd);
	logger.fd = fd;
}

int hf_log_setup(const struct hf_log_options *options)
{
	const char *file = options->file == NULL ? "" : options->file;
	const char *node = options->node == NULL ? "" : options->node;
	int fd;

	if (strlen(file) >= sizeof(logger.file))
		return -ENAMETOOLONG;
	fd = open_log(file);
	if (fd < 0)
		return fd;

	replace_fd(fd);
	strcpy(logger.file, file);
	snprintf(logger.node, sizeof(logger.node), "%s", node[0] == '\0' ? "-" : node);
	logger.format = options->format;
	logger.level = options->level;
	return 0;
}

int hf_log_reopen(void)
{
	int fd = open_log(logger.file);

	if (fd < 0)
		return fd;
	replace_fd(fd);
	return 0;
}

void hf_log_set_level(enum hf_log_level level)
{
	logger.level = level;
}

bool hf_log_enabled(enum hf_log_level level)
{
	if (level < logger.level) {
		logger.suppressed = 0; /* that line is not to come */
		return false;
	}
	return true;
}

bool hf_log_throttle_pass(struct hf_log_throttle *throttle, uint32_t interval_ms)
{
	uint64_t now_ms = hf_clock_monotonic_ms();

	if (now_ms < throttle->next_ms) {
		throttle->suppressed++;
		return false;
	}
	logger.suppressed = throttle->suppressed;
	*throttle = (struct hf_log_throttle){ .next_ms = now_ms + interval_ms };
	return true;
}

static void put_string(struct hf_writer *w, const char *s)
{
	hf_writer_bytes(w, s, strlen(s));
}

static void put_hex_byte(struct hf_writer *w, const char *prefix, uint8_t byte)
{
	static const char digits[] = "0123456789abcdef";

	put_string(w, prefix);
	hf_writer_u8(w, (uint8_t)digits[byte >> 4]);
	hf_writer_u8(w, (uint8_t)digits[byte & 15]);
}

/* One value, quoted, cut at QUOTE_MAX. */
static void put_quoted(struct hf_writer *w, const uint8_t *p, size_t len)
{
	hf_writer_u8(w, '"');
	for (size_t at = 0; at < len;) {
		size_t n = hf_text_char_len(p + at, len - at);

		if (at + HF_MAX(n, 1u) > QUOTE_MAX) {
			put_string(w, "...");
			break;
		}
		if (n == 0 || hf_text_is_control(p + at, n)) {
			n = HF_MAX(n, 1u);
			for (size_t i = 0; i < n; i++)
				put_hex_byte(w, "\\x", p[at + i]);
		} else {
			if (p[at] == '"' || p[at] == '\\')
				hf_writer_u8(w, '\\');
			hf_writer_bytes(w, p + at, n);
		}
		at += n;
	}
	hf_writer_u8(w, '"');
}

/* Fits as it is: printable ASCII but for what delimits pairs and values. */
static bool is_plain(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] <= ' ' || p[i] >= 0x7f || strchr("\"\\=", p[i]) != NULL)
			return false;
	return len > 0 && len <= QUOTE_MAX;
}

const char *hf_log_quote(const void *data, size_t len)
{
	static char texts[QUOTE_TEXTS][4 * QUOTE_MAX + sizeof("\"...\"")];
	static unsigned next;
	char *text = texts[next];
	struct hf_writer w = hf_writer_of(text, sizeof(texts[0]));

	next = (next + 1) % QUOTE_TEXTS;
	if (is_plain(data, len))
		hf_writer_bytes(&w, data, len);
	else
		put_quoted(&w, data, len);
	hf_writer_u8(&w, '\0');
	return text;
}

/* Escape `len` bytes for a JSON string while they fit with a closing quote; false when cut. */
static bool put_json(struct hf_writer *w, const char *data, size_t len)
{
	const uint8_t *p = (const uint8_t *)data;

	for (size_t at = 0; at < len;) {
		size_t n = hf_text_char_len(p + at, len - at);
		uint8_t escaped[16];
		struct hf_writer unit = hf_writer_of(escaped, sizeof(escaped));

		if (n == 0)
			put_hex_byte(&unit, "\\\\x", p[at]);
		else if (n == 1 && hf_text_is_control(p + at, n))
			put_hex_byte(&unit, "\\u00", p[at]);
		else if (p[at] == '"' || p[at] == '\\')
			hf_writer_u8(&unit, '\\');
		if (unit.pos == escaped || p[at] == '"' || p[at] == '\\')
			hf_writer_bytes(&unit, p + at, n);

		n = HF_MAX(n, 1u);
		if ((size_t)(unit.pos - escaped) >= (size_t)(w->end - w->pos))
			return false;
		hf_writer_bytes(w, escaped, (size_t)(unit.pos - escaped));
		at += n;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo put_quoted() in place; returns the new length. What was not UTF-8, or a NUL, which many
 * readers of JSON refuse, stays "\xNN". */
static size_t unquote(char *text, size_t len)
{
	size_t out = 0;

	for (size_t at = 0; at < len;) {
		int high = len - at >= 4 && text[at] == '\\' && text[at + 1] == 'x'
				   ? hex_digit(text[at + 2])
				   : -1;
		int low = high < 0 ? -1 : hex_digit(text[at + 3]);

		if (low >= 0 && high < 8 && high + low > 0) {
			text[out++] = (char)(high << 4 | low);
			at += 4;
			continue;
		}
		if (text[at] == '\\' && len - at >= 2 && text[at + 1] != 'x')
			at++;
		text[out++] = text[at++];
	}
	return out;
}

struct pair {
	const char *key;
	size_t key_len;
	char *value;
	size_t value_len;
};

/* Length of the key when `text` begins with "key=", else 0. */
static size_t key_len(const char *text)
{
	size_t n = 0;

	while ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z') ||
	       (text[n] >= '0' && text[n] <= '9') || text[n] == '_' || text[n] == '.')
		n++;
	return text[n] == '=' ? n : 0;
}

/* The pair at `text`, which is changed where its value was quoted; returns where the next one
 * starts. A value without quotes ends where another key= begins, as texts of strerror() have
 * spaces. What has no key at all goes by "detail". */
static char *next_pair(char *text, struct pair *ret_pair)
{
	char *value, *end;

	ret_pair->key = text;
	ret_pair->key_len = key_len(text);
	value = text + ret_pair->key_len + 1;
	if (ret_pair->key_len == 0) {
		ret_pair->key = "detail";
		ret_pair->key_len = strlen("detail");
		value = text;
	}

	if (*value == '"') {
		for (end = ++value; *end != '\0' && *end != '"'; end++)
			if (end[0] == '\\' && end[1] != '\0')
				end++;
		ret_pair->value = value;
		ret_pair->value_len = (size_t)(end - value);
		end += *end == '"';
		ret_pair->value_len = unquote(value, ret_pair->value_len);
	} else {
		for (end = value; *end != '\0'; end++)
			if (end[0] == ' ' && key_len(end + 1) > 0)
				break;
		ret_pair->value = value;
		ret_pair->value_len = (size_t)(end - value);
	}
	return end + strspn(end, " ");
}

/* An object has each name once: a pair that is called like one of ours gets a "_" behind its name.
 */
static bool is_our_name(const struct pair *pair)
{
	static const char *const names[] = { "ts", "level", "node", "mod", "msg" };

	for (size_t i = 0; i < HF_ARRAY_LEN(names); i++)
		if (strlen(names[i]) == pair->key_len &&
		    memcmp(names[i], pair->key, pair->key_len) == 0)
			return true;
	return false;
}

/* True when all of it fits; what doesn't is left out, and the object is well-formed in any case. */
static bool put_json_pairs(struct hf_writer *w, char *fields)
{
	while (*fields != '\0') {
		struct hf_writer before = *w;
		struct pair pair;
		bool whole;

		fields = next_pair(fields, &pair);
		put_string(w, ",\"");
		hf_writer_bytes(w, pair.key, pair.key_len);
		put_string(w, is_our_name(&pair) ? "_\":\"" : "\":\"");
		whole = !w->failed && put_json(w, pair.value, pair.value_len);
		hf_writer_u8(w, '"');
		if (w->failed)
			*w = before;
		if (!whole)
			return false;
	}
	return true;
}

static size_t format_json(char *line, const char *ts, enum hf_log_level level, const char *module,
			  const char *event, char *fields)
{
	const char *const head[][2] = { { "{\"ts\":\"", ts },
					{ "\",\"level\":\"", level_names[level] },
					{ "\",\"node\":\"", logger.node },
					{ "\",\"mod\":\"", module },
					{ "\",\"msg\":\"", event } };
	static const char cut[] = ",\"cut\":\"1\"", tail[] = "}\n";
	struct hf_writer w = hf_writer_of(line, LINE_MAX_LEN - strlen(cut) - strlen(tail));
	bool whole = true;

	for (size_t i = 0; i < HF_ARRAY_LEN(head); i++) {
		put_string(&w, head[i][0]);
		whole &= put_json(&w, head[i][1], strlen(head[i][1]));
	}
	hf_writer_u8(&w, '"');
	whole = whole && put_json_pairs(&w, fields);

	w.end = (uint8_t *)line + LINE_MAX_LEN;
	put_string(&w, whole ? "" : cut);
	put_string(&w, tail);
	return (size_t)(w.pos - (uint8_t *)line);
}

static size_t format_text(char *line, const char *ts, enum hf_log_level level, const char *module,
			  const char *event, const char *fields)
{
	const char *const words[] = { ts, level_names[level], logger.node, module, event, fields };
	struct hf_writer w = hf_writer_of(line, LINE_MAX_LEN - 1);

	for (size_t i = 0; i < HF_ARRAY_LEN(words) && words[i][0] != '\0'; i++) {
		size_t room = (size_t)(w.end - w.pos), len = strlen(words[i]);

		if (i > 0 && room-- > 0)
			hf_writer_u8(&w, ' ');
		hf_writer_bytes(&w, words[i], HF_MIN(len, room));
	}
	for (uint8_t *p = (uint8_t *)line; p < w.pos; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?'; /* a line stays one line, whoever forgot hf_log_quote() */
	*w.pos++ = '\n';
	return (size_t)(w.pos - (uint8_t *)line);
}

/* Whoever reads our log through a pipe, a terminal or a socket may stall: that must not stall us. A
 * line is shorter than PIPE_BUF, so one that may be written is written at once. */
static bool can_write(void)
{
	struct pollfd out = { .fd = logger.fd, .events = POLLOUT };

	return poll(&out, 1, 0) != 0;
}

/* "suppressed=3 lost=7 ", as far as there is something to tell. */
static size_t put_counts(char *fields, size_t size)
{
	int used = 0;

	fields[0] = '\0';
	if (logger.suppressed > 0)
		used = snprintf(fields, size, "suppressed=%u ", logger.suppressed);
	if (logger.lost > 0)
		used += snprintf(fields + used, size - (size_t)used, "lost=%u ", logger.lost);
	logger.suppressed = logger.lost = 0;
	return (size_t)used;
}

void hf_log_write(enum hf_log_level level, const char *module, const char *event, const char *fmt,
		  ...)
{
	char line[LINE_MAX_LEN], fields[LINE_MAX_LEN], ts[HF_CLOCK_TEXT_SIZE];
	va_list args;
	size_t used, len;
	ssize_t n;

	if (!can_write()) {
		logger.suppressed = 0;
		logger.lost++;
		return;
	}
	used = put_counts(fields, sizeof(fields));
	va_start(args, fmt);
	if (vsnprintf(fields + used, sizeof(fields) - used, fmt, args) < 0)
		fields[used] = '\0';
	va_end(args);
	if (used > 0 && fields[used] == '\0')
		fields[used - 1] = '\0';

	hf_clock_format(hf_clock_wall_ms(), ts);
	if (logger.format == HF_LOG_JSON)
		len = format_json(line, ts, level, module, event, fields);
	else
		len = format_text(line, ts, level, module, event, fields);
	do
		n = write(logger.fd, line, len);
	while (n < 0 && errno == EINTR);
}
