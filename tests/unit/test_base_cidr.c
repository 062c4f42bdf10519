/* hf_cidr: networks are read and matched, and what is not public is known in every disguise. */
#include "test_base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "hf_cidr.h"

static bool is_public(const char *text)
{
	struct hf_cidr cidr;

	assert_int_equal(hf_cidr_parse(text, &cidr), 0);
	return hf_cidr_is_public(cidr.address);
}

static bool has(const char *network, const char *address)
{
	struct hf_cidr cidr, one;

	assert_int_equal(hf_cidr_parse(network, &cidr), 0);
	assert_int_equal(hf_cidr_parse(address, &one), 0);
	return hf_cidr_has(&cidr, one.address);
}

static void test_only_networks_and_addresses_are_read(void **state)
{
	static const char *const bad[] = { "",           "x",       "10.0.0.0/33", "10.0.0/8",
					   "10.0.0.0/",  "::1/129", "10.0.0.0/-1", "10.0.0.0/8/8",
					   "10.0.0.0 /8" };
	struct hf_cidr cidr;

	for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++)
		assert_int_equal(hf_cidr_parse(bad[i], &cidr), -EINVAL);
	assert_int_equal(hf_cidr_parse("10.0.0.0/8", &cidr), 0);
	assert_int_equal(cidr.bits, 104);
	assert_int_equal(hf_cidr_parse("::/0", &cidr), 0);
	assert_int_equal(cidr.bits, 0);
}

static void test_a_network_has_its_addresses_and_no_others(void **state)
{
	assert_true(has("10.0.0.0/8", "10.255.255.255"));
	assert_false(has("10.0.0.0/8", "11.0.0.0"));
	assert_true(has("172.16.0.0/12", "172.31.1.2"));
	assert_false(has("172.16.0.0/12", "172.32.0.0"));
	assert_true(has("192.0.2.1", "192.0.2.1"));
	assert_false(has("192.0.2.1", "192.0.2.2"));
	assert_true(has("2001:db8::/32", "2001:db8:ffff::1"));
	assert_false(has("2001:db8::/32", "2001:db9::1"));
	assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3"));
	assert_false(has("10.0.0.0/8", "a00::1"));
}

static void test_special_addresses_are_not_public_in_any_disguise(void **state)
{
	static const char *const inside[] = {
		"127.0.0.1",
		"127.255.255.254",
		"0.0.0.0",
		"0.1.2.3",
		"10.1.2.3",
		"100.64.0.1",
		"100.127.255.255",
		"169.254.169.254",
		"172.16.0.1",
		"172.31.255.255",
		"192.168.1.1",
		"192.0.0.8",
		"192.0.2.1",
		"198.18.0.1",
		"198.19.255.255",
		"198.51.100.1",
		"203.0.113.1",
		"224.0.0.1",
		"240.0.0.1",
		"255.255.255.255",
		"::",
		"::1",
		"::127.0.0.1",
		"::ffff:127.0.0.1",
		"::ffff:169.254.169.254",
		"fe80::1",
		"fec0::1",
		"fc00::1",
		"fd12::1",
		"ff02::1",
		"2001:db8::1",
		"2001::1",
		"64:ff9b::a00:1",
		"64:ff9b:1::1",
		"2002:7f00:1::",
		"2002:a9fe:a9fe::",
		"100::1",
		"3fff::1",
	};
	static const char *const outside[] = {
		"1.1.1.1",          "8.8.8.8",         "100.63.255.255",  "100.128.0.0",
		"172.15.255.255",   "172.32.0.0",      "192.167.255.255", "198.17.255.255",
		"198.20.0.0",       "223.255.255.255", "2606:4700::1111", "::ffff:8.8.8.8",
		"64:ff9b::808:808", "2002:808:808::",  "2a00:1450::1",
	};

	for (size_t i = 0; i < HF_ARRAY_LEN(inside); i++)
		if (is_public(inside[i]))
			fail_msg("%s counts as public", inside[i]);
	for (size_t i = 0; i < HF_ARRAY_LEN(outside); i++)
		if (!is_public(outside[i]))
			fail_msg("%s does not count as public", outside[i]);
}

static void test_a_socket_address_gives_its_bytes(void **state)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	struct sockaddr other = { .sa_family = AF_UNIX };
	uint8_t ip[16];

	assert_true(hf_cidr_address((const struct sockaddr *)&v4, ip));
	assert_false(hf_cidr_is_public(ip));
	assert_false(hf_cidr_address(&other, ip));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_networks_and_addresses_are_read),
		cmocka_unit_test(test_a_network_has_its_addresses_and_no_others),
		cmocka_unit_test(test_special_addresses_are_not_public_in_any_disguise),
		cmocka_unit_test(test_a_socket_address_gives_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
