// SPDX-License-Identifier: GPL-2.0
//! The life of a request to an object.
//!
//! ```text
//!    new
//!     |                map(): no OSD has it
//!     v                homeless(): no session
//!  Homeless <-------------------------------------------+
//!     |                                                 |
//!     | map(): an OSD has it        sent()              |
//!     +----------------------> Unsent ----> Sent -------+
//!     |                        | ^  ^         |         |
//!     | map(): flags,          | |  '---------' map(): another interval; redirect,
//!     v epoch barrier          | |               "ask the primary"; unblock(); reset()
//!   Paused ------ map() -------|-+
//!                   back_off() | | unblock(), reset()
//!                              v |
//!                           BackedOff
//!
//!   any of these ---- map(): no pool ----> AskingPool ---- map(): a pool ----> as from new
//!                                              |
//!                         confirmed(), map():  | no map that the monitors have got
//!                                              v has the pool
//!   any ------------- fail() ---------------> Ending ---- end() ----> Ended
//!   any but Ended --- reply() --------------------------------------> Ended
//! ```
//!
//! *Unsent* is a moment, unless there is no memory for the message, or no session yet.
//! *Ending* is one, too: until nobody else has the request's memory. A reply that comes
//! meanwhile counts.
use kernel::prelude::*;

use super::osd_target::{Context, Outcome, Target};
use crate::wire::osd::{flag, OpResults, OpVec, OsdOp, OsdOpReply};
use crate::wire::osdmap::OsdMap;
use crate::wire::types::Timespec;

/// Where a request is in its life; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No OSD has the object, or there is no session with the one that has it.
    Homeless,
    /// The map does not have the pool.
    AskingPool(PoolCheck),
    /// The map forbids that it is sent, or a newer one has to come first.
    Paused,
    /// The OSD wants no requests for the object now.
    BackedOff,
    /// Nothing forbids that it is sent.
    Unsent,
    /// The OSD has it, or will.
    Sent,
    /// It shall end with this error.
    Ending(Error),
    /// It has its answer.
    Ended,
}

/// Whether a pool that the map does not have does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolCheck {
    /// The monitors have to be asked for the epoch of their newest map.
    Due,
    /// They have been.
    Asked,
    /// If the map of this epoch does not have the pool either, it does not exist
    /// (`r_map_dne_bound`).
    Bound(u32),
}

/// What a map, or a reply, means for who keeps the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays where it is.
    Stay,
    /// It goes to the session with [`Request::osd`], to be sent from there.
    Place,
    /// It is to be ended with this error.
    End(Error),
}

/// What a reply means.
#[derive(Clone, Copy, Debug)]
pub enum Answered {
    /// It is to an earlier sending; the right one will follow.
    Stale,
    /// As [`Verdict::Place`].
    Place,
    /// The request is over.
    Over(Result<OpResults>),
    /// The same, with an error; and the reply makes no sense.
    Corrupt,
}

/// A request to an object. See the module.
pub struct Request {
    target: Target,
    ops: OpVec,
    snap: u64,
    state: State,
    /// How many times it was sent.
    attempts: u32,
}

impl Request {
    /// A request that no map was seen for. The flags of the target say whether it reads or
    /// writes.
    pub const fn new(target: Target, ops: OpVec, snap: u64) -> Self {
        Self {
            target,
            ops,
            snap,
            state: State::Homeless,
            attempts: 0,
        }
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// Where it goes.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What it does.
    pub fn ops(&self) -> &OpVec {
        &self.ops
    }

    /// How many times it was sent.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The OSD whose session it belongs to, if that is known.
    pub fn osd(&self) -> Option<i32> {
        match self.state {
            State::Homeless | State::AskingPool(_) => None,
            _ => Some(self.target.osd).filter(|osd| *osd >= 0),
        }
    }

    /// Whether it waits for a map rather than for an OSD.
    pub fn waits_for_map(&self) -> bool {
        matches!(
            self.state,
            State::Homeless | State::AskingPool(_) | State::Paused
        )
    }

    /// Takes a map into account. A request is to see each epoch; if it has not, intervals may
    /// have come and gone, and it is sent again.
    pub fn map(&mut self, map: &OsdMap, context: &Context<'_>) -> Verdict {
        match self.state {
            State::Ending(error) => return Verdict::End(error),
            State::Ended => return Verdict::Stay,
            _ => {}
        }
        let before = self.target.epoch;
        let skipped = before > 0 && before.saturating_add(1) < map.epoch;
        let news = match self.target.update(map, context) {
            Outcome::PoolGone => return self.pool_gone(),
            // It stays as it is, and the next look at the same map is as this one.
            Outcome::NoMemory => return Verdict::Stay,
            Outcome::Send => true,
            Outcome::Unchanged => skipped,
        };
        if !map.osd_is_up(self.target.osd) {
            return match self.state {
                State::Homeless if !news => Verdict::Stay,
                _ => self.go(State::Homeless),
            };
        }
        let pauses = self.target.should_pause(map, context.barrier);
        match self.state {
            // What has been sent is not taken back.
            State::Sent if !news => Verdict::Stay,
            State::Paused if !news && pauses => Verdict::Stay,
            State::BackedOff | State::Unsent if !news && !pauses => Verdict::Stay,
            _ if pauses => self.go(State::Paused),
            _ => self.go(State::Unsent),
        }
    }

    fn go(&mut self, state: State) -> Verdict {
        self.state = state;
        Verdict::Place
    }

    fn pool_gone(&mut self) -> Verdict {
        match self.state {
            // It was there before.
            _ if self.attempts > 0 => self.fail(ENOENT),
            State::AskingPool(PoolCheck::Bound(epoch)) if self.target.epoch >= epoch => {
                self.fail(ENOENT)
            }
            State::AskingPool(_) => Verdict::Stay,
            _ => self.go(State::AskingPool(PoolCheck::Due)),
        }
    }

    /// The monitors are being asked for the epoch of their newest map, for
    /// [`PoolCheck::Due`].
    pub fn asked(&mut self) {
        if self.state == State::AskingPool(PoolCheck::Due) {
            self.state = State::AskingPool(PoolCheck::Asked);
        }
    }

    /// The monitors have said what the epoch of their newest map is, or could not be asked.
    /// If the request has got a pool meanwhile, that is of no interest, even if it has no OSD.
    pub fn confirmed(&mut self, newest: Result<u32>) -> Verdict {
        if self.state != State::AskingPool(PoolCheck::Asked) {
            return Verdict::Stay;
        }
        self.state = State::AskingPool(match newest {
            Ok(epoch) => PoolCheck::Bound(epoch),
            Err(_) => PoolCheck::Due,
        });
        match newest {
            // By the map that the request was last looked at with.
            Ok(epoch) if self.target.epoch >= epoch => self.fail(ENOENT),
            _ => Verdict::Stay,
        }
    }

    /// There is no session with the OSD that has the object: there is no map, or no memory.
    pub fn homeless(&mut self) {
        if let State::Unsent | State::Paused | State::BackedOff | State::Sent = self.state {
            self.state = State::Homeless;
        }
    }

    /// Whether it shall be sent now, if the OSD is willing.
    pub fn may_be_sent(&self) -> bool {
        matches!(self.state, State::Unsent)
    }

    /// The OSD has said that it wants no request for the object.
    pub fn back_off(&mut self) {
        if self.state == State::Unsent {
            self.state = State::BackedOff;
        }
    }

    /// The OSD wants requests for the object again. What it was sent meanwhile, and before, it
    /// has dropped.
    pub fn unblock(&mut self) {
        self.reset();
    }

    /// The session is a new one: what was sent is lost, and so are backoffs.
    pub fn reset(&mut self) {
        if let State::Sent | State::BackedOff = self.state {
            self.state = State::Unsent;
        }
    }

    /// The front of the message for the current target.
    ///
    /// # Errors
    ///
    /// As [`OsdOp::encode`].
    pub fn encode(&self) -> Result<KVVec<u8>> {
        let retry = if self.attempts > 0 { flag::RETRY } else { 0 };
        OsdOp {
            spg: self.target.spg,
            hash: self.target.hash.seed,
            epoch: self.target.epoch,
            flags: self.target.flags | retry,
            mtime: Timespec::default(),
            pool: self.target.pool,
            namespace: self.target.namespace(),
            object: self.target.object(),
            ops: &self.ops,
            snap: self.snap,
            attempts: self.attempts,
        }
        .encode()
    }

    /// Its message is on its way.
    pub fn sent(&mut self) {
        if self.state == State::Unsent {
            self.attempts = self.attempts.saturating_add(1);
            self.state = State::Sent;
        }
    }

    /// A reply came, whole, with so many bytes of data.
    pub fn reply(&mut self, front: &[u8], version: u16, data_len: usize) -> Answered {
        if self.state == State::Ended {
            return Answered::Stale;
        }
        let Ok(reply) = OsdOpReply::decode(front, version, self.target.namespace()) else {
            self.state = State::Ended;
            return Answered::Corrupt;
        };
        let sendings = u32::try_from(reply.attempt).map(|n| n.saturating_add(1));
        if self.attempts == 0 || sendings.is_ok_and(|n| n != self.attempts) {
            return Answered::Stale;
        }
        let elsewhere = match reply.redirect {
            Some(pool) => Some(Some(pool)),
            None if reply.result == EAGAIN.to_errno() => Some(None),
            None => None,
        };
        match (elsewhere, self.state) {
            (Some(_), State::Ending(error)) => {
                self.state = State::Ended;
                return Answered::Over(Err(error));
            }
            (Some(pool), _) => {
                match pool {
                    Some(pool) => self.target.redirected(pool),
                    None => self.target.ask_primary(),
                }
                // As if it were new: by the map it is found again.
                self.state = State::Homeless;
                return Answered::Place;
            }
            (None, _) => {}
        }
        self.state = State::Ended;
        let fits = reply.ops.len() == self.ops.count()
            && usize::try_from(reply.ops.data_len()) == Ok(data_len);
        match reply.result {
            _ if !fits => Answered::Corrupt,
            0.. => Answered::Over(Ok(reply.ops)),
            // Beyond are numbers that mean something inside of the kernel alone.
            number @ -511..=-1 => Answered::Over(Err(Error::from_errno(number))),
            _ => Answered::Over(Err(EIO)),
        }
    }

    /// It shall end with this error, unless it has ended, or another one was first.
    pub fn fail(&mut self, error: Error) -> Verdict {
        match self.state {
            State::Ended => return Verdict::Stay,
            State::Ending(first) => return Verdict::End(first),
            _ => {}
        }
        self.state = State::Ending(error);
        Verdict::End(error)
    }

    /// Nobody else has its memory any more. Returns what it ends with.
    pub fn end(&mut self) -> Error {
        match core::mem::replace(&mut self.state, State::Ended) {
            State::Ending(error) => error,
            _ => EIO,
        }
    }
}
