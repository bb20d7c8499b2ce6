# SPDX-License-Identifier: GPL-2.0
"""Pools that are not simply there: cache tiers, too few replicas; epochs to wait for;
other authentication; readers that are killed."""

import json
import os
import re
import time

from long_6_more import sha
from run import M
from test_1_options import NEW, check_mount, fails
from test_4_kernel import folder
from test_6_cluster_client import configured, frozen


def set_pool(t, pool, **options):
    for var, val in options.items():
        t.cluster.mon("osd pool set", pool=pool, var=var, val=str(val), yes_i_really_mean_it=True)


def test_cache_tier(t):
    """Requests go to the tier that the map lays over a pool, and back."""
    t.cluster.mon("osd pool create", pool="hot", pg_num=4)
    t.cluster.mon("osd pool application enable", pool="hot", app="cephfs")
    t.cluster.mon("osd pool application set", pool="hot", app="cephfs", key="data", value="cephfs")
    t.cluster.mon("osd tier add", pool="cephfs_data", tierpool="hot")
    set_pool(t, "hot", hit_set_type="bloom", hit_set_count=1, hit_set_period=600, target_max_bytes=1 << 30)
    t.cluster.mon("osd tier cache-mode", pool="hot", mode="writeback", yes_i_really_mean_it=True)
    t.ensure_mounted()
    path = f"{t.fuse.path}/tiered"
    data = os.urandom(3 << 20)
    with open(path, "wb") as f:
        f.write(data)
        os.fsync(f.fileno())
    t.equal(t.ok(f"sha256sum <{M}/tiered").split()[0], sha(data), "before")
    t.cluster.mon("osd tier set-overlay", pool="cephfs_data", overlaypool="hot")
    try:
        number = next(p["pool"] for p in t.cluster.mon_json("osd dump")["pools"] if p["pool_name"] == "hot")
        d = folder(t)
        for _ in range(3):
            # The map comes with what the OSDs say; then requests go there.
            t.drop_caches()
            t.equal(t.ok(f"sha256sum <{M}/tiered", 60).split()[0], sha(data), "through the tier")
        t.check(f"read_tier {number} write_tier {number}" in t.ok(f"cat {d}/osdmap"), "the map is not here")
        with frozen(t, "osd"):
            t.drop_caches()
            job = t.g.spawn(f"exec sha256sum <{M}/tiered")
            t.wait("a request to the tier is shown",
                   lambda: re.search(rf"^\d+\tosd\d\t{number}\.", t.ok(f"cat {d}/osdc"), re.M), 10)
        t.equal(job.wait(60).out.split()[0], sha(data), "after a pause")
    finally:
        t.cluster.mon("osd tier remove-overlay", pool="cephfs_data")
        t.cluster.mon("osd tier remove", pool="cephfs_data", tierpool="hot")
    t.drop_caches()
    t.equal(t.ok(f"sha256sum <{M}/tiered", 60).split()[0], sha(data), "without the tier")


def test_backoff(t):
    """An OSD that may not serve a group tells us to hold back, and shows in debugfs."""
    t.cluster.mon("osd pool create", pool="twice", pg_num=4)
    set_pool(t, "twice", size=2, min_size=2)
    t.cluster.mon("fs add_data_pool", fs_name="cephfs", pool="twice")
    t.cluster.wait_health()
    t.ensure_mounted()
    path = f"{t.fuse.path}/twice"
    open(path, "w").close()
    for _ in range(50):
        try:
            os.setxattr(path, "ceph.file.layout.pool", b"twice")
            break
        except OSError:
            time.sleep(0.2)
    data = os.urandom(1 << 20)
    with open(path, "wb") as f:
        f.write(data)
        os.fsync(f.fileno())
    t.equal(t.ok(f"sha256sum <{M}/twice").split()[0], sha(data), "before")
    # With the file open, no metadata is needed, of which some lies on the OSD that goes.
    job = t.g.spawn(f"exec 3<{M}/twice; while [ ! -e /lab/run/go ]; do sleep 0.2; done; sha256sum <&3")
    time.sleep(1)
    d = folder(t)
    t.cluster.kill("osd.1")
    try:
        t.cluster.mon("osd down", ids=["1"])
        t.wait("the group is held back", lambda: "undersized+peered" in str(
            t.cluster.mon_json("status")["pgmap"]["pgs_by_state"]), 60)
        t.drop_caches()
        open(f"{t.g.dir}/go", "w").close()
        t.wait("the backoff is shown", lambda: re.search(
            r"BACKOFFS\nosd0\t\d+\.\d+\t\d+\t(MIN|-?\d+:\S+)\t(MAX|-?\d+:\S+)\n", t.ok(f"cat {d}/osdc")), 30)
        t.check(not job.finished(), "the reader has ended")
    finally:
        t.cluster.start_daemon("osd.1")
    t.equal(job.wait(90).out.split()[0], sha(data), "after the backoff")
    t.cluster.wait_health()
    t.check(t.ok(f"cat {d}/osdc").endswith("BACKOFFS\n"), "a backoff is left")


def test_epoch_barrier(t):
    """After another client was fenced off, the MDS names an epoch to wait for."""
    t.ensure_mounted()
    d = folder(t)
    t.ok(f"cat {M}/tiered >/dev/null || cat {M}/sizes/4096 >/dev/null")
    t.cluster.mon("osd blocklist", blocklistop="add", addr="10.77.0.77:0/1")
    with open(f"{t.fuse.path}/barrier", "w") as f:
        f.write("x")
    t.equal(t.ok(f"cat {M}/barrier"), "x", "content")
    epoch, barrier = map(int, re.search(r"epoch (\d+) barrier (\d+)", t.ok(f"cat {d}/osdmap")).groups())
    t.check(0 < barrier <= epoch, f"epoch {epoch}, barrier {barrier}")


def test_monitor_that_takes_no_key(t):
    if not t.rust:
        t.skip("the C client says something else")
    t.umount_all()
    with configured(t, "mon.a", auth_service_required="none"):
        fails(t, NEW, t.options(mon_addr="10.77.0.1:3300"), "EHOSTUNREACH",
              ["'cephx' not allowed", "without a key"], 0, 5)


def test_authentication_none(t):
    """A cluster that takes clients without a key; all kinds of daemons are talked to."""
    t.umount_all()
    mark = t.g.mark()
    t.equal(t.mount2(NEW, t.options(secret=None))[0], "EHOSTUNREACH", "without a key")
    if t.rust:
        t.check("mount with a key" in t.g.dmesg(mark), f"dmesg: {t.g.dmesg(mark)}")
    names = [n for kind in ("mon", "osd", "mds") for n in t.cluster.names(kind)]
    with configured(t, *names, auth_service_required="cephx, none"):
        t.equal(t.mount2(NEW, t.options(secret=None))[0], "OK", "mount")
        check_mount(t)
        t.equal(t.ok(f"sha256sum <{M}/tree/d1/f1").split()[0],
                json.load(open(t.manifest))["tree/d1/f1"]["sha256"], "content")
        t.ok(f"df {M}")
        t.umount()


def test_readers_are_killed(t):
    """Requests that are under way are taken back: queued, half received or unanswered."""
    t.ensure_mounted()
    want = json.load(open(t.manifest))
    name = max((n for n, d in want.items() if "sha256" in d), key=lambda n: want[n]["size"])
    for i in range(6):
        t.drop_caches()
        jobs = [t.g.spawn(f"exec dd if={M}/{name} of=/dev/null bs=4M skip={4 * k} {flags}")
                for k in range(3) for flags in ("", "iflag=direct")]
        time.sleep(0.05 + 0.1 * i)
        for job in jobs:
            job.kill()
        for job in jobs:
            job.wait(20)
    d = folder(t)
    t.wait("no request is left", lambda: "REQUESTS 0 homeless 0" in t.ok(f"cat {d}/osdc"), 10)
    t.drop_caches()
    t.equal(t.ok(f"sha256sum <{M}/sizes/4194304").split()[0], want["sizes/4194304"]["sha256"], "content")


def test_questions_outlive_monitors(t):
    """Asked while there is no monitor at all; each is answered once there is one again."""
    t.ensure_mounted()
    d = folder(t)
    names = t.cluster.names("mon")
    for n in names:
        t.cluster.kill(n)
    try:
        jobs = [t.g.spawn(f"exec stat -f {M}") for _ in range(3)]
        t.wait("all are shown", lambda: t.ok(f"cat {d}/monc").count(" statfs\n") == 3, 10)
        time.sleep(4)
    finally:
        for n in names:
            t.cluster.start_daemon(n)
    for job in jobs:
        t.equal(job.wait(60).status, 0, "a question")
    t.check("statfs" not in t.ok(f"cat {d}/monc"), "a question is left")
    t.cluster.wait_health()
