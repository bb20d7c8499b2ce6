#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# oracle.sh: generates OSD maps and compares where our code places each placement
# group with what osdmaptool says (part of make test). Ends with one line
# "N passed, N failed". CEPH=tentacle: with osdmaptool 20.2, and rules of its time.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

out=$CACHE/out/$(key "$TOP")/host
mkdir -p "$out"

with_lock "host-$(key "$out")" in_toolbox env -C /src/tools/testing/host \
	CARGO_HOME="$(box_path "$out")/home" CARGO_TARGET_DIR="$(box_path "$out")/target" \
	cargo build --quiet --offline --locked -p osdmap_dump
box='' rules=()
if [ "${CEPH:-reef}" = tentacle ]; then
	box=$("$TESTING/toolbox/tentacle.sh")
	rules=(msr)
fi
BOX=$box in_toolbox /src/tools/testing/crush/compare.sh "$(box_path "$out")/target/debug/osdmap_dump" "${rules[@]}"
