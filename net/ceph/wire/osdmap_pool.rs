// SPDX-License-Identifier: GPL-2.0
//! `pg_pool_t`, and the names of placement groups.
use core::fmt;
use kernel::prelude::*;

use super::{decode::Decoder, encode::Encoder};
use crate::errno::{ebadmsg, eopnotsupp};

/// A placement group, or an object's hash in a pool (`pg_t`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PgId {
    /// Pool.
    pub pool: i64,
    /// Placement seed: number of the group, or the full hash of an object.
    pub seed: u32,
}

impl PgId {
    /// Least size on the wire.
    pub(super) const SIZE: usize = 17;

    /// Takes 17 bytes.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        if d.u8()? > 1 {
            return Err(eopnotsupp());
        }
        let pg = Self {
            pool: d.i64()?,
            seed: d.u32()?,
        };
        d.skip(4)?; // The preferred OSD of old.
        Ok(pg)
    }

    /// Adds 17 bytes.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u8(1)?.i64(self.pool)?.u32(self.seed)?.i32(-1)?;
        Ok(())
    }
}

impl fmt::Display for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.pool, self.seed)
    }
}

/// How a pool keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolType(pub u8);

impl PoolType {
    /// Copies.
    pub const REPLICATED: Self = Self(1);
    /// Erasure-coded shards, whose positions matter.
    pub const ERASURE: Self = Self(3);
}

/// What a client needs of `pg_pool_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Id.
    pub id: i64,
    /// Kind of redundancy.
    pub kind: PoolType,
    /// Copies or shards.
    pub size: u8,
    /// Copies or shards without which there is no I/O.
    pub min_size: u8,
    /// Number of the CRUSH rule.
    pub crush_rule: u8,
    /// Hash of object names.
    pub object_hash: u8,
    /// Number of placement groups, at least 1.
    pub pg_num: u32,
    /// Number of placement groups that are placed on their own, at least 1.
    pub pgp_num: u32,
    /// [`Self::FULL`] and others.
    pub flags: u64,
    /// Cache tier to read from, or -1.
    pub read_tier: i64,
    /// Cache tier to write to, or -1.
    pub write_tier: i64,
    /// Epoch since which requests must be sent again.
    pub last_force_resend: u32,
    /// Shards that cannot be the primary, a bit each (pools with
    /// [`Self::EC_OPTIMIZATIONS`]).
    pub nonprimary_shards: u128,
}

/// The smallest 2^n - 1 that is not less than `count` - 1.
pub(crate) fn mask(count: u32) -> u32 {
    let top = count.wrapping_sub(1);
    u32::MAX.checked_shr(top.leading_zeros()).unwrap_or(0)
}

impl Pool {
    /// Seeds of groups are hashed with the pool's id.
    pub const HASHPSPOOL: u64 = 1 << 0;
    /// Nothing more may be written.
    pub const FULL: u64 = 1 << 1;
    /// Full because of its quota.
    pub const FULL_QUOTA: u64 = 1 << 10;
    /// Not every shard is written by each write (`allow_ec_optimizations`, since Ceph 20).
    pub const EC_OPTIMIZATIONS: u64 = 1 << 19;

    /// The smallest 2^n - 1 that holds all numbers of groups.
    pub fn pg_num_mask(&self) -> u32 {
        mask(self.pg_num)
    }

    /// The like for [`Self::pgp_num`].
    pub fn pgp_num_mask(&self) -> u32 {
        mask(self.pgp_num)
    }

    /// Whether holes in a set are closed by moving up, or stay (erasure codes).
    pub fn can_shift_osds(&self) -> bool {
        self.kind != PoolType::ERASURE
    }

    /// Takes a pool.
    ///
    /// # Errors
    ///
    /// `EBADMSG` also for a pool without placement groups, `EOPNOTSUPP` for an
    /// encoding that is too new.
    pub fn decode(id: i64, d: &mut Decoder<'_>) -> Result<Self> {
        let (version, mut body) = d.versioned(9)?;
        if version < 14 {
            return Err(ebadmsg());
        }
        let d = &mut body;
        let mut pool = Self {
            id,
            kind: PoolType(d.u8()?),
            size: d.u8()?,
            crush_rule: d.u8()?,
            object_hash: d.u8()?,
            pg_num: d.u32()?,
            pgp_num: d.u32()?,
            min_size: 0,
            flags: 0,
            read_tier: -1,
            write_tier: -1,
            last_force_resend: 0,
            nonprimary_shards: 0,
        };
        if pool.pg_num == 0 || pool.pgp_num == 0 {
            return Err(ebadmsg());
        }
        // lpg_num, lpgp_num, last_change, snap_seq, snap_epoch.
        d.skip(4 + 4 + 4 + 8 + 4)?;
        // Snapshots of the pool: id, versions, body.
        for _ in 0..d.count(14)? {
            d.skip(8 + 2)?;
            d.blob()?;
        }
        // Removed snapshots.
        for _ in 0..d.count(16)? {
            d.skip(16)?;
        }
        d.skip(8)?; // auid
        pool.flags = d.u64()?;
        d.skip(4)?; // crash_replay_interval
        pool.min_size = d.u8()?;
        d.skip(8 + 8)?; // Quota.
        for _ in 0..d.count(8)? {
            d.skip(8)?; // Tiers.
        }
        d.skip(8 + 1)?; // tier_of, cache_mode
        pool.read_tier = d.i64()?;
        pool.write_tier = d.i64()?;
        for _ in 0..d.count(8)? {
            // Properties.
            d.blob()?;
            d.blob()?;
        }
        skip_versioned(d)?; // hit_set_params
        d.skip(4 + 4)?; // hit_set_period, hit_set_count
        d.skip(4)?; // stripe_width
        d.skip(16 + 8 + 8)?; // Sizes and ratios of the cache.
        d.blob()?; // erasure_code_profile
        if version >= 15 {
            // For those who know nothing of splits; the other is below.
            pool.last_force_resend = d.u32()?;
        }
        let skipped = [
            (16, 4), // min_read_recency_for_promote
            (17, 8), // expected_num_objects
            (19, 4), // cache_target_dirty_high_ratio_micro
            (20, 4), // min_write_recency_for_promote
            (21, 1), // use_gmt_hitset
            (22, 1), // fast_read
            (23, 8), // hit_set_grade_decay_rate, hit_set_search_last_n
        ];
        for (since, size) in skipped {
            if version >= since {
                d.skip(size)?;
            }
        }
        if version >= 24 {
            skip_versioned(d)?; // Options.
        }
        if version >= 25 {
            pool.last_force_resend = d.u32()?;
        }
        if version >= 32 {
            pool.nonprimary_shards = nonprimary_shards(d)?;
        }
        Ok(pool)
    }
}

/// Passes over what lies between version 25 and `nonprimary_shards`, and takes that.
fn nonprimary_shards(d: &mut Decoder<'_>) -> Result<u128> {
    // What applications say of the pool: a map of maps of texts.
    for _ in 0..d.count(8)? {
        d.blob()?;
        for _ in 0..d.count(8)? {
            d.blob()?;
            d.blob()?;
        }
    }
    d.skip(8)?; // create_time
    d.skip(4 + 4 + 4 + 4 + 4 + 4 + 1)?; // Numbers of groups to come, merges, pg_autoscale_mode.
    skip_versioned(d)?; // last_pg_merge_meta
    if d.bool()? {
        d.skip(4 + 4 + 4 + 4)?; // Stretch mode.
    }
    // A bit set of two words.
    let low = varint(d)?;
    Ok(u128::from(low) | u128::from(varint(d)?) << 64)
}

/// A number in groups of seven bits, the lowest first (`denc_varint`).
fn varint(d: &mut Decoder<'_>) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = d.u8()?;
        let bits = u64::from(byte & 0x7f);
        let moved = bits.wrapping_shl(shift);
        if moved.wrapping_shr(shift) != bits {
            return Err(ebadmsg());
        }
        value |= moved;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ebadmsg())
}

/// Passes over a structure with version, compat and length, whatever they are.
fn skip_versioned(d: &mut Decoder<'_>) -> Result {
    d.skip(2)?;
    d.blob()?;
    Ok(())
}

#[kunit_tests(ceph_wire_osdmap_pool)]
mod tests {
    use super::*;

    /// What follows version 25 of a pool of 4+2 shards of Ceph 20.2.
    fn tail(stretched: bool) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u32(1)?.blob(b"cephfs")?;
        e.u32(1)?.blob(b"data")?.blob(b"cephfs")?;
        e.u64(1)?.bytes(&[0; 25])?;
        e.versioned(1, 1, |e| e.bytes(&[0; 40]).map(drop))?;
        e.bool(stretched)?;
        if stretched {
            e.bytes(&[1; 16])?;
        }
        // Shards 1 to 3, and 127.
        e.u8(0x0e)?;
        e.bytes(&[0x80; 9])?.u8(1)?;
        Ok(e.into_vec())
    }

    #[test]
    fn shards_that_cannot_be_the_primary() -> Result {
        for stretched in [false, true] {
            let bytes = tail(stretched)?;
            let mut d = Decoder::new(&bytes);
            assert_eq!(nonprimary_shards(&mut d)?, 0xe | 1 << 127);
            assert!(d.is_empty());
            for len in 0..bytes.len() {
                let short = bytes.get(..len).ok_or(EINVAL)?;
                assert!(nonprimary_shards(&mut Decoder::new(short)).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn varints() {
        for (bytes, value) in [
            (&[0][..], Some(0)),
            (&[0x7f], Some(0x7f)),
            (&[0x80, 1], Some(0x80)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                Some(u64::MAX),
            ),
            // More than 64 bits, and without an end.
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                None,
            ),
            (&[0x80; 12], None),
            (&[0x80], None),
        ] {
            assert_eq!(varint(&mut Decoder::new(bytes)).ok(), value);
        }
    }
}
