# SPDX-License-Identifier: GPL-2.0
"""What system calls say of a tree is what they say with the kernel's C client."""

import json
import os
import subprocess

from run import M

LOOK = "python3 /lab/src/tools/testing/integration/in_guest/look.py"


def differences(have, want, at=""):
    """The paths and values in which two JSON values differ."""
    if isinstance(have, dict) and isinstance(want, dict):
        found = []
        for k in sorted(have.keys() | want.keys()):
            found += differences(have.get(k), want.get(k), f"{at}/{k}")
        return found
    return [] if have == want else [f"{at}: {have!r:.200}, C client: {want!r:.200}"]


def extras(folder):
    """What the demo's tree does not have."""
    os.makedirs(f"{folder}/a/b/c")
    os.makedirs(f"{folder}/setgid")
    os.chmod(f"{folder}/setgid", 0o2755)
    for i in range(300):
        open(f"{folder}/a/{'x' * (i % 200)}{i}", "w").close()
    os.symlink("b/" * 100, f"{folder}/a/to")
    for n, ns in (("old", 0), ("first", 1), ("far", 4_000_000_000_000_000_001), ("before", -1_000_000_000)):
        open(f"{folder}/{n}", "w").close()
        os.utime(f"{folder}/{n}", ns=(ns, ns))
    for n, size in (("1M", 1 << 20), ("hole", 1 << 28)):
        with open(f"{folder}/{n}", "wb") as f:
            f.truncate(size)
    os.setxattr(f"{folder}/1M", "user.a", b"value")
    os.setxattr(f"{folder}/a", "ceph.quota.max_bytes", b"1000000000")
    os.setxattr(f"{folder}/a/b", "ceph.dir.layout.object_size", b"8388608")
    with open(f"{folder}/a/b/8M-objects", "wb") as f:
        f.write(os.urandom(9_000_000))
    os.chown(f"{folder}/1M", 0xfffffffe, 0x7fffffff)
    for n, mode in (("exec", 0o111), ("suid", 0o6711)):
        open(f"{folder}/{n}", "w").close()
        os.chmod(f"{folder}/{n}", mode)


def test_all_calls(t):
    if not t.rust:
        t.skip("this is the C client")
    extras(f"{t.fuse.path}/extras")
    t.umount_all()
    told = {}
    for client in ("rust", "c"):
        if client == "c":
            t.g.unload()
            t.g.load("c")
        t.mount(options="ro")
        told[client] = json.loads(t.ok(f"{LOOK} {M}", 300))
        told[client]["mount"] = t.mounted().split()[3]
        told[client]["df"] = t.ok(f"df -T {M} | tail -1 | awk '{{print $2}}'")
        t.umount()
    t.ok("rmmod ceph libceph")
    t.g.load()
    subprocess.run(["rm", "-rf", f"{t.fuse.path}/extras"], check=True)
    t.check(len(told["c"]) > 500, f"only {len(told['c'])} looked at")
    found = differences(told["rust"], told["c"])
    t.check(not found, f"{len(found)} differences:\n" + "\n".join(found[:40]))
