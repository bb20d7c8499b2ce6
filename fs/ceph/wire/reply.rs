// SPDX-License-Identifier: GPL-2.0
//! `MClientReply`: the answer to a request (Ceph: src/messages/MClientReply.h), in
//! the encoding of `CEPHFS_FEATURE_REPLY_ENCODING`; and `MClientRequestForward`.
use ceph_proto::errno::ebadmsg;
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

use super::frag::Frag;
use super::inode_stat::InodeStat;
use super::lease::LeaseStat;
use super::request::Op;

/// `DirStat`: a fragment, and who has authority over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirStat {
    /// The fragment.
    pub frag: Frag,
    /// The authoritative rank; none when it is the inode's.
    pub auth: Option<u32>,
}

impl DirStat {
    /// Takes a fragment's statistics.
    #[inline]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let (_, mut body) = d.versioned(1)?;
        let mut head = body.block::<8>()?;
        // The ranks that have a copy follow.
        Ok(Self {
            frag: Frag::checked(head.u32()?)?,
            auth: u32::try_from(head.i32()?).ok(),
        })
    }
}

/// The directory and the name that a reply is about.
#[derive(Debug)]
pub struct ReplyDentry<'a> {
    /// The directory.
    pub dir: InodeStat<'a>,
    /// Its fragment.
    pub frag: DirStat,
    /// For how long the name may be trusted.
    pub lease: LeaseStat,
}

/// An entry of a directory that was listed.
#[derive(Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// For how long the name may be trusted.
    pub lease: LeaseStat,
    /// What it names.
    pub inode: InodeStat<'a>,
}

/// What READDIR and LSSNAP answer.
#[derive(Debug)]
pub struct ReplyDir<'a> {
    /// The fragment that was listed.
    pub frag: DirStat,
    /// Bits of [`ReplyDir::END`] and its neighbours.
    pub flags: u16,
    /// How many entries there are.
    pub count: usize,
    encoded: Entries<'a>,
}

/// The entries of a [`ReplyDir`], decoded one by one.
#[derive(Clone)]
pub struct Entries<'a> {
    rest: Decoder<'a>,
    left: usize,
}

impl<'a> Entries<'a> {
    #[inline]
    fn decode_next(&mut self) -> Result<DirEntry<'a>> {
        let d = &mut self.rest;
        let name = d.blob()?;
        if !is_name(name) {
            return Err(ebadmsg());
        }
        Ok(DirEntry {
            name,
            lease: LeaseStat::decode(d)?,
            inode: InodeStat::decode(d)?,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<DirEntry<'a>>;

    /// The next entry. After an error there is none.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.decode_next();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

impl core::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Whether it can be the name of a file. Eight bytes at a time, as all names of all
/// listings come through here.
#[inline]
fn is_name(name: &[u8]) -> bool {
    let is_good = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        !has_zero(word) && !has_zero(word ^ SLASHES)
    };
    // The last eight overlap those before.
    let Some(last) = name.last_chunk() else {
        return !name.is_empty() && !name.iter().any(|byte| matches!(byte, b'/' | 0));
    };
    let mut rest = name;
    while let Some((word, after)) = rest.split_first_chunk() {
        if !is_good(word) {
            return false;
        }
        rest = after;
    }
    is_good(last)
}

const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);

/// Whether a byte of the word is zero: then one is taken off, its highest bit comes to be
/// set, which it was not before. Of other bytes that is only so above such a one.
#[inline(always)]
const fn has_zero(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);
    word.wrapping_sub(ONES) & !word & HIGHEST != 0
}

impl<'a> ReplyDir<'a> {
    /// The end of the fragment was reached.
    pub const END: u16 = 1;
    /// The whole fragment is in this reply.
    pub const COMPLETE: u16 = 1 << 8;
    /// Entries come in the order of their names' hashes.
    pub const HASH_ORDER: u16 = 1 << 9;
    /// The request's offset hash was taken into account.
    pub const OFFSET_HASH: u16 = 1 << 10;

    fn decode(d: &mut Decoder<'a>) -> Result<Self> {
        let frag = DirStat::decode(d)?;
        // The count is followed by the flags, then by the entries.
        let count = usize::try_from(d.u32()?).map_err(|_| ebadmsg())?;
        let flags = d.u16()?;
        // A name's length, a lease's head and body.
        let least = InodeStat::MIN_SIZE.saturating_add(4 + 6 + 10);
        d.check_count(count, least)?;
        Ok(Self {
            frag,
            flags,
            count,
            encoded: Entries {
                rest: *d,
                left: count,
            },
        })
    }

    /// The entries. Each may turn out not to be well-formed; those before it are good
    /// nevertheless.
    #[inline]
    pub fn entries(&self) -> Entries<'a> {
        self.encoded.clone()
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// What is in a reply beside the trace, by the request's operation.
#[derive(Debug)]
pub enum Extra<'a> {
    /// Nothing that this client reads.
    None,
    /// Of READDIR and LSSNAP.
    Dir(ReplyDir<'a>),
    /// Of GETVXATTR: the value.
    Value(&'a [u8]),
    /// Of CREATE and GETFILELOCK: still encoded.
    Raw(&'a [u8]),
}

/// `MClientReply`, borrowed from the message.
#[derive(Debug)]
pub struct ClientReply<'a> {
    /// 0 or a negative error number.
    pub result: i32,
    /// Whether a change is on disk; otherwise another reply follows.
    pub is_safe: bool,
    /// The directory and name that it is about.
    pub dentry: Option<ReplyDentry<'a>>,
    /// The inode that it is about.
    pub target: Option<InodeStat<'a>>,
    /// What the operation answers.
    pub extra: Extra<'a>,
    /// Encoded [`super::snap::SnapTrace`] of the target's realm.
    pub snap_trace: &'a [u8],
}

impl<'a> ClientReply<'a> {
    /// The error that the server gives, if it does.
    pub fn error(&self) -> Option<Error> {
        (self.result < 0).then(|| Error::from_errno(self.result))
    }

    /// Takes the front of an answer to an operation `op`.
    ///
    /// What is read is chosen by the operation that was asked for, never by what
    /// the reply claims to answer.
    pub fn decode(front: &'a [u8], op: Op) -> Result<Self> {
        let mut d = Decoder::new(front);
        let mut head = d.block::<15>()?;
        // The operation, as the server repeats it.
        head.skip(4)?;
        let result = match head.i32()? {
            result @ -511..=0 => result,
            // Beyond are numbers that mean something inside of the kernel alone, and
            // nothing that succeeds is more than 0.
            _ => EIO.to_errno(),
        };
        // The server's version of the map.
        head.skip(4)?;
        let mut reply = Self {
            result,
            is_safe: head.bool()?,
            dentry: None,
            target: None,
            extra: Extra::None,
            snap_trace: &[],
        };
        let (is_dentry, is_target) = (head.bool()?, head.bool()?);
        let mut trace = d.blob_decoder()?;
        if !trace.is_empty() {
            if is_dentry {
                let (dir, frag) = (InodeStat::decode(&mut trace)?, DirStat::decode(&mut trace)?);
                // The name that was asked for.
                trace.blob()?;
                let lease = LeaseStat::decode(&mut trace)?;
                reply.dentry = Some(ReplyDentry { dir, frag, lease });
            }
            if is_target {
                reply.target = Some(InodeStat::decode(&mut trace)?);
            }
            if !trace.is_empty() {
                return Err(ebadmsg());
            }
        }
        let mut extra = d.blob_decoder()?;
        if !extra.is_empty() {
            reply.extra = match op {
                Op::READDIR | Op::LSSNAP => Extra::Dir(ReplyDir::decode(&mut extra)?),
                Op::GETVXATTR => {
                    let (_, mut body) = extra.versioned(1)?;
                    Extra::Value(body.blob()?)
                }
                _ => Extra::Raw(extra.rest()),
            };
        }
        reply.snap_trace = d.blob()?;
        if !d.is_empty() {
            return Err(ebadmsg());
        }
        Ok(reply)
    }
}

/// `MClientRequestForward`: another rank is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The rank.
    pub rank: u32,
    /// How many times the request was forwarded.
    pub num_fwd: u32,
}

impl Forward {
    /// Takes the front of the message.
    pub fn decode(front: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        Ok(Self {
            rank: d.u32()?,
            num_fwd: d.u32()?,
        })
    }
}

#[kunit_tests(ceph_wire_reply)]
mod tests {
    use super::super::inode_stat::samples;
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    fn lease(e: &mut Encoder) -> Result {
        e.versioned(2, 1, |e| {
            e.u16(1)?.u32(30_000)?.u32(7)?.blob(b"")?;
            Ok(())
        })?;
        Ok(())
    }

    fn frag(e: &mut Encoder) -> Result {
        e.versioned(1, 1, |e| {
            e.u32(0)?.i32(-1)?.u32(1)?.u32(1)?;
            Ok(())
        })?;
        Ok(())
    }

    fn sample(entries: u32) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u32(Op::READDIR.0)?.i32(-2)?.u32(5)?.bytes(&[1, 1, 1])?;
        e.sized(|e| {
            samples::inode(e, 7, 1)?;
            frag(e)?;
            e.blob(b"dir")?;
            lease(e)?;
            samples::inode(e, 7, 0x1000)
        })?;
        e.sized(|e| {
            frag(e)?;
            e.u32(entries)?.u16(ReplyDir::END | ReplyDir::COMPLETE)?;
            for i in 0..entries {
                e.blob(&[b'a', b'0' + u8::try_from(i).map_err(|_| EINVAL)?])?;
                lease(e)?;
                samples::inode(e, 9, 0x2000 + u64::from(i))?;
            }
            Ok(())
        })?;
        e.blob(b"snaps")?;
        Ok(e.into_vec())
    }

    #[test]
    fn a_listing_is_read() -> Result {
        let bytes = sample(3)?;
        let reply = ClientReply::decode(&bytes, Op::READDIR)?;
        assert!(reply.result == -2 && reply.is_safe && reply.snap_trace == b"snaps");
        assert!(reply.error() == Some(ENOENT));
        let dentry = reply.dentry.ok_or(EINVAL)?;
        assert_eq!((dentry.lease.seq, dentry.frag.auth), (7, None));
        assert_eq!(reply.target.ok_or(EINVAL)?.vino().ino, 0x1000);
        let Extra::Dir(dir) = reply.extra else {
            return Err(EINVAL);
        };
        assert!(dir.has(ReplyDir::COMPLETE) && !dir.has(ReplyDir::HASH_ORDER));
        assert_eq!((dir.count, dir.entries().count()), (3, 3));
        let last = dir.entries().last().ok_or(EINVAL)??;
        assert_eq!((last.name, last.inode.vino().ino), (&b"a2"[..], 0x2002));
        for len in 0..bytes.len() {
            let short = bytes.get(..len).ok_or(EINVAL)?;
            assert!(ClientReply::decode(short, Op::READDIR).is_err());
        }
        Ok(())
    }

    #[test]
    fn names_of_files() {
        assert!(!is_name(b"") && is_name(b"a"));
        let name = *b"twenty-one bytes \x01\x2e\x30\xff";
        for len in 1..=name.len() {
            let good = name.get(..len).unwrap_or_default();
            assert!(is_name(good));
            for at in 0..len {
                for bad in [0, b'/'] {
                    let mut name = name;
                    name[at] = bad;
                    assert!(!is_name(name.get(..len).unwrap_or_default()));
                }
            }
        }
    }

    #[test]
    fn a_bad_entry_ends_the_listing() -> Result {
        let good = sample(3)?;
        let at = |bytes: &[u8]| bytes.windows(2).position(|two| two == b"a1").ok_or(EINVAL);
        for bad in [b"a/", b"a\0"] {
            let mut bytes = KVVec::new();
            bytes.extend_from_slice(&good, GFP_KERNEL)?;
            let place = at(&bytes)?;
            let name = bytes.get_mut(place..).ok_or(EINVAL)?;
            name.get_mut(..2).ok_or(EINVAL)?.copy_from_slice(bad);
            let reply = ClientReply::decode(&bytes, Op::READDIR)?;
            let Extra::Dir(dir) = reply.extra else {
                return Err(EINVAL);
            };
            let mut entries = dir.entries();
            assert!(entries.next().is_some_and(|entry| entry.is_ok()));
            assert!(entries.next().is_some_and(|entry| entry.is_err()));
            assert!(entries.next().is_none());
        }
        Ok(())
    }

    #[test]
    fn entries_are_bounded_by_the_message() -> Result {
        let good = sample(3)?;
        let flags = (ReplyDir::END | ReplyDir::COMPLETE).to_le_bytes();
        let [low, high] = flags;
        let head = [3, 0, 0, 0, low, high];
        let at = good.windows(6).position(|w| w == head).ok_or(EINVAL)?;
        for many in [1000, 1 << 24, i32::MAX as u32, u32::MAX] {
            let mut bytes = KVVec::new();
            bytes.extend_from_slice(&good, GFP_KERNEL)?;
            let place = bytes.get_mut(at..).ok_or(EINVAL)?;
            *place.first_chunk_mut().ok_or(EINVAL)? = u32::to_le_bytes(many);
            assert!(ClientReply::decode(&bytes, Op::READDIR).is_err());
        }
        Ok(())
    }

    #[test]
    fn results_are_errors_that_a_server_may_give() -> Result {
        let good = sample(1)?;
        let eio = EIO.to_errno();
        for (sent, result) in [
            (0, 0),
            (-2, -2),
            (-511, -511),
            (1, eio),
            (i32::MAX, eio),
            (-512, eio),
            (-4095, eio),
            (-4096, eio),
            (i32::MIN, eio),
        ] {
            let mut bytes = KVVec::new();
            bytes.extend_from_slice(&good, GFP_KERNEL)?;
            let place = bytes.get_mut(4..).ok_or(EINVAL)?;
            *place.first_chunk_mut().ok_or(EINVAL)? = i32::to_le_bytes(sent);
            assert_eq!(ClientReply::decode(&bytes, Op::READDIR)?.result, result);
        }
        Ok(())
    }

    #[test]
    fn the_request_says_what_is_read() -> Result {
        let bytes = sample(1)?;
        let reply = ClientReply::decode(&bytes, Op::LOOKUP)?;
        assert!(matches!(reply.extra, Extra::Raw(_)));
        Ok(())
    }

    #[test]
    fn a_listing_may_be_missing() -> Result {
        let mut e = Encoder::new();
        e.u32(Op::READDIR.0)?.i32(0)?.u32(5)?.bytes(&[0; 3])?;
        // Neither a trace, nor what was listed, nor snapshots.
        e.bytes(&[0; 12])?;
        let reply = ClientReply::decode(e.as_slice(), Op::READDIR)?;
        assert!(matches!(reply.extra, Extra::None));
        Ok(())
    }

    #[test]
    fn forwards() -> Result {
        let bytes = [2, 0, 0, 0, 3, 0, 0, 0];
        let forward = Forward::decode(&bytes)?;
        assert_eq!((forward.rank, forward.num_fwd), (2, 3));
        assert!(Forward::decode(bytes.get(1..).ok_or(EINVAL)?).is_err());
        Ok(())
    }
}
