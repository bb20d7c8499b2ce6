# SPDX-License-Identifier: GPL-2.0
"""versions.py PORT FOLDER COUNT: reads, again and again and in every way, files that another
client overwrites with one version after the other, each at least as long as the last, all
of it the version's number in eight digits. Who connects to the port says of a file which
version the other client has finished: lines "index version length". No reader may then see
an older one. Prints what did, and how often each way was tried when the connection ends."""
import mmap
import os
import random
import signal
import socket
import sys
import time

LENGTH = 1 << 32


def oldest(data):
    """The oldest version in the data; -1 for what is no version."""
    found = [w.to_bytes(8, "little") for w in set(memoryview(data).cast("Q"))]
    return min((int(w) if w.isdigit() else -1 for w in found), default=LENGTH)


def whole(fd):
    data = b"".join(iter(lambda: os.read(fd, 1 << 17), b""))
    return data, len(data), 0


def part(fd):
    size = os.fstat(fd).st_size
    at = random.randrange(size // 8 + 1) * 8
    return os.pread(fd, 10000, at), size, at


def direct(fd):
    with mmap.mmap(-1, 1 << 19) as m:
        n = os.preadv(fd, [m], 0)
        return m[:n], n, 0


def sized(fd):
    return b"", os.fstat(fd).st_size, 0


def advised(fd):
    os.posix_fadvise(fd, 0, 0, random.choice((os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED)))
    return part(fd)


def mapped(fd):
    """What is mapped may be older, so only the size is looked at; but the pages are there."""
    size = os.fstat(fd).st_size
    if size:
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as m:
            for at in range(0, size, 4096):
                m[at]
    return b"", size, 0


def reader(paths, finished, counts, how, flags, again):
    """Reads until it sees something old; opens anew, or, with `again`, one time in ten."""
    fds = {}
    while True:
        # The newest is what is written now.
        newest = max((i for i in range(len(paths)) if finished[i]), default=None)
        if newest is None:
            time.sleep(0.01)
            continue
        i = max(0, newest - random.choice((0, 0, 0, 1)))
        version, length = divmod(finished[i], LENGTH)
        if i not in fds:
            fds[i] = os.open(paths[i], os.O_RDONLY | flags)
        data, size, at = how(fds[i])
        seen = oldest(data)
        if size < length or seen < version:
            bad = next((k for k in range(0, len(data), 8) if oldest(data[k:k + 8]) < version), len(data))
            print(f"{how.__name__} of {paths[i]}: size {size}, data from {at} to {at + len(data)}, at {at + bad}: "
                  f"{data[bad:bad + 16]!r}; {version} was finished, with {length} bytes", flush=True)
            return
        counts[0] += 1
        if not again or random.random() < 0.1:
            os.close(fds.pop(i))


def main():
    paths = [f"{sys.argv[2]}/v{i}" for i in range(int(sys.argv[3]))]
    ways = [(whole, 0, False), (whole, 0, False), (part, 0, True), (part, 0, False), (sized, 0, False),
            (direct, os.O_DIRECT, False), (advised, 0, False), (mapped, 0, False)]
    shared = memoryview(mmap.mmap(-1, 8 * (len(paths) + len(ways)))).cast("Q")
    finished, counts = shared[:len(paths)], shared[len(paths):]
    pids = []
    with socket.create_server(("", int(sys.argv[1]))) as s:
        for k, way in enumerate(ways):
            pids.append(os.fork())
            if not pids[-1]:
                s.close()
                reader(paths, finished, counts[k:], *way)
                os._exit(1)
        print("listening", flush=True)
        conn, _ = s.accept()
    with conn, conn.makefile("rw") as f:
        for line in f:
            i, version, length = map(int, line.split())
            finished[i] = version * LENGTH + length
            f.write("\n")
            f.flush()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print("read", *counts, flush=True)


if __name__ == "__main__":
    main()
