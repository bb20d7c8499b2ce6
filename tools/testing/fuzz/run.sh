#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [-s SECONDS | -n RUNS] [-j JOBS] [TARGET...]: fuzzes the targets of
# src/table.rs (all, if none is named) with libFuzzer: first the corpus (unpacked into the
# cache), then for so many seconds each (default 30), or until there were so many
# executions. Ends with one line "N passed, N failed". New inputs are kept in the cache and used again;
# what made a target fail is printed and lies there too.
#   tools/testing/fuzz/run.sh -n 10000000 osdmap      (make fuzz TARGET=osdmap RUNS=10000000)
#   tools/testing/fuzz/run.sh -f FILE osdmap          runs the target once on a file
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

seconds=30 runs= jobs=1 file= mode=fuzz
while getopts s:n:j:f:b o; do
	case $o in
	s) seconds=$OPTARG ;;
	n) runs=$OPTARG ;;
	j) jobs=$OPTARG ;;
	f) file=$OPTARG ;;
	b) mode=build ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

out=$CACHE/out/$(key "$TOP")/fuzz
mkdir -p "$out"

# libFuzzer is a package of the toolbox's Debian, unpacked beside it: the toolbox
# itself, and with it all that is built from it, stays as it is.
lib=$CACHE/libfuzzer-$(key "$(toolbox_dir)")
get_libfuzzer() {
	[ ! -e "$lib/.complete" ] || return 0
	rm -rf "$lib"
	mkdir -p "$lib"
	in_toolbox bash -ec '
		cd /tmp
		apt-get -o APT::Sandbox::User=root download libfuzzer-19-dev ||
			{ apt-get update; apt-get -o APT::Sandbox::User=root download libfuzzer-19-dev; }
		dpkg-deb -x libfuzzer-19-dev_*.deb x
		cp x/usr/lib/llvm-19/lib/libFuzzer.a "$1/"' get "$(box_path "$lib")"
	touch "$lib/.complete"
}
with_lock libfuzzer step "libFuzzer" get_libfuzzer

# Coverage is the compiler's own; there is no address sanitizer, as there is no
# unsafe code to check. Overflow and debug assertions are on (host/Cargo.toml).
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
	-Ccodegen-units=1 -Clink-arg=$(box_path "$lib")/libFuzzer.a -Clink-arg=-lstdc++ -Clink-arg=-lm -Clink-arg=-lc"
build() {
	in_toolbox env -C /src/tools/testing/host CARGO_HOME="$(box_path "$out")/home" \
		CARGO_TARGET_DIR="$(box_path "$out")/target" RUSTFLAGS="$(echo $flags)" \
		cargo build --offline --locked --release --target x86_64-unknown-linux-gnu \
		-p fuzz --features libfuzzer
}
LOGDIR=$out with_lock "fuzz-$(key "$out")" step "build the fuzz targets" build
program=$(box_path "$out")/target/x86_64-unknown-linux-gnu/release/fuzz
[ "$mode" != build ] || exit 0

if [ $# -eq 0 ]; then
	# shellcheck disable=SC2046
	set -- $(in_toolbox "$program" --list | cut -d' ' -f1)
fi
corpus=$("$TESTING/fuzz/unpack.sh")
in_toolbox nice -n 19 /src/tools/testing/fuzz/in_toolbox.sh "$mode" "$program" \
	"$(box_path "$corpus")" "$(box_path "$out")/work" "$seconds" "${runs:-0}" "$jobs" "${file:+$(box_path "$file")}" "$@"
