#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Boots a guest, with --cluster a real Ceph cluster too, and runs commands in it.

  shell.py --cluster -- 'mount -t ceph user@.cephfs=/ /mnt/ceph -o secret=$SECRET,ms_mode=crc' 'ls /mnt/ceph'
      builds libceph.ko and ceph.ko of this checkout, boots the stock kernel, insmods
      them, runs each command line with bash, prints output, exit status and what the
      kernel logged meanwhile, and takes everything down.
  shell.py --client c --cluster -- 'ls'      the same with the kernel's own C client
  shell.py --kernel debug ...                with the KUnit/KASAN/lockdep kernel
  shell.py --no-load -- 'insmod /lab/modules/libceph.ko'     loads nothing by itself
  shell.py --keep --cluster                  leaves both up and prints RUN
  shell.py --attach RUN [--reload] -- 'cmd'  runs commands in a kept guest; --reload
      builds, unmounts, rmmods, and insmods the fresh modules
  shell.py --attach RUN                      without a command: a simple shell in the guest
  shell.py --attach RUN --ceph -- osd tree   the ceph program
  shell.py --attach RUN --local -- 'tcpdump -c 5 -i br0'     a command in the lab itself
  shell.py --attach RUN --restart osd.0      (also --kill-daemon, --start-daemon, --freeze, --thaw)
  shell.py --stop RUN

In the guest: $FSID, $MONS (for mon_addr=), $MON (ip:port of mon.a), $SECRET (client.user),
$ADMIN_SECRET; /etc/ceph as on a client; /lab/modules = the built .ko, /lab/src = the
checkout, /lab/run = the folder RUN/g0 of the host (writable). RUN also holds the console
(g0.console) and the daemons' logs (ceph/). --mount mounts at /mnt/ceph; --fill small|demo
writes a tree through another client first, and `python3 /lab/src/tools/testing/cluster/verify.py
/lab/run/manifest.json /mnt/ceph` in the guest compares it.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("CEPH_RUST_CACHE", "/var/cache/ceph-rust")


class Connection:
    """Speaks to serve.py over the socket of a run."""

    def __init__(self, run):
        self.socket = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        try:  # a socket's path may have only 108 characters
            os.chdir(run)
            self.socket.connect("sock")
        finally:
            os.chdir(here)
        self.file = self.socket.makefile("rw")

    def ask(self, **request):
        self.file.write(json.dumps(request) + "\n")
        self.file.flush()
        line = self.file.readline()
        if not line:
            sys.exit("error: the lab has ended")
        return json.loads(line)


def run_all(conn, commands, timeout, quiet=False):
    """Runs the commands, shows everything; gives the last failing status."""
    status = 0
    seen = len(conn.ask(op="dmesg")["output"])
    for c in commands:
        print(f"\n# {c}", flush=True)
        r = conn.ask(op="run", command=c, timeout=timeout)
        sys.stdout.write(r["output"])
        if r["status"]:
            status = r["status"]
            print(f"[exit {status}]", flush=True)
    if not quiet:
        r = conn.ask(op="dmesg")
        new = r["output"][seen:] if not r.get("failed") else r["output"]
        if new.strip():
            print(f"\n# dmesg\n{new}", flush=True)
    return status


def interactive(conn, run):
    """A simple shell: each line is a bash of its own that keeps the folder."""
    import readline  # noqa: F401  (line editing for input)
    cwd = "/"
    while True:
        try:
            line = input(f"guest:{cwd}# ")
        except EOFError:
            print()
            return 0
        if line.strip() == "exit":
            return 0
        if line.strip():
            r = conn.ask(op="run", timeout=600, command=f"cd '{cwd}'\ntrap 'pwd >/lab/run/cwd' EXIT\n{line}")
            sys.stdout.write(r["output"])
            if r["status"]:
                print(f"[exit {r['status']}]")
            with open(f"{run}/g0/cwd") as f:
                cwd = f.read().strip() or "/"


def kernel_args(a):
    return ["-k", a.kernel] if a.kernel else []


def start(a):
    os.makedirs(f"{CACHE}/run", exist_ok=True)
    run = tempfile.mkdtemp(prefix=time.strftime("%H%M%S-"), dir=f"{CACHE}/run")
    lab = [f"{HERE}/lab.sh", *kernel_args(a), "-r", run]
    if a.no_build or a.client != "rust":
        lab.append("-n")
    lab.append("qemu/serve.py")
    for o in ("cluster", "no_load", "no_guest", "mount", "keep"):
        if getattr(a, o):
            lab.append("--" + o.replace("_", "-"))
    for o in ("mons", "osds", "mds", "store", "ttl", "client", "memory", "fill"):
        if getattr(a, o):
            lab += ["--" + o, str(getattr(a, o))]
    for c in a.conf:
        lab += ["--conf", c]
    log = open(f"{run}/lab.log", "w+")
    p = subprocess.Popen(lab, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                         start_new_session=True)
    shown = 0
    try:
        while True:
            with open(f"{run}/lab.log") as f:
                f.seek(shown)
                text = f.read()
            shown += len(text.encode())
            ready = "READY\n" in text
            sys.stdout.write(text.replace("READY\n", ""))
            sys.stdout.flush()
            if ready:
                return run, p
            if p.poll() is not None and not text:
                sys.exit(f"error: the lab did not start; logs: {run}")
            time.sleep(0.1)
    except BaseException:
        p.terminate()
        raise


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kernel", default=None)
    p.add_argument("--cluster", action="store_true")
    p.add_argument("--mons", type=int)
    p.add_argument("--osds", type=int)
    p.add_argument("--mds", type=int)
    p.add_argument("--store")
    p.add_argument("--ttl", type=int)
    p.add_argument("--conf", action="append", default=[], help="ceph.conf option, name=value")
    p.add_argument("--fill", choices=("small", "demo"))
    p.add_argument("--client", default="rust", choices=("rust", "c"))
    p.add_argument("--memory", type=int)
    p.add_argument("--no-load", action="store_true")
    p.add_argument("--no-build", action="store_true")
    p.add_argument("--no-guest", action="store_true")
    p.add_argument("--mount", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--timeout", type=float, default=120, help="for each command, in seconds")
    p.add_argument("--attach", metavar="RUN")
    p.add_argument("--reload", action="store_true")
    p.add_argument("--ceph", action="store_true")
    p.add_argument("--local", action="store_true")
    p.add_argument("--restart", metavar="DAEMON")
    p.add_argument("--kill-daemon", metavar="DAEMON")
    p.add_argument("--start-daemon", metavar="DAEMON")
    p.add_argument("--freeze", metavar="DAEMON")
    p.add_argument("--thaw", metavar="DAEMON")
    p.add_argument("--stop", metavar="RUN")
    p.add_argument("command", nargs="*")
    a = p.parse_args()

    if a.stop:
        c = Connection(a.stop)
        c.file.write('{"op": "stop"}\n')
        c.file.flush()
        return 0
    if a.attach:
        c = Connection(a.attach)
        for flag, op in (("restart", "restart"), ("kill_daemon", "kill"), ("freeze", "freeze"),
                         ("start_daemon", "start_daemon"), ("thaw", "thaw")):
            if getattr(a, flag):
                r = c.ask(op=op, name=getattr(a, flag))
                sys.stdout.write(r["output"])
                return r["status"]
        if a.ceph or a.local:
            r = c.ask(op="ceph", args=a.command) if a.ceph else \
                c.ask(op="local", command=" ".join(a.command), timeout=a.timeout)
            sys.stdout.write(r["output"])
            return r["status"]
        if a.reload:
            subprocess.run([f"{HERE}/../kernel/modules.sh", *kernel_args(a)], check=True,
                           stdout=subprocess.DEVNULL)
            r = c.ask(op="reload")
            if r["status"]:
                sys.stdout.write(r["output"])
                return r["status"]
        if not a.command and not a.reload:
            return interactive(c, a.attach)
        return run_all(c, a.command, a.timeout)

    run, lab = start(a)
    try:
        c = Connection(run)
        status = run_all(c, a.command, a.timeout) if not a.no_guest else 0
        if a.keep:
            me = os.path.relpath(sys.argv[0])
            print(f"\nkept: {run}\n  {me} --attach {run} [--reload] -- 'command'\n"
                  f"  {me} --stop {run}", flush=True)
        else:
            c.file.write('{"op": "stop"}\n')
            c.file.flush()
            lab.wait(60)
            print(f"\nlogs: {run}", flush=True)
        return status
    except BaseException:
        lab.terminate()
        raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
