#define HF_LOG_MODULE "agent"
#include "leftovers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hf_log.h"

#define BOOT_ID_SIZE 40
#define RECORD_MAX   (256 * 1024)

static int make_folders(const char *data_dir)
{
	static const char *const parts[] = { "", "/run", "/log" };
	char path[PATH_MAX];

	for (const char *slash = data_dir + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		snprintf(path, sizeof(path), "%.*s", (int)(slash - data_dir), data_dir);
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	for (size_t i = 0; i < HF_ARRAY_LEN(parts); i++) {
		snprintf(path, sizeof(path), "%s%s", data_dir, parts[i]);
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int take_lock(const char *path, int *ret_fd, char holder[16])
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[16];
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		err = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		n = pread(fd, holder, 15, 0);
		holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
		close(fd);
		return err;
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int leftovers_lock(const char *data_dir, int *ret_fd)
{
	char path[PATH_MAX], holder[16] = "";
	int err = make_folders(data_dir);

	if (err < 0) {
		HF_ERROR("data folder not made", "data_dir=%s err=%s", data_dir, strerror(-err));
		return err;
	}
	snprintf(path, sizeof(path), "%s/agent.pid", data_dir);
	err = take_lock(path, ret_fd, holder);
	if (err == -EBUSY)
		HF_ERROR("another agent has the data folder", "data_dir=%s pid=%s", data_dir,
			 hf_log_quote(holder, strlen(holder)));
	else if (err < 0)
		HF_ERROR("data folder not locked", "file=%s err=%s", path, strerror(-err));
	return err;
}

/* A whole small file as text; false when it can't be read. */
static bool read_text(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	if (fd < 0)
		return false;
	while (len < size - 1 && (n = read(fd, ret + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	ret[len] = '\0';
	return n >= 0;
}

static void boot_id(char ret[BOOT_ID_SIZE])
{
	if (!read_text("/proc/sys/kernel/random/boot_id", ret, BOOT_ID_SIZE))
		ret[0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

uint64_t leftovers_birth(pid_t pid)
{
	char path[64], text[1024], state;
	unsigned long long born;
	const char *rest;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	if (!read_text(path, text, sizeof(text)))
		return 0;
	rest = strrchr(text, ')'); /* the name before it may hold anything */
	if (rest == NULL ||
	    sscanf(rest,
		   ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		   "%llu",
		   &state, &born) != 2 ||
	    state == 'Z' || state == 'X')
		return 0;
	return born;
}

void leftovers_record(const struct supervisor *supervisor)
{
	char path[PATH_MAX], temp[PATH_MAX], boot[BOOT_ID_SIZE];
	const struct process *process;
	FILE *out;
	bool ok;

	snprintf(path, sizeof(path), "%s/run/children", supervisor->data_dir);
	if (snprintf(temp, sizeof(temp), "%s.new", path) >= PATH_MAX)
		return;
	out = fopen(temp, "we");
	boot_id(boot);
	ok = out != NULL && fprintf(out, "boot %s\n", boot) > 0;
	TAILQ_FOREACH (process, &supervisor->processes, link) {
		if (ok && process->pid > 0)
			ok = fprintf(out, "%ld %" PRIu64 " %s %s\n", (long)process->pid,
				     process->born, agent_role_name(process->role),
				     process->name) > 0;
	}
	if (out != NULL && fclose(out) != 0)
		ok = false;
	if (!ok || rename(temp, path) < 0)
		HF_WARN("record of children not written", "file=%s err=%s", path, strerror(errno));
}

static bool parse_line(const char *line, struct leftover *ret)
{
	char role[32], name[HF_NODE_ID_MAX + 1];
	long pid;

	if (sscanf(line, "%ld %" SCNu64 " %31s %63s", &pid, &ret->born, role, name) != 4 ||
	    pid <= 1 || pid > INT_MAX || ret->born == 0)
		return false;
	ret->pid = (pid_t)pid;
	memcpy(ret->name, name, sizeof(name));
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (strcmp(role, agent_role_name((enum agent_role)i)) == 0) {
			ret->role = (enum agent_role)i;
			return true;
		}
	}
	return false;
}

int leftovers_parse(const char *text, const char *boot, struct leftovers *ret)
{
	size_t lines = 0, len = strcspn(text, "\n");
	char first[BOOT_ID_SIZE + 8];

	*ret = (struct leftovers){ 0 };
	snprintf(first, sizeof(first), "boot %s", boot);
	if (boot[0] == '\0' || len != strlen(first) || memcmp(text, first, len) != 0)
		return 0; /* of another boot: none of them lives */
	for (const char *p = text; *p != '\0'; p++)
		lines += *p == '\n';
	ret->items = calloc(lines + 1, sizeof(*ret->items));
	if (ret->items == NULL)
		return -ENOMEM;
	for (text += len; *text == '\n'; text += strcspn(text, "\n")) {
		text++;
		if (ret->count <= lines && parse_line(text, &ret->items[ret->count]))
			ret->count++;
	}
	return 0;
}

void leftovers_load(const char *data_dir, struct leftovers *ret)
{
	char path[PATH_MAX], boot[BOOT_ID_SIZE];
	char *text = malloc(RECORD_MAX);

	*ret = (struct leftovers){ 0 };
	snprintf(path, sizeof(path), "%s/run/children", data_dir);
	boot_id(boot);
	if (text != NULL && read_text(path, text, RECORD_MAX) &&
	    leftovers_parse(text, boot, ret) == 0)
		leftovers_prune(ret);
	free(text);
}

size_t leftovers_prune(struct leftovers *leftovers)
{
	size_t left = 0;

	for (size_t i = 0; i < leftovers->count; i++)
		if (leftovers_birth(leftovers->items[i].pid) == leftovers->items[i].born)
			leftovers->items[left++] = leftovers->items[i];
	leftovers->count = left;
	return left;
}

void leftovers_signal(const struct leftovers *leftovers, bool stores, int number)
{
	for (size_t i = 0; i < leftovers->count; i++) {
		const struct leftover *item = &leftovers->items[i];

		if (agent_role_is_store(item->role) != stores)
			continue;
		HF_WARN("ending a child of the agent before", "name=%s pid=%ld signal=%d",
			item->name, (long)item->pid, number);
		kill(item->pid, number);
	}
}

bool leftovers_has(const struct leftovers *leftovers, bool stores)
{
	for (size_t i = 0; i < leftovers->count; i++)
		if (agent_role_is_store(leftovers->items[i].role) == stores)
			return true;
	return false;
}

void leftovers_deinit(struct leftovers *leftovers)
{
	free(leftovers->items);
	*leftovers = (struct leftovers){ 0 };
}
