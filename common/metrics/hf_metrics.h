/* common/metrics/hf_metrics.h - counters, gauges and histograms of a process, and their Prometheus
 * text (exposition format 0.0.4). A counter is a plain uint64_t that its owner increments:
 * recording costs one add. Names are holdfast_<what>_<unit>[_total], see INTERFACES C4. */
#ifndef HF_METRICS_H
#define HF_METRICS_H

#include "hf_base.h"
#include "hf_buffer.h"
#include "hf_histogram.h"

struct hf_metrics; /* the registry; one a process */

HF_MUST_CHECK struct hf_metrics *hf_metrics_new(void);
void hf_metrics_free(struct hf_metrics *metrics);

/* `labels` is NULL or `key="value",key2="value2"` (bounded values only); name, help and labels are
 * copied. The same (name, labels) gives the same cell again. Never NULL: out of memory at start
 * aborts. */
uint64_t *hf_metrics_counter(struct hf_metrics *metrics, const char *name, const char *labels,
			     const char *help);
/* A gauge the owner writes. */
int64_t *hf_metrics_gauge(struct hf_metrics *metrics, const char *name, const char *labels,
			  const char *help);
/* A gauge that is asked when somebody reads. `ctx` lives as long as anybody may read; registering
 * the same (name, labels) again replaces `read` and `ctx`. */
typedef double (*hf_metrics_read)(void *ctx);
void hf_metrics_gauge_fn(struct hf_metrics *metrics, const char *name, const char *labels,
			 const char *help, hf_metrics_read read, void *ctx);
/* The same for a value that only grows, and is counted elsewhere (CPU time, say). */
void hf_metrics_counter_fn(struct hf_metrics *metrics, const char *name, const char *labels,
			   const char *help, hf_metrics_read read, void *ctx);
/* Record with hf_histogram_record() in `unit_per_second` units (1000000 for microseconds); shown in
 * seconds with fixed buckets 100us..60s. Name ends in _seconds. */
struct hf_histogram *hf_metrics_histogram(struct hf_metrics *metrics, const char *name,
					  const char *labels, const char *help,
					  uint64_t unit_per_second);

int hf_metrics_write(const struct hf_metrics *metrics, struct hf_buffer *out); /* 0 or -ENOMEM */

#endif
