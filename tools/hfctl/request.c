/* One HTTP request to center, by libcurl. */
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hfctl.h"

#define ANSWER_MAX (64u << 20)

struct answer {
	char *data;
	size_t len;
};

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
	struct answer *answer = ctx;
	size_t len = size * count;
	char *more;

	if (answer->len + len > ANSWER_MAX)
		return 0;
	more = realloc(answer->data, answer->len + len + 1);
	if (more == NULL)
		return 0;
	memcpy(more + answer->len, data, len);
	answer->data = more;
	answer->len += len;
	answer->data[answer->len] = '\0';
	return len;
}

static int show_error(long status, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *reason = json_string_value(json_object_get(error, "reason"));
	const char *request = json_string_value(json_object_get(error, "request_id"));

	fprintf(stderr, "hfctl: %ld %s: %s", status, reason == NULL ? "ERROR" : reason,
		message == NULL ? "the answer is not in Holdfast's error format" : message);
	fprintf(stderr, request == NULL ? "\n" : " (%s)\n", request);
	if (status == 404)
		return EXIT_NOT_FOUND;
	return status == 503 || status == 429 ? EXIT_UNREACHABLE : EXIT_REFUSED;
}

static int show_failure(CURLcode code, const char *url, const char *detail)
{
	fprintf(stderr, "hfctl: %s: %s\n", url,
		detail[0] != '\0' ? detail : curl_easy_strerror(code));
	return code == CURLE_OPERATION_TIMEDOUT ? EXIT_TIMEOUT : EXIT_UNREACHABLE;
}

static int perform(const struct ctl *ctl, CURL *curl, const char *url, json_t **ret_answer)
{
	char detail[CURL_ERROR_SIZE] = "";
	struct answer answer = { 0 };
	json_error_t parse_error;
	long status = 0;
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ctl->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	code = curl_easy_perform(curl);
	if (code != CURLE_OK) {
		free(answer.data);
		return show_failure(code, url, detail);
	}
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	*ret_answer = answer.len == 0 ? NULL : json_loadb(answer.data, answer.len, 0, &parse_error);
	if (answer.len > 0 && *ret_answer == NULL) {
		fprintf(stderr, "hfctl: %s answered %ld and no JSON: is it a center?\n", url,
			status);
		free(answer.data);
		return EXIT_UNREACHABLE;
	}
	free(answer.data);
	if (status < 200 || status > 299) {
		int result = show_error(status, *ret_answer);

		json_decref(*ret_answer);
		*ret_answer = NULL;
		return result;
	}
	return EXIT_OK;
}

int ctl_request(const struct ctl *ctl, const char *method, json_t *body, json_t **ret_answer,
		const char *path_format, ...)
{
	char url[4096], authorization[sizeof(ctl->key) + 32];
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
	struct curl_slist *headers = NULL;
	CURL *curl = curl_easy_init();
	size_t len;
	va_list args;
	int result;

	json_decref(body);
	*ret_answer = NULL;
	len = (size_t)snprintf(url, sizeof(url), "%s", ctl->url);
	va_start(args, path_format);
	if (len < sizeof(url))
		len += (size_t)vsnprintf(url + len, sizeof(url) - len, path_format, args);
	va_end(args);
	if (curl == NULL || len >= sizeof(url)) {
		free(text);
		curl_easy_cleanup(curl);
		return usage_error("the address is too long");
	}

	snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s", ctl->key);
	headers = curl_slist_append(headers, authorization);
	if (text != NULL) {
		headers = curl_slist_append(headers, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	result = perform(ctl, curl, url, ret_answer);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	free(text);
	return result;
}

bool ctl_query(const struct ctl_parameter *parameters, char *ret, size_t size)
{
	size_t len = 0;

	ret[0] = '\0';
	for (; parameters->name != NULL; parameters++) {
		if (parameters->value == NULL)
			continue;
		len += (size_t)snprintf(ret + len, size - len, "%c%s=", len == 0 ? '?' : '&',
					parameters->name);
		if (len + 1 >= size || (parameters->value[0] != '\0' &&
					!ctl_escape(parameters->value, ret + len, size - len))) {
			usage_error("--%s is too long", parameters->name);
			return false;
		}
		len += strlen(ret + len);
	}
	return true;
}
