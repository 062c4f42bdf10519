/* sdk/c/answer.c */
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "answer.h"
#include "hf_text.h"

/* The value of header `name` in the lines of `head`, or NULL; *ret_len is its length. */
static const char *header(const char *head, const char *name, size_t *ret_len)
{
	size_t name_len = strlen(name);
	const char *line = head;

	while ((line = strstr(line, "\r\n")) != NULL) {
		line += 2;
		if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
			line += name_len + 1;
			line += strspn(line, " \t");
			*ret_len = strcspn(line, "\r\n");
			return line;
		}
	}
	return NULL;
}

/* `head` ends with a NUL. *ret_length is UINT64_MAX when the end of the stream ends the body. */
static bool parse_head(const char *head, struct answer *ret, uint64_t *ret_length)
{
	const char *value;
	size_t len;
	int end = 0;

	if (sscanf(head, "HTTP/1.%*1[01] %3u%n", &ret->status, &end) != 1 || end != 12)
		return false;
	if (header(head, "Transfer-Encoding", &len) != NULL)
		return false;
	*ret_length = UINT64_MAX;
	value = header(head, "Content-Length", &len);
	if (value != NULL && hf_text_parse_uint(value, len, ret_length) < 0)
		return false;
	ret->retry_after_s = 0;
	value = header(head, "Retry-After", &len);
	if (value != NULL && hf_text_parse_uint(value, len, &ret->retry_after_s) < 0)
		ret->retry_after_s = 0;
	return true;
}

int answer_parse(const uint8_t *data, size_t len, bool ended, struct answer *ret)
{
	const uint8_t *end = len > 0 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
	int incomplete = ended ? -EPROTO : len >= ANSWER_MAX ? -EMSGSIZE : 0;
	char head[ANSWER_MAX];
	size_t head_len;
	uint64_t length;

	if (len > ANSWER_MAX)
		return -EMSGSIZE;
	if (end == NULL)
		return incomplete;
	head_len = (size_t)(end + 4 - data);
	if (memchr(data, '\0', head_len) != NULL)
		return -EPROTO;
	memcpy(head, data, head_len - 2);
	head[head_len - 2] = '\0';
	if (!parse_head(head, ret, &length))
		return -EPROTO;

	if (length == UINT64_MAX) {
		if (!ended)
			return incomplete;
		length = len - head_len;
	}
	if (length > ANSWER_MAX - head_len)
		return -EMSGSIZE;
	if (length > len - head_len)
		return incomplete;
	ret->body = hf_bytes_of(end + 4, (size_t)length);
	return 1;
}

void answer_reason(const struct answer *answer, char ret[ANSWER_REASON_SIZE])
{
	static const char name[] = "\"reason\":\"";
	const uint8_t *end = answer->body.data + answer->body.len, *at = NULL;
	size_t len = 0;

	if (answer->body.len > 0)
		at = memmem(answer->body.data, answer->body.len, name, sizeof(name) - 1);
	if (at != NULL)
		for (at += sizeof(name) - 1; at + len < end && len < ANSWER_REASON_SIZE - 1 &&
					     (at[len] == '_' || (at[len] >= 'A' && at[len] <= 'Z'));
		     len++)
			ret[len] = (char)at[len];
	ret[len] = '\0';
}
