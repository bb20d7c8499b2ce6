#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What rustdoc calls as a compiler, with the text of one example: keeps it in EXAMPLES.
text=$(cat)
name=$(printf '%s\n' "$text" | sed -nE 's/.*fn _doctest_main_([a-z0-9_]*_doctest_src_)?([a-z0-9_]+)\(\).*/\2/p' | head -n 1)
printf '%s\n' "$text" >"$EXAMPLES/${name:?}.example"
