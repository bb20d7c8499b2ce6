// SPDX-License-Identifier: GPL-2.0
//! Snap realms: which snapshots apply to which part of the tree.
use ceph_proto::errno::ebadmsg;
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

/// A list of numbers as the wire carries it, not copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    fn decode(d: &mut Decoder<'a>, count: usize) -> Result<Self> {
        d.check_count(count, 8)?;
        Ok(Self(d.bytes(count.checked_mul(8).ok_or_else(ebadmsg)?)?))
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len() / 8
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers in turn.
    pub fn iter(&self) -> impl Iterator<Item = u64> + 'a {
        let mut d = Decoder::new(self.0);
        core::iter::from_fn(move || d.u64().ok())
    }
}

/// `SnapRealmInfo`: a part of the tree that has snapshots of its own.
#[derive(Clone, Copy, Debug)]
pub struct SnapRealm<'a> {
    /// The directory that it begins at.
    pub ino: u64,
    /// Snapshot version at which it came to be.
    pub created: u64,
    /// The realm above.
    pub parent: u64,
    /// Snapshot version since which that is so.
    pub parent_since: u64,
    /// Version.
    pub seq: u64,
    /// Snapshots taken of it, the newest first.
    pub snaps: Numbers<'a>,
    /// Snapshots of former parents that still apply.
    pub prior_parent_snaps: Numbers<'a>,
}

impl<'a> SnapRealm<'a> {
    fn decode(d: &mut Decoder<'a>) -> Result<Self> {
        let mut head = d.block::<48>()?;
        let (ino, created, parent) = (head.u64()?, head.u64()?, head.u64()?);
        let (parent_since, seq) = (head.u64()?, head.u64()?);
        let number = |n: u32| usize::try_from(n).map_err(|_| ebadmsg());
        let (snaps, prior) = (number(head.u32()?)?, number(head.u32()?)?);
        Ok(Self {
            ino,
            created,
            parent,
            parent_since,
            seq,
            snaps: Numbers::decode(d, snaps)?,
            prior_parent_snaps: Numbers::decode(d, prior)?,
        })
    }
}

/// A snap trace as the wire carries it, not copied: a realm and those above it, up to the
/// root.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapTrace<'a>(&'a [u8]);

impl<'a> SnapTrace<'a> {
    /// Checks that there are realms until the bytes end; none at all is allowed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        while !d.is_empty() {
            SnapRealm::decode(&mut d)?;
        }
        Ok(Self(bytes))
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The realms in turn.
    pub fn iter(&self) -> impl Iterator<Item = SnapRealm<'a>> + 'a {
        let mut d = Decoder::new(self.0);
        // All of them can be read; at the end there is nothing to read.
        core::iter::from_fn(move || SnapRealm::decode(&mut d).ok())
    }
}

/// What an `MClientSnap` tells (`CEPH_SNAP_OP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapOp(pub u32);

impl SnapOp {
    /// The realms changed.
    pub const UPDATE: Self = Self(0);
    /// A snapshot was made.
    pub const CREATE: Self = Self(1);
    /// A snapshot was removed.
    pub const DESTROY: Self = Self(2);
    /// A realm was split off.
    pub const SPLIT: Self = Self(3);
}

/// `MClientSnap`.
#[derive(Debug)]
pub struct ClientSnap<'a> {
    /// What happened.
    pub op: SnapOp,
    /// Root of the realm that is split off.
    pub split: u64,
    /// Inodes that belong to the new realm.
    pub split_inos: Numbers<'a>,
    /// Realms that are now below the new realm.
    pub split_realms: Numbers<'a>,
    /// The realms.
    pub trace: SnapTrace<'a>,
}

impl<'a> ClientSnap<'a> {
    /// Takes the front of the message.
    pub fn decode(front: &'a [u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        let (op, split) = (SnapOp(d.u32()?), d.u64()?);
        let number = |n: u32| usize::try_from(n).map_err(|_| ebadmsg());
        let (inos, realms) = (number(d.u32()?)?, number(d.u32()?)?);
        let trace = number(d.u32()?)?;
        Ok(Self {
            op,
            split,
            split_inos: Numbers::decode(&mut d, inos)?,
            split_realms: Numbers::decode(&mut d, realms)?,
            trace: SnapTrace::decode(d.bytes(trace)?)?,
        })
    }
}

#[kunit_tests(ceph_wire_snap)]
mod tests {
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    fn realm(e: &mut Encoder, ino: u64, snaps: &[u64]) -> Result {
        e.u64(ino)?.u64(1)?.u64(1)?.u64(2)?.u64(9)?;
        e.length(snaps.len())?.u32(1)?;
        for snap in snaps {
            e.u64(*snap)?;
        }
        e.u64(77)?;
        Ok(())
    }

    #[test]
    fn a_trace_is_read() -> Result {
        let mut e = Encoder::new();
        realm(&mut e, 0x100, &[5, 3])?;
        realm(&mut e, 1, &[])?;
        let bytes = e.into_vec();
        let trace = SnapTrace::decode(&bytes)?;
        let first = trace.iter().next().ok_or(EINVAL)?;
        assert_eq!((first.ino, first.snaps.len()), (0x100, 2));
        assert_eq!((trace.iter().count(), trace.is_empty()), (2, false));
        assert!(first.snaps.iter().eq([5, 3]));
        assert!(first.prior_parent_snaps.iter().eq([77]));
        Ok(())
    }

    #[test]
    fn numbers_do_not_overflow() -> Result {
        let mut e = Encoder::new();
        realm(&mut e, 1, &[5, 3])?;
        let good = e.into_vec();
        // In 32 bits the sum of the counts, or the bytes that they need, are few.
        for (snaps, prior) in [
            (u32::MAX, 1),
            (1, u32::MAX),
            (u32::MAX, 3),
            (1 << 29, 0),
            (1 << 29 | 2, 1),
            (1 << 31, 1 << 31),
        ] {
            let mut bytes = KVVec::new();
            bytes.extend_from_slice(&good, GFP_KERNEL)?;
            let counts = bytes.get_mut(40..48).ok_or(EINVAL)?;
            counts[..4].copy_from_slice(&snaps.to_le_bytes());
            counts[4..].copy_from_slice(&prior.to_le_bytes());
            assert!(SnapTrace::decode(&bytes).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_message_is_read() -> Result {
        let mut trace = Encoder::new();
        realm(&mut trace, 1, &[5])?;
        let mut e = Encoder::new();
        e.u32(3)?.u64(0x100)?.u32(2)?.u32(1)?.length(trace.len())?;
        e.u64(8)?.u64(9)?.u64(10)?.bytes(trace.as_slice())?;
        let bytes = e.into_vec();
        let snap = ClientSnap::decode(&bytes)?;
        assert_eq!((snap.op, snap.split), (SnapOp::SPLIT, 0x100));
        assert!(snap.split_inos.iter().eq([8, 9]) && snap.split_realms.iter().eq([10]));
        for len in 0..bytes.len() {
            assert!(ClientSnap::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        // More inodes than the message has bytes.
        let mut bad = KVVec::new();
        bad.extend_from_slice(&bytes, GFP_KERNEL)?;
        bad.get_mut(12..16).ok_or(EINVAL)?.fill(0xff);
        assert!(ClientSnap::decode(&bad).is_err());
        Ok(())
    }
}
