# SPDX-License-Identifier: GPL-2.0
"""Mounting: sources, options, and every way in which it fails."""

import contextlib
import json
import os
import shutil
import struct
import time
import uuid

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
    return os.lstat(f"{t.fuse.path}/{name}")


def test_all_crc_modes(t):
    for mode in ("crc", "prefer-crc"):
        t.equal(t.mount2("user@$FSID.cephfs=/", t.options(ms_mode=mode))[0], "OK", mode)
        check_mount(t)
        t.umount()


V1 = "10.77.0.1:6789/10.77.0.2:6789/10.77.0.3:6789"


def test_msgr1(t):
    """What no ms_mode means, and the line of container drivers: port 6789, and messages are signed."""
    for options in ({"ms_mode": None}, {"ms_mode": "legacy"}, {"ms_mode": None, "nocephx_sign_messages": True},
                    {"ms_mode": None, "nocrc": True}):
        t.equal(t.mount2("user@$FSID.cephfs=/", t.options(mon_addr=V1, **options))[0], "OK", str(options))
        check_mount(t)
        t.ok(f"cd {M}/tree && find . -type f -exec cat {{}} + >/dev/null")
        t.umount()
    t.ok(f"echo $SECRET >/tmp/s; mount -t ceph {V1.replace('/', ',')}:/tree {M} "
         "-o name=user,secretfile=/tmp/s,mds_namespace=cephfs,_netdev,ms_mode=legacy")
    try:
        t.equal(t.ok(f"ls {M}/d0/f0").strip(), f"{M}/d0/f0", "ls")
        if t.rust:
            t.check("(1)10.77.0.1:6789" in t.ok("cat /sys/kernel/debug/ceph/*/monmap"), "monmap shows other addresses")
            t.check("(1)10.77.0" in t.ok("cat /sys/kernel/debug/ceph/*/mdsmap"), "mdsmap shows other addresses")
    finally:
        t.umount()


def test_msgr1_and_msgr2_ports(t):
    """The wrong port: what is spoken there is said, and what to do."""
    if not t.rust:
        t.skip("the C client does not say it")
    for mode, port, words in ((None, 3300, ("speaks msgr2", "ms_mode=prefer-crc")), ("crc", 6789, ("speaks msgr1", "3300"))):
        mark = t.g.mark()
        options = t.options(ms_mode=mode, mon_addr=f"10.77.0.1:{port}", mount_timeout=3)
        t.check(t.mount2("user@$FSID.cephfs=/", options)[0] != "OK", f"mounts with {mode} at {port}")
        for word in words:
            t.check(word in t.g.dmesg(mark), f"dmesg does not say {word}: {t.g.dmesg(mark)}")


def test_other_ms_modes(t):
    if not t.rust:
        t.skip("the C client has them")
    for mode in ("secure", "prefer-secure"):
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
    """Options of the C client that concern what is built, or what a mount that is read-only can do without."""
    for o in ("noshare", "nocrc", "rsize=65536", "rasize=1048576", "mount_timeout=30", "osdkeepalive=5",
              "osd_idle_ttl=60", "norbytes", "nodcache", "ino32", "noasyncreaddir",
              "readdir_max_entries=100", "readdir_max_bytes=65536", "caps_max=1000", "tcp_nodelay",
              "notcp_nodelay", "crush_location=host:foo", "read_from_replica=balance", "noquotadf",
              "recover_session=no", "fsid=$FSID", "nopagecache", "noacl", "nopoolperm", "copyfrom", "wsync",
              "nearfull_sync", "wsize=65536", "write_congestion_kb=2048", "sparseread", "snapdirname=.snapshots",
              "caps_wanted_delay_min=1", "caps_wanted_delay_max=7", "ro", "sync"):
        if o in ("ro", "sync"):
            t.ok(f"mount -i -t ceph user@$FSID.cephfs=/ {M} -o {t.options()},{o}")
        else:
            t.equal(t.mount2("user@$FSID.cephfs=/", t.options() + "," + o)[0], "OK", o)
        check_mount(t)
        if o not in ("mount_timeout=30", "osdkeepalive=5", "osd_idle_ttl=60", "norbytes", "tcp_nodelay", "fsid=$FSID",
                     "recover_session=no", "mount_timeout=30", "sync", "ro", "caps_wanted_delay_min=1"):
            t.check("," + o in t.mounted(), f"{o} is not shown: {t.mounted()}")
        t.umount()


DEFAULTS = ("tcp_nodelay,share,crc,cephx_sign_messages,osdkeepalive=5,osd_idle_ttl=60,osd_request_timeout=0,"
            "read_from_replica=no,mount_timeout=60,wsize=67108864,rsize=67108864,rasize=8388608,"
            "caps_wanted_delay_min=5,caps_wanted_delay_max=60,caps_max=0,readdir_max_entries=1024,"
            "readdir_max_bytes=524288,write_congestion_kb=32768,snapdirname=.snap,recover_session=no,nodirstat,norbytes,"
            "asyncreaddir,dcache,noino32,nofsc,poolperm,require_active_mds,acl,quotadf,nocopyfrom,nowsync,pagecache,"
            "nosparseread,nonearfull_sync")


def test_defaults_of_the_c_client(t):
    """Spelled out, as in an fstab line that was made for it."""
    t.ok(f"mount -i -t ceph user@$FSID.cephfs=/ {M} -o {t.options()},{DEFAULTS},_netdev,noatime")
    check_mount(t)
    t.umount()


def test_options_of_proc_mounts(t):
    """What the C client shows of a mount mounts again, and is shown again."""
    odd = ("noshare,nocrc,mount_timeout=30,osdkeepalive=7,rbytes,nodcache,nopoolperm,noquotadf,noacl,copyfrom,"
           "recover_session=clean,wsync,nopagecache,nearfull_sync,wsize=65536,rsize=65536,rasize=65536,"
           "write_congestion_kb=2048,caps_max=2000,caps_wanted_delay_min=3,caps_wanted_delay_max=9,"
           "readdir_max_entries=100,readdir_max_bytes=65536,snapdirname=.s")
    c = t.other_guest()
    c.run(f"mkdir -p /mnt/odd; mount -i -t ceph admin@$FSID.cephfs=/ /mnt/odd -o mon_addr=$MONS,secret=$ADMIN_SECRET,"
          f"ms_mode=crc,ro,{odd}", 90, check=True)
    line = c.run("grep ' /mnt/odd ' /proc/mounts", check=True).out.split()[3]
    c.run("umount /mnt/odd", check=True)
    line = line.replace("name=admin", "name=user").replace("<hidden>", "$SECRET")
    t.ok(f"mount -i -t ceph user@$FSID.cephfs=/ {M} -o '{line}'".replace("'", '"'))
    check_mount(t)
    mine = t.mounted().split()[3]
    t.equal(sorted(mine.replace("osdkeepalive=", "osdkeepalivetimeout=").split(",")),
            sorted(line.replace("$SECRET", "<hidden>").split(",")), "what is shown")
    t.umount()


def lines_of(t, mark):
    """What our modules, and the file system's context, said since the mark."""
    return [line for line in t.g.dmesg(mark).splitlines() if "ceph: " in line]


def test_refused_once(t):
    """Each refusal is one line, that names the option."""
    if not t.rust:
        t.skip("the C client has its own words")
    for o in ("test_dummy_encryption", "ms_mode=nonsense", "dirstat", "rsize=1", "secret=x", "crush_location=x",
              "mon_addr=nonsense", "recover_session=maybe"):
        mark = t.g.mark()
        t.equal(t.mount2(NEW, t.options() + "," + o)[0], "EINVAL", o)
        lines = lines_of(t, mark)
        t.check(len(lines) == 1 and o.split("=")[0] in lines[0], f"{o}: {lines}")


def test_ignored_options_are_said(t):
    if not t.rust:
        t.skip("the C client has them")
    for o in ("fsc", "fsc=x", "sparseread", "snapdirname=.s", "quotadf"):
        mark = t.g.mark()
        t.equal(t.mount2(NEW, t.options() + "," + o)[0], "OK", o)
        lines = [line for line in lines_of(t, mark) if "ignored" in line]
        t.check(len(lines) == 1 and o.split("=")[0] in lines[0], f"{o}: {lines}")
        t.umount()


@contextlib.contextmanager
def folder_for_now(t, d):
    """A folder in the root that leaves no trace: later tests compare the whole tree with its manifest."""
    before = os.stat(t.fuse.path)
    os.makedirs(d)
    try:
        yield
    finally:
        shutil.rmtree(d)
        os.utime(t.fuse.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_path_that_is_not_utf8(t):
    """Paths are bytes."""
    d = os.fsencode(t.fuse.path) + b"/p\xe4th\xff"
    with folder_for_now(t, d):
        open(d + b"/inside", "w").close()
        t.equal(t.mount2("user@$FSID.cephfs=/\"$'p\\xe4th\\xff'\"", t.options())[0], "OK", "mount")
        t.equal(t.ok(f"ls {M}"), "inside\n", "content")
        t.umount()
    mark = t.g.mark()
    r = t.mount2("\"$'h\\xff'\":/", t.options(mon_addr=None))[0]
    t.equal(r, "EINVAL", "a host that is no text")
    t.check(t.g.dmesg(mark).strip(), "nothing in dmesg")


def test_caps_max(t):
    """What is not used goes, once there is more than the option says (and than a listing may bring)."""
    d = f"{t.fuse.path}/crowd"
    with folder_for_now(t, d):
        for i in range(1500):
            open(f"{d}/{i}", "w").close()
        t.equal(t.mount2(NEW, t.options(caps_max=1000, readdir_max_entries=100))[0], "OK", "mount")
        t.ok(f"ls -l {M}/crowd >/dev/null", 120)

        def used():
            return int(t.ok("grep ^used /sys/kernel/debug/ceph/*/caps").split()[1])
        t.wait(f"{used()} capabilities are too many", lambda: used() <= 1024, 60)
        t.ok(f"ls -l {M}/crowd >/dev/null", 120)
        t.umount()


def test_caps_wanted_delay(t):
    """A server hears, so many seconds after a file was closed, that its capabilities are not wanted."""
    ino = stat_other(t, "tree/d0/f1").st_ino
    mds = next(x["name"] for x in t.cluster.mon_json("status")["fsmap"]["by_rank"] if x["status"] == "up:active")

    def wanted(client):
        found = json.loads(t.cluster.daemon(f"mds.{mds}", "dump", "inode", str(ino)))["client_caps"]
        return [c["wanted"] for c in found if str(c["client_id"]) == client]
    # A listing brings all that is needed to read, and then a server need not hear that it is
    # wanted; not of a file that another client writes.
    with open(f"{t.fuse.path}/tree/d0/f1", "ab"):
        for delay, there in ((60, True), (1, False)):
            t.equal(t.mount2(NEW, t.options(caps_wanted_delay_min=delay, caps_wanted_delay_max=delay))[0], "OK", "mount")
            client = t.ok("echo /sys/kernel/debug/ceph/*").strip().rpartition(".client")[2]
            t.ok(f"cat {M}/tree/d0/f1 >/dev/null")
            t.check("F" in str(wanted(client)), f"opened, but wanted is {wanted(client)}")
            if there:
                time.sleep(20)
                t.check("F" in str(wanted(client)), f"after 20 of 60 seconds {wanted(client)} is wanted")
            else:
                t.wait(f"{wanted(client)} is not wanted", lambda client=client: "F" not in str(wanted(client)), 20)
            t.umount()


FSOPEN = "python3 /lab/src/tools/testing/integration/in_guest/fsopen.py"


def test_what_mount_shows_is_the_cause(t):
    """The messages that mount(8) shows name what is wrong, and the log has the same line, once."""
    if not t.rust:
        t.skip("the C client has its own words")
    key = t.cluster.add_client("client.elsewhere", mon="allow r fsname=other", mds="allow rw fsname=other",
                               osd="allow rw tag cephfs data=other")
    for source, options, words in (
            (NEW, t.options(secret="AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="), ("client.user", "key")),
            ("nobody@$FSID.cephfs=/", t.options(name="nobody"), ("client.nobody",)),
            ("user@$FSID.nosuchfs=/", t.options(), ("no file system named 'nosuchfs'", "client.user")),
            ("elsewhere@$FSID.cephfs=/", t.options(name="elsewhere", secret=key),
             ("client.elsewhere sees no file system named 'cephfs'", "ceph auth get client.elsewhere")),
            ("user@11111111-2222-3333-4444-555555555555.cephfs=/", t.options(), ("11111111-2222", t.cluster.fsid)),
            (NEW, t.options(fsid="11111111-2222-3333-4444-555555555555"), ("11111111-2222", t.cluster.fsid)),
            (NEW, t.options(mon_addr="10.77.0.1:6789", mount_timeout=8), ("3300",)),
            (NEW, t.options(mon_addr="10.77.0.99:3300", mount_timeout=6), ("no monitor",)),
            ("user@$FSID.cephfs=/no/such", t.options(), ("/no/such",)),
            ("user@$FSID.cephfs=/tree/d0/f0", t.options(), ("/tree/d0/f0", "not a directory")),
            (NEW, t.options(ms_mode="nonsense"), ("ms_mode=nonsense",))):
        mark = t.g.mark()
        result, messages = json.loads(t.ok(f'{FSOPEN} "{source}" "{options}"', 60))
        t.check(result != "OK", f"{source} {options}: it mounts")
        errors = [m for m in messages if m.startswith("e ")]
        t.check(len(errors) == 1, f"{source} {options}: {messages}")
        for w in words:
            t.check(w in errors[0], f"{w} is not in {errors}")
        text = errors[0][2:].removeprefix("ceph: ")
        count = sum(text in line for line in t.g.dmesg(mark).splitlines())
        t.equal(count, 1, f"lines in dmesg with {text!r}")
        t.check("error -113" not in t.g.dmesg(mark), "an error of a server that was not asked")


def test_id_of_the_file_system(t):
    """statfs(2) shows which file system of which cluster it is, as the C client does."""
    fs = next(f for f in t.cluster.mon_json("fs dump")["filesystems"] if f["mdsmap"]["fs_name"] == "cephfs")
    words = struct.unpack("<4I", uuid.UUID(t.cluster.fsid).bytes)
    cluster = words[0] ^ words[1] ^ words[2] ^ words[3]
    t.mount()
    t.equal(int(t.ok(f"stat -f -c %i {M}"), 16), cluster << 32 | fs["id"], "f_fsid")
    t.umount()


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
    fails(t, "user@$FSID.cephfs=/tree/d0/f0", t.options(), "ENOTDIR", ["/tree/d0/f0"])


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
