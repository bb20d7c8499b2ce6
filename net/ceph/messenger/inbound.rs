// SPDX-License-Identifier: GPL-2.0
//! What comes in from the socket: to the protocol machine, and past it to destinations that
//! are lent.
use kernel::{prelude::*, sync::Arc, time::Jiffies};
use kernel_ext::{
    iov::IovDest,
    net::{SkbChunk, Socket},
    time,
};

use ceph_proto::machine::{
    msgr2::{Action, Began, Body, Fault, Segments, LONG_MESSAGE},
    protocol::Machine,
};
use ceph_proto::wire::msgr2::{EPILOGUE_LEN, FRAME_HEAD_LEN};

use super::{
    budget::{Budget, Charge},
    crypto::KernelCrypto,
    message::{Header, Incoming},
    ops::Alloc,
    shared::{Shared, State},
};

/// What is small is read from copies of what has come in: as much as a frame mostly takes
/// without its data, within these bounds in bytes.
const WINDOW: usize = 128;
/// More is never copied at once.
const WINDOW_MAX: usize = 4096;

/// How long a message may take that has a share of the budget, in seconds: others may wait
/// for it.
const CHARGED_FOR: u64 = 120;
/// How often a message that waits for a share asks again, in milliseconds.
const ASK_AGAIN: u64 = 50;

/// A posted destination that is being filled.
struct Lent {
    /// Number of the reply.
    tid: u64,
    dest: IovDest,
}

/// The receiving half of a connection.
pub(super) struct Inbound {
    /// For copies of what has come in.
    staging: KVVec<u8>,
    /// How many bytes of the next message to copy, as those before were.
    window: usize,
    /// Where the data of the message goes that is being received.
    lent: Option<Lent>,
    /// That message is thrown away, and nobody hears of it.
    skipping: bool,
    /// Messages of ours up to this number were acknowledged.
    acknowledged: u64,
    share: Share,
}

/// The message that is being received, and its share of the budget.
enum Share {
    /// It needs none.
    None,
    /// It waits for one of so many bytes.
    Awaited(usize),
    /// It has one, and must be complete by then.
    Charged { charge: Charge, until: Jiffies },
}

/// What ended the reading.
pub(super) enum Met {
    /// There is nothing more now; whether there was anything.
    End { any: bool },
    /// The machine wants something.
    Action(Action),
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self {
            staging: KVVec::new(),
            window: 1024,
            lent: None,
            skipping: false,
            acknowledged: 0,
            share: Share::None,
        }
    }

    /// The socket is gone.
    pub(super) fn fault<O: Unpin>(&mut self, shared: &Shared<O>) {
        self.skipping = false;
        self.share = Share::None;
        self.give_back(&mut shared.lock());
    }

    /// The reply that is being received breaks off: where it goes is posted again.
    pub(super) fn give_back<O: Unpin>(&mut self, state: &mut State<O>) {
        if let Some(Lent { tid, mut dest }) = self.lent.take() {
            dest.rewind();
            state.give_back(tid, dest);
        }
    }

    /// The peer has forgotten the session.
    pub(super) fn peer_reset(&mut self) {
        self.acknowledged = 0;
    }

    /// Takes back what is lent for the message `tid`, the rest of which is thrown away.
    pub(super) fn take_lent(&mut self, machine: Option<&mut Machine>, tid: u64) -> Option<IovDest> {
        let lent = self.lent.take_if(|lent| lent.tid == tid)?;
        if let Some(machine) = machine {
            machine.skip();
        }
        self.skipping = true;
        Some(lent.dest)
    }

    /// Reads from the socket up to the next action that needs more than this.
    pub(super) fn receive<O: Unpin>(
        &mut self,
        sock: &Socket,
        machine: &mut Machine,
        shared: &Shared<O>,
    ) -> Result<Met, Fault> {
        let mut intake = Intake {
            inbound: self,
            machine,
            shared,
            met: None,
            fault: None,
        };
        let taken = sock.read_sock(&mut |chunk| intake.take(chunk));
        if let Some(fault) = intake.fault {
            return Err(fault);
        }
        let met = intake.met;
        let taken = taken.map_err(|error| Fault {
            error,
            why: "read error",
        })?;
        Ok(match met {
            Some(action) => Met::Action(action),
            None => Met::End { any: taken > 0 },
        })
    }

    /// The owner's answer to where a message shall go.
    pub(super) fn begin_body(&mut self, machine: &mut Machine, header: &Header, alloc: Alloc) {
        self.skipping = matches!(alloc, Alloc::Skip);
        match alloc {
            Alloc::Skip => machine.body(Body::Skip),
            Alloc::Accept => self.collect(machine, header.len()),
        }
    }

    /// The message takes so many bytes of ours.
    fn collect(&mut self, machine: &mut Machine, len: usize) {
        if len > LONG_MESSAGE {
            self.share = Share::Awaited(len);
        } else {
            self.read_body(machine);
        }
    }

    fn read_body(&self, machine: &mut Machine) {
        machine.body(match self.lent {
            Some(_) => Body::Divert,
            None => Body::Collect,
        });
    }

    /// Data goes straight to `dest`.
    fn divert(
        &mut self,
        machine: &mut Machine,
        header: &Header,
        dest: IovDest,
    ) -> Result<(), Fault> {
        let (tid, room) = (header.tid, dest.remaining());
        self.lent = Some(Lent { tid, dest });
        if room < header.data_len {
            return Err(Fault::protocol("protocol error, more data than asked for"));
        }
        self.collect(machine, header.front_len.saturating_add(header.middle_len));
        Ok(())
    }

    /// Looks after the share of the message that is being received. Returns after which time
    /// to come again; if `Some`, nothing can be read until then.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` for a message that has its share for too long.
    #[inline]
    pub(super) fn obtain_share(
        &mut self,
        machine: &mut Machine,
        budget: &Arc<Budget>,
    ) -> Result<Option<Jiffies>, Fault> {
        match &self.share {
            Share::None => Ok(None),
            Share::Awaited(len) => {
                let Some(charge) = budget.charge(*len) else {
                    return Ok(Some(time::msecs(ASK_AGAIN)));
                };
                let until = time::jiffies().wrapping_add(time::secs(CHARGED_FOR));
                self.share = Share::Charged { charge, until };
                self.read_body(machine);
                Ok(None)
            }
            Share::Charged { until, .. } if time::reached(*until) => {
                Err(Fault::timeout("message does not come to its end"))
            }
            Share::Charged { .. } => Ok(None),
        }
    }

    /// When the message that is being received must be complete, if it has to be.
    pub(super) fn share_ends_in(&self) -> Option<Jiffies> {
        match &self.share {
            Share::Charged { until, .. } => Some(until.wrapping_sub(time::jiffies())),
            _ => None,
        }
    }

    /// A message is complete. Whether anybody wants to hear of it.
    pub(super) fn complete<O: Unpin>(&mut self, machine: &Machine, shared: &Shared<O>) -> bool {
        let (head, _) = machine.head();
        self.acknowledge(machine, shared, head.ack_seq);
        let wanted = !core::mem::take(&mut self.skipping);
        if !wanted {
            self.share = Share::None;
        }
        wanted
    }

    /// The message that is complete.
    #[inline]
    pub(super) fn take_message(&mut self, machine: &mut Machine) -> Incoming {
        let Segments {
            front,
            middle,
            data,
        } = machine.take_segments();
        let (head, lens) = machine.head();
        self.expect_like(lens);
        let charge = match core::mem::replace(&mut self.share, Share::None) {
            Share::Charged { charge, .. } => Some(charge),
            _ => None,
        };
        Incoming {
            header: Header::new(head, lens),
            front,
            middle,
            data,
            dest: self.lent.take().map(|lent| lent.dest),
            _charge: charge,
        }
    }

    /// The next message may be as long as this one, or as those before, which count less and
    /// less.
    #[inline]
    fn expect_like(&mut self, [front, middle, _]: [u32; 3]) {
        let len = FRAME_HEAD_LEN + EPILOGUE_LEN + front as usize + middle as usize;
        let window = self.window.max(len);
        self.window = (window - (window - len) / 8).clamp(WINDOW, WINDOW_MAX);
    }

    /// The call for a message does not take place: what it has is lent again.
    pub(super) fn put_back(&mut self, msg: Incoming) {
        let tid = msg.header.tid;
        self.lent = msg.dest.map(|dest| Lent { tid, dest });
    }

    /// The peer has received the messages up to `seq`.
    pub(super) fn acknowledge<O: Unpin>(
        &mut self,
        machine: &Machine,
        shared: &Shared<O>,
        seq: u64,
    ) {
        // Nothing is kept of a lossy session.
        if seq > self.acknowledged && !machine.is_lossy() {
            self.acknowledged = seq;
            let messages = shared.acknowledge(seq);
            drop(messages);
        }
    }
}

/// What the intake works with, for as long as the socket's lock is held.
struct Intake<'a, O> {
    inbound: &'a mut Inbound,
    machine: &'a mut Machine,
    shared: &'a Shared<O>,
    /// What ends the intake for now.
    met: Option<Action>,
    fault: Option<Fault>,
}

impl<O: Unpin> Intake<'_, O> {
    /// Takes what it can of a run of bytes.
    ///
    /// # Errors
    ///
    /// Why the socket cannot be read, or any if there is [`Self::fault`].
    fn take(&mut self, chunk: &mut SkbChunk<'_>) -> Result {
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
        let Some(lent) = self.inbound.lent.as_mut() else {
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
        let staging = &mut self.inbound.staging;
        staging.clear();
        let wants = self.machine.wants();
        let most = match self.machine.is_receiving() {
            true => wants,
            false => wants.max(self.inbound.window),
        };
        chunk.peek(staging, most.min(WINDOW_MAX))?;
        if let Some((taken, began)) = self.machine.feed_message(&KernelCrypto, staging) {
            chunk.skip(taken);
            return match began {
                Began::Whole => self.heed(Some(Action::Message)),
                Began::Head => self.heed(Some(Action::Head)),
                Began::Body => Ok(()),
            };
        }
        match self.machine.feed(&KernelCrypto, staging) {
            Ok((taken, action)) => {
                chunk.skip(taken);
                self.heed(action)
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn go_on(&mut self) -> Result {
        match self.machine.go_on(&KernelCrypto) {
            Ok(action) => self.heed(action),
            Err(fault) => self.fail(fault),
        }
    }

    fn heed(&mut self, action: Option<Action>) -> Result {
        match action {
            Some(Action::Head) => return self.head(),
            Some(Action::Acked(seq)) => {
                self.inbound.acknowledge(self.machine, self.shared, seq);
            }
            action => self.met = action,
        }
        Ok(())
    }

    /// A message begins whose owner has mostly said where its data goes.
    fn head(&mut self) -> Result {
        let (head, lens) = self.machine.head();
        let (tid, kind) = (head.tid, head.kind);
        let lent = self.shared.lock().lend(tid, kind);
        let Some(dest) = lent else {
            self.met = Some(Action::Head);
            return Ok(());
        };
        let header = Header::new(head, lens);
        match self.inbound.divert(self.machine, &header, dest) {
            Ok(()) => Ok(()),
            Err(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) -> Result {
        self.fault = Some(fault);
        Err(EINVAL)
    }
}

#[kunit_tests(ceph_messenger_inbound)]
mod tests {
    use super::*;
    use ceph_proto::machine::protocol::Version;
    use ceph_proto::wire::{
        msgr2::MessageHead,
        types::{EntityAddr, EntityName, EntityType},
    };

    fn machine() -> Machine {
        let (kind, num) = (EntityType::OSD, 1);
        let name = EntityName { kind, num };
        Machine::new(Version::V2, name, EntityAddr::BLANK, true)
    }

    fn header(tid: u64, data_len: u32) -> Header {
        let head = MessageHead {
            tid,
            ..MessageHead::default()
        };
        Header::new(&head, [0, 0, data_len])
    }

    #[test]
    fn more_data_than_asked_for_is_a_fault() -> Result {
        for (room, good) in [(100, true), (101, true), (99, false)] {
            let (mut inbound, mut machine) = (Inbound::new(), machine());
            let dest = IovDest::with_len(room)?;
            let begun = inbound.divert(&mut machine, &header(7, 100), dest);
            assert_eq!(begun.is_ok(), good);
            // Either way it can be had back, by its number, once.
            assert!(inbound.take_lent(Some(&mut machine), 8).is_none());
            assert!(inbound.take_lent(Some(&mut machine), 7).is_some());
            assert!(inbound.take_lent(Some(&mut machine), 7).is_none());
        }
        Ok(())
    }

    #[test]
    fn a_long_message_waits_for_its_share() -> Result {
        let budget = Budget::new()?;
        let all = budget.charge(128 << 20).ok_or(EINVAL)?;
        let (mut inbound, mut machine) = (Inbound::new(), machine());
        inbound.begin_body(&mut machine, &header(7, 1 << 20), Alloc::Accept);
        let waits = |inbound: &mut Inbound, machine: &mut Machine| {
            let share = inbound.obtain_share(machine, &budget);
            share.map_err(|fault| fault.error)
        };
        assert!(waits(&mut inbound, &mut machine)?.is_some());
        drop(all);
        assert!(waits(&mut inbound, &mut machine)?.is_none());
        assert!(inbound.share_ends_in().is_some());
        // The message has it for as long as it is kept.
        let msg = inbound.take_message(&mut machine);
        assert!(inbound.share_ends_in().is_none());
        assert!(budget.charge(128 << 20).is_none());
        drop(msg);
        assert!(budget.charge(128 << 20).is_some());
        Ok(())
    }
}
