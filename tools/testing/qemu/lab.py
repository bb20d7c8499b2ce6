# SPDX-License-Identifier: GPL-2.0
"""Guests (QEMU) and the network between them and a cluster, for programs that
qemu/lab.sh runs.

    lab = Lab()
    cluster = lab.cluster(osds=2)         # a started cluster.Cluster
    g = lab.guest()                       # a started Guest
    g.load()                              # libceph.ko, ceph.ko of this checkout
    r = g.run("ls /mnt/ceph", timeout=30) # r.status, r.out; raises when it hangs
    job = g.spawn("mount ..."); job.wait(30); job.kill()
"""

import contextlib
import ctypes
import functools
import mmap
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import cluster as cluster_module

BRIDGE = "br0"
SPLAT = re.compile(r"BUG:|BUG |WARNING:|Oops|Kernel panic|INFO: task|UBSAN|KASAN|rcu:.*stall|Call Trace|"
                   r"general protection|kernel BUG|unreferenced object|INFO: possible|Busy inodes|ODEBUG|"
                   r"blocked for more than|refcount_t|list_\w+ corruption|scheduling while atomic|MAX_LOCK|"
                   r"Disabling lock debugging")
# With an emulated CPU and all checks of the debug kernel, everything takes longer.
LAB_KERNEL = os.environ["LAB_KERNEL_NAME"]
SLOW = 4 if LAB_KERNEL == "debug" else 1
# For limits that only end what hangs: the machine, too, may be slower than the one that they
# were chosen on.
PATIENCE = 4 * SLOW
# A processor that the machine does not run for half a minute is no lockup.
PATIENT = "rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60 workqueue.watchdog_thresh=120"
LEAKS = "/sys/kernel/debug/kmemleak"


@functools.cache
def tsc_khz():
    """The rate of this machine's time stamp counter, which is that of a guest under TCG, too.
    The guest would find out a wrong one while others keep the processors busy, or none and
    count interrupts, and its clock would run up to four times too slow or too fast."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f31" "48c1e220" "4809d0" "c3"))  # rdtsc; rax |= rdx << 32; ret
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def now():
        # The one of some that was interrupted the least.
        return min(((time.monotonic_ns(), rdtsc(), time.monotonic_ns()) for _ in range(9)), key=lambda x: x[2] - x[0])
    a = now()
    time.sleep(0.1)
    b = now()
    return (b[1] - a[1]) * 2000000 // (b[0] + b[2] - a[0] - a[2])


class GuestError(Exception):
    """The guest died, hung, or a command failed that must not."""


class Result:
    """Exit status and output (both streams) of a command, and how long it took."""

    def __init__(self, status, out, seconds):
        self.status, self.out, self.seconds = status, out, seconds

    def __repr__(self):
        return f"exit {self.status} after {self.seconds:.2f} s: {self.out.strip()[-2000:]}"


class Job:
    """A command that runs in a guest."""

    def __init__(self, guest, number, command):
        self.guest, self.number, self.command = guest, number, command
        self.started = time.monotonic()
        self.done = threading.Event()
        self.status = self.ended = None

    def output(self):
        try:
            with open(f"{self.guest.dir}/cmd/{self.number}.out", errors="backslashreplace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def finished(self):
        return self.done.is_set()

    def kill(self):
        self.guest._tell(f"kill {self.number}")

    def wait(self, timeout=60):
        """The Result; GuestError (with the blocked tasks) when it does not end in time."""
        timeout *= PATIENCE
        if not self.done.wait(timeout):
            self.guest.check_alive()
            out = self.output()
            stacks = self.guest.show_blocked(self)
            self.kill()
            self.done.wait(5)
            raise GuestError(f"no end after {timeout:.0f} s: {self.command}\n{out[-1500:]}\n"
                             f"{stacks[:4000]}\n"
                             f"console: {self.guest.lab.host(self.guest.console)}")
        self.guest.check_alive(self)
        return Result(self.status, self.output(), self.ended - self.started)


class Guest:
    """A virtual machine with the chosen kernel. `plugin`, a TCG plugin with its
    arguments, makes it emulate the processor even where KVM could."""

    def __init__(self, lab, name, index, memory=2048, smp=2, kernel_args="", plugin=None):
        self.lab, self.name, self.index = lab, name, index
        self.memory, self.smp, self.kernel_args, self.plugin = memory, smp, kernel_args, plugin
        self.dir = os.path.join(lab.run, name)
        self.console = os.path.join(lab.run, f"{name}.console")
        self.address = f"{cluster_module.NET}.{10 + index}"
        self.process = None
        self.jobs = {}
        self.next = 1
        self.lock = threading.Lock()
        self.ready = threading.Event()

    def start(self, timeout=600):
        os.makedirs(f"{self.dir}/cmd", exist_ok=True)
        with open("/src/tools/testing/guest/init") as f, open(f"{self.dir}/init", "w") as t:
            t.write(f.read())
        with open(f"{self.dir}/guest.conf", "w") as f:
            f.write(f"NAME={self.name}\nADDRESS={self.address}/24\n")
        open(f"{self.dir}/env", "a").close()
        tap = f"tap{self.index}"
        sh(f"ip tuntap add {tap} mode tap && ip link set {tap} master {BRIDGE} up")
        sock = f"/tmp/{self.name}.sock"
        env = os.environ
        kvm = not self.plugin and os.path.exists("/dev/kvm") and any(
            f in open("/proc/cpuinfo").read() for f in (" vmx ", " svm "))
        accel = ["-accel", "kvm", "-cpu", "host"] if kvm else \
            ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"]  # see kunit/run.sh
        shares = [("run", self.dir, ""), ("src", "/src", ",readonly=on"),
                  ("modules", env["LAB_MODULES"], ",readonly=on")]
        if env.get("LAB_KMODS"):
            shares.append(("kernel", env["LAB_KMODS"], ",readonly=on"))
        args = ["qemu-system-x86_64", *accel, "-smp", str(self.smp), "-m", str(self.memory),
                "-machine", "q35,smm=off,hpet=off,vmport=off", "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot", "-kernel", env["LAB_KERNEL"],
                "-initrd", env["LAB_INITRD"],
                "-append", "console=ttyS0 loglevel=6 mitigations=off no_timer_check "
                           f"tsc=reliable {'' if kvm else f'tsc_early_khz={tsc_khz()}'} "
                           f"nokaslr panic=-1 printk.devkmsg=on {PATIENT} {self.kernel_args}",
                "-chardev", f"file,id=con,path={self.console}", "-serial", "chardev:con",
                "-drive", f"file={env['LAB_GUEST']}/root.ext4,if=none,id=root,format=raw,snapshot=on",
                "-device", "virtio-blk-pci,drive=root",
                "-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:{self.index:02x}",
                "-device", "virtio-serial-pci", "-chardev",
                f"socket,id=lab,path={sock},server=on,wait=off",
                "-device", "virtserialport,chardev=lab,name=lab", "-device", "virtio-rng-pci"]
        if self.plugin:
            args += ["-plugin", self.plugin]
        for tag, path, how in shares:
            args += ["-fsdev", f"local,id={tag},path={path},security_model=none{how}",
                     "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        end = time.monotonic() + timeout
        # QEMU sometimes never starts the processor: nothing is printed, nothing runs. (With this
        # loglevel the kernel's first line is printed.)
        while not self._power_on(args, sock, min(end, time.monotonic() + 120 * SLOW)):
            if time.monotonic() > end:
                raise GuestError(f"{self.name} is not up after {timeout} s\n{self.tail()}")
            print(f"# {self.name} does not start; once more", flush=True)
            self.process.kill()
            self.process.wait()
        while not self.ready.wait(0.5):
            self.check_alive()
            if time.monotonic() > end:
                raise GuestError(f"{self.name} is not up after {timeout} s\n{self.tail()}")
        with open(self.console, errors="replace") as f:
            if "Disabling lock debugging" in f.read():
                raise GuestError(f"KASAN and lockdep were used up while {self.name} booted\n{self.tail()}")
        return self

    def _power_on(self, args, sock, end):
        """Starts QEMU. Whether the kernel says something before `end`."""
        with open(os.path.join(self.lab.run, f"{self.name}.qemu"), "ab") as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "TMPDIR": "/tmp"})
        self.channel = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.channel.connect(sock)
                break
            except OSError:
                self.check_alive()
                time.sleep(0.05)
        threading.Thread(target=self._listen, args=(self.channel, self.process), daemon=True).start()
        while not self.ready.wait(0.5):
            self.check_alive()
            if os.path.exists(self.console) and os.path.getsize(self.console):
                return True
            if time.monotonic() > end:
                return False
        return True

    def _listen(self, channel, process):
        for line in channel.makefile("r", errors="replace"):
            words = line.split()
            if words[:1] == ["ready"]:
                self.ready.set()
            elif words[:1] == ["done"] and len(words) == 3:
                job = self.jobs.get(int(words[1]))
                if job:
                    job.status, job.ended = int(words[2]), time.monotonic()
                    job.done.set()
        process.wait()
        if process is not self.process:
            return
        for job in list(self.jobs.values()):
            job.done.set()

    def _tell(self, line):
        try:
            self.channel.sendall(f"{line}\n".encode())
        except OSError as e:
            raise GuestError(f"{self.name} is gone: {e}\n{self.tail()}") from e

    def check_alive(self, job=None):
        """GuestError when QEMU has ended (a panic ends it)."""
        if (job is None or job.status is None) and self.process.poll() is not None:
            raise GuestError(f"{self.name} died (QEMU exit {self.process.returncode})\n{self.tail()}")

    def tail(self, lines=60):
        try:
            with open(self.console, errors="replace") as f:
                return f"--- end of {self.lab.host(self.console)}:\n" + "".join(f.readlines()[-lines:])
        except FileNotFoundError:
            return "no console"

    def show_blocked(self, job):
        """Puts the blocked tasks into the kernel's log; gives the stacks of the job's."""
        try:
            look = self.spawn(
                "echo w >/proc/sysrq-trigger\n"
                f"for p in $(pgrep -f cmd/{job.number}.sh) $(ps -eo pid,stat | awk '$2 ~ /^D/ {{print $1}}'); do\n"
                "for t in $p $(pgrep -s $p); do\n"
                "echo \"== $t $(tr '\\0' ' ' </proc/$t/cmdline) $(cut -d' ' -f3 /proc/$t/stat)\"; cat /proc/$t/stack\n"
                "done; done 2>/dev/null")
            look.done.wait(10)
            return look.output()
        except GuestError:
            return ""

    def spawn(self, command):
        """Starts a shell command (bash) and does not wait."""
        with self.lock:
            n = self.next
            self.next += 1
        job = Job(self, n, command)
        with contextlib.suppress(FileNotFoundError):  # of an earlier guest
            os.unlink(f"{self.dir}/cmd/{n}.out")
        with open(f"{self.dir}/cmd/{n}.sh", "w") as f:
            f.write(f". /lab/run/env\n{command}\n")
        self.jobs[n] = job
        self._tell(f"run {n}")
        return job

    def run(self, command, timeout=60, check=False):
        """Runs a shell command; with `check`, GuestError when it fails."""
        r = self.spawn(command).wait(timeout)
        if check and r.status:
            raise GuestError(f"{command}: {r}")
        return r

    def out(self, command, timeout=60):
        return self.run(command, timeout, check=True).out

    def set_env(self, env):
        with open(f"{self.dir}/env", "w") as f:
            for k, v in env.items():
                f.write(f"export {k}={shlex.quote(str(v))}\n")

    def use_cluster(self, c):
        """Tells the guest about a cluster: /etc/ceph, and FSID, MONS, MON, SECRET (of
        client.user) and ADMIN_SECRET in the environment of every command."""
        os.makedirs(f"{self.dir}/ceph", exist_ok=True)
        with open(f"{self.dir}/ceph/ceph.conf", "w") as f:
            f.write(c.client_conf())
        for name in ("client.admin", "client.user"):
            with open(f"{self.dir}/ceph/ceph.{name}.keyring", "w") as f:
                f.write(f"[{name}]\n\tkey = {c.keys[name]}\n")
        self.set_env({"FSID": c.fsid, "MONS": c.mon_addrs(), "MON": c.mon_ip("a") + ":3300",
                      "SECRET": c.keys["client.user"], "ADMIN_SECRET": c.keys["client.admin"]})
        self.run("cp /lab/run/ceph/* /etc/ceph/", check=True)

    def put(self, name, path):
        """Copies a file of the lab to /lab/run/NAME in the guest."""
        shutil.copyfile(path, f"{self.dir}/{name}")

    def load(self, client="rust", timeout=120):
        """Loads the client: `rust` (of this checkout) or `c` (the kernel's own)."""
        if client == "c":
            return self.run("modprobe ceph", timeout, check=True)
        return self.run(
            "set -e; cd /lab/modules\n"
            "for m in $(modinfo -F depends ./libceph.ko ./ceph.ko | tr , ' '); do\n"
            "  [ $m = libceph ] || modprobe $m; done\n"
            "insmod ./libceph.ko; insmod ./ceph.ko", timeout, check=True)

    def unload(self, timeout=60):
        return self.run("rmmod ceph && rmmod libceph", timeout, check=True)

    def dmesg(self, since=None):
        """The kernel's log; `since` is a mark that mark() gave."""
        text = self.out("dmesg")
        if since is not None and since in text:
            text = text.split(since, 1)[1].partition("\n")[2]
        return text

    def mark(self):
        """Writes a line into the kernel's log, to see what comes after it."""
        m = f"lab-mark-{time.monotonic_ns()}"
        self.run(f"echo {m} >/dev/kmsg", check=True)
        return m

    def splats(self, since=None):
        """Lines of the kernel's log that no run may have."""
        return [x for x in self.dmesg(since).splitlines() if SPLAT.search(x)]

    def leaks(self):
        """What kmemleak finds, a string for each leak; empty without it. It reports what
        two scans find and what is 5 s old."""
        if LAB_KERNEL != "debug":
            return []
        out = self.out(f"echo scan >{LEAKS} && sleep 6 && echo scan >{LEAKS} && cat {LEAKS} && echo clear >{LEAKS}", 180)
        return re.findall(r"^unreferenced object.*(?:\n .*)*", out, re.M)

    def slab_objects(self, timeout=20):
        """How many objects are left in the cache of inodes, the only one that our modules
        make, after RCU has freed what it is to free; for when nothing is mounted."""
        end = time.monotonic() + timeout * SLOW
        while True:
            # Empty slabs and the processors' own stocks count until they are given back.
            out = self.out("for d in /sys/kernel/slab/ceph; do [ ! -e $d ] || "
                           "{ echo 1 >$d/shrink; echo ${d##*/} $(cat $d/objects); }; done")
            left = {w[0]: int(w[1]) for w in map(str.split, out.splitlines())}
            if not any(left.values()) or time.monotonic() > end:
                return left
            time.sleep(0.5)

    def stop(self):
        if self.process and self.process.poll() is None:
            try:
                self._tell("poweroff")
                self.process.wait(5)
            except (GuestError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()


class Lab:
    """The network namespace of this run with its bridge, guests and cluster."""

    def __init__(self):
        self.run = os.environ["LAB_RUN"]
        self.guests = []
        self.clusters = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        mons = " ".join(f"&& ip addr add {cluster_module.NET}.{i}/24 dev {BRIDGE}" for i in (1, 2, 3, 4))
        sh(f"ip link set lo up && ip link add {BRIDGE} type bridge forward_delay 0 && "
           f"ip link set {BRIDGE} up {mons}")

    def host(self, path):
        """A path of the run folder as it is called outside the lab."""
        return path.replace(self.run, os.environ["LAB_HOST_RUN"], 1)

    def cluster(self, **args):
        n = len(self.clusters)
        c = cluster_module.Cluster(f"/tmp/ceph{n or ''}", os.path.join(self.run, f"ceph{n or ''}"), **args)
        self.clusters.append(c)
        return c.start()

    def guest(self, **args):
        """Starts a guest, connected to the cluster if there is one."""
        n = len(self.guests)
        g = Guest(self, f"g{n}", n, **args)
        self.guests.append(g)
        g.start()
        if self.clusters:
            g.use_cluster(self.clusters[-1])
        return g

    def stop(self):
        for g in self.guests:
            g.stop()
        for c in self.clusters:
            c.stop()


def sh(command, timeout=120):
    """A shell command in the lab itself; its output, or an error."""
    p = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=timeout, check=False, text=True)
    if p.returncode:
        raise GuestError(f"{command}: exit {p.returncode}: {p.stdout[-2000:]}")
    return p.stdout
