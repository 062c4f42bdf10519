/* tests/unit/test_client_tls.c - libholdfast-client over TLS: it works, and it checks who it talks
 * to. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_server.h"
#include "hf_clock.h"

static struct fixture f;
static SSL_CTX *server_context;
static SSL *server_ssl;
static char ca_file[64];

/* A certificate that vouches for itself, for 127.0.0.1 and push.example. */
static void make_certificate(X509 **ret_certificate, EVP_PKEY **ret_key)
{
	X509 *certificate = X509_new();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
						    "IP:127.0.0.1,DNS:push.example");

	assert_true(certificate != NULL && key != NULL && names != NULL);
	X509_set_version(certificate, 2);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)"test", -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_add_ext(certificate, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	*ret_certificate = certificate;
	*ret_key = key;
}

static int setup(void **state)
{
	X509 *certificate;
	EVP_PKEY *key;
	FILE *file;

	fixture_init(&f);
	make_certificate(&certificate, &key);
	snprintf(ca_file, sizeof(ca_file), "/tmp/hf-test-ca-%d.pem", getpid());
	file = fopen(ca_file, "w");
	assert_non_null(file);
	PEM_write_X509(file, certificate);
	fclose(file);
	server_context = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate(server_context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(server_context, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
	f.config.tls = 1;
	f.config.ca_file = ca_file;
	return 0;
}

static int teardown(void **state)
{
	SSL_free(server_ssl);
	server_ssl = NULL;
	SSL_CTX_free(server_context);
	fixture_deinit(&f);
	unlink(ca_file);
	return 0;
}

/* As turn(), but what arrives is left to OpenSSL. */
static void tls_turn(void)
{
	struct server no_reading = { .fd = -1, .listener = f.server.listener };

	turn(&f, &no_reading, 20);
	if (no_reading.fd >= 0) {
		SSL_free(server_ssl);
		server_hang_up(&f.server);
		f.server.fd = no_reading.fd;
		server_ssl = SSL_new(server_context);
		SSL_set_fd(server_ssl, f.server.fd);
		SSL_set_accept_state(server_ssl);
	}
	hf_buffer_deinit(&no_reading.in);
}

/* Reads whole frames as TLS gives them until one of `type` is there; its body is in `bytes`. */
static struct hf_wire_frame tls_frame(unsigned type, uint8_t *bytes, size_t size)
{
	uint64_t until = hf_clock_monotonic_ms() + PATIENCE_MS;
	struct hf_wire_frame frame;
	int n = 0;

	while (n <= 0) {
		assert_true(hf_clock_monotonic_ms() < until);
		tls_turn();
		n = server_ssl != NULL ? SSL_read(server_ssl, bytes, (int)size) : 0;
	}
	assert_int_equal(hf_wire_decode(bytes, (size_t)n, UINT32_MAX, &frame, NULL), n);
	assert_int_equal(frame.type, type);
	return frame;
}

static void expect_tls_error(void)
{
	uint64_t until = hf_clock_monotonic_ms() + PATIENCE_MS;
	uint8_t byte;

	while (f.record.errors[HF_CLIENT_ERROR_TLS] == 0) {
		assert_true(hf_clock_monotonic_ms() < until);
		tls_turn();
		if (server_ssl != NULL)
			assert_true(SSL_read(server_ssl, &byte, 1) <= 0);
		ERR_clear_error();
	}
	assert_int_equal(f.record.states[HF_CLIENT_CONNECTED], 0);
}

static void log_in(void)
{
	const struct hf_wire_login_ack ack = { .result_count = 1, .results = { { .app = 7 } } };
	static const uint64_t id = 77;
	const struct hf_wire_push push = { .message_id = id, .app = 7, .qos = 1 };
	uint8_t in[4096], out[256];
	ssize_t n = hf_wire_encode_login_ack(&ack, out, sizeof(out));

	tls_frame(HF_WIRE_LOGIN, in, sizeof(in));
	assert_int_equal(SSL_write(server_ssl, out, (int)n), n);
	n = hf_wire_encode_push(&push, out, sizeof(out));
	assert_int_equal(SSL_write(server_ssl, out, (int)n), n);
	tls_frame(HF_WIRE_ACK, in, sizeof(in));
	assert_int_equal(f.record.messages, 1);
	assert_int_equal(f.record.last_id, id);
}

static void test_messages_flow_over_tls(void **state)
{
	fixture_start(&f);
	log_in();
}

static void test_the_certificate_may_be_for_a_given_name(void **state)
{
	f.config.tls_name = "push.example";
	fixture_start(&f);
	log_in();
}

static void test_a_certificate_for_another_name_is_refused(void **state)
{
	f.config.tls_name = "evil.example";
	fixture_start(&f);
	expect_tls_error();
}

static void test_an_unknown_authority_is_refused(void **state)
{
	f.config.ca_file = NULL;
	fixture_start(&f);
	expect_tls_error();
}

static void test_a_ca_file_that_is_no_use_is_told(void **state)
{
	f.config.ca_file = "/does/not/exist.pem";
	fixture_start(&f);
	PUMP_UNTIL(&f, &f.server, f.record.errors[HF_CLIENT_ERROR_TLS] > 0);
	assert_int_equal(f.server.accepted, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_messages_flow_over_tls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_certificate_may_be_for_a_given_name, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_certificate_for_another_name_is_refused,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_unknown_authority_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_ca_file_that_is_no_use_is_told, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("client over TLS", tests, NULL, NULL);
}
