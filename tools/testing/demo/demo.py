# SPDX-License-Identifier: GPL-2.0
"""The steps of `make demo`, in a lab (see ../demo.sh)."""

import argparse
import json
import os
import sys
import threading
import time

import fill
import lab as lab_module
import serve

MMAP = """
import hashlib, json, mmap, sys
want = json.load(open("/lab/run/manifest.json"))
for name in sys.argv[1:]:
    with open("/mnt/ceph/" + name, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        ok = hashlib.sha256(m).hexdigest() == want[name]["sha256"]
        print(name, len(m), "bytes mapped,", "sha256 as written" if ok else "WRONG CONTENT")
        if not ok: sys.exit(1)
"""


class Demo:
    def __init__(self, client):
        self.client = client
        self.lab = lab_module.Lab()
        self.number = 0
        self.where = ""

    def step(self, name, f, *args, **kw):
        """Runs one step, says how long it took; a failure names it and ends the demo."""
        t = time.monotonic()
        try:
            r = f(*args, **kw)
        except Exception as e:
            print(f"FAILED  {name} after {time.monotonic() - t:.1f} s\n  why:  {e}\n"
                  f"  logs: {self.lab.host(self.lab.run)} (kernel: g0.console, daemons: ceph/)", flush=True)
            sys.exit(1)
        print(f"{time.monotonic() - t:11.3f} s  {name}", flush=True)
        return r

    def guest(self, name, command, timeout=120, show=0):
        """A step that is a command in the guest; `show` lines of its output."""
        r = self.step(name, self.g.run, command, timeout, check=True)
        lines = r.out.rstrip("\n").split("\n") if r.out.strip() else []
        for line in lines[:show]:
            print(f"        | {line:.150}", flush=True)
        if show and len(lines) > show:
            print(f"        | ... ({len(lines)} lines)", flush=True)
        return r.out

    def expect(self, name, good, why):
        def check():
            if not good:
                raise lab_module.GuestError(why)
        if not good:
            self.step(name, check)

    def boot(self):
        """Cluster and its content, and the guest, side by side."""
        failed = []

        def guest():
            try:
                self.g = lab_module.Guest(self.lab, "g0", 0)
                self.lab.guests.append(self.g)
                self.g.start()
            except Exception as e:
                failed.append(e)
        t = threading.Thread(target=guest)
        t.start()
        self.c = self.step("start the cluster: ceph-mon, ceph-mgr, 2 ceph-osd, ceph-mds, cephx on",
                           self.lab.cluster, osds=2)
        path = self.step("fill the file system through ceph-fuse", fill.fill, self.c, "demo", self.lab.run)

        def join():
            t.join()
            if failed:
                raise failed[0]
            self.g.use_cluster(self.c)
            self.g.put("manifest.json", path)
        self.step("boot the stock kernel in QEMU", join)
        with open(path) as f:
            self.manifest = json.load(f)

    def read_everything(self):
        n = len(self.manifest)
        out = self.guest("find", "cd /mnt/ceph && find . -print0 | tr -dc '\\0' | wc -c")
        self.expect("find", int(out) == n, f"find sees {out.strip()} entries, {n} were written")
        self.guest("ls -lR", "cd /mnt/ceph && ls -lR >/tmp/ls && head -n 40 /tmp/ls && tail -n +41 /tmp/ls",
                   show=12)
        self.guest("stat", "cd /mnt/ceph && stat sizes/4097 links/one kinds/char", show=24)
        self.guest("readlink", "cd /mnt/ceph && readlink links/relative links/up links/absolute links/utf8-*", show=4)
        self.guest("df", "df /mnt/ceph && df -i /mnt/ceph", show=4)
        self.guest("sha256sum of one file", "cd /mnt/ceph && sha256sum striped/64k-2-1M", show=1)
        self.guest("everything equal to what was written (sha256 of content, stat, readlink, readdir)",
                   "python3 /lab/src/tools/testing/cluster/verify.py /lab/run/manifest.json /mnt/ceph",
                   timeout=300, show=1)
        self.guest("mmap'ed read", f"python3 -c '{MMAP}' sizes/64MiB striped/64k-2-1M sizes/4097 sparse/middle",
                   show=4)

    def run(self, keep):
        self.boot()
        g = self.g
        self.guest("kernel", "uname -rv", show=1)
        self.step("load libceph.ko and ceph.ko", g.load, self.client)
        self.guest("mount with mount.ceph", "mkdir -p /mnt/ceph && mount -t ceph user@$FSID.cephfs=/ /mnt/ceph "
                   "-o mon_addr=$MONS,secret=$SECRET,ms_mode=prefer-crc && grep ' ceph ' /proc/mounts", show=1)
        self.read_everything()
        self.guest("debugfs", "cd /sys/kernel/debug/ceph/* && ls && for f in monc monmap osdmap osdc mdsmap "
                   "mds_sessions client_options status; do echo \"== $f\"; cat $f; echo; done", show=60)
        self.guest("umount", "umount /mnt/ceph")
        self.guest("mount -i with raw options", "mount -i -t ceph user@$FSID.cephfs=/tree /mnt/ceph -o "
                   "mon_addr=$MONS,name=user,secret=$SECRET,ms_mode=crc && grep ' ceph ' /proc/mounts "
                   "&& ls /mnt/ceph", show=12)
        self.guest("umount", "umount /mnt/ceph")
        self.step("remove the modules", g.unload)
        bad = self.step("look for complaints of the kernel", g.splats)
        self.expect("kernel log", not bad, "the kernel complained:\n" + "\n".join(bad))
        if keep:
            self.step("load and mount again", lambda: (g.load(self.client), g.run(serve.MOUNT, check=True)))
            open(os.path.join(self.lab.run, "ready"), "w").close()
            serve.serve(self.lab, self.client)
        self.step("stop guest and cluster", self.lab.stop)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--client", default="rust")
    p.add_argument("--keep", action="store_true")
    a = p.parse_args()
    Demo(a.client).run(a.keep)
