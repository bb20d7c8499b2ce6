# SPDX-License-Identifier: GPL-2.0
"""The cluster shuts the client out: recover_session=no stays out, clean begins anew."""

import re
import time

from lab import SLOW
from run import M
from test_5_failures import active_mds

# Reads by an open file, stats and opens other files once in 0.2 s; prints what came of it.
PROBE = f"""exec python3 -c '
import errno, os, time
fd = os.open("{M}/sizes/1048577", os.O_RDONLY)
def content():
    # An error after the first bytes comes with the next call.
    data = b""
    while part := os.pread(fd, 1 << 21, len(data)):
        data += part
    return data
want = content()
def attempt(f):
    try:
        f()
        return "OK"
    except OSError as e:
        return errno.errorcode[e.errno]
def by_fd():
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if content() != want: raise OSError(errno.EILSEQ, "content")
def other():
    with open("{M}/sizes/65537", "rb") as f:
        if len(f.read()) != 65537: raise OSError(errno.EILSEQ, "length")
print("ready", flush=True)
while not os.path.exists("/lab/run/stop"):
    t = time.monotonic()
    r = attempt(by_fd), attempt(lambda: os.stat("{M}/tree/d4/f4")), attempt(other)
    print(f"{{t:.2f}}", *r, f"{{time.monotonic() - t:.2f}}", flush=True)
    time.sleep(0.2)
print("end", flush=True)
'"""


def probe(t, act, seconds, end=None):
    """Runs the probe while act() happens, and then for some seconds, or until some rounds
    say nothing but `end`; gives its lines after act(), split."""
    t.ok("rm -f /lab/run/stop")
    job = t.g.spawn(PROBE)
    t.wait("the probe runs", lambda: job.output().count("OK OK OK") > 3 or job.finished(), 60)
    before = len(job.output().splitlines())
    act()
    if end:
        t.wait(f"nothing but {end}", lambda: job.output().count(" ".join([end] * 3)) > 3 or job.finished(), seconds)
    else:
        time.sleep(seconds)
    open(f"{t.g.dir}/stop", "w").close()
    out = job.wait(90).out
    t.ok("rm -f /lab/run/stop")
    t.check(out.endswith("end\n"), f"the probe: {out[-1500:]}")
    return [x.split() for x in out.splitlines()[before:-1]]


def client_id(t):
    return t.ok("cat /sys/kernel/debug/ceph/*/mds_sessions").split()[1]


def evict(t):
    t.cluster.ceph("tell", active_mds(t), "session", "evict", client_id(t))


def remove_blocklist(t):
    t.cluster.mon("osd blocklist clear")


def errors(lines):
    return sorted({e for line in lines for e in line[1:4]} - {"OK"})


def test_recover_no(t):
    """It never works again, and says so."""
    t.umount_all()
    t.mount()
    lines = probe(t, lambda: evict(t), 60, "EACCES")
    t.equal(lines[-1][1:4], ["EACCES"] * 3, "what comes after the eviction")
    t.check(set(errors(lines)) <= {"EACCES", "ESHUTDOWN", "EBADF", "EIO"}, errors(lines))
    t.check("blocklisted: true" in t.ok("cat /sys/kernel/debug/ceph/*/status"), "status")
    if t.rust:
        health = t.ok("cat /sys/kernel/debug/ceph/*/health")
        t.check(health.startswith("blocklisted: unmount"), health)
        t.check(re.search(r"this client is blocklisted: unmount, .* mount again", t.g.dmesg()), "dmesg")
    # Another mount does not share the one that is shut out.
    t.mount("/mnt/other")
    t.ok("ls /mnt/other/tree >/dev/null")
    t.umount("/mnt/other")
    t.umount()
    remove_blocklist(t)
    print(f"# errors: {errors(lines)}", flush=True)


def recovers(t, act):
    t.umount_all()
    t.mount(options="recover_session=clean")
    t.check("recover_session=clean" in t.mounted(), t.mounted())
    lines = probe(t, act, 12)
    t.equal(lines[-1][1:4], ["OK"] * 3, "12 s after the eviction")
    broken = [x for x in lines if x[1:4] != ["OK"] * 3]
    stall = max(float(x[4]) for x in lines)
    took = float(broken[-1][0]) + float(broken[-1][4]) - float(broken[0][0]) if broken else 0
    t.check("blocklisted: false" in t.ok("cat /sys/kernel/debug/ceph/*/status"), "status")
    if t.rust:
        t.check(took < 6 * SLOW and stall < 6 * SLOW, f"it took {took:.1f} s; the longest round {stall:.1f} s")
        health = t.ok("cat /sys/kernel/debug/ceph/*/health")
        t.check(re.search(r"mds0 session rejected|blocklisted", health), health)
        t.wait("health", lambda: t.ok("cat /sys/kernel/debug/ceph/*/health").startswith("ok\n"), 30)
        t.check(re.search("reconnecting as .*/", health), health)
    t.umount()
    remove_blocklist(t)
    print(f"# works again after {took:.1f} s, errors: {errors(lines)}", flush=True)


def test_recover_clean(t):
    """It works again, by a new session, and trusts nothing from before."""
    recovers(t, lambda: evict(t))


def test_recover_clean_from_osds(t):
    """Blocklisted without an eviction: the OSDs refuse first."""
    def act():
        text = t.ok("cat /sys/kernel/debug/ceph/*/status")
        addr = re.search(r"instance: \S+ \(\d\)(\S+)", text)[1]
        t.cluster.ceph("osd", "blocklist", "add", addr)
    recovers(t, act)


def test_recovery_forgets(t):
    """What others change while the client is shut out is seen afterwards."""
    t.umount_all()
    t.mount(options="recover_session=clean")
    name = "recovery-test"
    with open(f"{t.fuse.path}/{name}", "w") as f:
        f.write("old content")
    t.equal(t.ok(f"cat {M}/{name}; stat -c %s {M}/{name}").split(), ["old", "content11"], "before")
    t.ok(f"ls {M} >/dev/null")
    evict(t)
    with open(f"{t.fuse.path}/{name}", "w") as f:
        f.write("new")
    with open(f"{t.fuse.path}/{name}-2", "w") as f:
        f.write("another")
    # It may take until the client finds out; then nothing old is left.
    t.wait("the new content", lambda: t.run(f"cat {M}/{name}; stat -c ' %s' {M}/{name}").out.split() == ["new", "3"], 20)
    t.equal(t.ok(f"cat {M}/{name}-2").strip(), "another", "the other file")
    t.umount()
    remove_blocklist(t)
