# SPDX-License-Identifier: GPL-2.0
"""A random walk of other clients' changes. After each, and before, this client looks
at what was changed with warm caches, and all it sees must be what a model says.

    walk = Walk(t, seed, {"ceph-fuse": Local(path), "libcephfs": LibCephFs(cluster), ...})
    walk.run(1000)
"""

import base64
import errno
import hashlib
import json
import os
import random
import socket
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "in_guest"))
import agent as agent_module  # noqa: E402

PORT = 7000
# What other clients say, rarely, of a name that another one has just changed, and have done
# nothing.
EXCUSES = [("ceph-fuse", {"errno": "ESTALE"}), ("c", {"errno": "ESTALE"}), ("libcephfs", {"errno": "ENOENT"})]
STALE = 20  # seconds that a page may be mapped that others have overwritten
NAMES = ["a", "b", "c", "d", "e", "längerer Name", "x" * 60]


class Remote:
    """An agent in a guest."""

    def __init__(self, guest, root):
        self.root, self.guest = root, guest
        self.job = guest.spawn(f"exec python3 /lab/src/tools/testing/integration/in_guest/agent.py {PORT}")
        while "listening" not in self.job.output():
            if self.job.finished():
                raise RuntimeError(f"the agent: {self.job.output()}")
            self.job.done.wait(0.1)
        self.socket = socket.create_connection((guest.address, PORT))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(120)
        self.file = self.socket.makefile("rw")

    def do(self, calls):
        self.file.write(json.dumps(calls) + "\n")
        self.file.flush()
        try:
            line = self.file.readline()
        except TimeoutError:
            raise RuntimeError(f"no answer to {str(calls):.2000}: {self.stuck()}") from None
        if not line:
            raise RuntimeError(f"the agent ended: {self.job.output()[-2000:]}")
        return json.loads(line)

    def stuck(self):
        """What the agent does now."""
        return self.guest.run(
            "for p in $(pgrep -f in_guest/agent.py); do grep -H State /proc/$p/status; cat /proc/$p/wchan /proc/$p/stack; "
            "done; cat /sys/kernel/debug/ceph/*/waiting /sys/kernel/debug/ceph/*/health", 30).out

    def close(self):
        self.file.close()
        self.socket.close()
        if not self.job.done.wait(60):
            raise RuntimeError(f"the agent does not end: {self.stuck()}")


class Local:
    """Another client that is mounted in the lab itself."""

    def __init__(self, root):
        self.root = root
        self.agent = agent_module.Agent()
        self.do = self.agent.do

    def close(self):
        for n in list(self.agent.fds):
            self.agent.drop(n)


class LibCephFs:
    """The library, in this process."""

    def __init__(self, cluster, root):
        import cephfs
        self.root, self.Error = root, cephfs.Error
        self.fs = cephfs.LibCephFS(conffile=cluster.conf, auth_id="admin", conf={"admin_socket": ""})
        self.fs.mount(filesystem_name=cluster.fs.encode())
        self.fds = {}

    def close(self):
        for fd in self.fds.values():
            self.fs.close(fd)
        self.fs.unmount()
        self.fs.shutdown()

    def do(self, calls):
        results = []
        for name, *a in calls:
            try:
                results.append(getattr(self, name)(*a))
            except self.Error as e:
                results.append({"errno": errno.errorcode.get(abs(e.errno or 0), str(e))})
        return results

    def write(self, path, data, how, offset):
        flags = {"new": os.O_CREAT | os.O_TRUNC, "append": os.O_APPEND, "into": 0}[how]
        fd = self.fs.open(path, os.O_WRONLY | flags, 0o644)
        try:
            self._write(fd, data, -1 if how == "append" else offset)
        finally:
            self.fs.close(fd)

    def hold(self, number, path, how):
        self.fds[number] = self.fs.open(path, {"r": os.O_RDONLY, "w": os.O_RDWR}[how], 0)

    def hwrite(self, number, offset, data):
        self._write(self.fds[number], data, offset)

    def _write(self, fd, data, offset):
        if data:  # the library asserts that there is something
            self.fs.write(fd, base64.b64decode(data), offset)

    def drop(self, number):
        self.fs.close(self.fds.pop(number))

    def truncate(self, path, size):
        self.fs.truncate(path, size)

    def unlink(self, path):
        self.fs.unlink(path)

    def mkdir(self, path):
        self.fs.mkdir(path, 0o755)

    def rmdir(self, path):
        self.fs.rmdir(path)

    def rename(self, old, new):
        self.fs.rename(old, new)

    def link(self, old, new):
        self.fs.link(old, new)

    def symlink(self, target, path):
        self.fs.symlink(target, path)

    def chmod(self, path, mode):
        self.fs.chmod(path, mode)

    def chown(self, path, uid, gid):
        self.fs.chown(path, uid, gid)

    def utime(self, path, ns):
        self.fs.utimes(path, (ns / 10**9, ns / 10**9))

    def setxattr(self, path, name, value):
        self.fs.setxattr(path, name, value.encode(), 0)


class Node:
    """What the model knows of an inode."""

    def __init__(self, kind):
        self.kind, self.mode, self.uid, self.gid = kind, 0o755 if kind == stat.S_IFDIR else 0o644, 0, 0
        self.data, self.names, self.target = bytearray(), {}, None
        self.nlink, self.mtime = 1, None
        self.past = []      # what the content was, and until when


def sha(data):
    return [len(data), hashlib.sha256(data).hexdigest()]


class Walk:
    def __init__(self, seed, here, actors, fail):
        self.r, self.seed = random.Random(seed), seed
        self.here, self.actors, self.fail = here, actors, fail
        self.top = Node(stat.S_IFDIR)
        self.held = {}      # number -> Node, open for reading on our side
        self.mapped = {}    # number -> length
        self.writing = {}   # number -> (actor, Node)
        self.next, self.step, self.log = 1, 0, []
        self.excused = 0    # how often another client failed where it should not
        # Whether extended attributes can be seen on our side at all.
        probe = here.do([["getxattr", here.root, "user.none"]])[0]
        self.xattrs = probe["errno"] == "ENODATA"

    # The model.

    def walk(self, node=None, path=""):
        """All (path, node) of the tree, paths without a leading slash."""
        node = node or self.top
        for name, child in node.names.items():
            p = f"{path}{name}"
            yield p, child
            if child.kind == stat.S_IFDIR:
                yield from self.walk(child, p + "/")

    def find(self, path):
        node = self.top
        for name in path.split("/") if path else []:
            if node.kind != stat.S_IFDIR or name not in node.names:
                return None
            node = node.names[name]
        return node

    def parent(self, path):
        return self.find(path.rpartition("/")[0])

    def pick(self, *kinds):
        found = [p for p, n in self.walk() if n.kind in kinds]
        return self.r.choice(found) if found else None

    def new_path(self):
        folders = [""] + [p + "/" for p, n in self.walk() if n.kind == stat.S_IFDIR and p.count("/") < 3]
        return self.r.choice(folders) + self.r.choice(NAMES)

    # Changes: each gives the call, a function that changes the model, and the paths to look at.

    def content(self):
        return self.r.randbytes(self.r.choice((0, 1, 100, 4095, 4096, 5000, 20000, 70000)))

    def changes(self):
        r = self.r
        what = r.choices(("write", "into", "append", "truncate", "unlink", "rename", "mkdir", "rmdir", "link",
                          "symlink", "chmod", "chown", "utime", "setxattr", "hold", "hwrite", "drop"),
                         (12, 8, 6, 8, 8, 14, 6, 3, 5, 4, 6, 3, 4, 3, 4, 12, 3))[0]
        return getattr(self, f"_{what}")()

    def _write(self):
        p, data = self.new_path(), self.content()
        old = self.find(p)
        if old and old.kind != stat.S_IFREG:
            return None

        def model():
            node = old
            if not node:
                node = self.parent(p).names[p.rpartition("/")[2]] = Node(stat.S_IFREG)
            node.data[:] = data
            node.mtime = None
        return ["write", p, base64.b64encode(data).decode(), "new", 0], model, [p]

    def _into(self):
        p = self.pick(stat.S_IFREG)
        if p is None:
            return None
        node, data = self.find(p), self.content()
        at = self.r.randrange(len(node.data) + 10)
        return ["write", p, base64.b64encode(data).decode(), "into", at], lambda: self.put(node, at, data), [p]

    def _append(self):
        p = self.pick(stat.S_IFREG)
        if p is None or len(self.find(p).data) > 300000:
            return None
        node, data = self.find(p), self.content()
        return (["write", p, base64.b64encode(data).decode(), "append", 0],
                lambda: self.put(node, len(node.data), data), [p])

    @staticmethod
    def put(node, at, data):
        if data:
            node.data.extend(bytes(max(0, at + len(data) - len(node.data))))
            node.data[at:at + len(data)] = data
            node.mtime = None

    def _truncate(self):
        p = self.pick(stat.S_IFREG)
        if p is None:
            return None
        node = self.find(p)
        size = self.r.choice((0, 1, 4096, 10000, self.r.randrange(len(node.data) + 1), len(node.data) + 3000))

        def model():
            node.data[:] = node.data[:size].ljust(size, b"\0")
            node.mtime = None
        return ["truncate", p, size], model, [p]

    def _unlink(self):
        p = self.pick(stat.S_IFREG, stat.S_IFLNK)
        if p is None:
            return None

        def model():
            self.parent(p).names.pop(p.rpartition("/")[2]).nlink -= 1
        return ["unlink", p], model, [p]

    def _rename(self):
        old, new = self.pick(stat.S_IFREG, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), self.new_path()
        if old is None or new == old or new.startswith(old + "/"):
            return None
        node, there = self.find(old), self.find(new)
        if there is node:
            return None
        if there and (there.kind == stat.S_IFDIR) != (node.kind == stat.S_IFDIR) or there and there.names:
            return None
        inside = [old + "/" + p for p, _ in self.walk(node)][:5] if node.kind == stat.S_IFDIR else []

        def model():
            if there:
                there.nlink -= 1
            del self.parent(old).names[old.rpartition("/")[2]]
            self.parent(new).names[new.rpartition("/")[2]] = node
        return ["rename", old, new], model, [old, new, *inside, *(new + p[len(old):] for p in inside)]

    def _mkdir(self):
        p = self.new_path()
        if self.find(p):
            return None

        def model():
            self.parent(p).names[p.rpartition("/")[2]] = Node(stat.S_IFDIR)
        return ["mkdir", p], model, [p]

    def _rmdir(self):
        p = self.pick(stat.S_IFDIR)
        if p is None or self.find(p).names:
            return None

        def model():
            del self.parent(p).names[p.rpartition("/")[2]]
        return ["rmdir", p], model, [p]

    def _link(self):
        old, new = self.pick(stat.S_IFREG), self.new_path()
        if old is None or self.find(new):
            return None
        node = self.find(old)

        def model():
            node.nlink += 1
            self.parent(new).names[new.rpartition("/")[2]] = node
        return ["link", old, new], model, [old, new]

    def _symlink(self):
        p = self.new_path()
        if self.find(p):
            return None
        target = "".join(self.r.choice("abc/é.") for _ in range(self.r.randrange(1, 50)))

        def model():
            node = self.parent(p).names[p.rpartition("/")[2]] = Node(stat.S_IFLNK)
            node.target, node.mode = target, 0o777
        return ["symlink", target, p], model, [p]

    def _attribute(self, call, p, **values):
        if p is None:
            return None
        node = self.find(p)
        return call, lambda: node.__dict__.update(values), [p]

    def _chmod(self):
        p, mode = self.pick(stat.S_IFREG, stat.S_IFDIR), self.r.randrange(0o1000) | 0o400
        if p is not None and self.find(p).kind == stat.S_IFDIR:
            mode |= 0o700
        return self._attribute(["chmod", p, mode], p, mode=mode)

    def _chown(self):
        p, uid, gid = self.pick(stat.S_IFREG, stat.S_IFDIR), self.r.randrange(70000), self.r.randrange(70000)
        if p is not None and self.find(p).kind == stat.S_IFREG and self.find(p).mode & 0o6000:
            return None
        return self._attribute(["chown", p, uid, gid], p, uid=uid, gid=gid)

    def _utime(self):
        p, ns = self.pick(stat.S_IFREG), self.r.randrange(2 * 10**9) * 10**9
        return self._attribute(["utime", p, ns], p, mtime=ns)

    def _setxattr(self):
        p, value = self.pick(stat.S_IFREG, stat.S_IFDIR), str(self.r.random())
        return self._attribute(["setxattr", p, "user.test", value], p, xattr=value)

    def _hold(self):
        p = self.pick(stat.S_IFREG)
        if p is None or len(self.writing) > 4:
            return None
        node, n = self.find(p), self.next
        self.next += 1

        def model():
            self.writing[n] = (self.actor, node)
        return ["hold", n, p, "w"], model, [p]

    def _hwrite(self):
        if not self.writing:
            return None
        n = self.r.choice(sorted(self.writing))
        self.actor, node = self.writing[n]
        data = self.content()
        at = self.r.randrange(min(len(node.data), 300000) + 10)
        paths = [p for p, x in self.walk() if x is node]
        return (["hwrite", n, at, base64.b64encode(data).decode()], lambda: self.put(node, at, data), paths)

    def _drop(self):
        if not self.writing:
            return None
        n = self.r.choice(sorted(self.writing))
        self.actor, node = self.writing[n]
        return ["drop", n], lambda: self.writing.pop(n), [p for p, x in self.walk() if x is node]

    # Looking: pairs of a call and what it must give.

    def look_at(self, path):
        node, full = self.find(path), f"{self.here.root}/{path}"
        if node is None:
            yield ["stat", full], {"errno": {"ENOENT", "ENOTDIR"}}
            return
        yield ["stat", full], self.attributes(node)
        if node.kind == stat.S_IFREG:
            yield ["read", full], sha(node.data)
        elif node.kind == stat.S_IFLNK:
            yield ["readlink", full], node.target
        else:
            yield ["list", full], sorted(node.names)
        if self.xattrs and getattr(node, "xattr", None):
            yield ["getxattr", full, "user.test"], node.xattr

    @staticmethod
    def attributes(node):
        a = {"kind": node.kind, "mode": node.mode, "uid": node.uid, "gid": node.gid}
        if node.kind != stat.S_IFDIR:
            a["nlink"] = node.nlink
        if node.kind == stat.S_IFREG:
            a["size"] = len(node.data)
        if node.mtime is not None:
            a["mtime"] = node.mtime
        return a

    def look_at_held(self, number):
        node = self.held[number]
        yield ["hstat", number], self.attributes(node)
        at = self.r.randrange(len(node.data) + 1)
        yield ["hread", number, at, 30000], sha(node.data[at:at + 30000])
        # Beyond the end a mapping is SIGBUS.
        length = min(self.mapped.get(number, 0), len(node.data))
        if length:
            at = self.r.randrange(length)
            n = min(self.r.choice((1, 100, 9000)), length - at)
            # While another client has it open for writing, a mapped page may be older.
            fresh = time.monotonic() - STALE
            node.past = [(until, data) for until, data in node.past if until > fresh]
            yield (["mread", number, at, n],
                   [sha(data[at:at + n]) for data in [node.data, *(d for _, d in node.past if len(d) >= at + n)]])

    def looks(self, paths):
        r = self.r
        for p in paths:
            mine = list(self.look_at(p))
            r.shuffle(mine)
            yield from mine[:r.randrange(1, len(mine) + 1)]
            above = p.rpartition("/")[0]
            if r.random() < 0.4 and self.find(above):
                yield ["list", f"{self.here.root}/{above}"], sorted(self.find(above).names)
        for n in list(self.held):
            if r.random() < 0.3:
                yield from self.look_at_held(n)

    def compare(self, pairs, when):
        pairs = list(pairs)
        results = self.here.do([call for call, _ in pairs])
        for (call, want), have in zip(pairs, results):
            if isinstance(want, dict) and "errno" in want:
                good = isinstance(have, dict) and have.get("errno") in want["errno"]
            elif isinstance(want, dict):
                good = isinstance(have, dict) and all(have.get(k) == v for k, v in want.items())
            elif call[0] == "mread":
                good = have in want
            else:
                good = have == want
            if not good:
                self.fail(f"seed {self.seed}, {when}: {call}: {have!r:.300}, should be {want!r:.300}\n"
                          + "\n".join(self.log[-12:]))

    def hold_some(self):
        """Opens, maps and closes files on our side."""
        r = self.r
        calls = []
        if len(self.held) > 8 or self.held and r.random() < 0.1:
            n = r.choice(sorted(self.held))
            calls.append(["drop", n])
            del self.held[n]
            self.mapped.pop(n, None)
        p = self.pick(stat.S_IFREG)
        if p is not None and r.random() < 0.3:
            n, node = self.next, self.find(p)
            self.next += 1
            calls.append(["hold", n, f"{self.here.root}/{p}", "r"])
            self.held[n] = node
            if len(node.data) and r.random() < 0.5:
                calls.append(["map", n, len(node.data)])
                self.mapped[n] = len(node.data)
        for call, result in zip(calls, self.here.do(calls)):
            if result is not None:
                self.fail(f"seed {self.seed}, step {self.step}: {call}: {result}\n" + "\n".join(self.log[-12:]))

    def run(self, steps):
        for self.step in range(steps):
            self.hold_some()
            self.actor = self.r.choice(sorted(self.actors))
            change = self.changes()
            if not change:
                continue
            call, model, paths = change
            client = self.actors[self.actor]
            # Caches that know the state before.
            self.compare(self.looks(p for p in paths if self.r.random() < 0.7), f"before step {self.step}")
            full = [f"{client.root}/{x}" if isinstance(x, str) and self.is_path(call[0], i) else x
                    for i, x in enumerate(call)]
            before = {n: bytes(n.data) for n in self.held.values()}
            result = client.do([full])[0]
            shown = [x if len(str(x)) < 80 else f"{str(x)[:20]}... ({len(x)})" for x in call]
            self.log.append(f"{self.step}: {self.actor}: {shown}")
            if (self.actor, result) in EXCUSES and self.excused < 3 + self.step // 50:
                self.excused += 1
                continue
            if isinstance(result, dict) and "errno" in result:
                self.fail(f"seed {self.seed}: {self.log[-1]} failed with {result} (the other client)\n"
                          + "\n".join(self.log[-12:]))
            model()
            for node, data in before.items():
                if data != node.data:
                    node.past.append((time.monotonic(), data))
            self.compare(self.looks(paths), f"after step {self.step}")
            if self.step % 100 == 99:
                self.everything()
        self.everything()
        for n in list(self.held):
            self.compare(self.look_at_held(n), "at the end")

    def everything(self):
        for p, _ in [("", self.top), *self.walk()]:
            self.compare(self.look_at(p) if p else [(["list", self.here.root], sorted(self.top.names))],
                         f"all, step {self.step}")

    @staticmethod
    def is_path(name, i):
        """Whether the argument `i` of a change is a path below the root."""
        at = {"hold": (2,), "hwrite": (), "drop": (), "rename": (1, 2), "link": (1, 2), "symlink": (2,)}
        return i in at.get(name, (1,))
