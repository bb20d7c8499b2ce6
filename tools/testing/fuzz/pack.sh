#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# pack.sh FOLDER OUT: makes OUT/TARGET.tar.xz of each FOLDER/TARGET. The same inputs make
# the same archive. Runs in the toolbox.
set -euo pipefail
export LC_ALL=C
mkdir -p "$2"
for folder in "$1"/*/; do
	find "$folder" -type f -printf '%f\n' | sort |
		tar -C "$folder" -c --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner \
			--mode=0644 -T - | xz -9 >"$2/$(basename "$folder").tar.xz"
done
