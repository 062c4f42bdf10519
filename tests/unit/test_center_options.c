/* tests/unit/test_center_options.c - deploy/center.yaml is a whole and valid configuration of
 * center. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "center.h"

static void test_the_sample_is_what_stands_without_it(void **state)
{
	const struct hf_config_override keeper = { "keeper.backend",
						   "dir:/var/lib/holdfast/keeper" };
	struct center_config sample = { .api_bind = NULL }, defaults = { .api_bind = NULL };
	char error[HF_CONFIG_ERROR_SIZE] = "";

	if (hf_config_load(center_options, SAMPLE, NULL, 0, &sample, error) < 0)
		fail_msg("%s", error);
	assert_int_equal(hf_config_load(center_options, NULL, &keeper, 1, &defaults, error), 0);
	for (const struct hf_option *option = center_options; option->name != NULL; option++)
		if (hf_config_differs(option, &sample, &defaults))
			fail_msg("%s is not the default", option->name);
	hf_config_deinit(center_options, &sample);
	hf_config_deinit(center_options, &defaults);
}

static void test_the_sample_mentions_every_option(void **state)
{
	static char text[65536];
	FILE *file = fopen(SAMPLE, "r");
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	for (const struct hf_option *option = center_options; option->name != NULL; option++) {
		const char *dot = strrchr(option->name, '.');
		char key[64];

		snprintf(key, sizeof(key), "%s%s: ", dot != NULL ? "\n  " : "\n",
			 dot != NULL ? dot + 1 : option->name);
		if (strstr(text, key) == NULL)
			fail_msg("%s is not in the sample", option->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sample_is_what_stands_without_it),
		cmocka_unit_test(test_the_sample_mentions_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
