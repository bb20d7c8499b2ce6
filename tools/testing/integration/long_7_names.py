# SPDX-License-Identifier: GPL-2.0
"""Many names."""

import json
import time

import cephfs
from run import M


def other(t):
    """The file system by libcephfs, which is faster than ceph-fuse."""
    fs = cephfs.LibCephFS(conffile=t.cluster.conf, auth_id="admin", conf={"admin_socket": ""})
    fs.mount()
    return fs


def health(t):
    return set(json.loads(t.cluster.mon("health", format="json"))["checks"])


def test_recall(t):
    """A client that may hold 500 capabilities walks 20,000 files; those it uses it keeps."""
    t.ensure_mounted()
    fs = other(t)
    for i in range(20):
        fs.mkdirs(f"/walk/d{i:02}", 0o755)
        for k in range(1000):
            fs.close(fs.open(f"/walk/d{i:02}/f{k}", "w", 0o644))
    fs.shutdown()
    small = {"mds_max_caps_per_client": "500", "mds_recall_max_caps": "1000", "mds_min_caps_per_client": "100"}
    for name, value in small.items():
        t.cluster.ceph("config", "set", "mds", name, value)

    def caps():
        return int(t.ok("sed -n 's/^used[^0-9]*//p' /sys/kernel/debug/ceph/*/caps"))
    try:
        job = t.g.spawn(f"exec 5<{M}/walk/d00/f7; for i in 1 2; do find {M}/walk -type f -size -1 | wc -l; done; cat <&5; sleep 20")
        seen = set()
        while not job.finished():
            t.ok(f"stat {M}/walk/d03/f5 {M}/walk/d03/f6 >/dev/null")
            seen |= health(t)
            time.sleep(1)
        t.equal(job.output().split()[:2], ["20000", "20000"], "files found")
        t.wait("caps are given back", lambda: caps() <= 700, 60)
        # A server complains of what it has waited a minute for.
        end = time.monotonic() + 70
        while time.monotonic() < end:
            seen |= health(t)
            time.sleep(1)
        bad = seen & {"MDS_CLIENT_RECALL", "MDS_CLIENT_RECALL_MANY", "MDS_CLIENT_LATE_RELEASE",
                      "MDS_CLIENT_LATE_RELEASE_MANY", "MDS_SLOW_REQUEST"}
        t.check(not bad, f"health warnings: {bad}")
    finally:
        for name in small:
            t.cluster.ceph("config", "rm", "mds", name)
    t.equal(t.ok(f"find {M}/walk -type f | wc -l").strip(), "20000", "files afterwards")
