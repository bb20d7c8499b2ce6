#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# fmt.sh [--check]: all Rust code of the checkout with the toolbox's rustfmt.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
"$TESTING/toolbox/build.sh"
# shellcheck disable=SC2016
in_toolbox bash -ec 'cd /src; find rust net fs tools -name "*.rs" -print0 |
	xargs -0 rustfmt --edition 2021 --config-path /src "$@"' fmt "$@"
