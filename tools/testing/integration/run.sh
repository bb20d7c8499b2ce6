#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [PATTERN...]: the integration tests: the modules of this checkout in the
# stock kernel against a real cluster. Prints "ok NAME" or "FAIL NAME" with the
# reason, and ends with "N passed, N failed". A PATTERN is a regular expression that
# a part of a test's name matches.
#   CLIENT=c      runs them on the kernel's own C client, which checks the tests
#   LONG=1        also the slow ones of long_*.py, and random walks that nobody has seen
#   KERNEL=debug  runs them on the kernel with KASAN and lockdep
#   SEED=n        repeats a random walk that failed
#   KEEP=1        leaves cluster and guest up at the end (see qemu/shell.py --attach)
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
mkdir -p "$CACHE/run"
run=$(mktemp -d "$CACHE/run/test-$(date +%H%M%S)-XXXX")
args=(-r "$run")
[ "${CLIENT:-rust}" = rust ] || args+=(-n)
say "Logs of this run: $run"
export LAB_LONG=${LONG:-} LAB_SEED=${SEED:-} LAB_SUITES LAB_CYCLES
exec "$TESTING/qemu/lab.sh" "${args[@]}" integration/run.py --client "${CLIENT:-rust}" \
	${KEEP:+--keep} "$@"
