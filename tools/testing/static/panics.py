#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""panics.py OBJECT...: which code of the objects can reach a panic.

A panic is a remote hang: the objects of the pure crates must not reference a
panicking function. For each call the debug info tells the innermost function
that it was inlined from. Calls from our own files are errors; those that generic
code of the kernel crate and of core brings along are errors too, except for the
few below.
"""
import re
import subprocess
import sys

PANICS = re.compile(r'core::panicking|panic_|_fail\b|(expect|unwrap)_failed|rust_build_error')

# (file of the frame, its function, the panicking function): why it cannot happen.
ALLOWED = [
    (r'rust/kernel/alloc/kvec\.rs', r'::(reserve|inc_len|dec_len|spare_capacity_mut|extend_with'
     r'|push_within_capacity_unchecked)\b', r'panic_const_(add|sub|mul)_overflow|_len_fail',
     'a length or capacity is at most isize::MAX, so neither doubling it nor adding '
     'what was reserved overflows; len <= capacity is an invariant of Vec'),
    (r'rust/kernel/alloc/kvec\.rs:\?', r'::osd_table::copy::', r'panic_const_(add|sub)_overflow',
     'as above: several of these calls, merged, which have no line any more'),
    (r'rust/kernel/alloc/kvec\.rs', r'::extend_with\b', r'panic_bounds_check',
     'n > 0 elements were reserved'),
    (r'rust/kernel/alloc/kvec\.rs', r'::(remove|retain|insert_within_capacity)\b',
     r'panic_const_(add|sub)_overflow|panic_bounds_check',
     'the index was compared with the length just before'),
    (r'library/core/src/str/(pattern|iter)\.rs', r'CharSearcher|SplitInternal|CharIndices',
     r'panic_const_(add|sub)_overflow|slice_end_index_len_fail',
     'the positions of the searcher lie within the string, which is an invariant of it'),
    (r'library/core/src/(slice|str|iter|array|char|fmt|net|option|result|ascii)/'
     r'(?!traits/accum\.rs|range\.rs)', r'', r'panic_const_(add|sub|mul)_overflow',
     'core counts positions and elements of what lies in memory; only what adds up or '
     'steps through values of ours (sum, product, ranges) can overflow'),
    (r'library/core/src/slice/sort/', r'', r'panic_on_ord_violation',
     'what is sorted here is ordered by integers'),
    (r'library/core/src/slice/mod\.rs', r'>::is_sorted',
     r'slice_(end_index_len|index_order)_fail', 'windows of two lie within the slice'),
    (r'library/core/src/num/mod\.rs', r'::from_str_radix', r'panic_const_(add|mul)_overflow',
     'it calculates without checks only where so few digits cannot overflow'),
    (r'^/src/', r'', r'panic_const_(add|sub|mul)_overflow',
     'clippy refuses all arithmetic of ours that could overflow; the line is that of a call '
     'into core or a vector, which was merged with another'),
    (r'library/core/src/iter/', r'::count\b', r'panic_const_add_overflow',
     'elements that lie in memory are counted'),
    (r'library/core/src/iter/range\.rs', r'RangeFrom<u64>.*::next$', r'panic_const_add_overflow',
     'a range without end starts at 0, and nobody counts to 2^64'),
]


def run(*args, stdin=None):
    return subprocess.run(args, input=stdin, stdout=subprocess.PIPE, check=True,
                          encoding='utf-8', errors='replace').stdout


def calls(obj):
    """(section, offset, demangled symbol) of each reference to a panic."""
    section, found = None, []
    for line in run('readelf', '-rW', obj).splitlines():
        head = re.match(r"Relocation section '\.rela(\.text[^']*|\.init\.text|\.exit\.text)'", line)
        if line.startswith('Relocation section'):
            section = head[1] if head else None
        entry = re.match(r'([0-9a-f]{16}) +[0-9a-f]+ R_\S+ +[0-9a-f]+ (\S+)', line)
        if section and entry:
            found.append((section, int(entry[1], 16), entry[2]))
    names = run('c++filt', stdin='\n'.join(f[2] for f in found)).splitlines()
    for (section, offset, _), name in zip(found, names):
        name = re.sub(r'\[[0-9a-f]+\]', '', name)
        if PANICS.search(name):
            yield section, offset, name


def frames(obj, section, offsets):
    """For each offset its frames, (function, file:line), from the innermost out."""
    # The return address is behind the call.
    text = '\n'.join(hex(max(offset - 1, 0)) for offset in offsets)
    out = run('addr2line', '-e', obj, '-j', section, '-a', '-i', '-f', '-C', stdin=text)
    stacks = []
    lines = iter(out.splitlines())
    for line in lines:
        if re.fullmatch(r'0x[0-9a-f]+', line):
            stacks.append([])
        else:
            where = re.sub(r' \(.*', '', next(lines))
            stacks[-1].append((re.sub(r'\[[0-9a-f]+\]', '', line), where))
    return stacks


def allowed(stack, symbol):
    # Code of core is judged with the kernel's or our function that uses it.
    for function, where in stack:
        for file, name, panic, _ in ALLOWED:
            if re.search(file, where) and re.search(name, function) and re.search(panic, symbol):
                return True
        if '/library/core/' not in where:
            return False
    return False


def main():
    bad = 0
    for obj in sys.argv[1:]:
        found = list(calls(obj))
        for section in sorted({f[0] for f in found}):
            here = [f for f in found if f[0] == section]
            for (_, _, symbol), stack in zip(here, frames(obj, section, [f[1] for f in here])):
                if allowed(stack, symbol):
                    continue
                bad += 1
                print(f'{obj}: reaches {symbol}')
                for function, where in stack:
                    print(f'    {function} at {where}')
        print(f'{obj}: {len(found)} calls of panicking functions')
    if bad:
        print(f'{bad} of them are not in the list of {sys.argv[0]}')
    sys.exit(1 if bad else 0)


main()
