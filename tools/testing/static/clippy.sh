#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Both modules with clippy, as built for the stock kernel: the kernel's lints and
# those of the crates. A warning is an error.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
"$TESTING/kernel/modules.sh" -o "$CACHE/out/$(key "$TOP")/clippy" \
	CLIPPY=1 KRUSTFLAGS=-Dwarnings modules
