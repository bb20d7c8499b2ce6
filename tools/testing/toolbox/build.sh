#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes the toolbox: a Debian 13 chroot with the stock kernel's own toolchain,
# the kernel's source and image, QEMU and Ceph. Cached by content; an interrupted
# run is redone from the start, so a folder with the mark .complete is whole.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root

box=$(toolbox_dir)

# The Debian mirror that this machine uses, from its own configuration.
mirror() {
	local uri
	uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | awk '
		/^URIs:/ { print $2 }
		/^deb / { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:/) { print $i; break } }' |
		grep -E '/debian/?$' | head -n 1)
	[ -n "$uri" ] || die "no Debian mirror in /etc/apt/sources.list*"
	echo "${uri%/}"
}

host_tools() {
	command -v debootstrap >/dev/null && command -v unshare >/dev/null && return
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap util-linux
}

bootstrap() {
	local uri
	uri=$(mirror)
	rm -rf "$box.new"
	debootstrap --variant=minbase trixie "$box.new" "$uri"
	cp -a /etc/apt/apt.conf.d/. "$box.new/etc/apt/apt.conf.d/"
	cp /etc/resolv.conf "$box.new/etc/resolv.conf" || true
	local s
	for s in trixie trixie-updates trixie-backports; do
		echo "deb $uri $s main"
	done >"$box.new/etc/apt/sources.list"
	echo "deb-src $uri trixie main" >>"$box.new/etc/apt/sources.list"
	printf '#!/bin/sh\nexit 101\n' >"$box.new/usr/sbin/policy-rc.d"
	chmod +x "$box.new/usr/sbin/policy-rc.d"
}

in_new() {
	unshare --mount --propagation private -- bash -c '
		box=$1; shift
		for d in proc sys dev; do mount --rbind /$d "$box/$d"; done
		mount -t tmpfs tmpfs "$box/tmp"
		exec chroot "$box" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"' in_new "$box.new" "$@"
}

install_packages() {
	in_new apt-get update
	# shellcheck disable=SC2046
	in_new apt-get install -y --no-install-recommends -t trixie \
		$(sed -n 's/^trixie //p' "$TESTING/toolbox/packages")
}

# The newest point release of a series of which source, headers and image are all in the archive.
install_kernel() {
	local s=$1 v
	v=$(in_new bash -ec '
		s=$1
		apt-cache search --names-only "^linux-headers-${s//./\\.}\.[0-9.]+.*-amd64$" |
		sed -nE "s/^linux-headers-(${s//./\\.}\.[^ ]*-amd64) .*/\1/p" | grep -v -e -rt- -e -cloud- | sort -rV |
		while read -r v; do
			apt-cache show linux-binary-$v linux-modules-$v linux-headers-$v >/dev/null 2>&1 &&
				echo $v && break
		done' newest "$s")
	[ -n "$v" ] || die "no Linux $s.x with source, headers and image in trixie-backports of this mirror"
	in_new apt-get install -y --no-install-recommends -t trixie-backports \
		"linux-source-$s" "linux-headers-$v" "linux-base-$v" "linux-binary-$v" \
		"linux-modules-$v" "linux-config-$s"
	in_new tar -C /usr/src -xf "/usr/src/linux-source-$s.tar.xz"
	echo "$v" >"$box.new/usr/src/stock-version-$s"
}

build() {
	local s
	[ ! -e "$box/.complete" ] || return 0
	say "Making the toolbox (Debian 13 chroot) in $box"
	step "host tools" host_tools
	step "toolbox: debootstrap" bootstrap
	step "toolbox: packages" install_packages
	for s in $(all_series); do
		step "toolbox: kernel $s" install_kernel "$s"
	done
	touch "$box.new/.complete"
	rm -rf "$box"
	mv "$box.new" "$box"
}

with_lock toolbox build
