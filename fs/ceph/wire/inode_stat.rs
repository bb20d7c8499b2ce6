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

/// What is told of an inode that fscrypt encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fscrypt<'a> {
    /// Its context; nothing if it is not encrypted.
    pub context: &'a [u8],
    /// Of a file: what its clients keep there, the size.
    pub file: &'a [u8],
}

impl Fscrypt<'_> {
    /// Content is encrypted in blocks of so many bytes, so that it is longer than the file.
    const BLOCK: u64 = 4096;

    /// Whether it is encrypted.
    pub const fn is_encrypted(&self) -> bool {
        !self.context.is_empty()
    }

    /// The size of a file whose content has `size` bytes.
    pub fn true_size(&self, size: u64) -> u64 {
        let Ok(told) = <[u8; 8]>::try_from(self.file) else {
            return size;
        };
        let told = u64::from_le_bytes(told);
        if self.is_encrypted() && told.checked_next_multiple_of(Self::BLOCK) == Some(size) {
            told
        } else {
            size
        }
    }
}

/// What a reply says of an inode, borrowed from the message.
///
/// It is not copied: what has a fixed place is read from there when it is asked for, and so
/// is what hardly any inode has.
#[derive(Clone, Copy, Debug)]
pub struct InodeStat<'a> {
    fixed: &'a [u8; FIXED_SIZE],
    /// What follows that.
    rest: &'a [u8],
    /// What follows all that every version has.
    tail: &'a [u8],
    /// Version of the encoding.
    struct_v: u8,
    /// How names of the directory are hashed.
    pub dir_hash: DirHash,
    /// Version of the inline data; [`InodeStat::INLINE_NONE`] without.
    pub inline_version: u64,
    /// RADOS namespace of the objects.
    pub pool_ns: &'a [u8],
    changes: &'a [u8; 16],
}

/// Bytes of the fields before the first of variable size.
const FIXED_SIZE: usize = 217;

macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident at $at:literal: $type:ty,)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(&self) -> $type {
            <$type>::from_le_bytes(self.at::<{ size_of::<$type>() }, $at>())
        }
    )*};
}

impl<'a> InodeStat<'a> {
    /// `CEPH_INLINE_NONE`.
    pub const INLINE_NONE: u64 = u64::MAX;
    /// The least an inode needs on the wire.
    pub const MIN_SIZE: usize = FIXED_SIZE;

    /// Bytes of a fixed field: all of that is known when this is compiled.
    #[inline(always)]
    fn at<const N: usize, const AT: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= FIXED_SIZE) };
        let field = self.fixed.get(AT..).and_then(|rest| rest.first_chunk());
        *field.unwrap_or(&[0; N])
    }

    #[inline(always)]
    fn time_at<const AT: usize>(&self) -> Timespec {
        let [s0, s1, s2, s3, n0, n1, n2, n3] = self.at::<8, AT>();
        Timespec {
            sec: u32::from_le_bytes([s0, s1, s2, s3]),
            nsec: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }

    /// Identity.
    #[inline(always)]
    pub fn vino(&self) -> Vino {
        Vino {
            ino: u64::from_le_bytes(self.at::<8, 0>()),
            snap: u64::from_le_bytes(self.at::<8, 8>()),
        }
    }

    /// What the capability that comes with it issues.
    #[inline(always)]
    pub fn caps(&self) -> Caps {
        Caps(u32::from_le_bytes(self.at::<4, 36>()))
    }

    /// The capability that comes with it.
    #[inline(always)]
    pub fn cap(&self) -> ReplyCap {
        let [flags] = self.at::<1, 68>();
        ReplyCap {
            caps: self.caps(),
            wanted: Caps(u32::from_le_bytes(self.at::<4, 40>())),
            cap_id: u64::from_le_bytes(self.at::<8, 44>()),
            seq: u32::from_le_bytes(self.at::<4, 52>()),
            mseq: u32::from_le_bytes(self.at::<4, 56>()),
            realm: self.realm(),
            flags,
        }
    }

    /// How the file is cut into objects.
    #[inline]
    pub fn layout(&self) -> FileLayout {
        FileLayout::from_bytes(&self.at::<{ FileLayout::SIZE }, 69>())
    }

    /// Change time.
    #[inline(always)]
    pub fn ctime(&self) -> Timespec {
        self.time_at::<97>()
    }

    /// Modification time.
    #[inline(always)]
    pub fn mtime(&self) -> Timespec {
        self.time_at::<105>()
    }

    /// Access time.
    #[inline(always)]
    pub fn atime(&self) -> Timespec {
        self.time_at::<113>()
    }

    /// Newest change below the directory.
    #[inline(always)]
    pub fn rctime(&self) -> Timespec {
        self.time_at::<209>()
    }

    fixed! {
        /// Device number of a device file: 12 bits of major number, 20 of minor, as
        /// Linux has it inside.
        rdev at 16: u32,
        /// Version of the inode; odd while an update is unstable.
        version at 20: u64,
        /// Version of the extended attributes.
        xattr_version at 28: u64,
        /// Snap realm.
        realm at 60: u64,
        /// Counts explicit changes of the times.
        time_warp_seq at 121: u32,
        /// Bytes.
        size at 125: u64,
        /// How far a writer may write.
        max_size at 133: u64,
        /// Size at the last truncation.
        truncate_size at 141: u64,
        /// Counts truncations.
        truncate_seq at 149: u32,
        /// Type and permissions.
        mode at 153: u32,
        /// Owner.
        uid at 157: u32,
        /// Group.
        gid at 161: u32,
        /// Links.
        nlink at 165: u32,
        /// Files in the directory.
        files at 169: u64,
        /// Directories in the directory.
        subdirs at 177: u64,
        /// Bytes below the directory.
        rbytes at 185: u64,
        /// Files below the directory.
        rfiles at 193: u64,
        /// Directories below the directory.
        rsubdirs at 201: u64,
    }

    /// Birth time.
    #[inline(always)]
    pub fn btime(&self) -> Timespec {
        let [s0, s1, s2, s3, n0, n1, n2, n3, ..] = *self.changes;
        Timespec {
            sec: u32::from_le_bytes([s0, s1, s2, s3]),
            nsec: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }

    /// Counts changes.
    #[inline(always)]
    pub fn change_attr(&self) -> u64 {
        let [_, _, _, _, _, _, _, _, count @ ..] = *self.changes;
        u64::from_le_bytes(count)
    }

    /// How the directory is split.
    #[inline]
    pub fn splits(&self) -> Splits<'a> {
        take_splits(&mut Decoder::new(self.rest)).unwrap_or_default()
    }

    /// Target of a symbolic link.
    pub fn symlink(&self) -> &'a [u8] {
        let mut d = Decoder::new(self.rest);
        let target = take_splits(&mut d).and_then(|_| d.blob());
        target.unwrap_or_default()
    }

    /// Extended attributes ([`super::xattr::Xattrs`]); nothing if they are not told.
    pub fn xattrs(&self) -> &'a [u8] {
        let mut d = Decoder::new(self.rest);
        let target = take_splits(&mut d).and_then(|_| d.blob());
        // The hash of names.
        let xattrs = target.and_then(|_| d.skip(8)).and_then(|()| d.blob());
        xattrs.unwrap_or_default()
    }

    /// How an encrypted inode is encrypted; nothing in it for others.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it cannot be told.
    pub fn fscrypt(&self) -> Result<Fscrypt<'a>> {
        if self.struct_v < 7 {
            return Ok(Fscrypt::default());
        }
        let mut d = Decoder::new(self.tail);
        // The rank that it is pinned to, a snapshot's time of birth, the count of snapshots.
        d.skip(4 + 8 + 8)?;
        for _ in 0..d.count(8)? {
            d.blob()?;
            d.blob()?;
        }
        // Once a flag for what follows.
        d.skip(1)?;
        Ok(Fscrypt {
            context: d.blob()?,
            file: d.blob()?,
        })
    }

    /// Content kept with the inode.
    pub fn inline_data(&self) -> &'a [u8] {
        let mut d = Decoder::new(self.rest);
        let target = take_splits(&mut d).and_then(|_| d.blob());
        // The hash of names, extended attributes, the version.
        let before = target.and_then(|_| d.skip(8)).and_then(|()| d.blob());
        let data = before.and_then(|_| d.skip(8)).and_then(|()| d.blob());
        data.unwrap_or_default()
    }

    /// Takes an inode.
    // Inlined because what it gives is large, and would be moved.
    #[inline(always)]
    pub fn decode(d: &mut Decoder<'a>) -> Result<Self> {
        let (struct_v, mut body) = d.versioned(1)?;
        let d = &mut body;
        let fixed = d.chunk()?;
        let rest = d.rest();
        take_splits(d)?;
        // Target of a symbolic link.
        d.blob()?;
        let dir_hash = DirHash::decode(&mut d.block::<8>()?)?;
        // Extended attributes: this client asks for them by name.
        d.blob()?;
        let inline_version = d.u64()?;
        // Inline data.
        d.blob()?;
        // Limits.
        d.versioned(1)?;
        let pool_ns = d.blob()?;
        let changes = d.chunk()?;
        // What later versions add is looked at when it is asked for.
        Ok(Self {
            fixed,
            rest,
            tail: d.rest(),
            struct_v,
            dir_hash,
            inline_version,
            pool_ns,
            changes,
        })
    }
}

#[inline(always)]
fn take_splits<'a>(d: &mut Decoder<'a>) -> Result<Splits<'a>> {
    let count = d.count(8)?;
    Ok(Splits(d.bytes(count.checked_mul(8).ok_or_else(ebadmsg)?)?))
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
            e.blob(b"to")?.u8(2)?.bytes(&[0; 7])?.blob(b"xattr")?;
            e.u64(u64::MAX)?.blob(b"inline")?;
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
            assert_eq!((inode.vino(), inode.size()), (Vino::head(0x1000), 1234));
            assert_eq!((inode.cap().cap_id, inode.cap().realm), (77, 1));
            assert_eq!((inode.cap().caps, inode.cap().seq), (Caps(0x155), 4));
            assert!(inode.cap().is_auth());
            assert_eq!((inode.version(), inode.xattr_version()), (2, 3));
            let time = Timespec {
                sec: 0x0101_0101,
                nsec: 0x0101_0101,
            };
            assert_eq!([inode.ctime(), inode.mtime(), inode.atime()], [time; 3]);
            assert_eq!((inode.truncate_size(), inode.truncate_seq()), (u64::MAX, 1));
            assert_eq!((inode.nlink(), inode.rsubdirs()), (1, 0));
            assert_eq!(inode.rctime().nsec, 0x0202_0202);
            assert_eq!(
                (inode.mode(), inode.uid(), inode.layout().pool),
                (0o100644, 1000, 2)
            );
            assert_eq!((inode.symlink(), inode.pool_ns), (&b"to"[..], &b"ns"[..]));
            assert_eq!(inode.inline_data(), b"inline");
            assert_eq!(inode.xattrs(), b"xattr");
            let fscrypt = inode.fscrypt()?;
            assert_eq!(fscrypt.is_encrypted(), version >= 7);
            assert_eq!(inode.splits().iter().count(), 1);
            assert_eq!((inode.btime().nsec, inode.change_attr()), (0x0303_0303, 6));
            for len in 0..bytes.len() {
                let short = bytes.get(..len).ok_or(EINVAL)?;
                assert!(InodeStat::decode(&mut Decoder::new(short)).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn splits_are_bounded_by_the_body() -> Result {
        let mut e = Encoder::new();
        samples::inode(&mut e, 7, 1)?;
        // That many splits are 8 and 16 bytes, if 32 bits are all that counts.
        for count in [2, 100, 1 << 29 | 1, 1 << 29 | 2, u32::MAX] {
            let mut bytes = KVVec::new();
            bytes.extend_from_slice(e.as_slice(), GFP_KERNEL)?;
            let place = bytes.get_mut(6 + FIXED_SIZE..).ok_or(EINVAL)?;
            *place.first_chunk_mut().ok_or(EINVAL)? = count.to_le_bytes();
            assert!(InodeStat::decode(&mut Decoder::new(&bytes)).is_err());
        }
        Ok(())
    }

    #[test]
    fn sizes_of_encrypted_files() {
        let of = |context, told: &[u8], size| {
            Fscrypt {
                context,
                file: told,
            }
            .true_size(size)
        };
        let told = 5000u64.to_le_bytes();
        assert_eq!(of(b"context", &told, 8192), 5000);
        // It was cut meanwhile, or is not encrypted, or is as long as it says.
        assert_eq!(of(b"context", &told, 4096), 4096);
        assert_eq!(of(b"", &told, 8192), 8192);
        assert_eq!(of(b"context", b"", 8192), 8192);
        assert_eq!(of(b"context", &[0xff; 8], u64::MAX), u64::MAX);
    }

    #[test]
    fn a_body_may_not_end_early() -> Result {
        let mut e = Encoder::new();
        // That has nothing but what is used.
        samples::inode(&mut e, 1, 1)?;
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
