/* hf_apps: documents become apps, bad ones change nothing, and keys are checked. */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf_apps.h"

#define PATIENCE_MS 20000
/* SHA-256 of "secret" */
#define SHA256_OF_SECRET "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
/* base64 of "0123456789abcdef" */
#define TOKEN_SECRET "MDEyMzQ1Njc4OWFiY2RlZg=="

#define DOCUMENT                                                                       \
	"{\"id\":7,\"name\":\"shop\",\"enabled\":true,"                                \
	"\"token_keys\":[{\"id\":\"k1\",\"secret\":\"" TOKEN_SECRET "\"}],"            \
	"\"api_keys\":[{\"id\":\"ak_1\",\"secret_sha256\":\"" SHA256_OF_SECRET         \
	"\",\"role\":\"admin\",\"expires_at\":1769860798}],"                           \
	"\"limits\":{\"messages_per_second\":500,\"burst\":1000,\"payload\":\"8KiB\"," \
	"\"stored_per_registration\":50}}"

static int decode(const char *text, struct hf_app *ret, char *error)
{
	size_t len = strlen(text);
	char *exact = malloc(len > 0 ? len : 1);
	int err;

	assert_non_null(exact);
	memcpy(exact, text, len);
	err = hf_app_decode(exact, len, ret, error);
	free(exact);
	return err;
}

static void test_the_documented_example_decodes(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE];
	struct hf_app app;

	assert_int_equal(decode(DOCUMENT, &app, error), 0);
	assert_int_equal(app.id, 7);
	assert_string_equal(app.name, "shop");
	assert_true(app.enabled);
	assert_int_equal(app.token_key_count, 1);
	assert_string_equal(app.token_keys[0].id, "k1");
	assert_int_equal(app.token_keys[0].secret_len, 16);
	assert_memory_equal(app.token_keys[0].secret, "0123456789abcdef", 16);
	assert_int_equal(app.api_key_count, 1);
	assert_int_equal(app.api_keys[0].role, HF_ROLE_ADMIN);
	assert_int_equal(app.api_keys[0].expires_ms, 1769860798000);
	assert_int_equal(app.messages_per_second, 500);
	assert_int_equal(app.burst, 1000);
	assert_int_equal(app.payload_max, 8192);
	assert_int_equal(app.stored_per_registration, 50);
}

static void test_the_smallest_document_gets_the_defaults(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE];
	struct hf_app app;

	assert_int_equal(decode("{\"id\":2147483647}", &app, error), 0);
	assert_int_equal(app.id, INT32_MAX);
	assert_string_equal(app.name, "");
	assert_true(app.enabled);
	assert_int_equal(app.token_key_count, 0);
	assert_int_equal(app.api_key_count, 0);
	assert_int_equal(app.messages_per_second, 10000);
	assert_int_equal(app.burst, 20000);
	assert_int_equal(app.payload_max, 4096);
	assert_int_equal(app.stored_per_registration, 100);
	assert_int_equal(app.broadcasts, 4);
	assert_int_equal(app.requests_per_second, 1000);
	assert_int_equal(decode("id: 3\nname: as YAML\n", &app, error), 0);
	assert_string_equal(app.name, "as YAML");
}

static void test_every_field_survives_the_trip(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE];
	struct hf_app in = { .id = 42,
			     .name = "caf\xc3\xa9 \"#: x\" \xf0\x9f\x9a\x80",
			     .token_key_count = HF_APP_TOKEN_KEYS_MAX,
			     .api_key_count = HF_APP_API_KEYS_MAX,
			     .messages_per_second = 1,
			     .burst = 2,
			     .payload_max = 65536,
			     .stored_per_registration = 1000,
			     .broadcasts = 100,
			     .requests_per_second = 1000000 };
	struct hf_app out;
	char *text;

	for (size_t i = 0; i < in.token_key_count; i++) {
		snprintf(in.token_keys[i].id, sizeof(in.token_keys[i].id), "2026-0%zu", i);
		in.token_keys[i].secret_len = i ? HF_TOKEN_SECRET_MAX : HF_TOKEN_SECRET_MIN;
		memset(in.token_keys[i].secret, 0xfb, in.token_keys[i].secret_len);
	}
	for (size_t i = 0; i < in.api_key_count; i++) {
		snprintf(in.api_keys[i].id, sizeof(in.api_keys[i].id), "%032zu", i);
		memset(in.api_keys[i].secret_sha256, (int)i, 32);
		in.api_keys[i].role = (enum hf_role)(i % 3);
		in.api_keys[i].expires_ms = i * 1000;
		in.api_keys[i].requests_per_second = (uint32_t)i;
		in.api_keys[i].network_count = i % 2 ? HF_API_KEY_NETWORKS : 0;
		for (size_t j = 0; j < in.api_keys[i].network_count; j++)
			assert_int_equal(hf_cidr_parse(j % 2 ? "10.0.0.0/8" : "2001:db8::/32",
						       &in.api_keys[i].networks[j]),
					 0);
	}
	text = hf_app_encode(&in);
	assert_non_null(text);
	assert_int_equal(decode(text, &out, error), 0);
	free(text);
	assert_memory_equal(&in, &out, sizeof(in));
}

static void test_bad_documents_are_refused_by_name(void **state)
{
	static const struct {
		const char *text, *word; /* what the message must name */
	} cases[] = {
		{ "", "id" },
		{ "{}", "id" },
		{ "[1]", "app" },
		{ "{\"id\":0}", "id" },
		{ "{\"id\":2147483648}", "id" },
		{ "{\"id\":1,\"nmae\":\"x\"}", "nmae" },
		{ "{\"id\":1,\"enabled\":3}", "enabled" },
		{ "{\"id\":1,\"limits\":{\"payload\":\"65KiB\"}}", "limits.payload" },
		{ "{\"id\":1,\"limits\":{\"stored_per_registration\":0}}",
		  "limits.stored_per_registration" },
		{ "{\"id\":1,\"token_keys\":[{\"id\":\"k\"}]}", "secret" },
		{ "{\"id\":1,\"token_keys\":[{\"id\":\"k\",\"secret\":\"short\"}]}", "secret" },
		{ "{\"id\":1,\"token_keys\":[{\"id\":\"k\",\"secret\":"
		  "\"MDEyMzQ1Njc4OWFiY2Rl????\"}]}",
		  "not base64" },
		{ "{\"id\":1,\"token_keys\":[{\"id\":\"k\",\"secret\":\"" TOKEN_SECRET "\"},"
		  "{\"id\":\"k\",\"secret\":\"" TOKEN_SECRET "\"}]}",
		  "used twice" },
		{ "{\"id\":1,\"token_keys\":[{\"id\":\"a\",\"secret\":\"" TOKEN_SECRET "\"},"
		  "{\"id\":\"b\",\"secret\":\"" TOKEN_SECRET "\"},"
		  "{\"id\":\"c\",\"secret\":\"" TOKEN_SECRET "\"}]}",
		  "token_keys" },
		{ "{\"id\":1,\"api_keys\":[{\"id\":\"k\",\"secret_sha256\":\"zz\"}]}",
		  "secret_sha256" },
		{ "{\"id\":1,\"api_keys\":[{\"id\":\"k\",\"secret_sha256\":"
		  "\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25g\"}]}",
		  "hex" },
		{ "{\"id\":1,\"api_keys\":[{\"id\":\"k\",\"secret_sha256\":\"" SHA256_OF_SECRET
		  "\",\"role\":\"root\"}]}",
		  "role" },
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
		char error[HF_CONFIG_ERROR_SIZE] = "";
		struct hf_app app = { .id = 99 };

		assert_int_equal(decode(cases[i].text, &app, error), -EINVAL);
		assert_int_equal(app.id, 99);
		if (strstr(error, cases[i].word) == NULL)
			fail_msg("\"%s\" does not name %s", error, cases[i].word);
	}
}

static void test_a_secret_never_comes_from_a_file_or_the_environment(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE];
	struct hf_app app;

	assert_int_equal(decode("{\"id\":1,\"token_keys\":[{\"id\":\"k\",\"secret_file\":"
				"\"/etc/hostname\"}]}",
				&app, error),
			 -EINVAL);
	setenv("HF_TEST_SECRET", TOKEN_SECRET, 1);
	assert_int_equal(decode("{\"id\":1,\"token_keys\":[{\"id\":\"k\",\"secret\":"
				"\"${HF_TEST_SECRET}\"}]}",
				&app, error),
			 -EINVAL);
}

static void test_a_key_needs_its_secret(void **state)
{
	char error[HF_CONFIG_ERROR_SIZE];
	uint8_t huge[1024] = { 0 };
	struct hf_app app;

	assert_int_equal(decode(DOCUMENT, &app, error), 0);
	assert_ptr_equal(hf_app_check_key(&app, HF_BYTES_LITERAL("ak_1"),
					  HF_BYTES_LITERAL("secret")),
			 &app.api_keys[0]); /* expired: the caller looks at expires_ms */
	assert_null(hf_app_check_key(&app, HF_BYTES_LITERAL("ak_1"), HF_BYTES_LITERAL("Secret")));
	assert_null(hf_app_check_key(&app, HF_BYTES_LITERAL("ak_1"), HF_BYTES_LITERAL("")));
	assert_null(hf_app_check_key(&app, HF_BYTES_LITERAL("ak_2"), HF_BYTES_LITERAL("secret")));
	assert_null(hf_app_check_key(&app, HF_BYTES_LITERAL("ak_"), HF_BYTES_LITERAL("secret")));
	assert_null(hf_app_check_key(&app, HF_BYTES_LITERAL(""), HF_BYTES_LITERAL("secret")));
	assert_null(
		hf_app_check_key(&app, HF_BYTES_LITERAL("ak_1"), hf_bytes_of(huge, sizeof(huge))));
}

struct fixture {
	char folder[64];
	struct hf_loop *loop;
	struct hf_keeper *keeper;
	struct hf_apps *apps;
	unsigned changes;
};

static void on_change(struct hf_apps *apps, void *ctx)
{
	((struct fixture *)ctx)->changes++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char spec[96];

	assert_non_null(f);
	strcpy(f->folder, "/tmp/hf-apps-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(spec, sizeof(spec), "dir:%s", f->folder);
	f->loop = hf_loop_new();
	assert_non_null(f->loop);
	assert_int_equal(hf_keeper_open(f->loop, spec, &f->keeper), 0);
	assert_int_equal(hf_apps_new(f->keeper, on_change, f, &f->apps), 0);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hf_apps_free(f->apps);
	hf_keeper_close(f->keeper);
	hf_loop_free(f->loop);
	nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void on_timeout(struct hf_timer *timer, void *ctx)
{
	fail_msg("nothing happened in time");
}

static void wait_for_change(struct fixture *f)
{
	unsigned before = f->changes;
	struct hf_timer guard;

	hf_timer_init(&guard, on_timeout, NULL);
	hf_loop_arm(f->loop, &guard, PATIENCE_MS);
	while (f->changes == before)
		hf_loop_turn(f->loop, true);
	hf_wheel_disarm(&guard);
}

static void put(struct fixture *f, const char *path, const char *text)
{
	assert_int_equal(hf_keeper_set(f->keeper, path, text, strlen(text)), 0);
}

static void test_apps_follow_the_keeper_in_order_of_their_ids(void **state)
{
	struct fixture *f = *state;

	assert_false(hf_apps_known(f->apps));
	wait_for_change(f);
	assert_true(hf_apps_known(f->apps));
	assert_int_equal(hf_apps_count(f->apps), 0);
	assert_null(hf_apps_get(f->apps, 7));
	assert_null(hf_apps_after(f->apps, 0));

	put(f, "apps/10", "{\"id\":10}");
	put(f, "apps/9", "{\"id\":9}");
	put(f, "apps/200", "{\"id\":200}");
	wait_for_change(f);
	assert_int_equal(hf_apps_count(f->apps), 3);
	assert_int_equal(hf_apps_after(f->apps, 0)->id, 9);
	assert_int_equal(hf_apps_after(f->apps, 9)->id, 10);
	assert_int_equal(hf_apps_after(f->apps, 10)->id, 200);
	assert_null(hf_apps_after(f->apps, 200));
	assert_null(hf_apps_after(f->apps, UINT32_MAX));
	assert_int_equal(hf_apps_get(f->apps, 10)->id, 10);
	assert_null(hf_apps_get(f->apps, 11));

	assert_int_equal(hf_keeper_remove(f->keeper, "apps/10"), 0);
	wait_for_change(f);
	assert_null(hf_apps_get(f->apps, 10));
	assert_int_equal(hf_apps_count(f->apps), 2);
}

static void test_a_broken_definition_leaves_the_one_before_in_force(void **state)
{
	struct fixture *f = *state;

	put(f, "apps/7", "{\"id\":7,\"name\":\"good\"}");
	wait_for_change(f);
	put(f, "apps/7", "{\"id\":7,\"name\":");
	wait_for_change(f);
	assert_string_equal(hf_apps_get(f->apps, 7)->name, "good");
	put(f, "apps/7", "{\"id\":8,\"name\":\"another's\"}");
	wait_for_change(f);
	assert_string_equal(hf_apps_get(f->apps, 7)->name, "good");
	assert_null(hf_apps_get(f->apps, 8));
	put(f, "apps/7", "{\"id\":7,\"name\":\"better\"}");
	wait_for_change(f);
	assert_string_equal(hf_apps_get(f->apps, 7)->name, "better");
}

static void test_names_that_are_no_app_ids_are_ignored(void **state)
{
	struct fixture *f = *state;

	put(f, "apps/07", "{\"id\":7}");
	put(f, "apps/shop", "{\"id\":8}");
	put(f, "apps/4294967303", "{\"id\":7}");
	put(f, "apps/0", "{\"id\":7}");
	put(f, "apps/broken", "{");
	put(f, "apps/5", "{");
	put(f, "apps/6", "{\"id\":6}");
	wait_for_change(f);
	assert_int_equal(hf_apps_count(f->apps), 1);
	assert_int_equal(hf_apps_after(f->apps, 0)->id, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_documented_example_decodes),
		cmocka_unit_test(test_the_smallest_document_gets_the_defaults),
		cmocka_unit_test(test_every_field_survives_the_trip),
		cmocka_unit_test(test_bad_documents_are_refused_by_name),
		cmocka_unit_test(test_a_secret_never_comes_from_a_file_or_the_environment),
		cmocka_unit_test(test_a_key_needs_its_secret),
		cmocka_unit_test_setup_teardown(test_apps_follow_the_keeper_in_order_of_their_ids,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_broken_definition_leaves_the_one_before_in_force, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_that_are_no_app_ids_are_ignored, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
