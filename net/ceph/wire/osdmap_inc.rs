// SPDX-License-Identifier: GPL-2.0
//! `OSDMap::Incremental`: what changed from one epoch to the next.
//!
//! It is decoded as a whole before any of it counts; [`OsdMap::apply`] then makes a
//! new map and leaves the old one as it was, whatever goes wrong. Tables in which
//! nothing changes are shared.
use kernel::prelude::*;
use kernel::sync::Arc;

use super::decode::Decoder;
use super::flat_map::FlatMap;
use super::osd_table::Draft;
use super::osdmap::{
    client_data, decode_addr, decode_osds, decode_pairs, decode_pools, osd_state, skip_profiles,
    skip_snaps, OsdMap, DEFAULT_PRIMARY_AFFINITY,
};
use super::osdmap_pool::{PgId, Pool};
use super::types::{AddrType, EntityAddr, Fsid, Timespec};
use crate::crush::map::CrushMap;
use crate::errno::ebadmsg;

/// An incremental map.
pub struct Incremental {
    /// Cluster.
    pub fsid: Fsid,
    /// Epoch of the map that it makes, of the one before.
    pub epoch: u32,
    change: Change,
}

enum Change {
    /// A whole map after all.
    Full(KBox<OsdMap>),
    Delta(KBox<Delta>),
}

struct Delta {
    modified: Timespec,
    flags: Option<u32>,
    crush: Option<Arc<CrushMap>>,
    max_osd: Option<usize>,
    pools: KVVec<Pool>,
    pool_names: FlatMap<i64, u8>,
    old_pools: KVVec<i64>,
    up: KVVec<(i32, EntityAddr)>,
    /// Bits that flip; 0 means up.
    states: KVVec<(i32, u32)>,
    weights: KVVec<(i32, u32)>,
    /// Empty lists remove.
    pg_temp: FlatMap<PgId, i32>,
    /// -1 removes.
    primary_temp: FlatMap<PgId, i32>,
    affinities: KVVec<(i32, u32)>,
    pg_upmap: FlatMap<PgId, i32>,
    old_pg_upmap: KVVec<PgId>,
    pg_upmap_items: FlatMap<PgId, (i32, i32)>,
    old_pg_upmap_items: KVVec<PgId>,
    pg_upmap_primaries: FlatMap<PgId, i32>,
    old_pg_upmap_primaries: KVVec<PgId>,
}

impl Incremental {
    /// Decodes an incremental map.
    ///
    /// # Errors
    ///
    /// As [`OsdMap::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_for(AddrType::MSGR2, bytes)
    }

    /// As [`OsdMap::decode_for`].
    ///
    /// # Errors
    ///
    /// As [`OsdMap::decode`].
    pub fn decode_for(kind: AddrType, bytes: &[u8]) -> Result<Self> {
        let (version, mut body) = client_data(bytes, 7)?;
        let d = &mut body;
        let fsid = Fsid::decode(d)?;
        let epoch = d.u32()?;
        let modified = d.timespec()?;
        d.skip(8)?; // Largest id of a pool.
        let flags = u32::try_from(d.i32()?).ok();
        let full = d.blob()?;
        let change = match full.is_empty() {
            true => Change::Delta(KBox::new(
                Delta::decode(kind, d, version, modified, flags)?,
                GFP_KERNEL,
            )?),
            false => Change::Full(KBox::new(OsdMap::decode_for(kind, full)?, GFP_KERNEL)?),
        };
        Ok(Self {
            fsid,
            epoch,
            change,
        })
    }
}

impl Delta {
    fn decode(
        kind: AddrType,
        d: &mut Decoder<'_>,
        version: u8,
        modified: Timespec,
        flags: Option<u32>,
    ) -> Result<Self> {
        let crush = match d.blob()? {
            [] => None,
            bytes => Some(Arc::new(CrushMap::decode(bytes)?, GFP_KERNEL)?),
        };
        let max_osd = usize::try_from(d.i32()?).ok();
        let pools = decode_pools(d)?;
        let pool_names = FlatMap::decode_names(d, 8, Decoder::i64)?;
        let old_pools = ascending(d.vec(8, Decoder::i64)?)?;
        let up = d.vec(9, |d| Ok((d.i32()?, decode_addr(kind, d)?)))?;
        let states = d.vec(8, pair)?;
        let weights = d.vec(8, pair)?;
        let pg_temp = decode_osds(d)?;
        let primary_temp = FlatMap::decode_single(d, 21, PgId::decode, Decoder::i32)?;
        let affinities = d.vec(8, pair)?;
        skip_profiles(d)?; // New profiles of erasure codes,
        for _ in 0..d.count(4)? {
            d.blob()?; // and removed ones.
        }
        let pg_upmap = decode_osds(d)?;
        let old_pg_upmap = decode_removed(d)?;
        let pg_upmap_items = decode_pairs(d)?;
        let old_pg_upmap_items = decode_removed(d)?;
        skip_snaps(d)?; // New removed snapshots,
        skip_snaps(d)?; // and new purged ones.
        let mut pg_upmap_primaries = FlatMap::new();
        let mut old_pg_upmap_primaries = KVVec::new();
        if version >= 8 {
            d.skip(16)?; // Last time that an OSD went up, and in.
        }
        if version >= 9 {
            pg_upmap_primaries = FlatMap::decode_single(d, 21, PgId::decode, Decoder::i32)?;
            old_pg_upmap_primaries = decode_removed(d)?;
        }
        Ok(Self {
            modified,
            flags,
            crush,
            max_osd,
            pools,
            pool_names,
            old_pools,
            up,
            states,
            weights,
            pg_temp,
            primary_temp,
            affinities,
            pg_upmap,
            old_pg_upmap,
            pg_upmap_items,
            old_pg_upmap_items,
            pg_upmap_primaries,
            old_pg_upmap_primaries,
        })
    }
}

/// Takes groups that are removed from a map, in ascending order.
fn decode_removed(d: &mut Decoder<'_>) -> Result<KVVec<PgId>> {
    ascending(d.vec(PgId::SIZE, PgId::decode)?)
}

/// Refuses a set that does not ascend: it could not be searched.
fn ascending<T: Ord>(set: KVVec<T>) -> Result<KVVec<T>> {
    match set.is_sorted() {
        true => Ok(set),
        false => Err(ebadmsg()),
    }
}

fn pair(d: &mut Decoder<'_>) -> Result<(i32, u32)> {
    Ok((d.i32()?, d.u32()?))
}

impl OsdMap {
    /// The map that follows this one.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `inc` does not follow this map, `EBADMSG` if it names OSDs that
    /// there are not or holds a whole map of another epoch or cluster, `ENOMEM`.
    pub fn apply(&self, inc: Incremental) -> Result<Self> {
        if inc.fsid != self.fsid || self.epoch.checked_add(1) != Some(inc.epoch) {
            return Err(EINVAL);
        }
        let delta = match inc.change {
            Change::Full(map) if map.epoch == inc.epoch && map.fsid == inc.fsid => {
                return Ok(KBox::into_inner(map))
            }
            Change::Full(_) => return Err(ebadmsg()),
            Change::Delta(delta) => KBox::into_inner(delta),
        };
        let max_osd = delta.max_osd.unwrap_or(self.max_osd());
        check_max_osd(max_osd)?;
        let affinities = match self.affinities.is_empty() && delta.affinities.is_empty() {
            true => 0,
            false => max_osd,
        };
        let mut osds = Osds {
            states: Draft::new(&self.states, max_osd, 0),
            weights: Draft::new(&self.weights, max_osd, 0),
            addrs: Draft::new(&self.addrs, max_osd, EntityAddr::BLANK),
            affinities: Draft::new(&self.affinities, affinities, DEFAULT_PRIMARY_AFFINITY),
        };
        osds.apply(&delta)?;
        Ok(Self {
            fsid: self.fsid,
            epoch: inc.epoch,
            modified: delta.modified,
            flags: delta.flags.unwrap_or(self.flags),
            pools: match delta.pools.is_empty() && delta.old_pools.is_empty() {
                true => self.pools.clone(),
                false => Arc::new(
                    merge_pools(&self.pools, &delta.pools, &delta.old_pools)?,
                    GFP_KERNEL,
                )?,
            },
            pool_names: merged(&self.pool_names, &delta.pool_names, &delta.old_pools, None)?,
            states: osds.states.finish()?,
            weights: osds.weights.finish()?,
            addrs: osds.addrs.finish()?,
            affinities: osds.affinities.finish()?,
            pg_temp: merged(&self.pg_temp, &delta.pg_temp, &[], Some(&[]))?,
            primary_temp: merged(&self.primary_temp, &delta.primary_temp, &[], Some(&[-1]))?,
            pg_upmap: merged(&self.pg_upmap, &delta.pg_upmap, &delta.old_pg_upmap, None)?,
            pg_upmap_items: merged(
                &self.pg_upmap_items,
                &delta.pg_upmap_items,
                &delta.old_pg_upmap_items,
                None,
            )?,
            pg_upmap_primaries: merged(
                &self.pg_upmap_primaries,
                &delta.pg_upmap_primaries,
                &delta.old_pg_upmap_primaries,
                None,
            )?,
            crush: delta.crush.unwrap_or_else(|| self.crush.clone()),
        })
    }
}

/// What is said of OSDs.
struct Osds<'a> {
    states: Draft<'a, u32>,
    weights: Draft<'a, u32>,
    addrs: Draft<'a, EntityAddr>,
    affinities: Draft<'a, u32>,
}

impl Osds<'_> {
    /// Applies changes in the order that makes sense of a map in which an OSD is both new
    /// and removed: weights, states, addresses of those that came up.
    fn apply(&mut self, delta: &Delta) -> Result {
        for (osd, weight) in &delta.weights {
            *self.weights.place(*osd)? = *weight;
            if *weight != 0 {
                let state = self.states.place(*osd)?;
                *state |= osd_state::EXISTS;
                *state &= !(osd_state::AUTOOUT | osd_state::NEW);
            }
        }
        for (osd, flips) in &delta.states {
            let flips = if *flips == 0 { osd_state::UP } else { *flips };
            let state = self.states.place(*osd)?;
            if *state & flips & osd_state::EXISTS != 0 {
                *state = 0;
                *self.addrs.place(*osd)? = EntityAddr::BLANK;
                if self.affinities.len() > 0 {
                    *self.affinities.place(*osd)? = DEFAULT_PRIMARY_AFFINITY;
                }
            } else {
                *state ^= flips;
            }
        }
        for (osd, addr) in &delta.up {
            *self.states.place(*osd)? |= osd_state::EXISTS | osd_state::UP;
            *self.addrs.place(*osd)? = *addr;
        }
        for (osd, affinity) in &delta.affinities {
            *self.affinities.place(*osd)? = *affinity;
        }
        Ok(())
    }
}

/// An incremental map may name any number of OSDs without a byte for each; a
/// cluster has at most some ten thousand.
fn check_max_osd(max_osd: usize) -> Result {
    match max_osd <= 1 << 18 {
        true => Ok(()),
        false => Err(ebadmsg()),
    }
}

/// What follows a map of entries: itself if `changes` has none and none is `removed`; an
/// entry ends that changes to `gone`.
fn merged<K: Copy + Ord, V: Copy + PartialEq>(
    old: &Arc<FlatMap<K, V>>,
    changes: &FlatMap<K, V>,
    removed: &[K],
    gone: Option<&[V]>,
) -> Result<Arc<FlatMap<K, V>>> {
    match changes.is_empty() && removed.is_empty() {
        true => Ok(old.clone()),
        false => Ok(Arc::new(old.merged(changes, removed, gone)?, GFP_KERNEL)?),
    }
}

fn merge_pools(old: &[Pool], new: &[Pool], removed: &[i64]) -> Result<KVVec<Pool>> {
    let mut merged = KVVec::with_capacity(old.len().saturating_add(new.len()), GFP_KERNEL)?;
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let pool = match (old.peek(), new.peek()) {
            (None, None) => return Ok(merged),
            (Some(_), None) => old.next(),
            (None, Some(_)) => new.next(),
            (Some(a), Some(b)) if a.id < b.id => old.next(),
            (Some(a), Some(b)) => {
                if a.id == b.id {
                    old.next();
                }
                new.next()
            }
        };
        if let Some(pool) = pool.filter(|pool| removed.binary_search(&pool.id).is_err()) {
            merged.push(*pool, GFP_KERNEL)?;
        }
    }
}
