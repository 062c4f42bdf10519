/* common/config/hf_config_value.c - one value: text into a field, numbers and ranges into text. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hf_config_internal.h"
#include "hf_log.h"
#include "hf_text.h"

#define ADDRESS_MAX     107 /* what fits into a Unix socket address */
#define SECRET_FILE_MAX 4096
#define ENV_NAME_MAX    128

struct unit {
	uint64_t size;
	const char *name;
};

static const struct unit durations[] = {
	{ 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" },
};
static const struct unit sizes[] = {
	{ 1u << 30, "GiB" },
	{ 1u << 20, "MiB" },
	{ 1u << 10, "KiB" },
	{ 1, "B" },
};

const char *hf_config_format_number(enum hf_option_type type, uint64_t value,
				    char ret[HF_CONFIG_NUMBER_SIZE])
{
	const struct unit *units = type == HF_OPT_MSEC ? durations : sizes;
	size_t i = 0;

	if (type != HF_OPT_MSEC && type != HF_OPT_SIZE) {
		snprintf(ret, HF_CONFIG_NUMBER_SIZE, "%" PRIu64, value);
	} else if (value == 0) {
		snprintf(ret, HF_CONFIG_NUMBER_SIZE, type == HF_OPT_MSEC ? "0s" : "0B");
	} else {
		while (value % units[i].size != 0)
			i++;
		snprintf(ret, HF_CONFIG_NUMBER_SIZE, "%" PRIu64 "%s", value / units[i].size,
			 units[i].name);
	}
	return ret;
}

const char *hf_config_format_range(const struct hf_option *option, char ret[HF_CONFIG_RANGE_SIZE])
{
	char min[HF_CONFIG_NUMBER_SIZE], max[HF_CONFIG_NUMBER_SIZE];
	const char *unit = "";

	if (option->type == HF_OPT_STRING || option->type == HF_OPT_SECRET)
		unit = " bytes";
	else if (option->type == HF_OPT_STRINGS || option->type == HF_OPT_LIST)
		unit = " entries";
	hf_config_format_number(option->type, option->min, min);
	hf_config_format_number(option->type, option->max, max);

	if (option->max != 0)
		snprintf(ret, HF_CONFIG_RANGE_SIZE, "%s to %s%s", min, max, unit);
	else if (option->min != 0)
		snprintf(ret, HF_CONFIG_RANGE_SIZE, "at least %s%s", min, unit);
	else
		ret[0] = '\0';
	return ret;
}

static bool in_range(const struct hf_option *option, uint64_t value)
{
	return value >= option->min && (option->max == 0 || value <= option->max);
}

static int out_of_range(const struct hf_config_at *at, const struct hf_option *option,
			const char *text)
{
	char range[HF_CONFIG_RANGE_SIZE];

	hf_config_format_range(option, range);
	return hf_config_fail(at, "%s is out of range%s%s", hf_log_quote(text, strlen(text)),
			      range[0] != '\0' ? ": " : "", range);
}

int hf_config_check_count(const struct hf_config_at *at, const struct hf_option *option,
			  size_t count)
{
	char range[HF_CONFIG_RANGE_SIZE];

	if (in_range(option, count))
		return 0;
	return hf_config_fail(at, "has %zu entries, allowed are %s", count,
			      hf_config_format_range(option, range));
}

static int set_bool(const struct hf_config_at *at, const char *text, bool *field)
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return hf_config_fail(at, "%s is neither true nor false",
				      hf_log_quote(text, strlen(text)));
	*field = text[0] == 't';
	return 0;
}

static bool is_bare_number(const char *text)
{
	return text[strspn(text, "0123456789")] == '\0' && strspn(text, "0") != strlen(text);
}

static int set_number(const struct hf_config_at *at, const struct hf_option *option,
		      const char *text, size_t len, uint64_t *field)
{
	const char *wanted = "a whole number";
	uint64_t value = 0;
	int err = -EINVAL;

	if (option->type == HF_OPT_MSEC) {
		wanted = "a duration such as 500ms, 30s, 5m, 2h or 7d";
		if (!is_bare_number(text)) /* 30 of what? */
			err = hf_text_parse_duration(text, 1, &value);
	} else if (option->type == HF_OPT_SIZE) {
		wanted = "a size such as 4096, 64KiB or 1MiB";
		err = hf_text_parse_size(text, &value);
	} else {
		err = hf_text_parse_uint(text, len, &value);
	}
	if (err == -ERANGE)
		return out_of_range(at, option, text);
	if (err < 0)
		return hf_config_fail(at, "%s is not %s", hf_log_quote(text, len), wanted);
	if (!in_range(option, value))
		return out_of_range(at, option, text);
	*field = value;
	return 0;
}

/* STRING and SECRET: the message gives the length only, as the text may be secret. */
static int set_string(const struct hf_config_at *at, const struct hf_option *option,
		      const char *text, size_t len, char **field)
{
	char range[HF_CONFIG_RANGE_SIZE];
	char *copy;

	if (!in_range(option, len))
		return hf_config_fail(at, "is %zu bytes long, allowed are %s", len,
				      hf_config_format_range(option, range));
	copy = strdup(text);
	if (copy == NULL)
		return hf_config_no_memory(at);
	*field = copy;
	return 0;
}

/* "host:port" with any host that is not empty, "[v6]:port", or "unix:/path". Names are resolved
 * when the address is used. */
static bool is_address(const char *text, size_t len)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (len > ADDRESS_MAX || colon == NULL)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isgraph((unsigned char)text[i]))
			return false;
	}
	if (strncmp(text, "unix:", 5) == 0)
		return text[5] == '/' && text[6] != '\0';
	if (hf_text_parse_uint(colon + 1, strlen(colon + 1), &port) < 0 || port > 65535)
		return false;
	if (text[0] == '[')
		return colon - text >= 4 && colon[-1] == ']' &&
		       strspn(text + 1, "0123456789abcdefABCDEF:.%") == (size_t)(colon - text - 2);
	return colon > text && memchr(text, ':', (size_t)(colon - text)) == NULL;
}

/* An address may be left empty only where empty is the default. */
static int set_address(const struct hf_config_at *at, const struct hf_option *option,
		       const char *text, size_t len, char **field)
{
	bool optional = option->value != NULL && option->value[0] == '\0';

	if (!(len == 0 && optional) && !is_address(text, len))
		return hf_config_fail(at,
				      "%s is not an address such as 0.0.0.0:443, [::]:443 or "
				      "unix:/path",
				      hf_log_quote(text, len));
	*field = strdup(text);
	return *field != NULL ? 0 : hf_config_no_memory(at);
}

static int set_enum(const struct hf_config_at *at, const struct hf_option *option, const char *text,
		    int *field)
{
	char list[256] = "";
	size_t len = 0;

	for (int i = 0; option->choices[i] != NULL; i++) {
		if (strcmp(option->choices[i], text) == 0) {
			*field = i;
			return 0;
		}
		if (len < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
						i > 0 ? ", " : "", option->choices[i]);
	}
	return hf_config_fail(at, "%s is none of %s", hf_log_quote(text, strlen(text)), list);
}

/* "${NAME}" stands for a variable of the environment; anything else for itself. */
static int set_secret(const struct hf_config_at *at, const struct hf_option *option,
		      const char *text, size_t len, char **field)
{
	char name[ENV_NAME_MAX];
	const char *value;

	if (len < 3 || text[0] != '$' || text[1] != '{' || text[len - 1] != '}')
		return set_string(at, option, text, len, field);
	if (len - 3 >= sizeof(name))
		return hf_config_fail(at, "the name of the environment variable is too long");
	memcpy(name, text + 2, len - 3);
	name[len - 3] = '\0';
	value = getenv(name);
	if (value == NULL)
		return hf_config_fail(at, "environment variable %s is not set",
				      hf_log_quote(name, strlen(name)));
	return set_string(at, option, value, strlen(value), field);
}

int hf_config_set_scalar(const struct hf_config_at *at, const struct hf_option *option,
			 const char *text, size_t len, void *field)
{
	switch (option->type) {
	case HF_OPT_BOOL:
		return set_bool(at, text, field);
	case HF_OPT_UINT:
	case HF_OPT_MSEC:
	case HF_OPT_SIZE:
		return set_number(at, option, text, len, field);
	case HF_OPT_STRING:
		return set_string(at, option, text, len, field);
	case HF_OPT_ENUM:
		return set_enum(at, option, text, field);
	case HF_OPT_ADDRESS:
		return set_address(at, option, text, len, field);
	case HF_OPT_SECRET:
		return set_secret(at, option, text, len, field);
	case HF_OPT_STRINGS:
	case HF_OPT_LIST:
		break;
	}
	return hf_config_fail(at, "is a list");
}

/* Regular files only: a FIFO or a device would hang the loop. */
static ssize_t read_small_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	while (len < size && (n = read(fd, buf + len, size - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : (ssize_t)len;
}

int hf_config_set_secret_file(const struct hf_config_at *at, const struct hf_option *option,
			      const char *path, void *field)
{
	char text[SECRET_FILE_MAX + 2]; /* one more than allowed, and a NUL */
	ssize_t n = read_small_file(path, text, sizeof(text) - 1);
	int err;

	if (n < 0)
		return hf_config_fail(at, "%s: %s", hf_log_quote(path, strlen(path)),
				      n == -EINVAL ? "not a file" : strerror((int)-n));
	if (n > SECRET_FILE_MAX)
		err = hf_config_fail(at, "the file is larger than %d bytes", SECRET_FILE_MAX);
	else if (memchr(text, '\0', (size_t)n) != NULL)
		err = hf_config_fail(at, "the file holds a NUL byte");
	else {
		if (n > 0 && text[n - 1] == '\n')
			n--;
		text[n] = '\0';
		err = set_string(at, option, text, (size_t)n, field);
	}
	explicit_bzero(text, sizeof(text));
	return err;
}
