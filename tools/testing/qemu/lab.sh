#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# lab.sh [-k SERIES|debug] [-n] [-r RUN] PROGRAM [ARGUMENT...]
# Runs a Python program of this checkout (a path below tools/testing) in a lab:
# in the toolbox, as PID 1 of a process namespace, with a network and mounts of
# its own. Whatever it starts ends with it, however it ends. It gets
#   LAB_RUN      a folder of this run for logs, kept afterwards
#   LAB_GUEST    root.ext4, LAB_INITRD and LAB_KERNEL the initramfs and the kernel image
#   LAB_MODULES  the folder of libceph.ko and ceph.ko, built first (not with -n)
# -r names the folder LAB_RUN; without it, one is made.
# CEPH=tentacle runs it with Ceph 20.2 of Debian forky, in the second toolbox.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

kernel=$(wanted_kernel) build=yes run=
while getopts k:nr: o; do
	case $o in
	k) kernel=$OPTARG ;;
	n) build= ;;
	r) run=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

"$TESTING/toolbox/build.sh"
guest=$("$TESTING/guest/build.sh")
if [ -n "$build" ]; then
	LOGDIR=${run:-$CACHE/logs} step "build libceph.ko and ceph.ko" "$TESTING/kernel/modules.sh" -k "$kernel"
fi
modules=$CACHE/out/$(key "$TOP")/$kernel
mkdir -p "$modules"

series=$kernel image=$guest/vmlinuz-$kernel kmods=
if [ "$kernel" = debug ]; then
	series=$(default_series)
	dir=$("$TESTING/kernel/build.sh" "$kernel")
	image=$dir/arch/x86/boot/bzImage kmods=$dir/lab-modules
	install_kmods() {
		[ -e "$kmods/.complete" ] && return
		rm -rf "$kmods"
		in_toolbox bash -ec '
			make -C "$1" INSTALL_MOD_PATH="$1/lab-modules.root" LLVM=1 modules_install
			mv "$1"/lab-modules.root/lib/modules/* "$1/lab-modules"
			rm -rf "$1/lab-modules.root"' kmods "$(box_path "$dir")" >&2
		touch "$kmods/.complete"
	}
	with_lock "lab-modules-$(key "$dir")" install_kmods
fi

# Only of use where they are modules and not loaded yet.
modprobe -qa tun bridge fuse 2>/dev/null || true

if [ -z "$run" ]; then
	mkdir -p "$CACHE/run"
	run=$(mktemp -d "$CACHE/run/$(date +%H%M%S)-XXXX")
fi
echo $$ >"$run/pid"

# The chroot that the lab runs in; everything was built in the first one.
box=
case ${CEPH:-reef} in
reef) ;;
tentacle) box=$("$TESTING/toolbox/tentacle.sh") ;;
*) die "CEPH=$CEPH: reef (18.2) and tentacle (20.2) are known" ;;
esac

program=$1
shift
lab() {
	BOX=$box in_toolbox LAB_CEPH="${CEPH:-reef}" LAB_RUN="$(box_path "$run")" LAB_HOST_RUN="$run" LAB_GUEST="$(box_path "$guest")" \
		LAB_INITRD="$(box_path "$guest/initrd-$series.gz")" LAB_VERSION="$(stock_version "$series")" \
		LAB_KERNEL="$(box_path "$image")" LAB_KERNEL_NAME="$kernel" \
		LAB_KMODS="${kmods:+$(box_path "$kmods")}" LAB_MODULES="$(box_path "$modules")" \
		LAB_LONG="${LAB_LONG:-}" LAB_SEED="${LAB_SEED:-}" LAB_SUITES="${LAB_SUITES:-integration}" \
		LAB_CYCLES="${LAB_CYCLES:-10}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
		PYTHONPATH=/src/tools/testing/qemu:/src/tools/testing/cluster:/src/tools/testing/integration \
		setpriv --pdeathsig KILL unshare --net --pid --fork --kill-child --propagation unchanged --mount-proc \
		python3 "/src/tools/testing/$program" "$@"
}

# Not in the foreground: bash runs traps only between commands.
lab "$@" <&0 &
child=$!
end() {
	# The child's only descendant is PID 1 of the lab (unshare forwards nothing).
	kill -KILL "$child" 2>/dev/null || true
	pkill -KILL -P "$child" 2>/dev/null || true
}
trap 'end; exit 143' TERM INT HUP
wait "$child"
