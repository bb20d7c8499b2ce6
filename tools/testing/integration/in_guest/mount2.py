# SPDX-License-Identifier: GPL-2.0
"""mount2.py SOURCE TARGET OPTIONS: mount(2) without any helper; prints the name of
the errno (or OK) and the seconds it took."""
import ctypes
import errno
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
t = time.monotonic()
r = libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), b"ceph", 0, sys.argv[3].encode())
e = ctypes.get_errno()
print("OK" if r == 0 else errno.errorcode.get(e, str(e)), f"{time.monotonic() - t:.3f}")
