# SPDX-License-Identifier: GPL-2.0
"""Runs the functions test_* of the files test_*.py (and, with LONG=1, long_*.py) of the folders LAB_SUITES in the
order in which they are written, all with one cluster and one guest. Each gets the Context `t`."""

import argparse
import glob
import importlib
import os
import re
import sys
import threading
import time

import fill
import lab as lab_module
import serve

HERE = os.path.dirname(os.path.abspath(__file__))
M = "/mnt/ceph"
# A slow guest's clock may lag, and a ticket must not expire before the guest renews it.
TTL = 40 if lab_module.SLOW == 1 else 3600
GUEST = {"kernel_args": "kunit.enable=0 log_buf_len=8M", "memory": 3072 if lab_module.SLOW > 1 else 2048}
# Shows who keeps a mount busy.
HOLDERS = (f"grep -l {M} /proc/[0-9]*/maps | while read m; do tr '\\0' ' ' <${{m%maps}}cmdline; done; "
           f"ls -l /proc/[0-9]*/fd /proc/[0-9]*/cwd 2>/dev/null | grep {M}")


class Failed(Exception):
    """What a test found; its text is all that is shown."""


class Skipped(Exception):
    """Why a test does not apply."""


class Context:
    """What a test works with."""

    def __init__(self, client):
        self.client = client
        self.rust = client == "rust"
        self.lab = lab_module.Lab()
        self.cluster = self.g = self.fuse = self.other = None
        self.start_mark = None

    def boot(self):
        failed = []

        def guest():
            try:
                # The unit tests of a debug kernel run elsewhere (kunit/run.sh).
                self.g = lab_module.Guest(self.lab, "g0", 0, **GUEST)
                self.lab.guests.append(self.g)
                self.g.start()
            except Exception as e:
                failed.append(e)
        th = threading.Thread(target=guest)
        th.start()
        # Three monitors to hunt among, stores that survive kill -9, a standby MDS,
        # tickets that expire during the run, folders that split into fragments, no failover
        # because of a busy machine.
        self.cluster = self.lab.cluster(mons=3, osds=2, mds=2, store="bluestore", ttl=TTL, conf={
            "mds_beacon_grace": 60, "mds_bal_split_size": 1000, "mds_bal_split_bits": 2, "mds_bal_fragment_interval": 1})
        self.manifest = fill.fill(self.cluster, "demo", self.lab.run)
        self.fuse = self.cluster.fuse("/tmp/other")
        th.join()
        if failed:
            raise failed[0]
        self._prepare()

    def _prepare(self):
        self.g.use_cluster(self.cluster)
        self.g.put("manifest.json", self.manifest)
        self.g.leaks()
        self.start_mark = self.g.mark()
        self.g.load(self.client)
        self.g.run("mkdir -p /mnt/ceph", check=True)

    def reboot(self):
        """A new guest in place of one that cannot be used any more."""
        self.g.stop()
        self.g = self.lab.guest(**GUEST)
        self._prepare()

    def other_guest(self):
        """A guest with the kernel's own C client, mounted at M as client.admin."""
        if self.other is None:
            g = lab_module.Guest(self.lab, "g9", 9, kernel_args=GUEST["kernel_args"], memory=GUEST["memory"] // 2)
            self.lab.guests.append(g)
            g.start()
            g.use_cluster(self.cluster)
            g.load("c")
            g.run(f"mkdir -p {M}; mount -t ceph admin@$FSID.cephfs=/ {M} "
                  "-o mon_addr=$MONS,secret=$ADMIN_SECRET,ms_mode=crc", 120, check=True)
            self.other = g
        return self.other

    # Looking.

    def fail(self, text):
        raise Failed(text)

    def check(self, good, text):
        if not good:
            raise Failed(text)

    def equal(self, have, want, what):
        if have != want:
            raise Failed(f"{what}: {have!r:.500}, should be {want!r:.500}")

    def skip(self, text):
        raise Skipped(text)

    # Acting in the guest.

    def run(self, command, timeout=60):
        return self.g.run(command, timeout)

    def ok(self, command, timeout=60):
        """Runs a command that must work; gives its output."""
        r = self.g.run(command, timeout)
        if r.status:
            raise Failed(f"{command}: exit {r.status}: {r.out.strip()[-1500:]}")
        return r.out

    def mount(self, at=M, source="user@$FSID.cephfs=/", options="", timeout=90):
        """Mounts with the helper."""
        o = f"mon_addr=$MONS,secret=$SECRET,ms_mode=prefer-crc{',' if options else ''}{options}"
        self.ok(f"mkdir -p {at}; mount -t ceph {source} {at} -o {o}", timeout)

    def mounted(self, at=M):
        """The line of /proc/mounts, or None."""
        for line in self.ok("cat /proc/mounts").splitlines():
            if line.split()[1] == at:
                return line
        return None

    def ensure_mounted(self):
        if not self.mounted():
            self.mount()

    def umount(self, at=M, timeout=90):
        self.ok(f"umount {at}", timeout)

    def umount_all(self):
        self.run("umount -a -t ceph", 120)

    def mount2(self, source, options, at=M, timeout=120):
        """The system call mount(2) itself; gives (the name of the errno or OK, seconds)."""
        r = self.g.run(f"mkdir -p {at}; python3 /lab/src/tools/testing/integration/in_guest/mount2.py "
                       f"\"{source}\" {at} \"{options}\"", timeout)
        words = r.out.split()
        if len(words) < 2:
            raise Failed(f"mount2: {r}")
        return words[0], float(words[1])

    def options(self, **changed):
        o = {"mon_addr": "$MONS", "name": "user", "secret": "$SECRET", "ms_mode": "crc", **changed}
        return ",".join(k if v is True else f"{k}={v}" for k, v in o.items() if v is not None)

    def python(self, code, timeout=60):
        """Runs Python code in the guest; gives its output, fails when it fails."""
        name = f"py{time.monotonic_ns()}.py"
        with open(os.path.join(self.g.dir, name), "w") as f:
            f.write(code)
        return self.ok(f"python3 /lab/run/{name}", timeout)

    def drop_caches(self):
        self.ok("sync; echo 3 >/proc/sys/vm/drop_caches")

    def clean(self, mark):
        """Nothing is wrong in the kernel's log since the mark."""
        splats = self.g.splats(mark)
        self.check(not splats, "the kernel complained: " + " | ".join(splats[:20]))

    def no_leaks(self):
        """Nothing has leaked. Looking takes half a minute, so it is not done for each test."""
        leaks = self.g.leaks()
        self.check(not leaks, f"{len(leaks)} leaks: " + "\n".join(leaks[:3]))

    def nothing_left(self, mark):
        """After a test file: without mounts no object is left in the modules' caches, and
        nothing has been wrong in the kernel since the mark, between the tests included."""
        self.umount_all()
        self.check(not self.mounted_any(), f"still mounted: {self.run(HOLDERS).out}")
        if self.rust:
            left = {k: v for k, v in self.g.slab_objects().items() if v}
            self.check(not left, f"objects left in the caches: {left}")
        self.clean(mark)
        self.no_leaks()

    def mounted_any(self):
        return [line for line in self.ok("cat /proc/mounts").splitlines() if line.split()[2] == "ceph"]

    def wait(self, what, f, timeout=30, factor=lab_module.PATIENCE):
        """Waits until f() is true. With `factor` SLOW the time is what is tested."""
        timeout *= factor
        end = time.monotonic() + timeout
        while not f():
            if time.monotonic() > end:
                raise Failed(f"not within {timeout} s: {what}")
            time.sleep(0.3)

    def recover(self):
        """After a failed test: everything runs again and nothing is mounted."""
        self.cluster.run_all()
        self.cluster.wait_health()
        self.g.run("umount -a -t ceph || umount -a -f -t ceph; ! grep ' ceph ' /proc/mounts", 30, check=True)
        self.g.unload(20)
        self.g.load(self.client)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--client", default="rust")
    p.add_argument("--keep", action="store_true")
    p.add_argument("patterns", nargs="*")
    a = p.parse_args()
    t = Context(a.client)
    tests = []
    kinds = "test", *(["long"] if os.environ.get("LAB_LONG") else [])
    suites = [os.path.join(os.path.dirname(HERE), s) for s in os.environ.get("LAB_SUITES", "integration").split()]
    sys.path += suites
    for path in [p for s in suites for k in kinds for p in sorted(glob.glob(f"{s}/{k}_*.py"))]:
        m = importlib.import_module(os.path.basename(path)[:-3])
        source = open(path).read()
        mine = [(f"{m.__name__[5:]}.{n[5:]}", getattr(m, n))
                for n in re.findall(r"^def (test_\w+)", source, re.M)]
        mine = [x for x in mine if not a.patterns or any(re.search(p, x[0]) for p in a.patterns)]
        tests += mine and [*mine, (f"{m.__name__[5:]}.nothing_left", None)]
    if not tests:
        print(f"FAIL no test matches {a.patterns}\n0 passed, 1 failed", flush=True)
        return 1
    t0 = time.monotonic()
    try:
        t.boot()
    except Exception as e:
        print(f"FAIL boot: {e}\nlogs: {t.lab.host(t.lab.run)}\n0 passed, 1 failed", flush=True)
        return 1
    print(f"# cluster, content and guest are up after {time.monotonic() - t0:.1f} s", flush=True)

    passed, failed, dead, file_mark = 0, [], False, None
    for name, f in tests:
        t1 = time.monotonic()
        try:
            mark = t.g.mark()
            file_mark = file_mark or mark
            if f:
                f(t)
            else:
                t.nothing_left(file_mark)
                file_mark = None
            t.clean(mark)
            passed += 1
            print(f"ok {name} ({time.monotonic() - t1:.1f} s)", flush=True)
        except Skipped as e:
            print(f"skip {name}: {e}", flush=True)
        except Exception as e:
            failed.append(name)
            file_mark = None
            print(f"FAIL {name} ({time.monotonic() - t1:.1f} s): {type(e).__name__}: {e}", flush=True)
            try:
                log = t.g.dmesg(mark).strip().splitlines()[-40:]
                print("".join(f"    | {line:.200}\n" for line in log), end="", flush=True)
                t.recover()
            except Exception as e2:
                print(f"    it left the guest unusable: {str(e2):.300}", flush=True)
                try:
                    t.reboot()
                except Exception as e3:
                    print(f"    and a new one does not come up, the rest is not run: {e3}", flush=True)
                    dead = True
                    break
    if not dead:
        try:
            t.umount_all()
            t.g.unload()
            t.clean(t.start_mark)
            t.no_leaks()
            passed += 1
            print("ok clean end: no mounts, modules gone, nothing wrong in dmesg", flush=True)
        except Exception as e:
            failed.append("clean end")
            print(f"FAIL clean end: {e}", flush=True)
    if a.keep and not dead:
        print(f"kept: {t.lab.host(t.lab.run)}", flush=True)
        serve.serve(t.lab, a.client)
    if failed:
        print(f"failed: {' '.join(failed)}; logs: {t.lab.host(t.lab.run)}")
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    t.fuse.stop()
    t.lab.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
