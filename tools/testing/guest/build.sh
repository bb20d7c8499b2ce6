#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes the guest: root.ext4 (Debian 13 with the stock mount.ceph and some tools,
# and the modules of the stock kernels), and for each series initrd-SERIES.gz and
# vmlinuz-SERIES. Cached by content;
# prints the folder. Nothing ever writes to it: QEMU attaches it with snapshot=on.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

here=$TESTING/guest
dir=$CACHE/guest-$(key "$(toolbox_dir)" "$here/build.sh" "$here/packages" "$here/modules" "$here/initramfs-init")

root() {
	# shellcheck disable=SC2046
	in_toolbox bash -ec '
		new=$1 root=$1/root; shift
		uri=$(awk "/^deb / { print \$2; exit }" /etc/apt/sources.list)
		list=$(grep -v "^#" /src/tools/testing/guest/packages | tr -s " \n" ,)
		debootstrap --variant=minbase --include="${list%,}" trixie "$root" "$uri"
		mkdir -p "$root"/lab/{run,src,modules,kernel} "$root"/mnt/ceph "$root/etc/ceph"
		for v; do
			m=/usr/lib/modules/$v
			mkdir -p "$root/usr/lib/modules/$v"
			for f in $(grep -v "^#" /src/tools/testing/guest/modules); do
				[ ! -e "$m/kernel/$f" ] ||
					(cd "$m" && cp -a --parents "kernel/$f" "$root/usr/lib/modules/$v/")
			done
			cp "$m"/modules.{builtin,builtin.modinfo,order} "$root/usr/lib/modules/$v/"
			find "$root/usr/lib/modules/$v" -name "*.ko.xz" -exec xz -d {} +
			depmod -b "$root" "$v" 2>/dev/null
		done
		rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
			"$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
		echo lab >"$root/etc/hostname"
		printf "127.0.0.1 localhost lab\n" >"$root/etc/hosts"
		mkfs.ext4 -q -O ^has_journal -d "$root" "$new/root.ext4" 2G
	' root "$(box_path "$dir.new")" $(for s in $(all_series); do stock_version "$s"; done)
}

initrd() {
	in_toolbox bash -ec '
		new=$1 series=$2 v=$3 r=$1/initrd
		mkdir -p "$r/bin" "$r/modules/$v"
		cp /usr/bin/busybox "$r/bin/"
		install -m 755 /src/tools/testing/guest/initramfs-init "$r/init"
		for m in virtio_blk ext4 9pnet_virtio 9p; do
			modprobe -d "$new/root" -S "$v" --show-depends "$m" | sed -n "s/^insmod \([^ ]*\).*/\1/p"
		done | awk "!seen[\$0]++" | while read -r f; do
			cp "$f" "$r/modules/$v/"
			basename "$f"
		done >"$r/modules/order"
		(cd "$r" && find . | cpio -o -H newc --quiet | gzip -1) >"$new/initrd-$series.gz"
		cp "/usr/lib/modules/$v/vmlinuz" "$new/vmlinuz-$series"
		rm -rf "$r"
	' initrd "$(box_path "$dir.new")" "$1" "$(stock_version "$1")"
}

build() {
	local s
	[ ! -e "$dir/.complete" ] || return 0
	say "Making the guest image in $dir"
	rm -rf "$dir.new"
	mkdir -p "$dir.new/root"
	step "guest: root file system" root
	for s in $(all_series); do
		step "guest: initramfs $s" initrd "$s"
	done
	rm -rf "$dir.new/root"
	touch "$dir.new/.complete"
	rm -rf "$dir"
	mv "$dir.new" "$dir"
}

with_lock guest build
echo "$dir"
