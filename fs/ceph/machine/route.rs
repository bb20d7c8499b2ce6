// SPDX-License-Identifier: GPL-2.0
//! Which rank is asked.
use kernel::prelude::*;

use crate::wire::mdsmap::{MdsMap, MdsState};

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
    fn the_best_clue_counts() -> Result {
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
