#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""cut.py RECORDING.pcap MAPS OUT: cuts what was recorded between clients and a cluster
(msgr2 in crc mode) into the messages and parts of messages that each fuzz target
decodes, with the three bytes behind them that choose the target's parameters, into
OUT/TARGET/HASH. MAPS is a folder of OSD maps of osdmaptool."""

import glob
import hashlib
import os
import struct
import sys
from collections import defaultdict

BANNER = b"ceph v2\n"


def streams(path):
    """What each side of each connection sent: ((source, port), (target, port)) -> bytes, in
    the order in which the connections began; the one that opened it goes first."""
    with open(path, "rb") as f:
        data = f.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, start, pieces = 24, {}, defaultdict(dict)
    while at + 16 <= len(data):
        size = struct.unpack_from(order + "I", data, at + 8)[0]
        packet = data[at + 16:at + 16 + size]
        at += 16 + size
        if packet[12:14] != b"\x08\x00" or packet[23] != 6:
            continue
        head = 14 + (packet[14] & 15) * 4
        total = 14 + struct.unpack_from(">H", packet, 16)[0]
        sport, dport, seq, _, offset, flags = struct.unpack_from(">HHIIBB", packet, head)
        key = ((packet[26:30], sport), (packet[30:34], dport))
        if flags & 2:
            start[key] = (seq + 1) & 0xffffffff
            pieces[key] = {}
        body = packet[head + (offset >> 4) * 4:total]
        if body and key in start:
            pieces[key].setdefault((seq - start[key]) & 0xffffffff, body)
        if flags & 5 and key in start:
            yield key, join(pieces.pop(key, {}))
            del start[key]
    for key in start:
        yield key, join(pieces[key])


def join(pieces):
    out = b""
    for at in sorted(pieces):
        if at > len(out):
            break
        out += pieces[at][len(out) - at:] if at < len(out) else pieces[at]
    return out


def frames(stream):
    """(tag, segments, preamble, epilogue) of each frame."""
    if not stream.startswith(BANNER):
        return
    at = 10 + struct.unpack_from("<H", stream, 8)[0]
    while at + 32 <= len(stream):
        tag, count = stream[at], stream[at + 1]
        lens = [struct.unpack_from("<I", stream, at + 2 + 6 * i)[0] for i in range(4)]
        if not 1 <= tag <= 20 or not 1 <= count <= 4 or any(n > 1 << 26 for n in lens):
            return  # secure mode
        preamble, at = stream[at:at + 28], at + 32
        segments = [stream[at:at + lens[0]]]
        at += lens[0] + 4
        for n in lens[1:]:
            segments.append(stream[at:at + n])
            at += n
        epilogue = stream[at:at + 13] if any(lens[1:]) else b""
        at += len(epilogue)
        if at > len(stream):
            return
        yield tag, segments, preamble, epilogue


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, n):
        part, self.data = self.data[:n], self.data[n:]
        if len(part) < n:
            raise ValueError
        return part

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def blob(self):
        return self.take(self.u32())

    def versioned(self):
        """A structure with its head."""
        head = self.take(6)
        return head + self.take(struct.unpack("<I", head[2:])[0])


class Seeds:
    def __init__(self, out):
        self.out, self.fulls, self.count = out, {}, 0

    def add(self, target, data, param=0, aux=0, trailer=True):
        data = bytes(data) + (bytes([aux & 255, param & 255, 0]) if trailer else b"")
        folder = os.path.join(self.out, target)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), "wb") as f:
            f.write(data)
        self.count += 1

    def tickets(self, data):
        r = Reader(data)
        self.add("ticket_replies", data)
        r.u8()
        for _ in range(r.u32()):
            r.take(5)
            r.blob()
            if not r.u8():
                self.add("ticket_blob", r.blob())
            else:
                r.blob()

    def addrs(self, r):
        """An address vector, which is passed over."""
        before = r.data
        if r.u8() != 2:
            return
        for _ in range(r.u32()):
            self.add("entity_addr", r.take(1) + (v := r.versioned()))
            assert v
        self.add("addr_vec", before[:len(before) - len(r.data)])

    def control(self, tag, body):
        names = {1: "hello", 2: "auth_request", 3: "auth_bad_method", 6: "auth_done",
                 8: "client_ident", 9: "server_ident", 11: "session_reconnect", 18: "keepalive",
                 19: "keepalive"}
        if tag in names:
            self.add(names[tag], body)
        r = Reader(body)
        if tag == 4:
            self.add("cephx_payloads", r.blob(), 0)
        elif tag == 6:
            r.take(12)
            payload = r.blob()
            self.add("cephx_payloads", payload, 1)
            if payload[:2] == b"\0\x01":
                self.tickets(payload[6:])
        elif tag in (8, 9, 11):
            self.addrs(r)

    def osdmap(self, data):
        self.add("osdmap", data)
        r = Reader(data[12:])
        r.take(16)
        self.fulls[r.u32()] = data
        r.take(16)
        for _ in range(r.u32()):
            pool_id = r.take(8)[0]
            pool = r.versioned()
            self.add("pool", pool, pool_id)
        # The CRUSH map is a blob that begins with a magic number.
        at = data.find(b"\0\0\1\0", 16)
        while at > 0:
            size = struct.unpack_from("<I", data, at - 4)[0]
            if 60 < size <= len(data) - at:
                for rule in range(2):
                    self.add("crush", data[at:at + size], rule, 3)
                break
            at = data.find(b"\0\0\1\0", at + 1)

    def incremental(self, data):
        self.add("osdmap_inc", data)
        epoch = struct.unpack_from("<I", data, 28)[0]
        full = self.fulls.get(epoch - 1) or next(iter(self.fulls.values()), None)
        if full:
            self.add("osdmap_apply", struct.pack("<H", len(full)) + full + data)

    def inode(self, r):
        inode = r.versioned()
        self.add("inode_stat", inode)

    def reply(self, front):
        op = struct.unpack_from("<I", front)[0]
        self.add("client_reply", front, {0x305: 1, 0x106: 2, 0x402: 3}.get(op, 0))
        r = Reader(front[12:])
        _, dentry, target = r.u8(), r.u8(), r.u8()
        trace = Reader(r.blob())
        if trace.data and dentry:
            self.inode(trace)
            self.add("dir_stat", trace.versioned())
            trace.blob()
            self.add("lease_stat", trace.versioned())
        if trace.data and target:
            self.inode(trace)
        r.blob()
        snaps = r.blob()
        if snaps:
            self.add("snap_trace", snaps)

    def message(self, head, front, middle):
        kind, version = struct.unpack_from("<H2xH", head, 16)
        self.add("message_head", head)
        plain = {4: "monmap", 18: "auth_reply", 41: "osd_maps", 61: "osd_backoff",
                 21: "mdsmap_message", 103: "fsmap_user", 25: "forward", 0x311: "client_lease",
                 0x312: "client_snap", 0x314: "client_quota"}
        replies = {16: 0, 14: 1, 20: 2, 51: 3}
        if kind in plain:
            self.add(plain[kind], front)
        elif kind in replies:
            self.add("mon_replies", front, replies[kind])
        elif kind == 43:
            self.add("osd_op_reply", front, version)
        elif kind == 22:
            self.add("client_session", front, version)
        elif kind == 26:
            self.reply(front)
        elif kind == 0x310 and len(middle) < 256:
            self.add("client_caps", front + middle, version, len(middle))
        r = Reader(front)
        if kind == 41:
            r.take(16)
            incs = [(r.u32(), r.blob()) for _ in range(r.u32())]
            for _, full in [(r.u32(), r.blob()) for _ in range(r.u32())]:
                self.osdmap(full)
            for _, inc in incs:
                self.incremental(inc)
        elif kind == 21:
            r.take(20)
            self.add("mdsmap", r.blob())
        elif kind == 18:
            r.take(16)
            payload = r.blob()
            if payload[:2] in (b"\0\x01", b"\0\x02"):
                self.tickets(payload[6:])
        elif kind == 0x314:
            self.add("quota", front[-22:])

    def written(self):
        """Texts, and what no recording shows."""
        key = b"AQBQ6IVh8L2cIBAAQ1mq2fOJPo2iQEdH0Lz5tA=="
        fsid = b"c3781d60-2225-402f-a2bc-c324d1e45e7f"
        raw = struct.pack("<HIIH", 1, 0x6185e850, 0, 16) + bytes(range(16))
        self.add("crypto_key", raw)
        self.add("crypto_key_armor", key)
        self.add("crypto_key_armor", raw)
        self.add("cephx_payloads", b"\1" + raw + struct.pack("<II", 3600, 0), 2)
        self.add("cephx_payloads", struct.pack("<I", 40) + bytes(40), 3)
        self.add("cephx_payloads", b"\2" + bytes(8) + struct.pack("<I", 40) + bytes(40), 5)
        self.add("fsid", fsid)
        for text in (b"10.77.0.1:3300,10.77.0.2", b"[fe80::1]:6789,::1", b"1.2.3.4/5.6.7.8:0"):
            self.add("addrs_text", text, b"/" in text)
        for text in (b"user@" + fsid + b".cephfs=/a//b/", b"10.0.0.1:6789,[::1]:3300:/a", b"user@.fs="):
            self.add("source", text)

        def text(which, value):
            return bytes([which | 0x80, len(value)]) + value
        self.add("cluster_options", text(15, b"user") + text(18, key) + text(22, b"prefer-crc") +
                 text(20, b"rack:r1|host:h1") + text(11, b"0x10") + text(16, fsid) + text(17, b"10.0.0.9") +
                 text(21, b"localize") + text(23, b"10.0.0.1/10.0.0.2:3300") + bytes([5]))
        self.add("mount_options", bytes([21, 1, 0, 0, 16, 0, 20, 3, 2]) + b"fs" + bytes([0, 0, 25, 3, 2]) +
                 b"no" + bytes([22, 1, 10, 0, 0, 0]))
        self.add("auth_bad_method", struct.pack("<IiIIIII", 2, -95, 1, 2, 2, 1, 2))
        self.add("client_lease", struct.pack("<BHQQQIII", 1, 1, 1 << 40, 2, 3, 4, 5, 4) + b"name")
        pg = struct.pack("<BBIBqIib", 1, 1, 18, 1, 2, 7, -1, -1)
        end = struct.pack("<IQIBI", 4, 2**64 - 2, 5, 0, 0)[4:] + struct.pack("<q", 2)
        begin = b"".join(struct.pack("<BBI", 4, 3, 33 + len(n)) + struct.pack("<II", 0, len(n)) + n + end
                         for n in (b"a", b"bb"))
        self.add("osd_backoff", pg + struct.pack("<IBQ", 9, 1, 3) + begin)
        # Sessions: nothing fails; checksums count; a handshake; messages; reconnect.
        for lossy in (0, 8):
            body = b"".join(bytes([2, i << 4, i, 9]) + bytes(9) + b"\0" + bytes([20]) + bytes(20)
                            for i in range(4))
            self.add("messenger", bytes([0, 7 | lossy, 0, 5, 0]) + body + bytes([6, 3, 6, 2, 7, 0, 6, 0, 5, 1]) +
                     body, trailer=False)
        self.add("auth_client", bytes([0, 0, 9, 0, 6, 0x10, 16]) + bytes(16) + bytes([8, 90, 4, 0]),
                 trailer=False)


def main():
    recording, maps, out = sys.argv[1:]
    seeds = Seeds(out)
    for _, stream in streams(recording):
        for tag, segments, preamble, epilogue in frames(stream):
            try:
                seeds.add("preamble", preamble)
                if epilogue:
                    seeds.add("epilogue", epilogue)
                if tag == 17:
                    seeds.message(*segments[:3])
                else:
                    seeds.control(tag, segments[0])
            except (ValueError, struct.error):
                print(f"a frame of tag {tag} is shorter than it should be")
    for path in sorted(glob.glob(f"{maps}/*")):
        with open(path, "rb") as f:
            data = f.read()
        if path.endswith((".map", ".before")):
            seeds.osdmap(data)
        elif path.endswith(".inc"):
            seeds.incremental(data)
    seeds.written()
    print(f"{seeds.count} parts of messages")


if __name__ == "__main__":
    main()
