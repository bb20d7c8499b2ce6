// SPDX-License-Identifier: GPL-2.0
//! Tests of the capabilities of an inode.
use kernel::prelude::*;

#[kunit_tests(ceph_machine_caps)]
mod tests {
    use super::super::caps::{Cap, CapSet, Issuer, Update};
    use super::super::refs::Mode;
    use super::*;
    use crate::wire::cap_bits::Caps;
    use crate::wire::client_caps::CapPeer;
    use crate::wire::inode_stat::ReplyCap;
    use core::cell::Cell;

    /// Tells rank 0 what is due.
    fn check(set: &mut CapSet<From>, cached: bool, all: bool) -> Option<Update> {
        let update = set.due(0, false, cached, all)?;
        set.note_sent(0, &update);
        Some(update)
    }

    /// Rank and generation; good unless the generation is 0.
    #[derive(Clone, Copy, Debug)]
    struct From(u32, u32);

    impl Issuer for From {
        fn rank(&self) -> u32 {
            self.0
        }

        fn validity(&self) -> (u32, bool) {
            (self.1, self.1 != 0)
        }

        fn carries_over(&self, gen: u32) -> bool {
            gen == self.1
        }
    }

    /// Rank 0, whose generation changes.
    #[derive(Clone)]
    struct Aging<'a>(&'a Cell<u32>);

    impl Issuer for Aging<'_> {
        fn rank(&self) -> u32 {
            0
        }

        fn validity(&self) -> (u32, bool) {
            (self.0.get(), true)
        }

        /// Generations are raised by restarts, but those of full hundreds by the server.
        fn carries_over(&self, gen: u32) -> bool {
            gen / 100 == self.0.get() / 100
        }
    }

    /// Rank 0, which is late to be renewed, or not.
    #[derive(Clone)]
    struct Late<'a>(&'a Cell<bool>);

    impl Issuer for Late<'_> {
        fn rank(&self) -> u32 {
            0
        }

        fn validity(&self) -> (u32, bool) {
            (1, !self.0.get())
        }

        fn carries_over(&self, _gen: u32) -> bool {
            !self.0.get()
        }
    }

    const RD: Caps = Caps(Caps::PIN.0 | Caps::ANY_RD.0);

    fn reply(caps: Caps, seq: u32, auth: bool) -> ReplyCap {
        ReplyCap {
            caps,
            wanted: Caps::NONE,
            cap_id: 7,
            seq,
            mseq: 0,
            realm: 1,
            flags: u8::from(auth),
        }
    }

    fn with_room() -> Result<CapSet<From>> {
        let mut set = CapSet::new();
        drop(set.move_to(CapSet::new_room(3)?));
        Ok(set)
    }

    #[test]
    fn what_is_issued_anew_while_the_session_is_late_is_new() -> Result {
        let late = Cell::new(false);
        let mut set = CapSet::new();
        let shared = Caps::PIN | Caps::FILE_SHARED;
        set.add(Late(&late), || reply(shared, 1, true), true);
        late.set(true);
        assert!(set.issued().is_empty());
        // Another client changes the directory in between.
        set.grant(0, 7, Caps::PIN, 2).ok_or(EINVAL)?;
        let change = set.grant(0, 7, shared, 3).ok_or(EINVAL)?;
        assert!(change.gained().contains(Caps::FILE_SHARED));
        let change = set.add(Late(&late), || reply(shared, 4, true), true);
        assert!(change.gained().contains(Caps::FILE_SHARED));
        late.set(false);
        assert_eq!(set.issued(), shared);
        Ok(())
    }

    #[test]
    fn a_grant_can_be_used() -> Result {
        let mut set = with_room()?;
        assert!(set.acquire(Caps::FILE_RD, Caps::NONE).is_none());
        let change = set.add(From(0, 1), || reply(Caps::PIN, 1, true), false);
        assert_eq!(change.gained(), Caps::PIN);
        let change = set.grant(0, 7, RD, 2).ok_or(EINVAL)?;
        assert!(change.gained().contains(Caps::FILE_RD) && !change.check);
        let got = set.acquire(Caps::FILE_RD, Caps::FILE_CACHE | Caps::FILE_WR);
        assert_eq!(got, Some(Caps::FILE_RD | Caps::FILE_CACHE));
        Ok(())
    }

    #[test]
    fn a_revoke_waits_for_the_last_use() -> Result {
        let mut set = with_room()?;
        let mut new = reply(RD, 1, true);
        new.wanted = Mode::Read.caps();
        set.add(From(0, 1), || new, false);
        let got = set.acquire(Caps::FILE_RD, Caps::NONE).ok_or(EINVAL)?;
        let change = set.grant(0, 7, Caps::PIN, 2).ok_or(EINVAL)?;
        assert!(change.lost().contains(Caps::FILE_RD));
        // What is not in use is acknowledged only together with the rest.
        assert!(check(&mut set, false, false).is_none());
        assert!(set.acquire(Caps::FILE_RD, Caps::NONE).is_none());
        assert!(set.give_back(got));
        let update = check(&mut set, false, false).ok_or(EINVAL)?;
        assert_eq!((update.caps, update.seq), (Caps::PIN, 2));
        assert!(check(&mut set, false, false).is_none());
        Ok(())
    }

    #[test]
    fn pages_are_a_use() -> Result {
        let mut set = with_room()?;
        set.add(From(0, 1), || reply(RD, 1, true), false);
        let rest = RD.without(Caps::FILE_CACHE);
        let change = set.grant(0, 7, rest, 2).ok_or(EINVAL)?;
        assert_eq!(change.lost(), Caps::FILE_CACHE);
        assert!(check(&mut set, true, false).is_none());
        let update = check(&mut set, false, false).ok_or(EINVAL)?;
        assert_eq!(update.caps, rest);
        Ok(())
    }

    #[test]
    fn a_new_generation_leaves_the_pin() -> Result {
        let generation = Cell::new(1);
        let mut set = CapSet::new();
        drop(set.move_to(CapSet::new_room(1)?));
        set.add(Aging(&generation), || reply(RD, 1, true), false);
        assert_eq!(set.issued(), RD);
        generation.set(2);
        assert_eq!(set.issued(), Caps::NONE);
        set.grant(0, 7, Caps::PIN | Caps::AUTH_SHARED, 2);
        assert_eq!(set.issued(), Caps::PIN | Caps::AUTH_SHARED);
        assert_eq!(set.due(0, false, false, false), None);
        Ok(())
    }

    #[test]
    fn what_went_stale_is_not_claimed_after_a_restart() -> Result {
        let generation = Cell::new(1);
        let mut set = CapSet::new();
        set.add(Aging(&generation), || reply(RD, 1, true), false);
        // The rank restarts: what is good is kept.
        generation.set(2);
        let (_, _, issued) = set.reconnect(0, false).ok_or(EINVAL)?;
        assert_eq!((issued, set.issued()), (RD, RD));
        // The server says STALE, may give to others what was ours, and restarts.
        generation.set(100);
        generation.set(101);
        assert!(set.issued().is_empty());
        let mut lost = CapSet::new();
        lost.add(Aging(&generation), || reply(RD, 1, true), false);
        let (_, _, issued) = set.reconnect(0, false).ok_or(EINVAL)?;
        assert_eq!((issued, set.issued()), (Caps::PIN, Caps::PIN));
        assert_eq!(set.implemented(), Caps::PIN);
        // Of one that is told of twice the second word is as good as the first.
        generation.set(102);
        let (_, _, issued) = set.reconnect(0, false).ok_or(EINVAL)?;
        assert_eq!(issued, Caps::PIN);
        let (_, _, issued) = lost.reconnect(0, false).ok_or(EINVAL)?;
        assert_eq!(issued, RD);
        Ok(())
    }

    #[test]
    fn what_the_server_does_not_issue_anew_is_lost() {
        let generation = Cell::new(1);
        let mut set = CapSet::new();
        set.add(Aging(&generation), || reply(RD, 1, true), false);
        generation.set(100);
        set.renewed(0);
        assert_eq!(set.issued(), Caps::PIN);
        // Not by a restart either.
        generation.set(101);
        assert!(set
            .reconnect(0, false)
            .is_some_and(|(_, _, issued)| issued == Caps::PIN));
        assert_eq!(set.issued(), Caps::PIN);
        // What it has issued anew before is not.
        generation.set(200);
        set.grant(0, 7, RD, 2);
        set.renewed(0);
        assert_eq!(set.issued(), RD);
    }

    #[test]
    fn a_move_makes_nothing_sure() -> Result {
        let peer = CapPeer {
            cap_id: 9,
            issue_seq: 2,
            mseq: 1,
            mds: 1,
            flags: 1,
        };
        // Generation 0 is not good. Nothing is known at the target.
        let mut set = with_room()?;
        set.add(From(0, 0), || reply(RD, 5, true), false);
        set.export(0, 7, Some((&From(1, 1), peer))).ok_or(EINVAL)?;
        assert_eq!(set.issued(), Caps::PIN);
        // Something is.
        let mut set = with_room()?;
        set.add(From(0, 0), || reply(RD, 5, true), false);
        let mut known = reply(Caps::PIN | Caps::LINK_SHARED, 1, false);
        known.cap_id = 9;
        set.add(From(1, 1), || known, false);
        set.export(0, 7, Some((&From(1, 1), peer))).ok_or(EINVAL)?;
        assert_eq!(set.issued(), Caps::PIN | Caps::LINK_SHARED);
        Ok(())
    }

    #[test]
    fn a_late_session_is_waited_for() {
        let late = Cell::new(false);
        let mut set = CapSet::new();
        let mut new = reply(Caps::PIN, 1, true);
        new.wanted = Mode::Read.caps();
        set.add(Late(&late), || new, false);
        set.open(Mode::Read);
        assert!(set.is_awaited(Caps::FILE_RD) && !set.is_awaited(Caps::FILE_WR));
        late.set(true);
        // To ask by OPEN would be answered at once, and change nothing: again and again.
        assert!(set.acquire(Caps::FILE_RD, Caps::NONE).is_none());
        assert!(set.is_awaited(Caps::FILE_RD));
        set.pop();
        assert!(!set.is_awaited(Caps::FILE_RD));
    }

    #[test]
    fn what_is_wanted_follows_what_is_open() -> Result {
        let mut set = with_room()?;
        set.add(From(0, 1), || reply(Caps::PIN, 1, true), false);
        set.open(Mode::Read);
        let update = check(&mut set, false, false).ok_or(EINVAL)?;
        assert_eq!(update.wanted, Mode::Read.caps());
        assert!(check(&mut set, false, true).is_none());
        assert!(set.close(Mode::Read) && !set.is_open());
        assert!(set.wants_less(false));
        assert!(check(&mut set, false, false).is_none());
        let update = check(&mut set, false, true).ok_or(EINVAL)?;
        assert_eq!(update.wanted, Caps::NONE);
        assert!(!set.wants_less(false));
        Ok(())
    }

    #[test]
    fn a_migration_export_first() -> Result {
        let mut set = with_room()?;
        let peer = CapPeer {
            cap_id: 9,
            issue_seq: 1,
            mseq: 1,
            mds: 1,
            flags: 1,
        };
        set.add(From(0, 1), || reply(RD, 5, true), false);
        let gone = set.export(0, 7, Some((&From(1, 1), peer))).ok_or(EINVAL)?;
        assert_eq!((gone.cap.id(), gone.change.lost()), (7, Caps::NONE));
        assert_eq!(set.auth().map(Cap::id), Some(9));
        assert!(set.has(RD));
        // Now the new server speaks.
        let mut import = reply(Caps::PIN | Caps::FILE_RD, 1, true);
        (import.cap_id, import.mseq) = (9, 1);
        let change = set.add(From(1, 1), || import, false);
        assert!(change.after.contains(Caps::FILE_RD));
        assert_eq!(set.len(), 1);
        Ok(())
    }

    #[test]
    fn a_migration_import_first() -> Result {
        let mut set = with_room()?;
        set.add(From(0, 1), || reply(RD, 5, true), false);
        let mut import = reply(RD, 1, true);
        (import.cap_id, import.mseq) = (9, 1);
        set.add(From(1, 1), || import, false);
        let peer = CapPeer {
            cap_id: 7,
            issue_seq: 5,
            mseq: 0,
            mds: 0,
            flags: 0,
        };
        let gone = set.imported_from(&peer).ok_or(EINVAL)?;
        assert_eq!(gone.cap.release_item(3).cap_id, 7);
        assert_eq!(set.auth().map(Cap::id), Some(9));
        // The old server's own word comes too late.
        assert!(set.export(0, 7, None).is_none());
        Ok(())
    }

    #[test]
    fn an_old_grant_does_not_take_away() -> Result {
        let mut set = with_room()?;
        set.add(From(0, 1), || reply(RD, 5, true), false);
        set.grant(0, 7, Caps::PIN, 4);
        assert!(set.has(RD));
        Ok(())
    }

    #[test]
    fn reconnecting_starts_anew() -> Result {
        let mut set = with_room()?;
        set.add(From(0, 1), || reply(RD, 5, true), true);
        set.open(Mode::Read);
        let (id, wanted, issued) = set.reconnect(0, true).ok_or(EINVAL)?;
        assert_eq!((id, wanted), (7, Caps::PIN | Caps::ANY_SHARED));
        assert_eq!(set.get(0).map(Cap::mds_wanted), Some(wanted));
        assert!(!issued.intersects(Caps::ANY_DIR_OPS));
        let change = set.grant(0, 7, RD, 1).ok_or(EINVAL)?;
        assert!(change.after.contains(RD));
        Ok(())
    }
}
