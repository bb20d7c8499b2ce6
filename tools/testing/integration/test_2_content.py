# SPDX-License-Identifier: GPL-2.0
"""Reading what another client wrote."""

import json
import subprocess

from run import HERE, M

VERIFY = f"python3 /lab/src/tools/testing/cluster/verify.py /lab/run/manifest.json {M}"
FILES = ["sizes/64MiB", "sizes/1", "sizes/4097", "striped/64k-2-1M", "striped/64k-3-512k",
         "sparse/middle", "sizes/4194305"]


def test_everything_as_written(t):
    t.ensure_mounted()
    t.ok(VERIFY, 300)


def test_again_from_the_cache(t):
    t.ensure_mounted()
    t.ok(VERIFY, 300)


def test_again_with_cold_caches(t):
    t.ensure_mounted()
    t.drop_caches()
    t.ok(VERIFY, 300)


def test_find_and_ls(t):
    t.ensure_mounted()
    n = len(json.load(open(t.manifest)))
    t.equal(int(t.ok(f"find {M} -print0 | tr -dc '\\0' | wc -c")), n, "entries that find sees")
    t.ok(f"ls -lR {M} >/dev/null")
    t.equal(int(t.ok(f"ls {M}/many | sort -u | wc -l")), 5000, "entries of many")
    t.equal(int(t.ok(f"ls -f {M}/many | wc -l")), 5002, "with . and ..")


def test_readdir_types_and_positions(t):
    t.ensure_mounted()
    t.drop_caches()
    t.python(f"""
import os, stat
for folder in ("many", "kinds", "names", "links"):
    p = "{M}/" + folder
    for e in os.scandir(p):
        m = os.lstat(e.path).st_mode
        assert e.is_dir(follow_symlinks=False) == stat.S_ISDIR(m), e
        assert e.is_symlink() == stat.S_ISLNK(m), e
        assert e.inode() == os.lstat(e.path).st_ino, e
import ctypes
libc = ctypes.CDLL(None)
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = libc.readdir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
d = libc.opendir(b"{M}/many")
def name():
    p = libc.readdir(d)
    return ctypes.string_at(p + 19) if p else None
seen = []
while True:
    pos = libc.telldir(d)
    n = name()
    if n is None: break
    seen.append((pos, n))
assert len(seen) == 5002 and len(set(n for _, n in seen)) == 5002, len(seen)
for i in (0, 1, 2, 3, 1500, 4999, 2500, 1):
    libc.seekdir(d, seen[i][0])
    got = name()
    assert got == seen[i][1], (i, got, seen[i])
libc.rewinddir(d)
assert name() == seen[0][1]
""", 120)


def test_random_reads(t):
    t.ensure_mounted()
    script = f"{HERE}/in_guest/preads.py"
    want = subprocess.run(["python3", script, "7", "100"] + [f"{t.fuse.path}/{f}" for f in FILES],
                          capture_output=True, text=True, check=True).stdout
    t.drop_caches()
    have = t.ok("python3 /lab/src/tools/testing/integration/in_guest/preads.py 7 100 "
                + " ".join(f"{M}/{f}" for f in FILES), 180)
    t.equal(have, want, "digests of random reads")


def test_parallel_readers(t):
    t.ensure_mounted()
    t.drop_caches()
    jobs = [t.g.spawn(f"cd {M} && sha256sum {' '.join(FILES)} && find tree -type f | xargs sha256sum | sort")
            for _ in range(6)]
    outs = {job.wait(180).out for job in jobs}
    t.equal(len(outs), 1, "different contents seen")


def test_mmap(t):
    t.ensure_mounted()
    t.drop_caches()
    t.python(f"""
import hashlib, json, mmap
want = json.load(open("/lab/run/manifest.json"))
for n in {FILES!r}:
    with open("{M}/" + n, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        assert hashlib.sha256(m).hexdigest() == want[n]["sha256"], n
with open("{M}/sizes/64MiB", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as m:
    f.seek(40000000)
    assert m[40000000:40010000] == f.read(10000)
""", 180)


def test_direct_read(t):
    t.ensure_mounted()
    t.drop_caches()
    want = json.load(open(t.manifest))["sizes/4194304"]["sha256"]
    t.equal(t.ok(f"dd if={M}/sizes/4194304 iflag=direct bs=1M 2>/dev/null | sha256sum").split()[0], want, "digest")
    t.ok("python3 /lab/src/tools/testing/integration/in_guest/direct.py 3 40 "
         + " ".join(f"{M}/{f}" for f in FILES if f != "sizes/64MiB"), 300)


def test_other_ways_to_read(t):
    t.ensure_mounted()
    t.python(f"""
import hashlib, json, os
want = json.load(open("/lab/run/manifest.json"))
n = "striped/64k-2-1M"
fd = os.open("{M}/" + n, os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
a = os.preadv(fd, [bytearray(10), bytearray(70000)], 65530)
assert a == 70010, a
out = os.open("/tmp/copy", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
size = os.fstat(fd).st_size
off = 0
while off < size:
    k = os.sendfile(out, fd, off, size - off)
    assert k > 0
    off += k
assert hashlib.sha256(open("/tmp/copy", "rb").read()).hexdigest() == want[n]["sha256"]
os.ftruncate(out, 0); os.lseek(out, 0, 0); os.lseek(fd, 0, 0)
r, w = os.pipe()
left = size
while left:
    k = os.splice(fd, w, min(left, 65536)); assert k > 0
    while k:
        j = os.splice(r, out, k); k -= j; left -= j
assert hashlib.sha256(open("/tmp/copy", "rb").read()).hexdigest() == want[n]["sha256"]
assert os.lseek(fd, 0, os.SEEK_END) == size
assert os.pread(fd, 10, size) == b""
assert os.pread(fd, 10, size - 3) != b""
""", 120)


def test_statfs(t):
    t.ensure_mounted()
    out = t.ok(f"stat -f -c '%T %s %l' {M}").split()
    t.equal(out, ["ceph", "4194304", "255"], "type, block size, name length")
    t.ok(f"df {M}; df -i {M}")


def test_permissions(t):
    t.ensure_mounted()
    user = "setpriv --reuid 1234 --regid 1234 --clear-groups"
    for f, good in (("modes/644", True), ("modes/600", False), ("modes/0", False), ("modes/777", True)):
        r = t.run(f"{user} cat {M}/{f}")
        t.equal(r.status == 0, good, f"reading {f} as another user: {r.out}")
    t.ok(f"setpriv --reuid 4000 --regid 5 --clear-groups cat {M}/modes/600")
    t.ok(f"setpriv --reuid 5 --regid 100003 --clear-groups cat {M}/modes/644")


def test_errors(t):
    t.ensure_mounted()
    t.python(f"""
import errno, os
def fails(e, f, *a):
    try: f(*a)
    except OSError as x: assert x.errno == e, (x, e)
    else: assert False, (f, a)
m = "{M}/"
fails(errno.ENOENT, os.stat, m + "none")
fails(errno.ENOENT, os.stat, m + "none/below")
fails(errno.ENOTDIR, os.stat, m + "sizes/1/x")
fails(errno.ENAMETOOLONG, os.stat, m + "x" * 256)
fails(errno.ELOOP, os.stat, m + "links/loop")
fails(errno.ENOENT, os.stat, m + "links/dangling")
fails(errno.EISDIR, os.read, os.open(m + "sizes", os.O_RDONLY), 10)
fails(errno.EINVAL, os.readlink, m + "sizes/1")
fails(errno.ELOOP, os.open, m + "links/one-link" if False else m + "links/relative", os.O_RDONLY | os.O_NOFOLLOW)
fails(errno.ENOTDIR, os.open, m + "sizes/1", os.O_RDONLY | os.O_DIRECTORY)
assert not os.path.exists(m + "many/entry-5000")
""")


def test_read_only(t):
    if not t.rust:
        t.skip("the C client writes")
    t.python(f"""
import errno, os
def fails(f, *a, **k):
    try: f(*a, **k)
    except OSError as x: assert x.errno == errno.EROFS, (f, a, x)
    else: assert False, (f, a)
m = "{M}/"
fails(os.open, m + "new", os.O_CREAT | os.O_WRONLY)
fails(os.open, m + "sizes/1", os.O_WRONLY)
fails(os.open, m + "sizes/1", os.O_RDWR | os.O_TRUNC)
fails(os.truncate, m + "sizes/1", 0)
fails(os.mkdir, m + "new")
fails(os.rmdir, m + "empty")
fails(os.unlink, m + "sizes/1")
fails(os.rename, m + "sizes/1", m + "sizes/2")
fails(os.link, m + "sizes/1", m + "sizes/2")
fails(os.symlink, "x", m + "new")
fails(os.mkfifo, m + "new")
fails(os.chmod, m + "sizes/1", 0o600)
fails(os.chown, m + "sizes/1", 1, 1)
fails(os.utime, m + "sizes/1")
fails(os.setxattr, m + "sizes/1", "user.x", b"y")
assert os.stat(m + "sizes/1").st_size == 1
assert not os.access(m + "sizes/1", os.W_OK)
""")
    r = t.run(f"mount -i -o remount,rw {M}")
    t.check(r.status != 0, "remount,rw worked")
    t.check(" ro," in t.mounted(), t.mounted())
    t.ok(f"cat {M}/sizes/1 >/dev/null")


def test_remount_ro(t):
    t.ensure_mounted()
    # Not with mount(8): it would send secret=<hidden>, which no client can parse.
    t.python(f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"x", b"{M}", b"ceph", 32 | 1, b"") == 0, ctypes.get_errno()
""")
    t.ok(f"ls {M}")
    t.umount()


def test_huge_sparse_file(t):
    t.ensure_mounted()
    t.python(f"""
import os
fd = os.open("{M}/sparse/huge", os.O_RDONLY)
assert os.fstat(fd).st_size == 1 << 36
assert os.pread(fd, 100, 1 << 35) == bytes(100)
assert os.pread(fd, 4 << 20, (1 << 34) + 17) == bytes(4 << 20)
assert len(os.pread(fd, 100, (1 << 36) - 50)) == 50
""")


def test_exec_from_it(t):
    t.ensure_mounted()
    import os
    import shutil
    shutil.copy("/usr/bin/busybox", f"{t.fuse.path}/busybox")
    os.chmod(f"{t.fuse.path}/busybox", 0o755)
    t.equal(t.ok(f"{M}/busybox echo works"), "works\n", "a program run from the mount")
    os.unlink(f"{t.fuse.path}/busybox")
