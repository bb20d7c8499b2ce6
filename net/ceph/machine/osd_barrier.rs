// SPDX-License-Identifier: GPL-2.0
//! The epoch barrier: requests wait for an OSD map of at least some epoch.
//!
//! An MDS raises it when it has fenced another client: what that one wrote last is there, or
//! never will be, when the OSDs know the map that shuts it out. So an MDS is obeyed at once.
//! But it may not have us wait for a map that nobody will ever make: the monitors are asked
//! for the epoch of their newest map, and a barrier beyond that is a false one. (They answer
//! after the MDS has spoken, so what they do not know, no MDS can know.) A false one becomes
//! that epoch: others of the same MDS, which were true, may have been taken for a part of it.
//!
//! ```text
//!   raise(): the map is as new --------------------------------> obeyed
//!   raise() ---> Due --- ask() ---> Asked --- answer(newer) ---> obeyed
//!                 ^                   |   --- answer(older) ---> lowered: a false one
//!                 '-- answer(error) --'
//! ```
use kernel::prelude::*;

/// A barrier that the monitors have not confirmed; it holds nevertheless.
struct Claim<T> {
    who: u64,
    epoch: u32,
    asked: bool,
    owner: T,
}

/// See the module. `T` is what its owner wants back of a false barrier.
pub struct Barrier<T> {
    confirmed: u32,
    claims: KVec<Claim<T>>,
    // The monitors are being asked. A map may confirm all that they are asked for meanwhile,
    // and a second question would have the answer to the first one taken for its own.
    asking: bool,
}

impl<T> Barrier<T> {
    /// None.
    pub const fn new() -> Self {
        Self {
            confirmed: 0,
            claims: KVec::new(),
            asking: false,
        }
    }

    /// The highest that is known to be true.
    pub fn confirmed(&self) -> u32 {
        self.confirmed
    }

    /// The epoch to wait for.
    pub fn epoch(&self) -> u32 {
        let claims = self.claims.iter().map(|claim| claim.epoch);
        claims.fold(self.confirmed, u32::max)
    }

    /// `who` raises it; the current map is of the epoch `have`. Two claims of one are kept at
    /// most: one that the monitors are being asked for, and the highest of those after it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `owner`.
    pub fn raise(
        &mut self,
        who: u64,
        epoch: u32,
        have: u32,
        owner: impl FnOnce() -> Result<T>,
    ) -> Result {
        if epoch <= self.confirmed.max(have) {
            self.confirmed = self.confirmed.max(epoch);
            return Ok(());
        }
        let mut claims = self.claims.iter_mut();
        if let Some(claim) = claims.find(|claim| claim.who == who && !claim.asked) {
            claim.epoch = claim.epoch.max(epoch);
            return Ok(());
        }
        let claim = Claim {
            who,
            epoch,
            asked: false,
            owner: owner()?,
        };
        self.claims.push(claim, GFP_KERNEL)?;
        Ok(())
    }

    /// There is a map of this epoch.
    pub fn map(&mut self, epoch: u32) {
        let mut confirmed = self.confirmed;
        self.claims.retain(|claim| {
            if claim.epoch <= epoch {
                confirmed = confirmed.max(claim.epoch);
            }
            claim.epoch > epoch
        });
        self.confirmed = confirmed;
    }

    /// Whether the monitors have to be asked now. Those that are due are being asked for then;
    /// there is one question at a time.
    pub fn ask(&mut self) -> bool {
        if self.asking {
            return false;
        }
        for claim in self.claims.iter_mut() {
            claim.asked = true;
        }
        self.asking = !self.claims.is_empty();
        self.asking
    }

    /// The monitors have answered, or could not be asked. Returns a false barrier, which is
    /// lowered to what they say; to be called again until there is none.
    pub fn answer(&mut self, newest: Result<u32>) -> Option<(T, u32)> {
        self.asking = false;
        let Ok(newest) = newest else {
            for claim in self.claims.iter_mut() {
                claim.asked = false;
            }
            return None;
        };
        self.map(newest);
        let at = self.claims.iter().position(|claim| claim.asked)?;
        let claim = self.claims.remove(at).ok()?;
        self.confirmed = self.confirmed.max(newest);
        Some((claim.owner, claim.epoch))
    }
}

impl<T> Default for Barrier<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[kunit_tests(ceph_machine_osd_barrier)]
mod tests {
    use super::*;

    fn raise(barrier: &mut Barrier<u64>, who: u64, epoch: u32) -> Result {
        barrier.raise(who, epoch, 10, || Ok(who))
    }

    fn answer(barrier: &mut Barrier<u64>, newest: Result<u32>) -> Option<(u64, u32)> {
        let first = barrier.answer(newest);
        assert!(first.is_none() || barrier.answer(newest).is_none());
        first
    }

    #[test]
    fn what_the_map_has_needs_no_question() -> Result {
        let mut barrier = Barrier::new();
        raise(&mut barrier, 0, 9)?;
        assert_eq!((barrier.epoch(), barrier.ask()), (9, false));
        raise(&mut barrier, 0, 4)?;
        raise(&mut barrier, 0, 10)?;
        assert_eq!((barrier.epoch(), barrier.ask()), (10, false));
        Ok(())
    }

    #[test]
    fn one_that_is_confirmed_holds() -> Result {
        let mut barrier = Barrier::new();
        raise(&mut barrier, 0, 12)?;
        // At once.
        assert_eq!(
            (barrier.epoch(), barrier.ask(), barrier.ask()),
            (12, true, false)
        );
        assert_eq!(barrier.confirmed(), 0);
        assert!(answer(&mut barrier, Ok(12)).is_none());
        assert_eq!((barrier.epoch(), barrier.ask()), (12, false));
        // The map comes before the answer.
        raise(&mut barrier, 0, 14)?;
        assert!(barrier.ask());
        barrier.map(14);
        assert!(answer(&mut barrier, Ok(13)).is_none());
        assert_eq!(barrier.epoch(), 14);
        Ok(())
    }

    #[test]
    fn a_false_one_is_lowered() -> Result {
        let mut barrier = Barrier::new();
        raise(&mut barrier, 1, u32::MAX)?;
        raise(&mut barrier, 2, 12)?;
        assert_eq!((barrier.epoch(), barrier.ask()), (u32::MAX, true));
        // The monitors may have answered before this one was raised.
        raise(&mut barrier, 3, 20)?;
        assert!(!barrier.ask());
        assert_eq!(answer(&mut barrier, Ok(15)), Some((1, u32::MAX)));
        assert_eq!((barrier.epoch(), barrier.ask()), (20, true));
        assert!(answer(&mut barrier, Err(ENOMEM)).is_none());
        assert_eq!((barrier.epoch(), barrier.ask()), (20, true));
        assert_eq!(answer(&mut barrier, Ok(19)), Some((3, 20)));
        assert_eq!((barrier.epoch(), barrier.ask()), (19, false));
        Ok(())
    }

    #[test]
    fn one_question_at_a_time() -> Result {
        let mut barrier = Barrier::new();
        raise(&mut barrier, 0, 12)?;
        assert!(barrier.ask());
        // The map confirms it before the monitors answer; they may not know of the next one.
        barrier.map(12);
        raise(&mut barrier, 1, 14)?;
        assert!(!barrier.ask());
        assert!(answer(&mut barrier, Ok(13)).is_none());
        assert_eq!((barrier.epoch(), barrier.ask()), (14, true));
        Ok(())
    }

    #[test]
    fn a_true_one_is_not_lost_with_a_false_one() -> Result {
        let mut barrier = Barrier::new();
        // In one claim, and one raised after the monitors were asked.
        raise(&mut barrier, 1, 12)?;
        raise(&mut barrier, 1, u32::MAX)?;
        assert!(barrier.ask());
        raise(&mut barrier, 1, 14)?;
        assert_eq!(answer(&mut barrier, Ok(12)), Some((1, u32::MAX)));
        assert_eq!((barrier.confirmed(), barrier.epoch()), (12, 14));
        assert!(barrier.ask() && answer(&mut barrier, Ok(14)).is_none());
        assert_eq!(barrier.epoch(), 14);
        Ok(())
    }

    #[test]
    fn one_mds_is_kept_two_of() -> Result {
        let mut barrier = Barrier::new();
        for epoch in 11..500 {
            raise(&mut barrier, 1, epoch)?;
            barrier.ask();
        }
        assert_eq!((barrier.claims.len(), barrier.epoch()), (2, 499));
        assert!(answer(&mut barrier, Ok(11)).is_none());
        assert_eq!((barrier.claims.len(), barrier.ask()), (1, true));
        Ok(())
    }

    #[test]
    fn several_false_ones() -> Result {
        let mut barrier = Barrier::new();
        for who in 1..4 {
            raise(&mut barrier, who, 20)?;
        }
        assert!(barrier.ask());
        for who in 1..4 {
            assert_eq!(barrier.answer(Ok(19)), Some((who, 20)));
        }
        assert!(barrier.answer(Ok(19)).is_none());
        assert_eq!(barrier.epoch(), 19);
        Ok(())
    }
}
