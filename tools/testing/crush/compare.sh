#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# compare.sh OSDMAP_DUMP [msr]: the part of oracle.sh that runs in the toolbox.
set -euo pipefail
dump=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
here=$(dirname "$0")

python3 "$here/generate.py" "$dir" "$@" >"$dir/count"
passed=0 failed=0

verdict() { # NAME EXPECTED GOT
	if [ -s "$2" ] && cmp -s "$2" "$3"; then
		passed=$((passed + 1))
		echo "ok $1: $(wc -l <"$2") placement groups"
	else
		failed=$((failed + 1))
		echo "FAIL $1"
		diff "$2" "$3" | head -10 || true
	fi
}

for map in "$dir"/*.map; do
	name=$(basename "$map" .map)
	osdmaptool "$map" --test-map-pgs-dump-all 2>"$dir/errors" |
		sed -n 's/^\([0-9]*\.[0-9a-f]*\)\s*raw .* \(up .*\)/\1 \2/p' >"$dir/expected" ||
		cat "$dir/errors"
	"$dump" "$map" >"$dir/got" 2>"$dir/errors" || cat "$dir/errors"
	verdict "$name" "$dir/expected" "$dir/got"
	if [ -e "$dir/$name.inc" ]; then
		"$dump" "$dir/$name.before" "$dir/$name.inc" >"$dir/got" 2>"$dir/errors" ||
			cat "$dir/errors"
		verdict "$name (incremental)" "$dir/expected" "$dir/got"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
