#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# build.sh stock   prepares the source tree of the stock Debian kernel, so that
#                  modules can be built against it.
# build.sh debug   builds the test kernel: KUnit, lockdep, KASAN, kmemleak.
# Prints the folder. Cached by content; .complete marks a whole one.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

kernel_dir() {
	case $1 in
	stock) echo "$CACHE/kernel-stock-$(key "$(toolbox_dir)" "${BASH_SOURCE[0]}")" ;;
	debug) echo "$CACHE/kernel-debug-$(key "$(toolbox_dir)" "${BASH_SOURCE[0]}" "$TESTING"/kernel/*.config)" ;;
	*) die "build.sh stock|debug" ;;
	esac
}

build_stock() {
	local o=$1 v
	v=$(cat "$(toolbox_dir)/usr/src/stock-version")
	rm -rf "$o"
	mkdir -p "$o"
	in_toolbox bash -ec '
		o=$1 v=$2 h=/usr/src/linux-headers-$2
		src=$(echo /usr/src/linux-source-7.2*/)
		mk() { make -C "$src" O="$o" -j"$(nproc)" CROSS_COMPILE=x86_64-linux-gnu- \
			CC=x86_64-linux-gnu-gcc-14 LOCALVERSION="+${v#*+}" "$@"; }
		cp "$h/.config" "$o/"
		mk olddefconfig
		diff "$h/.config" "$o/.config"
		mk prepare
		mk modules_prepare
		cp "$h/Module.symvers" "$h/vmlinux" "$o/"
	' build_stock "$(box_path "$o")" "$v"
}

build_debug() {
	local o=$1
	mkdir -p "$o"
	cat "$TESTING"/kernel/{base,debug,kasan}.config >"$o/all.config"
	in_toolbox bash -ec '
		o=$1; src=$(echo /usr/src/linux-source-7.2*/)
		mk() { make -C "$src" O="$o" -j"$(nproc)" LLVM=1 "$@"; }
		mk KCONFIG_ALLCONFIG="$o/all.config" allnoconfig
		for want in KUNIT KASAN PROVE_LOCKING DEBUG_KMEMLEAK NET_CRC32C CEPH_FS; do
			grep -q "^CONFIG_$want=[ym]" "$o/.config" || { echo "CONFIG_$want is missing"; exit 1; }
		done
		mk bzImage modules
	' build_debug "$(box_path "$o")"
}

build() {
	[ ! -e "$2/.complete" ] || return 0
	step "kernel: $1" "build_$1" "$2"
	touch "$2/.complete"
}

o=$(kernel_dir "$1")
with_lock "kernel-$1" build "$1" "$o"
echo "$o"
