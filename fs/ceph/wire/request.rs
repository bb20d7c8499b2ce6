// SPDX-License-Identifier: GPL-2.0
//! `MClientRequest` (Ceph: src/messages/MClientRequest.h).
use ceph_proto::wire::encode::{Encoder, Writer};
use ceph_proto::wire::types::Timespec;
use kernel::prelude::*;

use super::cap_bits::Caps;
use super::frag::Frag;
use super::session::Features;

/// An operation (`CEPH_MDS_OP_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Op(pub u32);

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Op {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The name in debugfs and the log.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "???",
                }
            }
        }
    };
}

ops! {
    /// A name in a directory.
    LOOKUP = 0x100, "lookup";
    /// Attributes of an inode.
    GETATTR = 0x101, "getattr";
    /// An inode by the hash of its name.
    LOOKUPHASH = 0x102, "lookuphash";
    /// The directory of an inode.
    LOOKUPPARENT = 0x103, "lookupparent";
    /// An inode by its number.
    LOOKUPINO = 0x104, "lookupino";
    /// The name of an inode in a directory.
    LOOKUPNAME = 0x105, "lookupname";
    /// A virtual extended attribute.
    GETVXATTR = 0x106, "getvxattr";
    /// Who holds a lock on a file.
    GETFILELOCK = 0x110, "getfilelock";
    /// Opening a file.
    OPEN = 0x302, "open";
    /// Listing a directory.
    READDIR = 0x305, "readdir";
    /// A snapshot of a directory by its name.
    LOOKUPSNAP = 0x400, "lookupsnap";
    /// Listing the snapshots of a directory.
    LSSNAP = 0x402, "lssnap";
}

/// `CEPH_MDS_OP_WRITE`: operations that change something have this bit.
pub const OP_WRITE: u32 = 0x1000;

impl Op {
    /// Whether it changes something.
    pub const fn is_write(self) -> bool {
        self.0 & OP_WRITE != 0
    }
}

/// Arguments of an operation (`ceph_mds_request_args`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Args {
    /// Of LOOKUP, GETATTR and LOOKUPSNAP: what must be known of the inode.
    Getattr {
        /// Capability bits whose data is wanted.
        mask: Caps,
    },
    /// Of READDIR and LSSNAP.
    Readdir {
        /// The fragment.
        frag: Frag,
        /// At most this many entries.
        max_entries: u32,
        /// At most this many bytes.
        max_bytes: u32,
        /// [`Args::READDIR_REPLY_BITFLAGS`].
        flags: u16,
        /// Where to go on when no name is known, by hash.
        offset_hash: u32,
    },
    /// Of OPEN.
    Open {
        /// `CEPH_O_*`.
        flags: u32,
        /// Permissions of a new file.
        mode: u32,
        /// Pool of a new file; -1 (all ones) for the default.
        pool: u32,
        /// What must be known of the inode.
        mask: Caps,
    },
    /// Of LOOKUPINO, LOOKUPPARENT and LOOKUPNAME.
    LookupIno {
        /// What must be known of the inode.
        mask: Caps,
        /// Snapshot.
        snapid: u64,
        /// Directory, if known.
        parent: u64,
        /// Hash of its name, if known.
        hash: u32,
    },
    /// Of all others that read.
    #[default]
    None,
}

impl Args {
    /// This client understands all flags of a listing.
    pub const READDIR_REPLY_BITFLAGS: u16 = 1;
    /// Bytes of the union, with the part that newer servers know.
    const SIZE: usize = 56;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let mut w = Writer::new(&mut out);
        match self {
            Self::Getattr { mask } => w.put(mask.0.to_le_bytes()),
            Self::Readdir {
                frag,
                max_entries,
                max_bytes,
                flags,
                offset_hash,
            } => {
                w.put(frag.0.to_le_bytes());
                w.put(max_entries.to_le_bytes());
                w.put(max_bytes.to_le_bytes());
                w.put(flags.to_le_bytes());
                w.put(offset_hash.to_le_bytes());
            }
            Self::Open {
                flags,
                mode,
                pool,
                mask,
            } => {
                w.put(flags.to_le_bytes());
                w.put(mode.to_le_bytes());
                w.put([0; 12]);
                w.put(pool.to_le_bytes());
                w.put(mask.0.to_le_bytes());
            }
            Self::LookupIno {
                mask,
                snapid,
                parent,
                hash,
            } => {
                w.put(mask.0.to_le_bytes());
                w.put(snapid.to_le_bytes());
                w.put(parent.to_le_bytes());
                w.put(hash.to_le_bytes());
            }
            Self::None => {}
        }
        out
    }
}

/// A path: where it begins, and names from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilePath<'a> {
    /// Inode that it begins at; 0 with an empty path for none.
    pub ino: u64,
    /// Names, separated by `/`.
    pub path: &'a [u8],
}

/// Bytes of a request's head of version 3.
const HEAD_LEN: u32 = 118;

/// Bytes of a path before its names.
const PATH_HEAD: usize = 13;

/// A request up to the names of its first path.
const FIRST: usize = HEAD_LEN as usize + PATH_HEAD;

/// What comes after those, without what has no fixed size.
const REST: usize = PATH_HEAD + 12 + 12;

impl FilePath<'_> {
    fn head(&self) -> Result<[u8; PATH_HEAD]> {
        let len = u32::try_from(self.path.len()).map_err(|_| E2BIG)?;
        let mut head = [0; PATH_HEAD];
        let mut w = Writer::new(&mut head);
        w.put([1]);
        w.put(self.ino.to_le_bytes());
        w.put(len.to_le_bytes());
        Ok(head)
    }
}

/// A capability or dentry lease that is given back with a request
/// (`ceph_mds_request_release`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Release<'a> {
    /// Inode.
    pub ino: u64,
    /// Capability.
    pub cap_id: u64,
    /// What is kept.
    pub caps: Caps,
    /// What is wanted.
    pub wanted: Caps,
    /// Version of the capability.
    pub seq: u32,
    /// Version at which it was issued.
    pub issue_seq: u32,
    /// Version of its migration.
    pub mseq: u32,
    /// Version of the dentry lease that is given back.
    pub dname_seq: u32,
    /// Name of the dentry whose lease is given back; empty for none.
    pub dname: &'a [u8],
}

impl Release<'_> {
    fn encode(&self, e: &mut Encoder) -> Result {
        e.u64(self.ino)?.u64(self.cap_id)?;
        e.u32(self.caps.0)?.u32(self.wanted.0)?.u32(self.seq)?;
        e.u32(self.issue_seq)?.u32(self.mseq)?.u32(self.dname_seq)?;
        e.blob(self.dname)?;
        Ok(())
    }
}

/// `MClientRequest`.
#[derive(Debug, Default)]
pub struct ClientRequest<'a> {
    /// The oldest request that is not answered; the server forgets older ones.
    pub oldest_client_tid: u64,
    /// Our version of the map.
    pub mdsmap_epoch: u32,
    /// [`ClientRequest::REPLAY`] and its neighbours.
    pub flags: u32,
    /// How many times it was sent before.
    pub num_retry: u32,
    /// How many times it was forwarded.
    pub num_fwd: u32,
    /// Operation.
    pub op: Op,
    /// Who asks.
    pub caller_uid: u32,
    /// Who asks.
    pub caller_gid: u32,
    /// Further groups of who asks.
    pub gids: &'a [u32],
    /// Arguments.
    pub args: Args,
    /// What it is about.
    pub path1: FilePath<'a>,
    /// What else it is about.
    pub path2: FilePath<'a>,
    /// What is given back.
    pub releases: &'a [Release<'a>],
    /// When it was made.
    pub stamp: Timespec,
}

impl ClientRequest<'_> {
    /// Sent again after the server restarted; it was answered but not safe.
    pub const REPLAY: u32 = 1;
    /// The reply is to tell of the directory and the name.
    pub const WANT_DENTRY: u32 = 2;

    /// The front of a message for a session with the features, and the version of
    /// the message.
    pub fn encode(&self, features: Features) -> Result<(u16, KVVec<u8>)> {
        let head = match features {
            f if !f.has(Features::RETRY_FWD_32) => 1,
            f if !f.has(Features::HAS_OWNER_UIDGID) => 2,
            _ => 3u16,
        };
        let releases = u16::try_from(self.releases.len()).map_err(|_| E2BIG)?;
        let gids = u32::try_from(self.gids.len()).map_err(|_| E2BIG)?;
        let mut first = [0; FIRST];
        let mut w = Writer::new(&mut first);
        w.put(head.to_le_bytes());
        w.put(self.oldest_client_tid.to_le_bytes());
        w.put(self.mdsmap_epoch.to_le_bytes());
        w.put(self.flags.to_le_bytes());
        // The old counters wrap around, as the C client's do.
        w.put([(self.num_retry & 0xff) as u8, (self.num_fwd & 0xff) as u8]);
        w.put(releases.to_le_bytes());
        w.put(self.op.0.to_le_bytes());
        w.put(self.caller_uid.to_le_bytes());
        w.put(self.caller_gid.to_le_bytes());
        w.put([0; 8]);
        w.put(self.args.to_bytes());
        // From version 2 on.
        w.put(self.num_retry.to_le_bytes());
        w.put(self.num_fwd.to_le_bytes());
        // From version 3 on: the size, and the owner of what is created: nobody, as nothing is.
        w.put(HEAD_LEN.to_le_bytes());
        w.put([0xff; 8]);
        w.put(self.path1.head()?);

        let mut rest = [0; REST];
        let mut w = Writer::new(&mut rest);
        w.put(self.path2.head()?);
        w.put(self.stamp.sec.to_le_bytes());
        w.put(self.stamp.nsec.to_le_bytes());
        w.put(gids.to_le_bytes());
        // Alternate name, fscrypt context and size: three that are empty.
        w.put([0; 12]);

        let path_len = self.path1.path.len().saturating_add(self.path2.path.len());
        let gids_len = self.gids.len().saturating_mul(8);
        let len = path_len.saturating_add(gids_len);
        let len = len.saturating_add(FIRST + REST);
        let mut front = KVVec::with_capacity(len, GFP_KERNEL)?;
        let mut add = |bytes: &[u8]| front.extend_from_slice(bytes, GFP_KERNEL);
        match first.split_at_checked(if head == 1 { 98 } else { 106 }) {
            Some((old, newer)) if head < 3 => {
                add(old)?;
                add(newer.last_chunk::<PATH_HEAD>().ok_or(EINVAL)?)?;
            }
            _ => add(&first)?,
        }
        add(self.path1.path)?;
        let rest = &rest[..];
        // Most requests have nothing in between.
        if self.path2.path.is_empty() && self.releases.is_empty() && self.gids.is_empty() {
            add(rest)?;
        } else {
            let (path2, rest) = rest.split_at_checked(PATH_HEAD).ok_or(EINVAL)?;
            let (stamp, rest) = rest.split_at_checked(12).ok_or(EINVAL)?;
            add(path2)?;
            add(self.path2.path)?;
            let mut e = Encoder::new();
            for release in self.releases {
                release.encode(&mut e)?;
            }
            add(e.as_slice())?;
            add(stamp)?;
            for gid in self.gids {
                add(&u64::from(*gid).to_le_bytes())?;
            }
            add(rest)?;
        }
        Ok((if head == 1 { 4 } else { 6 }, front))
    }
}

#[kunit_tests(ceph_wire_request)]
mod tests {
    use super::*;
    use ceph_proto::wire::decode::Decoder;

    fn request<'a>(args: Args, releases: &'a [Release<'a>]) -> ClientRequest<'a> {
        ClientRequest {
            oldest_client_tid: 5,
            mdsmap_epoch: 6,
            flags: ClientRequest::WANT_DENTRY,
            num_retry: 0x102,
            num_fwd: 3,
            op: Op::LOOKUP,
            caller_uid: 1000,
            caller_gid: 100,
            gids: &[7, 8],
            args,
            path1: FilePath {
                ino: 1,
                path: b"name",
            },
            path2: FilePath::default(),
            releases,
            stamp: Timespec { sec: 1, nsec: 2 },
        }
    }

    #[test]
    fn heads_grow_with_the_features() -> Result {
        let releases = [Release {
            ino: 9,
            dname: b"old",
            ..Release::default()
        }];
        let all = Features::SUPPORTED.0;
        for (features, head, version, size) in [
            (0, 1, 4, 98),
            (Features::RETRY_FWD_32, 2, 6, 106),
            (all, 3, 6, 118usize),
        ] {
            let args = Args::Getattr {
                mask: Caps::STAT_ALL,
            };
            let (v, bytes) = request(args, &releases).encode(Features(features))?;
            assert_eq!(v, version);
            let mut d = Decoder::new(&bytes);
            assert_eq!((d.u16()?, d.u64()?, d.u32()?, d.u32()?), (head, 5, 6, 2));
            assert_eq!((d.u8()?, d.u8()?, d.u16()?, d.u32()?), (2, 3, 1, 0x100));
            assert_eq!((d.u32()?, d.u32()?, d.u64()?), (1000, 100, 0));
            assert_eq!(d.u32()?, Caps::STAT_ALL.0);
            d.skip(size.saturating_sub(bytes.len().saturating_sub(d.remaining())))?;
            assert_eq!((d.u8()?, d.u64()?, d.blob()?), (1, 1, &b"name"[..]));
            assert_eq!((d.u8()?, d.u64()?, d.blob()?), (1, 0, &b""[..]));
            assert_eq!(d.u64()?, 9);
            d.skip(32)?;
            assert_eq!(d.blob()?, b"old");
            assert_eq!((d.u32()?, d.u32()?), (1, 2));
            assert_eq!((d.u32()?, d.u64()?, d.u64()?), (2, 7, 8));
            assert_eq!((d.u32()?, d.u32()?, d.u32()?), (0, 0, 0));
            assert!(d.is_empty());
        }
        Ok(())
    }

    #[test]
    fn what_is_not_there_takes_no_place() -> Result {
        for (features, size) in [(0, 98), (Features::SUPPORTED.0, 118)] {
            let mut plain = request(Args::None, &[]);
            plain.gids = &[];
            let (_, bytes) = plain.encode(Features(features))?;
            let mut d = Decoder::new(&bytes);
            d.skip(size)?;
            assert_eq!((d.u8()?, d.u64()?, d.blob()?), (1, 1, &b"name"[..]));
            assert_eq!((d.u8()?, d.u64()?, d.blob()?), (1, 0, &b""[..]));
            assert_eq!((d.u32()?, d.u32()?, d.u32()?), (1, 2, 0));
            assert_eq!((d.u32()?, d.u32()?, d.u32()?), (0, 0, 0));
            assert!(d.is_empty());
            plain.path2.path = b"last";
            let (_, bytes) = plain.encode(Features(features))?;
            let mut d = Decoder::new(&bytes);
            d.skip(size)?;
            assert_eq!((d.u8()?, d.u64()?, d.blob()?), (1, 1, &b"name"[..]));
            assert_eq!((d.u8()?, d.u64()?, d.blob()?), (1, 0, &b"last"[..]));
            assert_eq!((d.u32()?, d.u32()?, d.u32()?), (1, 2, 0));
            assert_eq!(d.remaining(), 12);
        }
        Ok(())
    }

    #[test]
    fn arguments() {
        let open = Args::Open {
            flags: 1,
            mode: 2,
            pool: u32::MAX,
            mask: Caps(3),
        };
        let bytes = open.to_bytes();
        let mut d = Decoder::new(&bytes);
        assert!(matches!((d.u32(), d.u32()), (Ok(1), Ok(2))));
        assert!(d.skip(12).is_ok());
        assert!(matches!((d.u32(), d.u32()), (Ok(u32::MAX), Ok(3))));
        let readdir = Args::Readdir {
            frag: Frag::ROOT,
            max_entries: 1,
            max_bytes: 2,
            flags: 1,
            offset_hash: 3,
        };
        let bytes = readdir.to_bytes();
        assert_eq!(
            bytes.get(..20),
            Some(&[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0][..])
        );
        let lookup = Args::LookupIno {
            mask: Caps(1),
            snapid: 2,
            parent: 3,
            hash: 4,
        };
        let bytes = lookup.to_bytes();
        let mut d = Decoder::new(&bytes);
        assert!(matches!((d.u32(), d.u64()), (Ok(1), Ok(2))));
        assert!(matches!((d.u64(), d.u32()), (Ok(3), Ok(4))));
        assert_eq!(Args::None.to_bytes(), [0; Args::SIZE]);
    }
}
