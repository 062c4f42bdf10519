/* tests/fuzz/fuzz_api_query.c - query strings and connection names of the API
 * (services/center/query.h, connection_id.h). What is accepted comes back the same. */
#include <stdlib.h>

#include "connection_id.h"
#include "query.h"

static void check_page(struct hf_bytes query)
{
	struct problem problem;
	struct query_page page, again;
	char text[512] = "cursor=";
	json_t *cursor;

	if (query_page(query, 'r', QUERY_CURSOR_MAX, 1000, &page, &problem) < 0 ||
	    page.cursor_len == 0)
		return;
	cursor = query_next_cursor('r', page.cursor, page.cursor_len);
	strcat(text, json_string_value(cursor));
	json_decref(cursor);
	if (query_page(hf_bytes_of_string(text), 'r', QUERY_CURSOR_MAX, 1000, &again, &problem) <
		    0 ||
	    again.cursor_len != page.cursor_len ||
	    memcmp(again.cursor, page.cursor, page.cursor_len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const choices[] = { "false", "true", NULL };
	struct hf_bytes query = hf_bytes_of(data, size);
	char id[65], name[128], text[CONNECTION_ID_SIZE];
	struct connection_id connection, same;
	struct problem problem;
	uint64_t number = 0;
	size_t id_len = 0;
	int choice = 0;

	if (query_check(query, "id limit cursor online start", &problem) == 0) {
		if (query_id(query, "id", 64, id, &id_len, &problem) == 0 && strlen(id) < id_len)
			abort();
		(void)!query_choice(query, "online", choices, &choice, &problem);
		(void)!query_time(query, "start", &number, &problem);
		check_page(query);
	}
	if (size >= sizeof(name))
		return 0;
	memcpy(name, data, size);
	name[size] = '\0';
	if (connection_id_parse(name, &connection) == 0) {
		connection_id_format(&connection, text);
		if (connection_id_parse(text, &same) < 0 ||
		    !connection_id_equal(&connection, &same))
			abort();
	}
	return 0;
}
