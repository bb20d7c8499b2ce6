// SPDX-License-Identifier: GPL-2.0
//! `MClientSession` (Ceph: src/messages/MClientSession.h).
use ceph_proto::wire::{decode::Decoder, encode::Encoder};
use kernel::prelude::*;

use super::mdsmap::feature_bits;

/// Features of a session (`CEPHFS_FEATURE_*`), one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// Replies in the versioned encoding.
    pub const REPLY_ENCODING: u64 = 1 << 9;
    /// Reconnecting with more than one message.
    pub const MULTI_RECONNECT: u64 = 1 << 12;
    /// The server takes GETVXATTR.
    pub const OP_GETVXATTR: u64 = 1 << 17;
    /// Counters of retries and forwards have 32 bits.
    pub const RETRY_FWD_32: u64 = 1 << 18;
    /// Requests name the owner of what they create.
    pub const HAS_OWNER_UIDGID: u64 = 1 << 20;
    /// What this client offers: 0 to 9, 11 to 18, 20 and 21.
    ///
    /// Not 10 (reclaim), 19 (new snap realm info), and not 22, which means
    /// "charmap" to the server: it would hand out unfolded names.
    pub const SUPPORTED: Self = Self(0x3ff | 0xff << 11 | 1 << 20 | 1 << 21);

    /// Whether a feature is there.
    pub const fn has(self, feature: u64) -> bool {
        self.0 & feature != 0
    }
}

/// What a session message wants (`CEPH_SESSION_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOp(pub u32);

impl SessionOp {
    /// Client to server.
    pub const REQUEST_OPEN: Self = Self(0);
    /// The session is open.
    pub const OPEN: Self = Self(1);
    /// Client to server.
    pub const REQUEST_CLOSE: Self = Self(2);
    /// The session is closed.
    pub const CLOSE: Self = Self(3);
    /// Client to server: still here.
    pub const REQUEST_RENEWCAPS: Self = Self(4);
    /// Capabilities are good for another while.
    pub const RENEWCAPS: Self = Self(5);
    /// Capabilities are not good any more.
    pub const STALE: Self = Self(6);
    /// Capabilities should be given back.
    pub const RECALL_STATE: Self = Self(7);
    /// Everything that was sent so far is to be acted upon and acknowledged.
    pub const FLUSHMSG: Self = Self(8);
    /// Client to server.
    pub const FLUSHMSG_ACK: Self = Self(9);
    /// Nothing may be changed any more.
    pub const FORCE_RO: Self = Self(10);
    /// No session for this client.
    pub const REJECT: Self = Self(11);
    /// Client to server: write the journal.
    pub const REQUEST_FLUSH_MDLOG: Self = Self(12);

    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "request_open",
            1 => "open",
            2 => "request_close",
            3 => "close",
            4 => "request_renewcaps",
            5 => "renewcaps",
            6 => "stale",
            7 => "recall_state",
            8 => "flushmsg",
            9 => "flushmsg_ack",
            10 => "force_ro",
            11 => "reject",
            12 => "flush_mdlog",
            _ => "???",
        }
    }
}

/// What one grant of the client's MDS capability allows (`MDSCapAuth`).
#[derive(Debug)]
pub struct CapAuth {
    /// For this user; [`Self::ANY_UID`] for all.
    pub uid: i64,
    /// For these groups of the user; none for all.
    pub gids: KVVec<u32>,
    /// Below this path.
    pub path: KVVec<u8>,
    /// In this file system; empty for all.
    pub fs_name: KVVec<u8>,
    /// Root is treated as nobody.
    pub root_squash: bool,
    /// Reading is allowed.
    pub readable: bool,
    /// Writing is allowed.
    pub writeable: bool,
}

fn owned(bytes: &[u8]) -> Result<KVVec<u8>> {
    let mut vec = KVVec::new();
    vec.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(vec)
}

impl CapAuth {
    /// `MDS_AUTH_UID_ANY`.
    pub const ANY_UID: i64 = -1;

    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let (_, mut outer) = d.versioned(1)?;
        let (_, mut matching) = outer.versioned(1)?;
        let mut auth = Self {
            uid: matching.i64()?,
            gids: matching.vec(4, Decoder::u32)?,
            path: owned(matching.blob()?)?,
            fs_name: owned(matching.blob()?)?,
            root_squash: matching.bool()?,
            readable: outer.bool()?,
            writeable: outer.bool()?,
        };
        while auth.path.last() == Some(&b'/') {
            auth.path.pop();
        }
        Ok(auth)
    }
}

/// `MClientSession`, as a server sends it.
#[derive(Debug)]
pub struct ClientSession {
    /// What it wants.
    pub op: SessionOp,
    /// Version, of the session or of the renewal.
    pub seq: u64,
    /// With RECALL_STATE: how many capabilities may be kept.
    pub max_caps: u32,
    /// With OPEN: features that both sides have.
    pub features: Features,
    /// Whether the cluster has shut this client out.
    pub blocklisted: bool,
    /// With OPEN: what the client may do.
    pub cap_auths: KVVec<CapAuth>,
}

impl ClientSession {
    /// `CEPH_SESSION_BLOCKLISTED`.
    const BLOCKLISTED: u32 = 1;

    /// Takes the front of a message of the version.
    pub fn decode(front: &[u8], version: u16) -> Result<Self> {
        let mut d = Decoder::new(front);
        let op = SessionOp(d.u32()?);
        let seq = d.u64()?;
        d.skip(8)?; // stamp
        let max_caps = d.u32()?;
        d.skip(4)?; // max_leases
        let mut session = Self {
            op,
            seq,
            max_caps,
            features: Features(0),
            blocklisted: false,
            cap_auths: KVVec::new(),
        };
        if version >= 2 {
            for _ in 0..d.count(8)? {
                let (key, value) = (d.blob()?, d.blob()?);
                // Before the flags of version 5 there was only this text.
                if key == b"error_string" && contains(value, b"blocklisted") {
                    session.blocklisted = true;
                }
            }
        }
        if version >= 3 {
            session.features = Features(feature_bits(d.blob()?));
        }
        if version >= 4 {
            d.versioned(u8::MAX)?; // metric_spec
        }
        if version >= 5 {
            session.blocklisted |= d.u32()? & Self::BLOCKLISTED != 0;
        }
        if version >= 6 {
            session.cap_auths = d.vec(6 + 6 + 8 + 4 + 4 + 4 + 3, CapAuth::decode)?;
        }
        Ok(session)
    }

    /// The front of a bare message (version 1).
    pub fn encode_bare(op: SessionOp, seq: u64) -> Result<KVVec<u8>> {
        let mut e = Encoder::with_capacity(28)?;
        e.u32(op.0)?.u64(seq)?.bytes(&[0; 16])?;
        Ok(e.into_vec())
    }

    /// The front of a message that opens a session (version 7): what we are, what
    /// we can, and the oldest request that is not answered.
    pub fn encode_open(seq: u64, metadata: &[(&str, &[u8])], oldest_tid: u64) -> Result<KVVec<u8>> {
        let mut e = Encoder::with_capacity(256)?;
        e.u32(SessionOp::REQUEST_OPEN.0)?
            .u64(seq)?
            .bytes(&[0; 16])?;
        e.length(metadata.len())?;
        for (key, value) in metadata {
            e.blob(key.as_bytes())?.blob(value)?;
        }
        e.blob(&Features::SUPPORTED.0.to_le_bytes())?;
        // Metrics that will be reported: none.
        e.versioned(1, 1, |e| {
            e.blob(&[])?;
            Ok(())
        })?;
        e.u32(0)?.u32(0)?.u64(oldest_tid)?;
        Ok(e.into_vec())
    }

    /// Version of the message that [`Self::encode_open`] makes.
    pub const OPEN_VERSION: u16 = 7;
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|w| w == word)
}

#[kunit_tests(ceph_wire_session)]
mod tests {
    use super::*;

    fn sample(version: u16) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u32(1)?.u64(9)?.u64(0)?.u32(500)?.u32(0)?;
        if version >= 2 {
            e.u32(1)?
                .blob(b"error_string")?
                .blob(b"is blocklisted, see")?;
        }
        if version >= 3 {
            e.blob(&0x3f_ffffu64.to_le_bytes())?;
        }
        if version >= 4 {
            e.versioned(1, 1, |e| {
                e.blob(b"metrics")?;
                Ok(())
            })?;
        }
        if version >= 5 {
            e.u32(1)?;
        }
        if version >= 6 {
            e.u32(1)?.versioned(2, 1, |e| {
                e.versioned(2, 1, |e| {
                    e.i64(-1)?
                        .u32(2)?
                        .u32(7)?
                        .u32(8)?
                        .blob(b"/a//")?
                        .blob(b"fs")?;
                    e.u8(1)?.u64(0xdead)?;
                    Ok(())
                })?;
                e.u8(1)?.u8(0)?.u64(0xbeef)?;
                Ok(())
            })?;
        }
        if version >= 7 {
            e.u64(0)?;
        }
        Ok(e.into_vec())
    }

    #[test]
    fn every_version_is_read() -> Result {
        for version in 1..=7 {
            let bytes = sample(version)?;
            let session = ClientSession::decode(&bytes, version)?;
            assert_eq!((session.op, session.seq), (SessionOp::OPEN, 9));
            assert_eq!(session.blocklisted, (version >= 2));
            assert_eq!(
                session.features.has(Features::REPLY_ENCODING),
                (version >= 3)
            );
            if version >= 6 {
                let auth = session.cap_auths.first().ok_or(EINVAL)?;
                assert_eq!(&auth.path[..], b"/a");
                assert!(auth.root_squash && auth.readable && !auth.writeable);
            }
            // The last field of version 7 is not for clients.
            let end = bytes.len().saturating_sub(if version == 7 { 8 } else { 0 });
            for len in 0..end {
                let short = bytes.get(..len).ok_or(EINVAL)?;
                assert!(ClientSession::decode(short, version).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn what_we_send_can_be_read() -> Result {
        let bytes = ClientSession::encode_bare(SessionOp::REQUEST_CLOSE, 3)?;
        assert_eq!(bytes.len(), 28);
        let session = ClientSession::decode(&bytes, 1)?;
        assert_eq!((session.op, session.seq), (SessionOp::REQUEST_CLOSE, 3));
        let bytes = ClientSession::encode_open(0, &[("hostname", b"h")], 4)?;
        let session = ClientSession::decode(&bytes, ClientSession::OPEN_VERSION)?;
        assert_eq!(session.features, Features::SUPPORTED);
        assert_eq!(Features::SUPPORTED.0, 0x37_fbff);
        Ok(())
    }
}
