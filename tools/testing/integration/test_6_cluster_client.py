# SPDX-License-Identifier: GPL-2.0
"""What libceph does for a mount: authentication, questions to monitors, requests to OSDs."""

import contextlib
import json
import os
import re
import time

from lab import SLOW
from run import M
from test_1_options import NEW, check_mount, fails
from test_4_kernel import folder


@contextlib.contextmanager
def configured(t, *names, **options):
    """Daemons restarted with other options, which they take at their start only."""
    def active():
        return {x["gid"] for x in t.cluster.mon_json("status")["fsmap"]["by_rank"] if x["status"] == "up:active"}

    def restart(conf):
        t.cluster.conf = conf
        before = active()
        for name in names:
            t.cluster.restart(name)
            if name.startswith("mon."):
                t.wait(f"{name} is in the quorum", lambda name=name: t.cluster.in_quorum(name), 60)
        if any(name.startswith("mds.") for name in names):
            # The monitors believe in the old one for a while.
            t.wait("another MDS is active", lambda: active() - before, 60)
        t.cluster.wait_health()
    conf = t.cluster.conf
    text = open(conf).read()
    for k, v in options.items():
        text = re.sub(rf"^\t{k} = .*\n", "", text, flags=re.M)
        text = text.replace("[global]\n", f"[global]\n\t{k} = {v}\n", 1)
    with open(f"{conf}.other", "w") as f:
        f.write(text)
    try:
        restart(f"{conf}.other")
        yield
    finally:
        restart(conf)


@contextlib.contextmanager
def frozen(t, kind):
    names = t.cluster.names(kind)
    for n in names:
        t.cluster.freeze(n)
    try:
        yield
    finally:
        for n in names:
            t.cluster.thaw(n)


def test_monitor_that_insists_on_secure(t):
    """It is an error at once, which says what to do."""
    if not t.rust:
        t.skip("the C client has that mode")
    with configured(t, "mon.a", ms_mon_service_mode="secure"):
        for mode in ("crc", "prefer-crc"):
            fails(t, NEW, t.options(ms_mode=mode, mon_addr="10.77.0.1:3300"), "EHOSTUNREACH",
                  ["insists on 'secure'"], 0, 20)


@contextlib.contextmanager
def monitor(t, mode, port, mask=0):
    """A monitor in the guest that is of no use; gives how many connections it has got."""
    t.ok("rm -f /lab/run/monitor.*; ip link set lo up")
    job = t.g.spawn(f"exec python3 /lab/src/tools/testing/integration/in_guest/monitor.py {mode} {port} {mask}")

    def count():
        return int(open(f"{t.g.dir}/monitor.count").read())
    try:
        t.wait("it listens", lambda: os.path.exists(f"{t.g.dir}/monitor.count") or job.finished(), 20)
        yield count
    finally:
        t.ok("touch /lab/run/monitor.stop")
        job.wait(10)


def local(t, port, **changed):
    return t.options(secret=None, mon_addr=f"127.0.0.1:{port}", **changed)


def said_by_mount(t, options):
    """What mount(8) prints, of a kernel that tells why."""
    r = t.run(f"mount -i -t ceph \"{NEW}\" {M} -o {options}", 60)
    t.check(r.status, "it is mounted")
    return r.out


def test_features_that_are_missing(t):
    """They are named, once, and the mount ends at once: the others would say the same."""
    if not t.rust:
        t.skip("the C client floods dmesg, and waits")
    with monitor(t, "features", 3300, 1 << 55 | 1 << 24) as count:
        mark = t.g.mark()
        fails(t, NEW, local(t, 3300), "EHOSTUNREACH", ["recovery_reservation_2, bit 55"], 0, 10)
        t.equal(len([x for x in t.g.dmesg(mark).splitlines() if "bit 55" in x]), 1, "lines that name them")
        t.check("session established" not in t.g.dmesg(mark), "there was no session")
        t.check(1 <= count() <= 3, f"{count()} connections")
        said = said_by_mount(t, local(t, 3300))
        t.check("bit 55" in said, f"mount(8) says {said}")


def test_monitor_that_falls_silent(t):
    """One that has taken the key and then says nothing is given up as one that says nothing at all."""
    if not t.rust:
        t.skip("the C client waits for it")
    with monitor(t, "silent", 3300) as count:
        fails(t, NEW, local(t, 3300, mount_timeout=8), "EHOSTUNREACH", ["no monitor answered"], 7, 20)
        t.check(2 <= count() <= 4, f"{count()} connections in 8 s")


def test_port_of_msgr1(t):
    """That msgr2 has another port is what the log and mount(8) say."""
    if not t.rust:
        t.skip("the C client does not say")
    with monitor(t, "msgr1", 6789):
        fails(t, NEW, local(t, 6789, mount_timeout=4), "EHOSTUNREACH", ["3300"], 3, 15)
        said = said_by_mount(t, local(t, 6789, mount_timeout=4))
        t.check("3300" in said and "msgr1" in said, f"mount(8) says {said}")


def test_questions_to_monitors(t):
    """They show while nobody answers; one ends with its task, the other is answered."""
    t.ensure_mounted()
    d = folder(t)

    def shown():
        return re.findall(r"^\d+ (?:statfs|mon_get_version|unknown)$", t.ok(f"cat {d}/monc"), re.M)
    t.equal(shown(), [], "questions")
    with frozen(t, "mon"):
        jobs = [t.g.spawn(f"exec stat -f {M}") for _ in range(2)]
        t.wait("both are shown", lambda: [x.split()[1] for x in shown()] == ["statfs"] * 2, 10)
        tids = [int(x.split()[0]) for x in shown()]
        t.check(tids == sorted(tids), f"not in order: {tids}")
        jobs[0].kill()
        t.equal(jobs[0].wait(5).status, 137, "killed")
        t.wait("one is forgotten", lambda: len(shown()) == 1, 5)
    t.equal(jobs[1].wait(40).status, 0, "the other")
    t.equal(shown(), [], "questions at the end")


def test_paused_cluster(t):
    """Reads wait while the cluster is paused, and show that."""
    t.ensure_mounted()
    d = folder(t)
    t.cluster.mon("osd set", key="pause")
    try:
        t.wait("the map is here", lambda: int(re.search(r"flags 0x(\w+)", t.ok(f"cat {d}/osdmap"))[1], 16) & 12
               == 12 or not t.run(f"timeout -s KILL 1 cat {M}/sizes/4096; echo 3 >/proc/sys/vm/drop_caches"), 20)
        t.drop_caches()
        job = t.g.spawn(f"exec cat {M}/sizes/4194304 | wc -c")
        t.wait("it waits", lambda: re.search(r"\tP\t0\tread$", t.ok(f"cat {d}/osdc"), re.M), 10)
        t.check(re.search(r"have osdmap \d+ want \d+\+", t.ok(f"cat {d}/monc")), "not all maps are asked for")
        t.check(not job.finished(), "it has ended")
    finally:
        t.cluster.mon("osd unset", key="pause")
    t.equal(job.wait(20).out, "4194304\n", "bytes")


def test_request_timeout(t):
    t.umount_all()
    t.equal(t.mount2(NEW, t.options(osd_request_timeout=2) + ",noshare")[0], "OK", "mount")
    t.ok(f"stat {M}/sizes/4194304")
    with frozen(t, "osd"):
        mark = t.g.mark()
        t0 = time.monotonic()
        r = t.run(f"cat {M}/sizes/4194304 >/dev/null", 30)
        t.check(r.status == 1 and 1 < time.monotonic() - t0 < 15, f"{r}")
        if t.rust:
            t.check("timeout" in t.g.dmesg(mark), "nothing in dmesg")
    # PGs may be laggy for a while, and this mount does not wait for them.
    t.cluster.wait_health()
    t.wait("reads work again", lambda: t.run(f"cat {M}/sizes/4194304 | wc -c").out == "4194304\n")
    t.umount()


def daemon_ports(t, kind):
    """The ports for msgr2 of all OSDs or MDSs."""
    addrs = [o["public_addrs"] for o in t.cluster.mon_json("osd dump")["osds"]] if kind == "osd" else \
        [i["addrs"] for f in t.cluster.mon_json("fs dump")["filesystems"]
         for i in f["mdsmap"]["info"].values()]
    return {int(re.search(r"v2:[\d.]+:(\d+)", json.dumps(a))[1]) if isinstance(a, str) else
            next(int(x["addr"].rsplit(":", 1)[1]) for x in a["addrvec"] if x["type"] == "v2")
            for a in addrs}


def test_silence_after_auth_done(t):
    """Who authenticates us and then says nothing is given up, of each kind: a monitor for
    another one, the others for another try."""
    if t.run("test -e /proc/self/ns/net").status:
        t.skip("the kernel has no network namespaces")
    if not t.rust:
        t.skip("the C client waits for ever")
    osds, mdss = daemon_ports(t, "osd"), daemon_ports(t, "mds")
    mark = t.g.mark()
    t.ok("rm -f /lab/run/proxy.*; mkdir -p /mnt/proxied")
    ports = ",".join(map(str, sorted(osds | mdss)))
    silent = ",".join(map(str, sorted({3300} | osds | mdss)))
    job = t.g.spawn("exec python3 /lab/src/tools/testing/integration/in_guest/proxied.py 900 "
                    f"{ports} /mnt/proxied \"{NEW}\" \"{t.options()},noshare,mount_timeout=300\" {silent}")
    try:
        t.wait("it is mounted", lambda: os.path.exists(f"{t.g.dir}/proxy.ready") or job.finished(),
               150, SLOW)
        t.check(not job.finished(), f"it ended: {job.output()}")
        r = t.run("sha256sum /mnt/proxied/sizes/4194304", 150)
        want = json.load(open(t.manifest))["sizes/4194304"]["sha256"]
        t.equal(r.out.split()[:1], [want], f"content: {r}")
        with open(f"{t.g.dir}/proxy.silent") as f:
            ports = {int(line) for line in f}
        t.check(3300 in ports and ports & osds and ports & mdss, f"silent were only {ports}")
        log = t.g.dmesg(mark)
        for kind in ("mds", "osd"):
            t.check(re.search(rf"{kind}\d+ .*handshake timed out", log), f"{kind}: {log[-2000:]}")
    finally:
        t.ok("touch /lab/run/proxy.stop")
        job.wait(40)


def test_damaged_bytes(t):
    """What the network damages is noticed: the connection is reset, and content is right."""
    if t.run("test -e /proc/self/ns/net").status:
        t.skip("the kernel has no network namespaces")
    want = json.load(open(t.manifest))
    files = [n for n, d in want.items() if "sha256" in d and 1 << 16 <= d["size"] <= 5 << 20][:6]
    ports = daemon_ports(t, "osd") | daemon_ports(t, "mds")
    mark = t.g.mark()
    t.ok("rm -f /lab/run/proxy.*; mkdir -p /mnt/proxied")
    job = t.g.spawn("exec python3 /lab/src/tools/testing/integration/in_guest/proxied.py 600 "
                    f"{','.join(map(str, sorted(ports)))} /mnt/proxied \"{NEW}\" \"{t.options()},noshare\"")
    try:
        t.wait("it is mounted", lambda: os.path.exists(f"{t.g.dir}/proxy.ready") or job.finished(), 40)
        t.check(not job.finished(), f"it ended: {job.output()}")

        def damaged():
            try:
                return int(open(f"{t.g.dir}/proxy.damaged").read() or 0)
            except FileNotFoundError:
                return 0
        rounds = 0
        while damaged() < 6 and rounds < 10:
            rounds += 1
            t.drop_caches()
            for line in t.ok(f"cd /mnt/proxied && sha256sum {' '.join(files)}", 60).splitlines():
                have, name = line.split()
                t.equal(have, want[name]["sha256"], name)
        t.check(damaged() >= 6, f"only {damaged()} bytes were damaged")
    finally:
        t.ok("touch /lab/run/proxy.stop")
        job.wait(40)
    if t.rust:
        log = t.g.dmesg(mark)
        t.check("integrity error, bad crc" in log, f"dmesg does not tell: {log[-2000:]}")


def test_command_text(t):
    """The monitors take the command that wire/mon_request.rs makes, as text (its frame is tested there)."""
    text = '{ "prefix": "osd blocklist", "blocklistop": "add", "addr": "10.77.0.99:3300/77" }'
    source = open("/src/net/ceph/wire/mon_request.rs").read()
    t.check(text in source, "the text of the test in wire/mon_request.rs is another one")
    t.cluster.mon("status")
    ret, _, err = t.cluster._rados.mon_command(text, b"", timeout=30)
    t.equal(ret, 0, err)
    t.check("10.77.0.99:3300/77" in t.cluster.mon("osd blocklist ls"), "not in the list")
    t.cluster.mon("osd blocklist", blocklistop="rm", addr="10.77.0.99:3300/77")
