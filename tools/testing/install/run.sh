#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh: `make install` into roots of images, for kernels of each series and for others.
# Prints "ok NAME" or "FAIL NAME" with the output, and "N passed, N failed" at last.
# (On a running kernel: integration/test_9_install.py.)
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# check NAME COMMAND...: passes if COMMAND does; shows what install.sh said if not.
check() {
	local name=$1
	shift
	if "$@"; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "FAIL $name"
		sed 's/^/    | /' "$work/out"
		failed=$((failed + 1))
	fi
}

# tool RELEASE install|uninstall [VARIABLE=VALUE...]: install.sh for that kernel in a root
# that has nothing but its folder; leaves what it said in out and its status in rc.
tool() {
	local release=$1 what=$2
	shift 2
	mkdir -p "$work/root/lib/modules/$release"
	rc=0
	timeout 1200 env -u MODULES -u KERNEL -u SIGN_KEY INSTALL_MOD_PATH="$work/root" KERNELRELEASE="$release" "$@" \
		"$TOP/tools/install.sh" "$what" >"$work/out" 2>&1 </dev/null || rc=$?
}

said() { grep -qF -- "$1" "$work/out"; }

updates() { echo "$work/root/lib/modules/$1/updates"; }

# Of no series: says so, names all, and does not begin to build (the cache stays empty).
refuses_unknown() {
	local s
	[ $rc -ne 0 ] && said "$1 is no kernel that this client builds for" || return 1
	for s in $(all_series); do
		grep -qE "^It knows these series.* $s( |\$)" "$work/out" || return 1
	done
	[ -z "$(ls -A "$work/cache")" ] && [ ! -e "$(updates "$1")" ]
}

installs() {
	local m at
	at=$(updates "$1")/ceph-rust
	[ $rc -eq 0 ] && said "Installed in $at." || return 1
	for m in libceph ceph; do
		[ "$(grep -azo 'vermagic=[^ ]*' "$at/$m.ko" | tr -d '\0')" = "vermagic=$1" ] || return 1
		grep -q "^updates/ceph-rust/$m.ko:" "$work/root/lib/modules/$1/modules.dep" || return 1
	done
}

# The modules are for another kernel of the series.
refuses_other() { [ $rc -ne 0 ] && said "this is $1" && said "linux-image-$2" && [ ! -e "$(updates "$1")" ]; }

uninstalled() { [ $rc -eq 0 ] && [ ! -e "$(updates "$1")" ] && ! grep -q ceph-rust "$work/root/lib/modules/$1/modules.dep"; }

newest=$(all_series | sort -V | tail -n 1)
for release in 6.12.1 "${newest%.*}.$((${newest##*.} + 1)).0+deb13-amd64" "${newest}1.0" "${newest%%.*}"; do
	rm -rf "$work/cache"
	tool "$release" install CEPH_RUST_CACHE="$work/cache"
	check "refuses-$release" refuses_unknown "$release"
done
for s in $(all_series); do
	v=$(stock_version "$s")
	tool "$v" install
	check "installs-$s" installs "$v"
	tool "$v" uninstall
	check "uninstalls-$s" uninstalled "$v"
	tool "$s.99+deb13-amd64" install
	check "refuses-$s.99" refuses_other "$s.99+deb13-amd64" "$v"
	# KERNEL= is for building; what is installed is for the kernel that it is installed for.
	other=$(all_series | grep -vxF "$s" | head -n 1)
	tool "$v" install KERNEL="$other"
	check "installs-$s-whatever-KERNEL-says" installs "$v"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
