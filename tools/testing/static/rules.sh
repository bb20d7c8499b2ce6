#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Rules of the tree that no compiler checks. Prints each offence.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$TOP"
rc=0
bad() { printf '%s\n' "$*"; rc=1; }

# The compiler refuses unsafe code in net/ceph and fs/ceph; here: that it is told
# to, and that nothing is meant to lift it.
for root in net/ceph/ceph_proto.rs net/ceph/ceph_core.rs fs/ceph/ceph_fs_proto.rs fs/ceph/ceph_fs.rs; do
	grep -qx '#!\[forbid(unsafe_code)\]' $root || bad "$root: has no #![forbid(unsafe_code)]"
done
# The word in comments and strings is no offence.
unsafe=$(grep -rnwE --include='*.rs' 'unsafe' net fs | grep -vE '^[^:]+:[0-9]+: *//' |
	grep -vE '"[^"]*\bunsafe\b[^"]*"' || true)
[ -z "$unsafe" ] || bad "unsafe outside rust/:"$'\n'"$unsafe"

# rust/ knows nothing of Ceph.
ceph=$(grep -rniE 'ceph|\b(mds|osd|monc|mdsc|osdc)\b' rust --include='*.rs' --include='*.c' --include='*.h' |
	grep -vE '^rust/exports.c:|knows of Ceph' || true)
[ -z "$ceph" ] || bad "Ceph in rust/:"$'\n'"$ceph"

# Of the kernel's series only rust/ knows, and only of those that there are.
series=$(grep -rnE 'kernel_[0-9]+_[0-9]+' rust net fs --include='*.rs' |
	grep -vE "^rust/[^:]+:.*\bkernel_($(all_series | tr . _ | paste -sd'|'))\b" || true)
[ -z "$series" ] || bad "a series of the kernel outside rust/, or that rust/series does not have:"$'\n'"$series"

# The README names these series, and no other.
[ "$(grep -oE '\b[67]\.[0-9]+\b' README.md | sort -u)" = "$(all_series | sort -u)" ] ||
	bad "README.md: names other kernels than rust/series: $(all_series | xargs)"

# Each test that the documentation names is there.
while IFS=: read -r suite tests; do
	case $suite in
	test_* | long_*) file=$(find tools/testing -name "$suite.py") ;;
	*) file=$(grep -rlF "kunit_tests($suite)" rust net fs --include='*.rs' || true) ;;
	esac
	for t in ${tests//,/ }; do
		[ -n "$file" ] && grep -qE "(fn|def) $t\(" "$file" || bad "Documentation: there is no $suite: $t"
	done
done < <(grep -rhoE '``[a-z0-9_]+: [a-z0-9_, ]+``' Documentation --include='*.rst' | tr -d '`')

# The pure crates use nothing of the kernel crate but what the host has too.
pure=$(grep -rnE 'kernel_ext|kernel::(sync::[^A]|workqueue|bindings|task|fs|time|net|page|device)\b' \
	net/ceph/wire net/ceph/machine net/ceph/crush fs/ceph/wire fs/ceph/machine 2>/dev/null || true)
[ -z "$pure" ] || bad "pure code that is not:"$'\n'"$pure"

# The list of allowed panics (panics.py) rests on this lint.
lint=$(grep -rnE '(allow|expect)\(.*arithmetic_side_effects' net fs || true)
[ -z "$lint" ] || bad "arithmetic_side_effects is lifted:"$'\n'"$lint"

# No two files name each other.
circles=$("$TESTING/static/circles.py" || true)
[ -z "$circles" ] || bad "$circles"

# Each file says its licence.
while read -r f; do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0' || bad "$f: no SPDX line"
done < <(find rust net fs tools -name '*.rs' -o -name '*.sh' -o -name '*.py' -o -name '*.c' -o -name '*.h')
exit $rc
