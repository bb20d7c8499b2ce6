# SPDX-License-Identifier: GPL-2.0
"""capture.py OUT.pcap: real messages. Runs a cluster and a guest in a lab (qemu/lab.sh),
does with the file system what brings every type of message about, in crc mode, and
records what goes over the bridge. Run by corpus.sh."""

import os
import signal
import subprocess
import sys
import time

import lab as lab_module

M = "/mnt/ceph"
OPTIONS = "mon_addr=$MONS,secret=$SECRET,ms_mode=crc"


def main():
    lab = lab_module.Lab()
    record = subprocess.Popen(["tcpdump", "-i", lab_module.BRIDGE, "-s", "0", "-B", "65536", "-U",
                               "-w", sys.argv[1], "tcp"], stderr=subprocess.DEVNULL)
    c = lab.cluster(mons=3, osds=3, mds=3, store="bluestore", ttl=40, conf={
        "mds_bal_split_size": 50, "mds_bal_split_bits": 2, "mds_bal_fragment_interval": 1})
    other = c.fuse("/tmp/other")
    g = lab.guest()
    g.load()

    def fuse(command):
        subprocess.run(["bash", "-c", command], cwd=other.path, check=True)

    def guest(command, timeout=60):
        r = g.run(command, timeout)
        if r.status:
            print(f"{command}: {r}", flush=True)

    # Names, links, attributes, layouts, quotas, a folder that splits, snapshots.
    fuse("mkdir -p a/b many q; echo content >a/b/file; ln -s b a/link; ln a/b/file a/hard; mkfifo a/fifo; "
         "head -c 300000 /dev/urandom >big; truncate -s 10M sparse; touch many/{1..400}; "
         "setfattr -n user.name -v value a/b/file; setfattr -n ceph.quota.max_bytes -v 1000000 q; "
         "touch striped; setfattr -n ceph.file.layout.stripe_unit -v 65536 striped; "
         "mkdir a/.snap/first; echo more >>a/b/file; mkdir a/b/.snap/second")
    guest(f"mkdir -p {M}; mount -t ceph user@$FSID.cephfs=/ {M} -o {OPTIONS}")
    guest(f"find {M} | wc -l; ls -lR {M} >/dev/null; cat {M}/a/b/file {M}/big {M}/striped | md5sum; "
          f"df {M}; stat {M}/a/link; ls {M}/none; getfattr -d -m- {M}/a/b/file")
    # What another client does to files that are open and cached here.
    reader = g.spawn(f"exec 3<{M}/a/b/file 4<{M}/big; while :; do cat {M}/a/b/file {M}/big; "
                     f"ls -l {M}/many {M}/a; sleep 0.5; done >/dev/null")
    fuse("echo changed >a/b/file; truncate -s 100 big; rm many/1; mv many/2 a/moved; "
         "setfattr -n ceph.quota.max_files -v 10 q; echo x >q/x; mkdir a/.snap/third; rmdir a/.snap/first; "
         "chmod 600 a/hard; mkdir a/b/.snap/fourth; rmdir a/b/.snap/second")
    time.sleep(3)
    for command in (["fs", "set", "cephfs", "max_mds", "2"],
                    ["osd", "out", "2"], ["osd", "reweight", "1", "0.9"], ["osd", "in", "2"],
                    ["osd", "pool", "create", "other", "8"], ["osd", "pg-upmap-items", "1.0", "0", "1"],
                    ["osd", "set", "noout"], ["osd", "primary-affinity", "0", "0.5"]):
        c.ceph(*command, check=False)
        time.sleep(0.5)
    fuse("setfattr -n ceph.dir.pin -v 1 many; setfattr -n ceph.dir.pin -v 1 a")
    time.sleep(6)
    fuse("setfattr -n ceph.dir.pin -v 0 many a; touch many/new; echo again >a/b/file")
    time.sleep(4)
    # Sessions are taken up again.
    c.restart("osd.1")
    c.restart("mon.a")
    c.ceph("mds", "fail", "0", check=False)
    time.sleep(15)
    time.sleep(5)
    reader.kill()
    guest(f"echo 2 >/proc/sys/vm/drop_caches; ls -lR {M} >/dev/null; umount {M}", 90)
    guest(f"mount -t ceph user@$FSID.cephfs=/a {M} -o {OPTIONS}; ls -l {M}/b; umount {M}; "
          f"mount -t ceph user@$FSID.cephfs=/ {M} -o mon_addr=$MONS,secret=$ADMIN_SECRET,ms_mode=crc")
    record.send_signal(signal.SIGINT)
    record.wait(10)
    other.stop()
    lab.stop()
    print(f"{os.path.getsize(sys.argv[1])} bytes recorded", flush=True)


if __name__ == "__main__":
    main()
