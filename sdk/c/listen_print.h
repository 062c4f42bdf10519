/* sdk/c/listen_print.h - how hf-listen shows events: a line of JSON, or a line for people. */
#ifndef LISTEN_PRINT_H
#define LISTEN_PRINT_H

#include <stdbool.h>

#include "holdfast.h"

struct printer {
	bool json;
};

void print_start(const struct printer *printer, uint32_t app, const char *registration,
		 const char *device);
void print_state(const struct printer *printer, const struct hf_client_status *status);
void print_app(const struct printer *printer, uint32_t app, unsigned code, const char *reason);
void print_message(const struct printer *printer, const struct hf_client_message *message);
void print_sent(const struct printer *printer, uint32_t app, const char *type, int result);
void print_send_result(const struct printer *printer, uint32_t app, uint32_t sequence, int result,
		       const char *reason);
void print_messages_lost(const struct printer *printer, uint32_t app, unsigned count);
void print_token_needed(const struct printer *printer, uint32_t app, unsigned code);
void print_error(const struct printer *printer, enum hf_client_error error, const char *detail);

#endif
