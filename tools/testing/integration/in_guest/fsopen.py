# SPDX-License-Identifier: GPL-2.0
"""fsopen.py SOURCE OPTIONS: a mount by fsopen(2) and fsconfig(2), up to its super block; prints as JSON the name of
the errno (or OK) and the messages of the context, which mount(8) shows."""
import ctypes
import errno
import json
import os
import sys

FSOPEN, FSCONFIG = 430, 431
SET_FLAG, SET_STRING, CREATE = 0, 1, 6
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *args):
    r = libc.syscall(number, *args)
    if r < 0:
        raise OSError(ctypes.get_errno(), "")
    return r


def messages(fd):
    found = []
    while True:
        try:
            found.append(os.read(fd, 8192).decode(errors="replace").rstrip("\n"))
        except OSError:
            return found


fd = call(FSOPEN, b"ceph", 0)
result = "OK"
try:
    call(FSCONFIG, fd, SET_STRING, b"source", os.fsencode(sys.argv[1]), 0)
    for option in filter(None, sys.argv[2].split(",")):
        name, equals, value = option.partition("=")
        if equals:
            call(FSCONFIG, fd, SET_STRING, os.fsencode(name), os.fsencode(value), 0)
        else:
            call(FSCONFIG, fd, SET_FLAG, os.fsencode(name), None, 0)
    call(FSCONFIG, fd, CREATE, None, None, 0)
except OSError as e:
    result = errno.errorcode.get(e.errno, str(e.errno))
print(json.dumps([result, messages(fd)]))
