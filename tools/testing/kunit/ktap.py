#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ktap.py CONSOLE-LOG SUITES: one KTAP stream for `kunit.py parse` from the
streams that each module printed when it was loaded.

Looks only at what was logged between the guest's marks "begin" and "end". Exits
with 1, and says why on stderr, if the kernel logged a splat there, if there is no
"end", if not exactly SUITES suites (unless 0) ended, or if lockdep was switched off
anywhere.
"""
import re
import sys

SPLAT = re.compile(
    r'BUG:|WARNING:|Oops|KASAN|UBSAN|panicked at|Kernel panic|general protection|'
    r'possible circular|possible recursive|possible irq|inconsistent lock|'
    r'Invalid wait context|suspicious RCU|lock held when returning|bad unlock balance|'
    r'held lock freed|ODEBUG|unreferenced object|blocked for more than|soft lockup|'
    r'detected stall|list_(add|del) corruption|refcount_t|kunit-guest: FAILED|'
    r'Unknown symbol|disagrees about version|scheduling while atomic|sleeping function')
STAMP = re.compile(r'^\[ *\d+\.\d+\](?:\[[^]]*\])? ?')


def lines(path):
    """The kernel's log between the marks, without time stamps."""
    inside = False
    with open(path, errors='replace') as log:
        for line in log:
            line = line.rstrip('\r\n')
            stamp = STAMP.match(line)
            if not stamp:
                continue
            line = line[stamp.end():]
            if line == 'kunit-guest: begin':
                inside = True
            elif line == 'kunit-guest: end':
                yield line
                return
            elif inside:
                yield line


def main():
    path, wanted = sys.argv[1], int(sys.argv[2])
    out, problems, suites, planned, ended = [], [], 0, 0, False
    reading = False  # inside one module's stream
    left = 0
    trace = 0  # lines of a splat still to be shown
    for line in lines(path):
        if line == 'kunit-guest: end':
            ended = True
            break
        if SPLAT.search(line):
            trace = 25
        if trace:
            problems.append(line)
            trace -= 1
        if line == 'KTAP version 1':
            reading, left = True, -1
            continue
        if not reading:
            continue
        plan = re.fullmatch(r'1\.\.(\d+)', line)
        if plan:
            left = int(plan[1])
            planned += left
            reading = left > 0
            continue
        suite = re.match(r'(ok|not ok) \d+ (.*)', line)
        if suite:
            suites += 1
            left -= 1
            out.append(f'{suite[1]} {suites} {suite[2]}')
            reading = left != 0
        elif re.match(r' {4}|#', line):
            out.append(line)
    print('KTAP version 1')
    print(f'1..{planned}')
    print('\n'.join(out))
    if not ended:
        problems.append('the guest did not come to its end')
        with open(path, errors='replace') as log:
            problems += [line.rstrip() for line in log][-15:]
    # By a splat before "begin", which also took the one report that KASAN makes.
    with open(path, errors='replace') as log:
        problems += [line.rstrip() for line in log if 'Disabling lock debugging' in line]
    if wanted and suites != wanted:
        problems.append(f'{suites} suites ended, the modules have {wanted}')
    for problem in problems:
        print('    |', problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
