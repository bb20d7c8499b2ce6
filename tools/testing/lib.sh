# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts under tools/testing: where things are cached, how steps
# are reported, how the toolbox is entered. Source it; it runs nothing.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TESTING=$TOP/tools/testing

# Everything that is expensive to make lives outside the checkout, in folders
# named after what they were made of.
CACHE=${CEPH_RUST_CACHE:-/var/cache/ceph-rust}
mkdir -p "$CACHE"

now_ms() { echo $(($(date +%s%N) / 1000000)); }

say() { printf '%s\n' "$*" >&2; }

die() { say "error: $*"; exit 1; }

# step NAME COMMAND...: runs COMMAND with its output in a log file, and says how
# long it took. On failure: which step, where the log is, and its last lines.
step() {
	local name=$1 t0 rc=0 log
	shift
	mkdir -p "${LOGDIR:=$CACHE/logs}"
	log=$LOGDIR/$(tr -cs 'a-zA-Z0-9.-' '-' <<<"$name" | sed 's/^-//;s/-$//').log
	t0=$(now_ms)
	# Not "|| rc=$?": that would switch off errexit inside shell functions.
	set +e
	(set -e; "$@") >"$log" 2>&1 </dev/null
	rc=$?
	set -e
	local ms=$(($(now_ms) - t0))
	if [ $rc -ne 0 ]; then
		say "FAILED  $name after $((ms / 1000)).$(printf %03d $((ms % 1000))) s (exit $rc); log: $log"
		tail -n 30 "$log" | sed 's/^/    | /' >&2
		return $rc
	fi
	printf '%7d.%03d s  %s\n' $((ms / 1000)) $((ms % 1000)) "$name" >&2
}

# with_lock NAME COMMAND...: one at a time on this machine.
with_lock() {
	local name=$1
	shift
	(
		flock -w 5400 9 || die "$name is locked by another run"
		"$@" 9>&-
	) 9>"$CACHE/$name.lock"
}

# key FILES-OR-STRINGS...: a content key for a cache folder's name.
key() {
	local a
	for a; do
		if [ -f "$a" ]; then sha256sum <"$a"; else printf '%s\n' "$a"; fi
	done | sha256sum | cut -c1-12
}

need_root() { [ "$(id -u)" = 0 ] || die "run this as root (chroot, network namespaces)"; }

toolbox_dir() {
	echo "$CACHE/toolbox-$(key "$TESTING/toolbox/build.sh" "$TESTING/toolbox/packages" "$TOP/rust/series")"
}

tentacle_dir() {
	echo "$CACHE/tentacle-$(key "$(toolbox_dir)" "$TESTING/toolbox/tentacle.sh" "$TESTING/toolbox/packages-tentacle")"
}

# The series of Debian's kernel that we build for, the default first.
all_series() { grep -v "^#" "$TOP/rust/series" || die "rust/series names no series"; }

default_series() { all_series | head -n 1; }

is_series() { all_series | grep -qxF "$1"; }

# What to build for and to boot: KERNEL=, a series or debug, else the default series.
wanted_kernel() { if [ -n "${KERNEL:-}" ]; then echo "$KERNEL"; else default_series; fi; }

# stock_version SERIES: which kernel of a series the toolbox has, as `uname -r` says it.
stock_version() { cat "$(toolbox_dir)/usr/src/stock-version-$1"; }

# in_toolbox COMMAND...: runs COMMAND in the Debian 13 chroot, in a mount
# namespace that vanishes with it. The checkout is at /src, the cache at /cache. BOX= is
# another chroot.
in_toolbox() {
	local box=${BOX:-}
	if [ -z "$box" ]; then
		box=$(toolbox_dir)
		[ -e "$box/.complete" ] || die "no toolbox; run tools/testing/toolbox/build.sh"
	fi
	unshare --mount --propagation private -- bash -c '
		box=$1 top=$2 cache=$3; shift 3
		mkdir -p "$box/src" "$box/cache"
		for d in proc sys dev; do mount --rbind /$d "$box/$d"; done
		mount -t tmpfs tmpfs "$box/tmp"
		mount --bind "$top" "$box/src"
		mount --bind "$cache" "$box/cache"
		exec chroot "$box" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			HOME=/root LC_ALL=C.UTF-8 TERM=dumb "$@"
	' in_toolbox "$box" "$TOP" "$CACHE" "$@"
}

# Path of a file under the checkout or the cache as the toolbox sees it.
box_path() {
	case $1 in
	"$TOP"*) echo "/src${1#"$TOP"}" ;;
	"$CACHE"*) echo "/cache${1#"$CACHE"}" ;;
	*) die "$1 is not visible in the toolbox" ;;
	esac
}
