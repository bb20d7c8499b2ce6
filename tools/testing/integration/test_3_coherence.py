# SPDX-License-Identifier: GPL-2.0
"""What another client (ceph-fuse) changes is seen by what starts after its call."""

import contextlib
import os
import time

from lab import SLOW
from run import M


def setup(t, name):
    t.ensure_mounted()
    d = f"{t.fuse.path}/co-{name}"
    os.makedirs(d, exist_ok=True)
    return d, f"{M}/co-{name}"


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def test_create_after_enoent(t):
    d, g = setup(t, "create")
    t.check(t.run(f"cat {g}/f").status != 0, "it is there already")
    write(f"{d}/f", "hello")
    t.equal(t.ok(f"cat {g}/f"), "hello", "content")


def test_overwrite(t):
    d, g = setup(t, "overwrite")
    for i in range(5):
        write(f"{d}/f", f"content {i}" * (i + 1))
        t.equal(t.ok(f"cat {g}/f"), f"content {i}" * (i + 1), "content")


def test_append_and_truncate(t):
    d, g = setup(t, "append")
    write(f"{d}/f", "")
    for i in range(4):
        with open(f"{d}/f", "a") as f:
            f.write("x" * 5000)
        t.equal(t.ok(f"stat -c %s {g}/f; wc -c <{g}/f").split(), [str(5000 * (i + 1))] * 2, "size")
    os.truncate(f"{d}/f", 100)
    t.equal(t.ok(f"stat -c %s {g}/f; wc -c <{g}/f").split(), ["100"] * 2, "size")
    os.truncate(f"{d}/f", 9000)
    t.equal(t.ok(f"tail -c +101 {g}/f | tr -d '\\0' | wc -c; wc -c <{g}/f").split(), ["0", "9000"],
            "truncated down and up: zeros")


def test_unlink_and_recreate(t):
    d, g = setup(t, "unlink")
    write(f"{d}/f", "one")
    t.equal(t.ok(f"cat {g}/f"), "one", "content")
    os.unlink(f"{d}/f")
    t.check(t.run(f"stat {g}/f").status != 0, "still there after unlink")
    write(f"{d}/f", "two")
    t.equal(t.ok(f"cat {g}/f"), "two", "content")
    os.unlink(f"{d}/f")
    os.mkdir(f"{d}/f")
    t.equal(t.ok(f"stat -c %F {g}/f"), "directory\n", "kind")


def test_rename(t):
    d, g = setup(t, "rename")
    write(f"{d}/a", "A")
    write(f"{d}/b", "B")
    t.equal(t.ok(f"cat {g}/a {g}/b"), "AB", "content")
    os.rename(f"{d}/a", f"{d}/b")
    t.equal(t.ok(f"cat {g}/b"), "A", "content after rename")
    t.check(t.run(f"stat {g}/a").status != 0, "the old name is still there")
    os.makedirs(f"{d}/x/y", exist_ok=True)
    write(f"{d}/x/y/z", "Z")
    t.ok(f"cat {g}/x/y/z")
    os.rename(f"{d}/x", f"{d}/w")
    t.equal(t.ok(f"cat {g}/w/y/z"), "Z", "content below a renamed folder")
    t.check(t.run(f"cat {g}/x/y/z").status != 0, "the old path still works")


def test_attributes(t):
    d, g = setup(t, "attributes")
    write(f"{d}/f", "x")
    for mode, uid in ((0o600, 1), (0o755, 2), (0o4711, 3)):
        t.ok(f"stat {g}/f")
        os.chown(f"{d}/f", uid, uid + 10)
        os.chmod(f"{d}/f", mode)
        os.utime(f"{d}/f", ns=(5, 10**9 * uid + 7))
        t.equal(t.ok(f"stat -c '%a %u %g %.9Y' {g}/f").split(),
                [f"{mode:o}", str(uid), str(uid + 10), f"{uid}.000000007"], "attributes")
    os.link(f"{d}/f", f"{d}/g")
    t.equal(t.ok(f"stat -c %h {g}/f"), "2\n", "links")
    os.unlink(f"{d}/g")
    t.equal(t.ok(f"stat -c %h {g}/f"), "1\n", "links")


def test_readdir(t):
    d, g = setup(t, "readdir")
    names = set()
    for i in range(30):
        write(f"{d}/n{i}", "")
        names.add(f"n{i}")
        if i % 3 == 2:
            os.unlink(f"{d}/n{i - 1}")
            names.discard(f"n{i - 1}")
        if i % 5 == 0 or i > 26:
            t.equal(set(t.ok(f"ls {g}").split()), names, "entries")
    t.equal(set(t.ok(f"ls -l {g} | awk 'NR > 1 {{ print $NF }}'").split()), names, "entries of ls -l")


def test_symlink_replaced(t):
    d, g = setup(t, "symlink")
    for target in ("one", "two", "three"):
        if os.path.lexists(f"{d}/l"):
            os.unlink(f"{d}/l")
        os.symlink(target, f"{d}/l")
        t.equal(t.ok(f"readlink {g}/l"), target + "\n", "target")


def test_open_file_sees_changes(t):
    d, g = setup(t, "open")
    write(f"{d}/f", "a" * 10000)
    job = t.g.spawn(f"""exec python3 -c '
import os, time
fd = os.open("{g}/f", os.O_RDONLY)
print(os.pread(fd, 5, 9000).decode(), flush=True)
for i in range(3):
    while not os.path.exists("/lab/run/go%d" % i): time.sleep(0.05)
    print(os.pread(fd, 5, 9000).decode(), os.fstat(fd).st_size, flush=True)
'""")
    t.wait("first read", lambda: "aaaaa" in job.output())
    for i, c in enumerate("bcd"):
        with open(f"{d}/f", "r+") as f:
            f.write(c * (10000 + i))
        open(f"{t.g.dir}/go{i}", "w").close()
        t.wait(f"read {i}", lambda i=i: len(job.output().split("\n")) > i + 2)
    t.equal(job.wait(20).out.split("\n")[1:4], ["bbbbb 10000", "ccccc 10001", "ddddd 10002"], "what the reader saw")
    for i in range(3):
        os.unlink(f"{t.g.dir}/go{i}")


def test_mapped_file_does_not_hold_up_others(t):
    """Pages that a mapping reads while another client writes are no reason to keep
    capabilities, and do not stay for long."""
    d, g = setup(t, "mapped")
    write(f"{d}/f", "a" * 100000)
    job = t.g.spawn(f"""exec python3 -c '
import mmap, os, time
f = open("{g}/f", "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
for _ in range(2):
    os.fork()
last = ""
while not os.path.exists("/lab/run/enough"):
    # Without a pause; two pages at once.
    for _ in range(100):
        assert len(set(m[4092:4100])) <= 2
        seen = m[0:1].decode() + m[99999:].decode()
        if seen != last:
            print(seen, flush=True)
            last = seen
try:
    while True:
        assert os.wait()[1] == 0
except ChildProcessError:
    pass
'""")
    t.wait("it is mapped", lambda: "aa" in job.output())
    try:
        with open(f"{d}/f", "r+b", buffering=0) as f:
            for c in "bcdef":
                start = time.monotonic()
                f.seek(0)
                f.write(c.encode() * 100000)
                os.setxattr(f"{d}/f", "user.c", c.encode())
                os.chmod(f"{d}/f", 0o600)
                t.check(time.monotonic() - start < 30 * SLOW, f"a change took {time.monotonic() - start:.1f} s")
                # Who maps it now sees what is written, whatever others have mapped.
                t.equal(t.python(f"import mmap\nf = open('{g}/f', 'rb')\n"
                                 "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
                                 "print((m[:1] + m[99999:]).decode())").strip(), 2 * c, "a new mapping")
        t.wait("the mapping shows what was written", lambda: "ff" in job.output(), 30, SLOW)
    finally:
        open(f"{t.g.dir}/enough", "w").close()
    r = job.wait(20)
    os.unlink(f"{t.g.dir}/enough")
    t.equal(r.status, 0, "the reader")


def test_writer_holds_the_file_open(t):
    d, g = setup(t, "writer")
    with open(f"{d}/f", "wb", buffering=0) as f:
        for i in range(5):
            f.write(b"y" * 1000)
            t.equal(t.ok(f"wc -c <{g}/f").strip(), str(1000 * (i + 1)), "bytes read")
            t.equal(t.ok(f"stat -c %s {g}/f").strip(), str(1000 * (i + 1)), "size")


def test_seek_to_an_end_that_another_moves(t):
    """lseek(2) by the end, while another client holds the file open and writes."""
    d, g = setup(t, "seek")
    with open(f"{d}/f", "wb", buffering=0) as f:
        f.write(b"y" * 1000)
        job = t.g.spawn(f"""exec python3 -c '
import os, time
fd = os.open("{g}/f", os.O_RDONLY)
print(os.lseek(fd, 0, os.SEEK_END), flush=True)
for i in range(3):
    while not os.path.exists("/lab/run/seek%d" % i): time.sleep(0.05)
    end = (i + 2) * 1000
    print([os.lseek(fd, -1, os.SEEK_END), os.lseek(fd, end - 1, os.SEEK_DATA), os.lseek(fd, 5, os.SEEK_HOLE)][i], flush=True)
'""")
        t.wait("first seek", lambda: job.output().strip() == "1000")
        for i in range(3):
            f.write(b"y" * 1000)
            open(f"{t.g.dir}/seek{i}", "w").close()
            t.wait(f"seek {i}", lambda i=i: len(job.output().split()) > i + 1 or job.finished())
    r = job.wait(20)
    for i in range(3):
        os.unlink(f"{t.g.dir}/seek{i}")
    t.equal(r.out.split()[:4], ["1000", "1999", "2999", "4000"], "where it came to")


def test_two_readers_and_big_file(t):
    d, g = setup(t, "big")
    import hashlib
    for seed in (1, 2):
        data = os.urandom(9 << 20)
        with open(f"{d}/f", "wb") as f:
            f.write(data)
        t.equal(t.ok(f"sha256sum <{g}/f").split()[0], hashlib.sha256(data).hexdigest(), "content")


def test_layout_of_new_file(t):
    d, g = setup(t, "layout")
    import hashlib
    data = os.urandom(3000001)
    open(f"{d}/f", "w").close()
    for k, v in (("stripe_unit", 65536), ("stripe_count", 4), ("object_size", 262144)):
        os.setxattr(f"{d}/f", f"ceph.file.layout.{k}", str(v).encode())
    with open(f"{d}/f", "wb") as f:
        f.write(data)
    t.equal(t.ok(f"sha256sum <{g}/f").split()[0], hashlib.sha256(data).hexdigest(), "content")


def test_namespace_of_new_file(t):
    """A file that is open here gets objects in another namespace, and content, elsewhere."""
    d, g = setup(t, "namespace")
    open(f"{d}/f", "w").close()
    job = t.g.spawn(f"""exec python3 -c '
import os, time
fd = os.open("{g}/f", os.O_RDONLY)
print(len(os.pread(fd, 10, 0)), flush=True)
while not os.path.exists("/lab/run/namespace"): time.sleep(0.05)
print(os.pread(fd, 100, 0).decode(), flush=True)
print(os.pread(fd, 100, 0).decode(), flush=True)
'""")
    t.wait("first read", lambda: job.output().strip() == "0")
    os.setxattr(f"{d}/f", "ceph.file.layout.pool_namespace", b"elsewhere")
    write(f"{d}/f", "in the namespace")
    open(f"{t.g.dir}/namespace", "w").close()
    r = job.wait(60)
    os.unlink(f"{t.g.dir}/namespace")
    t.equal(r.out.split("\n")[:3], ["0"] + ["in the namespace"] * 2, "what was read")


def new_seed():
    """SEED=, or with LONG=1 another one each time."""
    seed = int(os.environ.get("LAB_SEED") or (time.time_ns() % 10**6 if os.environ.get("LAB_LONG") else 1))
    print(f"# seed {seed}", flush=True)
    return seed


def walk(t, name, steps, **more):
    """A random walk of others' changes (others.py) below a folder of its own."""
    import others
    d, g = setup(t, name)
    actors = {"ceph-fuse": others.Local(d), "libcephfs": others.LibCephFs(t.cluster, f"/co-{name}"),
              **{n: make(f"{M}/co-{name}") for n, make in more.items()}}
    here = others.Remote(t.g, g)
    try:
        w = others.Walk(new_seed(), here, actors, t.fail)
        w.run(steps)
        print(f"# {w.excused} errors of other clients", flush=True)
    except Exception:
        for a in [here, *actors.values()]:
            with contextlib.suppress(Exception):
                a.close()
        raise
    for a in [here, *actors.values()]:
        a.close()


def test_random_changes(t):
    """A random walk of changes by ceph-fuse and libcephfs."""
    walk(t, "random", 300)


def versions(t, name, seconds):
    """Other clients overwrite files with one version after the other, each as long as the last
    or longer. Readers of all kinds see none that is older than what was finished before."""
    import base64
    import random
    import socket
    import others
    d, g = setup(t, name)
    r = random.Random(new_seed())
    clients = [others.Local(d), others.LibCephFs(t.cluster, f"/co-{name}")]
    job = t.g.spawn(f"exec python3 /lab/src/tools/testing/integration/in_guest/versions.py 7001 {g} 100")
    t.wait("the readers listen", lambda: "listening" in job.output())
    told = failed = 0
    with socket.create_connection((t.g.address, 7001)) as s, s.makefile("rw") as f:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.settimeout(120)
        end = time.monotonic() + seconds
        for i in range(100):
            if time.monotonic() > end:
                break
            length, version, stop = 0, 0, r.choice((3, 10, 30, 100))
            write(f"{d}/v{i}", "")
            while version < stop and time.monotonic() < end and job.output() == "listening\n":
                client = r.choice(clients)
                path = f"{client.root}/v{i}"
                open_for = r.choice((0, 0, 0, 1, 5))
                # Of a new name another client may say that there is none (others.EXCUSES).
                if open_for and client.do([["hold", 1, path, "w"]]) != [None]:
                    failed += 1
                    continue
                for _ in range(open_for or 1):
                    version += 1
                    length += r.choice((0, 0, 8, 1000, 3000, 5000))
                    data = base64.b64encode(b"%08d" % version * (length // 8)).decode()
                    call = ["hwrite", 1, 0, data] if open_for else ["write", path, data, "into", 0]
                    if client.do([call]) != [None]:
                        failed += 1
                        continue
                    f.write(f"{i} {version} {length}\n")
                    f.flush()
                    f.readline()
                    told += 1
                    time.sleep(r.choice((0, 0, 0.01, 0.05)))
                if open_for:
                    client.do([["drop", 1]])
    seen = job.wait(60).out.split("\n")
    for c in clients:
        c.close()
    print(f"# {told} versions, {failed} not written; {seen[-2]}", flush=True)
    t.equal(seen[1:-2], [], "what is too old")
    t.check(told > 5 and failed < 3 + told // 10 and all(map(int, seen[-2].split()[1:])),
            f"{told} versions, {failed} not written: {seen}")


def test_no_older_version(t):
    versions(t, "versions", 15)
