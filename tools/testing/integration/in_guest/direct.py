# SPDX-License-Identifier: GPL-2.0
"""direct.py SEED COUNT FILE...: reads pseudo-random pieces of the files with O_DIRECT, into
buffers of any alignment, one at a time and 16 at once by io_submit(2), and compares them
with what the page cache gives."""
import ctypes
import errno
import mmap
import os
import random
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
SETUP, GETEVENTS, SUBMIT = 206, 208, 209
DEPTH, ROOM = 16, 3 << 20


def syscall(number, *args):
    r = libc.syscall(number, *args)
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return r


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
    pieces = [piece(len(content)) for _ in range(DEPTH)]
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    places, blocks = [], []
    for i, (at, length, skew) in enumerate(pieces):
        places.append(i * (ROOM // DEPTH * 2) // 8192 * 8192 + skew)
        blocks.append(ctypes.create_string_buffer(
            struct.pack("=QIIHhIQQqQII", i, 0, 0, 0, 0, fd, base + places[-1], min(length, 200001), at, 0, 0, 0)))
    pointers = (ctypes.c_void_p * DEPTH)(*map(ctypes.addressof, blocks))
    assert syscall(SUBMIT, context, DEPTH, pointers) == DEPTH
    events = ctypes.create_string_buffer(32 * DEPTH)
    assert syscall(GETEVENTS, context, DEPTH, DEPTH, events, None) == DEPTH
    for i in range(DEPTH):
        number, _, result, _ = struct.unpack_from("=QQqq", events.raw, 32 * i)
        at, length, _ = pieces[number]
        want = content[at:at + min(length, 200001)]
        assert result == len(want), (at, length, result)
        assert memory[places[number]:places[number] + result] == want, (at, length)


def bad_memory(fd):
    for address in (16, (1 << 47) - 4096):
        assert libc.pread(fd, ctypes.c_void_p(address), ctypes.c_size_t(100), ctypes.c_long(0)) == -1
        assert ctypes.get_errno() == errno.EFAULT


r = random.Random(int(sys.argv[1]))
count = int(sys.argv[2])
memory = mmap.mmap(-1, 2 * ROOM + 8192)
context = ctypes.c_ulong(0)
syscall(SETUP, DEPTH, ctypes.byref(context))
for path in sys.argv[3:]:
    with open(path, "rb") as f:
        whole = f.read()
    direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
    one_at_a_time(direct, whole)
    for _ in range(count // DEPTH + 1):
        many_at_once(direct, whole)
    bad_memory(direct)
    os.close(direct)
