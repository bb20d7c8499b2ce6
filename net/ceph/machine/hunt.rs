// SPDX-License-Identifier: GPL-2.0
//! Which monitor to talk to, and when to give up on it.
//!
//! ```text
//!            start()               found()
//!   Stopped ---------> Hunting ---------------> Settled
//!                      ^  |  ^                   |
//!                      '--'  '-------------------'
//!              tick(): nobody answered     lost(), or tick() when silent,
//!                                          or distrust()
//! ```
//!
//! The first monitor is any one, the next is any other one. While hunting, each
//! gets 3 s times a factor that doubles, up to ten, once there was a session; the
//! factor is halved with every tick of a session that is well.
use kernel::prelude::*;

/// Time for a monitor to answer while hunting, in ms (`CEPH_MONC_HUNT_INTERVAL`).
const HUNT_INTERVAL_MS: u32 = 3_000;
/// Time between two keepalives, in ms (`CEPH_MONC_PING_INTERVAL`).
const PING_INTERVAL_MS: u32 = 10_000;
/// A monitor that is silent for so long is lost, in ms (`CEPH_MONC_PING_TIMEOUT`, 30 s).
/// A keepalive leaves a little after its tick: the third tick after it shall see that it
/// was not answered.
pub const PING_TIMEOUT_MS: u32 = 3 * PING_INTERVAL_MS - 500;
const BACKOFF: u32 = 2;
const MAX_FACTOR: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stopped,
    Hunting,
    Settled,
}

/// What a tick asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing; do not tick again.
    Stopped,
    /// Close the session and open one with another monitor ([`Hunt::next`]).
    Reopen,
    /// The session is well: send a keepalive, renew what has to be renewed.
    Quiet,
}

/// The hunt for a monitor.
#[derive(Debug)]
pub struct Hunt {
    state: State,
    /// Index of the monitor in the list that [`Hunt::next`] was last given.
    current: Option<usize>,
    factor: u32,
    had_a_session: bool,
}

impl Hunt {
    /// Starts stopped.
    pub const fn new() -> Self {
        Self {
            state: State::Stopped,
            current: None,
            factor: 1,
            had_a_session: false,
        }
    }

    /// Picks one of `count` monitors, another than the current one if there is, and
    /// begins to hunt. `below` gives a random number below its argument.
    ///
    /// None if there is no monitor.
    pub fn next(&mut self, count: usize, below: impl FnOnce(u32) -> u32) -> Option<usize> {
        let old = self.current.filter(|old| *old < count && count > 1);
        let choices = count.checked_sub(usize::from(old.is_some()))?;
        if choices == 0 {
            return None;
        }
        let random = below(u32::try_from(choices).ok()?);
        let pick = usize::try_from(random).ok()?.min(choices.saturating_sub(1));
        let pick = match old {
            Some(old) if pick >= old => pick.saturating_add(1),
            _ => pick,
        };
        self.current = Some(pick);
        self.state = State::Hunting;
        if self.had_a_session {
            self.factor = self.factor.saturating_mul(BACKOFF).min(MAX_FACTOR);
        }
        Some(pick)
    }

    /// The monitor knows us now. Returns whether that ends a hunt.
    pub fn found(&mut self) -> bool {
        let ends = self.state == State::Hunting;
        if ends {
            self.state = State::Settled;
            self.had_a_session = true;
            self.calm();
        }
        ends
    }

    /// The connection is lost. Returns whether to go to another monitor now: while
    /// hunting the connection tries again by itself until the tick.
    pub fn lost(&self) -> bool {
        self.state == State::Settled
    }

    /// The monitor talks nonsense: the hunt begins anew, but not before the next tick,
    /// since the next monitor may well talk the same.
    pub fn distrust(&mut self) {
        if self.state == State::Settled {
            self.state = State::Hunting;
        }
    }

    /// The timer fired; `silent`: the monitor has not acknowledged a keepalive for
    /// [`PING_TIMEOUT_MS`].
    pub fn tick(&mut self, silent: bool) -> Tick {
        match self.state {
            State::Stopped => Tick::Stopped,
            State::Hunting => Tick::Reopen,
            State::Settled if silent => Tick::Reopen,
            State::Settled => {
                self.calm();
                Tick::Quiet
            }
        }
    }

    /// Nothing more happens until the next [`Hunt::next`].
    pub fn stop(&mut self) {
        self.state = State::Stopped;
        self.current = None;
    }

    /// The monitors have other indices now; none if the current one is not there.
    pub fn renumber(&mut self, current: Option<usize>) {
        self.current = current;
    }

    /// Whether it is about finding a monitor.
    pub fn is_hunting(&self) -> bool {
        self.state == State::Hunting
    }

    /// Whether it was stopped or never started.
    pub fn is_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Index of the current monitor.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// Time until the next tick, in ms.
    pub fn delay_ms(&self) -> u32 {
        match self.state {
            State::Hunting => HUNT_INTERVAL_MS.saturating_mul(self.factor),
            _ => PING_INTERVAL_MS,
        }
    }

    fn calm(&mut self) {
        self.factor = (self.factor / BACKOFF).max(1);
    }
}

impl Default for Hunt {
    fn default() -> Self {
        Self::new()
    }
}

#[kunit_tests(ceph_machine_hunt)]
mod tests {
    use super::*;

    #[test]
    fn another_monitor_each_time() {
        let mut hunt = Hunt::new();
        assert_eq!(hunt.next(0, |_| 0), None);
        assert_eq!(hunt.next(3, |max| max - 1), Some(2));
        // Two are left, and the one that is skipped is the current one.
        assert_eq!(hunt.next(3, |max| max - 1), Some(1));
        assert_eq!(hunt.next(3, |_| 1), Some(2));
        assert_eq!(hunt.next(3, |_| 0), Some(0));
        assert_eq!(hunt.next(3, |_| 0), Some(1));
        // The map has shrunk.
        assert_eq!(hunt.next(1, |max| max - 1), Some(0));
        assert_eq!(hunt.next(1, |max| max - 1), Some(0));
        hunt.renumber(None);
        assert_eq!(hunt.next(2, |_| 0), Some(0));
    }

    #[test]
    fn every_other_monitor_can_be_picked() {
        for old in 0..5 {
            let mut seen = [false; 5];
            for random in 0..4 {
                let mut hunt = Hunt::new();
                hunt.renumber(Some(old));
                if let Some(pick) = hunt.next(5, |_| random) {
                    seen[pick] = true;
                }
            }
            assert_eq!(seen.iter().filter(|s| **s).count(), 4);
            assert!(!seen[old]);
        }
    }

    #[test]
    fn backs_off_and_calms_down() {
        let mut hunt = Hunt::new();
        assert_eq!(hunt.tick(false), Tick::Stopped);
        hunt.next(3, |_| 0);
        for _ in 0..9 {
            // Never had a session: no back-off.
            assert_eq!((hunt.tick(false), hunt.delay_ms()), (Tick::Reopen, 3_000));
            hunt.next(3, |_| 0);
        }
        assert!(!hunt.lost());
        assert!(hunt.found() && !hunt.found());
        assert!(hunt.lost());
        assert_eq!(hunt.delay_ms(), 10_000);
        assert_eq!(hunt.tick(true), Tick::Reopen);
        for seconds in [6, 12, 24, 30, 30] {
            hunt.next(3, |_| 0);
            assert_eq!(hunt.delay_ms(), seconds * 1_000);
        }
        hunt.found();
        for _ in 0..4 {
            assert_eq!(hunt.tick(false), Tick::Quiet);
        }
        hunt.next(3, |_| 0);
        assert_eq!(hunt.delay_ms(), 6_000);
        hunt.found();
        hunt.distrust();
        assert!(hunt.is_hunting() && !hunt.lost());
        assert_eq!(hunt.delay_ms(), 3_000);
        assert_eq!(hunt.tick(false), Tick::Reopen);
        hunt.stop();
        hunt.distrust();
        assert_eq!((hunt.tick(true), hunt.current()), (Tick::Stopped, None));
    }
}
