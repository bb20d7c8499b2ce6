# SPDX-License-Identifier: GPL-2.0
"""Who may use what: ACLs, mapped ids, the client's own capability, encryption, locks."""

import os

from run import M
from test_3_names import quiet
from test_5_failures import active_mds

# As the C client's guest makes ACLs, which ceph-fuse does not.
ACL = "/mnt/ceph/acl"


def as_user(uid, gid, command, groups=""):
    """The command, as another user."""
    groups = f"--groups {groups}" if groups else "--clear-groups"
    return f"setpriv --reuid {uid} --regid {gid} {groups} {command}"


def may(t, uid, gid, command, groups=""):
    r = t.run(as_user(uid, gid, command, groups))
    t.check(r.status == 0 or "Permission denied" in r.out, f"{command}: {r}")
    return r.status == 0


def acl_file(t):
    other = t.other_guest()
    other.run(f"rm -rf {ACL}; mkdir {ACL}; chmod 755 {ACL}; cd {ACL}; echo content >f; chown 1000:1000 f; chmod 640 f; "
              "setfacl -m u:3000:r,g::- f", check=True)
    return other


def test_acl_of_a_file(t):
    """The mode shows -rw-r-----, but the group may not read."""
    acl_file(t)
    t.ensure_mounted()
    t.equal(t.ok(f"stat -c %A {ACL}/f"), "-rw-r-----\n", "mode")
    for _ in range(2):
        for uid, gid, groups, want in ((1000, 1000, "", True), (3000, 3000, "", True), (2000, 1000, "", False),
                                       (2000, 2000, "1000", False), (2000, 2000, "", False), (0, 0, "", True)):
            t.equal(may(t, uid, gid, f"cat {ACL}/f", groups), want, f"{uid}:{gid} {groups} reads")
    t.equal(t.ok(f"getfacl -pcnE {ACL}/f"), "user::rw-\nuser:3000:r--\ngroup::---\nmask::r--\nother::---\n\n", "ACL")


def test_acl_that_changes(t):
    """What another client changes counts at once: nothing is asked for while nothing changes, either."""
    other = acl_file(t)
    t.ensure_mounted()
    for _ in range(3):
        t.check(may(t, 3000, 3000, f"cat {ACL}/f"), "3000 may not read")
        other.run(f"setfacl -x u:3000 {ACL}/f", check=True)
        t.check(not may(t, 3000, 3000, f"cat {ACL}/f"), "3000 may still read")
        other.run(f"setfacl -m u:3000:r {ACL}/f", check=True)
    other.run(f"setfacl -b {ACL}/f; chmod 640 {ACL}/f", check=True)
    t.check(not may(t, 3000, 3000, f"cat {ACL}/f") and may(t, 2000, 1000, f"cat {ACL}/f"), "without an ACL")


def test_acl_of_directories(t):
    """Search, also in RCU walk, and a default ACL, which is for nobody."""
    other = acl_file(t)
    other.run(f"cd {ACL}; mkdir -p d/e; echo x >d/e/f; chmod 750 d; setfacl -m u:3000:x,g::- d; "
              "mkdir default; chmod 700 default; setfacl -d -m u:3000:rwx default; echo x >default/f; "
              "setfacl -b default/f; chmod 644 default/f", check=True)
    t.ensure_mounted()
    walk = f"bash -c 'for i in $(seq 300); do [ -r {ACL}/d/e/f ] || exit 1; done; echo good'"
    t.equal(t.ok(as_user(3000, 3000, walk)), "good\n", "walks")
    t.check(not may(t, 3000, 3000, f"ls {ACL}/d"), "3000 may list")
    t.check(not may(t, 2000, 0, f"cat {ACL}/d/e/f"), "a member of the group may walk")
    t.check(not may(t, 3000, 3000, f"cat {ACL}/default/f"), "a default ACL lets walk")
    t.check("default:user:3000:rwx" in t.ok(f"getfacl -pcnE {ACL}/default"), "no default ACL")
    walk = f"bash -c 'for i in $(seq 300); do [ -r {ACL}/d/e/f ] && exit 1; done; echo good'"
    t.equal(t.ok(as_user(2000, 0, walk)), "good\n", "walks of a member of the group")


def test_noacl(t):
    acl_file(t)
    t.umount_all()
    t.mount(options="noacl")
    t.check(",noacl" in t.mounted(), t.mounted())
    t.check(may(t, 2000, 1000, f"cat {ACL}/f") and not may(t, 3000, 3000, f"cat {ACL}/f"), "not the mode bits alone")
    t.umount()
    t.mount(options="acl")
    t.check(",acl" in t.mounted(), t.mounted())
    t.check(may(t, 3000, 3000, f"cat {ACL}/f") and not may(t, 2000, 1000, f"cat {ACL}/f"), "not the ACL")
    t.umount()


def test_acl_after_the_session_is_lost(t):
    """An ACL that changed while the client was shut out."""
    other = acl_file(t)
    t.umount_all()
    t.mount(options="recover_session=clean")
    t.check(may(t, 3000, 3000, f"cat {ACL}/f"), "3000 may not read")
    client = t.ok("echo /sys/kernel/debug/ceph/*").strip().rpartition(".client")[2]
    t.cluster.ceph("tell", active_mds(t), "session", "evict", client)
    other.run(f"setfacl -x u:3000 {ACL}/f", check=True)
    t.wait("the change counts", lambda: not t.run(as_user(3000, 3000, f"cat {ACL}/f")).status == 0, 60)
    t.wait("the session is back", lambda: t.run(f"cat {ACL}/f").status == 0, 60)
    t.check(not may(t, 3000, 3000, f"cat {ACL}/f"), "3000 may still read")
    t.umount()


def mount_as(t, name, mds, path="/"):
    """Mounts with a further key whose capability for metadata servers is `mds`."""
    key = t.cluster.add_client(f"client.{name}", mon="allow r", mds=mds, osd="allow rw tag cephfs data=cephfs")
    t.umount_all()
    t.ok(f"mount -t ceph {name}@$FSID.cephfs={path} {M} -o mon_addr=$MONS,secret={key},ms_mode=crc", 90)


def test_capability_of_the_key_for_a_path(t):
    """Below the path, also of a mount that begins there, no server is asked to open what is in memory."""
    for name, path, sub in (("path", "/tree/d1", ""), ("above", "/tree", "/d1")):
        mount_as(t, name, "allow r path=/tree/d1, allow r path=/tree" if sub else "allow r path=/tree/d1", path)
        t.ok(f"cat {M}{sub}/f1 >/dev/null")
        t.wait("it is known", lambda sub=sub: quiet(t, f"cat {M}{sub}/f1 >/dev/null") == 0)
        t.check(may(t, 2000, 2000, f"cat {M}{sub}/f1"), "2000 may not read")
        t.umount()


def test_capability_of_the_key_without_root(t):
    """root_squash is for changes: reading stays allowed."""
    mount_as(t, "squashed", "allow rw fsname=cephfs root_squash")
    for uid in (0, 1000):
        t.check(may(t, uid, uid, f"cat {M}/tree/d0/f0"), f"{uid} may not read")
    t.umount()


def test_mapped_ids(t):
    """A bind mount with mapped ids: owners are shown and checked as they are mapped."""
    d = f"{t.fuse.path}/mapped"
    os.makedirs(d, exist_ok=True)
    with open(f"{d}/f", "w") as f:
        f.write("content\n")
    os.chown(f"{d}/f", 1000, 1000)
    os.chmod(f"{d}/f", 0o600)
    t.ensure_mounted()
    t.ok(f"mkdir -p /mnt/mapped; mount --bind -o X-mount.idmap=b:1000:5000:1 {M}/mapped /mnt/mapped")
    t.equal(t.ok("stat -c %u:%g /mnt/mapped/f"), "5000:5000\n", "owner")
    t.equal(t.ok(f"stat -c %u:%g {M}/mapped/f"), "1000:1000\n", "owner without the map")
    t.check(may(t, 5000, 5000, "cat /mnt/mapped/f"), "the owner may not read")
    t.check(not may(t, 1000, 1000, "cat /mnt/mapped/f"), "another may read")
    t.check(may(t, 1000, 1000, f"cat {M}/mapped/f"), "the owner may not read without the map")
    t.ok("umount /mnt/mapped")


def test_encrypted(t):
    """Without the key nothing encrypted is taken for content or for a name."""
    other = t.other_guest()
    enc = "/mnt/ceph/enc"
    other.run(f"mkdir -p {enc} && python3 /lab/src/tools/testing/integration/in_guest/encrypt.py {enc} && cd {enc} && "
              "mkdir -p d && echo secret-content >d/secret-name && ln -s secret-target l && "
              "echo secret-content >secret-name && sync", 60, check=True)
    t.umount_all()
    t.mount()
    t.equal(t.ok(f"stat -c %F {enc}"), "directory\n", "what is seen of it")
    raw = os.listdir(f"{t.fuse.path}/enc")
    t.equal(len(raw), 3, "names that another client sees")
    seen = t.run(f"find {enc} 2>&1; cat {enc}/secret-name {enc}/* 2>&1; readlink {enc}/* 2>&1; head -c 999 {enc}/* 2>&1")
    t.check("secret-content" not in seen.out and "secret-target" not in seen.out, seen.out)
    t.check("Required key not available" in seen.out, seen.out)
    if t.rust:
        for name in raw:
            t.check(name not in seen.out, f"an encrypted name is shown: {seen.out}")
            r = t.run(f"cat {enc}/{name}; readlink {enc}/{name}")
            t.check(r.status and "Required key not available" in r.out, r)
        t.check("encrypted" in t.g.dmesg(), "dmesg does not say why")
    t.equal(t.python(f"import ctypes, os, struct\nbuf = ctypes.create_string_buffer(256)\n"
                     f"assert ctypes.CDLL(None).syscall(332, -100, b'{enc}', 0, 0xfff, buf) == 0\n"
                     "attributes, mask = struct.unpack_from('<Q', buf, 8)[0], struct.unpack_from('<Q', buf, 56)[0]\n"
                     "print(attributes >> 11 & 1, mask >> 11 & 1)"), "1 1\n", "STATX_ATTR_ENCRYPTED")
    t.umount()
    other.run(f"rm -rf {enc}", check=True)


LOCKS = f"""
import errno, fcntl, os, struct
f = os.open("{M}/tree/d0/f0", os.O_RDONLY)
d = os.open("{M}/tree/d0", os.O_RDONLY)
def no(call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == errno.ENOLCK, e
    else:
        raise SystemExit(f"{{call}}{{args}} succeeds")
for fd in f, d:
    for how in fcntl.LOCK_EX, fcntl.LOCK_SH:
        no(fcntl.flock, fd, how)
        no(fcntl.flock, fd, how | fcntl.LOCK_NB)
    fcntl.flock(fd, fcntl.LOCK_UN)
lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
for command in fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_GETLK, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW, fcntl.F_OFD_GETLK:
    no(fcntl.fcntl, f, command, lock)
fcntl.fcntl(f, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, 0, 0, 0, 0))
print("good")
"""


def test_locks(t):
    """No lock is given that other clients do not know of."""
    if not t.rust:
        t.skip("the C client has them")
    t.ensure_mounted()
    t.equal(t.python(LOCKS), "good\n", "locks")


def test_list_of_xattrs(t):
    """cp and rsync hear that they do not get them."""
    if not t.rust:
        t.skip("the C client has them")
    os.setxattr(f"{t.fuse.path}/tree/d1", "user.a", b"value")
    t.ensure_mounted()
    for path in ("tree", "tree/d1", "tree/d1/f1", "links"):
        out = t.python(f"import os\ntry:\n print(os.listxattr('{M}/{path}', follow_symlinks=False))\n"
                       "except OSError as e:\n print(e.errno)")
        t.equal(out, "95\n", f"names of {path}")


def test_removed_directory(t):
    """Who is in a directory that another client removes sees that it has no path any more."""
    d = f"{t.fuse.path}/removed"
    os.makedirs(d, exist_ok=True)
    t.ensure_mounted()
    job = t.g.spawn(f"cd {M}/removed; ls; while [ ! -e /tmp/look ]; do sleep 0.1; done; "
                    "python3 -c 'import os; print(os.getcwd())'; exec true")
    t.wait("it is used", lambda: t.run(f"ls -d /proc/[0-9]*/cwd -l | grep -q {M}/removed").status == 0)
    os.rmdir(d)
    t.wait("it has no path", lambda: t.run(f"ls -d /proc/[0-9]*/cwd -l | grep -q '{M}/removed$'").status != 0)
    t.ok("touch /tmp/look")
    r = job.wait(20)
    t.ok("rm /tmp/look")
    t.check("FileNotFoundError" in r.out, r)


def test_removed_file(t):
    path = f"{t.fuse.path}/removed-file"
    with open(path, "w") as f:
        f.write("content\n")
    t.ensure_mounted()
    job = t.g.spawn(f"exec tail -f {M}/removed-file")
    t.wait("it is open", lambda: t.run(f"ls -l /proc/[0-9]*/fd | grep -q {M}/removed-file").status == 0)
    os.unlink(path)
    t.wait("it has no path", lambda: t.run(f"ls -l /proc/[0-9]*/fd | grep -q '{M}/removed-file (deleted)'").status == 0)
    job.kill()
    job.wait(20)
