# SPDX-License-Identifier: GPL-2.0
"""direct.py SEED COUNT FILE...: reads pseudo-random pieces of the files with O_DIRECT, into
buffers of any alignment, one at a time and 16 at once by io_submit(2), and compares them
with what the page cache gives. Then into a shared mapping of another file, whose pages are
written back meanwhile: what was read must get there."""
import ctypes
import errno
import mmap
import os
import random
import sys
import threading

from aio import Context, libc

DEPTH, ROOM = 16, 3 << 20


def piece(size):
    length = r.choice((0, 1, 511, 4096, 5000, 65536, 200001, 1 << 20))
    return r.randrange(size + 10000), length, r.choice((0, 0, 512, 1, 4095))


def one_at_a_time(fd, content):
    for _ in range(count):
        at, length, skew = piece(len(content))
        cut = r.randrange(length + 1)
        views = [memoryview(memory)[skew:skew + cut], memoryview(memory)[ROOM:ROOM + length - cut]]
        got = os.preadv(fd, views, at)
        want = content[at:at + length]
        assert got == len(want), (at, length, got)
        assert b"".join(views)[:got] == want, (at, length, skew, cut)


def many_at_once(fd, content):
    reads = []
    for i in range(DEPTH):
        at, length, skew = piece(len(content))
        reads.append((at, min(length, 200001), i * (2 * ROOM // DEPTH) + skew))
    for i, result in context.read(fd, reads, memory).items():
        at, length, place = reads[i]
        want = content[at:at + length]
        assert result == len(want), (at, length, result)
        assert memory[place:place + result] == want, (at, length, place)


def written_back_meanwhile(fd, content):
    with open("/var/tmp/direct", "w+b") as f:
        f.truncate(1 << 18)
        over = threading.Event()

        def write_back():
            while not over.is_set():
                os.fdatasync(f.fileno())

        thread = threading.Thread(target=write_back)
        thread.start()
        try:
            for _ in range(count):
                at = r.randrange(len(content))
                with mmap.mmap(f.fileno(), 1 << 18) as target:
                    got = context.read(fd, [(at, 1 << 18, 0)], target)[0]
                    target.madvise(mmap.MADV_DONTNEED)
                os.fdatasync(f.fileno())
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                want = content[at:at + (1 << 18)]
                assert got == len(want) and os.pread(f.fileno(), got, 0) == want, (at, got)
        finally:
            over.set()
            thread.join()


def bad_memory(fd):
    for address in (16, (1 << 47) - 4096):
        assert libc.pread(fd, ctypes.c_void_p(address), ctypes.c_size_t(100), ctypes.c_long(0)) == -1
        assert ctypes.get_errno() == errno.EFAULT


r = random.Random(int(sys.argv[1]))
count = int(sys.argv[2])
memory = mmap.mmap(-1, 2 * ROOM + 8192)
context = Context(DEPTH)
for path in sys.argv[3:]:
    with open(path, "rb") as f:
        whole = f.read()
    direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
    one_at_a_time(direct, whole)
    for _ in range(count // DEPTH + 1):
        many_at_once(direct, whole)
    bad_memory(direct)
    written_back_meanwhile(direct, whole)
    os.close(direct)
