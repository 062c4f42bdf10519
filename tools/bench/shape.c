#include "shape.h"

#include <errno.h>
#include <string.h>

#include "hf_text.h"

static void add(struct shape *shape, uint64_t level, uint64_t length_ns)
{
	shape->stages[shape->count] = (struct stage){
		.from = shape->count > 0 ? shape->stages[shape->count - 1].to : 0,
		.to = (double)level,
		.begin_ns = shape_length_ns(shape),
		.length_ns = length_ns,
	};
	shape->count++;
}

void shape_line(struct shape *ret, uint64_t level, double rate)
{
	ret->count = 0;
	add(ret, level, (uint64_t)((double)level / rate * 1e9));
}

int shape_parse(struct shape *ret, const char *text)
{
	struct shape shape = { 0 };

	while (*text != '\0') {
		size_t len = strcspn(text, ","), level_len = strcspn(text, ":,");
		uint64_t level, ms;
		char time[32];

		if (shape.count == STAGES_MAX)
			return -E2BIG;
		if (text[level_len] != ':' || len - level_len > sizeof(time) ||
		    hf_text_parse_uint(text, level_len, &level) < 0)
			return -EINVAL;
		memcpy(time, text + level_len + 1, len - level_len - 1);
		time[len - level_len - 1] = '\0';
		if (hf_text_parse_duration(time, 1000, &ms) < 0 || ms > SHAPE_STAGE_MS ||
		    level > SHAPE_LEVEL)
			return -EINVAL;
		add(&shape, level, ms * 1000000u);
		text += len;
		if (*text == ',' && *++text == '\0')
			return -EINVAL;
	}
	if (shape.count == 0)
		return -EINVAL;
	*ret = shape;
	return 0;
}

uint64_t shape_peak(const struct shape *shape)
{
	double peak = 0;

	for (size_t i = 0; i < shape->count; i++)
		peak = HF_MAX(peak, shape->stages[i].to);
	return (uint64_t)peak;
}

uint64_t shape_length_ns(const struct shape *shape)
{
	const struct stage *last;

	if (shape->count == 0)
		return 0;
	last = &shape->stages[shape->count - 1];
	return last->begin_ns + last->length_ns;
}

bool shape_falls(const struct shape *shape)
{
	for (size_t i = 0; i < shape->count; i++) {
		if (shape->stages[i].to < shape->stages[i].from)
			return true;
	}
	return false;
}
