# SPDX-License-Identifier: GPL-2.0
"""look.py FOLDER: everything that system calls say of a mounted tree, as JSON, without
what differs from mount to mount (device numbers, times of access)."""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_NOFOLLOW = -100, 0x100
# linux/stat.h: struct statx up to stx_dev_minor, and what of it is shown.
STATX = struct.Struct("=IIQ IIIHxx QQQQ qIxxxx qIxxxx qIxxxx qIxxxx II")
FIELDS = ["mask", "blksize", "attributes", "nlink", "uid", "gid", "mode", "ino", "size", "blocks",
          "attributes_mask", "atime", "atime_ns", "btime", "btime_ns", "ctime", "ctime_ns", "mtime", "mtime_ns",
          "rdev_major", "rdev_minor"]
FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FIGETBSZ, FIONREAD = 0x80086601, 0x80087601, 2, 0x541B


def attempt(f, *args):
    """The result, or the name of the errno."""
    try:
        return f(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def statx(path, mask=0xfff):
    buf = ctypes.create_string_buffer(256)
    if LIBC.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, mask, buf):
        return errno.errorcode[ctypes.get_errno()]
    d = dict(zip(FIELDS, STATX.unpack_from(buf)))
    # Here, fscrypt is not known: nothing is said of STATX_ATTR_ENCRYPTED.
    d["attributes_mask"] &= ~0x800
    return {k: v for k, v in d.items() if not k.startswith("atime")}


def content(path, size):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for start in (0, max(0, size - (1 << 20))) if size > 1 << 27 else range(0, size, 1 << 20):
            f.seek(start)
            h.update(f.read(1 << 20))
    return h.hexdigest()


def seeks(fd):
    """The segments of data, as lseek finds them."""
    found, at = [], 0
    while len(found) < 16:
        at = attempt(os.lseek, fd, at, os.SEEK_DATA)
        found.append(at)
        if isinstance(at, str):
            return found
        at = attempt(os.lseek, fd, at, os.SEEK_HOLE)
        found.append(at)
    return found


def numbers(fd):
    """What harmless ioctls say."""
    return {f"{n:x}": attempt(lambda n=n: fcntl.ioctl(fd, n, bytes(8)).hex())
            for n in (FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FIGETBSZ, FIONREAD)}


def entries(path):
    """Names, kinds and inodes, in the order in which they are read."""
    with os.scandir(path) as it:
        return [(os.fsencode(e.name).decode("utf-8", "backslashreplace"), e.inode(), e.is_dir(follow_symlinks=False),
                 e.is_symlink()) for e in it]


def look(path):
    d = {"statx": statx(path), "basic": statx(path, 0)["mode"], "access": [os.access(path, m) for m in range(8)]}
    mode = d["statx"]["mode"]
    if stat.S_ISLNK(mode):
        d["target"] = attempt(os.readlink, path).decode()
        d["open"] = attempt(lambda: os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)))
    elif stat.S_ISREG(mode):
        d["content"] = attempt(content, path, d["statx"]["size"])
        fd = os.open(path, os.O_RDONLY)
        d["segments"], d["ioctl"] = seeks(fd), numbers(fd)
        d["beyond"] = attempt(lambda: os.pread(fd, 10, 1 << 62).hex())
        d["negative"] = attempt(lambda: os.lseek(fd, -1, os.SEEK_SET))
        os.close(fd)
        d["below"] = attempt(os.lstat, path + b"/x")
        d["as directory"] = attempt(lambda: os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY)))
    elif stat.S_ISDIR(mode):
        d["entries"] = entries(path)
        d["missing"] = attempt(os.lstat, path + b"/no such name")
        d["too long"] = attempt(os.lstat, path + b"/" + b"n" * 256)
        d["longest"] = attempt(os.lstat, path + b"/" + b"n" * 255)
        fd = os.open(path, os.O_RDONLY)
        d["read"] = attempt(os.read, fd, 10)
        d["ioctl"] = numbers(fd)
        d["seek end"] = attempt(lambda: os.lseek(fd, 0, os.SEEK_END) and "some")
        d["fsync"] = attempt(os.fsync, fd)
        os.close(fd)
    else:
        d["rdev"] = os.lstat(path).st_rdev
    return d


def main():
    root = os.fsencode(sys.argv[1])
    found = {}
    for folder, dirs, files in os.walk(root):
        # Of many files that are alike, some.
        for path in [folder] + [os.path.join(folder, n) for n in files[:200]] + \
                [os.path.join(folder, n) for n in dirs if os.path.islink(os.path.join(folder, n))]:
            found[os.path.relpath(path, root).decode("utf-8", "backslashreplace")] = look(path)
    v = os.statvfs(root)
    found["statvfs"] = {n: getattr(v, n) for n in ("f_bsize", "f_frsize", "f_namemax")}
    json.dump(found, sys.stdout)


main()
