#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [PATTERN...]: the integration tests, and those of this folder, on the debug
# kernel: lockdep, KASAN, kmemleak, sleep in atomic context, object debugging, fault
# injection. A test fails when any of these finds something while it runs; kmemleak looks
# after each file (".nothing_left"). Ends with "N passed, N failed".
#   LAB_CYCLES=200   so many times insmod, mount, read, umount, rmmod (10)
#   LONG=1           also the slow integration tests, and each fault instead of some
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

# An aid that a dependency has switched off must not go unnoticed.
dir=$("$TESTING/kernel/build.sh" debug)
missing=$(cat "$TESTING"/kernel/{debug,kasan}.config | grep -vxFf "$dir/.config" || true)
[ -z "$missing" ] || die "not in the debug kernel: $missing"

KERNEL=debug LAB_SUITES="${LAB_SUITES:-integration sanitize}" exec "$TESTING/integration/run.sh" "$@"
