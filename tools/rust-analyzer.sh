#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# rust-project.json in the checkout: the kernel's own crates as its script lists
# them, and ours, with paths as this machine sees them.
. "$(dirname "${BASH_SOURCE[0]}")/testing/lib.sh"
out=$("$TESTING/kernel/modules.sh")
kernel=$("$TESTING/kernel/build.sh" "$(wanted_kernel)")

generate() {
	# shellcheck disable=SC2016
	in_toolbox bash -ec '
		make -s -C "$1" rust-analyzer >&2
		python3 /src/tools/rust-analyzer.py "$1/rust-project.json" "${@:2}"
	' rust-analyzer "$(box_path "$kernel")" "$(box_path "$out")" "$TOP" "$CACHE" "$(toolbox_dir)"
}
with_lock rust-analyzer generate >"$TOP/rust-project.json.new"
mv "$TOP/rust-project.json.new" "$TOP/rust-project.json"
echo "$TOP/rust-project.json"
