#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# bench.sh: the C client and ours, by turns, in one boot of the stock kernel on one
# real cluster; prints ratios (make bench). What the rows do is in bench.py.
#   ROUNDS=3    how often each client does each row
#   ROWS=PART   only rows whose name has this part ('|' means: or): those of bench.py; "fio" for
#               operations per second, "size" for the modules' text
#   PROFILE=1   instead of the table: which functions a row's instructions are in
#               (CLIENT=rust or CLIENT=c: only of that one)
#   OUT=FILE    writes the table there, too
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
mkdir -p "$CACHE/run"
run=$(mktemp -d "$CACHE/run/bench-$(date +%H%M%S)-XXXX")
say "Logs of this run: $run"
rc=0
"$TESTING/qemu/lab.sh" -r "$run" bench/bench.py --rounds "${ROUNDS:-3}" --rows "${ROWS:-}" \
	${PROFILE:+--profile} ${CLIENT:+--client "$CLIENT"} || rc=$?
[ -z "${OUT:-}" ] || [ ! -e "$run/table" ] || cp "$run/table" "$OUT"
exit $rc
