// SPDX-License-Identifier: GPL-2.0
//! Messages between a client and the monitors (Ceph: src/messages/M*.h).
//!
//! Each function makes or reads the front of one message.
use core::fmt;
use kernel::prelude::*;

use super::{
    decode::Decoder,
    encode::{Encoder, Writer},
    types::{EntityAddr, Fsid},
};
use crate::errno::ebadmsg;

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
fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut w = Writer::new(&mut header);
    w.put(0u64.to_le_bytes());
    w.put((-1i16).to_le_bytes());
    header
}

const HEADER_LEN: usize = 18;

fn skip_header(d: &mut Decoder<'_>) -> Result {
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
fn text(e: &mut Encoder, text: fmt::Arguments<'_>) -> Result {
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

/// `MStatfs` version 2: of the cluster, or of the data pool of a file system.
pub fn statfs(fsid: &Fsid, pool: Option<u64>) -> Result<KVVec<u8>> {
    let mut bytes = [0; HEADER_LEN + 16 + 9];
    let mut w = Writer::new(&mut bytes);
    w.put(header());
    w.put(fsid.0);
    w.put([u8::from(pool.is_some())]);
    w.put(pool.unwrap_or(u64::MAX).to_le_bytes());
    let mut front = KVVec::with_capacity(bytes.len(), GFP_KERNEL)?;
    front.extend_from_slice(&bytes, GFP_KERNEL)?;
    Ok(front)
}

/// `ceph_statfs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statfs {
    /// Size in KiB.
    pub kb: u64,
    /// Used KiB.
    pub kb_used: u64,
    /// Free KiB.
    pub kb_avail: u64,
    /// Objects.
    pub num_objects: u64,
}

impl Statfs {
    /// Takes `MStatfsReply`.
    pub fn decode(front: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        Fsid::decode(&mut d)?;
        d.u64()?;
        let statfs = Self {
            kb: d.u64()?,
            kb_used: d.u64()?,
            kb_avail: d.u64()?,
            num_objects: d.u64()?,
        };
        if !d.is_empty() {
            return Err(ebadmsg());
        }
        Ok(statfs)
    }
}

/// `MMonGetVersion`: which is the newest epoch of the map `what`.
pub fn get_version(handle: u64, what: &str) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u64(handle)?.blob(what.as_bytes())?;
    Ok(e.into_vec())
}

/// Takes `MMonGetVersionReply`: the handle of the request and the newest epoch.
pub fn get_version_reply(front: &[u8]) -> Result<(u64, u64)> {
    let mut d = Decoder::new(front);
    Ok((d.u64()?, d.u64()?))
}

/// `MMonCommand` of one string.
pub fn command(fsid: &Fsid, text: &[u8]) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.bytes(&header())?.bytes(&fsid.0)?.u32(1)?.blob(text)?;
    Ok(e.into_vec())
}

/// The command that has the OSDs refuse the client at an address; monitors before
/// Pacific know it by another `word` than "blocklist".
///
/// # Errors
///
/// [`EINVAL`] if the address is blank, `ENOMEM`.
pub fn blocklist_add(word: &str, addr: &EntityAddr) -> Result<KVVec<u8>> {
    let sock = addr.sock.ok_or(EINVAL)?;
    let nonce = addr.nonce;
    let mut e = Encoder::new();
    text(
        &mut e,
        format_args!(
            "{{ \"prefix\": \"osd {word}\", \"{word}op\": \"add\", \"addr\": \"{sock}/{nonce}\" }}"
        ),
    )?;
    Ok(e.into_vec())
}

/// Takes `MMonCommandAck`: 0 or a negative errno.
pub fn command_ack(front: &[u8]) -> Result<i32> {
    let mut d = Decoder::new(front);
    skip_header(&mut d)?;
    d.i32()
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
            assert_eq!(Statfs::decode(short).is_ok(), len == 56);
            assert_eq!(subscribe_ack(short).is_ok(), len >= 20);
            assert_eq!(get_version_reply(short).is_ok(), len >= 16);
            assert_eq!(command_ack(short).is_ok(), len >= 22);
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
        e.bytes(&[1; 16])?.u64(9)?;
        for number in [100, 60, 40, 7] {
            e.u64(number)?;
        }
        let statfs = Statfs {
            kb: 100,
            kb_used: 60,
            kb_avail: 40,
            num_objects: 7,
        };
        assert_eq!(Statfs::decode(e.as_slice()), Ok(statfs));
        let mut e = Encoder::new();
        // Since Quincy also the oldest version.
        e.u64(5)?.u64(77)?.u64(3)?;
        assert_eq!(get_version_reply(e.as_slice()), Ok((5, 77)));
        let mut e = Encoder::new();
        e.bytes(&header())?.i32(-22)?.blob(b"no such command")?;
        assert_eq!(command_ack(e.as_slice()), Ok(-22));
        let mut e = Encoder::new();
        e.u32(300)?.bytes(&[4; 16])?;
        assert_eq!(subscribe_ack(e.as_slice()), Ok((300, Fsid([4; 16]))));
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        use kernel::host::check_decoder;
        check_decoder(&[0; 56], Statfs::decode);
        check_decoder(&[0; 20], subscribe_ack);
        check_decoder(&[0; 24], get_version_reply);
        check_decoder(&[0; 30], command_ack);
        let mut e = Encoder::new();
        e.u32(2)?.i32(0)?.u64(4)?.blob(&[7; 50])?.blob(b"text")?;
        check_decoder(e.as_slice(), |b| {
            AuthReply::decode(b).map(|r| r.payload.len())
        });
        Ok(())
    }

    #[test]
    fn commands() -> Result {
        use crate::wire::monmap::parse_addrs;
        use crate::wire::types::AddrType;
        for (text, want) in [
            (
                "10.77.0.99:0",
                &br#"{ "prefix": "osd blocklist", "blocklistop": "add", "addr": "10.77.0.99:3300/77" }"#[..],
            ),
            (
                "[fd00::1]:17",
                &br#"{ "prefix": "osd blocklist", "blocklistop": "add", "addr": "[fd00::1]:17/77" }"#[..],
            ),
        ] {
            let addr = EntityAddr {
                kind: AddrType::ANY,
                nonce: 77,
                sock: parse_addrs(text, ',', 1)?.first().copied(),
            };
            let text = blocklist_add("blocklist", &addr)?;
            assert_eq!(&text[..], want);
            // Header, cluster, one string.
            let front = command(&Fsid([3; 16]), &text)?;
            let mut d = Decoder::new(&front);
            skip_header(&mut d)?;
            assert_eq!((Fsid::decode(&mut d)?, d.u32()?), (Fsid([3; 16]), 1));
            assert_eq!((d.blob()?, d.is_empty()), (want, true));
        }
        assert!(blocklist_add("blocklist", &EntityAddr::BLANK).is_err());
        Ok(())
    }

    #[test]
    fn sizes_of_requests() -> Result {
        let fsid = Fsid([1; 16]);
        assert_eq!(statfs(&fsid, None)?.len(), 43);
        assert_eq!(command(&fsid, b"{}")?.len(), 44);
        assert_eq!(get_version(1, "osdmap")?.len(), 18);
        assert_eq!(auth(2, b"x")?.len(), 27);
        Ok(())
    }
}
