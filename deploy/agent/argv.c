#include "argv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Takes `text`. */
static void add_text(struct argv *argv, char *text)
{
	if (!argv->failed && argv->count + 2 > argv->capacity) {
		size_t capacity = argv->capacity ? 2 * argv->capacity : 32;
		char **items = realloc(argv->items, capacity * sizeof(char *));

		argv->failed = items == NULL;
		if (items != NULL) {
			argv->items = items;
			argv->capacity = capacity;
		}
	}
	if (text == NULL || argv->failed) {
		argv->failed = true;
		free(text);
		return;
	}
	argv->items[argv->count++] = text;
	argv->items[argv->count] = NULL;
}

static char *print(const char *fmt, va_list args)
{
	char *text = NULL;

	return vasprintf(&text, fmt, args) < 0 ? NULL : text;
}

void argv_add(struct argv *argv, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_text(argv, print(fmt, args));
	va_end(args);
}

void argv_add_set(struct argv *argv, const char *fmt, ...)
{
	va_list args;

	add_text(argv, strdup("--set"));
	va_start(args, fmt);
	add_text(argv, print(fmt, args));
	va_end(args);
}

char **argv_take(struct argv *argv)
{
	char **items = argv->items;

	if (argv->failed || items == NULL) {
		for (size_t i = 0; i < argv->count; i++)
			free(items[i]);
		free(items);
		items = NULL;
	}
	*argv = (struct argv){ 0 };
	return items;
}
