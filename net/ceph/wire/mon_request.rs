// SPDX-License-Identifier: GPL-2.0
//! Requests to the monitors, each with the one kind of reply that it can have
//! (Ceph: src/messages/MStatfs.h, MMonGetVersion.h, MMonCommand.h and their replies).
//!
//! Later versions of a reply may have more fields at the end; they are passed over.
use kernel::prelude::*;

use super::{
    decode::Decoder,
    encode::Encoder,
    mon::{header, kind, skip_header, text, HEADER_LEN},
    types::{EntityAddr, Fsid},
};

/// A request to the monitors. Its reply has the request's tid.
pub trait MonRequest: 'static {
    /// What a monitor answers.
    type Reply: Send + Unpin + 'static;
    /// What it is, for those who look at what is waited for.
    const NAME: &'static str;
    /// Type of the message.
    const KIND: u16;
    /// Version of its encoding.
    const VERSION: u16;
    /// Type of the reply.
    const REPLY_KIND: u16;
    /// Up to which version the encoding of the reply is understood.
    const REPLY_VERSION: u16 = 1;

    /// Makes the front of the message.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn encode(&self, tid: u64, fsid: &Fsid) -> Result<KVVec<u8>>;

    /// Takes the front of the reply.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it is malformed.
    fn decode(front: &[u8]) -> Result<Self::Reply>;
}

/// Space of the cluster, or of the data pool of a file system (`MStatfs` version 2).
pub struct StatfsRequest {
    /// The pool.
    pub pool: Option<u64>,
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

impl MonRequest for StatfsRequest {
    type Reply = Statfs;
    const NAME: &'static str = "statfs";
    const KIND: u16 = kind::STATFS;
    const VERSION: u16 = 2;
    const REPLY_KIND: u16 = kind::STATFS_REPLY;

    fn encode(&self, _tid: u64, fsid: &Fsid) -> Result<KVVec<u8>> {
        let mut e = Encoder::with_capacity(HEADER_LEN.saturating_add(25))?;
        e.bytes(&header())?.bytes(&fsid.0)?;
        e.bool(self.pool.is_some())?;
        e.u64(self.pool.unwrap_or(u64::MAX))?;
        Ok(e.into_vec())
    }

    fn decode(front: &[u8]) -> Result<Statfs> {
        let mut d = Decoder::new(front);
        Fsid::decode(&mut d)?;
        // Version of the statistics.
        d.u64()?;
        Ok(Statfs {
            kb: d.u64()?,
            kb_used: d.u64()?,
            kb_avail: d.u64()?,
            num_objects: d.u64()?,
        })
    }
}

/// The newest epoch of a map (`MMonGetVersion`).
pub struct GetVersion {
    /// "osdmap", "mdsmap" or "monmap".
    pub what: &'static str,
}

impl MonRequest for GetVersion {
    type Reply = u64;
    const NAME: &'static str = "mon_get_version";
    const KIND: u16 = kind::MON_GET_VERSION;
    const VERSION: u16 = 1;
    const REPLY_KIND: u16 = kind::MON_GET_VERSION_REPLY;
    const REPLY_VERSION: u16 = 2;

    fn encode(&self, tid: u64, _fsid: &Fsid) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u64(tid)?.blob(self.what.as_bytes())?;
        Ok(e.into_vec())
    }

    /// The oldest version, which follows since Quincy, is of no interest.
    fn decode(front: &[u8]) -> Result<u64> {
        let mut d = Decoder::new(front);
        d.u64()?;
        d.u64()
    }
}

/// The tid of the request that a reply to [`GetVersion`] answers, for monitors that leave
/// the one of the message empty.
///
/// # Errors
///
/// `EBADMSG`.
pub fn get_version_handle(front: &[u8]) -> Result<u64> {
    Decoder::new(front).u64()
}

/// A command (`MMonCommand` of one string). The reply is its result, 0 or a negative
/// errno; what it says in words follows and is passed over.
pub struct Command {
    /// The command in JSON.
    pub text: KVVec<u8>,
}

impl MonRequest for Command {
    type Reply = i32;
    const NAME: &'static str = "command";
    const KIND: u16 = kind::MON_COMMAND;
    const VERSION: u16 = 1;
    const REPLY_KIND: u16 = kind::MON_COMMAND_ACK;

    fn encode(&self, _tid: u64, fsid: &Fsid) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.bytes(&header())?.bytes(&fsid.0)?;
        e.u32(1)?.blob(&self.text)?;
        Ok(e.into_vec())
    }

    fn decode(front: &[u8]) -> Result<i32> {
        let mut d = Decoder::new(front);
        skip_header(&mut d)?;
        d.i32()
    }
}

/// The command that has the OSDs refuse the client at an address; monitors before
/// Pacific know it by another `word` than "blocklist".
///
/// # Errors
///
/// [`EINVAL`] if the address is blank, `ENOMEM`.
pub fn blocklist_add(word: &str, addr: &EntityAddr) -> Result<Command> {
    let sock = addr.sock.ok_or(EINVAL)?;
    let nonce = addr.nonce;
    let mut e = Encoder::new();
    text(
        &mut e,
        format_args!(
            "{{ \"prefix\": \"osd {word}\", \"{word}op\": \"add\", \"addr\": \"{sock}/{nonce}\" }}"
        ),
    )?;
    Ok(Command { text: e.into_vec() })
}

#[kunit_tests(ceph_wire_mon_request)]
mod tests {
    use super::*;

    fn statfs_reply() -> Result<Encoder> {
        let mut e = Encoder::new();
        e.bytes(&[1; 16])?.u64(9)?;
        for number in [100, 60, 40, 7] {
            e.u64(number)?;
        }
        Ok(e)
    }

    #[test]
    fn replies_that_are_cut_off() -> Result {
        let zeroes = [0u8; 64];
        for len in 0..64 {
            let short = zeroes.get(..len).ok_or(EINVAL)?;
            assert_eq!(StatfsRequest::decode(short).is_ok(), len >= 56);
            assert_eq!(GetVersion::decode(short).is_ok(), len >= 16);
            assert_eq!(Command::decode(short).is_ok(), len >= 22);
        }
        Ok(())
    }

    #[test]
    fn replies() -> Result {
        let statfs = Statfs {
            kb: 100,
            kb_used: 60,
            kb_avail: 40,
            num_objects: 7,
        };
        assert_eq!(
            StatfsRequest::decode(statfs_reply()?.as_slice()),
            Ok(statfs)
        );
        let mut e = Encoder::new();
        e.u64(5)?.u64(77)?;
        assert_eq!(GetVersion::decode(e.as_slice()), Ok(77));
        assert_eq!(get_version_handle(e.as_slice()), Ok(5));
        let mut e = Encoder::new();
        e.bytes(&header())?.i32(-22)?.blob(b"no such command")?;
        assert_eq!(Command::decode(e.as_slice()), Ok(-22));
        Ok(())
    }

    #[test]
    fn newer_servers_may_say_more() -> Result {
        let mut e = statfs_reply()?;
        e.u64(5)?.blob(b"what nobody knows yet")?;
        assert_eq!(StatfsRequest::decode(e.as_slice())?.num_objects, 7);
        let mut e = Encoder::new();
        // Since Quincy also the oldest version.
        e.u64(5)?.u64(77)?.u64(3)?;
        assert_eq!(GetVersion::decode(e.as_slice()), Ok(77));
        let mut e = Encoder::new();
        e.bytes(&header())?.i32(-22)?.blob(b"text")?.u32(1)?;
        assert_eq!(Command::decode(e.as_slice()), Ok(-22));
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() {
        use kernel::host::check_decoder;
        check_decoder(&[0; 56], StatfsRequest::decode);
        check_decoder(&[0; 24], GetVersion::decode);
        check_decoder(&[0; 30], Command::decode);
    }

    #[test]
    fn commands() -> Result {
        use crate::wire::monmap::parse_addrs;
        use crate::wire::types::AddrType;
        for (text, want) in [
            (
                "10.77.0.99:3300",
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
            let command = blocklist_add("blocklist", &addr)?;
            assert_eq!(&command.text[..], want);
            // Header, cluster, one string.
            let front = command.encode(1, &Fsid([3; 16]))?;
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
        assert_eq!(StatfsRequest { pool: None }.encode(1, &fsid)?.len(), 43);
        assert_eq!(StatfsRequest { pool: Some(2) }.encode(1, &fsid)?.len(), 43);
        let text = KVVec::from_elem(b' ', 2, GFP_KERNEL)?;
        assert_eq!(Command { text }.encode(1, &fsid)?.len(), 44);
        assert_eq!(GetVersion { what: "osdmap" }.encode(1, &fsid)?.len(), 18);
        Ok(())
    }
}
