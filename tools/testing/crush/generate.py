#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""generate.py DIR: makes OSD maps that osdmaptool cannot make by itself.

osdmaptool and crushtool (which must be in PATH) make an empty map and compile
CRUSH maps; this script fills in pools, weights, states, affinities, temporary and
upmap entries, and the checksum. For each map NAME it writes NAME.map; for some also
NAME.before and NAME.inc, which together must give the same placement. Everything
follows from the seeds below: every run makes the same maps.
"""
import random
import struct
import subprocess
import sys

EXISTS, UP = 1, 2
NONE = 0x7FFFFFFF
REPLICATED, ERASURE = 1, 3
EC_OPTIMIZATIONS = 1 << 19
DEFAULT_ARGS = 7777777


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(data, crc=0xFFFFFFFF):
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def u8(n): return struct.pack("<B", n)
def u32(n): return struct.pack("<I", n & 0xFFFFFFFF)
def u64(n): return struct.pack("<Q", n & 0xFFFFFFFFFFFFFFFF)
def blob(b): return u32(len(b)) + b
def section(v, c, body): return u8(v) + u8(c) + blob(body)
def pgid(pg): return u8(1) + u64(pg[0]) + u32(pg[1]) + u32(-1)


def mapping(entries, key, value):
    return u32(len(entries)) + b"".join(
        key(k) + value(entries[k]) for k in sorted(entries))


def listing(value):
    return lambda items: u32(len(items)) + b"".join(value(i) for i in items)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        part = self.data[self.at:self.at + n]
        assert len(part) == n
        self.at += n
        return part

    def u8(self): return self.take(1)[0]
    def u32(self): return struct.unpack("<I", self.take(4))[0]
    def u64(self): return struct.unpack("<Q", self.take(8))[0]
    def blob(self): return self.take(self.u32())

    def section(self):
        v, c = self.u8(), self.u8()
        return v, c, self.blob()


def addrvec(osd):
    """A msgr2 and a legacy address."""
    def addr(kind, port):
        sock = struct.pack("<H", 2) + struct.pack(">H", port) + bytes(
            [10, osd >> 16 & 255, osd >> 8 & 255, osd & 255]) + bytes(8)
        return u8(1) + section(1, 1, u32(kind) + u32(osd + 1) + blob(sock))
    return u8(2) + u32(2) + addr(2, 6800) + addr(1, 6801)


class Map:
    """What of a map matters for placement; the rest is from a template."""

    def __init__(self, osds, crush, template):
        wrapper = Reader(template)
        _, _, body = wrapper.section()
        inner = Reader(body)
        _, _, client = inner.section()
        self.osd_section = inner.section()
        client = Reader(client)
        self.fsid = client.take(16)
        client.u32()
        self.times = client.take(16)
        assert client.u32() == 1
        client.u64()
        self.pool_version, self.pool_compat, self.pool = client.section()
        self.crush = crush
        self.pools = {}
        self.epoch = 10
        self.states = {i: EXISTS | UP for i in range(osds)}
        self.weights = {i: 0x10000 for i in range(osds)}
        self.affinities = {}
        self.pg_temp = {}
        self.primary_temp = {}
        self.upmap = {}
        self.upmap_items = {}
        self.upmap_primaries = {}

    def copy(self):
        other = object.__new__(Map)
        other.__dict__ = {k: (dict(v) if isinstance(v, dict) else v)
                          for k, v in self.__dict__.items()}
        return other

    def add_pool(self, pool, kind, size, rule, pg_num, pgp_num=None, hashpspool=True, nonprimary=0):
        """`nonprimary`: a mask of shards that cannot be the primary; other than 0 from Ceph 20 on."""
        self.pools[pool] = (kind, size, rule, pg_num, pgp_num or pg_num, hashpspool, nonprimary)

    def encode_pool(self, pool):
        kind, size, rule, pg_num, pgp_num, hashpspool, nonprimary = pool
        body = bytearray(self.pool)
        body[0:12] = bytes([kind, size, rule, 2]) + u32(pg_num) + u32(pgp_num)
        assert body[12 + 24:12 + 32] == bytes(8), "snapshots in the template"
        flags = 12 + 24 + 8 + 8
        body[flags:flags + 8] = u64(1 if hashpspool else 0)
        body[flags + 12] = 1
        if nonprimary:
            assert self.pool_version == 32 and body[-2:] == bytes(2) and nonprimary < 0x80
            body[flags:flags + 8] = u64(1 | EC_OPTIMIZATIONS)
            body[-2] = nonprimary
        return section(self.pool_version, self.pool_compat, bytes(body))

    def encode(self):
        n = len(self.states)
        client = self.fsid + u32(self.epoch) + self.times
        client += mapping(self.pools, u64, self.encode_pool)
        client += mapping({p: b"pool%d" % p for p in self.pools}, u64, blob)
        client += u32(max(self.pools)) + u32(0x188000) + u32(n)
        client += u32(n) + b"".join(u32(self.states[i]) for i in range(n))
        client += u32(n) + b"".join(u32(self.weights[i]) for i in range(n))
        client += u32(n) + b"".join(addrvec(i) for i in range(n))
        client += mapping(self.pg_temp, pgid, listing(u32))
        client += mapping(self.primary_temp, pgid, u32)
        if self.affinities:
            client += u32(n) + b"".join(
                u32(self.affinities.get(i, 0x10000)) for i in range(n))
        else:
            client += u32(0)
        client += blob(self.crush)
        client += u32(1) + blob(b"default") + u32(1) + blob(b"k") + blob(b"2")
        client += mapping(self.upmap, pgid, listing(u32))
        client += mapping(self.upmap_items, pgid, listing(lambda p: u32(p[0]) + u32(p[1])))
        client += u32(1)
        client += u32(1) + u64(1) + u32(1) + u64(5) + u64(6)  # new_removed_snaps
        client += u32(0)
        client += bytes(16)
        client += mapping(self.upmap_primaries, pgid, u32)
        body = section(10, 1, client) + section(*self.osd_section)
        head = u8(8) + u8(7) + u32(len(body) + 4) + body
        return head + u32(crc32c(head))

    def incremental(self, old):
        """What makes this map from `old`."""
        def new(mine, others):
            return {k: v for k, v in mine.items() if others.get(k) != v}

        def gone(mine, others):
            return sorted(k for k in others if k not in mine)

        def temp(mine, others, nothing):
            return {**new(mine, others), **{k: nothing for k in gone(mine, others)}}

        client = self.fsid + u32(self.epoch) + self.times[8:]
        client += u64(max(self.pools)) + u32(0x188000) + u32(0)
        client += blob(self.crush if self.crush != old.crush else b"")
        n = len(self.states)
        client += u32(n if n != len(old.states) else -1)
        client += mapping(new(self.pools, old.pools), u64, self.encode_pool)
        client += mapping({p: b"new%d" % p for p in new(self.pools, old.pools)}, u64, blob)
        client += listing(u64)(gone(self.pools, old.pools))
        up, state = {}, {}
        for i in range(n):
            before, after = old.states.get(i, 0), self.states[i]
            if after == EXISTS | UP and before != after:
                up[i] = i
            elif before != after:
                state[i] = before ^ after if after else EXISTS
        client += mapping(up, u32, addrvec)
        client += mapping(state, u32, u32)
        client += mapping(new(self.weights, old.weights), u32, u32)
        client += mapping(temp(self.pg_temp, old.pg_temp, []), pgid, listing(u32))
        client += mapping(temp(self.primary_temp, old.primary_temp, -1), pgid, u32)
        client += mapping(temp(self.affinities, old.affinities, 0x10000), u32, u32)
        client += u32(1) + blob(b"new") + u32(1) + blob(b"m") + blob(b"1")
        client += u32(1) + blob(b"old")
        client += mapping(new(self.upmap, old.upmap), pgid, listing(u32))
        client += listing(pgid)(gone(self.upmap, old.upmap))
        client += mapping(new(self.upmap_items, old.upmap_items), pgid,
                          listing(lambda p: u32(p[0]) + u32(p[1])))
        client += listing(pgid)(gone(self.upmap_items, old.upmap_items))
        client += u32(0) + u32(0) + bytes(16)
        client += mapping(new(self.upmap_primaries, old.upmap_primaries), pgid, u32)
        client += listing(pgid)(gone(self.upmap_primaries, old.upmap_primaries))
        return section(8, 7, section(9, 1, client))


MODERN = dict(choose_local_tries=0, choose_local_fallback_tries=0, choose_total_tries=50,
              chooseleaf_descend_once=1, chooseleaf_vary_r=1, chooseleaf_stable=1)
LEGACY = dict(choose_local_tries=2, choose_local_fallback_tries=5, choose_total_tries=19,
              chooseleaf_descend_once=0, chooseleaf_vary_r=0, chooseleaf_stable=0)


def crush_text(rng, osds, hosts, racks, algs=("straw2",) * 3, tunables=MODERN,
               weigh=True, classes=False, choose_args=False, msr=False):
    """A tree of racks, hosts and OSDs, and six rules for it, with `msr` five more."""
    out = [f"tunable {k} {v}" for k, v in tunables.items()]
    out += ["tunable straw_calc_version 1", "tunable allowed_bucket_algs 62"]
    for i in range(osds):
        out.append(f"device {i} osd.{i}" + (f" class {'ssd' if i % 3 else 'hdd'}" if classes else ""))
    out += ["type 0 osd", "type 1 host", "type 2 rack", "type 3 root"]
    rack_alg, host_alg, osd_alg = algs
    bucket_sizes = {}

    def bucket(kind, name, ident, alg, items):
        if alg == "uniform":
            mean = sum(w for _, w in items) / max(1, len(items))
            items = [(name, mean) for name, _ in items]
        total = sum(round(w, 3) for _, w in items)
        out.append(f"{kind} {name} {{\n\tid {ident}\n\talg {alg}\n\thash 0")
        out.extend(f"\titem {item} weight {w:.3f}" for item, w in items)
        out.append("}")
        bucket_sizes[ident] = len(items)
        return name, total

    ident = -2
    per_host = [[] for _ in range(hosts)]
    for i in range(osds):
        per_host[i % hosts].append((f"osd.{i}", rng.choice([0.5, 1, 1, 2, 4, 7.25]) if weigh else 1.0))
    per_rack = [[] for _ in range(racks)]
    for h, items in enumerate(per_host):
        per_rack[h % racks].append(bucket("host", f"host{h}", ident, osd_alg, items))
        ident -= 1
    top = []
    for r, items in enumerate(per_rack):
        top.append(bucket("rack", f"rack{r}", ident, host_alg, items))
        ident -= 1
    bucket("root", "default", -1, rack_alg, top)

    def rule(number, name, kind, *steps):
        out.append(f"rule {name} {{\n\tid {number}\n\ttype {kind}")
        out.extend(f"\tstep {step}" for step in steps)
        out.append("\tstep emit\n}")

    take = "take default class ssd" if classes else "take default"
    rule(0, "hosts", "replicated", take, "chooseleaf firstn 0 type host")
    rule(1, "osds", "replicated", take, "choose firstn 0 type osd")
    rule(2, "racks", "replicated", take, "choose firstn 2 type rack",
         "chooseleaf firstn 2 type host")
    rule(3, "ec-hosts", "erasure", "set_chooseleaf_tries 5", "set_choose_tries 100", take,
         "chooseleaf indep 0 type host")
    rule(4, "ec-racks", "erasure", take, "choose indep 3 type rack", "choose indep 2 type osd")
    rule(5, "tuned", "replicated", "set_choose_local_tries 3",
         "set_choose_local_fallback_tries 2", "set_chooseleaf_vary_r 2",
         "set_chooseleaf_stable 0", take, "chooseleaf firstn -1 type rack", "emit",
         "take rack0", "choose firstn 1 type osd")

    if msr:
        rule(6, "msr-hosts", "msr_firstn", take, "choosemsr 0 type host", "choosemsr 1 type osd")
        rule(7, "msr-osds", "msr_indep", "set_msr_collision_tries 3", take, "choosemsr 3 type rack",
             "choosemsr 2 type osd")
        rule(8, "msr-deep", "msr_indep", "set_msr_descents 4", take, "choosemsr 4 type rack",
             "choosemsr 2 type host", "choosemsr 2 type osd")
        rule(9, "msr-blocks", "msr_firstn", "take rack0", "choosemsr 2 type host",
             "choosemsr 1 type osd", "emit", "take rack1", "choosemsr 4 type osd")
        rule(10, "msr-few", "msr_indep", take, "choosemsr 3 type host", "choosemsr 5 type osd")

    if choose_args:
        for index in choose_args:
            out.append(f"choose_args {index} {{")
            for ident, size in sorted(bucket_sizes.items(), reverse=True):
                if not size or rng.random() < 0.3:
                    continue
                sets = "\n".join("      [ " + " ".join(
                    f"{rng.choice([0.25, 1, 2, 3]):.3f}" for _ in range(size)) + " ]"
                    for _ in range(rng.choice([1, 2, 3])))
                ids = ""
                if rng.random() < 0.5:
                    ids = "    ids [ " + " ".join(
                        str(-1000 - rng.randrange(1000)) for _ in range(size)) + " ]\n"
                out.append(f"  {{\n    bucket_id {ident}\n    weight_set [\n{sets}\n    ]\n{ids}  }}")
            out.append("}")
    return "\n".join(out) + "\n"


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout.decode()}")


def build(directory, name, osds, hosts, racks, seed, pg_num=64, **crush):
    rng = random.Random(seed)
    base = f"{directory}/{name}"
    with open(base + ".crush.txt", "w") as file:
        file.write(crush_text(rng, osds, hosts, racks, **crush))
    run("crushtool", "-c", base + ".crush.txt", "-o", base + ".crush", "--enable-unsafe-tunables")
    run("osdmaptool", "--createsimple", str(osds), base + ".template", "--clobber",
        "--with-default-pool")
    with open(base + ".crush", "rb") as c, open(base + ".template", "rb") as t:
        # crushtool has no word for "all pools", which is -1.
        made = Map(osds, c.read().replace(u64(DEFAULT_ARGS), u64(-1)), t.read())
    made.add_pool(1, REPLICATED, 3, 0, pg_num)
    made.add_pool(2, REPLICATED, 2, 1, pg_num + 13, pg_num // 2 + 1)
    made.add_pool(3, ERASURE, 6, 3, pg_num)
    made.add_pool(5, REPLICATED, 4, 2, pg_num // 2 + 3, hashpspool=False)
    made.add_pool(9, ERASURE, 6, 4, pg_num)
    made.add_pool(12, REPLICATED, 3, 5, pg_num)
    if crush.get("msr"):
        made.add_pool(20, REPLICATED, 3, 6, pg_num)
        made.add_pool(21, ERASURE, 6, 7, pg_num)
        made.add_pool(22, ERASURE, 11, 8, pg_num)
        made.add_pool(23, REPLICATED, 5, 9, pg_num)
        made.add_pool(24, ERASURE, 14, 10, pg_num)
        # 4+2 and 2+3 shards.
        made.add_pool(25, ERASURE, 6, 3, pg_num, nonprimary=0b001110)
        made.add_pool(26, ERASURE, 5, 8, pg_num, nonprimary=0b00010)
    return made, rng


def groups(made, rng, share):
    return [((pool, seed), spec) for pool, spec in made.pools.items()
            for seed in range(spec[3]) if rng.random() < share]


def reweight(made, rng):
    for i in made.weights:
        made.weights[i] = rng.choice([0x10000] * 5 + [0, 0x4000, 0x8000, 0xFFFF])


def fail(made, rng):
    for i in made.states:
        made.states[i] = rng.choice([EXISTS | UP] * 8 + [EXISTS, 0])


def lessen(made, rng):
    made.affinities = {i: rng.choice([0, 0x2000, 0x8000]) for i in made.states
                       if rng.random() < 0.5}


def upmap(made, rng):
    osds = list(made.states)
    for pg, spec in groups(made, rng, 0.1):
        made.upmap[pg] = rng.sample(osds, min(spec[1], len(osds)))
    for pg, spec in groups(made, rng, 0.3):
        made.upmap_items[pg] = [tuple(rng.sample(osds, 2)) for _ in range(rng.choice([1, 3, 8]))]
    for pg, _ in groups(made, rng, 0.2):
        if made.pools[pg[0]][0] == REPLICATED:
            made.upmap_primaries[pg] = rng.choice(osds)


def temporary(made, rng):
    osds = list(made.states)
    for pg, spec in groups(made, rng, 0.15):
        chosen = rng.sample(osds, min(spec[1], len(osds)))
        if spec[0] == ERASURE and rng.random() < 0.5:
            chosen[rng.randrange(len(chosen))] = NONE
        made.pg_temp[pg] = chosen
    for pg, _ in groups(made, rng, 0.1):
        made.primary_temp[pg] = rng.choice(osds)


def everything(made, rng):
    for change in (reweight, fail, lessen, upmap, temporary):
        change(made, rng)


ALGS = ("uniform", "list", "tree", "straw", "straw2")


def main(directory, msr):
    count = 0

    def write(name, made, before=None):
        nonlocal count
        count += 1
        # OSDs that osdmaptool would refuse as primaries are not what is tested.
        made.primary_temp = {pg: osd for pg, osd in made.primary_temp.items()
                             if made.states[osd] == EXISTS | UP}
        with open(f"{directory}/{name}.map", "wb") as file:
            file.write(made.encode())
        if before is not None:
            before.epoch = made.epoch - 1
            with open(f"{directory}/{name}.before", "wb") as file:
                file.write(before.encode())
            with open(f"{directory}/{name}.inc", "wb") as file:
                file.write(made.incremental(before))

    seed = 0
    for alg in ALGS:
        for tunables, kind in ((MODERN, "modern"), (LEGACY, "legacy")):
            seed += 1
            made, rng = build(directory, f"{alg}-{kind}", 40, 12, 4, seed,
                              algs=(alg,) * 3, tunables=tunables)
            reweight(made, rng)
            write(f"{alg}-{kind}", made)
    changes = dict(reweight=reweight, fail=fail, affinity=lessen, upmap=upmap, temp=temporary,
                   everything=everything)
    for name, change in changes.items():
        seed += 1
        before, rng = build(directory, name, 60, 15, 5, seed)
        made = before.copy()
        change(made, rng)
        write(name, made, before)
    seed += 1
    before, rng = build(directory, "undo", 60, 15, 5, seed)
    made = before.copy()
    everything(before, rng)
    del made.pools[9]
    made.add_pool(14, REPLICATED, 5, 1, 100)
    write("undo", made, before)
    for name, options in dict(
            classes=dict(osds=50, hosts=25, racks=5, classes=True),
            mixed=dict(osds=90, hosts=30, racks=6, algs=("list", "straw2", "uniform")),
            argonaut=dict(osds=90, hosts=30, racks=6, algs=("straw", "tree", "list"),
                          tunables=dict(LEGACY, chooseleaf_vary_r=4, chooseleaf_descend_once=1)),
            choose_args=dict(osds=60, hosts=20, racks=5, choose_args=(1, 2, 3)),
            choose_args_default=dict(osds=60, hosts=20, racks=5, choose_args=(DEFAULT_ARGS,)),
            scarce=dict(osds=7, hosts=3, racks=2),
            large=dict(osds=2000, hosts=100, racks=10, pg_num=512, choose_args=(1,)),
            flat=dict(osds=1500, hosts=2, racks=1, pg_num=256)).items():
        seed += 1
        made, rng = build(directory, name, seed=seed, **options)
        everything(made, rng)
        write(name, made)
    # Rules of Ceph 19 and later, where the tools know them.
    for name, options in dict(
            msr=dict(osds=60, hosts=15, racks=5),
            msr_scarce=dict(osds=12, hosts=5, racks=3),
            msr_classes=dict(osds=60, hosts=12, racks=4, classes=True),
            msr_tunables=dict(osds=40, hosts=9, racks=4, algs=("uniform", "list", "tree"),
                              tunables=dict(MODERN, msr_descents=3, msr_collision_tries=2)),
            msr_straw=dict(osds=60, hosts=12, racks=4, algs=("straw", "straw2", "straw")),
            msr_choose_args=dict(osds=60, hosts=20, racks=5, choose_args=(20, 21, 22))).items() if msr else ():
        seed += 1
        made, rng = build(directory, name, seed=seed, msr=True, **options)
        write(f"{name}_healthy", made)
        everything(made, rng)
        write(name, made)
    print(count)


main(sys.argv[1], "msr" in sys.argv[2:])
