// SPDX-License-Identifier: GPL-2.0
#include <linux/key.h>

__rust_helper void *rust_helper_key_payload_get(const struct key *key)
{
	return key->payload.data[0];
}
