# SPDX-License-Identifier: GPL-2.0
"""A real Ceph cluster on one machine, as a class.

It runs inside a lab (see qemu/lab.sh): in the toolbox, in a network, process and
mount namespace of its own, so the addresses are always the same, two clusters do
not meet, and the end of the lab's first process is the end of every daemon.

    c = Cluster(workdir, mons=1, osds=2, mds=1, store="memstore")
    c.start()                    # HEALTH_OK, pools, file system "cephfs"
    c.ceph("osd", "tree")        # the ceph program; c.mon("osd tree") via librados
    c.kill("osd.0"); c.start_daemon("osd.0"); c.freeze("mon.a"); c.thaw("mon.a")
    c.stop()
"""

import base64
import json
import os
import shutil
import signal
import struct
import subprocess
import time
import uuid

NET = "10.77.0"


class ClusterError(Exception):
    """The cluster did not do what it was asked; the text says where the logs are."""


# reef (18.2) or tentacle (20.2): the release of the chroot that we run in.
RELEASE = os.environ.get("LAB_CEPH", "reef")
# What a release makes keys of when nobody says otherwise: (number, bytes).
KEY_TYPES = {"aes": (1, 16), "aes256k": (2, 32)}
DEFAULT_KEY_TYPE = {"reef": "aes", "tentacle": "aes256k"}[RELEASE]


def new_key(kind=DEFAULT_KEY_TYPE):
    """A cephx key in its usual base64 form."""
    number, length = KEY_TYPES[kind]
    secret = os.urandom(length)
    now = time.time()
    return base64.b64encode(
        struct.pack("<HIIH", number, int(now), int(now % 1 * 1e9), len(secret)) + secret).decode()


class Fuse:
    """The file system mounted in the lab by ceph-fuse: another client."""

    def __init__(self, cluster, path):
        self.path = path
        os.makedirs(path, exist_ok=True)
        log = open(os.path.join(cluster.logs, f"{os.path.basename(path)}.out"), "ab")
        self.process = subprocess.Popen(
            ["ceph-fuse", "-f", "-c", cluster.conf, "-n", "client.admin", "--client_fs", cluster.fs,
             path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + 300
        while not os.path.ismount(path):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise ClusterError(f"ceph-fuse does not mount; logs: {cluster.logs}")
            time.sleep(0.05)

    def stop(self):
        subprocess.run(["umount", self.path], check=False, stderr=subprocess.DEVNULL)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Cluster:
    """See the module's text. `logs` outlives the cluster, `workdir` does not."""

    def __init__(self, workdir, logs, mons=1, osds=2, mds=1, store="memstore", size=1,
                 ttl=None, conf=None, fs="cephfs"):
        self.dir, self.logs = workdir, logs
        self.mon_names = [chr(ord("a") + i) for i in range(mons)]
        self.osd_ids = list(range(osds))
        self.mds_names = [chr(ord("a") + i) for i in range(mds)]
        self.store, self.size, self.ttl, self.fs = store, size, ttl, fs
        self.extra = conf or {}
        self.fsid = str(uuid.uuid4())
        self.conf = os.path.join(workdir, "ceph.conf")
        self.keyring = os.path.join(workdir, "keyring")
        self.keys = {}
        self.daemons = {}
        self._rados = None

    # What a client needs to know.

    def mon_ip(self, name):
        return f"{NET}.{1 + ord(name) - ord('a')}"

    def mon_addrs(self):
        """The monitors' msgr2 addresses, as the option mon_addr= wants them."""
        return "/".join(f"{self.mon_ip(m)}:3300" for m in self.mon_names)

    def client_conf(self):
        mons = ",".join(f"[v2:{self.mon_ip(m)}:3300/0,v1:{self.mon_ip(m)}:6789/0]"
                        for m in self.mon_names)
        return f"[global]\n\tfsid = {self.fsid}\n\tmon_host = {mons}\n"

    # Start and stop.

    def start(self, timeout=600):
        t0 = time.monotonic()
        os.makedirs(self.dir, exist_ok=True)
        os.makedirs(self.logs, exist_ok=True)
        self._write_conf()
        self._write_keys()
        self._make_mons()
        for m in self.mon_names:
            self.start_daemon(f"mon.{m}")
        self._wait_quorum(t0 + timeout)
        self.start_daemon("mgr.x")
        for i in self.osd_ids:
            self._make_osd(i)
        for i in self.osd_ids:
            self.start_daemon(f"osd.{i}")
        self.mon("health mute", code="MGR_MODULE_ERROR", sticky=True)
        for m in self.mds_names:
            self.start_daemon(f"mds.{m}")
        self._make_fs()
        self.wait_health(t0 + timeout - time.monotonic())
        return self

    def stop(self):
        if self._rados:
            self._rados.shutdown()
            self._rados = None
        for name in list(self.daemons):
            self.kill(name)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_daemon(self, name):
        """Starts a daemon of this cluster, in the foreground, by its name (osd.0)."""
        if self.running(name):
            raise ClusterError(f"{name} runs already")
        kind, ident = name.split(".", 1)
        log = open(os.path.join(self.logs, f"{name}.out"), "ab")
        self.daemons[name] = subprocess.Popen(
            [f"ceph-{kind}", "-f", "-i", ident, "-c", self.conf], cwd=self.dir,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        log.close()

    def running(self, name):
        p = self.daemons.get(name)
        return p is not None and p.poll() is None

    def kill(self, name, sig=signal.SIGKILL):
        """Ends a daemon and waits for its end. memstore survives only SIGTERM."""
        p = self.daemons.pop(name)
        if p.poll() is None:
            p.send_signal(signal.SIGCONT)
            p.send_signal(sig)
            try:
                p.wait(60)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def terminate(self, name):
        self.kill(name, signal.SIGTERM)

    def restart(self, name, sig=None):
        """One restart. OSDs on memstore are asked to end, everything else is killed."""
        if sig is None:
            gentle = name.startswith("osd.") and self.store == "memstore"
            sig = signal.SIGTERM if gentle else signal.SIGKILL
        self.kill(name, sig)
        self.start_daemon(name)

    def freeze(self, name):
        """A daemon that still has its sockets but does not answer."""
        self.daemons[name].send_signal(signal.SIGSTOP)

    def thaw(self, name):
        self.daemons[name].send_signal(signal.SIGCONT)

    def names(self, kind=""):
        return [n for n in self.daemons if n.startswith(kind)]

    def run_all(self):
        """Every daemon that should run does: thaws those that are stopped, starts the others."""
        names = [f"mon.{m}" for m in self.mon_names] + ["mgr.x"] + [f"osd.{i}" for i in self.osd_ids] + \
            [f"mds.{m}" for m in self.mds_names]
        for n in self.names():
            self.thaw(n)
        for n in names:
            if not self.running(n):
                self.daemons.pop(n, None)
                self.start_daemon(n)

    def add_mon(self, name):
        """A further monitor (a to d) for a running cluster; it joins by itself."""
        monmap = os.path.join(self.dir, f"monmap.{name}")
        self.ceph("mon", "getmap", "-o", monmap)
        if f"[mon.{name}]" not in open(self.conf).read():
            with open(self.conf, "a") as f:
                f.write(f"[mon.{name}]\n\tpublic_addr = {NET}.{1 + ord(name) - ord('a')}\n")
        os.makedirs(os.path.join(self.dir, f"mon.{name}"), exist_ok=True)
        self._tool("ceph-mon", "--mkfs", "-i", name, "-c", self.conf, "--monmap", monmap,
                   "--keyring", self.keyring)
        self.mon_names.append(name)
        self.mon_names.sort()
        self.start_daemon(f"mon.{name}")

    def remove_mon(self, name):
        """Takes a monitor out of the cluster and its data away."""
        self.mon("mon remove", name=name)
        self.mon_names.remove(name)
        self.kill(f"mon.{name}")
        shutil.rmtree(os.path.join(self.dir, f"mon.{name}"))

    # Commands.

    def ceph(self, *args, timeout=60, check=True):
        """Runs the ceph program as client.admin; gives its output."""
        p = subprocess.run(["ceph", "-c", self.conf, "--connect-timeout", str(timeout), *args],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=timeout + 10, check=False, text=True)
        if check and p.returncode:
            raise ClusterError(f"ceph {' '.join(args)}: {p.stderr.strip()}")
        return p.stdout

    def mon(self, prefix, check=True, timeout=30, **args):
        """A monitor command through librados (0.01 s instead of 0.5 s); gives the text."""
        if self._rados is None:
            import rados
            # It ignores the timeouts of its calls.
            r = rados.Rados(conffile=self.conf, name="client.admin", conf={"rados_mon_op_timeout": "300"})
            r.connect(timeout=timeout)
            self._rados = r
        ret, out, err = self._rados.mon_command(
            json.dumps({"prefix": prefix, **args}), b"", timeout=timeout)
        if ret and check:
            raise ClusterError(f"{prefix} {args}: {err} ({ret})")
        return out.decode()

    def mon_json(self, prefix, **args):
        return json.loads(self.mon(prefix, format="json", **args))

    def daemon(self, name, *args):
        """A command over a daemon's admin socket."""
        p = subprocess.run(["ceph", "--admin-daemon", os.path.join(self.dir, f"{name}.asok"), *args],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                           check=False, text=True)
        return p.stdout

    def fuse(self, path="/tmp/fuse"):
        return Fuse(self, path)

    # Waiting.

    def _not_ready(self):
        """Why the cluster is not ready, or None."""
        for name, p in self.daemons.items():
            if p.poll() is not None:
                raise ClusterError(f"{name} ended with {p.returncode}; logs: {self.logs}")
        s = self.mon_json("status")
        if s["health"]["status"] != "HEALTH_OK":
            return ", ".join(s["health"]["checks"]) or s["health"]["status"]
        if s["osdmap"]["num_up_osds"] != len(self.osd_ids):
            return "OSDs are down"
        pgs = {x["state_name"] for x in s["pgmap"]["pgs_by_state"]}
        if pgs != {"active+clean"} or not s["pgmap"]["num_pgs"]:
            return f"PGs are {pgs}"
        return self._mds_not_active(s) if self.mds_names else None

    def _mds_not_active(self, status):
        """Why not all ranks are active, or None."""
        ranks = status["fsmap"]["by_rank"]
        up = [x["status"] for x in ranks]
        if not up or set(up) != {"up:active"}:
            return f"MDS is {up}"
        # After a restart the monitors believe for a while that the daemon's former life goes on.
        for x in ranks:
            try:
                if json.loads(self.daemon(f"mds.{x['name']}", "status"))["id"] == x["gid"]:
                    continue
            except (ValueError, KeyError, subprocess.TimeoutExpired):
                pass
            return f"MDS {x['name']} is not the one that the monitors know"
        return None

    def _pg_states(self):
        return {x["state_name"] for x in self.mon_json("status")["pgmap"]["pgs_by_state"]}

    def wait_health(self, timeout=300):
        end = time.monotonic() + timeout
        kick = time.monotonic() + 20
        while True:
            why = self._not_ready()
            if why is None:
                return
            # Ceph 18.2: a PG whose read lease ran out while its OSDs were stopped with
            # SIGSTOP may stay laggy for ever, its requests delayed. Peering ends that.
            if time.monotonic() > kick and any("laggy" in s for s in self._pg_states()):
                kick = time.monotonic() + 30
                self.mon("osd down", ids=[str(i) for i in self.osd_ids])
            # The timer of an MDS whose monitor ended while it had a client blocklisted may
            # stand still, and with it what the MDS says of its health.
            if time.monotonic() > kick and "MDS_SLOW_REQUEST" in why:
                kick = time.monotonic() + 30
                for x in self.mon_json("status")["fsmap"]["by_rank"]:
                    if not json.loads(self.daemon(f"mds.{x['name']}", "dump_ops_in_flight"))["num_ops"]:
                        self.mon("mds fail", role_or_gid=x["name"])
            if time.monotonic() > end:
                raise ClusterError(f"the cluster is not healthy after {timeout:.0f} s: {why}; "
                                   f"logs: {self.logs}")
            time.sleep(0.3)

    def wait_mds_active(self, timeout=300):
        end = time.monotonic() + timeout
        while True:
            why = self._mds_not_active(self.mon_json("status"))
            if why is None:
                return
            if time.monotonic() > end:
                raise ClusterError(f"no active MDS after {timeout:.0f} s: {why}; logs: {self.logs}")
            time.sleep(0.3)

    def in_quorum(self, name):
        """Whether a monitor itself says so: the others believe in its former life for a while."""
        try:
            return json.loads(self.daemon(name, "mon_status"))["state"] in ("leader", "peon")
        except (ValueError, KeyError, subprocess.TimeoutExpired):
            return False

    def _wait_quorum(self, end):
        want = len(self.mon_names)
        while True:
            try:
                if len(self.mon_json("quorum_status")["quorum"]) == want:
                    return
            except Exception as e:  # librados' own exceptions, while nobody answers yet
                if time.monotonic() > end:
                    raise ClusterError(f"no quorum: {e}; logs: {self.logs}") from e
            if time.monotonic() > end:
                raise ClusterError(f"no quorum of {want}; logs: {self.logs}")
            time.sleep(0.2)

    # Making things.

    def _write_conf(self):
        empty = os.path.join(self.dir, "mgr-modules")
        os.makedirs(empty, exist_ok=True)
        opts = {
            "fsid": self.fsid,
            "mon_host": self.client_conf().split("mon_host = ")[1].strip(),
            "mon_initial_members": ",".join(self.mon_names),
            "keyring": self.keyring,
            "log_file": f"{self.logs}/$name.log",
            "log_to_stderr": "false",
            "err_to_stderr": "true",
            "mon_cluster_log_file": f"{self.logs}/cluster.log",
            "admin_socket": f"{self.dir}/$name.asok",
            "run_dir": self.dir,
            "pid_file": "",
            "crash_dir": f"{self.logs}",
            "public_network": f"{NET}.0/24",
            "public_addr": f"{NET}.1",
            "auth_cluster_required": "cephx",
            "auth_service_required": "cephx",
            "auth_client_required": "cephx",
            "auth_allow_insecure_global_id_reclaim": "false",
            "osd_pool_default_size": self.size,
            "osd_pool_default_min_size": 1,
            "osd_pool_default_pg_num": 8,
            "osd_pool_default_pgp_num": 8,
            "osd_pool_default_pg_autoscale_mode": "off",
            "osd_crush_chooseleaf_type": 0,
            "mon_allow_pool_size_one": "true",
            "mon_allow_pool_delete": "true",
            "mon_warn_on_pool_no_redundancy": "false",
            "mon_warn_on_pool_no_app": "false",
            "mon_max_pg_per_osd": 1000,
            "mon_data_avail_warn": 1,
            "mon_data_avail_crit": 0,
            "mon_data_size_warn": 1 << 40,
            # A stopped OSD's answers are slow long after it goes on.
            "mon_warn_on_slow_ping_time": 1000000,
            "mon_election_timeout": 2,
            "mon_lease": 5,
            "paxos_propose_interval": "0.1",
            "mgr_module_path": empty,
            "mgr_initial_modules": "",
            "mgr_tick_period": 1,
            "mgr_stats_period": 1,
            "mds_beacon_interval": 1,
            "mds_tick_interval": 1,
            "osd_objectstore": self.store,
            "osd_fast_shutdown": "false" if self.store == "memstore" else "true",
            "osd_data": f"{self.dir}/$name",
            "mon_data": f"{self.dir}/$name",
            "mgr_data": f"{self.dir}/$name",
            "mds_data": f"{self.dir}/$name",
            "memstore_device_bytes": 8 << 30,
            "memstore_page_set": "false",
            "bluestore_block_size": 8 << 30,
            "bluestore_fsck_on_mkfs": "false",
            "bluestore_cache_autotune": "false",
            "bluestore_cache_size": 64 << 20,
            "osd_memory_target": 1 << 30,
            "osd_op_num_shards": 2,
            "osd_op_num_threads_per_shard": 1,
            "osd_recovery_sleep": 0,
            # One that is called down so often would end.
            "osd_max_markdown_count": 1000,
            "osd_max_backfills": 10,
            "ms_bind_ipv6": "false",
            "ms_tcp_nodelay": "true",
        }
        if self.ttl:
            opts["auth_service_ticket_ttl"] = self.ttl
            opts["auth_mon_ticket_ttl"] = self.ttl
        opts.update(self.extra)
        with open(self.conf, "w") as f:
            f.write("[global]\n")
            for k, v in opts.items():
                f.write(f"\t{k} = {v}\n")
            for m in self.mon_names:
                f.write(f"[mon.{m}]\n\tpublic_addr = {self.mon_ip(m)}\n")

    def _write_keys(self):
        caps = {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "osd": "allow *", "mds": "allow *", "mgr": "allow *"},
            "client.user": {"mon": "allow r", "mds": "allow rw fsname=" + self.fs,
                            "osd": f"allow rw tag cephfs data={self.fs}"},
            "mgr.x": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
        }
        for m in self.mds_names:
            caps[f"mds.{m}"] = {"mon": "allow profile mds", "osd": "allow *", "mds": "allow *",
                                "mgr": "allow profile mds"}
        for i in self.osd_ids:
            caps[f"osd.{i}"] = {"mon": "allow profile osd", "osd": "allow *",
                                "mgr": "allow profile osd"}
        with open(self.keyring, "w") as f:
            for name, c in caps.items():
                self.keys[name] = new_key()
                f.write(f"[{name}]\n\tkey = {self.keys[name]}\n")
                for k, v in c.items():
                    f.write(f"\tcaps {k} = \"{v}\"\n")

    def add_client(self, name, **caps):
        """A further client; gives its key."""
        flat = []
        for k, v in caps.items():
            flat += [k, v]
        out = json.loads(self.mon("auth get-or-create", entity=name, caps=flat, format="json"))
        self.keys[name] = out[0]["key"]
        return self.keys[name]

    def _tool(self, *args):
        p = subprocess.run(args, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=120, check=False, text=True)
        if p.returncode:
            raise ClusterError(f"{' '.join(args)}: exit {p.returncode}\n{p.stdout[-2000:]}")

    def _make_mons(self):
        monmap = os.path.join(self.dir, "monmap")
        args = ["monmaptool", "--create", "--clobber", "--enable-all-features",
                "--fsid", self.fsid, "--set-min-mon-release", "18"]
        for m in self.mon_names:
            ip = self.mon_ip(m)
            args += ["--addv", m, f"[v2:{ip}:3300,v1:{ip}:6789]"]
        self._tool(*args, monmap)
        for m in self.mon_names:
            os.makedirs(os.path.join(self.dir, f"mon.{m}"), exist_ok=True)
            self._tool("ceph-mon", "--mkfs", "-i", m, "-c", self.conf, "--monmap", monmap,
                       "--keyring", self.keyring)
        for d in ["mgr.x"] + [f"mds.{m}" for m in self.mds_names]:
            os.makedirs(os.path.join(self.dir, d), exist_ok=True)

    def _make_osd(self, i):
        u = str(uuid.uuid4())
        os.makedirs(os.path.join(self.dir, f"osd.{i}"), exist_ok=True)
        self.mon("osd new", uuid=u, id=i)
        self._tool("ceph-osd", "--mkfs", "--no-mon-config", "-i", str(i), "-c", self.conf,
                   "--osd-uuid", u)

    def _make_fs(self):
        fs = self.fs
        self.mon("osd pool create", pool=f"{fs}_meta", pg_num=8)
        self.mon("osd pool create", pool=f"{fs}_data", pg_num=8)
        self.mon("fs new", fs_name=fs, metadata=f"{fs}_meta", data=f"{fs}_data")
        self.mon("fs set", fs_name=fs, var="standby_count_wanted", val="0")
