#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# test.sh: everything (make test). Sets up what it needs, goes on after a failure,
# and ends with one line "N passed, N failed". Logs lie in the cache, under
# logs/test-CHECKOUT. FULL=1 (make test-full) adds the slow integration tests, and
# tries all faults, with the C client beside.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_root

LOGDIR=$CACHE/logs/test-$(key "$TOP")
mkdir -p "$LOGDIR"
passed=0 failed=0

count() { passed=$((passed + $1)) failed=$((failed + $2)); }

# part NAME COUNTER COMMAND...: runs COMMAND; COUNTER prints "PASSED FAILED" for
# its log and status.
part() {
	local name=$1 counter=$2 rc=0 t0 log counts
	shift 2
	log=$LOGDIR/$name.log
	t0=$(now_ms)
	echo "         $name: $log"
	set +e
	"$@" >"$log" 2>&1 </dev/null
	rc=$?
	counts=$($counter "$log" $rc)
	set -e
	# shellcheck disable=SC2086
	set -- $counts
	# A part that failed as a whole counts, whatever its tests say.
	[ $rc -eq 0 ] || [ "$2" -gt 0 ] || set -- "$1" 1
	count "$1" "$2"
	printf '%6d s  %-12s %5d passed, %d failed\n' $((($(now_ms) - t0) / 1000)) "$name" "$1" "$2"
	if [ "$2" -gt 0 ]; then
		printf '%s\n    log: %s\n' "$(tail -n 40 "$log" | sed 's/^/    | /')" "$log"
	fi
}

# together FUNCTION...: each calls part, one after the other, all at the same time: guests
# and clusters mostly wait.
together() {
	local f
	for f; do
		(
			passed=0 failed=0
			"$f"
			echo "$passed $failed" >"$LOGDIR/$f.counts"
		) &
	done
	wait
	for f; do
		# shellcheck disable=SC2046
		count $(cat "$LOGDIR/$f.counts" || echo 0 1)
	done
}

# One check, passed or failed by its status.
as_one() { if [ "$2" -eq 0 ]; then echo 1 0; else echo 0 1; fi; }

# cargo test: "test result: ok. 8 passed; 0 failed; ..." for each crate.
as_cargo() {
	awk '/^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i } }
		END { print p + 0, f + 0 }' "$1"
}

# kunit.py: "Testing complete. Ran 8 tests: passed: 7, failed: 1, crashed: 0, ..."
as_kunit() {
	awk '/Testing complete\. Ran/ {
			gsub(/[,:]/, "")
			for (i = 1; i < NF; i++) {
				if ($i == "passed") p += $(i+1)
				if ($i == "failed" || $i == "crashed" || $i == "errors") f += $(i+1)
			}
		}
		END { print p + 0, f + 0 }' "$1"
}

# The last line "N passed, N failed".
as_line() {
	awk '/^[0-9]+ passed, [0-9]+ failed$/ { p = $1; f = $3 } END { print p + 0, f + 0 }' "$1"
}

# Removes the logs of runs that ended two days ago, and what was built from checkouts that
# are gone.
sweep() {
	local f
	mkdir -p "$CACHE"/{run,out}
	find "$CACHE/run" -mindepth 1 -maxdepth 1 -mtime +2 | while read -r f; do
		[ -e "/proc/$(cat "$f/pid" 2>/dev/null || echo none)" ] || rm -rf "$f"
	done
	find "$CACHE/out" -mindepth 2 -maxdepth 2 -name checkout -mtime +2 | while read -r f; do
		[ -d "$(cat "$f")" ] || rm -rf "${f%/*}"
	done
}

setup() {
	"$TESTING/toolbox/build.sh"
	"$TESTING/guest/build.sh"
}

sweep
# First what takes both processors on a fresh machine. Then two guests at a time.
part setup as_one setup
part modules as_one "$TESTING/kernel/modules.sh"
part debug-kernel as_one "$TESTING/kernel/modules.sh" -k debug
one_lane() {
	part host-test as_cargo "$TESTING/host/run.sh" --no-fail-fast
	part oracle as_line "$TESTING/crush/oracle.sh"
	part fmt as_one "$TESTING/static/fmt.sh" --check
	part clippy as_one "$TESTING/static/clippy.sh"
	part doc-test as_one "$TESTING/doctest/run.sh"
	part rules as_one "$TESTING/static/rules.sh"
	part panics as_one "$TESTING/static/panics.sh"
	part fuzz as_line "$TESTING/fuzz/run.sh" -s 1 -j 2
	part kunit as_kunit "$TESTING/kunit/run.sh"
	part integration-1 as_line env LONG="${FULL:-}" "$TESTING/integration/run.sh" '^[1-4]'
}
other_lane() {
	local s
	part integration-2 as_line env LONG="${FULL:-}" "$TESTING/integration/run.sh" '^[^1-4]'
	[ -n "${FULL:-}" ] || part faults as_line env QUICK=1 "$TESTING/faults/run.sh"
	part install as_line "$TESTING/install/run.sh"
	for s in $(all_series); do
		[ "$s" = "$(wanted_kernel)" ] || part "demo-$s" as_one env KERNEL="$s" "$TESTING/demo.sh"
	done
}
rm -f "$LOGDIR"/*.counts
together one_lane other_lane
if [ -n "${FULL:-}" ]; then
	# These compare times with the C client's, so each is alone.
	part faults as_line env BESIDE=c "$TESTING/faults/run.sh"
	part sanitize as_line env LAB_CYCLES=200 "$TESTING/sanitize/run.sh"
	awk '/^Longest stall/, /passed, / { if (!/passed, /) print }' "$LOGDIR/faults.log"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
