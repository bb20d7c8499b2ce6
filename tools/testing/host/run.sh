#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [CARGO-TEST-ARGUMENT...]: the tests of the pure crates on the host, in
# the toolbox. What is built lies in the cache, a folder for each checkout.
#   tools/testing/host/run.sh                              all tests (make host-test)
#   tools/testing/host/run.sh -p ceph_proto wire::decode   some tests
#   tools/testing/host/run.sh -p ceph_proto -- --nocapture with what they print
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"

out=$CACHE/out/$(key "$TOP")/host
mkdir -p "$out"

corpus=$("$TESTING/fuzz/unpack.sh")

with_lock "host-$(key "$out")" in_toolbox env -C /src/tools/testing/host \
	CARGO_HOME="$(box_path "$out")/home" CARGO_TARGET_DIR="$(box_path "$out")/target" \
	FUZZ_CORPUS="$(box_path "$corpus")" cargo test --offline --locked "$@"
