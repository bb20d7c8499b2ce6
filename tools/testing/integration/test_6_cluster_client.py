# SPDX-License-Identifier: GPL-2.0
"""What libceph does for a mount: authentication, questions to monitors, requests to OSDs."""

import contextlib
import json
import os
import re
import time

from run import M
from test_1_options import NEW, check_mount, fails
from test_4_kernel import folder


@contextlib.contextmanager
def configured(t, kinds, **options):
    """Running daemons with other options."""
    def tell(verb, *words):
        for kind in kinds:
            for name in t.cluster.names(kind):
                t.cluster.daemon(name, "config", verb, *words)
    for k, v in options.items():
        tell("set", k, v)
    try:
        yield
    finally:
        for k in options:
            tell("unset", k)


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


def test_authentication_none(t):
    """A cluster that takes clients without a key; all kinds of daemons are talked to."""
    with configured(t, ("mon", "osd", "mds"), auth_service_required="cephx, none"):
        t.equal(t.mount2(NEW, t.options(secret=None) + ",noshare")[0], "OK", "mount")
        check_mount(t)
        t.equal(t.ok(f"sha256sum <{M}/tree/d1/f1").split()[0],
                json.load(open(t.manifest))["tree/d1/f1"]["sha256"], "content")
        t.ok(f"df {M}")
        t.umount()
    mark = t.g.mark()
    t.equal(t.mount2(NEW, t.options(secret=None) + ",noshare")[0], "EHOSTUNREACH", "without a key")
    t.check("mount with a key" in t.g.dmesg(mark) or not t.rust, f"dmesg: {t.g.dmesg(mark)}")


def test_monitors_that_take_no_key(t):
    if not t.rust:
        t.skip("the C client says something else")
    with configured(t, ("mon",), auth_service_required="none"):
        fails(t, NEW, t.options() + ",noshare", "EHOSTUNREACH", ["'cephx' not allowed", "without a key"], 0, 5)


def test_monitors_that_insist_on_secure(t):
    if not t.rust:
        t.skip("the C client has that mode")
    with configured(t, ("mon",), ms_mon_service_mode="secure"):
        for mode in ("crc", "prefer-crc"):
            fails(t, NEW, t.options(ms_mode=mode) + ",noshare", "EHOSTUNREACH", ["insists on 'secure'"], 0, 5)


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
    """Reads wait while the cluster is paused, and show that; not while it is full."""
    t.ensure_mounted()
    d = folder(t)
    t.cluster.mon("osd set", key="pause")
    try:
        t.wait("the map is here", lambda: int(re.search(r"flags 0x(\w+)", t.ok(f"cat {d}/osdmap"))[1], 16) & 12
               == 12 or not t.run(f"timeout -s KILL 1 cat {M}/sizes/4096; echo 3 >/proc/sys/vm/drop_caches"), 20)
        t.drop_caches()
        job = t.g.spawn(f"exec cat {M}/sizes/4194304 | wc -c")
        t.wait("it waits", lambda: re.search(r"\tP\t0\tread$", t.ok(f"cat {d}/osdc"), re.M), 10)
        t.check(re.search(r"have osdmap \d+ want \d+\+", t.ok(f"cat {d}/monc")), "all maps are not asked for")
        t.check(not job.finished(), "it has ended")
    finally:
        t.cluster.mon("osd unset", key="pause")
    t.equal(job.wait(20).out, "4194304\n", "bytes")
    t.cluster.mon("osd set", key="full")
    try:
        time.sleep(1)
        t.drop_caches()
        t.equal(t.ok(f"cat {M}/sizes/4194304 | wc -c", 20), "4194304\n", "bytes while full")
    finally:
        t.cluster.mon("osd unset", key="full")


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
    t.equal(t.ok(f"cat {M}/sizes/4194304 | wc -c", 30), "4194304\n", "bytes afterwards")
    t.umount()


def test_damaged_bytes(t):
    """What the network damages is noticed: the connection is reset, and content is right."""
    want = json.load(open(t.manifest))
    files = [n for n, d in want.items() if "sha256" in d and 1 << 16 <= d["size"] <= 5 << 20][:8]
    ports = {int(re.search(r"v2:[\d.]+:(\d+)", json.dumps(a))[1]) if isinstance(a, str) else
             next(int(x["addr"].rsplit(":", 1)[1]) for x in a["addrvec"] if x["type"] == "v2")
             for a in [o["public_addrs"] for o in t.cluster.mon_json("osd dump")["osds"]] +
             [i["addrs"] for f in t.cluster.mon_json("fs dump")["filesystems"]
              for i in f["mdsmap"]["info"].values()]}
    mark = t.g.mark()
    t.ok("rm -f /lab/run/proxy.*; mkdir -p /mnt/proxied")
    job = t.g.spawn("exec python3 /lab/src/tools/testing/integration/in_guest/proxied.py 60 "
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
        while damaged() < 12 and rounds < 10:
            rounds += 1
            t.drop_caches()
            for line in t.ok(f"cd /mnt/proxied && sha256sum {' '.join(files)}", 60).splitlines():
                have, name = line.split()
                t.equal(have, want[name]["sha256"], name)
        t.check(damaged() >= 12, f"only {damaged()} bytes were damaged")
    finally:
        t.ok("touch /lab/run/proxy.stop")
        job.wait(40)
    if t.rust:
        log = t.g.dmesg(mark)
        t.check("integrity error, bad crc" in log, f"dmesg does not tell: {log[-2000:]}")
