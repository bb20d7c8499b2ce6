#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# No code of the pure crates reaches a panic (see panics.py), as built for the
# stock kernel.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
out=$("$TESTING/kernel/modules.sh")
in_toolbox /src/tools/testing/static/panics.py \
	"$(box_path "$out")/net/ceph/ceph_proto.o" "$(box_path "$out")/fs/ceph/ceph_fs_proto.o"
