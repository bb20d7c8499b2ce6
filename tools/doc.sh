#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# HTML documentation of the crates: rustdoc with the commands that Kbuild used.
. "$(dirname "${BASH_SOURCE[0]}")/testing/lib.sh"
out=$("$TESTING/kernel/modules.sh")
doc=$CACHE/out/$(key "$TOP")/doc
rm -rf "$doc"
mkdir -p "$doc"
# shellcheck disable=SC2016
in_toolbox bash -ec '
	cd "$1"
	export KERNEL_EXT_OBJ=$1/rust RUSTC_BOOTSTRAP=1
	for o in rust/kernel_ext net/ceph/ceph_proto net/ceph/ceph_core fs/ceph/ceph_fs_proto fs/ceph/ceph_fs; do
		cmd=$(sed -n "s/^savedcmd_[^ ]* := //p" "$(dirname $o)/.$(basename $o).o.cmd")
		cmd=${cmd%%;*}
		cmd=$(sed -E "s/ (rustc|clippy-driver) / rustdoc /; s/ --emit=[^ ]+//g; s/ --out-dir [^ ]+//;
			s/ --sysroot=[^ ]+//" <<<"$cmd")
		eval "$cmd --sysroot=/dev/null --output $2 --crate-name $(basename $o) \
			--extern-html-root-url kernel=https://rust.docs.kernel.org/next/ \
			-Arustdoc::private_intra_doc_links -Zunstable-options"
	done' doc "$(box_path "$out")" "$(box_path "$doc")" >&2
echo "$doc/ceph_core/index.html"
