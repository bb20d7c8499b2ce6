# SPDX-License-Identifier: GPL-2.0
"""From counts by address (insn.c with a small grain) to a table of functions."""

import bisect
import collections
import subprocess

TEXT = 0xffffffff80000000
MODULES = 0xffffffffc0000000


def demangle(names):
    p = subprocess.run(["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, check=True, text=True)
    return p.stdout.splitlines()


def table(kallsyms, shift, text, modules, other, top=45):
    """The functions with the most instructions, those of modules and those of the core
    kernel. `kallsyms` is the text of /proc/kallsyms."""
    symbols = []
    for line in kallsyms.splitlines():
        w = line.split()
        at = int(w[0], 16)
        if at >= TEXT and w[1] in "tTwW":
            symbols.append((at, w[2], w[3].strip("[]") if len(w) > 3 else "kernel"))
    symbols.sort()
    starts = [s[0] for s in symbols]
    found = collections.Counter()
    for base, cells in ((TEXT, text), (MODULES, modules)):
        for i, n in enumerate(cells):
            if n:
                # What begins in the cell, if it does not begin before.
                at = base + (i << shift) + (1 << shift) - 1
                k = bisect.bisect_right(starts, at) - 1
                found[symbols[k][1:] if k >= 0 else ("?", "kernel")] += n
    by_module = collections.Counter()
    for (_, module), n in found.items():
        by_module[module] += n
    lines = [f"{n / 1e6:10.3f} M  [{m}]" for m, n in by_module.most_common(8)]
    lines.append(f"{other / 1e6:10.3f} M  outside")
    for title, keep in (("client", lambda m: m in ("ceph", "libceph")),
                        ("kernel", lambda m: m not in ("ceph", "libceph"))):
        part = [(k, n) for k, n in found.most_common() if keep(k[1])][:top]
        names = demangle([k[0] for k, _ in part])
        lines.append(f"-- {title}")
        lines += [f"{n / 1e6:10.3f} M  {name[:150]} [{k[1]}]" for (k, n), name in zip(part, names)]
    return "\n".join(lines)
