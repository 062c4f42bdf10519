/* What the saver decides by time and count: redelivery, quarantine, history. The time is ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "history.h"
#include "owed.h"
#include "quarantine.h"

static struct saver_name named(const char *registration)
{
	struct saver_name name;

	assert_true(saver_name_set(&name, 1, 7, registration, strlen(registration)));
	return name;
}

static void test_a_message_falls_due_once_at_its_time(void **state)
{
	struct saver_name ana = named("ana");
	struct saver_owed owed;
	struct saver_owed_entry *entry;

	assert_int_equal(saver_owed_init(&owed, 10, 3000), 0);
	assert_true(saver_owed_add(&owed, &ana, 1, 1000));
	assert_null(saver_owed_due(&owed, 3999));
	entry = saver_owed_due(&owed, 4000);
	assert_int_equal(entry->message_id, 1);
	assert_null(saver_owed_due(&owed, 4000)); /* it is in hand */
	saver_owed_drop(&owed, entry);
	assert_int_equal(saver_owed_count(&owed), 0);
	saver_owed_deinit(&owed);
}

static void test_waits_double_up_to_a_minute_and_end(void **state)
{
	static const uint64_t waits[] = { 6000, 12000, 24000, 48000, 60000, 60000 };
	struct saver_name ana = named("ana");
	struct saver_owed owed;
	struct saver_owed_entry *entry;
	uint64_t now = 3000;

	assert_int_equal(saver_owed_init(&owed, 10, 3000), 0);
	assert_true(saver_owed_add(&owed, &ana, 1, 0));
	for (size_t i = 0; i < HF_ARRAY_LEN(waits); i++) {
		entry = saver_owed_due(&owed, now);
		assert_non_null(entry);
		assert_true(saver_owed_again(&owed, entry, now));
		assert_null(saver_owed_due(&owed, now + waits[i] - 1));
		now += waits[i];
	}
	entry = saver_owed_due(&owed, now);
	assert_non_null(entry);
	assert_false(saver_owed_again(&owed, entry, now));
	assert_int_equal(saver_owed_count(&owed), 0);
	saver_owed_deinit(&owed);
}

static void test_a_wait_that_could_not_be_used_costs_no_try(void **state)
{
	struct saver_name ana = named("ana");
	struct saver_owed owed;
	struct saver_owed_entry *entry;

	assert_int_equal(saver_owed_init(&owed, 10, 3000), 0);
	assert_true(saver_owed_add(&owed, &ana, 1, 0));
	for (uint64_t now = 3000; now < 90000; now += 3000) {
		entry = saver_owed_due(&owed, now);
		assert_non_null(entry);
		assert_int_equal(entry->level, 0);
		saver_owed_wait(&owed, entry, now);
	}
	saver_owed_deinit(&owed);
}

static void test_an_ack_ends_it_even_while_it_is_in_hand(void **state)
{
	struct saver_name ana = named("ana");
	struct saver_owed owed;
	struct saver_owed_entry *entry;
	hf_handle handle;

	assert_int_equal(saver_owed_init(&owed, 10, 3000), 0);
	saver_owed_add(&owed, &ana, 1, 0);
	saver_owed_add(&owed, &ana, 2, 0);
	saver_owed_forget(&owed, &ana, 2);
	entry = saver_owed_due(&owed, 9000);
	assert_int_equal(entry->message_id, 1);
	handle = entry->handle;
	saver_owed_forget(&owed, &ana, 1);
	assert_null(saver_owed_get(&owed, handle));
	assert_int_equal(saver_owed_count(&owed), 0);
	saver_owed_deinit(&owed);
}

static void test_a_full_tracker_takes_no_more_and_known_ones_are_fine(void **state)
{
	struct saver_name ana = named("ana"), bob = named("bob");
	struct saver_owed owed;

	assert_int_equal(saver_owed_init(&owed, 2, 3000), 0);
	assert_true(saver_owed_add(&owed, &ana, 1, 0));
	assert_true(saver_owed_add_due(&owed, &bob, 1, 0));
	assert_false(saver_owed_add(&owed, &ana, 2, 0));
	assert_true(saver_owed_add(&owed, &ana, 1, 0));
	assert_non_null(saver_owed_due(&owed, 0)); /* bob's, due at once */
	assert_null(saver_owed_due(&owed, 0));
	saver_owed_deinit(&owed);
}

static void make_quarantine(struct saver_quarantine *quarantine, uint32_t max)
{
	assert_int_equal(saver_quarantine_init(quarantine, max), 0);
	quarantine->loads = 3;
	quarantine->loads_time_ms = 1000;
	quarantine->deliveries = 2;
	quarantine->message_time_ms = 5000;
}

static void test_logins_that_never_ack_close_the_queue_for_a_time(void **state)
{
	struct saver_name bad = named("bad"), good = named("good");
	struct saver_quarantine q;

	make_quarantine(&q, 100);
	for (int i = 0; i < 2; i++) {
		assert_false(saver_quarantine_on_login_load(&q, &bad, 100));
		assert_true(saver_quarantine_closed(&q, &bad, 100) == 0);
	}
	assert_true(saver_quarantine_on_login_load(&q, &bad, 100));
	assert_true(saver_quarantine_closed(&q, &bad, 1099) == 1100);
	assert_true(saver_quarantine_closed(&q, &good, 100) == 0);
	assert_int_equal(q.registrations.quarantined, 1);

	/* Over: it gets as many tries again. */
	assert_true(saver_quarantine_closed(&q, &bad, 1100) == 0);
	assert_int_equal(q.registrations.quarantined, 0);
	assert_false(saver_quarantine_on_login_load(&q, &bad, 1100));
	saver_quarantine_deinit(&q);
}

static void test_any_ack_starts_the_count_again(void **state)
{
	struct saver_name ana = named("ana");
	struct saver_quarantine q;

	make_quarantine(&q, 100);
	for (int i = 0; i < 20; i++) {
		assert_false(saver_quarantine_on_login_load(&q, &ana, 100));
		assert_false(saver_quarantine_on_login_load(&q, &ana, 100));
		saver_quarantine_on_ack(&q, &ana, 77);
	}
	assert_false(saver_quarantine_on_login_load(&q, &ana, 100));
	assert_false(saver_quarantine_on_login_load(&q, &ana, 100));
	assert_true(saver_quarantine_on_login_load(&q, &ana, 100));
	saver_quarantine_on_ack(&q, &ana, 77);
	assert_true(saver_quarantine_closed(&q, &ana, 100) == 0);
	saver_quarantine_deinit(&q);
}

static void test_logins_that_follow_each_other_soon_count_once(void **state)
{
	struct saver_name ana = named("ana");
	struct saver_quarantine q;
	bool first = true, fresh;

	make_quarantine(&q, 100);
	q.patience_ms = 1000;
	for (uint64_t now = 5000; now < 7000; now += 100) { /* a tunnel: 20 logins in 2 s */
		assert_false(saver_quarantine_on_login_load(&q, &ana, now));
		saver_quarantine_on_delivery(&q, &ana, 1, HF_MIN(now, (uint64_t)5999));
	}
	assert_int_equal(saver_quarantine_deliveries(&q, &ana, 1), 1);
	assert_false(saver_quarantine_skips(&q, &ana, 1, 7000, &first, &fresh));
	assert_true(saver_quarantine_on_login_load(&q, &ana, 7000)); /* it goes on for too long */
	saver_quarantine_on_ack(&q, &ana, 1);
	assert_false(saver_quarantine_on_login_load(&q, &ana, 7000));
	/* A clock that was set back stops no count. */
	assert_false(saver_quarantine_on_login_load(&q, &ana, 4000));
	assert_true(saver_quarantine_on_login_load(&q, &ana, 5000));
	saver_quarantine_deinit(&q);
}

static void test_the_first_message_delivered_too_often_is_left_out_and_the_rest_goes_on(
	void **state)
{
	struct saver_name ana = named("ana");
	struct saver_quarantine q;
	bool first = true, fresh;

	make_quarantine(&q, 100);
	for (int i = 0; i < 2; i++) {
		saver_quarantine_on_delivery(&q, &ana, 1, 100);
		saver_quarantine_on_delivery(&q, &ana, 2, 100);
	}
	assert_int_equal(saver_quarantine_deliveries(&q, &ana, 1), 2);
	assert_true(saver_quarantine_skips(&q, &ana, 1, 100, &first, &fresh));
	assert_true(fresh);
	assert_false(saver_quarantine_skips(&q, &ana, 2, 100, &first, &fresh));

	/* The next load passes over it without news, and then suspects the next one. */
	first = true;
	assert_true(saver_quarantine_skips(&q, &ana, 1, 200, &first, &fresh));
	assert_false(fresh);
	assert_true(first);
	assert_true(saver_quarantine_skips(&q, &ana, 2, 200, &first, &fresh));

	/* When its time is over it is delivered again, from a count of 0. */
	first = true;
	assert_false(saver_quarantine_skips(&q, &ana, 1, 5100, &first, &fresh));
	assert_int_equal(saver_quarantine_deliveries(&q, &ana, 1), 0);
	saver_quarantine_on_ack(&q, &ana, 1);
	saver_quarantine_on_removed(&q, &ana, 2);
	assert_int_equal(q.messages.quarantined, 0);
	assert_int_equal(q.messages.table.count, 0);
	saver_quarantine_deinit(&q);
}

static void test_the_least_lately_seen_leaves_a_full_table(void **state)
{
	struct saver_name a = named("a"), b = named("b"), c = named("c");
	struct saver_quarantine q;

	make_quarantine(&q, 2);
	saver_quarantine_on_delivery(&q, &a, 1, 100);
	saver_quarantine_on_delivery(&q, &b, 1, 100);
	saver_quarantine_on_delivery(&q, &a, 1, 100);
	saver_quarantine_on_delivery(&q, &c, 1, 100); /* b's count goes */
	assert_int_equal(saver_quarantine_deliveries(&q, &a, 1), 2);
	assert_int_equal(saver_quarantine_deliveries(&q, &b, 1), 0);
	assert_int_equal(saver_quarantine_deliveries(&q, &c, 1), 1);
	saver_quarantine_deinit(&q);
}

static void test_history_counts_each_fate_and_forgets_the_oldest(void **state)
{
	struct saver_history history;
	const struct saver_history_record *record;

	assert_int_equal(saver_history_init(&history, 2), 0);
	for (int i = 0; i < 4; i++)
		saver_history_stored(&history, 7, 1, 1, 500, false);
	saver_history_left(&history, 7, 1, SAVER_ACKED);
	saver_history_left(&history, 7, 1, SAVER_EXPIRED);
	saver_history_left(&history, 7, 1, SAVER_DROPPED);
	saver_history_left(&history, 7, 1, SAVER_PURGED);
	saver_history_left(&history, 7, 99, SAVER_ACKED); /* unknown stays unknown */
	record = saver_history_find(&history, 7, 1);
	assert_int_equal(record->counts[SAVER_STORED], 4);
	assert_int_equal(record->counts[SAVER_ACKED], 1);
	assert_int_equal(record->counts[SAVER_EXPIRED], 1);
	assert_int_equal(record->counts[SAVER_DROPPED], 2);
	assert_null(saver_history_find(&history, 8, 1));
	assert_null(saver_history_find(&history, 7, 99));

	saver_history_stored(&history, 7, 2, 1, 500, true);
	saver_history_stored(&history, 7, 3, 1, 500, false);
	assert_null(saver_history_find(&history, 7, 1));
	assert_non_null(saver_history_find(&history, 7, 2));
	assert_non_null(saver_history_find(&history, 7, 3));
	assert_true(saver_history_plain(&history, 7, 3));
	assert_false(saver_history_plain(&history, 7, 2)); /* it has options */
	assert_false(saver_history_plain(&history, 7, 1)); /* who knows? */
	saver_history_stored(&history, 7, 3, 1, 500, true);
	saver_history_stored(&history, 7, 3, 1, 500, false);
	assert_false(saver_history_plain(&history, 7, 3)); /* for one registration it has */
	saver_history_deinit(&history);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_falls_due_once_at_its_time),
		cmocka_unit_test(test_waits_double_up_to_a_minute_and_end),
		cmocka_unit_test(test_a_wait_that_could_not_be_used_costs_no_try),
		cmocka_unit_test(test_an_ack_ends_it_even_while_it_is_in_hand),
		cmocka_unit_test(test_a_full_tracker_takes_no_more_and_known_ones_are_fine),
		cmocka_unit_test(test_logins_that_never_ack_close_the_queue_for_a_time),
		cmocka_unit_test(test_any_ack_starts_the_count_again),
		cmocka_unit_test(test_logins_that_follow_each_other_soon_count_once),
		cmocka_unit_test(
			test_the_first_message_delivered_too_often_is_left_out_and_the_rest_goes_on),
		cmocka_unit_test(test_the_least_lately_seen_leaves_a_full_table),
		cmocka_unit_test(test_history_counts_each_fate_and_forgets_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
