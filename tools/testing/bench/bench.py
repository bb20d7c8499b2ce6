# SPDX-License-Identifier: GPL-2.0
"""The C client and ours, by turns, in one guest boot on one cluster (run by bench.sh).

For each row: seconds; instructions in the client's two modules; instructions of the
whole kernel, theirs included. The instructions are counted by a QEMU plugin (insn.c)
between two moments that the workload itself marks (work.c). Where a row is cold, the
file system is mounted afresh before it. Where it asks and is answered in a known way, the
same bytes over a bare socket say what the network alone costs.

Then fio's operations per second, in a guest without the plugin, and the size of the
modules' text."""

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
import typing

import floor
import lab as lab_module
import profile_table

HERE = os.path.dirname(os.path.abspath(__file__))
M = "/mnt/ceph"
OPTIONS = "mon_addr=$MON,name=user,secret=$SECRET,ms_mode=crc"
SOURCE = "user@$FSID.cephfs=/"
WORK = "/lab/run/work"
MIB = 1 << 20


class Row(typing.NamedTuple):
    """A workload, and what it may cost: ratios to the C client's instructions, of the
    modules and of the whole kernel."""

    name: str
    # Mounted afresh before it.
    cold: bool
    # Arguments of work.c.
    work: str
    modules: float
    kernel: float
    # What it asks and what it is answered: arguments of `work tcp`, COUNT DEPTH ASK ANSWER.
    floor: str = ""


# Of these, the first counts one mount, the second one read after which the client has
# taken in MAP_CHANGES incremental maps.
BIG_ROWS = [
    Row("mount, osdmap of 10,000 OSDs", False, f"mount {SOURCE} {M} {OPTIONS} 1", 0.92, 0.93),
    Row("osdmap of 10,000: 20 incrementals", True, f"random {M}/big 1 1 1", 0.97, 1.31),
]
MAP_CHANGES = 20

ROWS = [
    Row("mount + umount, 20 times", False, f"mount {SOURCE} {M} {OPTIONS} 20", 1.0, 0.9),
    Row("sequential read 128 MiB, cold", True, f"read {M}/big {MIB} 0", 0.09, 0.31, f"1 1 250 {128 * MIB}"),
    Row("sequential read 128 MiB, O_DIRECT", True, f"read {M}/big {MIB} 1", 0.16, 0.5, f"1 1 250 {128 * MIB}"),
    Row("random read 4 KiB, depth 1, 1,000", True, f"random {M}/big 1 1000 1", 0.6, 0.6, "1000 1 250 4096"),
    Row("random read 4 KiB, depth 16, 4,000", True, f"random {M}/big 16 4000 1", 0.6, 0.6, "4000 16 250 4096"),
    Row("random read 4 KiB, buffered, 1,000", True, f"random {M}/big 1 1000 0", 0.77, 0.82, "1000 1 250 4096"),
    Row("stat 2,000, cold", True, f"stat 0 {M}/small 2000", 0.7, 0.77),
    Row("stat 2,000, warm", True, f"stat 1 {M}/small 2000", 0.28, 0.65),
    Row("open 2,000, warm", True, f"open 1 {M}/small 2000", 0.42, 0.64),
    Row("readdir of 10,000, cold", True, f"list 0 {M}/dir10k 0", 0.56, 0.76),
    Row("readdir of 10,000, warm", True, f"list 1 {M}/dir10k 0", 0.19, 0.35),
    Row("ls -l of 10,000, cold", True, f"run 0 ls -lU {M}/dir10k", 0.4, 0.68),
    Row("ls -l of 10,000, warm", True, f"run 1 ls -lU {M}/dir10k", 0.23, 0.61),
    Row("readdir of 100,000, cold", True, f"list 0 {M}/dir100k 0", 0.56, 0.75),
    Row("ls -l of 100,000, cold", True, f"run 0 ls -lU {M}/dir100k", 0.4, 0.67),
    Row("statfs 1,000", True, f"statfs {M} 1000", 0.6, 0.6, "1000 1 250 200"),
    Row("small files, 2,000 of 4 KiB, cold", True, f"small {M}/small 2000", 0.71, 0.76),
    Row("find in a tree of 1,844, cold", True, f"run 0 find {M}/tree -newer {M}/big", 0.56, 0.83),
]


class Wall(typing.NamedTuple):
    """A workload whose operations per second count: 4 KiB reads at random places of a file
    by fio, O_DIRECT."""

    name: str
    # Arguments of fio.
    work: str


WALL_SECONDS = 5
WALL_GOAL = 1.1
WALL_ROWS = [Wall(f"fio, depth {n}", f"--ioengine=libaio --iodepth={n}") for n in (1, 4, 16, 64)]
WALL_ROWS.append(Wall("fio, 8 tasks", "--ioengine=psync --numjobs=8 --group_reporting"))

# Of both modules together; at most the C client's.
SIZE_ROW = "size of the text"
SIZE_GOAL = 1.0

# Less than this is no difference: counts repeat within 1 %, and goals have two digits.
NOISE = 0.02


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
        self.plugin = os.path.join(self.lab.run, "insn.so")
        self.profile = profile
        self.g = None
        self.splats = []

    def start(self):
        t0 = time.monotonic()
        gcc = "x86_64-linux-gnu-gcc-14"
        lab_module.sh(f"{gcc} -O2 -shared -fPIC -Wall -o {self.plugin} {HERE}/insn.c && "
                      f"{gcc} -O2 -static -Wall -o {self.lab.run}/work {HERE}/work.c")
        self.cluster = self.lab.cluster(osds=1, mds=1)
        say(f"{time.monotonic() - t0:8.1f} s  cluster")

    def boot(self, plugin):
        """A guest, in place of the one before; its instructions are counted, or it runs as
        fast as it can."""
        t0 = time.monotonic()
        self.end_guest()
        grain = 4 if self.profile else 12
        self.g = self.lab.guest(plugin=f"{self.plugin},map={self.counts.path},grain={grain}" if plugin else None)
        if plugin:
            self.counts.open()
        self.g.put("work", f"{self.lab.run}/work")
        self.g.run(f"chmod 755 {WORK}; mkdir -p {M}", check=True)
        say(f"{time.monotonic() - t0:8.1f} s  guest")

    def end_guest(self):
        if self.g:
            self.splats += self.g.splats()
            self.g.stop()
            self.g = None

    def fill(self, rows):
        """Makes what the rows read, by the C client, the fastest there is."""
        t0 = time.monotonic()
        self.g.load("c")
        self.mount("nowsync")
        steps = {
            "big": "mkdir {M}/f && W fill {M}/f 1 134217728 && mv {M}/f/file000000 {M}/big && rmdir {M}/f",
            "small": "W fill {M}/small 2000 4096",
            "tree": "mkdir {M}/tree && for i in $(seq 0 43); do W fill {M}/tree/d$i 41 100 & "
                    "[ $((i % 8)) != 7 ] || wait; done; wait",
            "dir10k": "W fill {M}/dir10k 10000 0",
            "dir100k": "W fill {M}/dir100k 100000 0",
        }
        for name, step in steps.items():
            if name == "big" or any(re.search(rf"{M}/{name}\b", row.work) for row in rows):
                self.g.run(step.replace("W", WORK).replace("{M}", M), 900, check=True)
        self.umount()
        self.g.unload()
        say(f"{time.monotonic() - t0:8.1f} s  content")

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
        path = module(client, name)
        size = 0
        for line in lab_module.sh(f"readelf -SW {path}").splitlines():
            w = line.replace("[ ", "[").split()
            if len(w) > 10 and w[0][0] == "[" and "X" in w[7] and not w[1].startswith(".init"):
                align = max(int(w[-1]), 1)
                size = (size + align - 1) // align * align + int(w[5], 16)
        return size

    def count(self, work):
        """Runs work.c; gives its seconds. The plugin has counted then."""
        before = self.counts.ends()
        out = self.g.out(f"{WORK} {work}", 300)
        if self.counts.ends() != before + 1:
            raise lab_module.GuestError(f"{work}: the plugin has not counted")
        return float(out.split()[0])

    def kernel_only(self, work):
        """Instructions of the kernel for what has to do with no client."""
        self.count(work)
        _, other, text, modules = self.counts.cells()
        return other + sum(text) + sum(modules)

    def floors(self, rows, rounds):
        """What the network alone costs for rows, in instructions of the kernel, less what
        goes on anyway; and that: ({row.floor: instructions}, instructions)."""
        address = self.cluster.mon_ip("a")
        port = floor.serve(address)

        def median(work):
            return statistics.median(self.kernel_only(work) for _ in range(max(rounds, 3)))

        idle = median("idle")
        return {what: median(f"tcp {address} {port} {what}") - idle
                for what in {row.floor for row in rows if row.floor}}, idle

    def measure(self, row, ranges):
        """Does a row; gives (seconds, instructions of the modules, of the kernel)."""
        name = row.name
        if row.cold or name.startswith("mount"):
            self.umount()
        if row.cold:
            self.mount()
        epoch = self.change_map() if "incrementals" in name else 0
        seconds = self.count(row.work)
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
                say(f"\n== {row.name}: {'C' if client == 'c' else 'Rust'}")
            result[row.name] = self.measure(row, ranges)
        self.umount()
        self.g.unload()
        return result

    def wall_round(self, client, rows):
        """fio with one client: {name: (operations per second, context switches of the
        whole guest for each)}."""
        def switches():
            return int(self.g.out("sed -n 's/^ctxt //p' /proc/stat"))

        self.g.load(client)
        self.mount()
        result = {}
        for row in rows:
            before = switches()
            out = self.g.out(f"fio --name=x --filename={M}/big --readonly --rw=randread --norandommap --bs=4k "
                             f"--direct=1 --time_based --runtime={WALL_SECONDS} --output-format=json {row.work}", 120)
            read = json.loads(out[out.index("{"):])["jobs"][0]["read"]
            result[row.name] = read["iops"], (switches() - before) / read["total_ios"]
        self.umount()
        self.g.unload()
        return result


def module(client, name):
    """A module's file."""
    if client == "rust":
        return f"{os.environ['LAB_MODULES']}/{name}.ko"
    path = f"/tmp/c-{name}.ko"
    sub = "net" if name == "libceph" else "fs"
    lab_module.sh(f"xz -dc /usr/lib/modules/{os.environ['LAB_VERSION']}/kernel/{sub}/ceph/{name}.ko.xz >{path}")
    return path


def sizes():
    """The text of the modules as size(1) has it, with constants and tables: the report."""
    lines, both = [f"{'':36} {'C: bytes':>9} {'ours':>9}   {'ratio (goal)':>14}"], {"c": 0, "rust": 0}

    def line(name, c, rust, goal=None):
        r = rust / c
        text = f"{r:.2f}" + (f" ({goal}){'*' if round(r, 2) > goal else ' '}" if goal else "       ")
        lines.append(f"{name:36} {c:9} {rust:9}   {text:>14}")

    for name in ("libceph", "ceph"):
        size = {}
        for client in ("c", "rust"):
            out = lab_module.sh(f"size {module(client, name)} | tail -n 1")
            size[client] = int(out.split()[0])
            both[client] += size[client]
        line(f"{SIZE_ROW}, {name}.ko", size["c"], size["rust"])
    line(f"{SIZE_ROW}, both", both["c"], both["rust"], SIZE_GOAL)
    return "\n".join(lines)


def wall_table(rows, c, rust):
    """The report of wall_round() as text."""
    lines = [f"{'':36} {'C: per s':>9} {'ours':>9}   {'ratio (goal)':>22} {'switches for each: C':>22} {'ours':>6}"]
    missed = 0
    for row in rows:
        cs, rs = [r[row.name] for r in c], [r[row.name] for r in rust]
        r, low, high = ratio([x[0] for x in rs], [x[0] for x in cs])
        miss = round(r, 2) < WALL_GOAL
        missed += miss
        text = f"{r:.2f} [{low:.2f}-{high:.2f}] ({WALL_GOAL}){'*' if miss else ' '}"
        m = [statistics.median(x[i] for x in who) for i in range(2) for who in (cs, rs)]
        lines.append(f"{row.name:36} {m[0]:9.0f} {m[1]:9.0f}   {text:>22} {m[2]:22.1f} {m[3]:6.1f}")
    lines.append(f"{len(c)} rounds; medians [range]; * misses its goal: {missed}")
    return "\n".join(lines)


def ratio(mine, theirs):
    """Median of ours by median of theirs, and how far single rounds are from it."""
    r = statistics.median(mine) / statistics.median(theirs)
    each = [a / b for a, b in zip(mine, theirs)]
    return r, min(each), max(each)


def table(rows, c, rust, floors=None, idle=0):
    """The report as text."""
    lines = [f"{'':36} {'C: wall s':>9} {'modules':>8} {'kernel':>8}   "
             f"{'ratios, ours to C: wall':>24} {'modules (goal)':>22} {'kernel (goal)':>22} "
             f"{'floor':>8} {'C':>5} {'ours':>5}",
             f"{'':36} {'':>9} {'Minsn':>8} {'Minsn':>8} {'':73} {'Minsn':>8} {'times the floor':>11}"]
    missed = 0
    for row in rows:
        cs, rs = [r[row.name] for r in c], [r[row.name] for r in rust]
        cells = []
        for i, goal in ((0, None), (1, row.modules), (2, row.kernel)):
            r, low, high = ratio([x[i] for x in rs], [x[i] for x in cs])
            text = f"{r:.2f} [{low:.2f}-{high:.2f}]"
            if goal is not None:
                miss = round(r - goal, 4) > NOISE
                missed += miss
                text += f" ({goal}){'*' if miss else ' '}"
            cells.append(text)
        m = [statistics.median(x[i] for x in cs) for i in range(3)]
        if row.floor:
            least = floors[row.floor]
            cells += [f"{least / 1e6:8.1f}"] + [
                f"{(statistics.median(x[2] for x in who) - idle) / least:5.2f}" for who in (cs, rs)]
        lines.append(f"{row.name:36} {m[0]:9.3f} {m[1] / 1e6:8.2f} {m[2] / 1e6:8.1f}   "
                     f"{cells[0]:>24} {cells[1]:>22} {cells[2]:>22} {' '.join(cells[3:])}".rstrip())
    if floors:
        lines.append(f"Floor: the same bytes over a bare socket, less {idle / 1e6:.1f} Minsn of an idle guest.")
    lines.append(f"{len(c)} rounds; medians [range]; * misses its goal: {missed}")
    return "\n".join(lines)


class Report:
    """Tables, shown as they come and kept in the run's folder."""

    def __init__(self):
        self.tables = []

    def add(self, text):
        self.tables.append(text)
        say(text)
        with open(os.path.join(os.environ["LAB_RUN"], "table"), "w") as f:
            f.write("\n".join(self.tables) + "\n")


def by_turns(rounds, one_round):
    """What one_round(client) gives, in turns: {client: [result of each round]}."""
    results = {"c": [], "rust": []}
    for n in range(rounds):
        for client, all_rounds in results.items():
            t0 = time.monotonic()
            all_rounds.append(one_round(client))
            say(f"{time.monotonic() - t0:8.1f} s  round {n + 1}, {client}")
    return results


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rows", default="")
    p.add_argument("--profile", action="store_true")
    p.add_argument("--client", choices=("c", "rust"), help="with --profile: only this one")
    a = p.parse_args()

    def is_chosen(name):
        return any(x in name for x in a.rows.split("|"))

    rows, big_rows, wall_rows = ([r for r in all_rows if is_chosen(r.name)] for all_rows in (ROWS, BIG_ROWS, WALL_ROWS))
    report = Report()
    if a.profile:
        wall_rows = []
    elif is_chosen(SIZE_ROW):
        report.add(sizes())
    if not rows + big_rows + wall_rows:
        return 0
    b = Bench(a.profile)
    b.start()
    if wall_rows:
        b.boot(plugin=False)
        b.fill(rows)
        report.add(wall_table(wall_rows, **by_turns(a.rounds, lambda client: b.wall_round(client, wall_rows))))
    if rows + big_rows:
        b.boot(plugin=True)
        if not wall_rows:
            b.fill(rows)
    if a.profile:
        clients = [a.client] if a.client else ["c", "rust"]
        for client in clients if rows else ():
            b.round(client, rows)
        if big_rows:
            b.big_map()
            for client in clients:
                b.round(client, big_rows)
    else:
        if rows:
            floors, idle = b.floors(rows, a.rounds)
            report.add(table(rows, **by_turns(a.rounds, lambda client: b.round(client, rows)), floors=floors, idle=idle))
        if big_rows:
            b.big_map()
            report.add(table(big_rows, **by_turns(a.rounds, lambda client: b.round(client, big_rows))))
            for client in ("c", "rust") * a.rounds:
                report.add("memory of a mount with 10,000 OSDs, and after incrementals, {}: {} and {} KiB".format(
                    "C" if client == "c" else "Rust", *b.memory(client)))
    b.end_guest()
    if b.splats:
        say("the kernel complained: " + " | ".join(b.splats))
    b.lab.stop()
    return 1 if b.splats else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (lab_module.GuestError, subprocess.SubprocessError) as e:
        say(f"error: {e}")
        sys.exit(1)
