/* tools/bench/report.h - the parts of report.html. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "output.h"

/* The latency that the run is about ("deliver"), or NULL. */
const char *report_main(json_t *summary);
void report_style(FILE *to);
void report_charts(FILE *to, const char *folder, json_t *summary);

#endif
