// SPDX-License-Identifier: GPL-2.0
//! Messages between a client and the monitors (Ceph: src/messages/M*.h).
//!
//! Each function makes or reads the front of one message. Requests that have a reply of
//! their own are in [`mon_request`](super::mon_request).
use core::fmt;
use kernel::prelude::*;

use super::{
    decode::Decoder,
    encode::{Encoder, Writer},
    types::Fsid,
};

/// Message types (`CEPH_MSG_*`) to and from a monitor.
pub mod kind {
    // Ceph's names say it all.
    #![allow(missing_docs)]
    pub const MON_MAP: u16 = 4;
    pub const STATFS: u16 = 13;
    pub const STATFS_REPLY: u16 = 14;
    pub const MON_SUBSCRIBE: u16 = 15;
    pub const MON_SUBSCRIBE_ACK: u16 = 16;
    pub const AUTH: u16 = 17;
    pub const AUTH_REPLY: u16 = 18;
    pub const MON_GET_VERSION: u16 = 19;
    pub const MON_GET_VERSION_REPLY: u16 = 20;
    pub const MDS_MAP: u16 = 21;
    pub const OSD_MAP: u16 = 41;
    pub const MON_COMMAND: u16 = 50;
    pub const MON_COMMAND_ACK: u16 = 51;
    pub const FS_MAP_USER: u16 = 103;
}

/// `ceph_mon_request_header`: version, rank and tid that a client leaves empty.
pub(super) fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut w = Writer::new(&mut header);
    w.put(0u64.to_le_bytes());
    w.put((-1i16).to_le_bytes());
    header
}

pub(super) const HEADER_LEN: usize = 18;

pub(super) fn skip_header(d: &mut Decoder<'_>) -> Result {
    d.skip(HEADER_LEN)
}

/// `MAuth`: a request of the authentication protocol.
pub fn auth(method: u32, request: &[u8]) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.bytes(&header())?.u32(method)?.blob(request)?;
    Ok(e.into_vec())
}

/// `MAuthReply`.
pub struct AuthReply<'a> {
    /// Method.
    pub method: u32,
    /// 0 or a negative errno.
    pub result: i32,
    /// The client's number.
    pub global_id: u64,
    /// Of the method.
    pub payload: &'a [u8],
}

impl<'a> AuthReply<'a> {
    /// Takes the reply.
    pub fn decode(front: &'a [u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        let reply = Self {
            method: d.u32()?,
            result: d.i32()?,
            global_id: d.u64()?,
            payload: d.blob()?,
        };
        // The result in words.
        d.blob()?;
        Ok(reply)
    }
}

/// One map that is subscribed to.
pub struct SubscribeItem<'a> {
    /// Name of the map.
    pub name: &'a str,
    /// File system, for the MDS map of one (`mdsmap.<id>`).
    pub fs: Option<i32>,
    /// First epoch that is wanted; 0 for the newest.
    pub start: u64,
    /// Only once.
    pub onetime: bool,
}

/// `MMonSubscribe` version 2.
pub fn subscribe(items: &[SubscribeItem<'_>]) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.length(items.len())?;
    for item in items {
        e.sized(|e| {
            e.bytes(item.name.as_bytes())?;
            if let Some(fs) = item.fs {
                e.u8(b'.')?;
                text(e, format_args!("{fs}"))?;
            }
            Ok(())
        })?;
        e.u64(item.start)?.bool(item.onetime)?;
    }
    Ok(e.into_vec())
}

/// Adds text.
pub(super) fn text(e: &mut Encoder, text: fmt::Arguments<'_>) -> Result {
    struct Out<'a>(&'a mut Encoder);
    impl fmt::Write for Out<'_> {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            self.0.bytes(s.as_bytes()).map_err(|_| fmt::Error)?;
            Ok(())
        }
    }
    fmt::write(&mut Out(e), text).map_err(|_| ENOMEM)
}

/// Takes `MMonSubscribeAck`: for how many seconds the subscription is valid, and
/// the cluster.
pub fn subscribe_ack(front: &[u8]) -> Result<(u32, Fsid)> {
    let mut d = Decoder::new(front);
    Ok((d.u32()?, Fsid::decode(&mut d)?))
}

#[kunit_tests(ceph_wire_mon)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions() -> Result {
        let front = subscribe(&[
            SubscribeItem {
                name: "osdmap",
                fs: None,
                start: 5,
                onetime: true,
            },
            SubscribeItem {
                name: "mdsmap",
                fs: Some(12),
                start: 1,
                onetime: false,
            },
        ])?;
        let mut d = Decoder::new(&front);
        assert_eq!((d.u32()?, d.blob()?), (2, &b"osdmap"[..]));
        assert_eq!((d.u64()?, d.u8()?), (5, 1));
        assert_eq!(d.blob()?, b"mdsmap.12");
        assert_eq!((d.u64()?, d.u8()?), (1, 0));
        assert!(d.is_empty());
        Ok(())
    }

    #[test]
    fn replies_that_are_cut_off() -> Result {
        let zeroes = [0u8; 64];
        for len in 0..64 {
            let short = zeroes.get(..len).ok_or(EINVAL)?;
            assert_eq!(subscribe_ack(short).is_ok(), len >= 20);
            assert_eq!(AuthReply::decode(short).is_ok(), len >= 24);
        }
        let mut e = Encoder::new();
        e.u32(2)?.i32(-13)?.u64(4)?.u32(u32::MAX)?;
        assert!(AuthReply::decode(e.as_slice()).is_err());
        Ok(())
    }

    #[test]
    fn replies_round_trip() -> Result {
        let mut e = Encoder::new();
        e.u32(300)?.bytes(&[4; 16])?;
        assert_eq!(subscribe_ack(e.as_slice()), Ok((300, Fsid([4; 16]))));
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        use kernel::host::check_decoder;
        check_decoder(&[0; 20], subscribe_ack);
        let mut e = Encoder::new();
        e.u32(2)?.i32(0)?.u64(4)?.blob(&[7; 50])?.blob(b"text")?;
        check_decoder(e.as_slice(), |b| {
            AuthReply::decode(b).map(|r| r.payload.len())
        });
        Ok(())
    }

    #[test]
    fn sizes_of_requests() -> Result {
        assert_eq!(auth(2, b"x")?.len(), 27);
        Ok(())
    }
}
