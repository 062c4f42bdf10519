/* services/coordinator/sign.h - Standard Webhooks: what a callback's receiver checks. Pure. */
#ifndef COORDINATOR_SIGN_H
#define COORDINATOR_SIGN_H

#include "hf_webhook.h"

#define SIGN_ONE  48 /* "v1," and base64 of an HMAC-SHA256, with a separator */
#define SIGN_SIZE (HF_WEBHOOK_SECRETS_MAX * SIGN_ONE + 1)

/* "v1,<base64>" by each secret, separated by spaces: HMAC-SHA256 over "id.timestamp.body". 0, or
 * -ENOMEM. */
HF_MUST_CHECK int sign(const struct hf_webhook *webhook, const char *id, uint64_t timestamp_s,
		       struct hf_bytes body, char ret[SIGN_SIZE]);

#endif
