/* The broadcast log as it lies in Redis, and its place among what is owed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "acked.h"
#include "log_value.h"

static uint8_t *exact_copy(const void *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, data, len);
	return copy;
}

/* What the script of LogAppend and LogChange makes of a tail: two spans, held. */
static uint8_t *value_of(const Hf__Broadcast *broadcast, size_t *ret_len)
{
	static const uint8_t head[] = {
		1, 1, 2, 0, 5, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 1, 1, 0, 0
	};
	size_t tail_len;
	uint8_t *tail = saver_log_tail_encode(broadcast, 1234, 5678, &tail_len), *value;

	assert_non_null(tail);
	*ret_len = sizeof(head) + tail_len;
	value = malloc(*ret_len);
	memcpy(value, head, sizeof(head));
	memcpy(value + sizeof(head), tail, tail_len);
	free(tail);
	return value;
}

static void test_a_value_is_read_as_it_is_written(void **state)
{
	Hf__Broadcast broadcast = HF__BROADCAST__INIT, *read;
	struct saver_log_meta meta;
	size_t len;
	uint8_t *value;

	broadcast.app = 7;
	broadcast.message_id = 11;
	broadcast.frame = (ProtobufCBinaryData){ 5, (uint8_t *)"frame" };
	value = value_of(&broadcast, &len);
	assert_true(saver_log_meta_decode(hf_bytes_of(value, len), &meta));
	assert_int_equal(meta.state, HF__LOG_STATE__HELD);
	assert_int_equal(meta.appended_ms, 1234);
	assert_int_equal(meta.frame_len, 5);
	assert_int_equal(meta.span_count, 2);
	assert_int_equal(saver_log_span(&meta, 0).from, 5);
	assert_int_equal(saver_log_span(&meta, 0).until, 7);
	assert_int_equal(saver_log_span(&meta, 1).from, 9);
	assert_int_equal(saver_log_span(&meta, 1).until, 257);
	read = hf__broadcast__unpack(NULL, meta.broadcast.len, meta.broadcast.data);
	assert_non_null(read);
	assert_int_equal(read->message_id, 11);
	assert_int_equal(read->expires_ms, 5678);
	assert_int_equal(read->frame.len, 0); /* it lies elsewhere */
	hf__broadcast__free_unpacked(read, NULL);
	free(value);
}

static void test_every_prefix_of_the_head_is_refused(void **state)
{
	Hf__Broadcast broadcast = HF__BROADCAST__INIT;
	struct saver_log_meta meta;
	size_t len;
	uint8_t *value = value_of(&broadcast, &len);

	for (size_t n = 0; n < 20 + SAVER_LOG_TAIL_HEADER; n++) {
		uint8_t *exact = exact_copy(value, n);

		assert_false(saver_log_meta_decode(hf_bytes_of(exact, n), &meta));
		free(exact);
	}
	value[0] = 2;
	assert_false(saver_log_meta_decode(hf_bytes_of(value, len), &meta));
	value[0] = 1;
	value[1] = 3; /* no such state */
	assert_false(saver_log_meta_decode(hf_bytes_of(value, len), &meta));
	value[1] = 0;
	value[2] = 255; /* more spans than bytes */
	assert_false(saver_log_meta_decode(hf_bytes_of(value, len), &meta));
	free(value);
}

static void test_a_recall_is_read_and_what_is_none_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = { { "", 0 },
		    { "vvvv", 4 },
		    { "vvv", 3 },
		    { "vvvv12x", 7 },
		    { "vvvv111111111111111111111", 25 } };
	uint64_t expires_ms;
	uint32_t version;

	assert_true(saver_log_recall_decode(HF_BYTES_LITERAL("\x05\x01\0\0"
							     "1795273965239"),
					    &version, &expires_ms));
	assert_true(version == 261 && expires_ms == 1795273965239);
	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
		uint8_t *exact = exact_copy(bad[i].bytes, bad[i].len);

		assert_false(
			saver_log_recall_decode(hf_bytes_of(exact, bad[i].len), NULL, &expires_ms));
		free(exact);
	}
}

static void check_merge(const uint64_t *queue, size_t queue_count, const uint64_t *log,
			size_t log_count, const uint64_t *wanted, size_t wanted_count)
{
	uint64_t *ids = malloc((queue_count + log_count + 1) * sizeof(*ids));

	for (size_t i = 0; i < queue_count; i++)
		ids[i] = queue[i];
	assert_int_equal(saver_ids_merge(ids, queue_count, log, log_count), wanted_count);
	for (size_t i = 0; i < wanted_count; i++)
		assert_true(ids[i] == wanted[i]);
	free(ids);
}

#define LIST(...) ((const uint64_t[]){ __VA_ARGS__ }), (sizeof((uint64_t[]){ __VA_ARGS__ }) / 8)

static void test_queue_and_log_are_merged_in_the_order_of_ids(void **state)
{
	check_merge(LIST(1, 3, 5), LIST(2, 4, 6), LIST(1, 2, 3, 4, 5, 6));
	check_merge(LIST(4, 5), LIST(1, 2), LIST(1, 2, 4, 5));
	check_merge(LIST(1, 2), LIST(4, 5), LIST(1, 2, 4, 5));
	check_merge(NULL, 0, LIST(4, 5), LIST(4, 5));
	check_merge(LIST(4, 5), NULL, 0, LIST(4, 5));
	check_merge(LIST(1, 2, 3), LIST(2), LIST(1, 2, 3)); /* once, if it is in both */
	check_merge(LIST(1, 2, 3), LIST(1, 2, 3, 9), LIST(1, 2, 3, 9));
}

static void test_an_id_is_found_where_it_is_and_nowhere_else(void **state)
{
	static const uint64_t ids[] = { 2, 4, UINT64_MAX };

	for (uint64_t id = 0; id < 6; id++)
		assert_int_equal(saver_ids_have(ids, 3, id), id == 2 || id == 4);
	assert_true(saver_ids_have(ids, 3, UINT64_MAX));
	assert_false(saver_ids_have(NULL, 0, 2));
	assert_int_equal(saver_ids_find(ids, 3, 3), 1);
	assert_int_equal(saver_ids_find(ids, 3, 5), 2);
}

static void test_a_broadcast_that_breaks_a_rule_is_named(void **state)
{
	static uint8_t large[SAVER_FRAME_MAX + 1];
	Hf__Broadcast broadcast = HF__BROADCAST__INIT;
	Hf__Audience audience = HF__AUDIENCE__INIT;

	broadcast.app = 7;
	broadcast.message_id = 11;
	broadcast.class_ = HF__CLASS__DURABLE;
	broadcast.frame = (ProtobufCBinaryData){ SAVER_FRAME_MAX, large };
	broadcast.audience = &audience;
	assert_null(saver_log_check(&broadcast));
	broadcast.frame.len++;
	assert_string_equal(saver_log_check(&broadcast), "BAD_FRAME");
	broadcast.frame.len = 1;
	audience.percentage = 101;
	assert_string_equal(saver_log_check(&broadcast), "BAD_AUDIENCE");
	audience.percentage = 100;
	broadcast.class_ = HF__CLASS__TRANSIENT;
	assert_string_equal(saver_log_check(&broadcast), "BAD_CLASS");
	broadcast.app = 0;
	assert_string_equal(saver_log_check(&broadcast), "BAD_ID");
}

static void test_an_acked_id_is_a_number_in_digits(void **state)
{
	static const uint64_t ids[] = { 1, 99999999, INT64_MAX, UINT64_MAX };
	static const char *const bad[] = {
		"", " 1", "-1", "1x", "18446744073709551616", "000000000000000000001"
	};
	uint8_t text[SAVER_ACKED_ID_MAX];
	uint64_t id;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		size_t len = saver_acked_id_encode(ids[i], text);
		uint8_t *exact = exact_copy(text, len);

		assert_true(saver_acked_id_decode(hf_bytes_of(exact, len), &id));
		assert_true(id == ids[i]);
		free(exact);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(saver_acked_id_decode(hf_bytes_of_string(bad[i]), &id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_value_is_read_as_it_is_written),
		cmocka_unit_test(test_every_prefix_of_the_head_is_refused),
		cmocka_unit_test(test_a_recall_is_read_and_what_is_none_is_refused),
		cmocka_unit_test(test_queue_and_log_are_merged_in_the_order_of_ids),
		cmocka_unit_test(test_an_id_is_found_where_it_is_and_nowhere_else),
		cmocka_unit_test(test_an_acked_id_is_a_number_in_digits),
		cmocka_unit_test(test_a_broadcast_that_breaks_a_rule_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
