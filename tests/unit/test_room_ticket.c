#include "test_base.h"

#include <errno.h>

#include "ticket.h"

static void test_a_ticket_names_its_connection_again(void **state)
{
	struct ticket_key key;
	uint8_t ticket[TICKET_SIZE];
	hf_handle connection = 0;
	uint32_t since = 0;

	assert_int_equal(ticket_key_init(&key), 0);
	assert_int_equal(ticket_make(&key, 0x0100002a, 1767225600, ticket), 0);
	assert_int_equal(ticket_read(&key, hf_bytes_of(ticket, sizeof(ticket)), &connection,
				     &since),
			 0);
	assert_int_equal(connection, 0x0100002a);
	assert_int_equal(since, 1767225600);
	ticket_key_deinit(&key);
}

static void test_any_bit_matters(void **state)
{
	struct ticket_key key;
	uint8_t ticket[TICKET_SIZE];
	hf_handle connection;
	uint32_t since;

	assert_int_equal(ticket_key_init(&key), 0);
	assert_int_equal(ticket_make(&key, 7, 9, ticket), 0);
	for (size_t bit = 0; bit < 8 * sizeof(ticket); bit++) {
		uint8_t *forged = exact_copy(ticket, sizeof(ticket));

		forged[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(ticket_read(&key, hf_bytes_of(forged, sizeof(ticket)), &connection,
					     &since),
				 -EACCES);
		free(forged);
	}
	for (size_t len = 0; len < sizeof(ticket); len++) {
		uint8_t *cut = exact_copy(ticket, len);

		assert_int_equal(ticket_read(&key, hf_bytes_of(cut, len), &connection, &since),
				 -EACCES);
		free(cut);
	}
	ticket_key_deinit(&key);
}

static void test_another_process_takes_no_ticket_of_ours(void **state)
{
	struct ticket_key ours, theirs;
	uint8_t ticket[TICKET_SIZE];
	hf_handle connection;
	uint32_t since;

	assert_int_equal(ticket_key_init(&ours), 0);
	assert_int_equal(ticket_key_init(&theirs), 0);
	assert_int_equal(ticket_make(&ours, 7, 9, ticket), 0);
	assert_int_equal(ticket_read(&theirs, hf_bytes_of(ticket, sizeof(ticket)), &connection,
				     &since),
			 -EACCES);
	ticket_key_deinit(&ours);
	ticket_key_deinit(&theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_ticket_names_its_connection_again),
		cmocka_unit_test(test_any_bit_matters),
		cmocka_unit_test(test_another_process_takes_no_ticket_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
