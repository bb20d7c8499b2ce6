# SPDX-License-Identifier: GPL-2.0
"""debugfs, module parameters and what else the kernel shows of the client."""

import re

ADDR = r"\(2\)10\.77\.0\.[123]:\d+"
FILES = {
    "monmap": r"epoch \d+\n(\tmon[0-2]\t" + ADDR + r"\n){3}",
    "monc": r"have monmap \d+ want \d+\+\nhave osdmap \d+( want \d+\+?)?\nhave fsmap\.user \d+\n"
            r"have mdsmap \d+ want \d+\+\nfs_cluster_id \d+\n",
    "osdmap": r"epoch \d+ barrier \d+ flags 0x[0-9a-f]+\n"
              r"(pool \d+ '[^']+' type 1 size \d+ min_size \d+ pg_num \d+ pg_num_mask \d+ flags 0x[0-9a-f]+ "
              r"lfor \d+ read_tier -1 write_tier -1\n)+"
              r"(osd\d+\t" + ADDR + r"\t *\d+%\t\(exists, up\)\t *\d+%\t *-?\d+\n)+",
    "osdc": r"REQUESTS \d+ homeless \d+\nLINGER REQUESTS\nBACKOFFS\n",
    "client_options": r"name=user,secret=<hidden>,ms_mode=prefer-crc[^\n]*\n?",
    "mdsmap": r"epoch \d+\nroot 0\nmax_mds 1\nsession_timeout \d+\nsession_autoclose \d+\n"
              r"(\tmds\d+\t" + ADDR + r"\t\(up:active\)\n)+",
    "mdsc": r"",
    "mds_sessions": r'global_id \d+\nname "user"\nmds\.0 (open|hung|opening|stale)\n',
    "caps": r"total\t\t\d+\navail\t\t\d+\nused\t\t\d+\nreserved\t\d+\nmin\t\t\d+\n\n"
            r"ino              mds  issued           implemented\n-{50}\n"
            r"(0x[0-9a-f]+ +\d+  [pAsLXxFcrwbl]+ +[pAsLXxFcrwbl]+ +\n)+.*",
    "status": r"instance: client\.\d+ \(3\)ADDRESS:0/\d+\nblocklisted: (false|0|no)\n",
}


def folder(t):
    """The mount's folder in debugfs."""
    t.ensure_mounted()
    return t.ok("echo /sys/kernel/debug/ceph/*").strip()


def test_debugfs_files(t):
    t.ensure_mounted()
    t.ok("ls -lR /mnt/ceph/tree >/dev/null; cat /mnt/ceph/tree/d0/f0 >/dev/null")
    d = folder(t)
    t.check(re.fullmatch(rf"/sys/kernel/debug/ceph/{t.cluster.fsid}\.client\d+", d), d)
    have = dict(line.split()[::-1] for line in t.ok(f"cd {d} && stat -c '%a %n' *").splitlines())
    for name in FILES:
        t.equal(have.get(name), "400", f"mode of {name}")
    t.check(have.get("bdi"), "bdi is missing")
    t.check(re.fullmatch(r"\.\./\.\./bdi/ceph-\d+\n", t.ok(f"readlink {d}/bdi")), "target of bdi")


def test_debugfs_formats(t):
    d = folder(t)
    bad = []
    for name, form in FILES.items():
        text = t.ok(f"cat {d}/{name}")
        if not re.fullmatch(form.replace("ADDRESS", re.escape(t.g.address)), text, re.S):
            bad.append(f"{name} is not as the C client has it: {text!r:.600}")
    t.check(not bad, "\n".join(bad))


def test_debugfs_small_reads(t):
    d = folder(t)
    for name in FILES:
        # Some change as time goes by.
        t.wait(f"all of {name}", lambda name=name: t.ok(f"dd if={d}/{name} bs=7 2>/dev/null | wc -c") ==
               t.ok(f"cat {d}/{name} | wc -c"), 5)


def test_osdc_shows_requests(t):
    """A read that an OSD does not answer shows up, with what is asked for."""
    d = folder(t)
    for o in t.cluster.names("osd"):
        t.cluster.freeze(o)
    try:
        t.drop_caches()
        job = t.g.spawn("exec cat /mnt/ceph/sizes/4194304 >/dev/null")
        t.wait("the request is shown", lambda: re.search(r"^REQUESTS [1-9]", t.ok(f"cat {d}/osdc")), 20)
        text = t.ok(f"cat {d}/osdc")
        t.check(re.search(r"^\d+\tosd[01]\t2\.[0-9a-f]+\t2\.[0-9a-f]+s?-?\d*\t\[[01]\]/[01]\t\[[01]\]/[01]\te\d+\t"
                          r"10000000[0-9a-f]+\.0000000[0-9a-f]\t0x[0-9a-f]+\t\d+\tread", text, re.M),
                f"not as the C client shows it: {text!r}")
        t.check(not job.finished(), "the reader has ended")
        job.kill()
        r = job.wait(15)
        t.equal(r.status, 137, "the reader can be killed")
    finally:
        for o in t.cluster.names("osd"):
            t.cluster.thaw(o)
    t.cluster.wait_health()
    t.ok("cat /mnt/ceph/sizes/4194304 >/dev/null")
    t.check("REQUESTS 0" in t.ok(f"cat {folder(t)}/osdc"), "a request is left over")


def test_mdsc_shows_requests(t):
    t.umount_all()
    t.drop_caches()
    d = folder(t)
    m = [n for n in t.cluster.names("mds")]
    for n in m:
        t.cluster.freeze(n)
    try:
        job = t.g.spawn("exec stat /mnt/ceph/tree/d5/f5")
        t.wait("the request is shown", lambda: t.ok(f"cat {d}/mdsc").strip(), 20)
        text = t.ok(f"cat {d}/mdsc")
        t.check(re.match(r"\d+\tmds0\t(lookup|getattr)\t", text), f"not as the C client shows it: {text!r}")
        job.kill()
        t.equal(job.wait(15).status, 137, "the waiter can be killed")
    finally:
        for n in m:
            t.cluster.thaw(n)
    t.cluster.wait_mds_active()
    t.ok("stat /mnt/ceph/tree/d5/f5")


def test_module_parameters(t):
    out = t.ok("cd /sys/module && stat -c '%a %n' ceph/parameters/* libceph/parameters/*")
    t.equal(sorted(out.splitlines()), PARAMETERS, "parameters and modes")
    t.equal(t.ok("cat /sys/module/ceph/parameters/mount_syntax_v2"), "Y\n", "mount_syntax_v2")
    t.check(re.fullmatch(r"0x[0-9a-f]+\n", t.ok("cat /sys/module/libceph/parameters/supported_features")),
            "supported_features")
    t.ok("echo 0 >/sys/module/ceph/parameters/enable_unsafe_idmap")


PARAMETERS = [
    "444 ceph/parameters/mount_syntax_v1", "444 ceph/parameters/mount_syntax_v2",
    "444 libceph/parameters/supported_features", "644 ceph/parameters/disable_send_metrics",
    "644 ceph/parameters/enable_unsafe_idmap"]


def test_module_info(t):
    t.check("fs-ceph" in t.ok("modinfo -F alias " + (
        "ceph" if not t.rust else "/lab/modules/ceph.ko")), "the alias fs-ceph is missing")
    t.check(re.search(r"^nodev\tceph$", t.ok("cat /proc/filesystems"), re.M), "ceph is not in /proc/filesystems")


def test_mountinfo(t):
    t.ensure_mounted()
    t.check(" - ceph user@" in t.ok("cat /proc/self/mountinfo"), "mountinfo")
    t.umount()
