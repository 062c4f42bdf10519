#include "test_base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "ip_limits.h"

struct fixture {
	struct ip_table table;
	struct ip_limits limits;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	return f == NULL || ip_table_init(&f->table, 1000) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ip_table_deinit(&f->table);
	free(f);
	return 0;
}

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		storage.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		storage.ss_family = AF_INET6;
	else
		storage.ss_family = AF_UNIX;
	return storage;
}

static enum ip_verdict opened(struct fixture *f, const char *from, uint64_t now_ms,
			      hf_handle *ret_handle)
{
	struct sockaddr_storage peer = address(from);

	return ip_opened(&f->table, &f->limits, &peer, now_ms, ret_handle);
}

static void sweep_all(struct fixture *f, uint64_t now_ms)
{
	for (int i = 0; i < 3; i++)
		ip_sweep(&f->table, 2000, now_ms);
}

static void test_connections_at_once_are_bounded_by_address(void **state)
{
	struct fixture *f = *state;
	hf_handle first, second, other;

	f->limits.connections = 2;
	assert_int_equal(opened(f, "192.0.2.1", 0, &first), IP_OK);
	assert_int_equal(opened(f, "192.0.2.1", 0, &second), IP_OK);
	assert_int_equal(opened(f, "192.0.2.1", 0, &other), IP_CONNECTIONS);
	assert_int_equal(opened(f, "192.0.2.2", 0, &other), IP_OK);
	ip_closed(&f->table, first, 0);
	assert_int_equal(opened(f, "192.0.2.1", 0, &first), IP_OK);
}

static void test_a_v6_network_of_64_bits_is_one_address(void **state)
{
	struct fixture *f = *state;
	hf_handle handle;

	f->limits.connections = 1;
	assert_int_equal(opened(f, "2001:db8::1", 0, &handle), IP_OK);
	assert_int_equal(opened(f, "2001:db8::ffff:2", 0, &handle), IP_CONNECTIONS);
	assert_int_equal(opened(f, "2001:db8:0:1::1", 0, &handle), IP_OK);
}

static void test_new_connections_a_second_are_bounded(void **state)
{
	struct fixture *f = *state;
	hf_handle handle;

	f->limits.accept_per_second = 5;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(opened(f, "192.0.2.1", 1000, &handle), IP_OK);
		ip_closed(&f->table, handle, 1000);
	}
	assert_int_equal(opened(f, "192.0.2.1", 1000, &handle), IP_ACCEPT_RATE);
	assert_int_equal(opened(f, "192.0.2.1", 1200, &handle), IP_OK);
}

static void test_failed_logins_bring_a_penalty_that_ends(void **state)
{
	struct fixture *f = *state;
	hf_handle handle, later;

	f->limits.failed_per_minute = 3;
	f->limits.penalty_ms = 30000;
	assert_int_equal(opened(f, "192.0.2.1", 0, &handle), IP_OK);
	for (int i = 0; i < 3; i++)
		assert_false(ip_login_failed(&f->table, &f->limits, handle, 1000));
	assert_true(ip_login_failed(&f->table, &f->limits, handle, 1000));
	assert_int_equal(opened(f, "192.0.2.1", 2000, &later), IP_PENALTY);
	ip_closed(&f->table, handle, 2000);
	sweep_all(f, 20000);
	assert_int_equal(opened(f, "192.0.2.1", 20000, &later), IP_PENALTY);
	assert_int_equal(opened(f, "192.0.2.1", 31001, &later), IP_OK);
}

static void test_an_entry_dies_when_it_is_not_needed(void **state)
{
	struct fixture *f = *state;
	hf_handle handle;

	assert_int_equal(opened(f, "192.0.2.1", 0, &handle), IP_OK);
	sweep_all(f, 100000);
	assert_int_equal(f->table.table.count, 1);
	ip_closed(&f->table, handle, 100000);
	sweep_all(f, 100500);
	assert_int_equal(f->table.table.count, 1); /* its rate still counts */
	sweep_all(f, 101001);
	assert_int_equal(f->table.table.count, 0);
	assert_int_equal(f->table.entries.live, 0);
}

static void test_a_full_table_lets_newcomers_in_uncounted(void **state)
{
	struct fixture *f = *state;
	hf_handle handle;
	char text[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.0.%d.%d", i / 250, i % 250);
		assert_int_equal(opened(f, text, 0, &handle), IP_OK);
		assert_int_not_equal(handle, 0);
	}
	assert_int_equal(opened(f, "192.0.2.1", 0, &handle), IP_OK);
	assert_int_equal(handle, 0);
	ip_closed(&f->table, handle, 0);
	assert_false(ip_login_failed(&f->table, &f->limits, handle, 0));
}

static void test_exempt_networks_and_unix_sockets_are_not_counted(void **state)
{
	struct fixture *f = *state;
	hf_handle handle;

	f->limits.connections = 1;
	f->limits.exempt_count = 2;
	assert_int_equal(hf_cidr_parse("10.0.0.0/8", &f->limits.exempt[0]), 0);
	assert_int_equal(hf_cidr_parse("2001:db8::/33", &f->limits.exempt[1]), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(opened(f, "10.255.0.1", 0, &handle), IP_OK);
		assert_int_equal(opened(f, "2001:db8:7fff::1", 0, &handle), IP_OK);
		assert_int_equal(opened(f, "unix", 0, &handle), IP_OK);
		assert_int_equal(handle, 0);
	}
	assert_int_equal(opened(f, "11.0.0.1", 0, &handle), IP_OK);
	assert_int_equal(opened(f, "11.0.0.1", 0, &handle), IP_CONNECTIONS);
	assert_int_equal(opened(f, "2001:db8:8000::1", 0, &handle), IP_OK);
	assert_int_equal(opened(f, "2001:db8:8000::1", 0, &handle), IP_CONNECTIONS);
}

static void test_what_is_no_network_is_refused(void **state)
{
	static const char *const bad[] = { "",  "10.0.0.0/33", "10.0.0/8",    "::/129",
					   "x", "10.0.0.0/",   "10.0.0.0/-1", "10.0.0.0/8 " };
	struct hf_cidr network;

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		assert_int_equal(hf_cidr_parse(bad[i], &network), -EINVAL);
	assert_int_equal(hf_cidr_parse("192.0.2.1", &network), 0);
	assert_int_equal(network.bits, 128);
	assert_int_equal(hf_cidr_parse("0.0.0.0/0", &network), 0);
	assert_int_equal(network.bits, 96);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connections_at_once_are_bounded_by_address),
		TEST(test_a_v6_network_of_64_bits_is_one_address),
		TEST(test_new_connections_a_second_are_bounded),
		TEST(test_failed_logins_bring_a_penalty_that_ends),
		TEST(test_an_entry_dies_when_it_is_not_needed),
		TEST(test_a_full_table_lets_newcomers_in_uncounted),
		TEST(test_exempt_networks_and_unix_sockets_are_not_counted),
		TEST(test_what_is_no_network_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
