# SPDX-License-Identifier: GPL-2.0
"""Nobody waits in the dark: with every daemon stopped, or dead, who is blocked shows in
debugfs with the reason, and can be killed."""

import os
import re
import threading
import time

from lab import SLOW
from run import M

# What is done to which path of the demo tree, and what `waiting` says of it: the
# operation, the path, and what it waits for.
OPERATIONS = {
    "read": ("sizes/65537", "read", "/sizes/65537", r"osd\d"),
    "fault": ("sizes/65536", "read", "/sizes/65536", r"osd\d"),
    "sendfile": ("sizes/65535", "read", "/sizes/65535", r"osd\d"),
    "readahead": ("sizes/4194303", "read", "/sizes/4194303", r"osd\d"),
    "direct": ("sizes/1048577", "read", "/sizes/1048577", r"osd\d"),
    "aio": ("sizes/4194304", "read", "/sizes/4194304", r"osd\d"),
    "statx": ("sizes/4097", "getattr", "/sizes/4097", r"mds\d"),
    "stat": ("tree/d1/f1", "lookup", "/tree/d1/f1", r"mds\d"),
    "open": ("tree/d2/f2", "lookup", "/tree/d2/f2", r"mds\d"),
    "list": ("tree/d3", "readdir", "/tree/d3", r"mds\d"),
    "readlink": ("links/up", "lookup", "/links/up", r"mds\d"),
    "statfs": ("", "statfs", "-", "mon"),
}
SCRIPT = "/lab/src/tools/testing/integration/in_guest/blocked.py"
WAITING = "cat /sys/kernel/debug/ceph/*/waiting"
# A second for the OSD client's tick; the rest is for a guest that has to share its processor.
# Nothing of the cluster comes back meanwhile, so what cannot be killed does not end at all.
KILL_LIMIT = 10


def stop_all(t, dead):
    """Stops all daemons; gives what starts them again."""
    names = t.cluster.names()
    for n in names:
        t.cluster.kill(n) if dead else t.cluster.freeze(n)

    def start():
        for n in names:
            t.cluster.start_daemon(n) if dead else t.cluster.thaw(n)
        t.cluster.wait_health()
        t.cluster.wait_mds_active()
    return start


def rows(t):
    """`waiting`, as {pid: (operation, inode, path, waits for, seconds)}."""
    lines = [x.split("\t") for x in t.ok(WAITING).splitlines()]
    head = ["pid", "command", "operation", "inode", "path", "waits for", "seconds"]
    found = {}
    for x in lines:
        if x != head:
            t.check(len(x) == 7, f"waiting: {x}")
            found[int(x[0])] = x[2:]
    return found


class Blocked:
    """Processes that are about to be blocked."""

    def __init__(self, t, operations):
        self.t, self.jobs = t, {}
        t.ok("rm -f /lab/run/go")
        for name, path in operations.items():
            self.jobs[name] = t.g.spawn(f"exec python3 {SCRIPT} {name} '{path}' /lab/run/go")
        for name, job in self.jobs.items():
            t.wait(f"{name} is ready", lambda job=job: "ready" in job.output() or job.finished(), 60)
            t.check(not job.finished(), f"{name}: {job.output()}")
        self.pids = {n: int(j.output().split()[1]) for n, j in self.jobs.items()}

    def go(self):
        self.t.ok("touch /lab/run/go")

    def kill(self, limit):
        """Kills one after the other; gives the seconds until each was gone."""
        took = {}
        for name, job in self.jobs.items():
            self.t.check("end" not in job.output(), f"{name} was not blocked: {job.output()}")
            start = time.monotonic()
            job.kill()
            job.wait(60)
            took[name] = time.monotonic() - start
        late = {n: s for n, s in took.items() if s > limit}
        self.t.check(not late or not self.t.rust, f"killed, but not gone within {limit} s: {late}")
        return took


def killed_while_blocked(t, dead):
    t.ensure_mounted()
    t.umount()
    t.mount()
    # The directories are known, what is in them is not.
    t.ok(f"stat {M}/tree {M}/links {M}/tree/d1 {M}/tree/d2 {M}/tree/d3 {M}/sizes >/dev/null")
    blocked = Blocked(t, {n: f"{M}/{o[0]}" for n, o in OPERATIONS.items()})
    start = stop_all(t, dead)
    try:
        blocked.go()
        if t.rust:
            seen = {}

            def all_seen():
                seen.update(rows(t))
                return all(pid in seen for pid in blocked.pids.values())
            t.wait("all are in the file waiting", all_seen, 15)
            for name, (_, op, path, on) in OPERATIONS.items():
                row = seen[blocked.pids[name]]
                t.equal((row[0], row[2]), (op, path), f"{name}: {row}")
                t.check(re.match(on, row[3]) or "map" in row[3] or "session" in row[3] or
                        "monitor" in row[3], f"{name} waits for {row}")
                t.check((row[1] == "-") == (path == "-"), f"{name}: {row}")
        else:
            time.sleep(3)
        took = blocked.kill(KILL_LIMIT)
        if t.rust:
            t.wait("nobody waits any more", lambda: not set(rows(t)) & set(blocked.pids.values()), 10)
    finally:
        start()
    print("# killed, and gone after: " + ", ".join(f"{n} {s:.2f} s" for n, s in took.items()), flush=True)
    t.ok(f"stat {M}/tree/d1/f1 >/dev/null; cmp {M}/sizes/4097 {M}/sizes/4097; ls {M}/tree/d3 >/dev/null", 120)
    t.umount()


def test_killed_while_all_are_stopped(t):
    killed_while_blocked(t, False)


def test_killed_while_all_are_dead(t):
    killed_while_blocked(t, True)


def test_mount_is_killed(t):
    """A mount that waits for monitors, and one that waits for the MDS."""
    t.umount_all()
    options = t.options(mount_timeout=60).replace("$MONS", t.cluster.mon_addrs()).replace(
        "$SECRET", t.cluster.keys["client.user"])
    source = f"user@{t.cluster.fsid}.cephfs=/"
    for kind in ("mds", ""):
        blocked = Blocked(t, {"mount": f"{source} {options}"})
        names = t.cluster.names(kind)
        for n in names:
            t.cluster.freeze(n)
        try:
            blocked.go()
            if t.rust and kind:
                t.wait("it waits for the MDS", lambda pid=blocked.pids["mount"]: re.match(
                    r"mds\d|a session with mds\d", rows(t).get(pid, [""] * 5)[3]), 10)
            else:
                time.sleep(3)
            took = blocked.kill(KILL_LIMIT)["mount"]
            if t.rust:
                t.wait("nothing is left", lambda: not t.run("ls /sys/kernel/debug/ceph").out.strip(), 5)
        finally:
            for n in names:
                t.cluster.thaw(n)
            t.cluster.wait_health()
            t.cluster.wait_mds_active()
        print(f"# mount without {kind or 'anything'}: killed, gone after {took:.2f} s", flush=True)


UMOUNT = "exec python3 -c 'import ctypes; exit(ctypes.CDLL(None).umount2(b\"/mnt/ceph\", 8) != 0)'"


def test_umount_without_a_cluster(t):
    """It ends by itself, with reads on their way into the page cache; by force at once."""
    limits = {"umount": 20, "killed": KILL_LIMIT, "force": KILL_LIMIT}
    # A restart of all takes long.
    dead_ways = ("umount", "force") if os.environ.get("LAB_LONG") else ()
    for dead, ways in ((False, ("killed", "force")), (True, dead_ways)):
        for how in ways:
            limit = limits[how]
            t.ensure_mounted()
            t.drop_caches()
            t.ok(f"ls -l {M}/sizes >/dev/null")
            blocked = Blocked(t, {"readahead": f"{M}/sizes/64MiB"})
            start = stop_all(t, dead)
            try:
                blocked.go()
                time.sleep(1)
                blocked.kill(KILL_LIMIT)
                command = UMOUNT.replace("8", "9") if how == "force" else UMOUNT
                begin = time.monotonic()
                job = t.g.spawn(command)
                if how == "killed":
                    if t.rust:
                        t.wait("it waits", lambda: re.search(r"\tumount\t.*\tmds0 ", t.ok(WAITING)), 10)
                    begin = time.monotonic()
                    job.kill()
                job.wait(limit + 10 if t.rust else 170)
                took = time.monotonic() - begin
                t.check(not t.mounted(), "mounted still")
                t.wait("nothing left", lambda: not t.run("ls /sys/kernel/debug/ceph").out.strip(), 5 if t.rust else 70)
                t.check(took <= limit * SLOW or not t.rust, f"{how}: {took:.1f} s")
            finally:
                start()
            print(f"# umount, cluster {'dead' if dead else 'stopped'}, {how}: {took:.2f} s", flush=True)


def test_force_ends_all_waits(t):
    """umount -f of a mount in use: all that waits ends with EIO, and so does all that comes."""
    t.mount()
    t.ok(f"stat {M}/tree {M}/links {M}/tree/d1 {M}/tree/d2 {M}/tree/d3 {M}/sizes >/dev/null")
    operations = {n: o for n, o in OPERATIONS.items() if n not in ("readahead", "fault", "open")}
    blocked = Blocked(t, {n: f"{M}/{o[0]}" for n, o in operations.items()})
    hold = t.g.spawn(f"exec 3<{M}/sizes/4096; exec sleep 1000")
    time.sleep(0.5)
    start = stop_all(t, False)
    try:
        blocked.go()
        time.sleep(2)
        begin = time.monotonic()
        t.run(UMOUNT.replace("8", "1"), 10)
        results = {n: job.wait(10 if t.rust else 60).out.split() for n, job in blocked.jobs.items()
                   if t.rust or n != "statfs"}
        took = time.monotonic() - begin
        if t.rust:
            ends = {n: r[3] for n, r in results.items()}
            t.equal(set(ends.values()), {"EIO"}, f"{ends}")
            t.check(t.run(f"stat -f {M}", 5).status == 1, "statfs works")
            t.check("shut down" in t.ok("cat /sys/kernel/debug/ceph/*/health").splitlines()[0], "health")
        else:
            blocked.jobs["statfs"].kill()
        print(f"# by force: {took:.2f} s; {results}", flush=True)
    finally:
        hold.kill()
        start()
    hold.wait()
    t.umount()
    t.mount()
    t.ok(f"cat {M}/sizes/4096 >/dev/null")
    t.umount()


def test_health(t):
    """One line of state that names what is wrong, and the events."""
    if not t.rust:
        t.skip("the C client has no such file")
    t.ensure_mounted()
    t.ok(f"ls {M} >/dev/null; cat {M}/sizes/4097 >/dev/null")

    def state():
        return t.ok("cat /sys/kernel/debug/ceph/*/health").splitlines()[0]
    t.wait("all is well", lambda: state() == "ok", 60)
    t.drop_caches()
    blocked = Blocked(t, {"read": f"{M}/sizes/64MiB"})
    osds = t.cluster.names("osd")
    for n in osds:
        t.cluster.freeze(n)
    try:
        blocked.go()
        t.wait("an OSD is told of", lambda: re.search(r"osd\d silent for \d+ s", state()), 15)
        t.wait("a waiter is told of", lambda: re.search(r"\d+ waiting, the longest for \d+ s", state()), 15)
    finally:
        for n in osds:
            t.cluster.thaw(n)
        t.cluster.wait_health()
    t.wait("all is well again", lambda: state() == "ok", 60)
    t.equal(blocked.jobs["read"].wait(30).out.split()[3], "OK", "the read")

    mons = t.cluster.names("mon")
    for n in mons:
        t.cluster.kill(n)
    try:
        t.wait("the hunt is told of", lambda: "hunting for a monitor" in state(), 15)
    finally:
        for n in mons:
            t.cluster.start_daemon(n)
        t.cluster.wait_health()
    t.wait("the hunt is over", lambda: state() == "ok", 60)

    events = t.ok("cat /sys/kernel/debug/ceph/*/health").splitlines()[1:]
    t.check(0 < len(events) <= 64, f"{len(events)} events")
    times = []
    for line in events:
        match = re.fullmatch(r"\[ *(\d+\.\d{6})\] (\S.*)", line)
        t.check(match, f"an event: {line}")
        times.append(float(match[1]))
    t.equal(times, sorted(times), "times")
    text = "\n".join(events)
    for what in (r"mds0 session open\b", r"mon\d .* session lost", r"mon\d .* session established", r"osdmap \d+"):
        t.check(re.search(what, text), f"no event {what} in {text}")
    t.umount()


def test_osd_request_timeout(t):
    """A read that no OSD answers fails after the time of the option."""
    t.umount_all()
    t.mount(options="osd_request_timeout=4")
    t.ok(f"ls -l {M}/sizes >/dev/null")
    blocked = Blocked(t, {"read": f"{M}/sizes/65537", "direct": f"{M}/sizes/1048577"})
    osds = t.cluster.names("osd")
    for n in osds:
        t.cluster.freeze(n)
    try:
        blocked.go()
        for name, job in blocked.jobs.items():
            out = job.wait(40).out.split()
            t.check(out[3] != "OK", f"{name}: {out}")
            t.check(3.5 < float(out[4]) < 17 * SLOW, f"{name}: {out}")
            print(f"# {name}: {out[3]} after {out[4]} s", flush=True)
            if t.rust:
                t.equal(out[3], "ETIMEDOUT", name)
    finally:
        for n in osds:
            t.cluster.thaw(n)
        t.cluster.wait_health()
    t.ok(f"cat {M}/sizes/65537 >/dev/null")
    t.umount()


def test_async_direct_read_keeps_its_capability(t):
    """A read that was queued uses Fr until it is over: who truncates waits for that."""
    name = "async-direct"
    path = f"{t.fuse.path}/{name}"
    with open(path, "wb") as f:
        f.write(b"a" * (1 << 20))
        os.fsync(f.fileno())
    t.ensure_mounted()
    ino = t.ok(f"stat -c 0x%i {M}/{name}; printf %x $(stat -c %i {M}/{name})").split()[1]

    def caps():
        """Issued and implemented, of files' content."""
        for line in t.ok("cat /sys/kernel/debug/ceph/*/caps").splitlines():
            words = line.split()
            if words[:1] == [f"0x{ino}"] and len(words) == 4:
                return [w.split("F")[1] if "F" in w else "" for w in words[2:]]
        return ["", ""]
    blocked = Blocked(t, {"aio": f"{M}/{name}"})
    osds = t.cluster.names("osd")
    for n in osds:
        t.cluster.freeze(n)
    # Needs the file lock exclusively; other readers and writers may share it.
    other = threading.Thread(target=os.truncate, args=(path, 1 << 19))
    try:
        blocked.go()
        t.wait("the read is queued", lambda: ino in t.ok("cat /sys/kernel/debug/ceph/*/osdc"), 15)
        other.start()
        t.wait("Fr is revoked, but in use", lambda: "r" not in caps()[0] and "r" in caps()[1], 20)
        time.sleep(2)
        t.check("r" in caps()[1], f"given back too early: {caps()}")
    finally:
        for n in osds:
            t.cluster.thaw(n)
        t.cluster.wait_health()
    t.equal(blocked.jobs["aio"].wait(30).out.split()[3], "OK", "the read")
    other.join(30)
    t.check(not other.is_alive(), "the other client still waits")
    t.equal(t.ok(f"stat -c %s {M}/{name}; head -c 2 {M}/{name}").split(), [str(1 << 19), "aa"], "after it")
    t.umount()
