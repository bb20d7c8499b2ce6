# SPDX-License-Identifier: GPL-2.0
"""Tickets that expire, several active MDS, further pools, snapshots, large folders."""

import hashlib
import json
import os
import random
import subprocess
import time

from run import M


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_folder_in_fragments(t):
    """The big folder was split by the MDS (or there is nothing to see here)."""
    m = t.cluster.mon_json("status")["fsmap"]["by_rank"][0]["name"]
    frags = json.loads(t.cluster.daemon(f"mds.{m}", "dirfrag", "ls", "/many"))
    t.check(len(frags) > 1, f"/many has {len(frags)} fragment")
    t.ensure_mounted()
    t.drop_caches()
    t.equal(int(t.ok(f"ls -f {M}/many | sort -u | wc -l")), 5002, "entries")
    t.ok(f"stat {M}/many/entry-0000 {M}/many/entry-4999 >/dev/null")


def test_folder_changes_while_it_is_listed(t):
    d = f"{t.fuse.path}/changing"
    os.makedirs(d)
    for i in range(3000):
        open(f"{d}/stays-{i}", "w").close()
    job = t.g.spawn(f"for i in 1 2 3 4 5 6; do ls -f {M}/changing | grep -c stays-; done")
    for i in range(600):
        open(f"{d}/new-{i}", "w").close()
        if i > 20:
            os.unlink(f"{d}/new-{i - 20}")
    t.equal(job.wait(120).out.split(), ["3000"] * 6, "entries that were always there")


def test_pool_and_namespace(t):
    """Files whose data lies in another pool, or in a namespace of a pool."""
    t.cluster.mon("osd pool create", pool="extra", pg_num=8)
    t.cluster.mon("fs add_data_pool", fs_name="cephfs", pool="extra")
    t.cluster.wait_health()
    t.ensure_mounted()
    d = f"{t.fuse.path}/pools"
    os.makedirs(d)
    for name, layout in (("pool", {"pool": "extra"}), ("namespace", {"pool_namespace": "ns1"}),
                         ("both", {"pool": "extra", "pool_namespace": "ns2"})):
        open(f"{d}/{name}", "w").close()
        # The pool is new to the client too: it may need the next map.
        for k, v in layout.items():
            for _ in range(50):
                try:
                    os.setxattr(f"{d}/{name}", f"ceph.file.layout.{k}", v.encode())
                    break
                except OSError:
                    time.sleep(0.2)
            else:
                t.fail(f"ceph-fuse does not set {k}")
        data = os.urandom(5 << 20)
        with open(f"{d}/{name}", "wb") as f:
            f.write(data)
        t.equal(t.ok(f"sha256sum <{M}/pools/{name}").split()[0], sha(data), name)


def test_tickets_expire(t):
    """The mount outlives the tickets with which it began (40 s), also when it must log in
    at a daemon anew."""
    t.ensure_mounted()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        t.drop_caches()
        t.ok(f"cat {M}/tree/d?/f? | sha256sum; df {M}")
        time.sleep(5)
    for n in ("osd.0", "osd.1"):
        t.cluster.restart(n)
    t.cluster.wait_health()
    t.drop_caches()
    t.ok(f"cat {M}/sizes/4194304 {M}/tree/d?/f? | sha256sum")


def test_idle_mount(t):
    """Nothing happens for a while; then everything works at once."""
    t.ensure_mounted()
    t.ok(f"ls {M}")
    time.sleep(25)
    mark = t.g.mark()
    t.ok(f"ls -lR {M}/tree >/dev/null; cat {M}/tree/d1/f1 >/dev/null", 10)
    t.check("lost" not in t.g.dmesg(mark), "a connection was lost")


def test_two_active_mds(t):
    t.umount_all()
    t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="2")
    t.wait("two active MDS", lambda: [x["status"] for x in t.cluster.mon_json("status")["fsmap"]["by_rank"]]
           == ["up:active"] * 2, 60)
    try:
        for i in range(0, 10, 2):
            os.setxattr(f"{t.fuse.path}/tree/d{i}", "ceph.dir.pin", b"1")
        time.sleep(3)
        t.mount()
        t.ok(f"python3 /lab/src/tools/testing/cluster/verify.py /lab/run/manifest.json {M} | grep -v changing "
             "| tail -5; find /mnt/ceph/tree -type f | xargs cat | sha256sum", 300)
        want = json.load(open(t.manifest))
        for i in range(10):
            t.equal(t.ok(f"sha256sum <{M}/tree/d{i}/f3").split()[0], want[f"tree/d{i}/f3"]["sha256"], f"d{i}/f3")
        t.check(t.ok("cat /sys/kernel/debug/ceph/*/mds_sessions").count("open") == 2, "not two sessions")
        with open(f"{t.fuse.path}/tree/d2/f1", "rb") as f:
            before = f.read()
        with open(f"{t.fuse.path}/tree/d2/f1", "wb") as f:
            f.write(b"changed")
        t.equal(t.ok(f"cat {M}/tree/d2/f1"), "changed", "a change at rank 1")
        with open(f"{t.fuse.path}/tree/d2/f1", "wb") as f:
            f.write(before)
        t.equal(t.ok(f"sha256sum <{M}/tree/d2/f1").split()[0], sha(before), "and back")
    finally:
        for i in range(0, 10, 2):
            os.setxattr(f"{t.fuse.path}/tree/d{i}", "ceph.dir.pin", b"-1")
        t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="1")
    t.wait("one active MDS", lambda: [x["status"] for x in t.cluster.mon_json("status")["fsmap"]["by_rank"]]
           == ["up:active"], 120)
    t.cluster.wait_health()
    t.ok(f"cat {M}/tree/d?/f? | sha256sum")
    t.umount()


def test_another_client_makes_a_snapshot(t):
    """Snapshots made and removed under our feet do not disturb reading."""
    t.ensure_mounted()
    d = f"{t.fuse.path}/snapped"
    os.makedirs(f"{d}/sub")
    for i in range(4):
        with open(f"{d}/sub/f", "w") as f:
            f.write(f"version {i}")
        os.mkdir(f"{d}/.snap/s{i}")
        t.equal(t.ok(f"cat {M}/snapped/sub/f"), f"version {i}", "head")
    r = t.run(f"ls {M}/snapped/.snap && cat {M}/snapped/.snap/s1/sub/f")
    if r.status == 0:
        t.check("version 1" in r.out, f"content of a snapshot: {r.out}")
    for i in range(4):
        os.rmdir(f"{d}/.snap/s{i}")
    t.equal(t.ok(f"cat {M}/snapped/sub/f"), "version 3", "head")


def test_many_files_and_little_memory(t):
    """Caps are given back as inodes go; the MDS may recall them."""
    t.ensure_mounted()
    t.cluster.ceph("config", "set", "mds", "mds_max_caps_per_client", "500")
    t.cluster.ceph("config", "set", "mds", "mds_recall_max_caps", "1000")
    try:
        for _ in range(3):
            t.ok(f"ls -l {M}/many >/dev/null", 60)
            time.sleep(2)
        t.wait("caps are given back", lambda: int(t.ok(
            "sed -n 's/^used[^0-9]*//p' /sys/kernel/debug/ceph/*/caps")) < 3000, 60)
    finally:
        t.cluster.ceph("config", "rm", "mds", "mds_max_caps_per_client")
        t.cluster.ceph("config", "rm", "mds", "mds_recall_max_caps")
    t.ok(f"ls -l {M}/many >/dev/null", 60)


def test_random_tree(t):
    """A tree that nobody designed."""
    import fill
    r = random.Random(time.time_ns())
    seed = r.randrange(10**9)
    r.seed(seed)
    root = f"{t.fuse.path}/random-tree"
    os.makedirs(root)
    folders = [root]
    # Layouts of folders, which their files inherit.
    for i, layout in enumerate(("stripe_unit=65536 stripe_count=3 object_size=1048576",
                                "stripe_unit=131072 stripe_count=2 object_size=4194304")):
        os.mkdir(f"{root}/striped-{i}")
        os.setxattr(f"{root}/striped-{i}", "ceph.dir.layout", layout.encode())
        folders += [f"{root}/striped-{i}"] * 3
    for i in range(400):
        d = r.choice(folders)
        n = "".join(r.choice("abcdefghijklmnop ÄÖÜßéñ漢字🦀._-") for _ in range(r.choice((1, 5, 20, 60)))).rstrip(". ") or "x"
        p = f"{d}/{n}{i}"
        what = r.random()
        if what < 0.2:
            os.mkdir(p)
            folders.append(p)
        elif what < 0.3:
            os.symlink("".join(r.choice("abc/.é") for _ in range(r.randrange(1, 300))), p)
        else:
            with open(p, "wb") as f:
                f.write(r.randbytes(r.choice((0, 1, 4095, 4096, 50000, 1 << 20, 3 << 20)) if i % 10 == 0 else r.randrange(3000)))
                if what > 0.95:
                    f.seek(r.randrange(20 << 20))
                    f.write(b"end")
        if r.random() < 0.3 and not os.path.islink(p):
            os.chmod(p, r.randrange(0o1000) | (0o700 if os.path.isdir(p) else 0))
            os.chown(p, r.randrange(70000), r.randrange(70000))
    want = fill.walk(root)
    with open(f"{t.g.dir}/random.json", "w") as f:
        json.dump(want, f)
    t.ensure_mounted()
    out = t.run(f"python3 /lab/src/tools/testing/cluster/verify.py /lab/run/random.json {M}/random-tree", 120)
    t.check(out.status == 0, f"seed {seed}: {out.out[-3000:]}")
    t.umount()


def test_many_snap_realms(t):
    """Each directory with a quota is a realm. Those that are not in use are forgotten, and
    known again when they are used."""
    folder = f"{t.fuse.path}/realms"
    for i in range(400):
        os.makedirs(f"{folder}/{i}")
        os.setxattr(f"{folder}/{i}", "ceph.quota.max_files", b"1000")
        open(f"{folder}/{i}/f", "w").close()
    t.ensure_mounted()
    for _ in range(3):
        t.ok(f"ls -lR {M}/realms >/dev/null")
        t.drop_caches()
        # Two looks, five seconds apart.
        time.sleep(11)
    for m in [x["name"] for x in t.cluster.mon_json("status")["fsmap"]["by_rank"]]:
        t.cluster.restart(f"mds.{m}")
    t.equal(int(t.ok(f"ls -lR {M}/realms | grep -c ' f$'", 120)), 400, "files")
    t.cluster.wait_health()
    t.umount()
    subprocess.run(["rm", "-rf", folder], check=True)
