/* services/center/ids.h - lists of registration ids in JSON bodies. */
#ifndef CENTER_IDS_H
#define CENTER_IDS_H

#include <jansson.h>

#include "hf_base.h"
#include "problem.h"
#include "request.h"

/* 1..REQUEST_TARGETS_MAX ids into `ret`, which borrows from `list`. */
HF_MUST_CHECK int ids_parse(const json_t *list, const char *field,
			    struct hf_bytes ret[REQUEST_TARGETS_MAX], size_t *ret_count,
			    struct problem *ret_problem);

#endif
