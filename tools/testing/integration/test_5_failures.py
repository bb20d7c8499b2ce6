# SPDX-License-Identifier: GPL-2.0
"""Daemons that end, hang and come back, under a reader."""

import os
import signal
import time

from lab import SLOW
from run import M
from test_1_options import NEW

READER = f"""exec python3 -c '
import hashlib, json, os, random, sys, time
want = json.load(open("/lab/run/manifest.json"))
files = [n for n, d in want.items() if "sha256" in d and d["size"] < 6 << 20 and not n.startswith("many")]
r = random.Random(3)
n = 0
while not os.path.exists("/lab/run/stop"):
    name = r.choice(files)
    path = "{M}/" + name
    assert os.lstat(path).st_ino == want[name]["ino"], name
    fd = os.open(path, os.O_RDONLY)
    h = hashlib.sha256()
    while True:
        b = os.read(fd, 1 << 20)
        if not b: break
        h.update(b)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    assert h.hexdigest() == want[name]["sha256"], name
    if n % 20 == 0:
        assert sorted(os.listdir("{M}/tree/d1")) == want["tree/d1"]["entries"]
        open("/proc/sys/vm/drop_caches", "w").write("2")
    n += 1
    if n % 10 == 0: print(n, flush=True)
print("end", n, flush=True)
'"""


def under_a_reader(t, act, limit=60):
    """Runs act() while a reader compares contents; it must make progress afterwards."""
    t.ensure_mounted()
    t.ok("rm -f /lab/run/stop")
    job = t.g.spawn(READER)

    def count():
        words = job.output().split()
        return int(words[-1]) if words and words[-1].isdigit() else 0
    t.wait("the reader reads", lambda: count() >= 10 or job.finished(), 60)
    act()
    before = count()
    t.wait("the reader goes on", lambda: count() >= before + 30 or job.finished(), limit, SLOW)
    t.check(not job.finished(), f"the reader ended: {job.output()[-1500:]}")
    open(f"{t.g.dir}/stop", "w").close()
    r = job.wait(30)
    t.ok("rm /lab/run/stop")
    t.equal(r.status, 0, f"the reader: {r.out[-1500:]}")


def test_restart_mon(t):
    def act():
        for m in ("mon.a", "mon.b", "mon.c"):
            t.cluster.restart(m)
            t.wait(f"{m} is in the quorum", lambda m=m: t.cluster.in_quorum(m), 60)
            t.cluster.wait_health()
    under_a_reader(t, act)


def test_restart_mgr(t):
    under_a_reader(t, lambda: (t.cluster.restart("mgr.x"), t.cluster.wait_health()))
    t.ok(f"df {M}")


def test_restart_osd(t):
    def act():
        for o in ("osd.0", "osd.1"):
            t.cluster.restart(o)
            t.cluster.wait_health()
    under_a_reader(t, act, 90)


def test_restart_osd_after_a_while(t):
    """Down long enough that a map without it comes out: requests wait for a new map."""
    def act():
        t.cluster.kill("osd.0")
        t.cluster.mon("osd down", ids=["0"])
        time.sleep(3)
        t.cluster.start_daemon("osd.0")
        t.cluster.wait_health()
    under_a_reader(t, act, 90)


def active_mds(t):
    return "mds." + t.cluster.mon_json("status")["fsmap"]["by_rank"][0]["name"]


def test_restart_mds(t):
    """The same MDS comes back: the session reconnects."""
    for m in list(t.cluster.names("mds")):
        if m != active_mds(t):
            t.cluster.kill(m)

    def act():
        t.cluster.restart(active_mds(t))
        time.sleep(1)
        t.cluster.wait_mds_active()
    try:
        under_a_reader(t, act, 120)
    finally:
        for m in t.cluster.mds_names:
            if not t.cluster.running(f"mds.{m}"):
                t.cluster.start_daemon(f"mds.{m}")
        t.cluster.wait_health()


def test_mds_fails_over(t):
    """The standby takes over."""
    def act():
        t.wait("a standby", lambda: t.cluster.mon_json("status")["fsmap"]["up:standby"] > 0, 60)
        m = active_mds(t)
        t.cluster.mon("mds fail", role_or_gid="0")
        t.wait("another MDS is active", lambda: active_other(t, m), 90)
        if not t.cluster.running(m):
            t.cluster.daemons.pop(m, None)
            t.cluster.start_daemon(m)
    under_a_reader(t, act, 120)
    t.cluster.wait_health()


def active_other(t, m):
    up = t.cluster.mon_json("status")["fsmap"]["by_rank"]
    return up and up[0]["status"] == "up:active" and "mds." + up[0]["name"] != m


def test_stale_capabilities_are_not_claimed(t):
    """The client's machine stands still until the MDS takes its capabilities away, and while
    another MDS takes over. It must not claim what the first one gave to others meanwhile."""
    if not t.rust:
        return  # The C client claims all that it had.
    t.ensure_mounted()
    d, g = f"{t.fuse.path}/stale", f"{M}/stale"
    os.makedirs(d, exist_ok=True)
    for i in range(5):
        open(f"{d}/f{i}", "w").close()
    t.wait("a standby", lambda: t.cluster.mon_json("status")["fsmap"]["up:standby"] > 0, 60)
    t.cluster.mon("fs set", fs_name="cephfs", var="session_timeout", val="30")
    m = active_mds(t)
    quiet = "/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress"
    try:
        # The directory is known as a whole, for the client listed it last.
        t.equal(len(t.ok(f"ls -l {g} >/dev/null; ls {g}").split()), 5, "entries")
        t.check(t.run(f"stat {g}/new").status != 0, "it is there already")
        # The guest's kernel sees that it stood still.
        t.ok(f"echo 1 >{quiet}; echo 0 >/proc/sys/kernel/watchdog")
        t.g.process.send_signal(signal.SIGSTOP)
        try:
            # Waits until the session is stale.
            with open(f"{d}/new", "w") as f:
                f.write("new")
            t.cluster.mon("mds fail", role_or_gid="0")
            t.wait("another MDS takes over", lambda: other_rank_0(t, m), 60)
        finally:
            t.g.process.send_signal(signal.SIGCONT)
        t.equal(t.ok(f"cat {g}/new", 120), "new", "content")
        t.equal(len(t.ok(f"ls {g}").split()), 6, "entries")
    finally:
        t.ok(f"echo 0 >{quiet}; echo 1 >/proc/sys/kernel/watchdog")
        t.cluster.mon("fs set", fs_name="cephfs", var="session_timeout", val="60")
        if not t.cluster.running(m):
            t.cluster.daemons.pop(m, None)
            t.cluster.start_daemon(m)
        t.cluster.wait_mds_active()
        t.cluster.wait_health()


def other_rank_0(t, m):
    """Whether rank 0 is another daemon that asks clients what they hold, or is beyond that."""
    up = t.cluster.mon_json("status")["fsmap"]["by_rank"]
    return up and "mds." + up[0]["name"] != m and up[0]["status"] in ("up:reconnect", "up:rejoin", "up:active")


def test_network_pause(t):
    """Everything stands still for a while."""
    def act():
        for n in t.cluster.names():
            t.cluster.freeze(n)
        time.sleep(8)
        for n in t.cluster.names():
            t.cluster.thaw(n)
        t.cluster.wait_mds_active()
        # Which helps PGs that stay laggy.
        t.cluster.wait_health()
    under_a_reader(t, act, 120)


def test_eviction(t):
    """The MDS forgets the client: the mount says so instead of hanging, or recovers."""
    t.ensure_mounted()
    t.ok(f"ls -l {M}/tree/d2")
    out = t.ok("cat /sys/kernel/debug/ceph/*/mds_sessions")
    gid = out.split()[1]
    t.cluster.ceph("tell", active_mds(t), "session", "evict", gid)
    time.sleep(2)
    r = t.run(f"ls -l {M}/tree/d7", 60)
    t.check(r.status in (0, 1, 2), f"{r}")
    t.run(f"umount {M}", 90)
    if t.mounted():
        t.ok(f"umount -f {M}", 90)
    t.mount()
    t.ok(f"ls {M}/tree/d7")
    t.umount()


UMOUNT = "exec python3 -c 'import ctypes; exit(ctypes.CDLL(None).umount2(b\"/mnt/ceph\", 8) != 0)'"


def test_umount_while_the_cluster_is_down(t):
    """It ends by itself or can be killed, and nothing is left."""
    t.mount()
    t.ok(f"ls -lR {M}/tree >/dev/null; cat {M}/sizes/4097 >/dev/null")
    for n in t.cluster.names():
        t.cluster.freeze(n)
    try:
        # Not umount(8), which asks the MDS for the folder's attributes first.
        job = t.g.spawn(UMOUNT)
        how = "by itself"
        if not job.done.wait(8):
            job.kill()
            how = "killed"
        r = job.wait(10 if t.rust else 70)
        t.wait("not mounted any more", lambda: not t.mounted(), 5)
        t.wait("nothing left", lambda: not t.run("ls /sys/kernel/debug/ceph").out.strip(), 70)
    finally:
        for n in t.cluster.names():
            t.cluster.thaw(n)
    t.cluster.wait_health()
    t.mount()
    t.ok(f"cat {M}/sizes/4097 >/dev/null")
    t.umount()
    print(f"# umount ended {how} after {r.seconds:.1f} s", flush=True)


def test_umount_force_with_waiters(t):
    """umount -f ends the waiters with EIO."""
    t.mount()
    t.ok(f"ls {M} >/dev/null")
    for n in t.cluster.names():
        t.cluster.freeze(n)
    try:
        jobs = [t.g.spawn(f"exec stat {M}/tree/d{i}/f1") for i in range(3)]
        time.sleep(1)
        f = t.g.spawn(f"exec umount -f {M}")
        for job in jobs:
            job.wait(30)
        if not f.done.wait(20):
            f.kill()
        f.wait(20)
    finally:
        for n in t.cluster.names():
            t.cluster.thaw(n)
    t.cluster.wait_health()
    t.umount_all()
    t.mount()
    t.umount()


def test_deleted_namespace(t):
    """A network namespace whose link is down and that is deleted is gone soon after umount -f:
    its interface, the guest's own, is back."""
    if t.run("test -e /proc/self/ns/net").status:
        t.skip("the kernel has no network namespaces")
    t.umount_all()
    at = "/mnt/deleted"
    # "ip netns exec" would give the mount a mount namespace of its own.
    inside = "nsenter --net=/run/netns/gone"
    config = f"ip addr add {t.g.address}/24 dev eth0 && ip link set eth0 up"

    def is_back():
        return t.run("ip link show eth0").status == 0
    t.ok(f"mkdir -p {at} && ip netns add gone && ip link set eth0 netns gone")
    try:
        t.ok(f"{inside} sh -c 'ip link set lo up && {config}' && "
             f"{inside} mount -i -t ceph \"{NEW}\" {at} -o \"{t.options()},noshare\"", 90)
        t.ok(f"cat {at}/sizes/4194304 >/dev/null", 60)
        client = t.ok("echo /sys/kernel/debug/ceph/*").strip().rpartition(".client")[2]
        t.check(not is_back(), "the mount is in the wrong namespace")
        t.ok(f"{inside} ip link set eth0 down; echo 3 >/proc/sys/vm/drop_caches")
        # So that there is something which could not be sent, on each connection.
        jobs = [t.g.spawn(f"exec {command}") for command in (
            f"cat {at}/sizes/4194304", f"stat {at}/tree/d3/f1", f"df {at}")]
        time.sleep(2)
        t.ok("ip netns del gone")
        t.ok(f"umount -f {at}; for j in $(seq 20); do mountpoint -q {at} || break; umount {at}; sleep 0.2; done; "
             f"! mountpoint -q {at}", 60)
        t.wait("the namespace is gone", is_back, 10, SLOW)
        for job in jobs:
            job.wait(20)
    finally:
        t.run("ip netns del gone 2>/dev/null; true")
        t.wait("the interface is back", is_back, 600)
        t.ok(config)
    # It could not close its session, and has capabilities that the next read needs.
    t.cluster.ceph("tell", active_mds(t), "session", "evict", client)
    t.mount()
    t.ok(f"cat {M}/sizes/4194304 >/dev/null", 60)
    t.cluster.wait_health()
