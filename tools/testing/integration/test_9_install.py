# SPDX-License-Identifier: GPL-2.0
"""make install and make uninstall, with modules that were built elsewhere."""

INSTALL = "MODULES=/lab/modules /lab/src/tools/install.sh"
# depmod reads every module of the distribution's kernel.
LIMIT = 300
UPDATES = "/lib/modules/$(uname -r)/updates/ceph-rust"


def ours(t):
    """Whether the modules that are loaded are not the kernel's own."""
    return ["O" in t.ok(f"cat /sys/module/{m}/taint") for m in ("libceph", "ceph")]


def path(t, module):
    return t.ok(f"modinfo -n {module}").strip()


def unload(t):
    t.umount_all()
    t.run("rmmod ceph; rmmod libceph", 60)


def test_install_and_uninstall(t):
    if not t.rust:
        t.skip("there is nothing to install")
    unload(t)
    try:
        t.check("/kernel/fs/ceph/" in path(t, "ceph"), "the guest has no C client")
        t.ok("modprobe ceph")
        r = t.run(f"{INSTALL} install")
        t.check(r.status and "the C module ceph is loaded" in r.out, f"installs under the C client: {r}")
        t.ok("rmmod ceph")
        r = t.run(f"{INSTALL} install")
        t.check(r.status and "the C module libceph is loaded" in r.out, f"installs under the C libceph: {r}")
        t.check(t.run(f"ls {UPDATES}").status, "something was installed all the same")
        t.ok("rmmod libceph")

        out = t.ok(f"{INSTALL} install", LIMIT)
        t.check("rbd cannot be loaded until 'make uninstall'" in out, out)
        for m in ("libceph", "ceph"):
            t.check(path(t, m).endswith(f"/updates/ceph-rust/{m}.ko"), f"modprobe finds {path(t, m)}")
        t.mount()
        t.equal(ours(t), [True, True], "ours are loaded by mount")
        t.ok("cat /mnt/ceph/tree/d0/f0 >/dev/null")
        # Again, with ours in use.
        out = t.ok(f"{INSTALL} install", LIMIT)
        t.check("stay until" in out, out)
        t.ok(f"{INSTALL} uninstall", LIMIT)
        t.equal(ours(t), [True, True], "what is in use stays")
        unload(t)

        t.check("/kernel/fs/ceph/" in path(t, "ceph"), f"modprobe finds {path(t, 'ceph')}")
        t.check(t.run(f"ls {UPDATES}").status, "something was left behind")
        t.mount()
        t.equal(ours(t), [False, False], "the C client is back")
        r = t.run(f"{INSTALL} uninstall")
        t.check(r.status and "nothing is installed" in r.out, f"uninstalls nothing: {r}")
    finally:
        unload(t)
        t.run(f"rm -rf {UPDATES}; depmod", LIMIT)
        t.g.load()


def test_install_refuses_another_kernel(t):
    if not t.rust:
        t.skip("there is nothing to install")
    r = t.run(f"mkdir -p /tmp/root/lib/modules/1.2.3 && INSTALL_MOD_PATH=/tmp/root KERNELRELEASE=1.2.3 {INSTALL} install")
    t.check(r.status and "this is 1.2.3" in r.out, f"installs for another kernel: {r}")
    t.check(t.run("ls /tmp/root/lib/modules/1.2.3/updates").status, "something was installed all the same")
