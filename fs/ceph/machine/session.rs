// SPDX-License-Identifier: GPL-2.0
//! A session with one rank.
//!
//! ```text
//!   New ──open──▶ Opening ──OPEN──▶ Open ◀──any message── Hung
//!    │               │  │             │ ──silence──────────▶┘
//!    │        REJECT │  └──────┬──────┘
//!    │               ▼         │ the rank moves to another daemon
//!    │            Rejected     ▼
//!    │               ▲     Restarting ──rank reconnects──▶ Reconnecting ──OPEN──▶ Open
//!    │               └──────────────────REJECT───────────────┤  ▲
//!    └── the rank reconnects, and may know us ───────────────┼──┘
//!   Open ──close──▶ Closing ──CLOSE──▶ Closed ◀──CLOSE───────┘
//! ```
//!
//! Beside its state a session has a lease on all its capabilities, which the client
//! renews; when it runs out, or the server says STALE, all capabilities of the
//! *generation* are doubtful until the server tells of them again.
//!
//! Times are ticks of a clock that wraps around, as the kernel's jiffies.
use kernel::prelude::*;

use crate::wire::session::Features;

/// A time.
pub type Ticks = usize;

fn reached(now: Ticks, when: Ticks) -> bool {
    // The clock wraps around: what lies half its range away is in the past.
    now.wrapping_sub(when) <= usize::MAX / 2
}

/// State of a session, by the names that the C client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Known, nothing sent.
    New,
    /// Asked to open.
    Opening,
    /// Requests can be sent.
    Open,
    /// Open, but not heard of for long.
    Hung,
    /// The rank moved to another daemon.
    Restarting,
    /// The new daemon was told what we hold.
    Reconnecting,
    /// Asked to close.
    Closing,
    /// Over.
    Closed,
    /// The server does not want us.
    Rejected,
}

impl SessionState {
    /// The name in debugfs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Hung => "hung",
            Self::Restarting => "restarting",
            Self::Reconnecting => "reconnecting",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
        }
    }

    /// Whether requests can be sent.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Open | Self::Hung)
    }

    /// Whether it has to be renewed and watched.
    pub const fn is_alive(self) -> bool {
        matches!(
            self,
            Self::Opening | Self::Open | Self::Hung | Self::Reconnecting
        )
    }

    /// Whether nothing comes any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Rejected)
    }
}

/// What a RENEWCAPS means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewCaps {
    /// It answers an older request.
    Old,
    /// Capabilities are good for longer.
    Good,
    /// Capabilities had gone stale, and are good again.
    Fresh,
    /// Capabilities had gone stale, and still are: the answer took too long.
    StillStale,
}

/// Which capabilities of a session are good, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapLease {
    /// `None` if the session is over.
    gen: Option<u32>,
    until: Ticks,
}

impl CapLease {
    /// Whether all that was good by `before` is good by this, too, for as long.
    pub fn covers(&self, before: &Self) -> bool {
        before.gen.is_none() || self.gen == before.gen && reached(self.until, before.until)
    }
}

/// A session with one rank.
#[derive(Debug)]
pub struct Session {
    state: SessionState,
    features: Features,
    /// Messages from the server that count; it repeats this number with a close.
    seq: u64,
    renew_seq: u64,
    renew_requested: Ticks,
    /// Capabilities are good until then.
    cap_ttl: Ticks,
    cap_gen: u32,
    /// While the rank is lost: capabilities of this generation and of later ones were good when
    /// it was.
    carried_from: Option<u32>,
    /// The server counts as alive until then.
    ttl: Option<Ticks>,
    readonly: bool,
}

impl Session {
    /// A rank that was not asked yet.
    pub const fn new(now: Ticks) -> Self {
        Self {
            state: SessionState::New,
            features: Features(0),
            seq: 0,
            renew_seq: 0,
            renew_requested: now,
            cap_ttl: now,
            cap_gen: 1,
            carried_from: None,
            ttl: None,
            readonly: false,
        }
    }

    /// Its state.
    pub const fn state(&self) -> SessionState {
        self.state
    }

    /// Features that both sides have.
    pub const fn features(&self) -> Features {
        self.features
    }

    /// Whether the server takes no changes.
    pub const fn is_readonly(&self) -> bool {
        self.readonly
    }

    /// The generation of capabilities that are issued now, and whether those of
    /// this generation are good.
    pub fn validity(&self, now: Ticks) -> (u32, bool) {
        let good = !self.state.is_over() && !reached(now, self.cap_ttl);
        (self.cap_gen, good)
    }

    /// Until when capabilities of the generation are good, unless that is raised.
    pub const fn cap_until(&self) -> Ticks {
        self.cap_ttl
    }

    /// Whether a capability of the generation was good when the rank was lost, so that it
    /// may be claimed from the daemon that took over. Until then nobody but the lost daemon
    /// could issue anything to others; what had gone stale before, it may have.
    pub fn carried(&self, gen: u32) -> bool {
        self.carried_from
            .is_some_and(|from| gen.wrapping_sub(from) <= self.cap_gen.wrapping_sub(from))
    }

    /// What [`validity`](Self::validity) follows from.
    pub fn cap_lease(&self) -> CapLease {
        CapLease {
            gen: (!self.state.is_over()).then_some(self.cap_gen),
            until: self.cap_ttl,
        }
    }

    /// The client asks for the session.
    pub fn opening(&mut self, now: Ticks) {
        self.state = SessionState::Opening;
        self.renew_requested = now;
    }

    /// Something about the session came from the server, which counts as alive for
    /// `autoclose`. Whether it had been silent for too long.
    pub fn heard(&mut self, now: Ticks, autoclose: Ticks) -> bool {
        self.ttl = Some(now.wrapping_add(autoclose));
        let was_hung = self.state == SessionState::Hung;
        if was_hung {
            self.state = SessionState::Open;
        }
        was_hung
    }

    /// Time passes. Whether the server has been silent for too long just now.
    pub fn tick(&mut self, now: Ticks) -> bool {
        let silent = self.ttl.is_some_and(|ttl| reached(now, ttl));
        let hung = silent && self.state == SessionState::Open;
        if hung {
            self.state = SessionState::Hung;
        }
        hung
    }

    /// OPEN. The state before; the capabilities are good for `timeout` from when
    /// they were asked for. A session that is over stays so.
    pub fn opened(&mut self, features: Features, seq: u64, timeout: Ticks) -> SessionState {
        if self.state.is_over() {
            return self.state;
        }
        let before = core::mem::replace(&mut self.state, SessionState::Open);
        self.carried_from = None;
        self.features = features;
        if self.seq == 0 {
            self.seq = seq;
        }
        if before != SessionState::Open {
            self.cap_ttl = self.renew_requested.wrapping_add(timeout);
        }
        before
    }

    /// The capabilities are to be renewed: the number to send. With `ask` false the
    /// server is not there yet to be asked.
    pub fn renew(&mut self, now: Ticks, ask: bool) -> Option<u64> {
        self.renew_requested = now;
        if !ask {
            return None;
        }
        self.renew_seq = self.renew_seq.wrapping_add(1);
        Some(self.renew_seq)
    }

    /// RENEWCAPS. It renews nothing in a session that is over.
    pub fn renewed(&mut self, seq: u64, now: Ticks, timeout: Ticks) -> RenewCaps {
        if seq != self.renew_seq || self.state.is_over() {
            return RenewCaps::Old;
        }
        let was_stale = reached(now, self.cap_ttl);
        self.cap_ttl = self.renew_requested.wrapping_add(timeout);
        match (was_stale, reached(now, self.cap_ttl)) {
            (false, _) => RenewCaps::Good,
            (true, false) => RenewCaps::Fresh,
            (true, true) => RenewCaps::StillStale,
        }
    }

    /// STALE: all capabilities are doubtful.
    pub fn stale(&mut self, now: Ticks) {
        self.cap_gen = self.cap_gen.wrapping_add(1);
        self.cap_ttl = now.wrapping_sub(1);
        if let Some(from) = &mut self.carried_from {
            *from = self.cap_gen;
        }
    }

    /// FORCE_RO.
    pub fn force_readonly(&mut self) {
        self.readonly = true;
    }

    /// A message that counts came. A close that is under way would be ignored as too
    /// old: the number to close with, again.
    pub fn count_message(&mut self) -> Option<u64> {
        self.seq = self.seq.wrapping_add(1);
        (self.state == SessionState::Closing).then_some(self.seq)
    }

    /// The client is done: the number to close with, unless it is beyond that.
    pub fn close(&mut self) -> Option<u64> {
        if self.state == SessionState::Closing || self.state.is_over() {
            return None;
        }
        self.state = SessionState::Closing;
        Some(self.seq)
    }

    /// CLOSE or REJECT, or the client gives up. It vouches for nothing any more.
    pub fn ended(&mut self, rejected: bool) {
        self.state = if rejected {
            SessionState::Rejected
        } else {
            SessionState::Closed
        };
    }

    /// The rank moved to another daemon, or another life of it. What is held is kept
    /// until the rank asks for it.
    pub fn moved(&mut self, now: Ticks) {
        self.lost(now);
        self.state = SessionState::Restarting;
    }

    /// Notes once which capabilities are good as the rank is lost.
    fn lost(&mut self, now: Ticks) {
        let (gen, good) = self.validity(now);
        // None is of the generation that comes next.
        let from = if good { gen } else { gen.wrapping_add(1) };
        self.carried_from.get_or_insert(from);
    }

    /// The new daemon is about to be told what is held. False if the session is over.
    /// If that fails, the session has [`moved`](Self::moved) still.
    pub fn reconnecting(&mut self, now: Ticks) -> bool {
        if self.state.is_over() {
            return false;
        }
        self.lost(now);
        self.seq = 0;
        self.cap_gen = self.cap_gen.wrapping_add(1);
        self.readonly = false;
        self.state = SessionState::Reconnecting;
        true
    }
}

#[kunit_tests(ceph_machine_session)]
mod tests {
    use super::*;

    const TIMEOUT: Ticks = 60;
    const AUTOCLOSE: Ticks = 300;

    fn open(now: Ticks) -> Session {
        let mut s = Session::new(now);
        s.opening(now);
        s.heard(now.wrapping_add(1), AUTOCLOSE);
        s.opened(Features::SUPPORTED, 5, TIMEOUT);
        s
    }

    #[test]
    fn an_open_session_can_be_used() {
        let mut s = Session::new(1000);
        assert!(!s.state().is_usable());
        s.opening(1000);
        assert!(s.state().is_alive() && !s.state().is_usable());
        assert_eq!(
            s.opened(Features::SUPPORTED, 5, TIMEOUT),
            SessionState::Opening
        );
        assert!(s.state().is_usable());
        assert_eq!(s.validity(1059), (1, true));
        assert_eq!(s.validity(1060), (1, false));
    }

    #[test]
    fn the_clock_wraps_around() {
        let now = usize::MAX - 10;
        let mut s = open(now);
        assert_eq!(s.validity(now.wrapping_add(59)), (1, true));
        assert!(!s.tick(now.wrapping_add(200)));
        assert!(s.tick(now.wrapping_add(301)));
    }

    #[test]
    fn silence_and_return() {
        let mut s = open(0);
        assert!(!s.tick(300));
        assert!(s.tick(301));
        assert!(!s.tick(302));
        assert!(s.state() == SessionState::Hung && s.state().is_usable());
        assert!(s.heard(400, AUTOCLOSE));
        assert_eq!(s.state(), SessionState::Open);
    }

    #[test]
    fn renewals() {
        let mut s = open(0);
        assert_eq!(s.renew(15, false), None);
        assert_eq!(s.renew(15, true), Some(1));
        assert_eq!(s.renew(30, true), Some(2));
        assert_eq!(s.renewed(1, 31, TIMEOUT), RenewCaps::Old);
        assert_eq!(s.renewed(2, 32, TIMEOUT), RenewCaps::Good);
        // It counts from the request, not from the answer.
        assert_eq!(s.validity(89), (1, true));
        assert_eq!(s.validity(90), (1, false));
        assert_eq!(s.renew(100, true), Some(3));
        assert_eq!(s.renewed(3, 101, TIMEOUT), RenewCaps::Fresh);
        s.renew(200, true);
        assert_eq!(s.renewed(4, 261, TIMEOUT), RenewCaps::StillStale);
    }

    #[test]
    fn stale_begins_a_generation() {
        let mut s = open(0);
        s.stale(10);
        assert_eq!(s.validity(10), (2, false));
        s.renew(10, true);
        assert_eq!(s.renewed(1, 11, TIMEOUT), RenewCaps::Fresh);
        assert_eq!(s.validity(11), (2, true));
    }

    /// Whether what was good stays good.
    fn keeps(s: &mut Session, change: impl FnOnce(&mut Session)) -> bool {
        let before = s.cap_lease();
        change(s);
        s.cap_lease().covers(&before)
    }

    #[test]
    fn whatever_ends_the_lease_is_seen() {
        let mut s = Session::new(0);
        assert!(keeps(&mut s, |s| s.opening(0)));
        assert!(keeps(&mut s, |s| {
            s.opened(Features::SUPPORTED, 5, TIMEOUT);
        }));
        assert!(keeps(&mut s, |s| {
            s.renew(10, true);
            s.renewed(1, 11, TIMEOUT);
        }));
        // A shorter time than before.
        assert!(!keeps(&mut s, |s| {
            s.renew(11, true);
            s.renewed(2, 12, TIMEOUT / 2);
        }));
        assert!(!keeps(&mut s, |s| s.stale(20)));
        assert!(keeps(&mut s, |s| s.moved(30)));
        assert!(!keeps(&mut s, |s| assert!(s.reconnecting(31))));
        assert!(keeps(&mut s, |s| {
            s.opened(Features::SUPPORTED, 1, TIMEOUT);
        }));
        assert!(keeps(&mut s, |s| assert!(s.close().is_some())));
        for rejected in [false, true] {
            let mut s = open(0);
            assert!(!keeps(&mut s, |s| s.ended(rejected)));
            // Nothing more can be lost.
            assert!(keeps(&mut s, |s| s.ended(rejected)));
        }
    }

    #[test]
    fn a_rank_that_restarts_before_the_session_is_open_is_told_what_is_held() {
        // It may have taken over what another rank exported.
        for opening in [false, true] {
            let mut s = Session::new(0);
            if opening {
                s.opening(0);
                s.moved(1);
            }
            assert!(s.reconnecting(2));
            s.opened(Features::SUPPORTED, 1, TIMEOUT);
            assert!(s.state().is_usable() && s.validity(1).1);
        }
    }

    #[test]
    fn a_close_names_the_last_message() {
        let mut s = open(0);
        assert_eq!(s.count_message(), None);
        assert_eq!(s.close(), Some(6));
        assert_eq!(s.count_message(), Some(7));
        assert_eq!(s.close(), None);
        assert!(s.validity(1).1);
        s.ended(false);
        assert!(s.state().is_over());
        assert!(!s.validity(1).1);
        assert_eq!((s.close(), s.reconnecting(1)), (None, false));
        assert_eq!(s.renewed(0, 100, TIMEOUT), RenewCaps::Old);
    }

    #[test]
    fn a_restart() {
        let mut s = open(0);
        s.force_readonly();
        s.moved(30);
        assert!(!s.state().is_usable());
        assert!(s.reconnecting(100));
        assert!(!s.is_readonly());
        assert!(s.carried(1) && s.carried(2) && !s.carried(3) && !s.carried(0));
        // It could not be told.
        s.moved(101);
        assert_eq!(s.state(), SessionState::Restarting);
        assert!(s.reconnecting(102));
        assert!(s.carried(1) && s.carried(2) && s.carried(3));
        assert_eq!(
            s.opened(Features::SUPPORTED, 1, TIMEOUT),
            SessionState::Reconnecting
        );
        assert_eq!(s.validity(1), (3, true));
        assert!(!s.carried(3));
        // The new daemon counts from its own beginning.
        assert_eq!(s.close(), Some(1));
    }

    #[test]
    fn what_went_stale_is_not_carried_over() {
        // By the clock.
        let mut s = open(0);
        s.moved(60);
        assert!(s.reconnecting(61));
        assert!(!s.carried(1) && s.carried(2));
        // Because the server said so.
        let mut s = open(0);
        s.stale(10);
        s.moved(11);
        assert!(s.reconnecting(12));
        assert!(!s.carried(1) && !s.carried(2) && s.carried(3));
    }

    #[test]
    fn a_rejection() {
        let mut s = Session::new(0);
        s.opening(0);
        s.ended(true);
        assert_eq!(s.state(), SessionState::Rejected);
        // Too late.
        s.opened(Features::SUPPORTED, 5, TIMEOUT);
        assert_eq!(s.state(), SessionState::Rejected);
        assert!(!s.validity(1).1);
    }
}
