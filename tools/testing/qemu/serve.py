# SPDX-License-Identifier: GPL-2.0
"""The lab's side of shell.py: starts what was asked for, then obeys commands that
come as JSON lines over the socket LAB_RUN/sock. Also used by other programs that
want to stay up (serve(lab))."""

import argparse
import json
import os
import socket
import sys
import threading
import time
import traceback

import lab as lab_module

MOUNT = ("mkdir -p /mnt/ceph && mount -t ceph user@$FSID.cephfs=/ /mnt/ceph "
         "-o mon_addr=$MONS,secret=$SECRET,ms_mode=prefer-crc")


def say(text):
    print(text, flush=True)


def timed(name, f, *args, **kw):
    t = time.monotonic()
    r = f(*args, **kw)
    say(f"{time.monotonic() - t:11.3f} s  {name}")
    return r


def answer(lab, client, request):
    """Does one request; gives {"status", "output"}."""
    op, g = request["op"], lab.guests[0] if lab.guests else None
    timeout = request.get("timeout", 120)
    if op == "run":
        r = g.run(request["command"], timeout / lab_module.PATIENCE)
        return {"status": r.status, "output": r.out, "seconds": r.seconds}
    if op == "reload":
        g.run("umount -a -t ceph; rmmod ceph libceph 2>/dev/null; true", 60)
        g.load(client)
        return {"status": 0, "output": ""}
    if op == "dmesg":
        return {"status": 0, "output": g.dmesg()}
    if op == "ceph":
        return {"status": 0, "output": lab.clusters[0].ceph(*request["args"])}
    if op in ("kill", "terminate", "restart", "freeze", "thaw", "start_daemon"):
        getattr(lab.clusters[0], op)(request["name"])
        return {"status": 0, "output": ""}
    if op == "local":
        return {"status": 0, "output": lab_module.sh(request["command"], timeout)}
    raise ValueError(op)


def serve(lab, client="rust", keep=True):
    """Obeys until somebody sends stop, or, without keep, the first client leaves."""
    path = os.path.join(lab.run, "sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    stop = threading.Event()

    def one(conn, owner):
        with conn, conn.makefile("rw") as f:
            for line in f:
                request = json.loads(line)
                if request["op"] == "stop":
                    stop.set()
                    break
                try:
                    reply = answer(lab, client, request)
                except Exception as e:  # the client shows it
                    text = str(e) if isinstance(e, lab_module.GuestError) else traceback.format_exc()
                    reply = {"status": 125, "output": text, "failed": True}
                try:
                    f.write(json.dumps(reply) + "\n")
                    f.flush()
                except OSError:
                    break
        if owner and not keep:
            stop.set()

    def accept():
        owner = True
        while True:
            conn, _ = s.accept()
            threading.Thread(target=one, args=(conn, owner), daemon=True).start()
            owner = False

    threading.Thread(target=accept, daemon=True).start()
    stop.wait()
    os.unlink(path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cluster", action="store_true")
    p.add_argument("--mons", type=int, default=1)
    p.add_argument("--osds", type=int, default=2)
    p.add_argument("--mds", type=int, default=1)
    p.add_argument("--store", default="memstore")
    p.add_argument("--ttl", type=int)
    p.add_argument("--conf", action="append", default=[])
    p.add_argument("--fill", choices=("small", "demo"))
    p.add_argument("--client", default="rust")
    p.add_argument("--no-load", action="store_true")
    p.add_argument("--no-guest", action="store_true")
    p.add_argument("--mount", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--memory", type=int, default=2048)
    a = p.parse_args()
    lab = lab_module.Lab()
    booted = []

    def boot():
        try:
            g = lab_module.Guest(lab, "g0", 0, memory=a.memory)
            lab.guests.append(g)
            timed(f"guest ({os.environ['LAB_KERNEL_NAME']} kernel)", g.start)
        except Exception as e:
            booted.append(e)

    t = threading.Thread(target=boot)
    if not a.no_guest:
        t.start()
    if a.cluster:
        conf = dict(c.split("=", 1) for c in a.conf)
        timed("cluster", lab.cluster, mons=a.mons, osds=a.osds, mds=a.mds, store=a.store,
              ttl=a.ttl, conf=conf)
        if a.fill:
            import fill
            manifest = timed(f"fill ({a.fill})", fill.fill, lab.clusters[0], a.fill, lab.run)
    if not a.no_guest:
        t.join()
        if booted:
            raise booted[0]
        g = lab.guests[0]
        if a.cluster:
            g.use_cluster(lab.clusters[0])
        if a.fill:
            g.put("manifest.json", manifest)
        if not a.no_load:
            timed(f"load the modules ({a.client})", g.load, a.client)
        if a.mount:
            timed("mount", g.run, MOUNT, 90, check=True)
    say("READY")
    serve(lab, a.client, a.keep)
    lab.stop()


if __name__ == "__main__":
    try:
        main()
    except lab_module.GuestError as e:
        say(f"error: {e}")
        sys.exit(1)
