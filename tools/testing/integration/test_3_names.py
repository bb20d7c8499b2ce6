# SPDX-License-Identifier: GPL-2.0
"""Directories in memory: who is asked, and that what is remembered is right."""

import functools
import hashlib
import json
import os
import time

from lab import SLOW
from run import M

# Lists a directory by getdents64; prints "cookie type inode name" for each entry.
LIST = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def read(fd, size=32768):
    buf = ctypes.create_string_buffer(size)
    n = libc.syscall(217, fd, buf, size)
    if n < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    out, at = [], 0
    while at < n:
        ino, off, length, kind = struct.unpack_from("<QqHB", buf, at)
        name = buf.raw[at + 19:at + length].split(b"\\0")[0].decode()
        out.append((off, kind, ino, name))
        at += length
    return out
def every(fd, size=32768):
    out = []
    while part := read(fd, size):
        out += part
    return out
"""


def setup(t, name, files=0):
    t.ensure_mounted()
    d = f"{t.fuse.path}/na-{name}"
    os.makedirs(d, exist_ok=True)
    for i in range(files):
        open(f"{d}/file-{i:04}", "w").close()
    return d, f"{M}/na-{name}"


def counter(t, *name):
    """A counter of the active metadata servers."""
    def of(mds):
        return functools.reduce(dict.get, name, json.loads(t.cluster.daemon(f"mds.{mds}", "perf", "dump")))
    return sum(of(x["name"]) for x in t.cluster.mon_json("status")["fsmap"]["by_rank"]
               if x["status"] == "up:active")


def asked(t):
    """How many requests of clients the metadata servers have taken."""
    return counter(t, "mds_server", "handle_client_request")


def quiet(t, command):
    """How many requests a command costs while no other client does anything."""
    before = asked(t)
    t.ok(command)
    return asked(t) - before


def test_complete_directory_asks_nobody(t):
    d, g = setup(t, "complete", 300)
    t.wait("all names are known", lambda: t.ok(f"ls -f {g} | wc -l").strip() == "302" and
           quiet(t, f"ls -f {g}") == 0)
    # What the other client has written it gives back some time later.
    t.wait("all attributes are known", lambda: quiet(t, f"ls -l {g}") == 0)
    # The servers count what other clients ask, too.
    for i in range(3):
        costs = {command: quiet(t, command) for command in (
            f"ls -f {g}", f"ls -l {g}", f"stat {g}/file-0123", f"! stat {g}/no-such-{i}",
            f"ls -l {g} {g}", f"find {g} -type f", f"! cat {g}/nor-this-{i}")}
        if not any(costs.values()):
            return
    t.fail(f"requests in each of three rounds, in the last: {costs}")


def test_cookies_are_the_same(t):
    """Positions from memory are those that the servers' listings give."""
    d, g = setup(t, "cookies", 700)
    t.drop_caches()
    out = t.python(LIST + f"""
fd = os.open("{g}", os.O_RDONLY)
cold = every(fd)
os.lseek(fd, 0, 0)
warm = every(fd, 1000)
other = every(os.open("{g}", os.O_RDONLY), 500)
assert cold == warm == other, (cold[:5], warm[:5], other[:5])
assert len(cold) == 702 and len(set(x[3] for x in cold)) == 702
offs = [x[0] for x in cold]
assert offs == sorted(offs) and len(set(offs)) == 702
for i in (0, 1, 2, 3, 350, 699, 700):
    os.lseek(fd, offs[i], 0)
    assert every(fd, 4000) == cold[i + 1:], i
os.lseek(fd, offs[-1], 0)
assert every(fd) == []
assert read(fd) == []
print("good")
""")
    t.equal(out, "good\n", "positions")


def test_seek_across_the_switch(t):
    """A reader whose directory changes goes on where it was: what stays is listed once."""
    d, g = setup(t, "switch", 500)
    t.ok(f"ls -l {g}; ls -l {g}")
    job = t.g.spawn("exec python3 -c '" + LIST.replace("'", '"') + f"""
import time
fd = os.open("{g}", os.O_RDONLY)
got = every.__globals__["read"](fd, 6000)
print(len(got), flush=True)
while not os.path.exists("/lab/run/go"): time.sleep(0.05)
got += every(fd, 3000)
names = [x[3] for x in got if x[3].startswith("file")]
assert len(names) == len(set(names)), "twice"
print("listed " + " ".join(sorted(names)), flush=True)
'""")
    t.wait("the reader has begun", lambda: job.output().strip() != "")
    for i in range(0, 500, 5):
        os.unlink(f"{d}/file-{i:04}")
    for i in range(100):
        open(f"{d}/new-{i:04}", "w").close()
    open(f"{t.g.dir}/go", "w").close()
    try:
        names = job.wait(30).out.split("listed ")[1].split()
    finally:
        os.unlink(f"{t.g.dir}/go")
    stay = {f"file-{i:04}" for i in range(500) if i % 5}
    t.check(stay <= set(names), f"{len(stay - set(names))} names that were there all the time are missing")
    t.check(set(names) <= {f"file-{i:04}" for i in range(500)}, "names that never were")
    t.equal(set(t.ok(f"ls {g}").split()), stay | {f"new-{i:04}" for i in range(100)}, "afterwards")


def test_complete_again_after_changes(t):
    d, g = setup(t, "again", 50)
    want = {f"file-{i:04}" for i in range(50)}
    for i in range(8):
        t.equal(set(t.ok(f"ls {g}; ls {g}").split()), want, f"entries in round {i}")
        if i % 2:
            os.unlink(f"{d}/file-{i:04}")
            want.discard(f"file-{i:04}")
            t.check(t.run(f"stat {g}/file-{i:04}").status != 0, "a name that is gone is found")
        else:
            t.check(t.run(f"stat {g}/new-{i}").status != 0, "it is there already")
            os.rename(f"{d}/file-{i + 10:04}", f"{d}/new-{i}")
            want ^= {f"file-{i + 10:04}", f"new-{i}"}
            t.ok(f"stat {g}/new-{i}")
        t.equal(set(t.ok(f"ls {g}").split()), want, f"entries after round {i}")


def test_dots_of_32_bit_numbers(t):
    """With ino32 all numbers that are shown have 32 bits, and are the same everywhere."""
    d, g = setup(t, "dots")
    os.makedirs(f"{d}/in/it", exist_ok=True)
    t.umount()
    t.mount(options="ino32")
    try:
        numbers = json.loads(t.python(LIST + f"""
import json
fd = os.open("{g}/in", os.O_RDONLY)
listed = {{name: ino for _, _, ino, name in every(fd)}}
known = {{name: os.stat("{g}/in/" + name).st_ino for name in listed}}
print(json.dumps([listed, known]))
"""))
        t.equal(numbers[0], numbers[1], "numbers by readdir and by stat")
        t.equal(sorted(numbers[0]), [".", "..", "it"], "names")
        t.check(all(ino < 1 << 32 for ino in numbers[0].values()), f"more than 32 bits: {numbers[0]}")
    finally:
        t.umount()


def test_recall_of_directories_without_names(t):
    """A directory in which only names were looked for that do not exist is given back."""
    d, g = setup(t, "recall")
    for i in range(300):
        os.makedirs(f"{d}/d{i}", exist_ok=True)
    # Several servers of a rank may take over in the course of the tests.
    small = {"mds_max_caps_per_client": "100", "mds_recall_max_caps": "1000", "mds_min_caps_per_client": "20"}

    def caps():
        return int(t.ok("sed -n 's/^used[^0-9]*//p' /sys/kernel/debug/ceph/*/caps"))
    t.ok(f"for i in $(seq 0 299); do stat {g}/d$i/none {g}/d$i/neither 2>/dev/null; done; true", 120)
    t.check(caps() >= 300, f"only {caps()} capabilities")
    try:
        for name, value in small.items():
            t.cluster.ceph("config", "set", "mds", name, value)
        t.wait("capabilities are given back", lambda: caps() <= 200, 60)
    finally:
        for name in small:
            t.cluster.ceph("config", "rm", "mds", name)
    t.equal(len(t.ok(f"ls {g}").split()), 300, "entries")


def test_reclaim(t):
    """Names that are dropped from memory are not taken for names that are gone."""
    d, g = setup(t, "reclaim", 200)
    for i in range(4):
        t.ok(f"ls -l {g}; ls -l {g}; echo 2 >/proc/sys/vm/drop_caches")
        t.ok(f"for i in 0000 0077 0199; do stat {g}/file-$i; done")
        t.equal(len(t.ok(f"ls {g}").split()), 200, "entries")
    t.g.run(f"(for i in $(seq 12); do echo 2 >/proc/sys/vm/drop_caches; done) & "
            f"for i in $(seq 6); do [ $(ls {g} | wc -l) = 200 ] && [ $(cat {g}/file-* | wc -c) = 0 ] || exit 1; done; wait",
            150, check=True)


def test_empty_directory(t):
    d, g = setup(t, "empty")
    t.equal(t.ok(f"stat {g} >/dev/null; ls -a {g}").split(), [".", ".."], "entries")
    t.check(t.run(f"stat {g}/x").status != 0, "a name in an empty directory")
    open(f"{d}/x", "w").close()
    t.equal(t.ok(f"stat -c %s {g}/x; ls {g}").split(), ["0", "x"], "entries")
    os.unlink(f"{d}/x")
    t.equal(t.ok(f"ls {g}; ls {g}").split(), [], "entries")


def test_deleted_elsewhere_is_let_go(t):
    """A file that another client deletes is not kept from being purged by what we remember."""
    d, g = setup(t, "gone", 20)
    t.ok(f"ls -l {g}; cat {g}/*; stat {g}/file-0003")

    def strays():
        return counter(t, "mds_cache", "num_strays")

    def at_rest():
        before = strays()
        time.sleep(2)
        return strays() == before
    t.wait("the servers are at rest", at_rest, 60)
    # What other clients remember of earlier tests.
    others = strays()
    for i in range(20):
        os.unlink(f"{d}/file-{i:04}")
    t.wait("the servers purge what nobody uses", lambda: strays() <= others, 60, SLOW)
    t.equal(t.ok(f"ls {g}"), "", "entries")


def test_inline_data(t):
    """Small files that the servers keep with their inodes."""
    sure = "--yes-i-really-really-mean-it"
    t.cluster.ceph("fs", "set", "cephfs", "inline_data", "true", sure)
    try:
        d, g = setup(t, "inline")
        want = {}
        for size in (0, 1, 100, 4000, 20000):
            want[f"f{size}"] = os.urandom(size)
            with open(f"{d}/f{size}", "wb") as f:
                f.write(want[f"f{size}"])
        # The other client tells the servers some time after it has closed the files; a third
        # one sees when it has.
        os.system(f"sync -f {d}")
        with t.cluster.fuse("/tmp/third") as third:
            def known(name):
                with open(f"{third.path}/{os.path.relpath(d, t.fuse.path)}/{name}", "rb") as f:
                    return f.read() == want[name]
            t.wait("the servers know the content", lambda: all(map(known, want)))

        def compare():
            for name, data in want.items():
                t.equal(t.ok(f"stat -c %s {g}/{name}; sha256sum <{g}/{name}").split()[:2],
                        [str(len(data)), hashlib.sha256(data).hexdigest()], f"content of {name}")
                t.equal(t.ok(f"tail -c +51 {g}/{name} | sha256sum").split()[0],
                        hashlib.sha256(data[50:]).hexdigest(), f"end of {name}")
            t.python(f"import mmap\nf = open('{g}/f100', 'rb')\n"
                     f"assert mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:] == bytes.fromhex('{want['f100'].hex()}')")
        compare()
        t.drop_caches()
        compare()
        want["f100"] += os.urandom(9000)
        with open(f"{d}/f100", "ab") as f:
            f.write(want["f100"][100:])
        compare()
        # Whoever reads waits for the servers, which wait for what the reader holds.
        t.ok("rm -f /lab/run/enough")
        job = t.g.spawn(f"while ! [ -e /lab/run/enough ]; do cat {g}/f1 {g}/f4000 >/dev/null || exit 1; done")
        try:
            for _ in range(20):
                start = time.monotonic()
                for name in "f1", "f4000":
                    want[name] = os.urandom(len(want[name]))
                    with open(f"{d}/{name}", "r+b") as f:
                        f.write(want[name])
                t.check(time.monotonic() - start < 30 * SLOW, f"two writes took {time.monotonic() - start:.1f} s")
        finally:
            open(f"{t.g.dir}/enough", "w").close()
        t.equal(job.wait(60).status, 0, "the reader")
        compare()
    finally:
        t.cluster.ceph("fs", "set", "cephfs", "inline_data", "false", sure)
