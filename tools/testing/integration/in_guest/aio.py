# SPDX-License-Identifier: GPL-2.0
"""System calls that Python has no function for, and reads by io_submit(2)."""
import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
SETUP, GETEVENTS, SUBMIT = 206, 208, 209


def syscall(number, *args):
    r = libc.syscall(number, *args)
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return r


class Context:
    def __init__(self, depth):
        self.raw = ctypes.c_ulong(0)
        syscall(SETUP, depth, ctypes.byref(self.raw))

    def read(self, fd, reads, buffer):
        """Queues reads, each of an offset, a length and a place in the buffer, waits for them
        (who is killed waits in exit_aio()), and gives their results by number."""
        base = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        blocks = [ctypes.create_string_buffer(
            struct.pack("=QIIHhIQQqQII", i, 0, 0, 0, 0, fd, base + place, length, at, 0, 0, 0))
            for i, (at, length, place) in enumerate(reads)]
        count = len(blocks)
        pointers = (ctypes.c_void_p * count)(*map(ctypes.addressof, blocks))
        assert syscall(SUBMIT, self.raw, count, pointers) == count
        events = ctypes.create_string_buffer(32 * count)
        assert syscall(GETEVENTS, self.raw, count, count, events, None) == count
        return {number: result for number, _, result, _ in struct.iter_unpack("=QQqq", events.raw)}
