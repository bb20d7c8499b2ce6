// SPDX-License-Identifier: GPL-2.0
//! What comes in from the socket: to the protocol machine, and past it to lent
//! destinations.
use kernel::prelude::*;
use kernel_ext::net::SkbChunk;

use ceph_proto::machine::msgr2::{Action, Began, Fault, Machine};

use super::{
    connection::{Connection, Lent},
    crypto::KernelCrypto,
};

/// What is small is read from copies of so many bytes of what has come in: mostly a whole
/// frame, or all of it but the data.
const WINDOW: usize = 1024;
/// The same where more is known to be missing.
const WINDOW_MAX: usize = 4096;

/// What the intake works with, for as long as the socket's lock is held.
pub(super) struct Intake<'a> {
    pub(super) con: &'a Connection,
    pub(super) machine: &'a mut Machine,
    pub(super) lent: &'a mut Option<Lent>,
    /// For the copies.
    pub(super) staging: &'a mut KVVec<u8>,
    /// Messages of the session up to this number were acknowledged.
    pub(super) acknowledged: &'a mut u64,
    /// What ends the intake for now.
    pub(super) met: Option<Action>,
    pub(super) fault: Option<Fault>,
}

impl Intake<'_> {
    /// Takes what it can of a run of bytes.
    ///
    /// # Errors
    ///
    /// Why the socket cannot be read, or any if there is [`Self::fault`].
    pub(super) fn take(&mut self, chunk: &mut SkbChunk<'_>) -> Result {
        while self.met.is_none() && !chunk.is_empty() {
            let diverted = self.machine.diverted();
            if diverted > 0 {
                self.data(chunk, diverted)?;
            } else if let Some((vec, most)) = self.machine.room() {
                let taken = chunk.copy_to_vec(vec, most)?;
                self.machine.filled(taken);
                if taken == most {
                    self.go_on()?;
                }
            } else if self.machine.wants() == 0 {
                // Until somebody answers.
                break;
            } else {
                self.frames(chunk)?;
            }
        }
        if self.met.is_some() {
            // What comes next waits, and so does the next run.
            chunk.stop();
        }
        Ok(())
    }

    /// Data of a message, to where its owner wants it.
    fn data(&mut self, chunk: &mut SkbChunk<'_>, diverted: usize) -> Result {
        let Some(lent) = self.lent.as_mut() else {
            self.machine.skip();
            return Ok(());
        };
        let mut crc = self.machine.data_crc();
        let sum = self.machine.verifies_data().then_some(&mut crc);
        let taken = chunk.copy_to_iov(&mut lent.dest, diverted, sum)?;
        self.machine.data_taken(taken, crc);
        match taken == diverted {
            true => self.go_on(),
            false => Ok(()),
        }
    }

    /// All that is small.
    fn frames(&mut self, chunk: &mut SkbChunk<'_>) -> Result {
        self.staging.clear();
        let wants = self.machine.wants();
        chunk.peek(self.staging, wants.clamp(WINDOW, WINDOW_MAX))?;
        if let Some((taken, began)) = self.machine.feed_message(&KernelCrypto, self.staging) {
            chunk.skip(taken);
            match began {
                Began::Whole => self.met = Some(Action::Message),
                Began::Head => self.met = Some(Action::Head),
                Began::Body => {}
            }
            return Ok(());
        }
        match self.machine.feed(&KernelCrypto, self.staging) {
            Ok((taken, action)) => {
                chunk.skip(taken);
                self.heed(action);
                Ok(())
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn go_on(&mut self) -> Result {
        match self.machine.go_on(&KernelCrypto) {
            Ok(action) => {
                self.heed(action);
                Ok(())
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn heed(&mut self, action: Option<Action>) {
        match action {
            Some(Action::Acked(seq)) => acknowledge(self.con, self.acknowledged, seq),
            action => self.met = action,
        }
    }

    fn fail(&mut self, fault: Fault) -> Result {
        self.fault = Some(fault);
        Err(EINVAL)
    }
}

/// The peer has received the messages up to `seq`.
pub(super) fn acknowledge(con: &Connection, acknowledged: &mut u64, seq: u64) {
    if seq > *acknowledged {
        *acknowledged = seq;
        let messages = con.shared.lock().queue.acknowledge(seq);
        drop(messages);
    }
}
