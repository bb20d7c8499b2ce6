// SPDX-License-Identifier: GPL-2.0
//! Leases on directory entries: as replies grant them, and `MClientLease`.
use ceph_proto::wire::{decode::Decoder, encode::Encoder};
use kernel::prelude::*;

/// `LeaseStat`: for how long a name in a directory may be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseStat {
    /// Kinds of leases (`CEPH_LEASE_*`); 0 for none.
    pub mask: u16,
    /// Milliseconds from when the request was sent.
    pub duration_ms: u32,
    /// Version of the lease.
    pub seq: u32,
}

impl LeaseStat {
    /// The lease is valid (`CEPH_LEASE_VALID`, in its old and new value).
    pub const VALID: u16 = 1 | 2;
    /// The entry is the primary link of its inode.
    pub const PRIMARY_LINK: u16 = 4;

    /// Takes a lease in the versioned encoding.
    #[inline(always)]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let (_, mut body) = d.versioned(1)?;
        let mut block = body.block::<10>()?;
        // The long form of an encrypted name follows.
        Ok(Self {
            mask: block.u16()?,
            duration_ms: block.u32()?,
            seq: block.u32()?,
        })
    }

    /// Whether it grants anything.
    pub const fn is_valid(&self) -> bool {
        self.mask & Self::VALID != 0
    }
}

/// What an `MClientLease` wants (`CEPH_MDS_LEASE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseAction(pub u8);

impl LeaseAction {
    /// Server to client: the lease ends.
    pub const REVOKE: Self = Self(1);
    /// Client to server: it is not needed any more.
    pub const RELEASE: Self = Self(2);
    /// Either way: make it last longer.
    pub const RENEW: Self = Self(3);
    /// Client to server: it is ended.
    pub const REVOKE_ACK: Self = Self(4);
}

/// `MClientLease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLease<'a> {
    /// What is wanted.
    pub action: LeaseAction,
    /// Kinds of leases.
    pub mask: u16,
    /// The directory.
    pub ino: u64,
    /// First snapshot.
    pub first: u64,
    /// Last snapshot.
    pub last: u64,
    /// Version of the lease.
    pub seq: u32,
    /// How long it lasts from now, in milliseconds.
    pub duration_ms: u32,
    /// The name in the directory.
    pub name: &'a [u8],
}

impl<'a> ClientLease<'a> {
    /// The kind of lease on a name (`CEPH_LOCK_DN`).
    pub const MASK: u16 = 1;

    /// Takes the front of the message.
    pub fn decode(front: &'a [u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        Ok(Self {
            action: LeaseAction(d.u8()?),
            mask: d.u16()?,
            ino: d.u64()?,
            first: d.u64()?,
            last: d.u64()?,
            seq: d.u32()?,
            duration_ms: d.u32()?,
            name: d.blob()?,
        })
    }

    /// The front of a message.
    pub fn encode(&self) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u8(self.action.0)?.u16(self.mask)?.u64(self.ino)?;
        e.u64(self.first)?.u64(self.last)?.u32(self.seq)?;
        e.u32(self.duration_ms)?.blob(self.name)?;
        Ok(e.into_vec())
    }
}

#[kunit_tests(ceph_wire_lease)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() -> Result {
        let lease = ClientLease {
            action: LeaseAction::REVOKE,
            mask: 3,
            ino: 1 << 40,
            first: 2,
            last: 3,
            seq: 4,
            duration_ms: 30_000,
            name: b"name",
        };
        let bytes = lease.encode()?;
        assert_eq!(bytes.len(), 35 + 4 + 4);
        assert_eq!(ClientLease::decode(&bytes)?, lease);
        for len in 0..bytes.len() {
            assert!(ClientLease::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_grant_ends_where_it_says() -> Result {
        for len in 0..10 {
            let mut e = Encoder::new();
            // More bytes follow, which are not the lease's.
            e.u8(1)?.u8(1)?.u32(len)?.bytes(&[1; 64])?;
            assert!(LeaseStat::decode(&mut Decoder::new(e.as_slice())).is_err());
        }
        Ok(())
    }

    #[test]
    fn both_versions_of_a_grant() -> Result {
        for (version, altname) in [(1, &b""[..]), (2, b"alt")] {
            let mut e = Encoder::new();
            e.versioned(version, 1, |e| {
                e.u16(1)?.u32(2)?.u32(3)?.blob(altname)?;
                Ok(())
            })?;
            let bytes = e.into_vec();
            let lease = LeaseStat::decode(&mut Decoder::new(&bytes))?;
            assert!(lease.is_valid());
            assert_eq!((lease.duration_ms, lease.seq), (2, 3));
            for len in 0..bytes.len() {
                let short = bytes.get(..len).ok_or(EINVAL)?;
                assert!(LeaseStat::decode(&mut Decoder::new(short)).is_err());
            }
        }
        Ok(())
    }
}
