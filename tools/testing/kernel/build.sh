#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# build.sh SERIES  prepares the source tree of the stock Debian kernel of that series, so
#                  that modules can be built against it.
# build.sh debug   builds the test kernel, of the default series: KUnit, lockdep, KASAN,
#                  kmemleak.
# Prints the folder. Cached by content; .complete marks a whole one.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

kernel_dir() {
	if [ "$1" = debug ]; then
		echo "$CACHE/kernel-debug-$(key "$(toolbox_dir)" "${BASH_SOURCE[0]}" "$TESTING"/kernel/*.config)"
	elif is_series "$1"; then
		echo "$CACHE/kernel-$1-$(key "$(toolbox_dir)" "${BASH_SOURCE[0]}")"
	else
		die "build.sh debug|SERIES, where SERIES is one of: $(all_series | xargs)"
	fi
}

build_stock() {
	local series=$1 o=$2 v
	v=$(stock_version "$series")
	rm -rf "$o"
	mkdir -p "$o"
	in_toolbox bash -ec '
		o=$1 v=$2 h=/usr/src/linux-headers-$2 src=/usr/src/linux-source-$3
		mk() { make -C "$src" O="$o" -j"$(nproc)" CROSS_COMPILE=x86_64-linux-gnu- \
			CC=x86_64-linux-gnu-gcc-14 LOCALVERSION="+${v#*+}" "$@"; }
		cp "$h/.config" "$o/"
		mk olddefconfig
		diff "$h/.config" "$o/.config"
		mk prepare
		mk modules_prepare
		cp "$h/Module.symvers" "$h/vmlinux" "$o/"
	' build_stock "$(box_path "$o")" "$v" "$series"
}

build_debug() {
	local o=$2
	mkdir -p "$o"
	cat "$TESTING"/kernel/{base,debug,kasan}.config >"$o/all.config"
	in_toolbox bash -ec '
		o=$1 src=/usr/src/linux-source-$2
		mk() { make -C "$src" O="$o" -j"$(nproc)" LLVM=1 "$@"; }
		mk KCONFIG_ALLCONFIG="$o/all.config" allnoconfig
		for want in KUNIT KASAN PROVE_LOCKING DEBUG_KMEMLEAK NET_CRC32C CEPH_FS; do
			grep -q "^CONFIG_$want=[ym]" "$o/.config" || { echo "CONFIG_$want is missing"; exit 1; }
		done
		mk bzImage modules
	' build_debug "$(box_path "$o")" "$(default_series)"
}

build() {
	[ ! -e "$2/.complete" ] || return 0
	local how=build_stock
	[ "$1" != debug ] || how=build_debug
	step "kernel: $1" "$how" "$1" "$2"
	touch "$2/.complete"
}

o=$(kernel_dir "$1")
with_lock "kernel-$1" build "$1" "$o"
echo "$o"
