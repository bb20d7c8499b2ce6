# SPDX-License-Identifier: GPL-2.0
"""faults.py HOW ARGUMENT: allocations fail.

  insmod STEP    the n-th of the task while a module is loaded, for each STEP-th n
  mount STEP     the same of mount(2)
  read STEP      the same of stat, readdir, readlink, statfs, open and read
  umount STEP    the same of umount(2)
  one SECONDS    now and then one, of tasks that use the file system and of work queues
  many SECONDS   one in fifty of these

Whatever fails ends with an errno and soon; what does not fail is right; when it is
over all works again. Prints what was wrong; exit status 1."""
import errno
import glob
import os
import re
import signal
import sys
import threading
import time
import traceback

from guest import M, OTHER, contradictions, drop_caches, insmod, load, loaded, mount, mounts, rmmod, umount, unload, walk, walk_some

DEBUG = "/sys/kernel/debug"
# What is longer than this waits for something that does not come.
LIMIT = 60


def put(path, value):
    with open(path, "w") as f:
        f.write(str(value))


def set_up(**how):
    """How allocations fail; never, without arguments."""
    off = {"probability": 0, "cache-filter": "N", "ignore-gfp-wait": "N", "verbose": 0, "interval": 1, "times": -1,
           "task-filter": "Y"}
    for k, v in {**off, **how}.items():
        put(f"{DEBUG}/failslab/{k}", v)


def mark_workers():
    """Work queues may be hit, too."""
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as f:
                if f.read().startswith("kworker"):
                    put(path.replace("comm", "make-it-fail"), 1)
        except OSError:
            pass


NTH = f"/proc/self/task/{threading.get_native_id()}/fail-nth"


def fail_nth(n, f):
    """f() with its n-th allocation failing; gives (result or OSError, whether it did)."""
    fd = os.open(NTH, os.O_RDWR)
    os.write(fd, b"%d" % n)
    try:
        r = f()
    except OSError as e:
        r = e
    left = int(os.pread(fd, 32, 0))
    os.pwrite(fd, b"0", 0)
    os.close(fd)
    return r, left == 0


def each(what, f, check, step, before=lambda: None):
    """For n from 1 on, until there is no n-th any more."""
    n, seen, longest = 1, {}, 0.0
    while True:
        before()
        t0 = time.monotonic()
        r, failed = fail_nth(n, f)
        took = time.monotonic() - t0
        longest = max(longest, took)
        name = check(r, failed)
        seen.setdefault(name, []).append(n)
        assert took < LIMIT, f"{what}, n={n}: {took:.1f} s until {name}"
        if not failed:
            shown = ", ".join(f"{len(at)} {name} (from {at[0]})" for name, at in seen.items())
            print(f"{what}: {n - 1} faults: {shown}, at most {longest:.1f} s", flush=True)
            return
        n += step


def name_of(e):
    return errno.errorcode.get(e, str(e)) if e else "worked"


def on_insmod(step):
    def check(r, failed):
        assert r == 0 or failed, name_of(r)
        if r == 0:
            e = rmmod(current)
            assert e == 0, f"rmmod: {name_of(e)}"
        assert current not in loaded()
        return name_of(r)
    for current in ("libceph", "ceph"):
        if loaded():
            unload()
        if current == "ceph":
            assert insmod("libceph") == 0
        each(f"insmod {current}", lambda: insmod(current), check, step)
    load()


def on_mount(step):
    def check(r, failed):
        assert r == 0 or failed, f"mount fails without a fault: {name_of(r)}"
        assert r != errno.ETIMEDOUT, "it waited for what does not come"
        if r == 0:
            e = umount()
            assert e == 0, f"umount: {name_of(e)}"
        assert not mounts()
        return name_of(r)
    each("mount", lambda: mount(mount_timeout=20), check, step)


def on_umount(step):
    def check(r, failed):
        if failed and r == errno.ENOMEM and mounts():
            # The kernel has no room for the path: nothing was tried.
            return name_of(r)
        assert r == 0 and not mounts(), f"umount: {name_of(r)}"
        if failed:
            assert mount() == 0
            walk(M + "/names")
        return name_of(r)
    assert mount() == 0
    walk(M + "/names")
    each("umount", umount, check, step)


def on_read(step):
    assert mount() == 0
    want = walk_some()
    files = [n for n in sorted(want) if n.startswith("/sizes/")]

    def read():
        fd = os.open(M + files[-1], os.O_RDONLY)
        try:
            return [os.pread(fd, 1 << 16, at) for at in range(0, want[files[-1]][3], 1 << 16)]
        finally:
            os.close(fd)
    calls = {
        "stat": lambda: os.lstat(f"{M}/names/plain").st_size,
        "readdir": lambda: sorted(os.listdir(f"{M}/names")),
        "readlink": lambda: os.readlink(f"{M}/links/relative"),
        "statfs": lambda: os.statvfs(M).f_bsize,
        "open": lambda: os.close(os.open(f"{M}/links/one", os.O_RDONLY)),
        "read": read,
    }
    for name in calls:
        drop_caches()
        good = calls[name]()

        def check(r, failed):
            if isinstance(r, OSError):
                assert failed, f"{name} fails without a fault: {r}"
                return name_of(r.errno)
            assert r == good, f"{name}: wrong answer"
            return "worked"

        each(name, calls[name], check, step, drop_caches)
        drop_caches()
        assert calls[name]() == good
    settled(want)
    assert umount() == 0


def waiting():
    """Requests that are not answered."""
    out = []
    for d in [f"{DEBUG}/ceph/{x}" for x in os.listdir(f"{DEBUG}/ceph")]:
        with open(f"{d}/osdc") as f:
            out += [line for line in f if re.match(r"REQUESTS [1-9]|\d+\tosd", line)]
        with open(f"{d}/mdsc") as f:
            out += f.readlines()
        with open(f"{d}/monc") as f:
            out += [line for line in f if re.match(r"\d+ ", line)]
    return out


def settled(want):
    """Nobody waits any more, and everything is there."""
    end = time.monotonic() + LIMIT
    while waiting() and time.monotonic() < end:
        time.sleep(0.2)
    assert not waiting(), f"left over: {waiting()}"
    for warm in (True, False):
        if not warm:
            drop_caches()
        seen = walk_some()
        bad = contradictions(seen, want)
        assert not bad and seen.keys() == want.keys(), f"wrong afterwards: {bad[:3]}"


def reader(want, stop):
    errors, bad, walks = {}, [], 0
    while not os.path.exists(stop):
        bad += contradictions(walk_some(errors), want)
        walks += 1
        try:
            drop_caches()
        except OSError:
            pass
    print(f"{walks} walks, {errors}", flush=True)
    return 1 if bad and print("wrong content:", bad[:3], flush=True) is None else 0


def mounter(stop):
    """Mounts and unmounts elsewhere all the time."""
    seen = {}
    while not os.path.exists(stop):
        r = mount(OTHER, noshare=True, mount_timeout=20)
        assert r in (0, errno.ENOMEM, errno.EIO, errno.ETIMEDOUT), name_of(r)
        seen[name_of(r)] = seen.get(name_of(r), 0) + 1
        if r == 0:
            try:
                os.listdir(OTHER)
            except OSError:
                pass
            # The kernel may have no room for the path.
            while (r := umount(OTHER)) == errno.ENOMEM:
                pass
            assert r == 0, f"umount: {name_of(r)}"
    print(f"mounts: {seen}", flush=True)
    return 0


def whenever(seconds, many):
    assert mount() == 0
    want = walk_some()
    stop = f"/tmp/stop-{os.getpid()}"
    pids = {}
    for f in (lambda: reader(want, stop), lambda: reader(want, stop), lambda: mounter(stop)):
        pid = os.fork()
        if pid == 0:
            r = 1
            try:
                put("/proc/self/make-it-fail", 1)
                r = f()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(r)
        pids[pid] = f
    end = time.monotonic() + seconds
    faults, interval = 0, 7
    if many:
        set_up(probability=2)
    while time.monotonic() < end:
        mark_workers()
        if many:
            time.sleep(1)
            continue
        # Another one each time.
        set_up(probability=100, interval=interval, times=1)
        for _ in range(20):
            time.sleep(0.1)
            with open(f"{DEBUG}/failslab/times") as f:
                if f.read().strip() == "0":
                    faults += 1
                    break
        interval = interval % 400 + 29
    set_up()
    if not many:
        print(f"{faults} single faults", flush=True)
    put(stop, "")
    end = time.monotonic() + LIMIT
    bad = False
    for pid in list(pids):
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done or time.monotonic() > end:
                break
            time.sleep(0.1)
        if not done:
            with open(f"/proc/{pid}/stack") as f:
                print(f"{pid} does not end:\n{f.read()}{waiting()}", flush=True)
            os.kill(pid, signal.SIGKILL)
            bad = True
        bad |= bool(status)
    os.unlink(stop)
    assert not bad, "see above"
    assert mounts() in ([M], [M, OTHER]), mounts()
    settled(want)
    for at in mounts():
        assert umount(at) == 0


def main():
    how, arg = sys.argv[1], int(sys.argv[2])
    set_up()
    load()
    try:
        if how in ("one", "many"):
            whenever(arg, how == "many")
        else:
            {"insmod": on_insmod, "mount": on_mount, "umount": on_umount, "read": on_read}[how](arg)
        unload(5)
    except AssertionError as e:
        print(f"FAILED: {e}", flush=True)
        sys.exit(1)
    finally:
        set_up()


main()
