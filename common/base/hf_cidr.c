#include "hf_cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "hf_text.h"

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int hf_cidr_parse(const char *text, struct hf_cidr *ret)
{
	size_t address_len = strcspn(text, "/");
	char address[INET6_ADDRSTRLEN];
	uint64_t bits, most = 128;

	if (address_len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, address_len);
	address[address_len] = '\0';
	if (inet_pton(AF_INET, address, ret->address + 12) == 1) {
		memcpy(ret->address, v4_prefix, sizeof(v4_prefix));
		most = 32;
	} else if (inet_pton(AF_INET6, address, ret->address) != 1) {
		return -EINVAL;
	}
	bits = most;
	if (text[address_len] == '/') {
		const char *number = text + address_len + 1;

		if (hf_text_parse_uint(number, strlen(number), &bits) < 0 || bits > most)
			return -EINVAL;
	}
	ret->bits = (uint8_t)(bits + 128 - most);
	return 0;
}

bool hf_cidr_address(const struct sockaddr *address, uint8_t ret[16])
{
	if (address->sa_family == AF_INET) {
		memcpy(ret, v4_prefix, sizeof(v4_prefix));
		memcpy(ret + 12,
		       &((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr, 4);
		return true;
	}
	if (address->sa_family == AF_INET6) {
		memcpy(ret, ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr,
		       16);
		return true;
	}
	return false;
}

bool hf_cidr_has(const struct hf_cidr *network, const uint8_t address[16])
{
	size_t whole = network->bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> network->bits % 8);

	if (memcmp(network->address, address, whole) != 0)
		return false;
	return mask == 0 || (network->address[whole] & mask) == (address[whole] & mask);
}

bool hf_cidr_is_ipv4(const uint8_t address[16])
{
	return memcmp(address, v4_prefix, sizeof(v4_prefix)) == 0;
}

static bool v4_is_public(const uint8_t a[4])
{
	static const struct {
		uint8_t address[4];
		uint8_t bits;
	} special[] = {
		{ { 0, 0, 0, 0 }, 8 },      { { 10, 0, 0, 0 }, 8 },     { { 100, 64, 0, 0 }, 10 },
		{ { 127, 0, 0, 0 }, 8 },    { { 169, 254, 0, 0 }, 16 }, { { 172, 16, 0, 0 }, 12 },
		{ { 192, 0, 0, 0 }, 24 },   { { 192, 0, 2, 0 }, 24 },   { { 192, 88, 99, 0 }, 24 },
		{ { 192, 168, 0, 0 }, 16 }, { { 198, 18, 0, 0 }, 15 },  { { 198, 51, 100, 0 }, 24 },
		{ { 203, 0, 113, 0 }, 24 }, { { 224, 0, 0, 0 }, 3 }, /* multicast and reserved */
	};
	uint32_t address = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];

	for (size_t i = 0; i < HF_ARRAY_LEN(special); i++) {
		const uint8_t *s = special[i].address;
		uint32_t network =
			(uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3];

		if ((address ^ network) >> (32 - special[i].bits) == 0)
			return false;
	}
	return true;
}

bool hf_cidr_is_public(const uint8_t address[16])
{
	static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b };

	if (hf_cidr_is_ipv4(address) || memcmp(address, nat64, sizeof(nat64)) == 0)
		return v4_is_public(address + 12);
	if (address[0] == 0x20 && address[1] == 0x02) /* 6to4 */
		return v4_is_public(address + 2);
	if ((address[0] & 0xe0) != 0x20) /* only 2000::/3 is given out */
		return false;
	/* 2001::/23 is protocols' (Teredo among them), 2001:db8::/32 documentation, as is 3fff::/20
	 */
	if (address[0] == 0x20 && address[1] == 0x01 &&
	    (address[2] < 0x02 || (address[2] == 0x0d && address[3] == 0xb8)))
		return false;
	return !(address[0] == 0x3f && address[1] == 0xff && address[2] < 0x10);
}

void hf_cidr_format(const struct hf_cidr *network, char ret[HF_CIDR_TEXT_MAX + 1])
{
	bool v4 =
		network->bits >= 96 && memcmp(network->address, v4_prefix, sizeof(v4_prefix)) == 0;
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(v4 ? AF_INET : AF_INET6, network->address + (v4 ? 12 : 0), text, sizeof(text));
	snprintf(ret, HF_CIDR_TEXT_MAX + 1, "%s/%d", text, network->bits - (v4 ? 96 : 0));
}
