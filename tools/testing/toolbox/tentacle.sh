#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes the second toolbox: a chroot of Debian forky with Ceph 20.2 (Tentacle) and what a
# lab needs beside it (CEPH=tentacle, see qemu/lab.sh). Nothing is built in it. Cached by
# content, as the first one; prints the folder.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

box=$(tentacle_dir)

bootstrap() {
	rm -rf "$box.new"
	mkdir -p "$box.new"
	# The first toolbox knows the mirror, and has a debootstrap that knows forky.
	in_toolbox bash -ec '
		uri=$(awk "/^deb / { print \$2; exit }" /etc/apt/sources.list)
		debootstrap --variant=minbase forky "$1" "$uri"
		cp -a /etc/apt/apt.conf.d/. "$1/etc/apt/apt.conf.d/"
		cp /etc/resolv.conf "$1/etc/resolv.conf" || true
		cp /usr/sbin/policy-rc.d "$1/usr/sbin/"
		echo "deb $uri forky main" >"$1/etc/apt/sources.list"
	' bootstrap "$(box_path "$box.new")"
}

install_packages() {
	# The configuration of ceph-mon fails in a chroot (dpkg-statoverride is called without
	# an action), after everything is in its place: judged is what is there.
	# shellcheck disable=SC2046
	BOX=$box.new in_toolbox bash -c '
		apt-get update || exit 1
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
		for p in ceph-mon ceph-osd ceph-mds ceph-mgr ceph-fuse ceph; do
			"$p" --version || exit 1
		done
		for p in qemu-system-x86_64 ip tcpdump osdmaptool crushtool monmaptool; do
			command -v "$p" || { echo "$p is missing"; exit 1; }
		done
		rm -rf /var/cache/apt/archives/*.deb
	' install_packages $(grep -v '^#' "$TESTING/toolbox/packages-tentacle")
}

build() {
	[ ! -e "$box/.complete" ] || return 0
	say "Making the toolbox of Ceph 20.2 (Debian forky) in $box"
	step "toolbox of Ceph 20.2: debootstrap" bootstrap
	step "toolbox of Ceph 20.2: packages" install_packages
	touch "$box.new/.complete"
	rm -rf "$box"
	mv "$box.new" "$box"
}

with_lock tentacle build
echo "$box"
