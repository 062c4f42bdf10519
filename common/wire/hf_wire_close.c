/* common/wire/hf_wire_close.c - close codes: their names and what the client does next. */
#include "hf_wire.h"

static const struct {
	uint16_t code;
	const char *name;
} close_codes[] = {
	{ HF_CLOSE_NORMAL, "normal" },
	{ HF_CLOSE_BAD_FRAME, "bad_frame" },
	{ HF_CLOSE_VERSION_UNSUPPORTED, "version_unsupported" },
	{ HF_CLOSE_APP_UNKNOWN, "app_unknown" },
	{ HF_CLOSE_APP_DISABLED, "app_disabled" },
	{ HF_CLOSE_AUTH_REJECTED, "auth_rejected" },
	{ HF_CLOSE_BANNED, "banned" },
	{ HF_CLOSE_REPLACED, "replaced" },
	{ HF_CLOSE_KICKED, "kicked" },
	{ HF_CLOSE_PROTOCOL_VIOLATION, "protocol_violation" },
	{ HF_CLOSE_OVERLOADED, "overloaded" },
	{ HF_CLOSE_RATE_LIMITED, "rate_limited" },
	{ HF_CLOSE_SLOW_CONSUMER, "slow_consumer" },
	{ HF_CLOSE_INTERNAL_ERROR, "internal_error" },
	{ HF_CLOSE_CONNECTION_LIMIT, "connection_limit" },
	{ HF_CLOSE_HANDSHAKE_TIMEOUT, "handshake_timeout" },
	{ HF_CLOSE_DRAINING, "draining" },
	{ HF_CLOSE_KEEPALIVE_TIMEOUT, "keepalive_timeout" },
	{ HF_CLOSE_REBALANCED, "rebalanced" },
	{ HF_CLOSE_ADMIN_RECONNECT, "admin_reconnect" },
	{ HF_CLOSE_TOKEN_EXPIRED, "token_expired" },
	{ HF_CLOSE_TOKEN_REVOKED, "token_revoked" },
	{ HF_CLOSE_TOKEN_NOT_YET_VALID, "token_not_yet_valid" },
};

static const char *find_name(unsigned code)
{
	for (size_t i = 0; i < HF_ARRAY_LEN(close_codes); i++) {
		if (close_codes[i].code == code)
			return close_codes[i].name;
	}
	return NULL;
}

const char *hf_close_name(unsigned code)
{
	const char *name = find_name(code);

	return name != NULL ? name : "unknown";
}

bool hf_close_is_known(unsigned code)
{
	return find_name(code) != NULL;
}

enum hf_close_action hf_close_action(unsigned code)
{
	if (code == HF_CLOSE_NORMAL)
		return HF_CLOSE_STOP;
	switch (code / 100) {
	case 40:
		return HF_CLOSE_STOP;
	case 42:
		return HF_CLOSE_MOVE;
	case 43:
		return HF_CLOSE_REFRESH_TOKEN;
	default:
		return HF_CLOSE_BACKOFF;
	}
}

const char *hf_upstream_name(unsigned code)
{
	switch (code) {
	case 0:
		return "accepted";
	case HF_UPSTREAM_TIMEOUT:
		return "timeout";
	case HF_UPSTREAM_FAILED:
		return "failed";
	case HF_UPSTREAM_NO_CALLBACK:
		return "no_callback";
	case HF_UPSTREAM_REFUSED:
		return "refused";
	case HF_UPSTREAM_BAD_ANSWER:
		return "bad_answer";
	case HF_UPSTREAM_BAD_CALLBACK:
		return "bad_callback";
	default:
		return hf_close_name(code);
	}
}
