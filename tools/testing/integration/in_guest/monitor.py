# SPDX-License-Identifier: GPL-2.0
"""monitor.py MODE PORT [MASK]: a monitor at 127.0.0.1 that takes clients without a key as far as
MODE says; /lab/run/monitor.count says how many have come, /lab/run/monitor.stop ends it.
  features  refuses them for the features in MASK, after authentication
  silent    says nothing after authentication
  msgr1     speaks msgr1"""
import os
import socket
import struct
import sys
import threading
import time

HELLO, AUTH_REQUEST, AUTH_DONE, SIGNATURE, CLIENT_IDENT, MISSING = 1, 2, 6, 7, 8, 10
TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(crc, data):
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc


def frame(tag, body):
    head = struct.pack("<BBIH", tag, 1, len(body), 8) + bytes(20)
    return head + struct.pack("<I", crc32c(0, head)) + body + struct.pack("<I", crc32c(0xffffffff, body))


def read(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def expect(sock, tag):
    head = read(sock, 32)
    assert head[0] == tag, f"a frame of type {head[0]}, not {tag}"
    return read(sock, struct.unpack_from("<I", head, 2)[0] + 4)


def serve(sock, mode, mask):
    ip, port = sock.getpeername()
    if mode == "msgr1":
        sock.sendall(b"ceph v027" + bytes(272))
        time.sleep(60)
    sock.sendall(b"ceph v2\n" + struct.pack("<HQQ", 16, 1, 0))
    assert read(sock, 26).startswith(b"ceph v2\n")
    expect(sock, HELLO)
    addr = struct.pack("<IIIH", 2, 0, 16, 2) + struct.pack(">H", port) + socket.inet_aton(ip) + bytes(8)
    sock.sendall(frame(HELLO, b"\1\1" + struct.pack("<BBI", 1, 1, len(addr)) + addr))
    expect(sock, AUTH_REQUEST)
    sock.sendall(frame(AUTH_DONE, struct.pack("<QII", 4711, 1, 0)))
    expect(sock, SIGNATURE)
    if mode == "silent":
        time.sleep(60)
    sock.sendall(frame(SIGNATURE, bytes(32)))
    expect(sock, CLIENT_IDENT)
    sock.sendall(frame(MISSING, struct.pack("<Q", mask)))
    time.sleep(60)


def guarded(sock, *args):
    try:
        serve(sock, *args)
    except (EOFError, OSError):
        pass
    sock.close()


def say(count):
    """At once, as others read it meanwhile."""
    with open("/lab/run/monitor.new", "w") as f:
        f.write(str(count))
    os.replace("/lab/run/monitor.new", "/lab/run/monitor.count")


def main():
    mode, port, mask = sys.argv[1], int(sys.argv[2]), int((sys.argv[3:] or ["0"])[0], 0)
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(0.2)
    count = 0
    say(count)
    while not os.path.exists("/lab/run/monitor.stop"):
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            continue
        sock.settimeout(None)
        count += 1
        say(count)
        threading.Thread(target=guarded, args=(sock, mode, mask), daemon=True).start()


main()
