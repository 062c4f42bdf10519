/* tests/fuzz/replay.c - runs a fuzz target over its corpus without a fuzzer: every file whole,
 * every prefix of it, and every single-bit flip of its first bytes, each as an exact-size heap copy
 * so that the sanitizers see any overread. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "hf_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFIXES_MAX 2048
#define FLIPS_MAX    256

static void run_exact(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size > 0 ? size : 1);

	if (exact == NULL)
		abort();
	if (size > 0)
		memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	static uint8_t data[1 << 20];
	size_t size;

	if (file == NULL) {
		perror(path);
		exit(1);
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);

	run_exact(data, size);
	for (size_t len = 0; len < HF_MIN(size, (size_t)PREFIXES_MAX); len++)
		run_exact(data, len);
	for (size_t i = 0; i < HF_MIN(size, (size_t)FLIPS_MAX); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			data[i] ^= (uint8_t)(1u << bit);
			run_exact(data, size);
			data[i] ^= (uint8_t)(1u << bit);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned files = 0;
	struct dirent *entry;
	DIR *dir;

	if (argc != 2 || (dir = opendir(argv[1])) == NULL) {
		fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
		return 1;
	}
	while ((entry = readdir(dir)) != NULL) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		run_file(path);
		files++;
	}
	closedir(dir);
	printf("%u corpus files\n", files);
	return files > 0 ? 0 : 1;
}
