# SPDX-License-Identifier: GPL-2.0
"""The faults. Each gets the Context of run.py, with every side mounted and readers
running, and returns when what it broke was put right, or was left for healthy()."""

import signal
import time

ALL = []


class Fault:
    """`expects` holds "errors" if calls may fail, and "dead" if they fail until the file
    system is mounted again; `options` are added to those of the mount."""

    def __init__(self, run, text, quick, expects, options):
        self.name, self.text, self.run = run.__name__, text, run
        self.quick, self.expects, self.options = quick, expects, options


def fault(text, quick=False, expects="", options=""):
    def add(f):
        ALL.append(Fault(f, text, quick, expects.split(), options))
        return f
    return add


def mon_of(t, side):
    """The name of the monitor that a client talks to."""
    ip = side.monitor()
    for m in t.cluster.mon_names:
        if t.cluster.mon_ip(m) == ip:
            return f"mon.{m}"
    return t.fail(f"{side.client} talks to no monitor ({ip})")


@fault("monitor in use killed", quick=True)
def mon_killed(t):
    for side in t.sides:
        m = mon_of(t, side)
        t.say(f"{side.client} talks to {m}")
        t.cluster.kill(m)
        time.sleep(25)
        t.healthy()


def killed_for(t, names, seconds):
    for n in names:
        t.cluster.kill(n)
    time.sleep(seconds)
    for n in names:
        t.cluster.start_daemon(n)


@fault("all monitors killed, started after 15 s")
def mons_killed(t):
    killed_for(t, t.cluster.names("mon"), 15)


@fault("one OSD killed, started after 10 s", quick=True)
def osd_killed(t):
    kill_osd(t, 1)


def kill_osd(t, i):
    killed_for(t, [f"osd.{i}"], 10)
    t.healthy()


@fault("each OSD killed, started after 10 s")
def osds_killed_in_turn(t):
    for i in t.cluster.osd_ids:
        kill_osd(t, i)


@fault("all OSDs killed, started after 15 s")
def osds_killed(t):
    killed_for(t, t.cluster.names("osd"), 15)


def acting(t):
    pgs = t.cluster.mon_json("pg dump", dumpcontents=["pgs_brief"])
    return {p["pgid"]: p["acting"] for p in pgs.get("pg_stats", pgs)}


@fault("an OSD out, its PGs moved, and in again")
def osd_out(t):
    t.cluster.mon("osd out", ids=["2"])
    t.wait("no PG on osd.2", lambda: not any(2 in a for a in acting(t).values()), 120)
    t.cluster.wait_health()
    time.sleep(5)
    t.cluster.mon("osd in", ids=["2"])
    t.wait("PGs on osd.2", lambda: any(2 in a for a in acting(t).values()), 120)


def set_pool(t, **values):
    for var, val in values.items():
        t.cluster.mon("osd pool set", pool="cephfs_data", var=var, val=str(val))


@fault("PGs split, mapped elsewhere, led by others, and merged again")
def pgs_change(t):
    c = t.cluster

    def pgs():
        return [p for p in acting(t) if p.startswith(f"{pool['pool']}.")]

    pool = next(p for p in c.mon_json("osd dump")["pools"] if p["pool_name"] == "cephfs_data")
    was = pool["pg_num"]
    set_pool(t, pg_num=4 * was, pgp_num=4 * was)
    t.wait("split", lambda: len(pgs()) == 4 * was, 120)
    c.wait_health()
    c.mon("osd primary-affinity", id=0, weight=0.0)
    t.wait("two copies", lambda: all(len(a) == 2 for a in acting(t).values()), 60)
    moved = {pg: a for pg, a in acting(t).items() if pg in pgs()[:8]}
    for pg, a in moved.items():
        other = next(o for o in c.osd_ids if o not in a)
        c.mon("osd pg-upmap-items", pgid=pg, id=[a[1], other])
    t.wait("mapped elsewhere", lambda: all(set(acting(t)[pg]) != set(a) for pg, a in moved.items()), 120)
    c.wait_health()
    time.sleep(5)
    for pg in moved:
        c.mon("osd rm-pg-upmap-items", pgid=pg)
    c.mon("osd primary-affinity", id=0, weight=1.0)
    set_pool(t, pgp_num=was, pg_num=was)
    t.wait("merged", lambda: len(pgs()) == was, 300)


@fault("CRUSH as of old, and as of today")
def tunables(t):
    for profile in ("argonaut", "firefly", "hammer", "optimal"):
        t.cluster.mon("osd crush tunables", profile=profile)
        time.sleep(3)
        t.cluster.wait_health()


@fault("daemons close each 200th time they use a socket, for 30 s")
def sockets_fail(t):
    for who in ("mon", "osd", "mds"):
        t.cluster.mon("config set", who=who, name="ms_inject_socket_failures", value="200")
    time.sleep(30)
    for who in ("mon", "osd", "mds"):
        t.cluster.mon("config rm", who=who, name="ms_inject_socket_failures")


@fault("all daemons killed, started after 15 s")
def all_killed(t):
    killed_for(t, t.cluster.names(), 15)


def rank_moves(t, rank, act):
    """Lets act(daemon) take a rank from its daemon and waits for the other one."""
    was = t.ranks()[1][rank]
    act(was)
    t.wait(f"rank {rank} moves", lambda: len(t.ranks()[1]) == 2 and t.ranks()[1][rank] != was, 60)
    t.wait("two active ranks", lambda: t.ranks()[0] == ["up:active"] * 2, 90)
    t.each(lambda s: s.progress(5, 90))
    t.healthy()


@fault("MDS of rank 0 killed, a standby ready", quick=True)
def mds_killed(t):
    rank_moves(t, 0, t.cluster.kill)


@fault("MDS of rank 1 killed, a standby ready")
def mds_1_killed(t):
    rank_moves(t, 1, t.cluster.kill)


@fault("both MDS killed, one standby, one started again")
def mds_both_killed(t):
    names = t.ranks()[1]
    for n in names:
        t.cluster.kill(n)
    time.sleep(5)
    for n in names:
        t.cluster.start_daemon(n)
    t.wait("two active ranks", lambda: t.ranks()[0] == ["up:active"] * 2, 120)


@fault("ceph mds fail 0")
def mds_failed(t):
    rank_moves(t, 0, lambda _: t.cluster.mon("mds fail", role_or_gid="0"))


@fault("directories pinned to rank 1 and back, 8 times", quick=True)
def caps_migrate(t):
    import os
    with t.cluster.fuse("/tmp/pin") as f:
        for i in range(8):
            for n in ("tree/d1", "tree/d3", "tree/d5", "sizes", "modes"):
                os.setxattr(f"{f.path}/{n}", "ceph.dir.pin", b"%d" % (1 - i % 2))
            time.sleep(4)


@fault("max_mds 1 and 2 again")
def rank_stopped(t):
    t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="1")
    t.wait("one active rank", lambda: t.ranks()[0] == ["up:active"], 120)
    t.each(lambda s: s.progress(5, 60))
    t.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="2")
    time.sleep(10)


@fault("ceph fs fail, joinable again after 15 s")
def fs_failed(t):
    t.cluster.mon("fs fail", fs_name="cephfs")
    time.sleep(15)
    t.cluster.mon("fs set", fs_name="cephfs", var="joinable", val="true")


@fault("the client's machine stands still for 70 s")
def client_stopped(t):
    def complaints(wanted):
        t.each(lambda s: s.g.run(f"echo {1 - wanted} >/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress; "
                                 f"echo {wanted} >/proc/sys/kernel/watchdog", check=True))

    # The guest's kernel sees that it stood still.
    complaints(0)
    for s in t.sides:
        s.g.process.send_signal(signal.SIGSTOP)
    time.sleep(70)
    for s in t.sides:
        s.g.process.send_signal(signal.SIGCONT)
    time.sleep(5)
    complaints(1)


@fault("the client's clock set forward by a day, and back")
def clock(t):
    for how in ("+ 1 day", "- 1 day"):
        t.each(lambda s: s.g.run(f"date -s 'now {how}'", check=True))
        time.sleep(15)


def taps(t, how):
    import lab
    for s in t.sides:
        lab.sh(f"ip link set tap{s.g.index} {how}")


@fault("link down for 30 s")
def link_down(t):
    taps(t, "down")
    time.sleep(30)
    taps(t, "up")


@fault("link down for 5 s, three times")
def link_flaps(t):
    for _ in range(3):
        taps(t, "down")
        time.sleep(5)
        taps(t, "up")
        time.sleep(5)


def netem(t, how, seconds):
    t.each(lambda s: s.g.run(f"tc qdisc add dev eth0 root netem {how}", check=True))
    time.sleep(seconds)
    t.each(lambda s: s.g.run("tc qdisc del dev eth0 root", check=True))


@fault("100 +- 30 ms of delay for 20 s")
def delay(t):
    netem(t, "delay 100ms 30ms", 20)


@fault("5 % of packets lost, 2 % twice, 5 % late, for 30 s")
def loss(t):
    netem(t, "delay 5ms loss 5% duplicate 2% reorder 5%", 30)


def evict(t):
    for s in t.sides:
        gid = s.gid()
        for m in t.ranks()[1]:
            t.cluster.ceph("tell", m, "session", "evict", f"id={gid}", check=False)


@fault("session evicted, recover_session=no", expects="errors dead")
def evicted(t):
    evict(t)
    time.sleep(20)


@fault("session evicted, recover_session=clean", expects="errors", options="recover_session=clean")
def evicted_clean(t):
    evict(t)
    time.sleep(15)


@fault("each daemon stopped for 6 s (SIGSTOP)")
def frozen_in_turn(t):
    for n in t.cluster.names():
        t.cluster.freeze(n)
        time.sleep(6)
        t.cluster.thaw(n)
        time.sleep(1)


@fault("all daemons stopped for 15 s (SIGSTOP)")
def frozen(t):
    for n in t.cluster.names():
        t.cluster.freeze(n)
    time.sleep(15)
    for n in t.cluster.names():
        t.cluster.thaw(n)


@fault("monitor in use stopped for 45 s (SIGSTOP)")
def mon_frozen(t):
    for side in t.sides:
        m = mon_of(t, side)
        t.say(f"{side.client} talks to {m}")
        t.cluster.freeze(m)
        time.sleep(45)
        t.cluster.thaw(m)
        t.healthy()


@fault("MDS stopped until a standby took over, then continued")
def mds_replaced(t):
    def act(name):
        t.cluster.freeze(name)
        t.wait("rank 0 moves", lambda: name not in t.ranks()[1], 60)
        time.sleep(5)
        t.cluster.thaw(name)
    rank_moves(t, 0, act)


@fault("OSD stopped until it was marked down, then continued")
def osd_replaced(t):
    t.cluster.freeze("osd.0")
    t.wait("osd.0 is down", lambda: t.cluster.mon_json("status")["osdmap"]["num_up_osds"] == 2, 90)
    time.sleep(5)
    t.cluster.thaw("osd.0")


@fault("tickets of 60 s expire, daemons restart meanwhile")
def tickets(t):
    for n in ("osd.0", "osd.1", mds_name(t, 1), "osd.2"):
        time.sleep(t.ttl * 0.6)
        t.cluster.restart(n)
        t.healthy()


def mds_name(t, rank):
    return t.ranks()[1][rank]


@fault("a monitor added, another removed, and back")
def mons_change(t):
    c = t.cluster
    c.add_mon("d")
    t.wait("four monitors", lambda: len(c.mon_json("quorum_status")["quorum"]) == 4, 60)
    time.sleep(3)
    for m in ("a", "b"):
        c.remove_mon(m)
        t.wait("a quorum", lambda: "quorum" in c.mon("quorum_status", check=False), 60)
        time.sleep(5)
    t.each(lambda s: s.progress(5, 60))
    # Now the clients know a monitor that the mount's options did not name.
    c.kill("mon.c")
    c.start_daemon("mon.c")
    t.wait("two monitors", lambda: len(c.mon_json("quorum_status")["quorum"]) == 2, 60)
    t.each(lambda s: s.progress(5, 60))
    for m in ("a", "b"):
        c.add_mon(m)
        t.wait("it joins", lambda m=m: m in c.mon_json("quorum_status")["quorum_names"], 60)
    c.remove_mon("d")
    t.wait("three monitors", lambda: sorted(c.mon_json("quorum_status")["quorum_names"]) == ["a", "b", "c"], 60)
