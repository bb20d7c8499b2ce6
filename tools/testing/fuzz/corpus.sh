#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# corpus.sh [RECORDING.pcap]: makes the archives of tools/testing/fuzz/corpus anew (make fuzz-corpus):
# records real messages (capture.py) unless a recording is given, cuts them (cut.py),
# and keeps what reaches code that nothing before it reaches. From what fuzzing found
# the 50 smallest inputs of each target are kept. The result is to be committed.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/fuzz/run.sh" -b

out=$CACHE/out/$(key "$TOP")/fuzz
recording=${1:-$out/recording.pcap}
[ $# -gt 0 ] || "$TESTING/qemu/lab.sh" fuzz/capture.py "$(box_path "$recording")"
in_toolbox nice -n 19 bash -euc '
	cd "$1"
	program=$PWD/target/x86_64-unknown-linux-gnu/release/fuzz
	rm -rf maps seeds new
	mkdir -p maps
	python3 /src/tools/testing/crush/generate.py maps >/dev/null
	python3 /src/tools/testing/fuzz/cut.py "$2" maps seeds
	$program --list | while read -r target longest; do
		mkdir -p "seeds/$target" "new/$target" "work/$target"
		# libFuzzer would cut them off.
		find "seeds/$target" -type f -size +"$longest"c -delete
		merge() { $program "$target" -merge=1 "$@" >"new/$target.log" 2>&1 </dev/null; }
		merge -max_len="$longest" "new/$target" "seeds/$target"
		merge -max_len="$((longest < 200 ? longest : 200))" "new/$target" "work/$target"
		ls -Sr "new/$target" | while read -r input; do
			[ -e "seeds/$target/$input" ] || echo "new/$target/$input"
		done | tail -n +51 | xargs -r rm
	done
	rm -f new/*.log
	find new -mindepth 1 -type d -empty -delete
	rm -rf /src/tools/testing/fuzz/corpus
	/src/tools/testing/fuzz/pack.sh new /src/tools/testing/fuzz/corpus
	cd new
	echo "$(find . -type f | wc -l) inputs, $(find . -type f -printf "%s\n" | paste -sd+ | bc) bytes"
	' corpus "$(box_path "$out")" "$(box_path "$recording")"
