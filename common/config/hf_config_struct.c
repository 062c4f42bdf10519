/* common/config/hf_config_struct.c - configurations once they are structs: free, compare, exchange.
 */
#include <stdlib.h>

#include "hf_config_internal.h"

static void free_value(const struct hf_option *option, void *field)
{
	struct hf_strings *strings = field;
	struct hf_list *list = field;
	char **string = field;

	switch (option->type) {
	case HF_OPT_SECRET:
		if (*string != NULL)
			explicit_bzero(*string, strlen(*string));
		/* fall through */
	case HF_OPT_STRING:
	case HF_OPT_ADDRESS:
		free(*string);
		*string = NULL;
		break;
	case HF_OPT_STRINGS:
		for (size_t i = 0; i < strings->count; i++)
			free(strings->values[i]);
		free(strings->values);
		*strings = (struct hf_strings){ 0 };
		break;
	case HF_OPT_LIST:
		for (size_t i = 0; i < list->count; i++)
			hf_config_deinit(option->items,
					 (char *)list->items + i * option->item_size);
		free(list->items);
		*list = (struct hf_list){ 0 };
		break;
	case HF_OPT_BOOL:
		*(bool *)field = false;
		break;
	case HF_OPT_ENUM:
		*(int *)field = 0;
		break;
	case HF_OPT_UINT:
	case HF_OPT_MSEC:
	case HF_OPT_SIZE:
		*(uint64_t *)field = 0;
		break;
	}
}

void hf_config_deinit(const struct hf_option *table, void *config)
{
	if (config == NULL)
		return;
	for (; table->name != NULL; table++)
		free_value(table, hf_config_field(table, config));
}

static bool strings_differ(const struct hf_strings *a, const struct hf_strings *b)
{
	if (a->count != b->count)
		return true;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->values[i], b->values[i]) != 0)
			return true;
	}
	return false;
}

static bool lists_differ(const struct hf_option *option, const struct hf_list *a,
			 const struct hf_list *b)
{
	if (a->count != b->count)
		return true;
	for (size_t i = 0; i < a->count * option->item_size; i += option->item_size) {
		const struct hf_option *item = option->items;

		for (; item->name != NULL; item++) {
			if (hf_config_differs(item, (const char *)a->items + i,
					      (const char *)b->items + i))
				return true;
		}
	}
	return false;
}

bool hf_config_differs(const struct hf_option *option, const void *config_a, const void *config_b)
{
	const void *a = hf_config_field(option, config_a), *b = hf_config_field(option, config_b);

	switch (option->type) {
	case HF_OPT_BOOL:
		return *(const bool *)a != *(const bool *)b;
	case HF_OPT_ENUM:
		return *(const int *)a != *(const int *)b;
	case HF_OPT_UINT:
	case HF_OPT_MSEC:
	case HF_OPT_SIZE:
		return *(const uint64_t *)a != *(const uint64_t *)b;
	case HF_OPT_STRING:
	case HF_OPT_ADDRESS:
	case HF_OPT_SECRET:
		return strcmp(*(char *const *)a, *(char *const *)b) != 0;
	case HF_OPT_STRINGS:
		return strings_differ(a, b);
	case HF_OPT_LIST:
		return lists_differ(option, a, b);
	}
	return false;
}

static size_t value_size(enum hf_option_type type)
{
	switch (type) {
	case HF_OPT_BOOL:
		return sizeof(bool);
	case HF_OPT_ENUM:
		return sizeof(int);
	case HF_OPT_UINT:
	case HF_OPT_MSEC:
	case HF_OPT_SIZE:
		return sizeof(uint64_t);
	case HF_OPT_STRING:
	case HF_OPT_ADDRESS:
	case HF_OPT_SECRET:
		return sizeof(char *);
	case HF_OPT_STRINGS:
		return sizeof(struct hf_strings);
	case HF_OPT_LIST:
		return sizeof(struct hf_list);
	}
	return 0;
}

void hf_config_swap(const struct hf_option *option, void *config_a, void *config_b)
{
	void *a = hf_config_field(option, config_a), *b = hf_config_field(option, config_b);
	size_t size = value_size(option->type);
	uint64_t saved[2];

	_Static_assert(sizeof(saved) >= sizeof(struct hf_strings), "the largest value");
	_Static_assert(sizeof(saved) >= sizeof(struct hf_list), "the largest value");
	memcpy(saved, a, size);
	memcpy(a, b, size);
	memcpy(b, saved, size);
}
