#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# modules.sh [-k SERIES|debug|DIR] [-o OUT] [MAKE-ARGUMENT...]
# Builds libceph.ko and ceph.ko against a prepared kernel, in the toolbox.
# SERIES is one of rust/series (without -k KERNEL= or the first), DIR a prepared build folder under
# the cache. Prints the output folder.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

kernel=$(wanted_kernel) out=
while getopts k:o: o; do
	case $o in
	k) kernel=$OPTARG ;;
	o) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

if [ "$kernel" != debug ] && [ -e "$kernel/.config" ]; then
	dir=$kernel kernel=$(basename "$kernel")
else
	dir=$("$TESTING/kernel/build.sh" "$kernel")
fi
mine=$CACHE/out/$(key "$TOP")
: "${out:=$mine/$kernel}"
mkdir -p "$mine" "$out"
echo "$TOP" >"$mine/checkout"

toolchain=CC=x86_64-linux-gnu-gcc-14
grep -q '^CONFIG_CC_IS_CLANG=y' "$dir/.config" && toolchain=LLVM=1

build() {
	in_toolbox make -C "$(box_path "$dir")" M=/src MO="$(box_path "$out")" \
		"$toolchain" -j"$(nproc)" "${@:-modules}" >&2
}
with_lock "out-$(key "$out")" build "$@"
echo "$out"
