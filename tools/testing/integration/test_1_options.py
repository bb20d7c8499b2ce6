# SPDX-License-Identifier: GPL-2.0
"""Mounting: sources, options, and every way in which it fails."""

import time

from run import M


def check_mount(t, at=M):
    t.check(t.mounted(at), f"{at} is not mounted")
    t.check("links" in t.ok(f"ls {at}"), "the root's content is missing")


def test_helper_new_source(t):
    t.mount()
    check_mount(t)
    line = t.mounted()
    t.check(line.startswith(f"user@{t.cluster.fsid}.cephfs=/ {M} ceph "), line)
    for want in ("name=user", "secret=<hidden>", "ms_mode=prefer-crc",
                 f"mon_addr={t.cluster.mon_addrs()}"):
        t.check(want in line, f"{want} is missing in {line}")
    t.check(t.cluster.keys["client.user"] not in line, "the secret is shown")
    t.umount()


def test_helper_shortest_form(t):
    t.ok(f"mount -t ceph user@.cephfs=/ {M}")
    check_mount(t)
    t.umount()


def test_helper_secretfile(t):
    t.ok(f"echo $SECRET >/tmp/s; mount -t ceph user@$FSID.cephfs=/ {M} "
         "-o mon_addr=$MONS,secretfile=/tmp/s,ms_mode=crc")
    check_mount(t)
    t.umount()


def test_helper_old_source(t):
    t.ok(f"mount -t ceph $MON:/ {M} -o name=user,secret=$SECRET,mds_namespace=cephfs,ms_mode=crc")
    check_mount(t)
    t.umount()


def test_raw_new_source(t):
    t.ok(f"mount -i -t ceph user@$FSID.cephfs=/ {M} -o {t.options()}")
    check_mount(t)
    t.umount()


def test_raw_old_source(t):
    t.ok(f"mount -i -t ceph $MON:/ {M} -o name=user,secret=$SECRET,mds_namespace=cephfs,ms_mode=crc")
    check_mount(t)
    t.umount()


def test_raw_old_source_several_monitors(t):
    t.equal(t.mount2("10.77.0.1:3300,10.77.0.2:3300,10.77.0.3:3300:/",
                     t.options(mon_addr=None))[0], "OK", "mount")
    check_mount(t)
    t.umount()


def test_subdirectory(t):
    t.mount(source="user@$FSID.cephfs=/tree/d3")
    t.equal(sorted(t.ok(f"ls {M}").split()), [f"f{i}" for i in range(10)], "content of /tree/d3")
    t.check(f"cephfs=/tree/d3 {M} ceph" in t.mounted(), t.mounted())
    t.equal(t.ok(f"stat -c %i {M}"), t.ok("true") + f"{stat_other(t, 'tree/d3').st_ino}\n", "inode of the root")
    t.umount()
    t.equal(t.mount2("$MON:/tree/d3/", t.options(mon_addr=None))[0], "OK", "old syntax")
    t.equal(sorted(t.ok(f"ls {M}").split()), [f"f{i}" for i in range(10)], "content")
    t.umount()


def stat_other(t, name):
    import os
    return os.lstat(f"{t.fuse.path}/{name}")


def test_all_crc_modes(t):
    for mode in ("crc", "prefer-crc"):
        t.equal(t.mount2("user@$FSID.cephfs=/", t.options(ms_mode=mode))[0], "OK", mode)
        check_mount(t)
        t.umount()


def test_other_ms_modes(t):
    if not t.rust:
        t.skip("the C client has them")
    for mode in ("legacy", "secure", "prefer-secure"):
        mark = t.g.mark()
        t.equal(t.mount2("user@$FSID.cephfs=/", t.options(ms_mode=mode))[0], "EINVAL", f"ms_mode={mode}")
        t.check(mode in t.g.dmesg(mark), f"dmesg does not name {mode}")


def test_unknown_option(t):
    mark = t.g.mark()
    t.equal(t.mount2("user@$FSID.cephfs=/", t.options() + ",frobnicate=1")[0], "EINVAL", "mount")
    t.check("frobnicate" in t.g.dmesg(mark), "dmesg does not name the option")


def test_bad_values(t):
    mark = t.g.mark()
    for o in ("mount_timeout=x", "ms_mode=nonsense", "mount_timeout=99999999999", "rsize=1"):
        t.equal(t.mount2("user@$FSID.cephfs=/", t.options() + "," + o)[0], "EINVAL", o)
    t.check(len(t.g.dmesg(mark).strip().splitlines()) >= 4, "no line in dmesg for each")


def test_bad_sources(t):
    for source in ("nonsense", "user@$FSID.cephfs", "user@nofsid.cephfs=/", ":/", "@=/"):
        r = t.mount2(source, t.options())[0]
        t.check(r in ("EINVAL", "ENOENT"), f"{source}: {r}")


def test_no_source_address(t):
    t.equal(t.mount2("user@$FSID.cephfs=/", t.options(mon_addr=None))[0], "EINVAL", "mount")


def test_accepted_options(t):
    """Options of the C client that concern what is built."""
    for o in ("noshare", "nocrc", "rsize=65536", "rasize=1048576", "mount_timeout=30", "osdkeepalive=5",
              "osd_idle_ttl=60", "norbytes", "nodcache", "ino32", "noasyncreaddir", "dirstat",
              "readdir_max_entries=100", "readdir_max_bytes=65536", "caps_max=1000", "tcp_nodelay",
              "notcp_nodelay", "crush_location=host:foo", "read_from_replica=balance", "noquotadf",
              "recover_session=no", "fsid=$FSID", "ro", "sync"):
        if o in ("ro", "sync"):
            t.ok(f"mount -i -t ceph user@$FSID.cephfs=/ {M} -o {t.options()},{o}")
        else:
            mark = t.g.mark()
            r, _ = t.mount2("user@$FSID.cephfs=/", t.options() + "," + o)
            if t.rust and o in LATER and r == "EINVAL":
                t.check(o.split("=")[0] in t.g.dmesg(mark), f"dmesg does not name {o}")
                continue
            t.equal(r, "OK", o)
        check_mount(t)
        t.umount()


# Options of things that are not built yet may be rejected, by name.
LATER = ("dirstat", "crush_location=host:foo", "read_from_replica=balance", "ino32",
         "recover_session=no", "norbytes", "noquotadf")


def fails(t, source, options, want, words=(), least=0, most=20):
    """A mount that must fail: its errno, how long it takes, and, of our modules, what
    the one line in dmesg speaks of. The errnos are those of the C client, which says
    EHOSTUNREACH for whatever happens before it has an mdsmap."""
    mark = t.g.mark()
    r, s = t.mount2(source, options)
    t.equal(r, want, "mount")
    t.check(least <= s <= most, f"it took {s} s, should be {least} to {most}")
    log = t.g.dmesg(mark)
    t.check(log.strip(), "nothing in dmesg")
    if t.rust:
        for w in words:
            t.check(w in log.lower(), f"dmesg does not say {w!r}: {log}")
        t.check(len(log.strip().splitlines()) <= 12, f"dmesg says too much: {log}")
    t.check(not t.mounted(), "it is mounted")
    left = t.run("ls /sys/kernel/debug/ceph").out.split()
    t.check(not left, f"left in debugfs: {left}")


NEW = "user@$FSID.cephfs=/"


def test_wrong_key(t):
    fails(t, NEW, t.options(secret="AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="), "EHOSTUNREACH", ["key"])


def test_unparsable_key(t):
    fails(t, NEW, t.options(secret="not-a-key"), "EINVAL", ["secret"])


def test_unknown_client(t):
    fails(t, "nobody@$FSID.cephfs=/", t.options(name="nobody"), "EHOSTUNREACH", ["nobody"])


def test_no_key(t):
    mark = t.g.mark()
    r, _ = t.mount2(NEW, t.options(secret=None))
    t.check(r in ("EHOSTUNREACH", "EINVAL"), r)
    t.check(t.g.dmesg(mark).strip(), "nothing in dmesg")


PADD = """import base64, os, subprocess
subprocess.run(["keyctl", "padd", "ceph", "client.user", "@u"], check=True,
               input=base64.b64decode(os.environ["SECRET"]))"""


def test_key_from_the_keyring(t):
    t.python(PADD)
    t.ok("grep -q 'ceph *client.user' /proc/keys")
    t.equal(t.mount2(NEW, t.options(secret=None, key="client.user"))[0], "OK", "mount")
    check_mount(t)
    t.umount()
    t.ok("keyctl clear @u")


def test_missing_key_in_keyring(t):
    r = t.mount2(NEW, t.options(secret=None, key="client.none"))[0]
    t.check(r in ("ENOKEY", "EPERM", "EACCES", "ENOENT"), r)


def test_garbage_in_the_keyring(t):
    t.check(t.run("keyctl add ceph client.bad garbage @u").status != 0, "the key was accepted")


def test_wrong_fsid_in_source(t):
    if not t.rust:
        t.skip("the C client does not compare it")
    fails(t, "user@11111111-2222-3333-4444-555555555555.cephfs=/", t.options(), "EHOSTUNREACH",
          ["11111111-2222", t.cluster.fsid[:9]])


def test_wrong_fsid_option(t):
    if not t.rust:
        t.skip("the C client does not compare it")
    fails(t, "$MON:/", t.options(mon_addr=None, fsid="11111111-2222-3333-4444-555555555555"),
          "EHOSTUNREACH", ["11111111-2222"])


def test_wrong_fs_name(t):
    fails(t, "user@$FSID.nosuchfs=/", t.options(), "EHOSTUNREACH", ["nosuchfs"])


def test_missing_subdirectory(t):
    fails(t, "user@$FSID.cephfs=/no/such/folder", t.options(), "ENOENT", ["no/such/folder"])


def test_subdirectory_is_a_file(t):
    r = t.mount2("user@$FSID.cephfs=/tree/d0/f0", t.options())[0]
    t.check(r in ("ENOTDIR", "EIO", "EINVAL"), r)


def test_unreachable_monitors(t):
    """Nobody at the address; the mount ends after mount_timeout."""
    fails(t, NEW, t.options(mon_addr="10.77.0.99:3300", mount_timeout=6), "EHOSTUNREACH", ["mon"], 5, 15)


def test_refusing_monitors(t):
    fails(t, NEW, t.options(mon_addr="10.77.0.1:3999", mount_timeout=6), "EHOSTUNREACH", ["mon"], 5, 15)


def test_frozen_monitors(t):
    """They accept connections and say nothing."""
    for m in t.cluster.names("mon"):
        t.cluster.freeze(m)
    try:
        fails(t, NEW, t.options(mount_timeout=6), "EHOSTUNREACH", ["mon"], 5, 15)
    finally:
        for m in t.cluster.names("mon"):
            t.cluster.thaw(m)
    t.cluster.wait_health()


def test_mount_can_be_killed(t):
    job = t.g.spawn(f"exec python3 /lab/src/tools/testing/integration/in_guest/mount2.py "
                    f"\"user@$FSID.cephfs=/\" {M} \"{t.options(mon_addr='10.77.0.99:3300')}\"")
    time.sleep(3)
    t.check(not job.finished(), "the mount has ended")
    job.kill()
    t.check(job.wait(10).status == 137, "not killed")


def test_one_of_the_monitors_is_missing(t):
    for _ in range(3):
        # Three seconds for each attempt at a wrong one, and the next one is chosen at random.
        r, s = t.mount2("user@$FSID.cephfs=/", t.options(
            mount_timeout=150, mon_addr="10.77.0.99:3300/10.77.0.1:3999/10.77.0.2:3300"), timeout=180)
        t.equal(r, "OK", "mount")
        t.check(s < 120, f"it took {s} s")
        check_mount(t)
        t.umount()


def test_no_active_mds(t):
    t.cluster.mon("fs fail", fs_name="cephfs")
    try:
        mark = t.g.mark()
        r, s = t.mount2("user@$FSID.cephfs=/", t.options(mount_timeout=8))
        log = t.g.dmesg(mark)
    finally:
        t.cluster.mon("fs set", fs_name="cephfs", var="joinable", val="true")
        t.cluster.wait_mds_active()
        t.cluster.wait_health()
    t.equal(r, "EHOSTUNREACH", "mount")
    t.check(s < 20, f"it took {s} s")
    t.check("mds" in log.lower(), f"dmesg does not speak of the MDS: {log}")


def test_twenty_mounts_at_once(t):
    for options in (t.options(), t.options() + ",noshare"):
        jobs = [t.g.spawn(f"mkdir -p /mnt/m{i} && mount -i -t ceph user@$FSID.cephfs=/ /mnt/m{i} -o {options} "
                          f"&& ls /mnt/m{i} && cat /mnt/m{i}/tree/d{i % 10}/f1 | wc -c") for i in range(20)]
        for i, job in enumerate(jobs):
            r = job.wait(120)
            t.equal(r.status, 0, f"mount {i}: {r.out}")
        n = len(set(t.ok("stat -c %d /mnt/m? /mnt/m??").split()))
        if "noshare" in options:
            t.equal(n, 20, "super blocks")
        jobs = [t.g.spawn(f"umount /mnt/m{i}") for i in range(20)]
        for job in jobs:
            r = job.wait(120)
            t.equal(r.status, 0, f"umount: {r.out}")


def test_rmmod_is_refused(t):
    t.mount()
    for m in ("ceph", "libceph"):
        r = t.run(f"rmmod {m}")
        t.check(r.status != 0 and "in use" in r.out, f"rmmod {m}: {r}")
    t.umount()


def test_rmmod_and_insmod_again(t):
    for _ in range(3):
        t.mount()
        t.ok(f"cat {M}/tree/d1/f1 >/dev/null")
        t.umount()
        t.g.unload()
        t.g.load(t.client)
