// SPDX-License-Identifier: GPL-2.0
//! Which rank is asked.
use kernel::{
    alloc::Flags,
    prelude::*, //
};

use crate::wire::{
    frag::Frag,
    mdsmap::{
        MdsMap,
        MdsState, //
    },
};

/// What is known of who serves a request; the first that leads anywhere counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankHints {
    /// A server sent the request there, or its session is being opened for it.
    pub resend: Option<u32>,
    /// A reply said that the fragment of the directory lives there.
    pub frag_auth: Option<u32>,
    /// The session that issued the inode's capability.
    pub issuer: Option<u32>,
}

impl RankHints {
    /// The rank to ask now, or `None` if the request has to wait for another map.
    /// `random` gives any number.
    ///
    /// A rank that is not active is waited for if it is sure to matter. Where a
    /// fragment lives is hearsay that may be old: its rank may have been stopped,
    /// and then no map brings it back.
    pub fn choose(&self, map: &MdsMap, random: impl FnOnce() -> u32) -> Option<u32> {
        let active = |rank: &u32| map.state(*rank) >= MdsState::ACTIVE;
        let exists = |rank: &u32| map.get(*rank).is_some() || map.is_in(*rank);
        if let Some(rank) = self.resend.filter(exists) {
            return Some(rank).filter(active);
        }
        if let Some(rank) = self.frag_auth.filter(active) {
            return Some(rank);
        }
        match self.issuer.filter(exists) {
            Some(rank) => Some(rank).filter(active),
            None => map.choose(random()),
        }
    }
}

/// The fragments of a directory that have a rank of their own.
///
/// No more than [`FragAuths::MOST`] are remembered, whatever a server says: 1 KiB for each
/// directory. What is forgotten is forwarded by the rank of the directory.
#[derive(Debug, Default)]
pub struct FragAuths {
    /// The oldest first. No two overlap.
    list: KVec<(Frag, u32)>,
}

impl FragAuths {
    /// So many are remembered.
    pub const MOST: usize = 128;

    /// None.
    pub const fn new() -> Self {
        Self { list: KVec::new() }
    }

    /// Whether all of the directory is of the rank of its inode, as is usual.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The rank of a fragment, if it has one of its own.
    pub fn rank_of(&self, frag: Frag) -> Option<u32> {
        let found = self.list.iter().find(|(known, _)| *known == frag);
        found.map(|(_, rank)| *rank)
    }

    /// A server says which rank has authority over a fragment; none if that of the inode has.
    /// Memory comes by `flags`. Without, the request is forwarded.
    pub fn note(&mut self, frag: Frag, auth: Option<u32>, flags: Flags) {
        // Those that it was split into, or was merged from, are no more.
        let overlaps = |known: Frag| known.contains(frag.value()) || frag.contains(known.value());
        while let Some(at) = self.list.iter().position(|(known, _)| overlaps(*known)) {
            if self.list.remove(at).is_err() {
                return;
            }
        }
        let Some(rank) = auth else { return };
        if self.list.len() >= Self::MOST {
            let _ = self.list.remove(0);
        }
        let _ = self.list.push((frag, rank), flags);
    }
}

#[kunit_tests(ceph_machine_route)]
mod tests {
    use super::*;
    use crate::wire::mdsmap::sample;
    use ceph_proto::wire::decode::Decoder;

    /// Rank 0 is active and rank 1 in the given state; 0 is not there.
    fn map(second: i32) -> Result<MdsMap> {
        let all = [(0, 13, 0), (1, second, 0)];
        let ranks = if second == 0 { &all[..1] } else { &all[..] };
        MdsMap::decode(&mut Decoder::new(&sample(ranks, 19)?))
    }

    #[test]
    fn the_best_hint_counts() -> Result {
        let map = map(13)?;
        let mut hints = RankHints::default();
        assert!(hints.choose(&map, || 0).is_some());
        hints.issuer = Some(0);
        assert_eq!(hints.choose(&map, || 1), Some(0));
        hints.frag_auth = Some(1);
        assert_eq!(hints.choose(&map, || 0), Some(1));
        hints.resend = Some(0);
        assert_eq!(hints.choose(&map, || 1), Some(0));
        Ok(())
    }

    #[test]
    fn a_fragment_has_one_rank() {
        let mut auths = FragAuths::new();
        auths.note(Frag::ROOT, Some(1), GFP_KERNEL);
        assert_eq!(auths.rank_of(Frag::ROOT), Some(1));
        // It is split into four, two of which are told of.
        let child = |index| Frag::ROOT.child(2, index);
        auths.note(child(3), Some(2), GFP_KERNEL);
        assert_eq!(auths.rank_of(Frag::ROOT), None);
        auths.note(child(0), Some(0), GFP_KERNEL);
        auths.note(child(3), Some(1), GFP_KERNEL);
        assert_eq!(auths.list.len(), 2);
        assert_eq!(auths.rank_of(child(3)), Some(1));
        auths.note(child(0), None, GFP_KERNEL);
        auths.note(child(1), None, GFP_KERNEL);
        assert_eq!((auths.rank_of(child(0)), auths.list.len()), (None, 1));
        // They are merged.
        auths.note(Frag::ROOT, None, GFP_KERNEL);
        assert!(auths.is_empty());
    }

    #[test]
    fn no_server_makes_the_client_remember_more() {
        let mut auths = FragAuths::new();
        for n in 0..5000 {
            auths.note(Frag::new(24, n), Some(n), GFP_KERNEL);
            assert!(auths.list.len() <= FragAuths::MOST);
            assert_eq!(auths.rank_of(Frag::new(24, n)), Some(n));
        }
        // The oldest go.
        assert_eq!(auths.rank_of(Frag::new(24, 4871)), None);
        assert_eq!(auths.rank_of(Frag::new(24, 4872)), Some(4872));
    }

    #[test]
    fn nobody_waits_for_a_rank_that_is_gone() -> Result {
        let map = map(0)?;
        for hints in [
            RankHints {
                frag_auth: Some(1),
                ..RankHints::default()
            },
            RankHints {
                issuer: Some(1),
                ..RankHints::default()
            },
            RankHints {
                resend: Some(1),
                ..RankHints::default()
            },
        ] {
            assert_eq!(hints.choose(&map, || 0), Some(0));
        }
        Ok(())
    }

    #[test]
    fn a_rank_that_restarts_is_waited_for() -> Result {
        let map = map(10)?;
        let resend = RankHints {
            resend: Some(1),
            ..RankHints::default()
        };
        assert_eq!(resend.choose(&map, || 0), None);
        let issued = RankHints {
            issuer: Some(1),
            ..RankHints::default()
        };
        assert_eq!(issued.choose(&map, || 0), None);
        // Whoever issued the capability knows better than an old delegation.
        let moved = RankHints {
            frag_auth: Some(1),
            issuer: Some(0),
            ..RankHints::default()
        };
        assert_eq!(moved.choose(&map, || 0), Some(0));
        Ok(())
    }
}
