# SPDX-License-Identifier: GPL-2.0
"""Directories move to a rank that the mount has never asked for anything."""

import contextlib
import os
import re
import time

from run import M

AUTOCLOSE = 30


def ranks(t):
    """Name of the daemon of each active rank."""
    by_rank = t.cluster.mon_json("status")["fsmap"]["by_rank"]
    return {x["rank"]: x["name"] for x in by_rank if x["status"] == "up:active"}


def sessions(t):
    """{rank: state}; nothing is asked of a server for that."""
    text = t.ok("cat /sys/kernel/debug/ceph/*/mds_sessions")
    return {int(rank): state for rank, state in re.findall(r"^mds\.(\d+) (\w+)$", text, re.M)}


def has_subtree(t, rank, path):
    """Whether the rank has authority over the directory."""
    trees = t.cluster.daemon(f"mds.{ranks(t)[rank]}", "get", "subtrees")
    text = trees if isinstance(trees, str) else repr(trees)
    return f"/{path}'" in text or f'/{path}"' in text


@contextlib.contextmanager
def two_ranks(t):
    """A second rank, and clients that are silent for half a minute are evicted."""
    pinned = []

    def pin(path, rank):
        pinned.append(path)
        os.setxattr(f"{t.fuse.path}/{path}", "ceph.dir.pin", b"%d" % rank)
        t.wait(f"{path} is at rank {rank}", lambda: has_subtree(t, rank, path), 60)
    t.cluster.mon("fs set", fs_name="cephfs", var="session_autoclose", val=str(AUTOCLOSE))
    t.umount_all()
    t.mount()
    t.ok(f"ls -l {M}/tree/d2 {M}/tree/d4 >/dev/null; cat {M}/tree/d2/f1 >/dev/null")
    t.equal(sessions(t), {0: "open"}, "the sessions before")
    t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="2")
    t.wait("two active MDS", lambda: len(ranks(t)) == 2, 60)
    try:
        yield pin
    finally:
        for path in pinned:
            os.setxattr(f"{t.fuse.path}/{path}", "ceph.dir.pin", b"-1")
        t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="1")
        t.cluster.mon("fs set", fs_name="cephfs", var="session_autoclose", val="300")
        t.wait("one active MDS", lambda: len(ranks(t)) == 1, 120)
        t.cluster.wait_health()
        t.umount_all()
        t.cluster.mon("osd blocklist clear")


def works(t):
    """Everything can be read, and what another client changes at rank 1 is seen."""
    status = t.ok("cat /sys/kernel/debug/ceph/*/status")
    t.check("blocklisted: false" in status, status)
    t.ok(f"ls -lR {M}/tree/d2 {M}/tree/d4 >/dev/null; cat {M}/tree/d2/f1 >/dev/null")
    name = f"tree/d2/made-{time.monotonic_ns()}"
    with open(f"{t.fuse.path}/{name}", "w") as f:
        f.write("new")
    t.equal(t.ok(f"cat {M}/{name}"), "new", "a file that came to be at rank 1")
    t.ok(f"ls {M}/tree/d2 | grep -q {os.path.basename(name)}")
    os.unlink(f"{t.fuse.path}/{name}")
    t.check(t.run(f"stat {M}/{name}").status != 0, "a file that went at rank 1")


def test_idle_mount_outlives_an_export(t):
    """A directory that an idle mount has capabilities in moves to a rank that it has no
    session with. The session is opened, and the mount is not evicted."""
    with two_ranks(t) as pin:
        pin("tree/d2", 1)
        t.wait("a session with rank 1", lambda: sessions(t) == {0: "open", 1: "open"}, 20)
        time.sleep(AUTOCLOSE + 15)
        t.equal(sessions(t), {0: "open", 1: "open"}, "the sessions of the idle mount")
        works(t)


def test_export_target_restarts(t):
    """The daemon that a directory was given to restarts while the mount is idle: its
    successor is told what the mount has, and does not evict it."""
    with two_ranks(t) as pin:
        pin("tree/d2", 1)
        t.wait("a session with rank 1", lambda: sessions(t).get(1) == "open", 20)
        name = ranks(t)[1]
        t.cluster.restart(f"mds.{name}")
        t.wait("two active MDS", lambda: len(ranks(t)) == 2, 120)
        t.wait("sessions", lambda: sessions(t) == {0: "open", 1: "open"}, 60)
        time.sleep(AUTOCLOSE + 15)
        works(t)
