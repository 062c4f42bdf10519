/* services/room/app_counts.h - how many sessions of each app are here: in all, with a user, and by
 * platform. Kept as sessions come and go, so that asking costs nothing. Pure. */
#ifndef HF_ROOM_APP_COUNTS_H
#define HF_ROOM_APP_COUNTS_H

#include "hf_base.h"
#include "hf_table.h"
#include "hf_wire.h"

#define APP_COUNTS_PLATFORMS 16u

/* Of one app that has sessions here. A platform keeps its row as long as that is so; whoever comes
 * when all rows are taken counts in `sessions` alone. */
struct app_count {
	struct hf_table_node node;
	uint32_t app, sessions, with_user;
	uint32_t platform_count;
	struct app_platform {
		uint32_t sessions; /* may be 0 by now */
		uint8_t len;
		uint8_t name[HF_WIRE_LABEL_MAX];
	} platforms[APP_COUNTS_PLATFORMS];
};

struct app_counts {
	struct hf_table table;
};

HF_MUST_CHECK int app_counts_init(struct app_counts *counts); /* 0 or -ENOMEM */
void app_counts_deinit(struct app_counts *counts);

/* A session comes, or goes with what it came with; `has_user` as it is by then. */
HF_MUST_CHECK int app_counts_add(struct app_counts *counts, uint32_t app, struct hf_bytes platform,
				 bool has_user); /* 0 or -ENOMEM */
void app_counts_remove(struct app_counts *counts, uint32_t app, struct hf_bytes platform,
		       bool has_user);
void app_counts_change_user(struct app_counts *counts, uint32_t app, bool had_user, bool has_user);

/* NULL: no session of that app is here. */
const struct app_count *app_counts_get(const struct app_counts *counts, uint32_t app);
uint32_t app_counts_sessions(const struct app_counts *counts, uint32_t app);

#endif
