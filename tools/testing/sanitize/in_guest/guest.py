# SPDX-License-Identifier: GPL-2.0
"""System calls for the sanitizer tests, and what they look at."""
import ctypes
import errno
import glob
import hashlib
import os
import stat
import time

M, OTHER = "/mnt/ceph", "/mnt/other"
libc = ctypes.CDLL(None, use_errno=True)
MNT_FORCE, MNT_DETACH = 1, 2
for folder in (M, OTHER):
    os.makedirs(folder, exist_ok=True)


def options(**changed):
    env = os.environ
    o = {"mon_addr": env["MONS"], "name": "user", "secret": env["SECRET"], "ms_mode": "crc", **changed}
    return ",".join(k if v is True else f"{k}={v}" for k, v in o.items() if v is not None)


def source(path="/"):
    return f"user@{os.environ['FSID']}.cephfs={path}"


def mount(at=M, path="/", **changed):
    """mount(2); 0 or an errno."""
    r = libc.mount(source(path).encode(), at.encode(), b"ceph", 0, options(**changed).encode())
    return ctypes.get_errno() if r else 0


def umount(at=M, how=0):
    """umount2(2); 0 or an errno."""
    return ctypes.get_errno() if libc.umount2(at.encode(), how) else 0


def mounts():
    with open("/proc/mounts") as f:
        return [line.split()[1] for line in f if line.split()[2] == "ceph"]


def insmod(name):
    fd = os.open(f"/tmp/{name}.ko", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return ctypes.get_errno() if libc.syscall(313, fd, b"", 0) else 0
    finally:
        os.close(fd)


def rmmod(name):
    return ctypes.get_errno() if libc.syscall(176, name.encode(), os.O_NONBLOCK) else 0


def loaded():
    with open("/proc/modules") as f:
        return [line.split()[0] for line in f if line.split()[0] in ("ceph", "libceph")]


def load():
    """Both modules, from memory: the copies are in /tmp."""
    for name in ("libceph", "ceph"):
        e = 0 if name in loaded() else insmod(name)
        assert not e, f"insmod {name}: {errno.errorcode[e]}"


def unload(patience=0.0):
    """Both modules go, within so many seconds."""
    for name in ("ceph", "libceph"):
        end = time.monotonic() + patience
        while True:
            e = rmmod(name)
            if not e or time.monotonic() > end:
                break
            time.sleep(0.05)
        assert not e, f"rmmod {name}: {errno.errorcode[e]}"


def leftovers():
    """What the modules should have taken with them."""
    found = []
    with open("/proc/slabinfo") as f:
        found += [f"slab {line.split()[0]}" for line in f if line.startswith("ceph")]
    for comm in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(comm) as f:
                name = f.read().strip()
        except OSError:
            continue
        # Rescuers of work queues; a worker carries the name of its last queue for a while.
        if name.startswith("kworker/R-ceph"):
            found.append(f"thread {name}")
    found += glob.glob("/sys/kernel/debug/ceph")
    found += [p for p in glob.glob("/sys/class/bdi/ceph*")]
    with open("/proc/filesystems") as f:
        found += [line for line in f if line.split()[-1] == "ceph"]
    # add_key(2): the type must not be known.
    ring = ctypes.c_int(-4)
    if libc.syscall(248, b"ceph", b"left-over", b"x" * 28, 28, ring) >= 0 or ctypes.get_errno() != errno.ENODEV:
        found.append(f"key type ceph ({ctypes.get_errno()})")
    try:
        with open("/proc/fs/netfs/requests") as f:
            found += [line.strip() for line in f.readlines()[2:]]
    except FileNotFoundError:
        pass
    return found


FOLDERS = ("sizes", "names", "links")


def walk_some(errors=None):
    """Looks at some of the mounted tree: few names, all kinds of things."""
    seen = {}
    for folder in FOLDERS:
        seen.update((f"/{folder}{name}", entry) for name, entry in walk(f"{M}/{folder}", errors).items())
    return seen


def walk(top, errors=None):
    """Looks at everything below; gives what was seen, by path. With `errors`, a dict,
    system calls may fail: it counts how, by call and errno."""
    seen = {}

    def tried(call, f):
        try:
            return f()
        except OSError as e:
            if errors is None:
                raise
            key = f"{call}: {errno.errorcode.get(e.errno, e.errno)}"
            errors[key] = errors.get(key, 0) + 1
            return None

    def visit(path, name):
        st = tried("stat", lambda: os.lstat(path))
        if st is None:
            return
        entry = [st.st_mode, st.st_uid, st.st_nlink, st.st_size]
        if stat.S_ISDIR(st.st_mode):
            names = tried("readdir", lambda: os.listdir(path))
            entry += [sorted(names)] if names is not None else []
            for n in names or []:
                visit(f"{path}/{n}", f"{name}/{n}")
        elif stat.S_ISLNK(st.st_mode):
            entry.append(tried("readlink", lambda: os.readlink(path)))
        elif stat.S_ISREG(st.st_mode) and st.st_size < 5 << 20:
            entry.append(tried("read", lambda: digest(path)))
        seen[name] = entry
    visit(top, "")
    return seen


def digest(path):
    h = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY)
    try:
        while True:
            data = os.read(fd, 1 << 17)
            if not data:
                return h.hexdigest()
            h.update(data)
    finally:
        os.close(fd)


def contradictions(seen, want):
    """Where what was seen, perhaps in part, is not what is true."""
    bad = []
    for name, entry in seen.items():
        true = want.get(name)
        if true is None or any(a is not None and a != b for a, b in zip(entry, true)):
            bad.append(f"{name}: {str(entry)[:200]} should be {str(true)[:200]}")
    return bad


def drop_caches(what=3):
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write(str(what))
