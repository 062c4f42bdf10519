/* Addresses, names and tokens: found before the first connection, the same for all workers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "fetch.h"
#include "hf_clock.h"
#include "hf_text.h"

#define TEXT_MAX        8192
#define DISPATCHER_ASKS 64 /* an answer names 4 rooms of those there are */

#define SOURCE_CONNECTIONS 7000 /* of one source address to one room */

static int fail(const char *what, const char *detail)
{
	fprintf(stderr, "hf-bench: %s: %s\n", what, detail);
	return EXIT_USAGE;
}

int url_parse(const char *url, struct target *ret, char host[128], const char **ret_path)
{
	const char *start = url, *end;
	char address[160];

	if (strncmp(url, "http://", 7) == 0)
		start += 7;
	else if (strstr(url, "://") != NULL)
		return -EINVAL;
	end = strchrnul(start, '/');
	if (end == start || end - start >= 128)
		return -EINVAL;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	*ret_path = *end == '/' ? end : "/";
	snprintf(address, sizeof(address), "%s%s", host, strrchr(host, ':') == NULL ? ":80" : "");
	return fetch_resolve(address, ret, 1) < 0 ? -EINVAL : 0;
}

/* The first word of the next line, malloc'd; NULL where there is none, or no end of it. */
static char *read_word(FILE *file)
{
	char line[TEXT_MAX];

	if (fgets(line, sizeof(line), file) == NULL || strlen(line) == sizeof(line) - 1)
		return NULL;
	line[strcspn(line, "\r\n \t")] = '\0';
	return line[0] != '\0' ? strdup(line) : NULL;
}

/* The first line of a file, malloc'd; or NULL, and the reason is told. */
static char *read_line(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line;
	int err;

	if (file == NULL) {
		fail(path, strerror(errno));
		return NULL;
	}
	line = read_word(file);
	err = ferror(file) ? errno : 0;
	fclose(file);
	if (line == NULL)
		fail(path, err != 0 ? strerror(err)
				    : "has no text in its first line, or one of over 8000 bytes");
	return line;
}

static int read_key(const struct options *options, struct targets *ret)
{
	char *text = read_line(options->token_secret_file);
	uint8_t secret[TEXT_MAX];
	ssize_t len;

	if (text == NULL)
		return EXIT_USAGE;
	len = hf_base64_decode(text, strlen(text), false, secret);
	free(text);
	if (len < HF_TOKEN_SECRET_MIN || len > HF_TOKEN_SECRET_MAX ||
	    strlen(options->token_key_id) > HF_TOKEN_KEY_ID_MAX)
		return fail(options->token_secret_file, "no secret in base64 of 16 to 128 bytes");
	snprintf(ret->key.id, sizeof(ret->key.id), "%s", options->token_key_id);
	memcpy(ret->key.secret, secret, (size_t)len);
	ret->key.secret_len = (size_t)len;
	ret->has_key = true;
	return 0;
}

static int read_tokens(const struct options *options, struct targets *ret)
{
	FILE *file = fopen(options->token_file, "re");
	char *token;
	int err;

	if (file == NULL)
		return fail(options->token_file, strerror(errno));
	ret->tokens = calloc(options->count, sizeof(*ret->tokens));
	while (ret->tokens != NULL && ret->token_count < options->count &&
	       (token = read_word(file)) != NULL)
		ret->tokens[ret->token_count++] = token;
	err = ferror(file) ? errno : 0;
	fclose(file);
	if (err != 0)
		return fail(options->token_file, strerror(err));
	if (ret->token_count < options->count)
		return fail(options->token_file, "holds fewer tokens than there are clients");
	return 0;
}

/* All addresses of a name are rooms: a name of several is how people spread devices over them. */
static int add_room(struct targets *ret, const char *address)
{
	struct target found[LIST_MAX];
	int count = fetch_resolve(address, found, HF_ARRAY_LEN(found));
	size_t k;

	for (int i = 0; i < count; i++) {
		for (k = 0; k < ret->count; k++) {
			if (ret->rooms[k].len == found[i].len &&
			    memcmp(&ret->rooms[k].address, &found[i].address, found[i].len) == 0)
				break;
		}
		if (k == ret->count && ret->count < LIST_MAX)
			ret->rooms[ret->count++] = found[i];
	}
	return count < 0 ? count : 0;
}

/* Each answer lists "ADDRESS TRANSPORT WEIGHT" lines of the rooms for one registration. */
static int ask_dispatcher(const struct options *options, struct targets *ret)
{
	struct target dispatcher;
	const char *path;
	int err = 0;
	char host[128], question[512], why[FETCH_WHY], *answer;

	if (url_parse(options->dispatcher, &dispatcher, host, &path) < 0)
		return fail(options->dispatcher, "is no http://HOST:PORT of a known host");
	for (unsigned i = 0; err == 0 && i < DISPATCHER_ASKS; i++) {
		char *body, *line;

		snprintf(question, sizeof(question),
			 "/v1/endpoints?format=text&app_id=%llu&registration_id=%s%u",
			 (unsigned long long)options->app, "bench-", i);
		answer = body = fetch_get(&dispatcher, host, question, TEXT_MAX, why);
		if (answer == NULL) {
			fprintf(stderr, "hf-bench: %s: names no room for app %llu: %s\n",
				options->dispatcher, (unsigned long long)options->app, why);
			return EXIT_UNREACHABLE;
		}
		while (err == 0 && (line = strsep(&body, "\r\n")) != NULL) {
			char *transport = strchr(line, ' ');

			if (transport == NULL || strncmp(transport, " tcp", 4) != 0)
				continue;
			*transport = '\0';
			if (add_room(ret, line) < 0)
				err = fail(line, "is no address");
		}
		free(answer);
	}
	if (err != 0 || ret->count > 0)
		return err;
	fail(options->dispatcher, "names no room that speaks TCP");
	return EXIT_UNREACHABLE;
}

static int add_source(struct targets *ret, const char *text)
{
	struct target *target = &ret->sources[ret->source_count];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&target->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&target->address;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		target->len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		target->len = sizeof(*v6);
	} else {
		return fail(text, "is no address");
	}
	ret->source_count++;
	return 0;
}

/* A connect() looks through half of the port range before it takes a port of the other half: from
 * 14,000 connections between two addresses on, each takes milliseconds. On the loopback there are
 * addresses enough to stay below that. */
static int add_loopback_sources(const struct options *options, struct targets *ret)
{
	uint64_t wanted =
		(options->count / ret->count + SOURCE_CONNECTIONS - 1) / SOURCE_CONNECTIONS;
	char text[32];
	int err = 0;

	for (size_t i = 0; i < ret->count; i++) {
		const struct sockaddr_in *room = (const struct sockaddr_in *)&ret->rooms[i].address;

		if (room->sin_family != AF_INET || ntohl(room->sin_addr.s_addr) >> 24 != 127)
			return 0;
	}
	for (unsigned i = 0; err == 0 && wanted > 1 && i < HF_MIN(wanted, LIST_MAX); i++) {
		snprintf(text, sizeof(text), "127.0.0.%u", i + 1);
		err = add_source(ret, text);
	}
	return err;
}

static int check_url(const char *url)
{
	struct target target;
	const char *path;
	char host[128];

	if (strncmp(url, "https://", 8) == 0)
		return fail(url, "https is not spoken here: go past the proxy that ends it");
	if (url_parse(url, &target, host, &path) < 0)
		return fail(url, "is no http://HOST:PORT of a known host");
	return 0;
}

int targets_open(const struct options *options, struct targets *ret)
{
	int err = 0;

	*ret = (struct targets){ 0 };
	if (options->key_file != NULL) {
		ret->api_key = read_line(options->key_file);
		if (ret->api_key == NULL)
			return EXIT_USAGE;
	}
	if (options->command & COMMANDS_LOAD)
		return check_url(options->url);
	if (!(options->command & COMMANDS_CLIENT))
		return 0;
	err = options->token_file != NULL ? read_tokens(options, ret) : read_key(options, ret);
	for (size_t i = 0; err == 0 && i < options->ifaddrs.count; i++)
		err = add_source(ret, options->ifaddrs.items[i]);
	for (size_t i = 0; err == 0 && i < options->addresses.count; i++) {
		if (add_room(ret, options->addresses.items[i]) < 0)
			err = fail(options->addresses.items[i], "is no HOST:PORT of a known host");
	}
	if (err == 0 && options->dispatcher != NULL)
		err = ask_dispatcher(options, ret);
	if (err == 0 && options->ifaddrs.count == 0)
		err = add_loopback_sources(options, ret);
	return err;
}

void targets_close(struct targets *targets)
{
	for (size_t i = 0; i < targets->token_count; i++)
		free(targets->tokens[i]);
	free(targets->tokens);
	free(targets->api_key);
}

size_t targets_registration(const struct options *options, uint64_t number,
			    char ret[HF_REGISTRATION_MAX + 1])
{
	int len = snprintf(ret, HF_REGISTRATION_MAX + 1, "%s%llu", options->prefix,
			   (unsigned long long)(options->start_number + number));

	return (size_t)HF_MIN(len, HF_REGISTRATION_MAX);
}

int targets_token(const struct options *options, const struct targets *targets, uint64_t number,
		  char *ret, size_t size)
{
	uint64_t now_ms = hf_clock_wall_ms();
	struct hf_token_claims claims = { .app = (uint32_t)options->app,
					  .expires_ms = now_ms + 86400000 };

	if (!targets->has_key)
		return snprintf(ret, size, "%s", targets->tokens[number]);
	claims.registration_len = targets_registration(options, number, claims.registration);
	return hf_token_sign(&claims, &targets->key, now_ms, ret, size);
}
