# SPDX-License-Identifier: GPL-2.0
"""The modules come and go in every way, and allocations fail. For a kernel with
lockdep, KASAN, kmemleak and fault injection; what these find fails the test."""

import os
import re

import lab

IN_GUEST = "cd /lab/src/tools/testing/sanitize/in_guest && exec python3"
CYCLES = int(os.environ.get("LAB_CYCLES") or 10)


def prepare(t):
    if lab.LAB_KERNEL != "debug":
        t.skip("it needs the debug kernel")
    t.umount_all()
    t.ok("cp /lab/modules/libceph.ko /lab/modules/ceph.ko /tmp/")


def run(t, command, timeout):
    prepare(t)
    t.run("rmmod ceph libceph")
    out = t.ok(f"{IN_GUEST} {command}", timeout)
    print("".join(f"# {line}\n" for line in out.strip().splitlines()[-12:]), end="", flush=True)
    t.no_leaks()
    t.g.load(t.client)


def test_cycles(t):
    """insmod, mount, read, umount, rmmod."""
    run(t, f"cycles.py {CYCLES}", 60 + 20 * CYCLES)


def few(long, short):
    return long if os.environ.get("LAB_LONG") else short


def test_faults_of_insmod(t):
    run(t, f"faults.py insmod {few(1, 97)}", 900)


def test_faults_of_mount(t):
    run(t, f"faults.py mount {few(1, 11)}", 900)


def test_faults_of_reading(t):
    run(t, f"faults.py read {few(1, 7)}", 900)


def test_faults_of_umount(t):
    run(t, f"faults.py umount {few(1, 3)}", 600)


def test_single_faults_anywhere(t):
    run(t, f"faults.py one {few(300, 60)}", 300)


def test_many_faults_anywhere(t):
    mark = t.g.mark()
    run(t, f"faults.py many {few(300, 60)}", 300)
    # vmalloc says with a stack trace that it has failed, as it was to.
    log = re.sub(r"(?s)vmalloc error.*?Mem-Info.*?pages reserved", "", t.g.dmesg(mark))
    bad = [line for line in log.splitlines() if lab.SPLAT.search(line)]
    t.check(not bad, f"the kernel complained: {bad[:20]}")
    t.ok("dmesg -C")
