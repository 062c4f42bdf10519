#include "test_base.h"

#include <stdio.h>

#include "coordinator.h"

/* Is the last part of an option's name in `text`, as a key? */
static bool mentions(const char *text, const char *name)
{
	const char *dot = strrchr(name, '.');
	char key[64];

	snprintf(key, sizeof(key), "%s:", dot == NULL ? name : dot + 1);
	return strstr(text, key) != NULL;
}

static void test_the_sample_is_valid_and_mentions_every_option(void **state)
{
	struct coordinator_config config = { 0 };
	char error[HF_CONFIG_ERROR_SIZE] = "", text[16384];
	FILE *file = fopen(SAMPLE, "r");
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	if (hf_config_parse(coordinator_options, SAMPLE, text, len, NULL, 0, &config, error) < 0)
		fail_msg("%s", error);
	hf_config_deinit(coordinator_options, &config);
	for (const struct hf_option *option = coordinator_options; option->name != NULL; option++)
		if (!mentions(text, option->name))
			fail_msg("%s does not mention %s", SAMPLE, option->name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sample_is_valid_and_mentions_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
