// SPDX-License-Identifier: GPL-2.0
//! The backoffs of a session with an OSD: ranges of objects that it wants no requests for.
//!
//! They are looked through for each request that is sent, so they are kept decoded and in
//! order: by placement group, then by where the range begins. Ranges of a group may overlap;
//! each has beside it the furthest end of those that begin no later.
use kernel::prelude::*;

use crate::wire::osd::SpgId;
use crate::wire::osd_backoff::{Backoff, HObject, OwnedHObject};

/// One range.
struct Entry {
    spg: SpgId,
    id: u64,
    begin: OwnedHObject,
    end: OwnedHObject,
    /// How many entries before this one, or 0, is the one of the group whose range ends last,
    /// of those up to this one.
    back: usize,
}

/// See the module. No locks of its own.
#[derive(Default)]
pub struct Backoffs {
    entries: KVVec<Entry>,
    /// What the names in the entries take.
    bytes: usize,
}

impl Backoffs {
    /// Most memory that an OSD can have the client keep for its backoffs, in bytes. An OSD
    /// sends one for a placement group, or for an object that is missing, when a request for it
    /// comes in; in 1 MiB there is room for about 5,000.
    pub const MAX_BYTES: usize = 1 << 20;

    /// No backoffs.
    pub const fn new() -> Self {
        Self {
            entries: KVVec::new(),
            bytes: 0,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Adds a backoff. Returns false if there is no room for it by [`Self::MAX_BYTES`]. Then
    /// what is sent for its range is dropped by the OSD, and sent again when the OSD says that
    /// the range is free.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn block(&mut self, backoff: &Backoff<'_>) -> Result<bool> {
        let (begin, end) = (&backoff.begin, &backoff.end);
        let names = begin.names_len().saturating_add(end.names_len());
        let entries = size_of::<Entry>().saturating_mul(self.entries.len().saturating_add(1));
        let bytes = self.bytes.saturating_add(names);
        if bytes.saturating_add(entries) > Self::MAX_BYTES {
            return Ok(false);
        }
        let entry = Entry {
            spg: backoff.spg,
            id: backoff.id,
            begin: OwnedHObject::new(begin)?,
            end: OwnedHObject::new(end)?,
            back: 0,
        };
        let at = self.behind(&entry.spg, begin);
        self.entries.reserve(1, GFP_KERNEL)?;
        self.entries
            .insert_within_capacity(at, entry)
            .map_err(|_| EINVAL)?;
        self.bytes = bytes;
        self.measure(&backoff.spg);
        Ok(true)
    }

    /// Takes out the backoffs with a number.
    pub fn unblock(&mut self, id: u64) {
        while let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
            let Ok(entry) = self.entries.remove(at) else {
                return;
            };
            let names = entry.begin.as_ref().names_len();
            let names = names.saturating_add(entry.end.as_ref().names_len());
            self.bytes = self.bytes.saturating_sub(names);
            self.measure_from(at, &entry.spg);
        }
    }

    /// Whether an object of a placement group is in one of the ranges.
    pub fn covers(&self, spg: &SpgId, object: &HObject<'_>) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let Some(last) = self.behind(spg, object).checked_sub(1) else {
            return false;
        };
        let Some(entry) = self.entries.get(last).filter(|entry| entry.spg == *spg) else {
            return false;
        };
        // A range without objects has its first one, too.
        let furthest = self.entries.get(last.saturating_sub(entry.back));
        entry.begin.as_ref() == *object
            || furthest.is_some_and(|furthest| *object < furthest.end.as_ref())
    }

    /// All, in order: the group, the number, the first object of the range, and the one behind
    /// the last.
    pub fn iter(&self) -> impl Iterator<Item = (&SpgId, u64, HObject<'_>, HObject<'_>)> {
        self.entries.iter().map(|entry| {
            let (begin, end) = (entry.begin.as_ref(), entry.end.as_ref());
            (&entry.spg, entry.id, begin, end)
        })
    }

    /// Index behind the entries of earlier groups, and those of this one that begin no later
    /// than with the object.
    fn behind(&self, spg: &SpgId, object: &HObject<'_>) -> usize {
        self.entries.partition_point(|entry| {
            let order = entry.spg.cmp(spg);
            order.then_with(|| entry.begin.as_ref().cmp(object)).is_le()
        })
    }

    /// Finds again how far the ranges of a group reach.
    fn measure(&mut self, spg: &SpgId) {
        let first = self.entries.partition_point(|entry| entry.spg < *spg);
        self.measure_from(first, spg);
    }

    /// The same from an entry on; that and the ones before are as they were, or there are none.
    fn measure_from(&mut self, from: usize, spg: &SpgId) {
        // Index of the one that ends last so far.
        let mut best = from.checked_sub(1).and_then(|at| {
            let entry = self.entries.get(at)?;
            (entry.spg == *spg).then(|| at.saturating_sub(entry.back))
        });
        for at in from..self.entries.len() {
            let Some(entry) = self.entries.get(at).filter(|entry| entry.spg == *spg) else {
                return;
            };
            let furthest = best
                .filter(|best| {
                    let best = self.entries.get(*best);
                    best.is_some_and(|best| best.end.as_ref() >= entry.end.as_ref())
                })
                .unwrap_or(at);
            best = Some(furthest);
            if let Some(entry) = self.entries.get_mut(at) {
                entry.back = at.saturating_sub(furthest);
            }
        }
    }
}

#[kunit_tests(ceph_machine_osd_backoffs)]
mod tests {
    use super::*;
    use crate::wire::osd::NO_SNAP;
    use crate::wire::osd_backoff::BackoffOp;
    use crate::wire::osdmap_pool::PgId;

    fn spg(seed: u32) -> SpgId {
        SpgId {
            pg: PgId { pool: 2, seed },
            shard: SpgId::NO_SHARD,
        }
    }

    /// An object; the names of one hash are ordered.
    fn object(name: &[u8]) -> HObject<'_> {
        HObject {
            name,
            snap: NO_SNAP,
            pool: 2,
            ..HObject::default()
        }
    }

    fn backoff<'a>(seed: u32, id: u64, begin: &'a [u8], end: &'a [u8]) -> Backoff<'a> {
        Backoff {
            spg: spg(seed),
            epoch: 5,
            op: BackoffOp::Block,
            id,
            begin: object(begin),
            end: object(end),
        }
    }

    fn covered(all: &Backoffs, seed: u32, names: &[u8]) -> bool {
        let found = |name: &u8| all.covers(&spg(seed), &object(core::slice::from_ref(name)));
        let mut names = names.iter();
        names.all(found)
    }

    #[test]
    fn ranges_of_groups() -> Result {
        let mut all = Backoffs::new();
        assert!(all.is_empty() && !covered(&all, 1, b"c"));
        for (seed, id, begin, end) in [
            (3, 7, b"c", b"e"),
            (1, 5, b"c", b"e"),
            (1, 6, b"x", b"y"),
            (1, 4, b"a", b"b"),
        ] {
            assert!(all.block(&backoff(seed, id, begin, end))?);
        }
        let order = all.iter().map(|(spg, id, _, _)| (spg.pg.seed, id));
        assert!(order.eq([(1, 4), (1, 5), (1, 6), (3, 7)]));
        for name in b'`'..=b'z' {
            assert_eq!(covered(&all, 1, &[name]), b"acdx".contains(&name));
            assert_eq!(covered(&all, 3, &[name]), b"cd".contains(&name));
            assert!(!covered(&all, 2, &[name]) && !covered(&all, 4, &[name]));
        }
        // Of another shard of the group.
        let shard = SpgId { shard: 1, ..spg(1) };
        assert!(!all.covers(&shard, &object(b"c")));
        all.unblock(5);
        all.unblock(99);
        assert!(covered(&all, 1, b"ax") && !covered(&all, 1, b"c") && covered(&all, 3, b"c"));
        all.clear();
        assert!(all.is_empty() && !covered(&all, 1, b"a"));
        Ok(())
    }

    #[test]
    fn ranges_that_overlap() -> Result {
        let mut all = Backoffs::new();
        // All of the group, an object of it, and one that two name.
        for (id, begin, end) in [
            (1, b"b", b"y"),
            (2, b"d", b"e"),
            (3, b"m", b"m"),
            (3, b"d", b"f"),
        ] {
            assert!(all.block(&backoff(1, id, begin, end))?);
        }
        assert!(covered(&all, 1, b"bcdemwx"));
        assert!(!covered(&all, 1, b"a") && !covered(&all, 1, b"y"));
        all.unblock(1);
        assert!(covered(&all, 1, b"dem"));
        assert!(!covered(&all, 1, b"c") && !covered(&all, 1, b"f") && !covered(&all, 1, b"n"));
        all.unblock(3);
        assert!(covered(&all, 1, b"d"));
        assert!(!covered(&all, 1, b"e") && !covered(&all, 1, b"m"));
        all.unblock(2);
        assert!(all.is_empty() && all.bytes == 0);
        Ok(())
    }

    #[test]
    fn an_osd_cannot_make_us_keep_more_than_so_much() -> Result {
        let mut all = Backoffs::new();
        let name = [b'n'; 2048];
        let mut kept: usize = 0;
        for id in 0..1000 {
            if all.block(&backoff(1, id, &name, &name))? {
                kept += 1;
            }
        }
        assert!((200..256).contains(&kept));
        assert!(all.bytes <= Backoffs::MAX_BYTES && all.entries.len() == kept);
        // One that goes makes room.
        all.unblock(3);
        assert!(all.block(&backoff(1, 1001, &name, &name))?);
        assert!(!all.block(&backoff(1, 1002, &name, &name))?);
        // Those without names count, too.
        all.clear();
        let mut id = 0;
        while all.block(&backoff(id % 7, u64::from(id), b"", b""))? {
            id += 1;
        }
        assert!((1_000..20_000).contains(&id));
        Ok(())
    }
}
