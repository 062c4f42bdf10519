#define HF_LOG_MODULE "saver"
#include "health.h"

#include <stdlib.h>

#include "hf_log.h"

enum setting { APPENDONLY, APPENDFSYNC, EVICTION, SETTINGS };

static const char *const names[SETTINGS] = { "appendonly", "appendfsync", "maxmemory-policy" };
static const char *const wanted[SETTINGS] = { "yes", "always", "noeviction" };
static const char *const weak[SETTINGS] = { "appendonly is off", "appendfsync is not always",
					    "maxmemory-policy evicts" };

struct question {
	struct saver_health *health;
	unsigned node;
	enum setting setting;
};

struct node_health {
	struct question questions[SETTINGS];
	const char *weakness[SETTINGS];
	const char *told; /* the weakness that was logged last */
};

struct saver_health {
	struct saver_redis *redis;
	struct node_health nodes[SAVER_REDIS_NODES_MAX];
};

struct saver_health *saver_health_new(struct saver_redis *redis)
{
	struct saver_health *health = calloc(1, sizeof(*health));

	if (health == NULL)
		return NULL;
	health->redis = redis;
	for (unsigned node = 0; node < SAVER_REDIS_NODES_MAX; node++) {
		for (unsigned i = 0; i < SETTINGS; i++) {
			health->nodes[node].questions[i] =
				(struct question){ health, node, (enum setting)i };
			health->nodes[node].weakness[i] = "not asked yet";
		}
		health->nodes[node].told = "not asked yet";
	}
	return health;
}

void saver_health_free(struct saver_health *health)
{
	free(health);
}

static void on_setting(const redisReply *reply, enum saver_error error, void *ctx)
{
	struct question *question = ctx;
	struct node_health *node = &question->health->nodes[question->node];
	const char *weakness = "its CONFIG can't be read";

	if (error == SAVER_OK && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
	    reply->element[1]->type == REDIS_REPLY_STRING)
		weakness = strcmp(reply->element[1]->str, wanted[question->setting]) == 0
				   ? NULL
				   : weak[question->setting];
	node->weakness[question->setting] = weakness;
	if (question->setting != SETTINGS - 1)
		return;
	weakness = saver_health_weakness(question->health, question->node);
	if (weakness != node->told && weakness != NULL)
		HF_WARN("redis_weak", "node=%u durability=memory reason=%s", question->node,
			hf_log_quote(weakness, strlen(weakness)));
	else if (weakness != node->told)
		HF_INFO("redis_durable", "node=%u durability=fsync", question->node);
	node->told = weakness;
}

void saver_health_check(struct saver_health *health, unsigned number)
{
	for (unsigned i = 0; i < SETTINGS; i++) {
		struct hf_bytes words[3] = { HF_BYTES_LITERAL("CONFIG"), HF_BYTES_LITERAL("GET"),
					     hf_bytes_of_string(names[i]) };

		if (saver_redis_send_early(health->redis, number, SAVER_OP_CHECK, words, 3,
					   on_setting,
					   &health->nodes[number].questions[i]) != SAVER_OK)
			return;
	}
}

Hf__Durability saver_health_durability(const struct saver_health *health, unsigned number)
{
	return saver_health_weakness(health, number) == NULL ? HF__DURABILITY__FSYNC
							     : HF__DURABILITY__MEMORY;
}

const char *saver_health_weakness(const struct saver_health *health, unsigned number)
{
	for (unsigned i = 0; i < SETTINGS; i++) {
		if (health->nodes[number].weakness[i] != NULL)
			return health->nodes[number].weakness[i];
	}
	return NULL;
}
