/* services/saver/schema.h - the tables, and their migration from one version to the next.
 *
 *	messages        one row per message that is owed to a registration
 *	store           one row: the id of this store, which Redis must carry too (refill.c)
 *	schema_version  the steps that were taken
 *
 * Each step runs once, in order, and is written down after it succeeded. One that runs twice, as
 * two savers start at the same time, does nothing the second time. */
#ifndef SAVER_SCHEMA_H
#define SAVER_SCHEMA_H

#include "database.h"

struct saver_schema {
	struct saver_database *database;
	unsigned next; /* step under way */
};

/* Runs the steps that are missing and ends with saver_database_schema_done(). A run that was under
 * way on an older link has ended by then. */
void saver_schema_run(struct saver_schema *schema, struct saver_database *database);

#endif
