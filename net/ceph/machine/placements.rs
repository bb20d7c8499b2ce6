// SPDX-License-Identifier: GPL-2.0
//! Where placement groups were found to be, so that CRUSH, which takes most of the time
//! that a small read needs before it is sent, is not asked for each read.
//!
//! A group has one place in the table, by its number, from which a later one takes it. What
//! is there is good for one epoch of the map: nothing has to be thrown away when that
//! changes.
use kernel::prelude::*;

use crate::crush::placement::OsdSet;
use crate::wire::osdmap_pool::PgId;

/// What [`OsdMap::pg_to_up_acting`](crate::wire::osdmap::OsdMap::pg_to_up_acting) says.
pub type UpActing = (OsdSet, OsdSet);

#[derive(Clone)]
struct Place {
    epoch: u32,
    pg: PgId,
    found: UpActing,
}

/// See the module. No locks of its own.
pub struct Placements(KVVec<Place>);

impl Placements {
    /// How many groups there is room for; a power of two.
    const COUNT: usize = 128;

    /// A table without room, which remembers nothing.
    pub const fn none() -> Self {
        Self(KVVec::new())
    }

    /// Whether it has no room.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// An empty table.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        // No map has the epoch 0.
        let none = Place {
            epoch: 0,
            pg: PgId::default(),
            found: (OsdSet::EMPTY, OsdSet::EMPTY),
        };
        Ok(Self(KVVec::from_elem(none, Self::COUNT, GFP_KERNEL)?))
    }

    fn index(pg: PgId) -> usize {
        let [low, ..] = pg.pool.to_le_bytes();
        let number = pg.seed as usize;
        (number ^ usize::from(low)) & (Self::COUNT - 1)
    }

    /// Where a group is, if that is known of this epoch.
    pub fn get(&self, epoch: u32, pg: PgId) -> Option<UpActing> {
        let place = self.0.get(Self::index(pg))?;
        (place.epoch == epoch && place.pg == pg && epoch != 0).then_some(place.found)
    }

    /// Remembers where a group is.
    pub fn put(&mut self, epoch: u32, pg: PgId, found: &UpActing) {
        if let Some(place) = self.0.get_mut(Self::index(pg)) {
            *place = Place {
                epoch,
                pg,
                found: *found,
            };
        }
    }
}

#[kunit_tests(ceph_machine_placements)]
mod tests {
    use super::*;

    fn pg(pool: i64, seed: u32) -> PgId {
        PgId { pool, seed }
    }

    fn at(osd: i32) -> UpActing {
        let mut set = OsdSet::EMPTY;
        set.primary = osd;
        (OsdSet::EMPTY, set)
    }

    #[test]
    fn of_the_same_group_and_epoch_only() -> Result {
        let mut all = Placements::none();
        all.put(7, pg(1, 5), &at(3));
        assert!(all.is_none() && all.get(7, pg(1, 5)).is_none());
        all = Placements::new()?;
        assert!(!all.is_none());
        assert!(all.get(0, pg(0, 0)).is_none());
        all.put(7, pg(1, 5), &at(3));
        assert!(all.get(7, pg(1, 5)) == Some(at(3)));
        for (epoch, other) in [(6, pg(1, 5)), (8, pg(1, 5)), (7, pg(1, 6)), (7, pg(2, 5))] {
            assert!(all.get(epoch, other).is_none());
        }
        // One that has the same place, then one of a new epoch.
        let next = pg(1, 5 + u32::try_from(Placements::COUNT).map_err(|_| EINVAL)?);
        all.put(7, next, &at(4));
        assert!(all.get(7, pg(1, 5)).is_none());
        all.put(8, pg(1, 5), &at(9));
        assert!(all.get(7, next).is_none());
        assert!(all.get(8, pg(1, 5)) == Some(at(9)));
        Ok(())
    }
}
