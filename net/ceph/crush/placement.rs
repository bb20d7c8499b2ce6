// SPDX-License-Identifier: GPL-2.0
//! From an object's name to the OSDs that have it.
//!
//! name -> hash -> placement group -> (CRUSH) raw set -> (upmap) -> without those
//! that are down: *up* -> (what OSDs asked for meanwhile) *acting*.
use super::hash::{hash2, hash_name, hash_whole_name};
use super::map::ITEM_NONE;
use super::mapper::do_rule;
use crate::wire::osdmap::{OsdMap, DEFAULT_PRIMARY_AFFINITY, PG_MAX_SIZE};
use crate::wire::osdmap_pool::{PgId, Pool};

/// Separates the namespace from the name where both are hashed.
const NAMESPACE_SEPARATOR: &[u8] = b"\x1f";

/// No OSD.
pub const NO_OSD: i32 = -1;

/// OSDs of a placement group, in order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OsdSet {
    osds: [i32; PG_MAX_SIZE],
    len: usize,
    /// The OSD that serves requests, [`NO_OSD`] if there is none.
    pub primary: i32,
}

impl core::fmt::Debug for OsdSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}/{}", self.as_slice(), self.primary)
    }
}

impl OsdSet {
    /// No OSDs.
    pub const EMPTY: Self = Self {
        osds: [ITEM_NONE; PG_MAX_SIZE],
        len: 0,
        primary: NO_OSD,
    };

    /// The OSDs; [`ITEM_NONE`] is a hole.
    pub fn as_slice(&self) -> &[i32] {
        self.osds.get(..self.len).unwrap_or(&[])
    }

    fn as_mut_slice(&mut self) -> &mut [i32] {
        self.osds.get_mut(..self.len).unwrap_or_default()
    }

    fn push(&mut self, osd: i32) {
        if let Some(place) = self.osds.get_mut(self.len) {
            *place = osd;
            self.len = self.len.saturating_add(1);
        }
    }

    /// A set of those OSDs; what is too many is left out.
    pub fn of(osds: &[i32]) -> Self {
        let mut set = Self::EMPTY;
        for osd in osds {
            set.push(*osd);
        }
        set
    }

    /// Position of an OSD.
    pub fn position(&self, osd: i32) -> Option<usize> {
        self.as_slice().iter().position(|other| *other == osd)
    }

    /// Takes out what `keep` refuses: by moving up, or by leaving holes.
    fn retain(&mut self, shift: bool, keep: impl Fn(i32) -> bool) {
        let mut kept = Self::EMPTY;
        for osd in self.as_slice() {
            if keep(*osd) {
                kept.push(*osd);
            } else if !shift {
                kept.push(ITEM_NONE);
            }
        }
        *self = Self {
            primary: self.primary,
            ..kept
        };
    }

    fn first(&self) -> i32 {
        let mut osds = self.as_slice().iter().copied();
        osds.find(|osd| *osd != ITEM_NONE).unwrap_or(NO_OSD)
    }
}

/// `x` modulo `count`, such that a larger `count` moves few: `mask` is the smallest
/// 2^n - 1 that is not less than `count` - 1 (`ceph_stable_mod`).
fn stable_mod(x: u32, count: u32, mask: u32) -> u32 {
    match x & mask {
        n if n < count => n,
        _ => x & (mask >> 1),
    }
}

impl Pool {
    /// The full hash of an object.
    pub fn hash_object(&self, namespace: &[u8], name: &[u8]) -> PgId {
        let seed = match namespace {
            [] => hash_whole_name(self.object_hash, name),
            _ => hash_name(self.object_hash, &[namespace, NAMESPACE_SEPARATOR, name]),
        };
        PgId {
            pool: self.id,
            seed,
        }
    }

    /// Whether the groups of the pool have shards that cannot be the primary. CRUSH does
    /// not know of them, so the monitors set `pg_temp` where it would choose one, with
    /// the shards in another order: first those that can be the primary, then the others
    /// (`OSDMap::pgtemp_primaryfirst`). What serves is the first OSD of that order.
    fn has_nonprimary_shards(&self) -> bool {
        !self.can_shift_osds() && self.flags & Self::EC_OPTIMIZATIONS != 0
    }

    fn is_nonprimary(&self, shard: usize) -> bool {
        let shard = u32::try_from(shard).unwrap_or(u32::MAX);
        self.nonprimary_shards.checked_shr(shard).unwrap_or(0) & 1 != 0
    }

    /// The order of shards in `pg_temp`, see [`Self::has_nonprimary_shards`].
    fn primary_first(&self) -> impl Iterator<Item = usize> + '_ {
        let shards = 0..usize::from(self.size);
        let others = shards.clone();
        shards
            .filter(|shard| !self.is_nonprimary(*shard))
            .chain(others.filter(|shard| self.is_nonprimary(*shard)))
    }

    /// The placement group of a full hash.
    pub fn pg(&self, raw: PgId) -> PgId {
        PgId {
            pool: raw.pool,
            seed: stable_mod(raw.seed, self.pg_num, self.pg_num_mask()),
        }
    }

    /// What CRUSH places a group by.
    fn placement_seed(&self, raw: PgId) -> u32 {
        let seed = stable_mod(raw.seed, self.pgp_num, self.pgp_num_mask());
        let [a, b, c, d, ..] = raw.pool.to_le_bytes();
        let pool = u32::from_le_bytes([a, b, c, d]);
        if self.flags & Self::HASHPSPOOL != 0 {
            hash2(seed, pool)
        } else {
            // Groups of pools lie on top of each other, as they once did.
            seed.wrapping_add(pool)
        }
    }
}

/// Whether a group gives up objects to new ones when a pool grows from `old_count`
/// to `new_count` groups.
pub fn is_split(pg: PgId, old_count: u32, new_count: u32) -> bool {
    if new_count <= old_count || pg.seed >= old_count {
        return false;
    }
    // The mask here is one less than the next power of two *above* the count.
    let bits = u32::BITS.wrapping_sub(old_count.leading_zeros());
    let mask = match 1u32.checked_shl(bits) {
        Some(next) => next.wrapping_sub(1),
        None => u32::MAX,
    };
    let half = (mask >> 1).wrapping_add(1);
    let mut high = half;
    loop {
        let child = high | pg.seed;
        if child >= old_count && child != pg.seed {
            if child >= new_count {
                return false;
            }
            if stable_mod(child, old_count, mask) == pg.seed {
                return true;
            }
        }
        high = match high.checked_add(half) {
            Some(high) => high,
            None => return false,
        };
    }
}

impl OsdMap {
    /// The up set and the acting set of a placement group (or of a full hash).
    pub fn pg_to_up_acting(&self, pool: &Pool, raw: PgId) -> (OsdSet, OsdSet) {
        let pg = pool.pg(raw);
        let seed = pool.placement_seed(raw);
        let mut up = self.raw_set(pool, seed);
        self.apply_upmap(pg, &mut up);
        up.retain(pool.can_shift_osds(), |osd| self.osd_is_up(osd));
        up.primary = up.first();
        self.apply_primary_affinity(pool, seed, &mut up);
        let mut acting = self.temporary_set(pool, pg);
        if acting.len == 0 {
            let primary = match acting.primary {
                NO_OSD => up.primary,
                primary => primary,
            };
            acting = OsdSet { primary, ..up };
        }
        (up, acting)
    }

    /// What CRUSH says, without OSDs that do not exist.
    fn raw_set(&self, pool: &Pool, seed: u32) -> OsdSet {
        let mut raw = OsdSet::EMPTY;
        let size = usize::from(pool.size);
        if let Some(place) = raw.osds.get_mut(..size) {
            raw.len = do_rule(
                self.crush(),
                u32::from(pool.crush_rule),
                seed,
                place,
                &|osd| self.osd_weight(osd),
                self.crush().choose_args(pool.id),
            );
        }
        raw.retain(pool.can_shift_osds(), |osd| self.osd_exists(osd));
        raw
    }

    /// Whether an OSD may take the place of another: anything but one that is out.
    fn may_replace(&self, osd: i32) -> bool {
        osd == ITEM_NONE || !self.osd_is_out(osd)
    }

    fn apply_upmap(&self, pg: PgId, raw: &mut OsdSet) {
        if let Some(osds) = self.pg_upmap().get(&pg) {
            if !osds.iter().all(|osd| self.may_replace(*osd)) {
                return;
            }
            *raw = OsdSet::of(osds);
        }
        for (from, to) in self.pg_upmap_items().get(&pg).unwrap_or(&[]) {
            let osds = raw.as_mut_slice();
            if !osds.contains(to) && self.may_replace(*to) {
                if let Some(place) = osds.iter_mut().find(|osd| *osd == from) {
                    *place = *to;
                }
            }
        }
        if let Some([primary]) = self.pg_upmap_primaries().get(&pg) {
            if self.osd_weight(*primary) != 0 {
                if let Some((first, rest)) = raw.as_mut_slice().split_first_mut() {
                    if let Some(place) = rest.iter_mut().find(|osd| *osd == primary) {
                        core::mem::swap(first, place);
                    }
                }
            }
        }
    }

    /// Lets OSDs of little affinity pass the role of primary on.
    fn apply_primary_affinity(&self, pool: &Pool, seed: u32, up: &mut OsdSet) {
        let affinity = |osd: i32| match osd {
            ITEM_NONE => DEFAULT_PRIMARY_AFFINITY,
            _ => self.primary_affinity(osd),
        };
        let is_default = |osd: &i32| affinity(*osd) == DEFAULT_PRIMARY_AFFINITY;
        if self.affinities_are_default() || up.as_slice().iter().all(is_default) {
            return;
        }
        // Each refuses in proportion; if all do, the first one is taken.
        let refuses = |osd: i32| {
            let affinity = affinity(osd);
            affinity < DEFAULT_PRIMARY_AFFINITY && hash2(seed, osd as u32) >> 16 >= affinity
        };
        let mut candidates = up.as_slice().iter().enumerate();
        let taken = candidates.find(|(_, osd)| **osd != ITEM_NONE && !refuses(**osd));
        let (at, primary) = match taken {
            Some((at, osd)) => (at, *osd),
            None => match up.position(up.first()) {
                Some(at) => (at, up.first()),
                None => return,
            },
        };
        up.primary = primary;
        if pool.can_shift_osds() {
            if let Some(front) = up.as_mut_slice().get_mut(..=at) {
                front.rotate_right(1);
            }
        }
    }

    /// Which shard of a group the primary has; none for copies.
    pub fn primary_shard(&self, pool: &Pool, pg: PgId, acting: &OsdSet) -> Option<usize> {
        if pool.can_shift_osds() {
            return None;
        }
        // An OSD may have several shards: which of them serves, `pg_temp` says first.
        if pool.has_nonprimary_shards() && self.pg_temp().get(&pg).is_some() {
            let osds = acting.as_slice();
            let mut shards = pool.primary_first();
            return shards.find(|shard| osds.get(*shard) == Some(&acting.primary));
        }
        acting.position(acting.primary)
    }

    /// What OSDs asked for while data moves: a set, or only a primary, or nothing.
    fn temporary_set(&self, pool: &Pool, pg: PgId) -> OsdSet {
        let mut set = OsdSet::of(self.pg_temp().get(&pg).unwrap_or(&[]));
        set.retain(pool.can_shift_osds(), |osd| self.osd_is_up(osd));
        set.primary = set.first();
        if pool.has_nonprimary_shards() && set.len == usize::from(pool.size) {
            let stored = set;
            for (osd, shard) in stored.as_slice().iter().zip(pool.primary_first()) {
                if let Some(place) = set.osds.get_mut(shard) {
                    *place = *osd;
                }
            }
        }
        if let Some([primary]) = self.primary_temp().get(&pg) {
            if self.osd_is_up(*primary) {
                set.primary = *primary;
            }
        }
        set
    }
}
