/* token gen, token check: client tokens, made and checked here, without a cluster. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hf_clock.h"
#include "hf_text.h"
#include "hf_token.h"
#include "hfctl.h"

#define SECRET_TEXT_MAX 4096

/* The key from --key-id and --secret-file (standard base64, as the API gave it). */
static bool load_key(const char *id, const char *path, struct hf_token_key *ret)
{
	static char text[SECRET_TEXT_MAX + 4];
	static uint8_t secret[SECRET_TEXT_MAX];
	FILE *file;
	ssize_t decoded;
	size_t len;

	if (id == NULL || path == NULL || strlen(id) == 0 || strlen(id) > HF_TOKEN_KEY_ID_MAX) {
		usage_error("--key-id (1 to %d bytes) and --secret-file are needed",
			    HF_TOKEN_KEY_ID_MAX);
		return false;
	}
	file = fopen(path, "rb");
	if (file == NULL) {
		usage_error("%s: %s", path, strerror(errno));
		return false;
	}
	len = fread(text, 1, SECRET_TEXT_MAX, file);
	fclose(file);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	decoded = hf_base64_decode(text, len, false, secret);
	if (decoded < HF_TOKEN_SECRET_MIN || decoded > HF_TOKEN_SECRET_MAX) {
		usage_error("%s holds no base64 of %d to %d bytes", path, HF_TOKEN_SECRET_MIN,
			    HF_TOKEN_SECRET_MAX);
		return false;
	}
	*ret = (struct hf_token_key){ .secret_len = (size_t)decoded };
	memcpy(ret->id, id, strlen(id));
	memcpy(ret->secret, secret, (size_t)decoded);
	return true;
}

int command_token_gen(struct ctl *ctl, int argc, char **argv)
{
	const char *registration = NULL, *user = "", *ttl = "1h", *key_id = NULL, *secret = NULL;
	const struct ctl_option options[] = {
		{ "registration", "ID", "", &registration },
		{ "user", "ID", "", &user },
		{ "ttl", "TIME", "", &ttl },
		{ "key-id", "ID", "", &key_id },
		{ "secret-file", "FILE", "", &secret },
		{ 0 },
	};
	const char *words[1] = { NULL }, *app;
	struct hf_token_claims claims = { 0 };
	struct hf_token_key key;
	char token[HF_TOKEN_MAX + 1];
	uint64_t ttl_ms, now = hf_clock_wall_ms();
	int len;

	if (!ctl_parse(argc, argv, options, words, 0) || (app = ctl_app(ctl)) == NULL ||
	    !load_key(key_id, secret, &key))
		return EXIT_USAGE;
	if (registration == NULL ||
	    !hf_text_is_id(registration, strlen(registration), HF_REGISTRATION_MAX))
		return usage_error("--registration must be 1 to %d bytes of UTF-8",
				   HF_REGISTRATION_MAX);
	if (strlen(user) > HF_USER_ID_MAX)
		return usage_error("--user must be at most %d bytes", HF_USER_ID_MAX);
	if (hf_text_parse_duration(ttl, 1000, &ttl_ms) < 0 || ttl_ms == 0)
		return usage_error("--ttl must be a time such as 30m or 24h");
	claims.app = (uint32_t)strtoul(app, NULL, 10);
	claims.registration_len = strlen(registration);
	memcpy(claims.registration, registration, claims.registration_len);
	memcpy(claims.user_id, user, strlen(user));
	claims.expires_ms = now + ttl_ms;
	len = hf_token_sign(&claims, &key, now, token, sizeof(token));
	if (len < 0)
		return usage_error("the token would be longer than %d bytes", HF_TOKEN_MAX);
	if (ctl->json)
		printf("{\"token\": \"%s\"}\n", token);
	else
		puts(token);
	return EXIT_OK;
}

int command_token_check(struct ctl *ctl, int argc, char **argv)
{
	const char *registration = NULL, *key_id = NULL, *secret = NULL;
	const struct ctl_option options[] = {
		{ "registration", "ID", "", &registration },
		{ "key-id", "ID", "", &key_id },
		{ "secret-file", "FILE", "", &secret },
		{ 0 },
	};
	const char *words[2] = { NULL }, *app;
	struct hf_token_claims claims;
	struct hf_token_key key;
	enum hf_token_result result;
	char expires[HF_CLOCK_TEXT_SIZE];
	json_t *answer;

	if (!ctl_parse(argc, argv, options, words, 1) || (app = ctl_app(ctl)) == NULL ||
	    !load_key(key_id, secret, &key))
		return EXIT_USAGE;
	if (words[0] == NULL || registration == NULL)
		return usage_error("token check needs a token and --registration");
	result = hf_token_check(hf_bytes_of_string(words[0]), &key, 1,
				(uint32_t)strtoul(app, NULL, 10), hf_bytes_of_string(registration),
				hf_clock_wall_ms(), &claims);
	answer = json_pack("{s:s}", "result", hf_token_result_name(result));
	if (result == HF_TOKEN_OK) {
		hf_clock_format(claims.expires_ms, expires);
		json_object_set_new(answer, "expires_at", json_string(expires));
		json_object_set_new(answer, "user_id", json_string(claims.user_id));
	}
	show_object(ctl, answer);
	json_decref(answer);
	return result == HF_TOKEN_OK ? EXIT_OK : EXIT_REFUSED;
}
