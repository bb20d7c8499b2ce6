# SPDX-License-Identifier: GPL-2.0
"""The C client and ours, by turns, in one guest boot on one cluster (run by bench.sh).

For each row: seconds; instructions in the client's two modules; instructions of the
whole kernel, theirs included. The instructions are counted by a QEMU plugin (insn.c)
between two moments that the workload itself marks (work.c). Where a row is cold, the
file system is mounted afresh before it."""

import argparse
import json
import mmap
import os
import re
import statistics
import struct
import subprocess
import sys
import time

import lab as lab_module
import profile_table

HERE = os.path.dirname(os.path.abspath(__file__))
M = "/mnt/ceph"
OPTIONS = "mon_addr=$MON,name=user,secret=$SECRET,ms_mode=crc"
SOURCE = "user@$FSID.cephfs=/"
WORK = "/lab/run/work"
MIB = 1 << 20

# Of these, the first counts one mount, the second one read after which the client has
# taken in MAP_CHANGES incremental maps.
BIG_ROWS = [
    ("mount, osdmap of 10,000 OSDs", False, f"mount {SOURCE} {M} {OPTIONS} 1", 1.0, 1.0),
    ("osdmap of 10,000: 20 incrementals", True, f"random {M}/big 1 1 1", 1.0, 1.0),
]
MAP_CHANGES = 20

# Name, mounted afresh or not, arguments of work.c, and what it may cost (ratios to the
# C client: instructions of the modules, of the whole kernel).
ROWS = [
    ("mount + umount, 20 times", False, f"mount {SOURCE} {M} {OPTIONS} 20", 0.8, 1.0),
    ("sequential read 128 MiB, cold", True, f"read {M}/big {MIB} 0", 0.8, 0.8),
    ("sequential read 128 MiB, O_DIRECT", True, f"read {M}/big {MIB} 1", 0.8, 0.8),
    ("random read 4 KiB, depth 1, 1,000", True, f"random {M}/big 1 1000 1", 0.8, 1.0),
    ("random read 4 KiB, depth 16, 4,000", True, f"random {M}/big 16 4000 1", 0.8, 1.0),
    ("random read 4 KiB, buffered, 1,000", True, f"random {M}/big 1 1000 0", 0.8, 1.0),
    ("stat 2,000, cold", True, f"stat 0 {M}/small 2000", 0.8, 1.0),
    ("stat 2,000, warm", True, f"stat 1 {M}/small 2000", 0.5, 1.0),
    ("open 2,000, warm", True, f"open 1 {M}/small 2000", 0.5, 1.0),
    ("readdir of 10,000, cold", True, f"list 0 {M}/dir10k 0", 0.6, 1.0),
    ("readdir of 10,000, warm", True, f"list 1 {M}/dir10k 0", 0.6, 1.0),
    ("ls -l of 10,000, cold", True, f"run 0 ls -lU {M}/dir10k", 0.6, 1.0),
    ("ls -l of 10,000, warm", True, f"run 1 ls -lU {M}/dir10k", 0.6, 1.0),
    ("readdir of 100,000, cold", True, f"list 0 {M}/dir100k 0", 0.6, 1.0),
    ("ls -l of 100,000, cold", True, f"run 0 ls -lU {M}/dir100k", 0.6, 1.0),
    ("statfs 1,000", True, f"statfs {M} 1000", 0.8, 1.0),
    ("small files, 2,000 of 4 KiB, cold", True, f"small {M}/small 2000", 0.8, 1.0),
    ("find in a tree of 1,844, cold", True, f"run 0 find {M}/tree -newer {M}/big", 0.8, 1.0),
]


def say(text):
    print(text, flush=True)


class Counts:
    """The map that the plugin fills."""

    HEAD = 4

    def __init__(self, path):
        self.path = path
        self.map = None

    def open(self):
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        _, self.shift, self.text, self.modules = struct.unpack_from("<4Q", self.map)

    def ends(self):
        return struct.unpack_from("<Q", self.map)[0]

    def cells(self):
        """User, other kernel, text cells, module cells."""
        n = 2 + self.text + self.modules
        v = memoryview(self.map).cast("Q")[self.HEAD:self.HEAD + n].tolist()
        return v[0], v[1], v[2:2 + self.text], v[2 + self.text:]


class Bench:
    """One run."""

    def __init__(self, profile):
        self.lab = lab_module.Lab()
        self.counts = Counts(os.path.join(self.lab.run, "insn.map"))
        self.profile = profile

    def start(self):
        gcc = "x86_64-linux-gnu-gcc-14"
        plugin = os.path.join(self.lab.run, "insn.so")
        lab_module.sh(f"{gcc} -O2 -shared -fPIC -Wall -o {plugin} {HERE}/insn.c && "
                      f"{gcc} -O2 -static -Wall -o {self.lab.run}/work {HERE}/work.c")
        self.cluster = self.lab.cluster(osds=1, mds=1)
        grain = 4 if self.profile else 12
        self.g = self.lab.guest(plugin=f"{plugin},map={self.counts.path},grain={grain}")
        self.counts.open()
        self.g.put("work", f"{self.lab.run}/work")
        self.g.run(f"chmod 755 {WORK}; mkdir -p {M}", check=True)

    def fill(self, rows):
        """By the C client, the fastest there is."""
        self.g.load("c")
        self.mount("nowsync")
        steps = ["mkdir {M}/f && W fill {M}/f 1 134217728 && mv {M}/f/file000000 {M}/big && rmdir {M}/f",
                 "W fill {M}/small 2000 4096",
                 "mkdir {M}/tree && for i in $(seq 0 43); do W fill {M}/tree/d$i 41 100 & "
                 "[ $((i % 8)) != 7 ] || wait; done; wait",
                 "W fill {M}/dir10k 10000 0"]
        if any("100,000" in r[0] for r in rows):
            steps.append("W fill {M}/dir100k 100000 0")
        for s in steps:
            self.g.run(s.replace("W", WORK).replace("{M}", M), 900, check=True)
        self.umount()
        self.g.unload()

    def mount(self, more=None):
        self.g.run(f"mount -i -t ceph {SOURCE} {M} -o {OPTIONS}{',' + more if more else ''}", 90, check=True)

    def umount(self):
        self.g.run(f"! mountpoint -q {M} || umount {M}", 120, check=True)

    def text_ranges(self, client):
        """Where the text of the two modules lies: [(first, end)]."""
        ranges = []
        for name in ("libceph", "ceph"):
            at = int(self.g.out(f"awk '$1 == \"{name}\" {{ print $6 }}' /proc/modules").strip(), 16)
            ranges.append((at, at + self.text_size(client, name)))
        return ranges

    def text_size(self, client, name):
        """The size of a module's text, without what is freed after loading."""
        if client == "rust":
            path = f"{os.environ['LAB_MODULES']}/{name}.ko"
        else:
            path = f"/tmp/c-{name}.ko"
            sub = "net" if name == "libceph" else "fs"
            lab_module.sh(f"xz -dc /usr/lib/modules/{os.environ['LAB_VERSION']}/kernel/{sub}/ceph/{name}.ko.xz >{path}")
        size = 0
        for line in lab_module.sh(f"readelf -SW {path}").splitlines():
            w = line.replace("[ ", "[").split()
            if len(w) > 10 and w[0][0] == "[" and "X" in w[7] and not w[1].startswith(".init"):
                align = max(int(w[-1]), 1)
                size = (size + align - 1) // align * align + int(w[5], 16)
        return size

    def measure(self, row, ranges):
        """Does a row; gives (seconds, instructions of the modules, of the kernel)."""
        name, cold, work, _, _ = row
        if cold or name.startswith("mount"):
            self.umount()
        if cold:
            self.mount()
        epoch = self.change_map() if "incrementals" in name else 0
        before = self.counts.ends()
        out = self.g.out(f"{WORK} {work}", 300)
        if self.counts.ends() != before + 1:
            raise lab_module.GuestError(f"{name}: the plugin has not counted")
        seconds = float(out.split()[0])
        if epoch:
            # The osdmap file takes the C client minutes with so many OSDs.
            have = self.g.out("sed -n 's/^have osdmap //p' /sys/kernel/debug/ceph/*/monc")
            if int(have.split()[0]) < epoch:
                raise lab_module.GuestError(f"{name}: the client has osdmap {have.strip()}, not {epoch}")
        _, other, text, modules = self.counts.cells()
        shift = self.counts.shift
        ours = 0
        for first, end in ranges:
            a, b = ((x - profile_table.MODULES) >> shift for x in (first, end - 1))
            ours += sum(modules[a:b + 1])
        if self.profile:
            symbols = self.g.out("cat /proc/kallsyms", 60)
            say(profile_table.table(symbols, shift, text, modules, other))
        return seconds, ours, other + sum(text) + sum(modules)

    def big_map(self):
        """Makes the cluster's OSD map one of 10,000: so many in the tables and in the
        CRUSH map, of which one is up. (So the others have no addresses.)"""
        c, n = self.cluster, 10000
        c.mon("osd setmaxosd", newmax=n)
        d = c.dir
        c.ceph("osd", "getcrushmap", "-o", f"{d}/crush")
        lab_module.sh(f"crushtool -d {d}/crush -o {d}/crush.txt")
        with open(f"{d}/crush.txt") as f:
            text = f.read()
        # Hosts of 20 in racks of 20, beside the root that is used.
        devices = "".join(f"device {i} osd.{i}\n" for i in range(1, n))
        hosts = "".join(f"host h{h} {{ id {-1000 - h} alg straw2 hash 0\n" + "".join(
            f"item osd.{i} weight 1.0\n" for i in range(max(20 * h, 1), 20 * h + 20)) + "}\n"
            for h in range(n // 20))
        racks = "".join(f"rack r{r} {{ id {-3000 - r} alg straw2 hash 0\n" + "".join(
            f"item h{h} weight 20.0\n" for h in range(20 * r, 20 * r + 20)) + "}\n"
            for r in range(n // 400))
        root = "root many { id -4000 alg straw2 hash 0\n" + "".join(
            f"item r{r} weight 400.0\n" for r in range(n // 400)) + "}\n"
        text = text.replace("\n# types", devices + "\n# types", 1)
        text = text.replace("\n# rules", hosts + racks + root + "\n# rules", 1)
        with open(f"{d}/crush.txt", "w") as f:
            f.write(text)
        lab_module.sh(f"crushtool -c {d}/crush.txt -o {d}/crush.new")
        # Where anything lies does not change. (That the cluster has OSDs which do not
        # exist is an error in its health.)
        c.ceph("osd", "setcrushmap", "-i", f"{d}/crush.new")

    def change_map(self):
        """Some epochs more, which a mounted client hears of with its next read. Gives the
        last one."""
        # Now the client is up to date, and has a session with the OSD.
        self.g.run(f"{WORK} random {M}/big 1 1 1", 60, check=True)
        for i in range(MAP_CHANGES):
            self.cluster.mon("osd unset" if i % 2 else "osd set", key="nodeep-scrub")
        # The OSD tells it of the changes that it knows itself.
        newest = self.cluster.mon_json("osd stat")["epoch"]
        end = time.monotonic() + 30
        while json.loads(self.cluster.daemon("osd.0", "status"))["newest_map"] < newest:
            if time.monotonic() > end:
                raise lab_module.GuestError("the OSD is not told of new maps")
            time.sleep(0.2)
        return newest

    def memory(self, client):
        """KiB that the kernel has more of in use for a mount with this map, and when some
        incrementals were applied to it."""
        def used():
            self.g.run("echo 3 >/proc/sys/vm/drop_caches; sleep 1", check=True)
            return sum(int(x) for x in re.findall(r"^(?:Slab|VmallocUsed|Percpu): +(\d+)",
                                                  self.g.out("cat /proc/meminfo"), re.M))

        self.g.load(client)
        # What stays for good.
        self.mount()
        self.umount()
        before = used()
        self.mount()
        mounted = used() - before
        self.change_map()
        changed = used() - before
        self.umount()
        self.g.unload()
        return mounted, changed

    def round(self, client, rows):
        """All rows with one client: {name: measure}."""
        self.g.load(client)
        ranges = self.text_ranges(client)
        result = {}
        for row in rows:
            if self.profile:
                say(f"\n== {row[0]}: {'C' if client == 'c' else 'Rust'}")
            result[row[0]] = self.measure(row, ranges)
        self.umount()
        self.g.unload()
        return result


def ratio(mine, theirs):
    """Median of ours by median of theirs, and how far single rounds are from it."""
    r = statistics.median(mine) / statistics.median(theirs)
    each = [a / b for a, b in zip(mine, theirs)]
    return r, min(each), max(each)


def table(rows, c, rust):
    """The report as text."""
    lines = [f"{'':36} {'C: wall s':>9} {'modules':>8} {'kernel':>8}   "
             f"{'ratios, ours to C: wall':>24} {'modules (goal)':>22} {'kernel (goal)':>22}",
             f"{'':36} {'':>9} {'Minsn':>8} {'Minsn':>8}"]
    missed = 0
    for name, _, _, goal_m, goal_k in rows:
        cs, rs = [r[name] for r in c], [r[name] for r in rust]
        cells = []
        for i, goal in ((0, None), (1, goal_m), (2, goal_k)):
            r, low, high = ratio([x[i] for x in rs], [x[i] for x in cs])
            text = f"{r:.2f} [{low:.2f}-{high:.2f}]"
            if goal is not None:
                # As it is printed.
                miss = round(r, 2) > goal
                missed += miss
                text += f" ({goal}){'*' if miss else ' '}"
            cells.append(text)
        m = [statistics.median(x[i] for x in cs) for i in range(3)]
        lines.append(f"{name:36} {m[0]:9.3f} {m[1] / 1e6:8.2f} {m[2] / 1e6:8.1f}   "
                     f"{cells[0]:>24} {cells[1]:>22} {cells[2]:>22}")
    lines.append(f"{len(c)} rounds; medians [range]; * misses its goal: {missed}")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rows", default="")
    p.add_argument("--profile", action="store_true")
    p.add_argument("--client", choices=("c", "rust"), help="with --profile: only this one")
    a = p.parse_args()
    def chosen(all_rows):
        return [r for r in all_rows if any(x in r[0] for x in a.rows.split("|"))]

    rows, big_rows = chosen(ROWS), chosen(BIG_ROWS)
    b = Bench(a.profile)
    t0 = time.monotonic()
    b.start()
    say(f"{time.monotonic() - t0:8.1f} s  cluster and guest")
    t0 = time.monotonic()
    b.fill(rows)
    say(f"{time.monotonic() - t0:8.1f} s  content")
    results = {"c": [], "rust": []}
    for n in range(1 if a.profile else a.rounds):
        for client in [a.client] if a.profile and a.client else ("c", "rust"):
            t0 = time.monotonic()
            results[client].append(b.round(client, rows))
            say(f"{time.monotonic() - t0:8.1f} s  round {n + 1}, {client}")
    tables = []

    def show(rows_shown, c, rust):
        tables.append(table(rows_shown, c, rust))
        say(tables[-1])
        with open(os.path.join(b.lab.run, "table"), "w") as f:
            f.write("\n".join(tables) + "\n")

    if rows and not a.profile:
        show(rows, results["c"], results["rust"])
    if big_rows:
        b.big_map()
        big = {"c": [], "rust": []}
        for client in ("c", "rust") * (1 if a.profile else a.rounds):
            big[client].append(b.round(client, big_rows))
        if not a.profile:
            show(big_rows, big["c"], big["rust"])
            for client in ("c", "rust") * a.rounds:
                say("memory of a mount with 10,000 OSDs, and after incrementals, {}: {} and {} KiB".format(
                    "C" if client == "c" else "Rust", *b.memory(client)))
    splats = b.g.splats()
    if splats:
        say("the kernel complained: " + " | ".join(splats))
    b.lab.stop()
    return 1 if splats else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (lab_module.GuestError, subprocess.SubprocessError) as e:
        say(f"error: {e}")
        sys.exit(1)
