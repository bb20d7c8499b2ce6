// SPDX-License-Identifier: GPL-2.0
//! The life of a request to a metadata server.
//!
//! ```text
//!            a session with the rank is usable         queued
//!   Waiting ─────────────────────────────▶ Sending ──────────▶ Sent
//!     ▲  │                                    │                 │ │
//!     │  │ nobody waits for it                │                 │ │
//!     │  ▼                                    │                 │ │
//!     │ Over ◀────────────── safe reply ──────┼─────────────────┘ │ unsafe reply
//!     │  ▲ ▲                                  │                 │ ▼
//!     │  │ └── safe reply, session lost ──────┼──────────────── Unsafe ◀┐ replayed
//!     │  │                                    │                 │ └─────┘
//!     └──┴──── forward, session lost, rank serves again ────────┘
//!          (Over, if nobody waits for it any more)
//! ```
//!
//! A request waits for a map that names an active rank, or for a session with that rank.
//! *Sending* is short: the rank is chosen, and the message is being made. Whoever restarts
//! or ends a session moves what is sent through it, so a request is queued at most once for
//! each time that a rank was chosen.
//!
//! What changes something is answered twice. An *unsafe* reply says that it is done, but not
//! on disk: the request stays until the *safe* one, and is replayed to a daemon that takes
//! the rank over. What only reads is answered once, by a safe reply.
//!
//! A request that nobody waits for any more, because the task was killed, is forgotten when
//! no reply can come. Until then it is kept, because a reply hands out capabilities. It is
//! not sent again.
//!
//! `num_retry` counts how many times a rank was sent the request before, `num_fwd` how many
//! times it was forwarded. Servers without [`Features::RETRY_FWD_32`] have 8 bits for each.
//! What would wrap around ends with `EMULTIHOP`: ranks that send a request in circles would
//! do so for ever.
use ceph_proto::errno::emultihop;
use kernel::prelude::*;

use crate::wire::session::Features;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// No map names a rank that is to be asked.
    WaitsForMap,
    /// The session with the rank is not usable.
    WaitsForSession(u32),
    /// It is about to be queued for the rank.
    Sending(u32),
    /// It was queued for the rank, and not answered.
    Sent(u32),
    /// The rank has done it, which is not on disk yet.
    Unsafe(u32),
    /// It is answered, or has failed.
    Over,
}

/// What becomes of a request after something that concerned it or others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It did not concern this one.
    Stay,
    /// It waits no more: a rank is to be chosen.
    Advance,
    /// It is over, as nobody waits for it.
    Forget,
    /// It is over: it was done, but may not have come to the disk.
    Lost,
}

/// What a reply is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// None: it is of a rank that is not asked any more, or was there before.
    Stale,
    /// The answer. It is over if the reply is safe.
    Answer,
    /// What was answered before is on disk.
    Commit,
}

/// What a request says of itself when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// How many times the rank was sent it before.
    pub num_retry: u32,
    /// How many times it was forwarded.
    pub num_fwd: u32,
}

/// A request to a metadata server.
#[derive(Debug)]
pub struct Request {
    state: RequestState,
    /// How many times it was sent since it was last forwarded.
    attempts: u32,
    forwards: u32,
    /// The rank that it was forwarded to, or whose session is opened for it.
    resend: Option<u32>,
    /// Nobody waits for the answer.
    aborted: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

impl Request {
    /// One that was not sent.
    pub const fn new() -> Self {
        Self {
            state: RequestState::WaitsForMap,
            attempts: 0,
            forwards: 0,
            resend: None,
            aborted: false,
        }
    }

    /// Where it is.
    pub const fn state(&self) -> RequestState {
        self.state
    }

    /// How many times the rank was sent it.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The rank that is to be asked, whatever else is known of who serves it.
    pub const fn resend(&self) -> Option<u32> {
        self.resend
    }

    const fn is_waiting(&self) -> bool {
        matches!(
            self.state,
            RequestState::WaitsForMap | RequestState::WaitsForSession(_)
        )
    }

    // ----- choosing a rank -----

    /// There is no rank to ask before another map comes.
    pub fn wait_for_map(&mut self) {
        if self.is_waiting() {
            self.state = RequestState::WaitsForMap;
        }
    }

    /// The session with the rank is not usable yet. The rank stays chosen.
    pub fn wait_for_session(&mut self, rank: u32) {
        if self.is_waiting() {
            self.state = RequestState::WaitsForSession(rank);
            self.resend = Some(rank);
        }
    }

    /// The rank is asked. False if another is, or nobody has to be.
    pub fn choose(&mut self, rank: u32) -> bool {
        let chosen = self.is_waiting();
        if chosen {
            self.state = RequestState::Sending(rank);
        }
        chosen
    }

    /// The message is about to be queued for the rank, whose session has the features: what
    /// it says. `None` if the request was moved meanwhile.
    ///
    /// # Errors
    ///
    /// [`emultihop`] if it was sent more often than the rank can count.
    pub fn sending(&self, rank: u32, features: Features) -> Result<Option<Counts>> {
        if self.state != RequestState::Sending(rank) {
            return Ok(None);
        }
        let most = match features.has(Features::RETRY_FWD_32) {
            true => u32::MAX,
            false => 0x100,
        };
        if self.attempts >= most {
            return Err(emultihop());
        }
        Ok(Some(Counts {
            num_retry: self.attempts,
            num_fwd: self.forwards,
        }))
    }

    /// The message is queued for the rank. False, and it must not be, if the request was
    /// moved meanwhile.
    #[must_use]
    pub fn sent(&mut self, rank: u32) -> bool {
        let sent = self.state == RequestState::Sending(rank);
        if sent {
            self.state = RequestState::Sent(rank);
            self.attempts = self.attempts.saturating_add(1);
            self.resend = None;
        }
        sent
    }

    // ----- what servers say -----

    /// A reply of the rank came, safe or unsafe.
    pub fn replied(&mut self, rank: u32, is_safe: bool) -> Reply {
        let reply = match self.state {
            RequestState::Sent(asked) if asked == rank => Reply::Answer,
            RequestState::Unsafe(asked) if asked == rank && is_safe => Reply::Commit,
            _ => return Reply::Stale,
        };
        self.state = match is_safe {
            true => RequestState::Over,
            false => RequestState::Unsafe(rank),
        };
        reply
    }

    /// The rank says that another is to be asked, and that this is the so manieth time.
    ///
    /// # Errors
    ///
    /// [`emultihop`] if the count does not grow, as it has wrapped around: the request has
    /// failed.
    pub fn forwarded(&mut self, rank: u32, to: u32, num_fwd: u32) -> Result<Next> {
        if self.state != RequestState::Sent(rank) {
            return Ok(Next::Stay);
        }
        if num_fwd <= self.forwards || num_fwd == u32::MAX {
            return Err(emultihop());
        }
        self.forwards = num_fwd;
        // That rank was not sent it yet.
        self.attempts = 0;
        self.resend = Some(to);
        Ok(self.again())
    }

    // ----- what happens to ranks -----

    /// It has to be sent again, unless nobody waits.
    fn again(&mut self) -> Next {
        if self.aborted {
            self.state = RequestState::Over;
            return Next::Forget;
        }
        self.state = RequestState::WaitsForMap;
        Next::Advance
    }

    /// Another map came.
    pub fn map_changed(&mut self) -> Next {
        match self.state {
            RequestState::WaitsForMap => Next::Advance,
            _ => Next::Stay,
        }
    }

    /// The session with the rank can be used.
    pub fn session_opened(&mut self, rank: u32) -> Next {
        match self.state {
            RequestState::WaitsForSession(chosen) if chosen == rank => self.again(),
            _ => Next::Stay,
        }
    }

    /// The session with the rank has ended, and its replies with it.
    pub fn session_lost(&mut self, rank: u32) -> Next {
        match self.state {
            RequestState::WaitsForSession(asked)
            | RequestState::Sending(asked)
            | RequestState::Sent(asked)
                if asked == rank =>
            {
                self.again()
            }
            RequestState::Unsafe(asked) if asked == rank => {
                self.state = RequestState::Over;
                Next::Lost
            }
            _ => Next::Stay,
        }
    }

    /// A daemon takes the rank over, and is about to be told what the client holds. If it has
    /// to do once more what may have been lost with its predecessor: what the message says.
    pub fn replay(&mut self, rank: u32) -> Option<Counts> {
        if self.state != RequestState::Unsafe(rank) {
            return None;
        }
        let counts = Counts {
            num_retry: self.attempts,
            num_fwd: self.forwards,
        };
        self.attempts = self.attempts.saturating_add(1);
        Some(counts)
    }

    /// The rank serves again, by a daemon that knows nothing of what its predecessor was
    /// asked.
    pub fn rank_serves(&mut self, rank: u32) -> Next {
        match self.state {
            RequestState::Unsafe(_) => Next::Stay,
            _ => self.session_lost(rank),
        }
    }

    // ----- the end -----

    /// Nobody waits for the answer any more. Whether that is the end of it; otherwise a reply
    /// is to come.
    pub fn abort(&mut self) -> bool {
        self.aborted = true;
        if self.is_waiting() {
            self.state = RequestState::Over;
        }
        self.state == RequestState::Over
    }

    /// It has failed. False if it was over before.
    pub fn fail(&mut self) -> bool {
        let was_over = self.state == RequestState::Over;
        self.state = RequestState::Over;
        !was_over
    }
}

#[kunit_tests(ceph_machine_request)]
mod tests {
    use super::*;

    const WIDE: Features = Features::SUPPORTED;
    const NARROW: Features = Features(0);

    fn sent(rank: u32) -> Request {
        let mut r = Request::new();
        send(&mut r, rank);
        r
    }

    fn send(r: &mut Request, rank: u32) {
        assert!(r.choose(rank));
        assert!(matches!(r.sending(rank, WIDE), Ok(Some(_))));
        assert!(r.sent(rank));
        assert_eq!(r.state(), RequestState::Sent(rank));
    }

    #[test]
    fn a_read_is_answered_once() {
        let mut r = Request::new();
        r.wait_for_session(1);
        assert_eq!(
            (r.state(), r.resend()),
            (RequestState::WaitsForSession(1), Some(1))
        );
        assert_eq!(r.map_changed(), Next::Stay);
        assert_eq!(r.session_opened(0), Next::Stay);
        assert_eq!(r.session_opened(1), Next::Advance);
        send(&mut r, 1);
        assert_eq!((r.attempts(), r.resend()), (1, None));
        assert_eq!(r.replied(0, true), Reply::Stale);
        assert_eq!(r.replied(1, true), Reply::Answer);
        assert_eq!(r.state(), RequestState::Over);
        assert_eq!(r.replied(1, true), Reply::Stale);
        assert!(!r.fail());
    }

    #[test]
    fn a_map_is_waited_for() {
        let mut r = Request::new();
        r.wait_for_map();
        assert_eq!(r.session_opened(0), Next::Stay);
        assert_eq!(r.session_lost(0), Next::Stay);
        assert_eq!(r.map_changed(), Next::Advance);
        assert!(r.choose(0));
        // Somebody else has it in hand.
        assert!(!r.choose(1));
        r.wait_for_map();
        r.wait_for_session(2);
        assert_eq!(r.state(), RequestState::Sending(0));
        assert_eq!(r.map_changed(), Next::Stay);
    }

    #[test]
    fn it_is_queued_once_for_each_choice() -> Result {
        let mut r = Request::new();
        assert!(r.choose(0));
        // The session ends before the message is made, and another rank is asked.
        assert_eq!(r.session_lost(0), Next::Advance);
        assert_eq!(r.sending(0, WIDE)?, None);
        assert!(!r.sent(0));
        assert_eq!(r.attempts(), 0);
        assert!(r.choose(1));
        assert!(r.sent(1));
        assert_eq!(r.sending(1, WIDE)?, None);
        assert!(!r.sent(1));
        assert_eq!(r.attempts(), 1);
        Ok(())
    }

    #[test]
    fn a_change_is_answered_and_then_safe() {
        let mut r = sent(0);
        assert_eq!(r.replied(0, false), Reply::Answer);
        assert_eq!(r.state(), RequestState::Unsafe(0));
        // Replayed, it may be answered again.
        assert_eq!(r.replay(1), None);
        for num_retry in 1..3 {
            let num_fwd = 0;
            assert_eq!(r.replay(0), Some(Counts { num_retry, num_fwd }));
        }
        assert_eq!(r.replied(0, false), Reply::Stale);
        assert_eq!(r.rank_serves(0), Next::Stay);
        assert_eq!(r.replied(1, true), Reply::Stale);
        assert_eq!(r.replied(0, true), Reply::Commit);
        assert_eq!(r.state(), RequestState::Over);
    }

    #[test]
    fn a_change_can_be_lost() {
        let mut r = sent(0);
        assert_eq!(r.replied(0, false), Reply::Answer);
        assert!(!r.abort());
        assert_eq!(r.session_lost(1), Next::Stay);
        assert_eq!(r.session_lost(0), Next::Lost);
        assert_eq!(r.state(), RequestState::Over);
    }

    #[test]
    fn it_is_sent_again_to_a_rank_that_is_back() -> Result {
        let mut r = sent(3);
        assert_eq!(r.replay(3), None);
        assert_eq!(r.rank_serves(2), Next::Stay);
        assert_eq!(r.rank_serves(3), Next::Advance);
        assert!(r.choose(3));
        let counts = r.sending(3, WIDE)?.ok_or(EINVAL)?;
        assert_eq!((counts.num_retry, counts.num_fwd), (1, 0));
        Ok(())
    }

    #[test]
    fn forwards_begin_anew_at_another_rank() -> Result {
        let mut r = sent(0);
        assert_eq!(r.forwarded(1, 2, 1)?, Next::Stay);
        assert_eq!(r.forwarded(0, 1, 1)?, Next::Advance);
        assert_eq!((r.attempts(), r.resend()), (0, Some(1)));
        // It came twice, or from a server that is not asked any more.
        assert_eq!(r.forwarded(0, 1, 1)?, Next::Stay);
        send(&mut r, 1);
        assert_eq!(r.forwarded(1, 0, 5)?, Next::Advance);
        assert!(r.choose(0));
        let counts = r.sending(0, WIDE)?.ok_or(EINVAL)?;
        assert_eq!((counts.num_retry, counts.num_fwd), (0, 5));
        Ok(())
    }

    #[test]
    fn a_count_of_forwards_that_does_not_grow_ends_it() -> Result {
        for count in [0, 3, u32::MAX] {
            let mut r = sent(0);
            assert_eq!(r.forwarded(0, 0, 3)?, Next::Advance);
            send(&mut r, 0);
            assert!(r.forwarded(0, 1, count).is_err_and(|e| e == emultihop()));
            assert!(r.fail());
        }
        // A server with 8 bits wraps around at 256.
        let mut r = sent(0);
        for count in 1..=256 {
            assert_eq!(r.forwarded(0, 0, count)?, Next::Advance);
            send(&mut r, 0);
        }
        assert!(r.forwarded(0, 0, 1).is_err());
        Ok(())
    }

    #[test]
    fn a_server_with_8_bits_is_asked_256_times() -> Result {
        let mut r = Request::new();
        for n in 0..256 {
            assert!(r.choose(0));
            let counts = r.sending(0, NARROW)?.ok_or(EINVAL)?;
            assert_eq!(counts.num_retry, n);
            assert!(r.sent(0));
            assert_eq!(r.rank_serves(0), Next::Advance);
        }
        assert!(r.choose(0));
        assert!(r.sending(0, NARROW).is_err_and(|e| e == emultihop()));
        assert!(r.sending(0, WIDE).is_ok());
        Ok(())
    }

    #[test]
    fn nothing_is_sent_for_nobody() -> Result {
        // Never sent.
        let mut r = Request::new();
        r.wait_for_session(1);
        assert!(r.abort());
        assert_eq!(r.session_opened(1), Next::Stay);
        assert!(!r.choose(1));
        // The reply is taken in.
        let mut r = sent(1);
        assert!(!r.abort());
        assert_eq!(r.replied(1, true), Reply::Answer);
        // No reply comes any more.
        let mut r = sent(1);
        assert!(!r.abort());
        assert_eq!(r.session_lost(1), Next::Forget);
        let mut r = sent(1);
        assert!(!r.abort());
        assert_eq!(r.forwarded(1, 0, 1)?, Next::Forget);
        // It is being sent: whoever does that finds out.
        let mut r = Request::new();
        assert!(r.choose(0));
        assert!(!r.abort());
        assert!(r.sent(0));
        assert_eq!(r.rank_serves(0), Next::Forget);
        // It was sent once, and waits to be sent again.
        let mut r = sent(1);
        assert_eq!(r.session_lost(1), Next::Advance);
        assert!(r.abort());
        Ok(())
    }

    #[test]
    fn a_failure_is_the_end() {
        let mut r = sent(1);
        assert!(r.fail());
        assert!(!r.fail());
        assert!(r.abort());
        assert_eq!(r.replied(1, true), Reply::Stale);
        assert_eq!(r.session_lost(1), Next::Stay);
    }
}
