# SPDX-License-Identifier: GPL-2.0
"""Runs the faults of faults.py (see run.sh). Each begins with a healthy cluster and
ends with one; readers (reader.py) run in every guest from before it until after it."""

import argparse
import json
import os
import re
import sys
import threading
import time

import cluster as cluster_module
import faults
import fill
import lab as lab_module

M = "/mnt/ceph"
HERE = "/lab/src/tools/testing"
WAYS = ("data", "meta", "held", "mapped", "direct", "statfs")
SLOW = lab_module.SLOW


class Failed(Exception):
    """What a fault brought to light."""


class Skipped(Exception):
    """Why a fault cannot be tried."""


class Side:
    """One guest with one client, and the readers in it."""

    def __init__(self, lab, index, client, seed):
        self.lab, self.client, self.seed = lab, client, seed
        self.g = lab_module.Guest(lab, f"g{index}", index, memory=3072 if SLOW > 1 else 1536,
                                  kernel_args="kunit.enable=0 log_buf_len=8M")
        self.job = self.error = self.mark = None

    def prepare(self, cluster, manifest):
        self.g.use_cluster(cluster)
        self.g.put("manifest.json", manifest)
        # What the kernel lost before is not ours.
        self.g.leaks()
        self.mark = self.g.mark()
        self.g.load(self.client)
        self.g.run(f"mkdir -p {M}; modprobe sch_netem", check=True)

    def mount(self, options=""):
        """None, or why it cannot be mounted."""
        r = self.g.run(f"mount -t ceph user@$FSID.cephfs=/ {M} -o mon_addr=$MONS,secret=$SECRET,"
                       f"ms_mode=crc{',' if options else ''}{options}", 120)
        return r.out.strip() if r.status else None

    def umount(self):
        self.g.run(f"! grep -q ' {M} ceph' /proc/mounts || umount {M} || umount -l {M}", 120, check=True)

    def read(self):
        self.g.run("rm -f /lab/run/stop", check=True)
        self.job = self.g.spawn(f"exec python3 {HERE}/faults/reader.py {M} /lab/run/manifest.json /lab/run/stop "
                                f"{self.seed}")
        self.progress(3, 60)

    def counts(self):
        lines = [x.split() for x in self.job.output().splitlines() if re.fullmatch(r"[\d ]+", x)]
        lines = [x for x in lines if len(x) == len(WAYS)]
        return [int(x) for x in lines[-1]] if lines else [0] * len(WAYS)

    def progress(self, n, timeout):
        """Waits until every reader has succeeded `n` times more."""
        before, end = self.counts(), time.monotonic() + timeout * SLOW
        while True:
            late = [w for w, a, b in zip(WAYS, before, self.counts()) if b - a < n]
            if not late:
                return
            if self.job.finished() or time.monotonic() > end:
                raise Failed(f"{self.client}: no progress within {timeout} s: {', '.join(late)}: "
                             f"{self.stuck()}")
            time.sleep(0.3)

    def stuck(self):
        """What the client and the kernel say while something does not go on."""
        d = "/sys/kernel/debug/ceph/*"
        return self.g.run(f"for f in {d}/osdc {d}/mdsc {d}/monc {d}/mds_sessions {d}/waiting; do "
                          "[ -e $f ] && echo \"-- $f\" && head -20 $f; done; "
                          "for p in $(pgrep -f reader.py); do echo \"-- $p\"; cat /proc/$p/stack; done",
                          20).out[-3000:]

    def stop(self):
        """Ends the readers; what they say."""
        with open(f"{self.g.dir}/stop", "w"):
            pass
        r = self.job.wait(120)
        line = r.out.strip().splitlines()[-1]
        if r.status or not line.startswith("{"):
            raise Failed(f"{self.client}: the readers ended with {r.status}: {r.out[-1500:]}")
        return json.loads(line)

    def quiet(self):
        """Nothing is under way any more, or what is, after ten seconds."""
        end = time.monotonic() + 10 * SLOW
        while True:
            left = []
            for f in ("osdc", "mdsc", "monc"):
                text = self.g.out(f"cat /sys/kernel/debug/ceph/*/{f}")
                if f == "osdc":
                    left += re.findall(r"^REQUESTS (?!0 homeless 0).*$", text, re.M)
                else:
                    left += re.findall(r"^\d+\s.*$", text, re.M)
            if not left:
                return None
            if time.monotonic() > end:
                return "; ".join(left)
            time.sleep(0.5)

    def monitor(self):
        """The address of the monitor that the client talks to."""
        out = self.g.out("ss -tnH state established '( dport = :3300 )'")
        found = re.findall(r"(10\.77\.0\.\d+):3300", out)
        return found[0] if found else None

    def gid(self):
        """How the servers call this client."""
        out = self.g.out("cat /sys/kernel/debug/ceph/*/mds_sessions")
        return re.search(r"global_id (\d+)", out).group(1)


class Context:
    """What a fault works with."""

    def __init__(self, a):
        self.quick, self.beside, self.seed = a.quick, a.beside, a.seed
        self.lab = lab_module.Lab()
        self.cluster = None
        self.sides = []
        self.manifest = None
        # Of a slow guest the clock may lag; a ticket must not expire before it is renewed.
        self.ttl = 60 * SLOW

    def boot(self):
        failed = []
        clients = ["rust"] + ([self.beside] if self.beside else [])
        self.sides = [Side(self.lab, i, c, self.seed) for i, c in enumerate(clients)]

        def guest(side):
            try:
                self.lab.guests.append(side.g)
                side.g.start()
            except Exception as e:
                failed.append(e)
        threads = [threading.Thread(target=guest, args=(s,)) for s in self.sides]
        for th in threads:
            th.start()
        self.cluster = self.lab.cluster(mons=3, osds=3, mds=3, store="bluestore", size=2, ttl=self.ttl,
                                        conf={
                                            "mds_beacon_grace": 10, "mon_osd_min_down_reporters": 1,
                                            "mon_osd_reporter_subtree_level": "osd",
                                            # After some faults the monitors would take a stopped OSD
                                            # for a slow one for minutes.
                                            "mon_osd_adjust_heartbeat_grace": "false",
                                            "mon_warn_on_legacy_crush_tunables": "false",
                                            "mon_warn_on_crush_straw_calc_version_zero": "false"})
        self.cluster.mon("fs set", fs_name="cephfs", var="max_mds", val="2")
        self.manifest = fill.fill(self.cluster, "demo", self.lab.run)
        with self.cluster.fuse("/tmp/pin") as f:
            for i in range(0, 10, 2):
                os.setxattr(f"{f.path}/tree/d{i}", "ceph.dir.pin", b"1")
        self.healthy()
        for th in threads:
            th.join()
        if failed:
            raise failed[0]
        for s in self.sides:
            s.prepare(self.cluster, self.manifest)

    # For faults.

    def say(self, text):
        print(f"#   {text}", flush=True)

    def skip(self, text):
        raise Skipped(text)

    def fail(self, text):
        raise Failed(text)

    def ranks(self):
        """The states of the file system's ranks, and the daemons that have them."""
        up = sorted(self.cluster.mon_json("status")["fsmap"]["by_rank"], key=lambda x: x["rank"])
        return [x["status"] for x in up], ["mds." + x["name"] for x in up]

    def wait(self, what, f, timeout=60):
        timeout *= lab_module.PATIENCE
        end = time.monotonic() + timeout
        while not f():
            if time.monotonic() > end:
                raise Failed(f"the cluster: not within {timeout} s: {what}")
            time.sleep(0.3)

    def healthy(self):
        """All daemons run, both ranks are active, all PGs are clean."""
        self.cluster.run_all()
        self.wait("two active ranks", lambda: self.ranks()[0] == ["up:active"] * 2, 90)
        self.cluster.wait_health()

    def each(self, f):
        """Calls f(side) for every guest at the same time."""
        failed = []

        def one(side):
            try:
                f(side)
            except Exception as e:
                failed.append((side, e))
        threads = [threading.Thread(target=one, args=(s,)) for s in self.sides]
        for th in threads:
            th.start()
        for th in threads:
            th.join()
        for side, e in failed:
            if side.client == "rust":
                raise e
            self.say(f"{side.client}: {str(e)[:300]}")
            side.error = e
        return failed

    # One fault.

    def run(self, fault):
        """Tries a fault; the row of the table: for each client what its readers say."""
        options, expects = fault.options, fault.expects
        marks = [s.g.mark() for s in self.sides]
        for s in self.sides:
            s.error = None
            why = s.mount(options)
            if why and options and s.client == "rust" and "recover_session" in why + s.g.dmesg(marks[0]):
                self.skip(f"mounting with {options} is not built yet")
            if why:
                self.fail(f"{s.client} does not mount: {why}")
        self.each(Side.read)
        said = {}
        try:
            fault.run(self)
            self.healthy()
            if "dead" not in expects:
                self.each(lambda s: s.progress(5, 90))
        except Exception:
            # Readers can only end when what they read is there again.
            self.healthy()
            raise
        finally:
            self.each(lambda s: said.__setitem__(s.client, s.stop()))
        problems = []
        for s, mark in zip(self.sides, marks):
            mine = []
            for way, what in said.get(s.client, {}).items():
                if what["errors"] and not expects:
                    mine.append(f"{way}: {what['errors']}")
                if what["wrong"]:
                    mine.append(f"{way} WRONG: {what['wrong'][:3]}")
            if set(said.get(s.client, {})) != set(WAYS) and not expects:
                mine.append(f"readers that died: {set(WAYS) - set(said.get(s.client, {}))}")
            left = s.quiet()
            if left:
                mine.append(f"still under way: {left}")
            if not expects:
                r = s.g.run(f"echo 3 >/proc/sys/vm/drop_caches; cat {M}/tree/d?/f? {M}/sizes/65537 | sha256sum", 60)
                if r.out.split()[:1] != [self.tree_sha()]:
                    mine.append(f"content afterwards: {r.out.strip()[-300:]}")
            s.umount()
            if expects:
                why = s.mount()
                if why:
                    mine.append(f"cannot be mounted again: {why}")
                else:
                    r = s.g.run(f"cat {M}/tree/d?/f? {M}/sizes/65537 | sha256sum", 60)
                    if r.out.split()[:1] != [self.tree_sha()]:
                        mine.append(f"content afterwards: {r.out.strip()[-300:]}")
                    s.umount()
            splats = s.g.splats(mark)
            if splats:
                mine.append("the kernel complained: " + " | ".join(splats[:5]))
            if s.client == "rust":
                problems += mine
            elif mine or s.error:
                self.say(f"{s.client}: {'; '.join(mine)[:400]} {s.error or ''}"[:600])
        return said, problems

    def tree_sha(self):
        if not hasattr(self, "_tree_sha"):
            import hashlib
            h = hashlib.sha256()
            with self.cluster.fuse("/tmp/tree") as f:
                for n in [f"tree/d{d}/f{i}" for d in range(10) for i in range(10)] + ["sizes/65537"]:
                    with open(f"{f.path}/{n}", "rb") as file:
                        h.update(file.read())
            self._tree_sha = h.hexdigest()
        return self._tree_sha

    def recover(self, said_dead=False):
        """After a failure: a healthy cluster and fresh guests."""
        for s in self.sides:
            s.g.stop()
        try:
            self.healthy()
        finally:
            for i, s in enumerate(self.sides):
                lab_module.sh(f"ip link del tap{i} 2>/dev/null; true")
                new = Side(self.lab, i, s.client, self.seed)
                self.lab.guests.append(new.g)
                new.g.start()
                new.prepare(self.cluster, self.manifest)
                self.sides[i] = new


def cell(said, way):
    what = said.get(way)
    return "died" if what is None else f"{what['longest']:.1f}"


def table(rows, clients):
    """As reStructuredText."""
    head = ["fault"]
    for c in clients:
        name = "C" if c == "c" else "Rust"
        head += [f"{name}: data", "metadata", "statfs", "errors"]
    lines = []
    for name, said in rows:
        line = [name]
        for c in clients:
            s = said.get(c)
            if not s:
                line += ["no end", "", "", ""]
                continue
            files = max((s[w]["longest"] for w in ("data", "held", "mapped", "direct") if w in s), default=0)
            count = sum(sum(w["errors"].values()) for w in s.values())
            line += [f"{files:.1f}", cell(s, "meta"), cell(s, "statfs"), str(count)]
        lines.append(line)
    widths = [max(len(x[i]) for x in [head] + lines) for i in range(len(head))]
    rule = "  ".join("=" * w for w in widths)
    body = ["  ".join(x.ljust(w) for x, w in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([rule, "  ".join(x.ljust(w) for x, w in zip(head, widths)).rstrip(), rule, *body, rule])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--beside")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("patterns", nargs="*")
    a = p.parse_args()
    t = Context(a)
    t0 = time.monotonic()
    try:
        t.boot()
    except Exception as e:
        print(f"FAIL boot: {e}\nlogs: {t.lab.host(t.lab.run)}\n0 passed, 1 failed", flush=True)
        return 1
    print(f"# cluster, content and guests are up after {time.monotonic() - t0:.1f} s", flush=True)
    rows, passed, failed = [], 0, []
    for fault in faults.ALL:
        if a.quick and not fault.quick or a.patterns and not any(x in fault.name for x in a.patterns):
            continue
        t1 = time.monotonic()
        try:
            said, problems = t.run(fault)
            rows.append((fault.text, said))
            if problems:
                raise Failed("; ".join(problems))
            passed += 1
            stalls = ", ".join(f"{w} {cell(said['rust'], w)}" for w in WAYS)
            print(f"ok {fault.name} ({time.monotonic() - t1:.1f} s; longest: {stalls})", flush=True)
        except Skipped as e:
            print(f"skip {fault.name}: {e}", flush=True)
            for s in t.sides:
                s.umount()
        except Exception as e:
            failed.append(fault.name)
            print(f"FAIL {fault.name} ({time.monotonic() - t1:.1f} s): {type(e).__name__}: {e}", flush=True)
            try:
                for line in t.sides[0].g.dmesg().strip().splitlines()[-30:]:
                    print(f"    | {line:.200}", flush=True)
            except Exception:  # it is gone
                pass
            try:
                t.recover()
            except Exception as e2:
                print(f"    the rest is not run: {e2}", flush=True)
                break
    for s in t.sides:
        try:
            s.umount()
            left = {k: v for k, v in s.g.slab_objects().items() if v} if s.client == "rust" else {}
            s.g.unload()
            leaks, splats = s.g.leaks(), s.g.splats(s.mark)
            if left or leaks or splats:
                raise Failed(f"objects left: {left}; the kernel complained: {splats[:5]}; leaks: {leaks[:3]}")
            if s.client == "rust":
                passed += 1
                print("ok clean end: modules gone, nothing left", flush=True)
        except Exception as e:
            print(f"FAIL clean end ({s.client}): {e}", flush=True)
            if s.client == "rust":
                failed.append("clean end")
    if rows:
        clients = [s.client for s in reversed(t.sides)]
        text = table(rows, clients)
        with open(f"{t.lab.run}/faults.rst", "w") as f:
            f.write(text + "\n")
        print(f"\nLongest stall of one read, look or statfs, in seconds:\n\n{text}\n", flush=True)
    if failed:
        print(f"failed: {' '.join(failed)}; logs: {t.lab.host(t.lab.run)}")
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    t.lab.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
