# SPDX-License-Identifier: GPL-2.0
"""Several clients of all kinds."""

import os

from run import M
from test_3_coherence import versions, walk


def test_walk_with_every_client(t):
    """ceph-fuse, libcephfs and the C client change things in turn."""
    import others
    g = t.other_guest()
    walk(t, "others", 3000, c=lambda root: others.Remote(g, root))


def test_walk_with_few_caps(t):
    """The same while the servers take capabilities back all the time."""
    import others
    g = t.other_guest()
    few(t, 20)
    try:
        walk(t, "few", 1000, c=lambda root: others.Remote(g, root))
    finally:
        few(t, None)
    no_late(t)


def test_walk_with_two_ranks(t):
    """The same while folders move between two MDS."""
    import threading
    import others
    g = t.other_guest()
    t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="2")
    states = lambda: [x["status"] for x in t.cluster.mon_json("status")["fsmap"]["by_rank"]]  # noqa: E731
    t.wait("two active MDS", lambda: states() == ["up:active"] * 2, 60)
    end = threading.Event()

    def move():
        n = 0
        while not end.wait(3):
            n += 1
            os.setxattr(f"{t.fuse.path}/co-ranks", "ceph.dir.pin", b"%d" % (n % 2))
    os.makedirs(f"{t.fuse.path}/co-ranks", exist_ok=True)
    th = threading.Thread(target=move)
    th.start()
    try:
        walk(t, "ranks", 1000, c=lambda root: others.Remote(g, root))
    finally:
        end.set()
        th.join()
        t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="1")
    t.wait("one active MDS", lambda: states() == ["up:active"], 120)
    t.cluster.wait_health()


def test_no_older_version_in_minutes(t):
    versions(t, "many", 180)


def few(t, n):
    """Limits what a client may hold, or not."""
    for k, v in (("mds_max_caps_per_client", n), ("mds_recall_max_caps", n and 1000),
                 ("mds_min_caps_per_client", n and n // 2)):
        t.cluster.ceph("config", *(("set", "mds", k, str(v)) if n else ("rm", "mds", k)))


def no_late(t):
    """No server misses capabilities that it asked for."""
    checks = set(t.cluster.mon_json("status")["health"]["checks"])
    bad = checks & {"MDS_CLIENT_LATE_RELEASE", "MDS_CLIENT_LATE_RELEASE_MANY", "MDS_CLIENT_RECALL",
                    "MDS_CLIENT_RECALL_MANY"}
    t.check(not bad, f"the cluster warns: {bad}")
