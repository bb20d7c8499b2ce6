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
        Ok(pool)
    }
}

/// Passes over a structure with version, compat and length, whatever they are.
fn skip_versioned(d: &mut Decoder<'_>) -> Result {
    d.skip(2)?;
    d.blob()?;
    Ok(())
}
