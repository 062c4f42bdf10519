/* tests/fuzz/fuzz_config.c - any bytes as a configuration: either refused with a message and
 * nothing left behind, or a configuration whose dump is read back the same. */
#include <stdio.h>
#include <stdlib.h>

#include "hf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct entry {
	char *bind;
	uint64_t backlog;
	struct hf_strings names;
};

struct sample {
	bool fast;
	uint64_t count, wait_ms, size;
	int level;
	char *name, *bind, *secret;
	struct hf_strings hosts;
	struct hf_list entries;
};

#define AT(member) offsetof(struct sample, member)

static const char *const levels[] = { "low", "high", NULL };

static const struct hf_option entry_options[] = {
	{ "bind", HF_OPT_ADDRESS, offsetof(struct entry, bind), NULL, 0, 0, "where" },
	{ "deep.backlog", HF_OPT_UINT, offsetof(struct entry, backlog), "128", 1, 1000, "waiting" },
	{ "deep.names", HF_OPT_STRINGS, offsetof(struct entry, names), "", 0, 4, "names" },
	{ 0 },
};

static const struct hf_option options[] = {
	{ "fast", HF_OPT_BOOL, AT(fast), "false", 0, 0, "speed" },
	{ "limits.count", HF_OPT_UINT, AT(count), "10", 1, 100, "how many" },
	{ "limits.size", HF_OPT_SIZE, AT(size), "64KiB", 0, 0, "largest" },
	{ "limits.wait", HF_OPT_MSEC, AT(wait_ms), "30s", 0, 0, "how long" },
	{ "level", HF_OPT_ENUM, AT(level), "low", 0, 0, "how much", .choices = levels },
	{ "name", HF_OPT_STRING, AT(name), "", 0, 64, "name" },
	{ "bind", HF_OPT_ADDRESS, AT(bind), "", 0, 0, "where" },
	{ "secret", HF_OPT_SECRET, AT(secret), "", 0, 64, "secret" },
	{ "hosts", HF_OPT_STRINGS, AT(hosts), "a, b", 0, 8, "hosts" },
	{ "entries", HF_OPT_LIST, AT(entries), "", 0, 8, "entries", .items = entry_options,
	  .item_size = sizeof(struct entry) },
	{ 0 },
};

static void check_dump(const struct sample *sample)
{
	char error[HF_CONFIG_ERROR_SIZE], *text = NULL;
	struct sample again = { 0 };
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		abort();
	hf_config_dump(options, sample, out);
	if (fclose(out) != 0 ||
	    hf_config_parse(options, "dump", text, len, NULL, 0, &again, error) != 0)
		abort();
	for (const struct hf_option *option = options; option->name != NULL; option++) {
		if (option->type != HF_OPT_SECRET && hf_config_differs(option, sample, &again))
			abort();
	}
	hf_config_deinit(options, &again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sample empty;
	char error[HF_CONFIG_ERROR_SIZE];
	struct sample sample = { 0 };
	int err =
		hf_config_parse(options, "fuzz", (const char *)data, size, NULL, 0, &sample, error);

	if (err == 0)
		check_dump(&sample);
	else if (error[0] == '\0' || memcmp(&sample, &empty, sizeof(sample)) != 0)
		abort();
	hf_config_deinit(options, &sample);
	return 0;
}
