#include "delivery.h"

#include <errno.h>

ssize_t saver_delivery_pack(const Hf__Delivery *delivery, uint8_t buf[SAVER_DELIVERY_MAX])
{
	if (delivery == NULL)
		return 0;
	if (delivery->collapse_key.len > SAVER_COLLAPSE_KEY_MAX ||
	    delivery->receipt_params.len > SAVER_PARAMS_MAX ||
	    delivery->label.len > SAVER_LABEL_MAX ||
	    hf__delivery__get_packed_size(delivery) > SAVER_DELIVERY_MAX)
		return -EMSGSIZE; /* the last: fields that we do not know are kept as they are */
	return (ssize_t)hf__delivery__pack(delivery, buf);
}

Hf__Delivery *saver_delivery_unpack(struct hf_bytes packed)
{
	return packed.len == 0 ? NULL : hf__delivery__unpack(NULL, packed.len, packed.data);
}

void saver_delivery_free(Hf__Delivery *delivery)
{
	if (delivery != NULL)
		hf__delivery__free_unpacked(delivery, NULL);
}
