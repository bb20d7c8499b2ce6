# SPDX-License-Identifier: GPL-2.0
"""Writes a tree of everything a file system can hold through ceph-fuse, and a
manifest of it (JSON) that tools/testing/cluster/verify.py compares in the guest.

    manifest = fill(cluster, "small" or "demo", folder_for_the_manifest)
"""

import hashlib
import json
import os
import random
import stat

MIB = 1 << 20
EDGES = [0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1 * MIB + 1, 4 * MIB - 1, 4 * MIB,
         4 * MIB + 1, 9 * MIB + 123]
NAMES = ["plain", "with space", "ümläut", "日本語のファイル", "Ελληνικά", "кириллица", "עברית",
         "emoji-🦀-🐙", "e\u0301-combining", "\u00e9-precomposed", "quote'\"back\\slash", "-dash",
         "tab\there", "new\nline", ".hidden", "a" * 255, "あ" * 85, "#hash%percent&", "*?[glob]"]


class Writer:
    """Writes below one folder; content comes from a seed, so that runs are equal."""

    def __init__(self, root, seed):
        self.root, self.random = root, random.Random(seed)

    def path(self, name):
        return os.path.join(self.root, name)

    def mkdir(self, name):
        os.makedirs(self.path(name), exist_ok=True)
        return name

    def file(self, name, size, layout=None):
        path = self.path(name)
        with open(path, "wb") as f:
            if layout:
                for k, v in layout.items():
                    os.setxattr(path, f"ceph.file.layout.{k}", str(v).encode())
            left = size
            while left:
                n = min(left, MIB)
                f.write(self.random.randbytes(n))
                left -= n

    def sparse(self, name, size, pieces):
        with open(self.path(name), "wb") as f:
            f.truncate(size)
            for offset, length in pieces:
                f.seek(offset)
                f.write(self.random.randbytes(length))


def small(w):
    """Every kind of thing once."""
    for i, n in enumerate(EDGES[:9]):
        w.file(w.mkdir("sizes") + f"/{n}", n)
    w.mkdir("names")
    for i, n in enumerate(NAMES):
        w.file(f"names/{n}", i * 7)
    w.mkdir("names/日本/über")
    w.file("names/日本/über/file", 100)
    w.mkdir("links")
    w.file("links/one", 5000)
    os.link(w.path("links/one"), w.path("links/two"))
    os.link(w.path("links/one"), w.path("names/three"))
    for name, target in (("relative", "one"), ("up", "../names/plain"), ("dangling", "no/where"),
                         ("absolute", "/etc/hostname"), ("to-dir", "../sizes"), ("loop", "loop"),
                         ("long", "x/" * 1000 + "y"), ("utf8-→", "../names/日本語のファイル")):
        os.symlink(target, w.path(f"links/{name}"))
    w.mkdir("sparse")
    w.sparse("sparse/all-hole", 10 * MIB, [])
    w.sparse("sparse/middle", 12 * MIB + 5, [(5 * MIB, 4096), (8 * MIB - 10, 20)])
    w.sparse("sparse/end", 9 * MIB, [(9 * MIB - 1, 1)])
    w.sparse("sparse/huge", 1 << 36, [(0, 10), ((1 << 36) - 5, 5)])
    w.mkdir("kinds")
    os.mkfifo(w.path("kinds/fifo"))
    os.mknod(w.path("kinds/char"), stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.mknod(w.path("kinds/block"), stat.S_IFBLK | 0o600, os.makedev(7, 200))
    os.mknod(w.path("kinds/socket"), stat.S_IFSOCK | 0o755)
    w.mkdir("modes")
    for i, mode in enumerate((0, 0o4755, 0o2755, 0o644, 0o600, 0o777, 0o1777)):
        w.file(f"modes/{mode:o}", i)
        os.chown(w.path(f"modes/{mode:o}"), 1000 * i, 100000 + i)
        os.chmod(w.path(f"modes/{mode:o}"), mode)
        os.utime(w.path(f"modes/{mode:o}"), ns=(10**9 * 86400 * 365 * i + 1, 10**9 * 86400 * 365 * 17 * i + i))
    w.mkdir("modes/sticky")
    os.chmod(w.path("modes/sticky"), 0o3771)
    w.mkdir("striped")
    layout = {"stripe_unit": 65536, "stripe_count": 2, "object_size": MIB}
    w.file("striped/64k-2-1M", 7 * MIB + 77777, layout)
    w.mkdir("empty")
    w.mkdir("/".join(["deep"] + [f"d{i}" for i in range(40)]))
    w.file("/".join(["deep"] + [f"d{i}" for i in range(40)] + ["bottom"]), 10)


def demo(w):
    """The tree of `make demo`."""
    small(w)
    for n in EDGES[9:]:
        w.file(f"sizes/{n}", n)
    w.file("sizes/64MiB", 64 * MIB)
    w.file("striped/64k-3-512k", 5 * MIB + 1, {"stripe_unit": 65536, "stripe_count": 3, "object_size": MIB // 2})
    w.mkdir("many")
    for i in range(5000):
        w.file(f"many/entry-{i:04d}", i if i % 50 == 0 else 0)
    for d in range(10):
        w.mkdir(f"tree/d{d}")
        for f in range(10):
            w.file(f"tree/d{d}/f{f}", w.random.randrange(50000))


def digest(path, size):
    """sha256 of the content; of files with large holes, of the data segments only."""
    h = hashlib.sha256()
    with open(path, "rb") as f:
        if size > 1 << 30:  # written by sparse(): first and last MiB say it all
            h.update(f.read(MIB))
            f.seek(size - MIB)
            h.update(f.read(MIB))
            return h.hexdigest()
        while block := f.read(MIB):
            h.update(block)
    return h.hexdigest()


def describe(root, path, content=True):
    """What the manifest says of one path."""
    s = os.lstat(path)
    d = {"mode": s.st_mode, "uid": s.st_uid, "gid": s.st_gid, "ino": s.st_ino,
         "mtime": s.st_mtime_ns}
    # ceph-fuse shows the later of the two as ctime, the kernel's clients do not.
    if s.st_ctime_ns > s.st_mtime_ns:
        d["ctime"] = s.st_ctime_ns
    if not stat.S_ISDIR(s.st_mode):
        d["nlink"] = s.st_nlink
        d["size"] = s.st_size
    else:
        d["entries"] = sorted(os.listdir(path))
    if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
        d["rdev"] = s.st_rdev
    if stat.S_ISLNK(s.st_mode):
        d["target"] = os.readlink(path)
    if stat.S_ISREG(s.st_mode) and content:
        d["sha256"] = digest(path, s.st_size)
    return d


def walk(root, content=True):
    """The manifest of a tree: path below the root -> description."""
    m = {".": describe(root, root, content)}
    for folder, dirs, files in os.walk(root):
        for n in dirs + files:
            p = os.path.join(folder, n)
            m[os.path.relpath(p, root)] = describe(root, p, content)
    return m


def fill(cluster, kind, folder, seed=1):
    """Writes the tree; gives the path of the manifest."""
    with cluster.fuse("/tmp/fill") as f:
        {"small": small, "demo": demo}[kind](Writer(f.path, seed))
        os.sync()
    # A second look with empty caches: what the cluster has, not what was in memory.
    with cluster.fuse("/tmp/fill") as f:
        m = walk(f.path)
    path = os.path.join(folder, "manifest.json")
    with open(path, "w") as out:
        json.dump(m, out, indent=0, sort_keys=True)
    return path
