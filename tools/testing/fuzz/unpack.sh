#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# unpack.sh: unpacks the corpus, an archive for each target, into the cache, and prints
# the folder: TARGET/INPUT.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

mine=$CACHE/out/$(key "$TOP")
out=$mine/corpus-$(key "$TESTING"/fuzz/corpus/*.tar.xz)
unpack() {
	# Also what became of other archives.
	rm -rf "$mine"/corpus-*
	mkdir -p "$out.new"
	# shellcheck disable=SC2016
	in_toolbox bash -euc 'for archive in /src/tools/testing/fuzz/corpus/*.tar.xz; do
			target=$1/$(basename "$archive" .tar.xz)
			mkdir "$target"
			tar -xJf "$archive" -C "$target"
		done' unpack "$(box_path "$out.new")"
	mv "$out.new" "$out"
}
wanted() { [ -e "$out" ] || step "unpack the corpus" unpack; }
LOGDIR=$mine with_lock "corpus-$(key "$TOP")" wanted
echo "$out"
