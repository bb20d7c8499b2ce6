#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [PATTERN...]: faults of a real cluster, of the network and of the session,
# under readers that compare what they read. Prints "ok NAME" or "FAIL NAME" with the
# reason, a table of how long reads stalled, and "N passed, N failed". A PATTERN is a
# part of a fault's name.
#   BESIDE=c      a second guest with the kernel's C client suffers the same faults;
#                 the table then compares (Documentation/faults.rst keeps one)
#   QUICK=1       only the few faults that `make test` has time for
#   SEED=n        another choice of what is read
#   KERNEL=debug  on the kernel with KASAN and lockdep
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
mkdir -p "$CACHE/run"
run=$(mktemp -d "$CACHE/run/faults-$(date +%H%M%S)-XXXX")
say "Logs of this run: $run"
exec "$TESTING/qemu/lab.sh" -r "$run" faults/run.py ${QUICK:+--quick} \
	${BESIDE:+--beside "$BESIDE"} ${SEED:+--seed "$SEED"} "$@"
