# SPDX-License-Identifier: GPL-2.0
"""proxied.py SECONDS PORTS TARGET SOURCE OPTIONS [SILENT]: mounts in a network namespace in
which the cluster's addresses are those of a proxy that damages what the daemons say: one bit
in some megabytes, and now and then one of a handshake. /lab/run/proxy.stop ends
it; /lab/run/proxy.damaged counts. With SILENT, ports, nothing is damaged, but what is
connected to these first says nothing more after AUTH_DONE."""
import ctypes
import os
import queue
import random
import socket
import subprocess
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
ADDRESSES = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
wanted = queue.Queue()
random.seed(7)
damaged = 0


def connector():
    """Its thread stays in the namespace that reaches the daemons."""
    first = set(silent)
    while True:
        client, address = wanted.get()
        back = relay_handshake if address[1] in first else relay
        first.discard(address[1])
        try:
            server = socket.create_connection(address, 10)
            server.settimeout(None)
        except OSError:
            client.close()
            continue
        threading.Thread(target=relay, args=(client, server, False), daemon=True).start()
        threading.Thread(target=back, args=(server, client, not silent), daemon=True).start()


def relay_handshake(source, target, _):
    """What a server says until AUTH_DONE, then nothing, while the connection stays."""
    def take(n):
        data = source.recv(n, socket.MSG_WAITALL)
        if len(data) < n:
            raise OSError("closed")
        target.sendall(data)
        return data
    try:
        take(int.from_bytes(take(10)[8:], "little"))
        tag = 0
        while tag != 6:
            preamble = take(32)
            tag = preamble[0]
            take(int.from_bytes(preamble[2:6], "little") + 4)
        with open("/lab/run/proxy.silent", "a") as f:
            f.write(f"{source.getpeername()[1]}\n")
        while source.recv(65536):
            pass
    except OSError:
        pass


def relay(source, target, damage):
    global damaged
    # Not so often that a reply of 4 MiB would never come through.
    left = random.choice((500, 100_000, 4 << 20, 8 << 20))
    left = random.randrange(left) if damage else 0
    try:
        while data := source.recv(65536):
            if damage and left < len(data):
                data = bytearray(data)
                data[left] ^= 1 << random.randrange(8)
                damaged += 1
                left += 8 << 20
                with open("/lab/run/proxy.damaged", "w") as f:
                    f.write(str(damaged))
            left -= len(data)
            target.sendall(data)
    except OSError:
        pass
    for s in (source, target):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def listen(address):
    s = socket.create_server(address, backlog=64)
    while True:
        wanted.put((s.accept()[0], address))


seconds, ports, target, source, options = sys.argv[1:6]
silent = {int(p) for port in sys.argv[6:] for p in port.split(",")}
threading.Thread(target=connector, daemon=True).start()
time.sleep(0.2)
if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
    sys.exit("unshare failed")
up = "ip link set lo up" + "".join(f"; ip addr add {a}/32 dev lo" for a in ADDRESSES)
subprocess.run(["sh", "-c", up], check=True)
for where in [(a, 3300) for a in ADDRESSES] + [(ADDRESSES[0], int(p)) for p in ports.split(",")]:
    threading.Thread(target=listen, args=(where,), daemon=True).start()
time.sleep(0.2)
subprocess.run(["mount", "-i", "-t", "ceph", source, target, "-o", options], check=True)
open("/lab/run/proxy.ready", "w").close()
end = time.monotonic() + float(seconds)
while time.monotonic() < end and not os.path.exists("/lab/run/proxy.stop"):
    time.sleep(0.1)
for _ in range(50):
    if subprocess.run(["umount", target], check=False).returncode == 0:
        break
    time.sleep(0.2)
os._exit(0)
