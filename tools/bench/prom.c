#include "prom.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "hf_clock.h"
#include "hf_metrics.h"
#include "hf_net.h"

#define CONNECTIONS 8 /* more wait to be accepted */
#define HEAD_MAX    2048
#define DEADLINE_NS 5000000000ull

struct visitor {
	int fd; /* -1: nobody */
	uint64_t deadline_ns;
	size_t have;
	char head[HEAD_MAX];
	struct hf_buffer out;
};

struct prom {
	int listener;
	struct hf_metrics *metrics;
	void (*collect)(void *ctx, struct stats *ret);
	void *ctx;
	struct stats now;
	uint64_t *counters[COUNTERS];
	int64_t *open, *opening;
	struct hf_histogram *hists[HISTS];
	struct visitor visitors[CONNECTIONS];
};

static double read_cpu(void *ctx)
{
	const struct prom *prom = ctx;

	return (double)prom->now.cpu_us / 1e6;
}

static void register_all(struct prom *prom)
{
	char name[96], label[64];

	for (int i = 0; i < COUNTERS; i++) {
		snprintf(name, sizeof(name), "holdfast_bench_%s_total", counter_names[i]);
		prom->counters[i] =
			hf_metrics_counter(prom->metrics, name, NULL, "As in summary.json");
	}
	prom->open = hf_metrics_gauge(prom->metrics, "holdfast_bench_connections_open", NULL,
				      "Clients logged in now");
	prom->opening = hf_metrics_gauge(prom->metrics, "holdfast_bench_connections_opening", NULL,
					 "Clients on their way to LOGIN_ACK");
	hf_metrics_counter_fn(prom->metrics, "holdfast_bench_cpu_seconds_total", NULL,
			      "CPU time of the workers", read_cpu, prom);
	for (int i = 0; i < HISTS; i++) {
		snprintf(label, sizeof(label), "latency=\"%s\"", hist_names[i]);
		prom->hists[i] =
			hf_metrics_histogram(prom->metrics, "holdfast_bench_latency_seconds", label,
					     "Latencies by their names in summary.json", 1000000);
	}
}

int prom_open(const char *address, void (*collect)(void *ctx, struct stats *ret), void *ctx,
	      struct prom **ret)
{
	struct prom *prom = calloc(1, sizeof(*prom));
	char where[HF_NET_TEXT_SIZE] = "";

	if (prom == NULL)
		return -ENOMEM;
	for (int i = 0; i < CONNECTIONS; i++)
		prom->visitors[i].fd = -1;
	prom->listener = hf_net_listen(address, 16);
	prom->metrics = prom->listener >= 0 ? hf_metrics_new() : NULL;
	if (prom->metrics == NULL) {
		int err = prom->listener < 0 ? prom->listener : -ENOMEM;

		prom_close(prom);
		return err;
	}
	prom->collect = collect;
	prom->ctx = ctx;
	register_all(prom);
	if (hf_net_local(prom->listener, where) == 0)
		fprintf(stderr, "metrics at http://%s/metrics\n", where);
	*ret = prom;
	return 0;
}

static void leave(struct visitor *visitor)
{
	if (visitor->fd >= 0)
		close(visitor->fd);
	visitor->fd = -1;
	hf_buffer_clear(&visitor->out, 0);
}

void prom_close(struct prom *prom)
{
	if (prom == NULL)
		return;
	for (int i = 0; i < CONNECTIONS; i++) {
		leave(&prom->visitors[i]);
		hf_buffer_deinit(&prom->visitors[i].out);
	}
	if (prom->listener >= 0)
		close(prom->listener);
	hf_metrics_free(prom->metrics);
	free(prom);
}

static int answer(struct prom *prom, struct visitor *visitor)
{
	struct hf_buffer body = { 0 };
	bool wanted = strncmp(visitor->head, "GET /metrics ", 13) == 0;
	int err = 0;

	prom->collect(prom->ctx, &prom->now);
	for (int i = 0; i < COUNTERS; i++)
		*prom->counters[i] = prom->now.counters[i];
	for (int i = 0; i < HISTS; i++)
		*prom->hists[i] = prom->now.hist[i];
	*prom->open = prom->now.open;
	*prom->opening = prom->now.opening;
	if (wanted)
		err = hf_metrics_write(prom->metrics, &body);
	if (err == 0)
		err = hf_buffer_printf(&visitor->out,
				       "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; "
				       "charset=utf-8\r\nContent-Length: %zu\r\n"
				       "Connection: close\r\n\r\n",
				       wanted ? "200 OK" : "404 Not Found", hf_buffer_len(&body));
	if (err == 0)
		err = hf_buffer_append(&visitor->out, hf_buffer_data(&body), hf_buffer_len(&body));
	hf_buffer_deinit(&body);
	return err;
}

static void on_readable(struct prom *prom, struct visitor *visitor)
{
	size_t room = HEAD_MAX - 1 - visitor->have;
	ssize_t n = room > 0 ? recv(visitor->fd, visitor->head + visitor->have, room, 0) : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(visitor);
		return;
	}
	visitor->have += (size_t)n;
	visitor->head[visitor->have] = '\0';
	if (strstr(visitor->head, "\r\n\r\n") != NULL && answer(prom, visitor) < 0)
		leave(visitor);
}

static void on_writable(struct visitor *visitor)
{
	size_t len = hf_buffer_len(&visitor->out);
	ssize_t n = send(visitor->fd, hf_buffer_data(&visitor->out), len, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		hf_buffer_drain(&visitor->out, (size_t)n);
	if (n <= 0 || (size_t)n == len)
		leave(visitor);
}

static void welcome(struct prom *prom)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		struct visitor *visitor = &prom->visitors[i];

		if (visitor->fd >= 0)
			continue;
		visitor->fd = hf_net_accept(prom->listener, NULL);
		visitor->have = 0;
		visitor->deadline_ns = hf_clock_monotonic_ns() + DEADLINE_NS;
		return;
	}
}

void prom_turn(struct prom *prom, int wait_ms)
{
	struct pollfd fds[CONNECTIONS + 1];
	uint64_t now_ns = hf_clock_monotonic_ns();
	bool full = true;

	for (int i = 0; prom != NULL && i < CONNECTIONS; i++) {
		struct visitor *visitor = &prom->visitors[i];
		bool answering = hf_buffer_len(&visitor->out) > 0;

		if (visitor->fd >= 0 && now_ns > visitor->deadline_ns)
			leave(visitor);
		full = full && visitor->fd >= 0;
		fds[i] = (struct pollfd){ .fd = visitor->fd,
					  .events = answering ? POLLOUT : POLLIN };
	}
	if (prom == NULL) {
		poll(NULL, 0, wait_ms);
		return;
	}
	fds[CONNECTIONS] = (struct pollfd){ .fd = full ? -1 : prom->listener, .events = POLLIN };
	if (poll(fds, CONNECTIONS + 1, wait_ms) <= 0)
		return;
	for (int i = 0; i < CONNECTIONS; i++) {
		if (fds[i].revents != 0 && fds[i].events == POLLOUT)
			on_writable(&prom->visitors[i]);
		else if (fds[i].revents != 0)
			on_readable(prom, &prom->visitors[i]);
	}
	if (fds[CONNECTIONS].revents != 0)
		welcome(prom);
}
