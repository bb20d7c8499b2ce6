#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# in_toolbox.sh MODE PROGRAM CORPUS WORK SECONDS RUNS JOBS FILE TARGET...: the part of run.sh
# that runs in the toolbox.
set -uo pipefail
mode=$1 program=$2 corpus=$3 work=$4 seconds=$5 runs=$6 jobs=$7 file=$8
shift 8

longest() { "$program" --list | awk -v t="$1" '$1 == t { print $2 }'; }

# Prints "ok ..." or "FAIL ..." with libFuzzer's last words.
one() {
	local target=$1 dir=$work/$1 log=$work/$1.log args
	mkdir -p "$dir" "$work/found/$target"
	# On a busy machine; an input that takes long is printed anyway (slow-unit).
	args=(-timeout=120 -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len="$(longest "$target")"
		-artifact_prefix="$work/found/$target/" -print_final_stats=1 -use_value_profile=0
		-verbosity=1 -len_control=20)
	if [ "$runs" -gt 0 ]; then args+=(-runs="$runs"); else args+=(-max_total_time="$seconds"); fi
	[ ! -d "$corpus/$target" ] || set -- "$target" "$corpus/$target"
	shift
	if "$program" "$target" "${args[@]}" "$dir" "$@" >"$log" 2>&1; then
		echo "ok $target: $(awk '/stat::number_of_executed_units/ { n = $2 }
			/stat::average_exec_per_sec/ { s = $2 } END { print n " executions, " s " per second" }' "$log")"
	else
		echo "FAIL $target: $log"
		grep -vE '^#[0-9]+' "$log" | tail -n 30 | sed 's/^/    | /'
	fi
}

case $mode in
fuzz)
	mkdir -p "$work"
	if [ -n "$file" ]; then
		exec "$program" "$1" "$file"
	fi
	results=$(mktemp)
	while [ $# -gt 0 ]; do
		while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
		one "$1" | tee -a "$results" &
		shift
	done
	wait
	passed=$(grep -c '^ok ' "$results") failed=$(grep -c '^FAIL ' "$results")
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	;;
esac
