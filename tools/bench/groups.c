#include "bench.h"

static const char *const names[KINDS] = { "unicast", "user", "tag", "broadcast" };

int kind_of(const char *name)
{
	for (int i = 0; i < KINDS; i++) {
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return -1;
}

uint64_t groups_count(const struct options *options, enum kind kind)
{
	switch (kind) {
	case KIND_UNICAST:
		return options->count;
	case KIND_USER:
		return options->users;
	case KIND_TAG:
		return options->tags;
	default:
		return 1;
	}
}

uint64_t groups_of(const struct options *options, enum kind kind, uint64_t number)
{
	/* By the number in the name: ranges of several hosts share their tags and users. */
	return kind == KIND_UNICAST
		       ? number
		       : (options->start_number + number) % groups_count(options, kind);
}

uint64_t groups_members(const struct options *options, enum kind kind, uint64_t group)
{
	uint64_t groups = groups_count(options, kind), first;

	if (kind == KIND_UNICAST)
		return 1;
	/* The first client of the range that is in it, and every `groups`th from there on. */
	first = (group + groups - options->start_number % groups) % groups;
	return first < options->count ? (options->count - first - 1) / groups + 1 : 0;
}

size_t groups_name(const struct options *options, enum kind kind, uint64_t group,
		   char ret[GROUP_NAME_SIZE])
{
	char registration[HF_REGISTRATION_MAX + 1];

	if (kind == KIND_UNICAST) {
		targets_registration(options, group, registration);
		return (size_t)snprintf(ret, GROUP_NAME_SIZE, "%s", registration);
	}
	return (size_t)snprintf(ret, GROUP_NAME_SIZE, "%s%s-%llu", options->prefix, names[kind],
				(unsigned long long)group);
}
