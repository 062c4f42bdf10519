#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_hash.h"
#include "slot_table.h"

static uint64_t hash_of(const struct slot_session *session)
{
	return hf_hash_registration(session->app, session->registration.data,
				    session->registration.len);
}

/* A session whose registration lies in `name`. */
static struct slot_session session_of(unsigned n, char name[32], uint64_t epoch)
{
	int len = snprintf(name, 32, "registration-%07u", n);

	return (struct slot_session){ .epoch = epoch,
				      .session = n + 1,
				      .app = 7,
				      .registration = hf_bytes_of(name, (size_t)len) };
}

static void put(struct slot_table *table, unsigned n, uint64_t epoch)
{
	char name[32];
	struct slot_session session = session_of(n, name, epoch);

	assert_int_equal(slot_table_put(table, hash_of(&session), &session), 0);
}

static bool find(const struct slot_table *table, unsigned n, struct slot_session *ret)
{
	char name[32];
	struct slot_session session = session_of(n, name, 0);

	return slot_table_find(table, hash_of(&session), 7, session.registration, ret);
}

static bool drop(struct slot_table *table, unsigned n)
{
	char name[32];
	struct slot_session session = session_of(n, name, 0);

	return slot_table_remove(table, hash_of(&session), 7, session.registration);
}

static void test_what_was_put_is_found_with_all_its_parts(void **state)
{
	struct slot_table table = { 0 };
	struct slot_session found;

	assert_false(find(&table, 0, &found));
	for (unsigned n = 0; n < 2000; n++)
		put(&table, n, 100 + n);
	for (unsigned n = 0; n < 2000; n++) {
		assert_true(find(&table, n, &found));
		assert_int_equal(found.epoch, 100 + n);
		assert_int_equal(found.session, n + 1);
		assert_int_equal(found.app, 7);
	}
	assert_false(find(&table, 2000, &found));
	assert_int_equal(table.count, 2000);
	slot_table_deinit(&table);
}

static void test_the_same_registration_is_replaced_in_place(void **state)
{
	struct slot_table table = { 0 };
	struct slot_session found;

	put(&table, 1, 10);
	put(&table, 1, 20);
	assert_int_equal(table.count, 1);
	assert_true(find(&table, 1, &found));
	assert_int_equal(found.epoch, 20);
	slot_table_deinit(&table);
}

static void test_another_app_with_the_same_registration_is_another_session(void **state)
{
	struct slot_table table = { 0 };
	char name[32];
	struct slot_session one = session_of(1, name, 10), two = one, found;

	two.app = 8;
	two.epoch = 20;
	assert_int_equal(slot_table_put(&table, hash_of(&one), &one), 0);
	assert_int_equal(slot_table_put(&table, hash_of(&two), &two), 0);
	assert_true(slot_table_find(&table, hash_of(&one), 7, one.registration, &found));
	assert_int_equal(found.epoch, 10);
	assert_true(slot_table_find(&table, hash_of(&two), 8, one.registration, &found));
	assert_int_equal(found.epoch, 20);
	slot_table_deinit(&table);
}

static void test_random_changes_agree_with_a_plain_array(void **state)
{
	enum { NAMES = 500, STEPS = 50000 };
	static uint64_t truth[NAMES]; /* epoch, 0: absent */
	struct slot_table table = { 0 };
	uint32_t count = 0;

	for (unsigned step = 1; step <= STEPS; step++) {
		unsigned n = (unsigned)hf_random_below(NAMES);
		struct slot_session found;

		if (hf_random_below(3) > 0) {
			count += truth[n] == 0;
			truth[n] = step;
			put(&table, n, step);
		} else {
			assert_int_equal(drop(&table, n), truth[n] != 0);
			count -= truth[n] != 0;
			truth[n] = 0;
		}
		n = (unsigned)hf_random_below(NAMES);
		assert_int_equal(find(&table, n, &found), truth[n] != 0);
		if (truth[n] != 0)
			assert_int_equal(found.epoch, truth[n]);
		assert_int_equal(table.count, count);
	}
	for (unsigned n = 0; n < NAMES; n++)
		drop(&table, n);
	assert_int_equal(slot_table_bytes(&table), 0);
	slot_table_deinit(&table);
}

static bool is_odd(const struct slot_session *session, void *ctx)
{
	++*(unsigned *)ctx;
	return session->epoch % 2 == 1;
}

static void test_remove_if_removes_exactly_those_named(void **state)
{
	struct slot_table table = { 0 };
	struct slot_session found;
	unsigned asked = 0;

	for (unsigned n = 0; n < 1000; n++)
		put(&table, n, n + 2);
	assert_int_equal(slot_table_remove_if(&table, is_odd, &asked), 500);
	assert_true(asked >= 1000);
	for (unsigned n = 0; n < 1000; n++)
		assert_int_equal(find(&table, n, &found), n % 2 == 0);
	slot_table_deinit(&table);
}

static void test_a_session_with_an_id_of_20_bytes_takes_64_bytes_or_less(void **state)
{
	struct slot_table table = { 0 };

	for (unsigned n = 0; n < 1000; n++)
		put(&table, n, n + 1);
	assert_true(slot_table_bytes(&table) <= 1000 * 64);
	/* And still after every one of them was replaced by another. */
	for (unsigned n = 0; n < 1000; n++) {
		put(&table, 1000 + n, n + 1);
		drop(&table, n);
	}
	assert_true(slot_table_bytes(&table) <= 1000 * 64);
	slot_table_deinit(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_put_is_found_with_all_its_parts),
		cmocka_unit_test(test_the_same_registration_is_replaced_in_place),
		cmocka_unit_test(test_another_app_with_the_same_registration_is_another_session),
		cmocka_unit_test(test_random_changes_agree_with_a_plain_array),
		cmocka_unit_test(test_remove_if_removes_exactly_those_named),
		cmocka_unit_test(test_a_session_with_an_id_of_20_bytes_takes_64_bytes_or_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
