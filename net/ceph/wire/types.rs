// SPDX-License-Identifier: GPL-2.0
//! Types that every message uses: `ceph_timespec`, `ceph_fsid`, `entity_name_t`,
//! `entity_addr_t`, `entity_addrvec_t` (Ceph: src/msg/msg_types.h).
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use kernel::prelude::*;

use super::{decode::Decoder, encode::Encoder};
use crate::errno::ebadmsg;

/// `ceph_timespec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timespec {
    /// Seconds since the epoch.
    pub sec: u32,
    /// Nanoseconds.
    pub nsec: u32,
}

impl Decoder<'_> {
    /// Takes a `ceph_timespec`: seconds and nanoseconds, `u32` each.
    #[inline(always)]
    pub fn timespec(&mut self) -> Result<Timespec> {
        Ok(Timespec {
            sec: self.u32()?,
            nsec: self.u32()?,
        })
    }
}

impl Encoder {
    /// Adds a `ceph_timespec`.
    #[inline]
    pub fn timespec(&mut self, time: Timespec) -> Result<&mut Self> {
        self.u32(time.sec)?.u32(time.nsec)
    }
}

/// Identity of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fsid(pub [u8; 16]);

impl Fsid {
    /// Takes 16 bytes.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Fsid(d.array()?))
    }

    /// Reads the text form, with or without hyphens.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] unless it has exactly 32 hexadecimal digits.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut fsid = [0u8; 16];
        let mut digits = text.iter().filter(|c| **c != b'-').map(|c| {
            char::from(*c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
                .ok_or(EINVAL)
        });
        for byte in &mut fsid {
            let high = digits.next().ok_or(EINVAL)??;
            let low = digits.next().ok_or(EINVAL)??;
            *byte = (high << 4) | low;
        }
        match digits.next() {
            None => Ok(Fsid(fsid)),
            Some(_) => Err(EINVAL),
        }
    }
}

impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'?');
        // All at once: a mount names it often.
        let mut text = [b'-'; 36];
        let mut places = text.iter_mut();
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                places.next();
            }
            for (half, place) in [byte >> 4, byte & 15].into_iter().zip(&mut places) {
                *place = digit(half);
            }
        }
        f.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Kind of a daemon or client (`CEPH_ENTITY_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityType(pub u8);

impl EntityType {
    /// A monitor.
    pub const MON: Self = Self(0x01);
    /// A metadata server.
    pub const MDS: Self = Self(0x02);
    /// An object storage daemon.
    pub const OSD: Self = Self(0x04);
    /// A client.
    pub const CLIENT: Self = Self(0x08);
    /// A manager.
    pub const MGR: Self = Self(0x10);
    /// The authentication service of the monitors.
    pub const AUTH: Self = Self(0x20);

    /// The name that Ceph prints.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x01 => "mon",
            0x02 => "mds",
            0x04 => "osd",
            0x08 => "client",
            0x10 => "mgr",
            0x20 => "auth",
            _ => "unknown",
        }
    }
}

/// `ceph_entity_name`: a kind and a number, 9 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityName {
    /// Kind.
    pub kind: EntityType,
    /// Rank or global id.
    pub num: u64,
}

impl EntityName {
    /// Takes 9 bytes.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            kind: EntityType(d.u8()?),
            num: d.u64()?,
        })
    }

    /// Adds 9 bytes.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u8(self.kind.0)?.u64(self.num)?;
        Ok(())
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.name(), self.num)
    }
}

/// How to talk to an address (`entity_addr_t::TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrType(pub u32);

impl AddrType {
    /// No address.
    pub const NONE: Self = Self(0);
    /// msgr1.
    pub const LEGACY: Self = Self(1);
    /// msgr2.
    pub const MSGR2: Self = Self(2);
    /// Either.
    pub const ANY: Self = Self(3);
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `entity_addr_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityAddr {
    /// Protocol.
    pub kind: AddrType,
    /// Tells apart the lives of a daemon or client at one address.
    pub nonce: u32,
    /// IP address and port; none for a blank address.
    pub sock: Option<SocketAddr>,
}

impl EntityAddr {
    /// A blank address.
    pub const BLANK: Self = Self {
        kind: AddrType::NONE,
        nonce: 0,
        sock: None,
    };

    /// Whether there is no usable address: none, or the unspecified one.
    pub fn is_blank(&self) -> bool {
        self.sock.is_none_or(|sock| sock.ip().is_unspecified())
    }

    /// Takes an address in the encoding with a marker byte (since Nautilus).
    ///
    /// # Errors
    ///
    /// `EBADMSG` also for the encoding without a marker, which no server since
    /// Nautilus sends to a client with `MSG_ADDR2`.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        if d.u8()? != 1 {
            return Err(ebadmsg());
        }
        Self::decode_marked(d)
    }

    fn decode_marked(d: &mut Decoder<'_>) -> Result<Self> {
        let (_, mut body) = d.versioned(1)?;
        let kind = AddrType(body.u32()?);
        let nonce = body.u32()?;
        let mut sock = body.blob_decoder()?;
        if sock.is_empty() {
            return Ok(Self {
                kind,
                nonce,
                sock: None,
            });
        }
        // The family is little-endian on the wire, the rest is a sockaddr.
        let family = sock.u16()?;
        let sock = match family {
            AF_INET => {
                let port = u16::from_be_bytes(sock.array()?);
                let ip = Ipv4Addr::from(sock.array::<4>()?);
                Some(SocketAddr::new(IpAddr::V4(ip), port))
            }
            AF_INET6 => {
                let port = u16::from_be_bytes(sock.array()?);
                sock.skip(4)?;
                let ip = Ipv6Addr::from(sock.array::<16>()?);
                Some(SocketAddr::new(IpAddr::V6(ip), port))
            }
            0 => None,
            _ => return Err(ebadmsg()),
        };
        Ok(Self { kind, nonce, sock })
    }

    /// Adds the address in the encoding with a marker byte.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u8(1)?.versioned(1, 1, |e| {
            e.u32(self.kind.0)?.u32(self.nonce)?;
            e.sized(|e| {
                match self.sock {
                    Some(SocketAddr::V4(sock)) => {
                        e.u16(AF_INET)?.bytes(&sock.port().to_be_bytes())?;
                        e.bytes(&sock.ip().octets())?.bytes(&[0; 8])?;
                    }
                    Some(SocketAddr::V6(sock)) => {
                        e.u16(AF_INET6)?.bytes(&sock.port().to_be_bytes())?;
                        e.u32(0)?.bytes(&sock.ip().octets())?.u32(0)?;
                    }
                    None => {
                        e.bytes(&[0; 16])?;
                    }
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    }
}

/// As the C client's `ceph_pr_addr`: `(type)ip:port`; the nonce is not shown.
impl fmt::Display for EntityAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.kind.0)?;
        match self.sock {
            Some(sock) => write!(f, "{sock}"),
            None => write!(f, "(unknown sockaddr family 0)"),
        }
    }
}

/// `entity_addrvec_t`: the addresses of one daemon.
#[derive(Debug, Default)]
pub struct AddrVec(pub KVVec<EntityAddr>);

impl AddrVec {
    /// Takes an address vector, or one address of an older encoder.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let mut addrs = KVVec::new();
        match d.u8()? {
            2 => {
                // An address needs at least marker, version, compat and length.
                addrs = d.vec(7, EntityAddr::decode)?;
            }
            1 => addrs.push(EntityAddr::decode_marked(d)?, GFP_KERNEL)?,
            _ => return Err(ebadmsg()),
        }
        Ok(Self(addrs))
    }

    /// The first address of the kind, or of the kind "any" (`msgr2` or not).
    pub fn find(&self, kind: AddrType) -> Option<EntityAddr> {
        self.0
            .iter()
            .find(|addr| addr.kind == kind || addr.kind == AddrType::ANY)
            .map(|addr| EntityAddr { kind, ..*addr })
    }

    /// Adds an address vector of the one address.
    pub fn encode_one(addr: &EntityAddr, e: &mut Encoder) -> Result {
        e.u8(2)?.u32(1)?;
        addr.encode(e)
    }
}

#[kunit_tests(ceph_wire_types)]
mod tests {
    use super::*;

    fn addr(text: SocketAddr) -> EntityAddr {
        EntityAddr {
            kind: AddrType::MSGR2,
            nonce: 5,
            sock: Some(text),
        }
    }

    #[test]
    fn addresses_round_trip() -> Result {
        let v4 = addr(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
            3300,
        ));
        let v6 = addr(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 3300));
        for addr in [v4, v6, EntityAddr::BLANK] {
            let mut e = Encoder::new();
            AddrVec::encode_one(&addr, &mut e)?;
            let bytes = e.into_vec();
            let mut d = Decoder::new(&bytes);
            let vec = AddrVec::decode(&mut d)?;
            assert_eq!(vec.0.first(), Some(&addr));
            assert!(d.is_empty());
            for len in 0..bytes.len() {
                let short = bytes.get(..len).ok_or(EINVAL)?;
                assert!(AddrVec::decode(&mut Decoder::new(short)).is_err());
            }
        }
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        let mut e = Encoder::new();
        e.u8(2)?.u32(20)?;
        for port in 0..20 {
            addr(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).encode(&mut e)?;
        }
        kernel::host::check_decoder(e.as_slice(), |b| AddrVec::decode(&mut Decoder::new(b)));
        Ok(())
    }

    #[test]
    fn fsid_text() {
        assert!(Fsid::parse(b"c3781d60-2225-402f-a2bc-c324d1e45e7f").is_ok());
        assert!(Fsid::parse(b"c3781d60-2225-402f-a2bc-c324d1e45e7").is_err());
        assert!(Fsid::parse(b"c3781d60-2225-402f-a2bc-c324d1e45e7fa").is_err());
    }
}
