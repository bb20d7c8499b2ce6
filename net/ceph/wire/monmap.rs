// SPDX-License-Identifier: GPL-2.0
//! The map of the monitors (Ceph: src/mon/MonMap.cc), and the text form of a list
//! of addresses, of which the first one is made.
use core::net::{IpAddr, SocketAddr};
use kernel::prelude::*;

use super::decode::Decoder;
use super::types::{AddrType, AddrVec, EntityAddr, Fsid};
use crate::errno::{eaddrnotavail, ebadmsg, eopnotsupp};

/// Most monitors that a cluster may have (`CEPH_MAX_MON`).
pub const MAX_MON: usize = 31;
/// Port of msgr2 (`CEPH_MON_PORT_IANA`).
pub const MON_PORT: u16 = 3300;
/// Port of msgr1 (`CEPH_MON_PORT_LEGACY`).
pub const MON_PORT_LEGACY: u16 = 6789;

/// One monitor that can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mon {
    /// Its place in the map, of all monitors.
    pub rank: u64,
    /// Its address, for msgr2 or msgr1.
    pub addr: EntityAddr,
}

/// The monitors of a cluster that have an address for msgr2, or for msgr1.
#[derive(Debug, Default)]
pub struct MonMap {
    /// Cluster.
    pub fsid: Fsid,
    /// Version; 0 for the one that the mount options make.
    pub epoch: u32,
    /// Never empty in a map that was decoded.
    pub mons: KVec<Mon>,
}

impl MonMap {
    /// Takes the front of a `MON_MAP` message.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for malformed bytes, no monitor, or more than [`MAX_MON`];
    /// `EOPNOTSUPP` for an encoding that is too new, or older than version 6, which
    /// has no msgr2; `EADDRNOTAVAIL` if no monitor has an msgr2 address.
    pub fn decode(front: &[u8]) -> Result<Self> {
        Self::decode_for(AddrType::MSGR2, front)
    }

    /// As [`Self::decode`], for msgr1 or msgr2.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`].
    pub fn decode_for(kind: AddrType, front: &[u8]) -> Result<Self> {
        let mut blob = Decoder::new(front).blob_decoder()?;
        let (version, mut d) = blob.versioned(6)?;
        if version < 6 {
            return Err(eopnotsupp());
        }
        let fsid = Fsid::decode(&mut d)?;
        let epoch = d.u32()?;
        // Last change, creation.
        d.timespec()?;
        d.timespec()?;
        // Persistent and optional features.
        d.versioned(1)?;
        d.versioned(1)?;
        // A name and a versioned body.
        let count = d.count(10)?;
        if count == 0 || count > MAX_MON {
            return Err(ebadmsg());
        }
        let mut mons = KVec::with_capacity(count, GFP_KERNEL)?;
        for rank in 0u64.. {
            if rank == u64::try_from(count).map_err(|_| ebadmsg())? {
                break;
            }
            d.blob()?;
            let (_, mut info) = d.versioned(1)?;
            info.blob()?;
            if let Some(addr) = AddrVec::decode(&mut info)?.find(kind) {
                if !addr.is_blank() {
                    mons.push(Mon { rank, addr }, GFP_KERNEL)?;
                }
            }
        }
        if mons.is_empty() {
            return Err(eaddrnotavail());
        }
        Ok(Self { fsid, epoch, mons })
    }

    /// The map that mount options make: nothing is known but addresses, of this kind.
    pub fn initial(kind: AddrType, addrs: &[SocketAddr]) -> Result<Self> {
        let mut mons = KVec::with_capacity(addrs.len(), GFP_KERNEL)?;
        for (rank, sock) in (0..).zip(addrs) {
            let addr = EntityAddr {
                kind,
                nonce: 0,
                sock: Some(*sock),
            };
            mons.push(Mon { rank, addr }, GFP_KERNEL)?;
        }
        Ok(Self {
            mons,
            ..Self::default()
        })
    }

    /// Whether a monitor has this address.
    pub fn contains(&self, sock: &SocketAddr) -> bool {
        self.mons.iter().any(|mon| mon.addr.sock == Some(*sock))
    }
}

/// Reads `ip[:port][,ip[:port]...]`, with any delimiter; an IPv6 address is in
/// brackets where a port follows. The port is 0 where none is given: which one is meant, the
/// protocol says.
///
/// # Errors
///
/// `EINVAL` for anything else, also for host names, for more than `max` addresses
/// and for none.
pub fn parse_addrs(text: &str, delimiter: char, max: usize) -> Result<KVec<SocketAddr>> {
    let mut addrs = KVec::new();
    for item in text.split(delimiter) {
        if addrs.len() >= max {
            return Err(EINVAL);
        }
        addrs.push(parse_addr(item)?, GFP_KERNEL)?;
    }
    Ok(addrs)
}

fn parse_addr(text: &str) -> Result<SocketAddr> {
    let with_port = |ip: IpAddr, port: &str| match port {
        "" => Ok(SocketAddr::new(ip, 0)),
        _ => {
            let port = port.strip_prefix(':').ok_or(EINVAL)?;
            Ok(SocketAddr::new(ip, port.parse().map_err(|_| EINVAL)?))
        }
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = rest.split_once(']').ok_or(EINVAL)?;
        return with_port(IpAddr::V6(ip.parse().map_err(|_| EINVAL)?), port);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return with_port(ip, "");
    }
    let (ip, port) = text.split_once(':').ok_or(EINVAL)?;
    match port.parse().map_err(|_| EINVAL)? {
        0u16 => with_port(IpAddr::V4(ip.parse().map_err(|_| EINVAL)?), ""),
        port => Ok(SocketAddr::new(
            IpAddr::V4(ip.parse().map_err(|_| EINVAL)?),
            port,
        )),
    }
}

#[kunit_tests(ceph_wire_monmap)]
mod tests {
    use super::super::encode::Encoder;
    use super::*;

    fn sock(text: &str) -> Result<SocketAddr> {
        parse_addr(text)
    }

    fn encode(compat: u8, count: u32, addrs: &[EntityAddr]) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.sized(|e| {
            e.versioned(9, compat, |e| {
                e.bytes(&[7; 16])?.u32(3)?.bytes(&[0; 16])?;
                for _ in 0..2 {
                    e.versioned(1, 1, |e| e.u64(0).map(|_| ()))?;
                }
                e.u32(count)?;
                for addr in addrs {
                    e.blob(b"a")?.versioned(5, 1, |e| {
                        e.blob(b"a")?;
                        AddrVec::encode_one(addr, e)?;
                        e.u16(0)?;
                        Ok(())
                    })?;
                }
                e.u32(77)?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(e.into_vec())
    }

    fn msgr2(text: &str) -> Result<EntityAddr> {
        Ok(EntityAddr {
            kind: AddrType::MSGR2,
            nonce: 0,
            sock: Some(sock(text)?),
        })
    }

    #[test]
    fn a_map_without_some_addresses() -> Result {
        let good = msgr2("10.77.0.2:3300")?;
        let legacy = EntityAddr {
            kind: AddrType::LEGACY,
            ..good
        };
        let bytes = encode(6, 3, &[legacy, EntityAddr::BLANK, good])?;
        let map = MonMap::decode(&bytes)?;
        assert_eq!((map.epoch, map.mons.len()), (3, 1));
        assert_eq!(
            map.mons.first(),
            Some(&Mon {
                rank: 2,
                addr: good
            })
        );
        assert!(map.contains(&sock("10.77.0.2:3300")?) && !map.contains(&sock("10.77.0.2:1")?));
        // Every byte counts but the fields after the monitors.
        for len in 0..bytes.len() {
            let short = bytes.get(..len).ok_or(EINVAL)?;
            assert!(MonMap::decode(short).is_err());
        }
        let bytes = encode(6, 1, &[legacy])?;
        assert_eq!(MonMap::decode(&bytes).err(), Some(eaddrnotavail()));
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        let mon = msgr2("10.77.0.2:3300")?;
        kernel::host::check_decoder(&encode(6, 31, &[mon; 31])?, MonMap::decode);
        Ok(())
    }

    #[test]
    fn counts_and_versions() -> Result {
        let mon = msgr2("[::1]:3300")?;
        assert!(MonMap::decode(&encode(6, 1, &[mon])?).is_ok());
        assert!(MonMap::decode(&encode(7, 1, &[mon])?).is_err());
        assert!(MonMap::decode(&encode(6, 0, &[])?).is_err());
        assert!(MonMap::decode(&encode(6, u32::MAX, &[mon])?).is_err());
        assert!(MonMap::decode(&encode(6, 31, &[mon; 31])?).is_ok());
        assert!(MonMap::decode(&encode(6, 32, &[mon; 32])?).is_err());
        Ok(())
    }

    #[test]
    fn address_lists() -> Result {
        let list = parse_addrs("1.2.3.4,1.2.3.4:0,[fe80::1]:6,fe80::1", ',', 4)?;
        assert_eq!(list.len(), 4);
        for (addr, (text, port)) in list.iter().zip([
            ("1.2.3.4", 0),
            ("1.2.3.4", 0),
            ("fe80::1", 6),
            ("fe80::1", 0),
        ]) {
            assert_eq!(Ok(addr.ip()), text.parse::<IpAddr>());
            assert_eq!(addr.port(), port);
        }
        assert_eq!(parse_addrs("1.2.3.4:1/1.2.3.5", '/', 2)?.len(), 2);
        for bad in [
            "",
            ",",
            "1.2.3.4,",
            "a",
            "1.2.3",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:65536",
            "[::1",
            "[::1]x",
            "[1.2.3.4]:1",
            "1.2.3.4:1:2",
        ] {
            assert!(parse_addrs(bad, ',', 31).is_err());
        }
        assert!(parse_addrs("1.2.3.4,1.2.3.4", ',', 1).is_err());
        Ok(())
    }
}
