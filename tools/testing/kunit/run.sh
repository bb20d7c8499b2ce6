#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [SUITE-GLOB]: the KUnit suites of libceph.ko and ceph.ko, in QEMU, on the
# debug kernel (lockdep, KASAN, kmemleak, UBSAN, debug objects). The tests run
# when the modules are loaded. Fails too when anything that the kernel logs from
# the first insmod on looks like a splat, and when a suite did not run. With a
# SUITE-GLOB only those suites run, and the search for leaks is left out.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

# Only ends what hangs; on a machine with two cores it takes three minutes.
limit=${KUNIT_TIMEOUT:-2400}
filter=${1:-}
kernel=$("$TESTING/kernel/build.sh" debug)
modules=$("$TESTING/kernel/modules.sh" -k debug 2>"$CACHE/logs/kunit-modules.$$") || {
	cat "$CACHE/logs/kunit-modules.$$" >&2
	die "the modules do not build against the debug kernel"
}
rm -f "$CACHE/logs/kunit-modules.$$"
work=$CACHE/out/$(key "$TOP")/kunit
mkdir -p "$work"

initramfs() {
	in_toolbox bash -ec '
		kernel=$1 modules=$2 work=$3
		root=$work/root
		rm -rf "$root"
		mkdir -p "$root"/{bin,proc,sys,dev}
		cp /usr/bin/busybox "$root/bin/"
		cp /src/tools/testing/kunit/init "$root/init"
		release=$(cat "$kernel/include/config/kernel.release")
		lib=$root/lib/modules/$release
		mkdir -p "$lib/updates"
		# What ours may depend on; the C client of the same names stays away.
		(cd "$kernel" && find . -name "*.ko" ! -path "./net/ceph/*" ! -path "./fs/ceph/*" \
			-exec cp --parents {} "$lib/" \;)
		cp "$kernel"/modules.{order,builtin,builtin.modinfo} "$lib/"
		cp "$modules"/{libceph,ceph}.ko "$lib/updates/"
		depmod -b "$root" "$release" 2>&1 | grep -v "could not open modules" || true
		(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs.gz"
		# One pointer for each suite: what must have run in the end.
		n=0
		for m in libceph ceph; do
			size=$(readelf -SW "$modules/$m.ko" |
				sed -nE "s/.* \.kunit_test_suites +[A-Z]+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+).*/\1/p")
			n=$((n + 0x${size:-0} / 8))
		done
		echo $n >"$work/suites"
	' initramfs "$(box_path "$kernel")" "$(box_path "$modules")" "$(box_path "$work")"
}

boot() {
	# With LA57 an interrupt during identify_cpu makes KASAN report a wild access, its only report.
	local accel="-accel tcg,thread=multi,tb-size=256 -cpu max,la57=off" rc=0 khz
	# The device alone proves nothing: some sandboxes have it and cannot run it.
	if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
		accel="-accel kvm -cpu host" khz=
	else
		# see tsc_khz() in qemu/lab.py
		khz=$(in_toolbox LAB_KERNEL_NAME=debug PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/src/tools/testing/qemu:/src/tools/testing/cluster \
			python3 -c 'import lab; print(lab.tsc_khz())')
	fi
	# shellcheck disable=SC2086
	# The serial line is a file: nothing can block on it.
	in_toolbox timeout -k 5 "$limit" qemu-system-x86_64 -M q35,smm=off,hpet=off,vmport=off \
		$accel -smp 2 -m 1024 -no-reboot -nodefaults -display none \
		-serial "file:$(box_path "$work")/console.log" \
		-kernel "$(box_path "$kernel")/arch/x86/boot/bzImage" \
		-initrd "$(box_path "$work")/initramfs.gz" \
		-append "console=ttyS0 mitigations=off tsc=reliable ${khz:+tsc_early_khz=$khz} no_timer_check nokaslr \
panic=-1 oops=panic printk.time=1 log_buf_len=4M rcupdate.rcu_cpu_stall_timeout=120 \
watchdog_thresh=60 workqueue.watchdog_thresh=120 ${filter:+kunit.filter_glob=$filter noleaks}" || rc=$?
	[ $rc -ne 124 ] || say "the guest was ended after $limit s"
}

judge() {
	local rc=0 splats=0
	local suites
	suites=$(cat "$work/suites")
	[ -z "$filter" ] || suites=0
	in_toolbox /src/tools/testing/kunit/ktap.py "$(box_path "$work")/console.log" "$suites" \
		>"$work/ktap" 2>"$work/splats" || splats=$?
	in_toolbox bash -c 'cd /usr/src/linux-source-$1 && python3 tools/testing/kunit/kunit.py parse' kunit.py "$(default_series)" \
		<"$work/ktap" >"$work/results" || rc=$?
	sed 's/\x1b\[[0-9;]*m//g' "$work/results"
	cat "$work/splats" >&2
	if [ $rc -ne 0 ] || [ $splats -ne 0 ]; then
		die "KUnit failed; the kernel's log: $work/console.log"
	fi
}

run() {
	rm -f "$work"/{console.log,ktap,splats,results}
	initramfs
	boot
	judge
}
with_lock "kunit-$(key "$work")" run
