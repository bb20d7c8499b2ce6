# SPDX-License-Identifier: GPL-2.0
"""The other end of `work tcp`: what the network alone costs for a row of the benchmark."""

import socket
import struct
import threading

PIECE = bytes(1 << 20)


def take(connection, size):
    """So many bytes; fewer when the other side has closed."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def answer(connection):
    """Answers questions of a size by so many bytes, as the first 24 bytes say."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    count, ask, size = struct.unpack("<QQQ", take(connection, 24))
    for _ in range(count):
        if len(take(connection, ask)) < ask:
            break
        left = size
        while left:
            left -= connection.send(PIECE[:left])
    connection.close()


def serve(address):
    """Serves at an address until the program ends; gives the port."""
    listener = socket.create_server((address, 0))

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
