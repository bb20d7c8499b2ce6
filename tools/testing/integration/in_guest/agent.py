# SPDX-License-Identifier: GPL-2.0
"""agent.py PORT: does what others ask for, in a guest: a line of JSON with a list of
calls [name, argument...], a line with the list of their results back. A call that
fails gives {"errno": "ENOENT"}. Also used as a class, where no guest is between."""
import base64
import errno
import hashlib
import json
import mmap
import os
import socket
import stat
import sys


class Agent:
    """Files stay open, and mapped, under the ids that the caller gave them."""

    def __init__(self):
        self.fds, self.maps = {}, {}

    # Looking.

    @staticmethod
    def _attributes(s):
        return {"kind": stat.S_IFMT(s.st_mode), "mode": stat.S_IMODE(s.st_mode), "uid": s.st_uid, "gid": s.st_gid,
                "nlink": s.st_nlink, "size": s.st_size, "mtime": s.st_mtime_ns}

    def stat(self, path):
        return self._attributes(os.lstat(path))

    def read(self, path):
        with open(path, "rb", buffering=0) as f:
            data = b"".join(iter(lambda: f.read(1 << 17), b""))
        return [len(data), hashlib.sha256(data).hexdigest()]

    def list(self, path):
        return sorted(os.listdir(path))

    def readlink(self, path):
        return os.readlink(path)

    def getxattr(self, path, name):
        return os.getxattr(path, name).decode()

    # Files held open.

    def hold(self, number, path, how):
        flags = {"r": os.O_RDONLY, "w": os.O_RDWR}[how]
        self.fds[number] = os.open(path, flags)

    def map(self, number, length):
        self.maps[number] = mmap.mmap(self.fds[number], length, prot=mmap.PROT_READ)

    def hstat(self, number):
        return self._attributes(os.fstat(self.fds[number]))

    def hread(self, number, offset, length):
        data = os.pread(self.fds[number], length, offset)
        return [len(data), hashlib.sha256(data).hexdigest()]

    def mread(self, number, offset, length):
        return [length, hashlib.sha256(self.maps[number][offset:offset + length]).hexdigest()]

    def hwrite(self, number, offset, data):
        os.pwrite(self.fds[number], base64.b64decode(data), offset)

    def drop(self, number):
        if number in self.maps:
            self.maps.pop(number).close()
        os.close(self.fds.pop(number))

    # Changing.

    def write(self, path, data, how, offset):
        flags = {"new": os.O_CREAT | os.O_TRUNC, "append": os.O_APPEND, "into": 0}[how]
        fd = os.open(path, os.O_WRONLY | flags, 0o644)
        try:
            if how == "append":
                os.write(fd, base64.b64decode(data))
            else:
                os.pwrite(fd, base64.b64decode(data), offset)
        finally:
            os.close(fd)

    def truncate(self, path, size):
        os.truncate(path, size)

    def unlink(self, path):
        os.unlink(path)

    def mkdir(self, path):
        os.mkdir(path, 0o755)

    def rmdir(self, path):
        os.rmdir(path)

    def rename(self, old, new):
        os.rename(old, new)

    def link(self, old, new):
        os.link(old, new)

    def symlink(self, target, path):
        os.symlink(target, path)

    def chmod(self, path, mode):
        os.chmod(path, mode)

    def chown(self, path, uid, gid):
        os.chown(path, uid, gid)

    def utime(self, path, ns):
        os.utime(path, ns=(ns, ns))

    def setxattr(self, path, name, value):
        os.setxattr(path, name, value.encode())

    # ---

    def do(self, calls):
        results = []
        for name, *arguments in calls:
            try:
                results.append(getattr(self, name)(*arguments))
            except OSError as e:
                results.append({"errno": errno.errorcode.get(e.errno, str(e.errno))})
        return results


def main():
    agent = Agent()
    with socket.create_server(("", int(sys.argv[1]))) as s:
        print("listening", flush=True)
        conn, _ = s.accept()
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with conn, conn.makefile("rw") as f:
        for line in f:
            f.write(json.dumps(agent.do(json.loads(line))) + "\n")
            f.flush()


if __name__ == "__main__":
    main()
