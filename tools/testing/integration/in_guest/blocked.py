# SPDX-License-Identifier: GPL-2.0
"""blocked.py OPERATION PATH GO: prepares to do something to a file system (opens what has
to be open), prints "ready PID", waits until the file GO exists, does it, and prints the
name of the errno (or OK) and the seconds that it took."""
import ctypes
import errno
import mmap
import os
import sys
import time

from aio import Context, libc, syscall

op, path, go = sys.argv[1:4]
LENGTH = 1 << 20


def statx_forced():
    buf = ctypes.create_string_buffer(256)
    syscall(332, fd, b"", 0x1000 | 0x2000, 0xfff, buf)  # AT_EMPTY_PATH | AT_STATX_FORCE_SYNC


def aio():
    result = Context(8).read(fd, [(0, LENGTH, 0)], mmap.mmap(-1, LENGTH))[0]
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def direct():
    buf = mmap.mmap(-1, LENGTH)
    os.preadv(fd, [buf], 0)


def fault():
    mapping[0]


def readahead():
    os.posix_fadvise(fd, 0, LENGTH, os.POSIX_FADV_WILLNEED)
    # What is on its way is not waited for: let the end of the process do that.
    time.sleep(3600)


def sendfile():
    null = os.open("/dev/null", os.O_WRONLY)
    os.sendfile(null, fd, 0, LENGTH)


def mount():
    source, options = path.split(" ", 1)
    os.makedirs("/mnt/blocked", exist_ok=True)
    if libc.mount(source.encode(), b"/mnt/blocked", b"ceph", 0, options.encode()):
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


opened = {"read": os.O_RDONLY, "fault": os.O_RDONLY, "readahead": os.O_RDONLY, "sendfile": os.O_RDONLY,
          "statx": os.O_RDONLY, "readdir": os.O_RDONLY | os.O_DIRECTORY,
          "direct": os.O_RDONLY | os.O_DIRECT, "aio": os.O_RDONLY | os.O_DIRECT}
fd = os.open(path, opened[op]) if op in opened else -1
mapping = mmap.mmap(fd, 4096, prot=mmap.PROT_READ) if op == "fault" else None
act = {
    "read": lambda: os.pread(fd, LENGTH, 0), "fault": fault, "readahead": readahead, "sendfile": sendfile,
    "direct": direct, "aio": aio, "statx": statx_forced, "readdir": lambda: os.listdir(fd),
    "stat": lambda: os.stat(path), "open": lambda: os.open(path, os.O_RDONLY),
    "readlink": lambda: os.readlink(path), "statfs": lambda: os.statvfs(path), "list": lambda: os.listdir(path),
    "mount": mount, "sync": os.sync,
}[op]
print("ready", os.getpid(), flush=True)
while not os.path.exists(go):
    time.sleep(0.1)
t = time.monotonic()
try:
    act()
    result = "OK"
except OSError as e:
    result = errno.errorcode.get(e.errno, str(e.errno))
print("end", result, f"{time.monotonic() - t:.3f}", flush=True)
