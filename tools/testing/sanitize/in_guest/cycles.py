# SPDX-License-Identifier: GPL-2.0
"""cycles.py COUNT: so many times insmod, mount, read, umount, rmmod, each time in
another way; afterwards nothing may be left. Prints what was wrong; exit status 1."""
import base64
import ctypes
import errno
import glob
import os
import random
import signal
import sys
import threading
import time

from guest import (M, MNT_DETACH, MNT_FORCE, OTHER, contradictions, drop_caches, leftovers, libc, load, mount, mounts,
                   umount, unload, walk, walk_some)

TREE = "/sizes"
want = {}


def must(e, what, *allowed):
    assert e == 0 or e in allowed, f"{what}: {errno.errorcode.get(e, e)}"
    return e


def look(at=M):
    seen = walk(at + TREE)
    want.update(want or seen)
    bad = contradictions(seen, want)
    assert not bad and seen.keys() == want.keys(), f"wrong content: {bad[:3]}"


def child(f):
    pid = os.fork()
    if pid:
        return pid
    try:
        f()
    finally:
        os._exit(0)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end, f"{pid} cannot be killed"
        time.sleep(0.01)


def plain():
    must(mount(), "mount")
    look()
    must(umount(), "umount")


def mount_fails():
    for how in ({"name": "nobody"}, {"path": "/no/such/folder"}, {"mds_namespace": "nofs"},
                {"mon_addr": "10.77.0.1:1", "mount_timeout": "1"}):
        assert mount(**how) != 0, f"mounted with {how}"


def reader_killed():
    def read():
        while True:
            drop_caches()
            walk_some()
    must(mount(), "mount")
    pids = [child(read) for _ in range(2)]
    time.sleep(random.uniform(0.1, 2))
    for pid in pids:
        kill(pid)
    must(umount(), "umount")


def lazy():
    must(mount(), "mount")
    look()
    fds = [os.open(f"{M}{TREE}/{n}", os.O_RDONLY) for n in ("65537", "1048577")] + [os.open(f"{M}/names", os.O_RDONLY)]
    must(umount(how=MNT_DETACH), "umount -l")
    assert len(os.read(fds[1], 1 << 20)) == 1 << 20
    assert os.listdir(fds[2])
    for fd in fds:
        os.close(fd)
    return 30


def forced():
    must(mount(), "mount")
    pid = child(lambda: [walk_some({}) and drop_caches() for _ in range(20)])
    time.sleep(random.uniform(0.1, 1))
    must(umount(how=MNT_FORCE), "umount -f", errno.EBUSY)
    kill(pid)
    if mounts():
        must(umount(), "umount")


def two_at_once():
    results = []

    def one(at, **how):
        results.append(mount(at, **how))
    threads = [threading.Thread(target=one, args=(M,)), threading.Thread(target=one, args=(OTHER,))]
    if random.random() < 0.5:
        threads[1] = threading.Thread(target=one, args=(OTHER,), kwargs={"noshare": True})
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [0, 0], results
    look(OTHER)
    must(umount(), "umount")
    look(OTHER)
    must(umount(OTHER), "umount")


def mount_killed():
    pid = child(mount)
    time.sleep(random.uniform(0, 1.5))
    kill(pid)
    if mounts():
        must(umount(), "umount")


def watched():
    """debugfs is read while the mount goes."""
    def watch():
        while not done:
            for path in glob.glob("/sys/kernel/debug/ceph/*/*"):
                try:
                    with open(path) as f:
                        f.read()
                except OSError:
                    pass
    done = []
    must(mount(), "mount")
    threads = [threading.Thread(target=watch) for _ in range(2)]
    for t in threads:
        t.start()
    look()
    must(umount(), "umount")
    done.append(1)
    for t in threads:
        t.join()


def with_a_key():
    """A key in a keyring outlives the module that knows its type."""
    secret = base64.b64decode(os.environ["SECRET"])
    key = libc.syscall(248, b"ceph", b"client.user", secret, len(secret), -4)
    assert key > 0, f"add_key: {errno.errorcode.get(ctypes.get_errno())}"
    must(mount(secret=None, key="client.user"), "mount")
    look()
    must(umount(), "umount")
    if random.random() < 0.5:
        # Unlinked: freed by RCU, or by the garbage collector, about when the module goes.
        libc.syscall(250, 9, key, -4)


def shrunk():
    """Memory reclaim takes dentries and inodes while they are used."""
    must(mount(), "mount")
    done = []

    def shrink():
        while not done:
            drop_caches(2)
    t = threading.Thread(target=shrink)
    t.start()
    look()
    done.append(1)
    t.join()
    must(umount(), "umount")


WAYS = [plain, mount_fails, reader_killed, lazy, forced, two_at_once, mount_killed, watched, with_a_key, shrunk]


def main():
    random.seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for i in range(int(sys.argv[1])):
        way = WAYS[i % len(WAYS)]
        t0 = time.monotonic()
        try:
            load()
            patience = way() or 0
            unload(patience)
            # Mostly at once; the key garbage collector works with a delay.
            end = time.monotonic() + 5
            while leftovers() and time.monotonic() < end:
                time.sleep(0.1)
            left = leftovers()
            assert not left, f"left over: {left}"
        except AssertionError as e:
            print(f"cycle {i}, {way.__name__}: {e}", flush=True)
            sys.exit(1)
        print(f"{i} {way.__name__} {time.monotonic() - t0:.1f} s", flush=True)


main()
