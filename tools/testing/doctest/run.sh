#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh: compiles the examples in the documentation of rust/, as code of a crate that
# uses it: with the flags that Kbuild used, and no unsafe code. They are not run: each
# abstraction has KUnit tests for that. Then what must not compile: see refused.rs.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
need_root
out=$("$TESTING/kernel/modules.sh")
# kernel::warn_on! includes a file of it.
kernel=$("$TESTING/kernel/build.sh" "$(wanted_kernel)")
work=$CACHE/out/$(key "$TOP")/doctest

# rustdoc takes the examples out of the documentation and gives each to collect.sh.
compile() {
	rm -rf "$work"
	mkdir -p "$work"
	# shellcheck disable=SC2016
	in_toolbox bash -ec '
		export KERNEL_EXT_OBJ=$1/rust OBJTREE=$3 RUSTC_BOOTSTRAP=1 EXAMPLES=$2
		cd "$1"
		cmd=$(sed -n "s/^savedcmd_[^ ]* := //p" rust/.kernel_ext.o.cmd)
		cmd=${cmd%%;*}
		flags=$(sed -E "s/^.* rustc //; s/ --(emit|sysroot)=[^ ]+//g; s/ --out-dir [^ ]+//; s/ --crate-type [^ ]+//;
			s/ [^ ]*kernel_ext.rs *$//" <<<"$cmd")
		# What Kbuild says on the command line, rustdoc wants in the source.
		cp -r /src/rust "$2/src"
		sed -i "1i #![no_std]" "$2/src/kernel_ext.rs"
		eval "rustdoc --test --no-run $flags --sysroot=/dev/null --crate-name kernel_ext \
			--test-builder /src/tools/testing/doctest/collect.sh $2/src/kernel_ext.rs" >"$2/rustdoc.log" 2>&1 ||
			{ cat "$2/rustdoc.log"; exit 1; }
		n=0
		{
			echo "//! The examples of the documentation."
			echo "#![forbid(unsafe_code)]"
			# What the macros want to find in the root.
			echo "#[allow(unused_imports)] use kernel_ext::*;"
			echo "#[allow(non_upper_case_globals)] const __LOG_PREFIX: &[u8] = b\"examples\\0\";"
			for f in "$2"/*.example; do
				n=$((n + 1))
				echo "mod $(basename "$f" .example) {"
				# A module has the prelude instead of attributes of a crate.
				echo "#[allow(unused_imports)] use kernel::prelude::*;"
				grep -vE "^#!\[" "$f"
				echo "}"
			done
		} >"$2/examples.rs"
		[ -e "$f" ] || { echo "no examples"; exit 1; }
		cmd="${cmd%% rustc *} rustc $flags --sysroot=/dev/null --crate-name examples --crate-type rlib \
			--extern kernel_ext --emit=metadata=$2/examples.rmeta -Adead_code -Aunused -Amissing_docs $2/examples.rs"
		eval "$cmd"
		echo "$n examples compile"

		src=/src/tools/testing/doctest/refused.rs
		# What is wrong with a table is found when code is made for it.
		refused="${cmd%% --crate-name *} --crate-name refused --crate-type rlib --extern kernel_ext"
		refused="$refused --emit=obj=$2/refused.o -Aunexpected_cfgs -Adead_code -Aunused $src"
		eval "$refused"
		n=0
		while IFS=: read -r name text; do
			n=$((n + 1))
			if eval "$refused --cfg case=\\\"$name\\\"" >"$2/refused.log" 2>&1; then
				echo "refused.rs: $name compiles"
				exit 1
			fi
			grep -qF -- "${text# }" "$2/refused.log" || { cat "$2/refused.log"; exit 1; }
		done < <(sed -nE "s/^ *\/\/ REFUSED ([a-z_]+: .*)/\1/p" $src)
		echo "$n wrong uses are refused"
	' doctest "$(box_path "$out")" "$(box_path "$work")" "$(box_path "$kernel")"
}
with_lock "doctest-$(key "$work")" compile
