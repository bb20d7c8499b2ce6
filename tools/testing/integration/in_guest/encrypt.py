# SPDX-License-Identifier: GPL-2.0
"""encrypt.py DIR: gives the file system a key and encrypts the empty directory with it (fscrypt, policy version 2)."""
import fcntl
import os
import struct
import sys

ADD_KEY = 0xc0506617     # FS_IOC_ADD_ENCRYPTION_KEY
SET_POLICY = 0x800c6613  # FS_IOC_SET_ENCRYPTION_POLICY
KEY = bytes(range(64))

fd = os.open(sys.argv[1], os.O_RDONLY)
# struct fscrypt_add_key_arg: a specifier by identifier, which the kernel fills in; the key itself.
arg = bytearray(struct.pack("<II32sII32s", 2, 0, b"", len(KEY), 0, b"") + KEY)
fcntl.ioctl(fd, ADD_KEY, arg, True)
identifier = bytes(arg[8:24])
# struct fscrypt_policy_v2: AES-256-XTS for content, AES-256-CTS for names, padding to 32.
fcntl.ioctl(fd, SET_POLICY, struct.pack("<BBBBB3x16s", 2, 1, 4, 3, 0, identifier))
