// SPDX-License-Identifier: GPL-2.0
//! The bytes of msgr1, the messenger of port 6789 (Ceph: src/msg/msg_types.h,
//! src/include/msgr.h, src/msg/async/ProtocolV1.cc).
//!
//! ```text
//!   server > banner, its address, ours as it sees it
//!   client > banner, its address, Connect, authorizer
//!   server > ConnectReply, its answer to the authorizer
//!     ...                                 until the reply says READY or SEQ
//!   either > MSG, header, front, middle, data, footer
//!          > ACK, number   > KEEPALIVE2, time   > KEEPALIVE2_ACK, time   > CLOSE
//! ```
//!
//! # Errors
//!
//! `EBADMSG` for bytes that are none of this, `ENOMEM`.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use kernel::prelude::*;

use super::decode::Decoder;
use super::encode::{Encoder, Writer};
use super::types::{AddrType, EntityAddr, EntityName, EntityType, Timespec};
use crate::errno::ebadmsg;

/// What both sides begin with (`CEPH_BANNER`).
pub const BANNER: &[u8; 9] = b"ceph v027";
/// Length of an address in the banner: `ceph_entity_addr` with a `sockaddr_storage`.
pub const ADDR_LEN: usize = 136;
/// Length of [`ConnectReply`].
pub const CONNECT_REPLY_LEN: usize = 26;
/// Length of [`Header`].
pub const HEADER_LEN: usize = 53;
/// Length of [`Footer`], with the signature.
pub const FOOTER_LEN: usize = 21;
/// Length of [`Footer`] for peers without `MSG_AUTH`.
pub const OLD_FOOTER_LEN: usize = 13;

/// What the bytes after it are (`CEPH_MSGR_TAG_*`).
pub mod tag {
    /// In a [`ConnectReply`](super::ConnectReply): the session is open.
    pub const READY: u8 = 1;
    /// The server does not know the session.
    pub const RESETSESSION: u8 = 2;
    /// Meant for peers that connect to each other.
    pub const WAIT: u8 = 3;
    /// The server has a higher `connect_seq`.
    pub const RETRY_SESSION: u8 = 4;
    /// The server has seen a higher `global_seq`.
    pub const RETRY_GLOBAL: u8 = 5;
    /// The peer closes the connection.
    pub const CLOSE: u8 = 6;
    /// A message follows.
    pub const MSG: u8 = 7;
    /// The number of the last message that arrived follows.
    pub const ACK: u8 = 8;
    /// Nothing follows.
    pub const KEEPALIVE: u8 = 9;
    /// The versions of the protocol above differ.
    pub const BADPROTOVER: u8 = 10;
    /// The authorizer was not taken.
    pub const BADAUTHORIZER: u8 = 11;
    /// The server wants features that we lack.
    pub const FEATURES: u8 = 12;
    /// As [`READY`], and the number of the last message that arrived follows.
    pub const SEQ: u8 = 13;
    /// A time follows.
    pub const KEEPALIVE2: u8 = 14;
    /// The time of a keepalive, sent back, follows.
    pub const KEEPALIVE2_ACK: u8 = 15;
    /// The authorizer is to be made anew, with the challenge that follows.
    pub const CHALLENGE_AUTHORIZER: u8 = 16;
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Takes an address of a banner, which is as long as any and has a big-endian family.
pub fn decode_addr(d: &mut Decoder<'_>) -> Result<EntityAddr> {
    let mut d = d.sub(ADDR_LEN)?;
    d.u32()?;
    let nonce = d.u32()?;
    let family = u16::from_be_bytes(d.array()?);
    let port = u16::from_be_bytes(d.array()?);
    let ip = match family {
        0 => None,
        AF_INET => Some(IpAddr::V4(Ipv4Addr::from(d.array::<4>()?))),
        AF_INET6 => {
            d.skip(4)?;
            Some(IpAddr::V6(Ipv6Addr::from(d.array::<16>()?)))
        }
        _ => return Err(ebadmsg()),
    };
    Ok(EntityAddr {
        kind: AddrType::LEGACY,
        nonce,
        sock: ip.map(|ip| SocketAddr::new(ip, port)),
    })
}

/// Adds an address of a banner.
pub fn encode_addr(e: &mut Encoder, addr: &EntityAddr) -> Result {
    let mut out = [0; ADDR_LEN];
    let mut w = Writer::new(&mut out);
    w.put([0; 4]);
    w.put(addr.nonce.to_le_bytes());
    match addr.sock {
        Some(SocketAddr::V4(sock)) => {
            w.put(AF_INET.to_be_bytes());
            w.put(sock.port().to_be_bytes());
            w.put(sock.ip().octets());
        }
        Some(SocketAddr::V6(sock)) => {
            w.put(AF_INET6.to_be_bytes());
            w.put(sock.port().to_be_bytes());
            w.put([0; 4]);
            w.put(sock.ip().octets());
        }
        None => {}
    }
    e.bytes(&out)?;
    Ok(())
}

/// `ceph_msg_connect`: asks for a session. The authorizer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What we know.
    pub features: u64,
    /// How often this client has connected to anything.
    pub global_seq: u32,
    /// How often this session has been connected.
    pub connect_seq: u32,
    /// Version of the protocol above (`CEPH_MONC_PROTOCOL` and so on).
    pub protocol_version: u32,
    /// `CEPH_AUTH_*`, 0 without an authorizer.
    pub authorizer_protocol: u32,
    /// Length of the authorizer.
    pub authorizer_len: u32,
    /// `CEPH_MSG_CONNECT_LOSSY`.
    pub flags: u8,
}

impl Connect {
    /// Adds it.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u64(self.features)?;
        e.u32(u32::from(EntityType::CLIENT.0))?;
        e.u32(self.global_seq)?.u32(self.connect_seq)?;
        e.u32(self.protocol_version)?;
        e.u32(self.authorizer_protocol)?.u32(self.authorizer_len)?;
        e.u8(self.flags)?;
        Ok(())
    }
}

/// The server may drop messages of the session (`CEPH_MSG_CONNECT_LOSSY`).
pub const CONNECT_LOSSY: u8 = 1;

/// `ceph_msg_connect_reply`: what follows is the answer to the authorizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectReply {
    /// `tag::*`.
    pub tag: u8,
    /// What the server knows, or wants.
    pub features: u64,
    /// With `RETRY_GLOBAL`: choose a higher one.
    pub global_seq: u32,
    /// With `RETRY_SESSION`: go on with this.
    pub connect_seq: u32,
    /// With `BADPROTOVER`: the server's.
    pub protocol_version: u32,
    /// Length of what follows.
    pub authorizer_len: u32,
    /// `CEPH_MSG_CONNECT_LOSSY`.
    pub flags: u8,
}

impl ConnectReply {
    /// Reads it.
    pub fn decode(bytes: &[u8; CONNECT_REPLY_LEN]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        Ok(Self {
            tag: d.u8()?,
            features: d.u64()?,
            global_seq: d.u32()?,
            connect_seq: d.u32()?,
            protocol_version: d.u32()?,
            authorizer_len: d.u32()?,
            flags: d.u8()?,
        })
    }
}

/// `ceph_msg_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Position in the stream of messages of the session, from 1.
    pub seq: u64,
    /// Chosen by the sender; a reply repeats it.
    pub tid: u64,
    /// `CEPH_MSG_*`.
    pub kind: u16,
    /// Larger goes first.
    pub priority: u16,
    /// Version of the encoding of front and middle.
    pub version: u16,
    /// Bytes of front, middle and data.
    pub segments: [u32; 3],
    /// Where in a page the data would like to begin.
    pub data_off: u16,
    /// Who sent it.
    pub src: EntityName,
    /// The oldest version whose reader understands this one.
    pub compat_version: u16,
    /// CRC-32C of what is before it.
    pub crc: u32,
}

impl Header {
    /// Of no message.
    pub const EMPTY: Self = Self {
        seq: 0,
        tid: 0,
        kind: 0,
        priority: 0,
        version: 0,
        segments: [0; 3],
        data_off: 0,
        src: EntityName {
            kind: EntityType(0),
            num: 0,
        },
        compat_version: 0,
        crc: 0,
    };
    /// The bytes that the checksum covers.
    pub const COVERED: usize = HEADER_LEN - 4;

    /// Reads it; whether the checksum is right is not looked at.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        let (seq, tid) = (d.u64()?, d.u64()?);
        let (kind, priority, version) = (d.u16()?, d.u16()?, d.u16()?);
        let segments = [d.u32()?, d.u32()?, d.u32()?];
        let data_off = d.u16()?;
        let src = EntityName::decode(&mut d)?;
        let compat_version = d.u16()?;
        d.u16()?;
        Ok(Self {
            seq,
            tid,
            kind,
            priority,
            version,
            segments,
            data_off,
            src,
            compat_version,
            crc: d.u32()?,
        })
    }

    /// The bytes to send. `crc32c` gives the checksum of what is before it, which it
    /// begins with 0.
    pub fn encode(&self, crc32c: impl FnOnce(&[u8]) -> u32) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut w = Writer::new(&mut out);
        w.put(self.seq.to_le_bytes());
        w.put(self.tid.to_le_bytes());
        w.put(self.kind.to_le_bytes());
        w.put(self.priority.to_le_bytes());
        w.put(self.version.to_le_bytes());
        for len in self.segments {
            w.put(len.to_le_bytes());
        }
        w.put(self.data_off.to_le_bytes());
        w.put([self.src.kind.0]);
        w.put(self.src.num.to_le_bytes());
        w.put(self.compat_version.to_le_bytes());
        if let Some((covered, crc)) = out.split_last_chunk_mut() {
            *crc = crc32c(covered).to_le_bytes();
        }
        out
    }
}

/// The sender sent all of the message (`CEPH_MSG_FOOTER_COMPLETE`).
pub const FOOTER_COMPLETE: u8 = 1;
/// The checksum of the data is not set (`CEPH_MSG_FOOTER_NOCRC`).
pub const FOOTER_NOCRC: u8 = 2;
/// There is a signature (`CEPH_MSG_FOOTER_SIGNED`).
pub const FOOTER_SIGNED: u8 = 4;

/// `ceph_msg_footer`: what ends a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// CRC-32C of front, middle and data, each begun with 0.
    pub crcs: [u32; 3],
    /// The signature, if there is one.
    pub sig: u64,
    /// `FOOTER_*`.
    pub flags: u8,
}

impl Footer {
    /// Reads a footer with a signature.
    pub fn decode(bytes: &[u8; FOOTER_LEN]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        Ok(Self {
            crcs: [d.u32()?, d.u32()?, d.u32()?],
            sig: d.u64()?,
            flags: d.u8()?,
        })
    }

    /// Reads a footer of a peer without `MSG_AUTH`.
    pub fn decode_old(bytes: &[u8; OLD_FOOTER_LEN]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        Ok(Self {
            crcs: [d.u32()?, d.u32()?, d.u32()?],
            sig: 0,
            flags: d.u8()?,
        })
    }

    /// The bytes to send, and how many of them: 21 with a signature, 13 for a peer
    /// without `MSG_AUTH`.
    pub fn encode(&self, msg_auth: bool) -> ([u8; FOOTER_LEN], usize) {
        let mut out = [0; FOOTER_LEN];
        let mut w = Writer::new(&mut out);
        for crc in self.crcs {
            w.put(crc.to_le_bytes());
        }
        if msg_auth {
            w.put(self.sig.to_le_bytes());
        }
        w.put([self.flags]);
        (out, if msg_auth { FOOTER_LEN } else { OLD_FOOTER_LEN })
    }
}

/// What a signature covers (`CEPHX_V2`): the checksums and lengths of a message and the
/// lower half of its number.
pub fn signed_block(header: &Header, footer: &Footer) -> [u8; 32] {
    let mut out = [0; 32];
    let mut w = Writer::new(&mut out);
    w.put(header.crc.to_le_bytes());
    for (crc, len) in footer.crcs.iter().zip(header.segments) {
        w.put(crc.to_le_bytes());
        w.put(len.to_le_bytes());
    }
    if let Some(low) = header.seq.to_le_bytes().first_chunk::<4>() {
        w.put(*low);
    }
    out
}

/// A tag and a number.
pub fn ack(seq: u64) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(tag::ACK)?.u64(seq)?;
    Ok(e.into_vec())
}

/// A tag and the time of day.
pub fn keepalive2(now: Timespec) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(tag::KEEPALIVE2)?.timespec(now)?;
    Ok(e.into_vec())
}

#[kunit_tests(ceph_wire_msgr1)]
mod tests {
    use super::*;

    fn addr(sock: Option<SocketAddr>) -> EntityAddr {
        EntityAddr {
            kind: AddrType::LEGACY,
            nonce: 0x1122_3344,
            sock,
        }
    }

    #[test]
    fn addresses() -> Result {
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 6789);
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 6789);
        for addr in [addr(Some(v4)), addr(Some(v6)), addr(None)] {
            let mut e = Encoder::new();
            encode_addr(&mut e, &addr)?;
            assert_eq!(e.len(), ADDR_LEN);
            assert_eq!(decode_addr(&mut Decoder::new(e.as_slice()))?, addr);
            for len in 0..ADDR_LEN {
                let short = e.as_slice().get(..len).ok_or(EINVAL)?;
                assert!(decode_addr(&mut Decoder::new(short)).is_err());
            }
        }
        // As ceph-mon sends 10.77.0.1:6789/0x11223344.
        let mut e = Encoder::new();
        encode_addr(&mut e, &addr(Some(v4)))?;
        let want = [
            0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0, 2, 0x1a, 0x85, 10, 77, 0, 1, 0, 0,
        ];
        assert_eq!(e.as_slice().get(..18), Some(&want[..]));
        let mut other_family = [0; ADDR_LEN];
        other_family[9] = 1;
        assert!(decode_addr(&mut Decoder::new(&other_family)).is_err());
        Ok(())
    }

    #[test]
    fn connecting() -> Result {
        let connect = Connect {
            features: 1 << 61,
            global_seq: 2,
            connect_seq: 3,
            protocol_version: 24,
            authorizer_protocol: 2,
            authorizer_len: 5,
            flags: 0,
        };
        let mut e = Encoder::new();
        connect.encode(&mut e)?;
        let want = [
            0, 0, 0, 0, 0, 0, 0, 0x20, 8, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 24, 0, 0, 0, 2, 0, 0, 0,
            5, 0, 0, 0, 0,
        ];
        assert_eq!(e.as_slice(), &want[..]);
        let mut bytes = [0; CONNECT_REPLY_LEN];
        bytes[0] = tag::RETRY_GLOBAL;
        bytes[9] = 7;
        bytes[21] = 6;
        bytes[25] = CONNECT_LOSSY;
        let reply = ConnectReply::decode(&bytes)?;
        assert_eq!((reply.tag, reply.global_seq), (tag::RETRY_GLOBAL, 7));
        assert_eq!((reply.authorizer_len, reply.flags), (6, CONNECT_LOSSY));
        Ok(())
    }

    fn header() -> Header {
        Header {
            seq: 0x1_0000_0002,
            tid: 3,
            kind: 42,
            priority: 127,
            version: 5,
            segments: [6, 7, 8],
            data_off: 9,
            src: EntityName {
                kind: EntityType::OSD,
                num: 1,
            },
            compat_version: 4,
            crc: 0,
        }
    }

    #[test]
    fn headers() -> Result {
        let mut covered = 0;
        let bytes = header().encode(|bytes| {
            covered = bytes.len();
            0xaabb_ccdd
        });
        assert_eq!(covered, Header::COVERED);
        let crc = 0xaabb_ccdd;
        assert_eq!(Header::decode(&bytes)?, Header { crc, ..header() });
        assert_eq!(bytes.get(36..38), Some(&[4, 1][..]));
        Ok(())
    }

    #[test]
    fn footers() -> Result {
        let footer = Footer {
            crcs: [1, 2, 3],
            sig: 4,
            flags: FOOTER_COMPLETE | FOOTER_SIGNED,
        };
        let (bytes, len) = footer.encode(true);
        assert_eq!((Footer::decode(&bytes)?, len), (footer, FOOTER_LEN));
        let (bytes, len) = footer.encode(false);
        let old = bytes.first_chunk().ok_or(EINVAL)?;
        assert_eq!(
            (Footer::decode_old(old)?, len),
            (Footer { sig: 0, ..footer }, OLD_FOOTER_LEN)
        );
        Ok(())
    }

    #[test]
    fn what_is_signed() {
        let header = Header {
            crc: 0x0102_0304,
            ..header()
        };
        let footer = Footer {
            crcs: [0x11, 0x12, 0x13],
            ..Footer::default()
        };
        let want = [
            4, 3, 2, 1, 0x11, 0, 0, 0, 6, 0, 0, 0, 0x12, 0, 0, 0, 7, 0, 0, 0, 0x13, 0, 0, 0, 8, 0,
            0, 0, 2, 0, 0, 0,
        ];
        assert_eq!(signed_block(&header, &footer), want);
    }

    #[test]
    fn short_things() -> Result {
        assert_eq!(ack(5)?[..], [8, 5, 0, 0, 0, 0, 0, 0, 0]);
        let now = Timespec { sec: 1, nsec: 2 };
        assert_eq!(keepalive2(now)?[..], [14, 1, 0, 0, 0, 2, 0, 0, 0]);
        Ok(())
    }
}
