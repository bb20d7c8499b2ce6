# SPDX-License-Identifier: GPL-2.0
"""verify.py MANIFEST ROOT [--no-content]: compares a mounted tree with a manifest
of fill.py. Prints every difference; exit status 1 when there is one."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fill  # noqa: E402

with open(sys.argv[1]) as f:
    want = json.load(f)
have = fill.walk(sys.argv[2], "--no-content" not in sys.argv)
bad = 0
for path in sorted(set(want) | set(have)):
    if path not in have or path not in want:
        print(f"{path!r}: {'missing' if path in want else 'should not be there'}")
        bad += 1
        continue
    for k, v in want[path].items():
        if k == "sha256" and k not in have[path]:
            continue
        if have[path].get(k) != v:
            print(f"{path!r}: {k} is {have[path].get(k)!r:.200}, should be {v!r:.200}")
            bad += 1
size = sum(d.get("size", 0) for d in want.values() if d.get("size", 0) < 1 << 30)
print(f"{len(want)} entries, {size >> 20} MiB of content, {bad} differences")
sys.exit(1 if bad else 0)
