#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Removes what was built from this checkout.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
rm -rf "${CACHE:?}/out/$(key "$TOP")" "$TOP/rust-project.json"
