// SPDX-License-Identifier: GPL-2.0
// The Rust symbols of libceph.ko that ceph.ko links against.
#include <linux/export.h>
#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_GPL(sym)
#include "exports_generated.h"
