#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# demo.sh: builds everything, starts a real Ceph cluster and the stock Debian
# kernel in QEMU, mounts the one in the other with our modules, reads all of it.
#   KEEP=1    leaves the cluster and the guest up, with the file system mounted
#   CLIENT=c  the same with the kernel's own C client, to compare
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_root

mkdir -p "$CACHE/run"
run=$(mktemp -d "$CACHE/run/demo-$(date +%H%M%S)-XXXX")
t0=$(now_ms)
say "Logs of this run: $run"
args=("$TESTING/qemu/lab.sh" -r "$run")
[ "${CLIENT:-rust}" = rust ] || args+=(-n)
args+=(demo/demo.py --client "${CLIENT:-rust}")

if [ -z "${KEEP:-}" ]; then
	rc=0
	"${args[@]}" 2>&1 </dev/null | tee "$run/demo.log" || rc=$?
	took=$((($(now_ms) - t0) / 1000))
	[ $rc -eq 0 ] || { say "The demo FAILED after $took s; logs: $run"; exit 1; }
	say "The demo passed in $took s."
	exit 0
fi

# The lab goes on in the background when this script ends.
touch "$run/demo.log"
setsid "${args[@]}" --keep >"$run/demo.log" 2>&1 </dev/null &
lab=$!
trap 'kill "$lab" 2>/dev/null' INT TERM
tail -n +1 -f --pid="$lab" "$run/demo.log" &
until [ -e "$run/ready" ] || ! kill -0 "$lab" 2>/dev/null; do sleep 0.2; done
sleep 1
kill $! 2>/dev/null || true
if [ ! -e "$run/ready" ]; then
	say "The demo FAILED after $((($(now_ms) - t0) / 1000)) s; logs: $run"
	exit 1
fi
cat >&2 <<EOF

Cluster and guest are up, with the file system mounted at /mnt/ceph. From here:
    tools/testing/qemu/shell.py --attach $run                 a shell in the guest
    tools/testing/qemu/shell.py --attach $run -- 'ls /mnt/ceph'
    tools/testing/qemu/shell.py --attach $run --ceph -- -s    the ceph program
    tools/testing/qemu/shell.py --stop $run                   ends everything
EOF
