// SPDX-License-Identifier: GPL-2.0
//! `ceph_file_layout`: how a file is cut into objects.
use ceph_proto::errno::ebadmsg;
use ceph_proto::wire::{decode::Decoder, encode::Encoder};
use kernel::prelude::*;

/// How a file is cut into objects, and where these are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLayout {
    /// Bytes that follow each other in one object.
    pub stripe_unit: u32,
    /// Objects that are filled in turn.
    pub stripe_count: u32,
    /// Bytes of an object, a multiple of the stripe unit.
    pub object_size: u32,
    /// Pool of the objects; -1 for none.
    pub pool: i64,
}

impl FileLayout {
    /// Bytes on the wire.
    pub const SIZE: usize = 28;

    /// What a directory without a layout of its own has.
    pub const NONE: Self = Self {
        stripe_unit: 0,
        stripe_count: 0,
        object_size: 0,
        pool: -1,
    };

    /// Takes a `ceph_file_layout_legacy`, which is what messages carry.
    #[inline(always)]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self::from_bytes(d.chunk()?))
    }

    /// Reads a `ceph_file_layout_legacy`.
    #[inline]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let [u0, u1, u2, u3, c0, c1, c2, c3, s0, s1, s2, s3, rest @ ..] = *bytes;
        // Unused: CAS hash, object stripe unit, preferred primary.
        let [_, _, _, _, _, _, _, _, _, _, _, _, p0, p1, p2, p3] = rest;
        let stripe_unit = u32::from_le_bytes([u0, u1, u2, u3]);
        let stripe_count = u32::from_le_bytes([c0, c1, c2, c3]);
        let object_size = u32::from_le_bytes([s0, s1, s2, s3]);
        let pool = i64::from(u32::from_le_bytes([p0, p1, p2, p3]));
        let blank = stripe_unit == 0 && stripe_count == 0 && object_size == 0 && pool == 0;
        Self {
            stripe_unit,
            stripe_count,
            object_size,
            pool: if blank { -1 } else { pool },
        }
    }

    /// Adds a `ceph_file_layout_legacy`.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u32(self.stripe_unit)?.u32(self.stripe_count)?;
        e.u32(self.object_size)?.bytes(&[0; 12])?;
        e.u32(u32::try_from(self.pool).unwrap_or(0))?;
        Ok(())
    }

    /// Checks that a file can be read by it.
    ///
    /// # Errors
    ///
    /// `EBADMSG` unless the numbers are what Ceph allows: no zero, the unit a
    /// multiple of 64 KiB, the object a multiple of the unit.
    pub fn check(&self) -> Result {
        let aligned = self.stripe_unit & 0xffff == 0 && self.object_size & 0xffff == 0;
        let whole = self.object_size.checked_rem(self.stripe_unit) == Some(0);
        if aligned && whole && self.stripe_count != 0 && self.object_size != 0 && self.pool >= 0 {
            Ok(())
        } else {
            Err(ebadmsg())
        }
    }
}

#[kunit_tests(ceph_wire_layout)]
mod tests {
    use super::*;

    #[test]
    fn layouts_round_trip() -> Result {
        for layout in [
            FileLayout::NONE,
            FileLayout {
                stripe_unit: 1 << 16,
                stripe_count: 2,
                object_size: 1 << 20,
                pool: 7,
            },
        ] {
            let mut e = Encoder::new();
            layout.encode(&mut e)?;
            assert_eq!(e.len(), FileLayout::SIZE);
            assert_eq!(FileLayout::decode(&mut Decoder::new(e.as_slice()))?, layout);
            assert_eq!(layout.check().is_ok(), (layout.pool == 7));
        }
        Ok(())
    }
}
