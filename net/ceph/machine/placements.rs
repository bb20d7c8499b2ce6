// SPDX-License-Identifier: GPL-2.0
//! Where the placement groups of one map were found to be, so that CRUSH, which takes most
//! of the time that a small read needs before it is sent, is not asked for each read.
//!
//! Whoever reads looks here without a lock. So nothing that is known is ever taken out or
//! replaced: a group has one slot in the table, by its number, and if another one has it,
//! CRUSH is asked each time. The table goes with its map.
use kernel::{
    prelude::*,
    sync::{Arc, SetOnce},
};

use crate::crush::placement::OsdSet;
use crate::wire::osdmap::OsdMap;
use crate::wire::osdmap_pool::{PgId, Pool};

/// Where a placement group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpActing {
    /// The OSDs that should have its objects.
    pub up: OsdSet,
    /// The OSDs that serve them.
    pub acting: OsdSet,
}

impl UpActing {
    /// Nowhere.
    pub const NONE: Self = Self {
        up: OsdSet::EMPTY,
        acting: OsdSet::EMPTY,
    };

    /// What CRUSH and the map's exceptions say of the group of a hash.
    pub fn of(map: &OsdMap, pool: &Pool, hash: PgId) -> Option<Arc<Self>> {
        let (up, acting) = map.pg_to_up_acting(pool, hash);
        Arc::new(Self { up, acting }, GFP_KERNEL).ok()
    }
}

/// What is known of a group.
struct Slot {
    pg: PgId,
    found: Arc<UpActing>,
}

/// See the module.
pub struct Placements(SetOnce<KVVec<SetOnce<Slot>>>);

impl Placements {
    /// Most groups that are remembered, which then take 1.3 MiB; a power of two.
    const MAX: usize = 4096;

    /// Nothing is known, and no memory is taken before something is.
    pub const fn new() -> Self {
        Self(SetOnce::new())
    }

    /// Where the group of a hash is. The map must always be the same; `None` without memory.
    pub fn find(&self, map: &OsdMap, pool: &Pool, hash: PgId) -> Option<Arc<UpActing>> {
        let pg = pool.pg(hash);
        let slot = self.table(map).and_then(|table| slot(table, pg));
        if let Some(known) = slot.and_then(SetOnce::as_ref) {
            if known.pg == pg {
                return Some(known.found.clone());
            }
        }
        let found = UpActing::of(map, pool, hash)?;
        if let Some(slot) = slot {
            slot.populate(Slot {
                pg,
                found: found.clone(),
            });
        }
        Some(found)
    }

    /// The table, which is made when it is first asked for; `None` without memory for it.
    fn table(&self, map: &OsdMap) -> Option<&KVVec<SetOnce<Slot>>> {
        if let Some(table) = self.0.as_ref() {
            return Some(table);
        }
        let groups = map.pools().iter().map(|pool| pool.pg_num as usize);
        let groups = groups.fold(0, usize::saturating_add).min(Self::MAX);
        let len = groups.next_power_of_two();
        let mut table = KVVec::with_capacity(len, GFP_KERNEL).ok()?;
        for _ in 0..len {
            table.push(SetOnce::new(), GFP_KERNEL).ok()?;
        }
        // Somebody else may have been faster.
        self.0.populate(table);
        self.0.as_ref()
    }
}

impl Default for Placements {
    fn default() -> Self {
        Self::new()
    }
}

/// The slot of a group, in a table whose length is a power of two. Groups of one pool are
/// next to each other; each pool begins somewhere else.
fn slot(table: &[SetOnce<Slot>], pg: PgId) -> Option<&SetOnce<Slot>> {
    let [low, ..] = pg
        .pool
        .wrapping_mul(0x9e37_79b9)
        .to_le_bytes()
        .map(usize::from);
    let start = low.wrapping_mul(table.len()) >> 8;
    let at = start.wrapping_add(pg.seed as usize);
    table.get(at & table.len().wrapping_sub(1))
}

#[kunit_tests(ceph_machine_placements)]
mod tests {
    use super::super::osd_target_tests::tests::{full, DATA, SHARDS};
    use super::*;

    fn find(all: &Placements, map: &OsdMap, pool: i64, seed: u32) -> Result<Arc<UpActing>> {
        let pool = map.pool(pool).ok_or(ENOENT)?;
        let hash = PgId {
            pool: pool.id,
            seed,
        };
        let found = all.find(map, pool, hash).ok_or(ENOMEM)?;
        assert!(UpActing::of(map, pool, hash).is_some_and(|again| *again == *found));
        Ok(found)
    }

    #[test]
    fn what_is_known_stays() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let all = Placements::new();
        for pool in [DATA, SHARDS] {
            for seed in 0..8 {
                let first = find(&all, &map, pool, seed)?;
                // The same hash, and another one of the same group.
                for other in [seed, seed + 8] {
                    let again = find(&all, &map, pool, other)?;
                    assert!(Arc::ptr_eq(&first, &again));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn two_groups_in_one_slot() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let mut table = KVVec::new();
        table.push(SetOnce::new(), GFP_KERNEL)?;
        let all = Placements(SetOnce::new());
        assert!(all.0.populate(table));
        let first = find(&all, &map, DATA, 1)?;
        // Found, but not remembered; nor is the first one forgotten.
        let other = find(&all, &map, DATA, 2)?;
        assert!(!Arc::ptr_eq(&other, &find(&all, &map, DATA, 2)?));
        assert!(Arc::ptr_eq(&first, &find(&all, &map, DATA, 1)?));
        Ok(())
    }
}
