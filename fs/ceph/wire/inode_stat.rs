// SPDX-License-Identifier: GPL-2.0
//! `InodeStat`: all that a reply says of an inode (Ceph: src/mds/CInode.cc,
//! `encode_inodestat`), in the encoding of `CEPHFS_FEATURE_REPLY_ENCODING`.
use ceph_proto::errno::ebadmsg;
use ceph_proto::wire::decode::Decoder;
use ceph_proto::wire::types::Timespec;
use kernel::prelude::*;

use super::cap_bits::Caps;
use super::dir_hash::DirHash;
use super::frag::{Frag, Split};
use super::layout::FileLayout;
use super::msg::Vino;
use super::quota::Quota;

/// A capability that comes with an inode (`ceph_mds_reply_cap`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyCap {
    /// What is issued; for a snapshot's inode, all there will ever be.
    pub caps: Caps,
    /// What the server believes we want.
    pub wanted: Caps,
    /// Identity of the capability.
    pub cap_id: u64,
    /// Version.
    pub seq: u32,
    /// Version of the migration between servers.
    pub mseq: u32,
    /// Snap realm of the inode.
    pub realm: u64,
    /// `CEPH_CAP_FLAG_*`.
    pub flags: u8,
}

impl ReplyCap {
    /// Issued by the inode's authoritative server.
    pub const AUTH: u8 = 1;
    /// The previous capability is gone.
    pub const RELEASE: u8 = 2;

    #[inline(always)]
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            caps: Caps(d.u32()?),
            wanted: Caps(d.u32()?),
            cap_id: d.u64()?,
            seq: d.u32()?,
            mseq: d.u32()?,
            realm: d.u64()?,
            flags: d.u8()?,
        })
    }

    /// Whether the inode's authoritative server issued it.
    pub const fn is_auth(&self) -> bool {
        self.flags & Self::AUTH != 0
    }
}

/// Splits of a directory as the wire carries them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Splits<'a>(&'a [u8]);

impl<'a> Splits<'a> {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The splits in turn, those that no hash can reach left out.
    pub fn iter(&self) -> impl Iterator<Item = Split> + 'a {
        let mut d = Decoder::new(self.0);
        core::iter::from_fn(move || Some((d.u32().ok()?, d.u32().ok()?))).filter_map(
            |(frag, by)| {
                let frag = Frag::checked(frag).ok()?;
                (by > 0 && by <= 24).then_some(Split { frag, by })
            },
        )
    }
}

/// What a reply says of an inode, borrowed from the message.
#[derive(Clone, Copy, Debug)]
pub struct InodeStat<'a> {
    /// Identity.
    pub vino: Vino,
    /// Device number of a device file: 12 bits of major number, 20 of minor, as
    /// Linux has it inside.
    pub rdev: u32,
    /// Version of the inode; odd while an update is unstable.
    pub version: u64,
    /// Version of the extended attributes.
    pub xattr_version: u64,
    /// The capability that comes with it.
    pub cap: ReplyCap,
    /// How the file is cut into objects.
    pub layout: FileLayout,
    /// Change time.
    pub ctime: Timespec,
    /// Modification time.
    pub mtime: Timespec,
    /// Access time.
    pub atime: Timespec,
    /// Counts explicit changes of the times.
    pub time_warp_seq: u32,
    /// Bytes.
    pub size: u64,
    /// How far a writer may write.
    pub max_size: u64,
    /// Size at the last truncation.
    pub truncate_size: u64,
    /// Counts truncations.
    pub truncate_seq: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links.
    pub nlink: u32,
    /// Files in the directory.
    pub files: u64,
    /// Directories in the directory.
    pub subdirs: u64,
    /// Bytes below the directory.
    pub rbytes: u64,
    /// Files below the directory.
    pub rfiles: u64,
    /// Directories below the directory.
    pub rsubdirs: u64,
    /// Newest change below the directory.
    pub rctime: Timespec,
    /// How the directory is split.
    pub splits: Splits<'a>,
    /// Target of a symbolic link.
    pub symlink: &'a [u8],
    /// How names of the directory are hashed.
    pub dir_hash: DirHash,
    /// Extended attributes, encoded; empty when they are not told.
    pub xattrs: &'a [u8],
    /// Version of the inline data; [`InodeStat::INLINE_NONE`] without.
    pub inline_version: u64,
    /// Content kept with the inode.
    pub inline_data: &'a [u8],
    /// Limits.
    pub quota: Quota,
    /// RADOS namespace of the objects.
    pub pool_ns: &'a [u8],
    /// Birth time.
    pub btime: Timespec,
    /// Counts changes.
    pub change_attr: u64,
    /// Rank that the directory is pinned to; none when not told.
    pub dir_pin: Option<i32>,
    /// When the snapshot was taken.
    pub snap_btime: Timespec,
    /// Snapshots below the directory.
    pub rsnaps: u64,
    /// fscrypt context.
    pub fscrypt_auth: &'a [u8],
    /// True size of an encrypted file, 8 bytes.
    pub fscrypt_file: &'a [u8],
    /// Subvolume that it belongs to; 0 for none.
    pub subvolume_id: u64,
}

/// Bytes of the fields before the first of variable size.
const FIXED_SIZE: usize = 217;

impl<'a> InodeStat<'a> {
    /// `CEPH_INLINE_NONE`.
    pub const INLINE_NONE: u64 = u64::MAX;
    /// The least an inode needs on the wire.
    pub const MIN_SIZE: usize = FIXED_SIZE;

    /// Takes an inode.
    pub fn decode(d: &mut Decoder<'a>) -> Result<Self> {
        let (version, mut body) = d.versioned(1)?;
        // All that has a fixed place.
        let mut fixed = body.block::<FIXED_SIZE>()?;
        let d = &mut fixed;
        let vino = Vino {
            ino: d.u64()?,
            snap: d.u64()?,
        };
        let mut inode = Self {
            vino,
            rdev: d.u32()?,
            version: d.u64()?,
            xattr_version: d.u64()?,
            cap: ReplyCap::decode(d)?,
            layout: FileLayout::decode(d)?,
            ctime: d.timespec()?,
            mtime: d.timespec()?,
            atime: d.timespec()?,
            time_warp_seq: d.u32()?,
            size: d.u64()?,
            max_size: d.u64()?,
            truncate_size: d.u64()?,
            truncate_seq: d.u32()?,
            mode: d.u32()?,
            uid: d.u32()?,
            gid: d.u32()?,
            nlink: d.u32()?,
            files: d.u64()?,
            subdirs: d.u64()?,
            rbytes: d.u64()?,
            rfiles: d.u64()?,
            rsubdirs: d.u64()?,
            rctime: d.timespec()?,
            // The rest follows.
            splits: Splits(&[]),
            symlink: &[],
            dir_hash: DirHash::default(),
            xattrs: &[],
            inline_version: 0,
            inline_data: &[],
            quota: Quota::default(),
            pool_ns: &[],
            btime: Timespec::default(),
            change_attr: 0,
            dir_pin: None,
            snap_btime: Timespec::default(),
            rsnaps: 0,
            fscrypt_auth: &[],
            fscrypt_file: &[],
            subvolume_id: 0,
        };

        let d = &mut body;
        inode.splits = {
            let count = d.count(8)?;
            Splits(d.bytes(count.checked_mul(8).ok_or_else(ebadmsg)?)?)
        };
        inode.symlink = d.blob()?;
        inode.dir_hash = DirHash::decode(d)?;
        inode.xattrs = d.blob()?;
        inode.inline_version = d.u64()?;
        inode.inline_data = d.blob()?;
        inode.quota = Quota::decode(d)?;
        inode.pool_ns = d.blob()?;
        inode.btime = d.timespec()?;
        inode.change_attr = d.u64()?;
        if version >= 2 {
            inode.dir_pin = Some(d.i32()?);
        }
        if version >= 3 {
            inode.snap_btime = d.timespec()?;
        }
        if version >= 4 {
            inode.rsnaps = d.u64()?;
        }
        if version >= 5 {
            // Metadata of the snapshot, strings by name: not shown anywhere.
            for _ in 0..d.count(8)? {
                d.blob()?;
                d.blob()?;
            }
        }
        if version >= 6 {
            d.skip(1)?; // whether it is encrypted; fscrypt_auth says that too
        }
        if version >= 7 {
            inode.fscrypt_auth = d.blob()?;
            inode.fscrypt_file = d.blob()?;
        }
        if version >= 8 {
            // Optional metadata, of which only charmap exists; a client that does
            // not offer CEPHFS_FEATURE_CHARMAP must not interpret names.
            let (_, _charmap) = d.versioned(u8::MAX)?;
        }
        if version >= 9 {
            inode.subvolume_id = d.u64()?;
        }
        Ok(inode)
    }
}

#[cfg(any(test, CONFIG_KUNIT))]
pub(super) mod samples {
    //! Encoded inodes for tests.
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    /// Adds a regular file in the encoding of the version.
    pub(crate) fn inode(e: &mut Encoder, version: u8, ino: u64) -> Result {
        e.versioned(version, 1, |e| {
            e.u64(ino)?
                .u64(super::super::msg::NOSNAP)?
                .u32(0)?
                .u64(2)?
                .u64(3)?;
            e.u32(0x155)?
                .u32(0)?
                .u64(77)?
                .u32(4)?
                .u32(5)?
                .u64(1)?
                .u8(1)?;
            let layout = FileLayout {
                stripe_unit: 1 << 22,
                stripe_count: 1,
                object_size: 1 << 22,
                pool: 2,
            };
            layout.encode(e)?;
            e.bytes(&[1; 24])?
                .u32(0)?
                .u64(1234)?
                .u64(0)?
                .u64(u64::MAX)?
                .u32(1)?;
            e.u32(0o100644)?.u32(1000)?.u32(100)?.u32(1)?;
            e.bytes(&[0; 40])?.bytes(&[2; 8])?;
            e.u32(1)?.u32(0)?.u32(3)?;
            e.blob(b"")?.u8(2)?.bytes(&[0; 7])?.blob(b"xattr")?;
            e.u64(u64::MAX)?.blob(b"")?;
            e.versioned(1, 1, |e| {
                e.u64(10)?.u64(20)?;
                Ok(())
            })?;
            e.blob(b"ns")?.bytes(&[3; 8])?.u64(6)?;
            if version >= 2 {
                e.i32(-1)?;
            }
            if version >= 3 {
                e.bytes(&[0; 8])?;
            }
            if version >= 4 {
                e.u64(8)?;
            }
            if version >= 5 {
                e.u32(1)?.blob(b"key")?.blob(b"value")?;
            }
            if version >= 6 {
                e.u8(0)?;
            }
            if version >= 7 {
                e.blob(b"auth")?.blob(b"")?;
            }
            if version >= 8 {
                e.versioned(1, 1, |e| {
                    e.u64(0)?;
                    Ok(())
                })?;
            }
            if version >= 9 {
                e.u64(42)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

#[kunit_tests(ceph_wire_inode_stat)]
mod tests {
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    #[test]
    fn every_version_is_read() -> Result {
        for version in 1..=10 {
            let mut e = Encoder::new();
            samples::inode(&mut e, version, 0x1000)?;
            let bytes = e.into_vec();
            let mut d = Decoder::new(&bytes);
            let inode = InodeStat::decode(&mut d)?;
            assert!(d.is_empty());
            assert!(bytes.len() >= InodeStat::MIN_SIZE);
            assert_eq!((inode.vino, inode.size), (Vino::head(0x1000), 1234));
            assert_eq!((inode.cap.cap_id, inode.cap.realm), (77, 1));
            assert!(inode.cap.is_auth());
            assert_eq!(
                (inode.mode, inode.uid, inode.layout.pool),
                (0o100644, 1000, 2)
            );
            assert_eq!((inode.xattrs, inode.pool_ns), (&b"xattr"[..], &b"ns"[..]));
            assert_eq!(inode.splits.iter().count(), 1);
            assert_eq!(inode.dir_pin.is_some(), (version >= 2));
            assert_eq!((inode.subvolume_id == 42), (version >= 9));
            for len in 0..bytes.len() {
                let short = bytes.get(..len).ok_or(EINVAL)?;
                assert!(InodeStat::decode(&mut Decoder::new(short)).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn a_body_may_not_end_early() -> Result {
        let mut e = Encoder::new();
        samples::inode(&mut e, 7, 1)?;
        let bytes = e.into_vec();
        let body = bytes.get(6..).ok_or(EINVAL)?;
        for len in 0..body.len() {
            let mut e = Encoder::new();
            let part = body.get(..len).ok_or(EINVAL)?;
            e.u8(7)?.u8(1)?.blob(part)?;
            assert!(InodeStat::decode(&mut Decoder::new(e.as_slice())).is_err());
        }
        Ok(())
    }
}
