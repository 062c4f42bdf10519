#include "clock.h"

#include <errno.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "fetch.h"
#include "hf_clock.h"

#define ROUNDS    3
#define QUESTIONS 16 /* a round */
#define SECOND_NS 1e9
#define HEAD_MAX  4096

bool clock_narrow(struct clock_bounds *bounds, uint64_t date_s, uint64_t asked_ns, uint64_t read_ns)
{
	double low = (double)date_s * SECOND_NS - (double)read_ns;
	double high = ((double)date_s + 1) * SECOND_NS - (double)asked_ns;

	bounds->low = fmax(bounds->low, low);
	bounds->high = fmin(bounds->high, high);
	return bounds->low <= bounds->high;
}

bool clock_date(const char *head, size_t len, uint64_t *ret_s)
{
	static const char name[] = "\r\nDate: ";
	const char *value = memmem(head, len, name, sizeof(name) - 1), *end;
	char text[40];
	struct tm tm = { 0 };
	time_t seconds;

	if (value == NULL)
		return false;
	value += sizeof(name) - 1;
	end = memchr(value, '\r', (size_t)(head + len - value));
	if (end == NULL || (size_t)(end - value) >= sizeof(text))
		return false;
	memcpy(text, value, (size_t)(end - value));
	text[end - value] = '\0';
	if (strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) == NULL)
		return false;
	seconds = timegm(&tm);
	*ret_s = (uint64_t)seconds;
	return seconds > 0;
}

/* One question on `fd`; its answer narrows the bounds. HEAD: no body is to be read over. */
static int ask(int fd, const char *host, struct clock_bounds *bounds)
{
	char head[HEAD_MAX];
	int len = snprintf(head, sizeof(head), "HEAD / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
	uint64_t asked_ns = hf_clock_monotonic_ns(), read_ns, date_s;
	size_t have = 0;

	if (len >= (int)sizeof(head) || send(fd, head, (size_t)len, MSG_NOSIGNAL) != len)
		return -ECONNRESET;
	do {
		ssize_t n = recv(fd, head + have, sizeof(head) - have, 0);

		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		have += (size_t)n;
	} while (memmem(head, have, "\r\n\r\n", 4) == NULL && have < sizeof(head));
	read_ns = hf_clock_monotonic_ns();
	if (!clock_date(head, have, &date_s))
		return -EPROTO;
	return clock_narrow(bounds, date_s, asked_ns, read_ns) ? 0 : -ERANGE;
}

static void sleep_until(uint64_t ns)
{
	struct timespec at = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Questions spread evenly over where the server's next second may begin. */
static int ask_around(const struct target *to, const char *host, int *fd,
		      struct clock_bounds *bounds)
{
	double now_ns = (double)hf_clock_monotonic_ns();
	double middle = (bounds->low + bounds->high) / 2, width = bounds->high - bounds->low;
	double turn = ceil((now_ns + width / 2 + middle) / SECOND_NS) * SECOND_NS - middle;
	int err = 0;

	for (int i = 0; i < QUESTIONS && err == 0; i++) {
		sleep_until((uint64_t)(turn + width * ((i + 0.5) / QUESTIONS - 0.5)));
		err = ask(*fd, host, bounds);
		if (err != -ECONNRESET)
			continue;
		/* A server may end a connection after an answer. */
		close(*fd);
		*fd = fetch_connect(to);
		err = *fd < 0 ? *fd : ask(*fd, host, bounds);
	}
	return err;
}

int clock_measure(const struct target *to, const char *host, struct clock_bounds *ret)
{
	struct clock_bounds bounds = { -INFINITY, INFINITY };
	int fd = fetch_connect(to), err;

	if (fd < 0)
		return fd;
	err = ask(fd, host, &bounds);
	for (int i = 0; i < ROUNDS && err == 0; i++)
		err = ask_around(to, host, &fd, &bounds);
	if (fd >= 0)
		close(fd);
	if (err == 0)
		*ret = bounds;
	return err;
}
