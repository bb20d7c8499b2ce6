# SPDX-License-Identifier: GPL-2.0
"""mount2.py SOURCE TARGET OPTIONS: mount(2) without any helper; prints the name of
the errno (or OK) and the seconds it took."""
import ctypes
import errno
import os
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
t = time.monotonic()
r = libc.mount(os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), b"ceph", 0, os.fsencode(sys.argv[3]))
e = ctypes.get_errno()
print("OK" if r == 0 else errno.errorcode.get(e, str(e)), f"{time.monotonic() - t:.3f}")
