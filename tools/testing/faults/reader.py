# SPDX-License-Identifier: GPL-2.0
"""reader.py MOUNT MANIFEST STOP: reads in the guest, in six ways at once, until the
file STOP appears, and compares everything with the manifest of cluster/fill.py.

  data    opens a random file, reads it past the page cache, closes it
  meta    looks at a random name, or lists a folder, with cold dentries now and then
  held    reads and looks at files that it opened at the beginning
  mapped  touches pages of a file that it mapped at the beginning
  direct  reads pieces of a file that it opened at the beginning, past the page cache
  statfs  asks for the free space

Prints how often each way succeeded, twice a second, and at the end one line of JSON:
for each way the successes, the longest operation in seconds, the errors of the system
calls ("EIO open"), and what was wrong in what was read, which must never be.
"""
import collections
import errno
import hashlib
import json
import mmap
import multiprocessing
import os
import random
import sys
import time

MOUNT, STOP = sys.argv[1], sys.argv[3]
with open(sys.argv[2]) as f:
    WANT = json.load(f)
SMALL = sorted(n for n, d in WANT.items() if 0 < d.get("size", 0) < 300000 and "sha256" in d and d["nlink"] == 1)
FOLDERS = sorted(n for n, d in WANT.items() if "entries" in d and len(d["entries"]) < 100)
MAPPED = "sizes/4194305"
WRONG = 20


class Wrong(Exception):
    """What was read is not what was written."""


def digest(data):
    return hashlib.sha256(data).hexdigest()


def read_all(fd):
    """The content as the servers have it: what is cached is dropped after."""
    data = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return data


def read_at(fd, length, at):
    """pread(), again where it ended early: an error after the first bytes comes with the next call."""
    data = b""
    while part := os.pread(fd, length - len(data), at + len(data)):
        data += part
    return data


def forget(what="2"):
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write(what)


def data(r):
    while True:
        name = r.choice(SMALL)
        fd = os.open(f"{MOUNT}/{name}", os.O_RDONLY)
        try:
            if digest(read_all(fd)) != WANT[name]["sha256"]:
                raise Wrong(f"content of {name}")
        finally:
            os.close(fd)
        yield 0.02


def meta(r):
    n = 0
    while True:
        n += 1
        name = r.choice(FOLDERS if n % 5 == 0 else SMALL)
        if n % 20 == 0:
            forget()
        s = os.lstat(f"{MOUNT}/{name}")
        for k, have in (("ino", s.st_ino), ("mode", s.st_mode), ("mtime", s.st_mtime_ns)):
            if have != WANT[name][k]:
                raise Wrong(f"{k} of {name}")
        if n % 5 == 0 and sorted(os.listdir(f"{MOUNT}/{name}")) != WANT[name]["entries"]:
            raise Wrong(f"entries of {name}")
        yield 0.02


def held(r):
    files = []
    try:
        for name in r.sample(SMALL, 30):
            fd = os.open(f"{MOUNT}/{name}", os.O_RDONLY)
            files.append((name, fd, read_all(fd)))
            if digest(files[-1][2]) != WANT[name]["sha256"]:
                raise Wrong(f"content of {name}")
        while True:
            name, fd, content = r.choice(files)
            at = r.randrange(len(content))
            if read_at(fd, 5000, at) != content[at:at + 5000]:
                raise Wrong(f"{name} at {at}, held open")
            if os.fstat(fd).st_size != len(content):
                raise Wrong(f"size of {name}, held open")
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            yield 0.02
    finally:
        for _, fd, _ in files:
            os.close(fd)


def mapped(r):
    fd = os.open(f"{MOUNT}/{MAPPED}", os.O_RDONLY)
    content = read_all(fd)
    if digest(content) != WANT[MAPPED]["sha256"]:
        raise Wrong(f"content of {MAPPED}")
    with mmap.mmap(fd, len(content), prot=mmap.PROT_READ) as m:
        while True:
            at = r.randrange(len(content))
            if m[at:at + 100] != content[at:at + 100]:
                raise Wrong(f"{MAPPED} at {at}, mapped")
            m.madvise(mmap.MADV_DONTNEED)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            yield 0.1


def direct(r):
    with open(f"{MOUNT}/{MAPPED}", "rb") as f:
        content = read_all(f.fileno())
    if digest(content) != WANT[MAPPED]["sha256"]:
        raise Wrong(f"content of {MAPPED}")
    fd = os.open(f"{MOUNT}/{MAPPED}", os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 1 << 17) as memory:
            while True:
                at = r.randrange(len(content))
                got = os.preadv(fd, [memory], at)
                if got == 0 or memory[:got] != content[at:at + got]:
                    raise Wrong(f"{MAPPED} at {at}, directly")
                yield 0.05
    finally:
        os.close(fd)


def statfs(_):
    while True:
        if os.statvfs(MOUNT).f_blocks == 0:
            raise Wrong("no blocks at all")
        yield 0.1


def work(way, seed, count, done):
    """Goes on after an error, as a program that is asked again and again does."""
    r = random.Random(seed)
    longest, errors, wrong = 0.0, collections.Counter(), []
    step = way(r)
    while not os.path.exists(STOP):
        t = time.monotonic()
        pause = 0.5
        try:
            pause = next(step)
            count.value += 1
        except Wrong as e:
            wrong.append(str(e))
            step = way(r)
        except OSError as e:
            errors[errno.errorcode.get(e.errno, str(e.errno))] += 1
            step = way(r)
        longest = max(longest, time.monotonic() - t)
        if len(wrong) > WRONG:
            break
        time.sleep(pause)
    done.put((way.__name__, {"count": count.value, "longest": round(longest, 2), "errors": dict(errors),
                             "wrong": wrong}))


def main():
    ways = (data, meta, held, mapped, direct, statfs)
    counts = [multiprocessing.Value("L", 0, lock=False) for _ in ways]
    done = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(way, i, counts[i], done))
                 for i, way in enumerate(ways)]
    for p in processes:
        p.start()
    while not os.path.exists(STOP):
        print(*(c.value for c in counts), flush=True)
        time.sleep(0.5)
    result = {}
    while len(result) < len(ways) and (any(p.is_alive() for p in processes) or not done.empty()):
        try:
            name, what = done.get(timeout=1)
            result[name] = what
        except Exception:  # nothing yet
            pass
    print(json.dumps(result), flush=True)


main()
