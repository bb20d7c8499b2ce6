// SPDX-License-Identifier: GPL-2.0
//! The work of a connection: moves bytes between the socket, the protocol machine,
//! the queue and lent destinations, and calls the owner.
//!
//! ```text
//!           open()              socket made         socket connected
//!   Closed --------> Preopen ------------> Connecting -----------> Online
//!     ^                ^ ^                     |                     |
//!     |                | |       fault         |       fault         |
//!     |                | +------ Backoff <-----+---------------------+
//!     |                |   time is up                                |
//!     |                |                    fault, lossless and idle |
//!     |                +------- Standby <----------------------------+
//!     |                 something to send                            |
//!     |                                   fault, lossy, established  |
//!     +--------------------------------------------------------------+
//! ```
//!
//! `close()` leads to Closed from anywhere. An idle session is taken up again, too:
//! the peer may have a reply for us. Only when that has failed for so long that the
//! pauses are at their longest does it wait for something to send.
use kernel::{
    prelude::*,
    sync::{
        lock::{mutex::MutexBackend, Guard},
        Arc,
    },
    time::Jiffies,
};
use kernel_ext::{
    alloc_scope::NoIo,
    net::{Socket, TcpState},
    random, time,
    workqueue::{DelayedTask, TaskHandler},
};

use ceph_proto::errno::{econnreset, eprotonosupport};
use ceph_proto::machine::msgr2::{Action, Body, Fault, Identity, Machine, Segments};
use ceph_proto::wire::features;
use ceph_proto::wire::msgr2::CON_MODE_CRC;
use ceph_proto::wire::types::{EntityAddr, EntityName, EntityType};

use crate::log::{error, info, warning};

use super::{
    calls::{alloc, auth_fault, dispatch, perform, Call, CORRUPT},
    connection::{Connection, Lent, Policy, Waker},
    crypto::KernelCrypto,
    intake::{acknowledge, Intake},
    keepalive::{now, sent_at},
    message::{Header, Incoming, Message},
    ops::{Alloc, Broken, ConnectionOps},
    outgoing::Sending,
    FEATURES_SUPPORTED,
};

/// First pause after a fault in milliseconds; it doubles with each fault up to
/// [`DELAY_MAX`], until a session is established.
const DELAY_BASE: u64 = 250;
/// Longest pause in milliseconds.
const DELAY_MAX: u64 = 15_000;
/// Callbacks, and turns without one, after which the work lets others run.
const BUDGET: usize = 64;

/// See the module.
enum Life {
    Closed,
    Preopen,
    Connecting(Socket),
    Online(Socket),
    Backoff { until: Jiffies },
    Standby,
}

/// State that only the connection's work changes (and what cuts it short: close and
/// revoke). Guarded by `Connection::actor`.
pub(super) struct Actor {
    /// That of the session which all of this belongs to.
    pub(super) generation: u64,
    life: Life,
    peer: Option<(EntityName, EntityAddr)>,
    machine: Option<Machine>,
    /// Number of the last connection attempt.
    global_seq: u64,
    /// Connection modes that the owner asked for.
    modes: KVVec<u32>,
    /// Pause after the last fault.
    delay: Jiffies,
    /// Handshake and control frames that are being sent, and how far.
    output: KVVec<u8>,
    output_at: usize,
    sending: Option<Sending>,
    /// The message that is being received is thrown away, and nobody hears of it.
    skipping: bool,
    /// Who answers at the peer's address has forgotten the session, or is another one.
    reset: bool,
    /// Messages of this session up to this number were acknowledged.
    acknowledged: u64,
    lent: Option<Lent>,
    /// What the owner is to be called for next, unless it is for a message.
    call: Option<Call>,
    staging: KVVec<u8>,
    /// The owner's answer made the connection impossible.
    pub(super) failed: Option<Fault>,
}

/// What the owner is called for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// A message with data begins.
    Alloc,
    /// A message is complete.
    Dispatch,
    /// What is in `Actor::call`.
    Other,
}

/// What comes next.
enum Next {
    /// Nothing, until something wakes the work.
    Rest,
    /// Nothing for that long.
    Later(Jiffies),
    /// The same again, when others have had their turn.
    Yield,
    /// A call of the owner, which has begun.
    Call(Arc<dyn ConnectionOps>, Due),
}

/// What a turn came to.
enum Step {
    /// Something moved.
    Again,
    Rest,
    Later(Jiffies),
    Call(Due),
}

impl TaskHandler for Connection {
    fn run(this: Arc<Self>) {
        let _scope = NoIo::enter();
        for _ in 0..BUDGET {
            let mut actor = this.actor.lock();
            let generation = actor.generation;
            match actor.next(&this) {
                Next::Rest => return,
                Next::Later(delay) => {
                    // Before who closes can get the lock, and cancel it.
                    DelayedTask::<Self>::queue_delayed(this.clone(), delay);
                    return;
                }
                Next::Yield => break,
                Next::Call(ops, due) => {
                    match due {
                        Due::Dispatch => {
                            let quiet = actor.is_quiet(&this);
                            let good = deliver(&this, actor, &*ops);
                            if quiet && good {
                                this.end_call(ops);
                                return;
                            }
                        }
                        Due::Alloc => {
                            let header = actor.header();
                            drop(actor);
                            if let Some(header) = header {
                                alloc(&this, generation, &*ops, &header);
                            }
                        }
                        Due::Other => {
                            let call = actor.call.take();
                            drop(actor);
                            if let Some(call) = call {
                                perform(&this, generation, &*ops, call);
                            }
                        }
                    }
                    this.end_call(ops);
                }
            }
        }
        DelayedTask::<Self>::queue(this);
    }
}

/// Gives the message that is complete to the owner. Returns whether it took it in.
#[inline]
fn deliver(con: &Arc<Connection>, mut actor: ActorGuard<'_>, ops: &dyn ConnectionOps) -> bool {
    let generation = actor.generation;
    let dest = actor.lent.take().map(|lent| lent.dest);
    let Some(machine) = &mut actor.machine else {
        return false;
    };
    let Segments {
        front,
        middle,
        data,
    } = machine.take_segments();
    let (head, lens) = machine.head();
    let msg = Incoming {
        header: Header::new(head, lens),
        front,
        middle,
        data,
        dest,
    };
    drop(actor);
    dispatch(con, generation, ops, msg)
}

type ActorGuard<'a> = Guard<'a, Actor, MutexBackend>;

impl Actor {
    pub(super) fn new() -> Self {
        Self {
            generation: 0,
            life: Life::Closed,
            peer: None,
            machine: None,
            global_seq: 0,
            modes: KVVec::new(),
            delay: 0,
            output: KVVec::new(),
            output_at: 0,
            sending: None,
            skipping: false,
            reset: false,
            acknowledged: 0,
            lent: None,
            call: None,
            staging: KVVec::new(),
            failed: None,
        }
    }

    /// Forgets the session, and takes over what the owner has set since. Returns
    /// what was lent.
    pub(super) fn reset(&mut self, con: &Connection) -> Option<Lent> {
        let lent = self.lent.take();
        *self = Self::new();
        let shared = con.shared.lock();
        self.generation = shared.generation;
        if let Some(target) = &shared.target {
            let verify = con.msgr.config.verify_data;
            self.peer = Some((target.name, target.addr));
            self.machine = Some(Machine::new(target.name, target.addr, verify));
            self.life = Life::Preopen;
        }
        lent
    }

    /// See [`Connection::revoke`].
    pub(super) fn abort(&mut self, crypto: &KernelCrypto, msg: &Arc<Message>) -> bool {
        match &mut self.sending {
            Some(sending) if sending.is(msg) => {
                sending.abort(crypto);
                true
            }
            _ => false,
        }
    }

    /// See [`Connection::revoke_incoming`].
    pub(super) fn take_lent(&mut self, tid: u64) -> Option<kernel_ext::iov::IovDest> {
        let lent = self.lent.take_if(|lent| lent.tid == tid)?;
        if let Some(machine) = &mut self.machine {
            machine.skip();
        }
        self.skipping = true;
        Some(lent.dest)
    }

    /// The head of the message that is being received.
    fn header(&self) -> Option<Header> {
        let (head, lens) = self.machine.as_ref()?.head();
        Some(Header::new(head, lens))
    }

    /// Whether there is nothing to do now. What there will be queues the work again.
    fn is_quiet(&self, con: &Connection) -> bool {
        let (Life::Online(sock), Some(machine)) = (&self.life, &self.machine) else {
            return false;
        };
        let ready = sock.ready();
        let to_read = ready.data || ready.closed || machine.has_item();
        !to_read && !machine.wants_ack() && !self.has_output(con)
    }

    /// Whether there may be something to send.
    fn has_output(&self, con: &Connection) -> bool {
        let started = self.sending.is_some() || self.output_at < self.output.len();
        started || self.machine.as_ref().is_some_and(Machine::has_output) || con.has_work()
    }

    /// Does what can be done without the owner.
    fn next(&mut self, con: &Arc<Connection>) -> Next {
        for _ in 0..BUDGET {
            let step = match self.failed.take() {
                Some(fault) => Err(fault),
                None => self.step(con),
            };
            let due = match step {
                Ok(Step::Again) => continue,
                Ok(Step::Rest) => return Next::Rest,
                Ok(Step::Later(delay)) => return Next::Later(delay),
                Ok(Step::Call(due)) => due,
                Err(fault) => {
                    self.call = Some(self.fault(con, fault));
                    Due::Other
                }
            };
            let Some(ops) = con.begin_call(self.generation) else {
                // Who ends the session waits for our lock; it gets what was lent.
                if let Some(Call::Fault(lent, _)) = self.call.take() {
                    self.lent = lent;
                }
                return Next::Rest;
            };
            return Next::Call(ops, due);
        }
        Next::Yield
    }

    fn step(&mut self, con: &Arc<Connection>) -> Result<Step, Fault> {
        match &self.life {
            Life::Closed => Ok(Step::Rest),
            Life::Standby => {
                let shared = con.shared.lock();
                if shared.queue.is_idle() && !shared.keepalive {
                    return Ok(Step::Rest);
                }
                drop(shared);
                self.life = Life::Preopen;
                Ok(Step::Again)
            }
            Life::Backoff { until } => {
                if !time::reached(*until) {
                    return Ok(Step::Later(until.wrapping_sub(time::jiffies())));
                }
                self.life = Life::Preopen;
                Ok(Step::Again)
            }
            Life::Preopen => self.connect(con),
            Life::Connecting(sock) => match sock.state() {
                TcpState::SynSent | TcpState::SynRecv => Ok(Step::Rest),
                TcpState::Close => Err(socket_closed(sock)),
                _ => {
                    if let Life::Connecting(sock) = core::mem::replace(&mut self.life, Life::Closed)
                    {
                        self.life = Life::Online(sock);
                    }
                    self.with_machine(|machine| Ok(machine.connected()?))?;
                    Ok(Step::Again)
                }
            },
            Life::Online(_) => self.exchange(con),
        }
    }

    #[cold]
    fn connect(&mut self, con: &Arc<Connection>) -> Result<Step, Fault> {
        let sock = self.peer.and_then(|(_, addr)| addr.sock).ok_or(Fault {
            error: EINVAL,
            why: "no address",
        })?;
        self.global_seq = con.msgr.next_global_seq(0);
        let waker = Arc::new(Waker(con.clone()), GFP_KERNEL)?;
        let nodelay = con.msgr.config.nodelay;
        let sock = Socket::connect(&con.msgr.net, sock, waker, nodelay).map_err(|error| Fault {
            error,
            why: "connect error",
        })?;
        self.life = Life::Connecting(sock);
        Ok(Step::Again)
    }

    /// Moves bytes both ways until nothing moves, or there is something to do.
    fn exchange(&mut self, con: &Connection) -> Result<Step, Fault> {
        let Life::Online(sock) = &self.life else {
            return Ok(Step::Rest);
        };
        // Mostly this is how the work finds that it is done: without the socket's lock.
        let ready = sock.ready();
        // A dead socket may still have something to say; the error waits for that.
        let sent = self.transmit(con);
        if self.machine.as_ref().is_some_and(Machine::has_item) {
            let action = self.with_machine(|machine| machine.go_on(&KernelCrypto))?;
            if let Some(action) = action {
                return self.act(con, action);
            }
        }
        if ready.data || ready.closed {
            if let Some(step) = self.receive(con)? {
                return Ok(step);
            }
        }
        if let (true, Life::Online(sock)) = (ready.closed, &self.life) {
            return Err(socket_closed(sock));
        }
        sent?;
        // Most acknowledgements ride on messages; if there are none of those:
        if self.machine.as_ref().is_some_and(Machine::wants_ack) {
            self.with_machine(|machine| Ok(machine.ack(&KernelCrypto)?))?;
            self.transmit(con)?;
        }
        Ok(Step::Rest)
    }

    /// Feeds the machine, and lent destinations, from the socket, up to the next
    /// action that needs more than this, and does that. `None` if there was nothing.
    fn receive(&mut self, con: &Connection) -> Result<Option<Step>, Fault> {
        let Self {
            life: Life::Online(sock),
            machine: Some(machine),
            acknowledged,
            lent,
            staging,
            ..
        } = self
        else {
            return Ok(None);
        };
        let mut intake = Intake {
            con,
            machine,
            lent,
            staging,
            acknowledged,
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
        match met {
            Some(Action::Head) => Ok(Some(Step::Call(Due::Alloc))),
            Some(Action::Message) => Ok(Some(self.message_came(con))),
            Some(action) => self.act(con, action).map(Some),
            None => Ok((taken > 0).then_some(Step::Again)),
        }
    }

    /// Sends what there is, as far as the socket takes it.
    #[inline]
    fn transmit(&mut self, con: &Connection) -> Result<(), Fault> {
        if !self.has_output(con) {
            return Ok(());
        }
        match self.try_transmit(con) {
            Err(fault) if fault.error == EAGAIN => Ok(()),
            result => result,
        }
    }

    #[inline(never)]
    fn try_transmit(&mut self, con: &Connection) -> Result<(), Fault> {
        loop {
            let Self {
                life: Life::Online(sock),
                machine: Some(machine),
                ..
            } = self
            else {
                return Ok(());
            };
            // First the rest of what was begun, and control frames.
            if let Some(sending) = &mut self.sending {
                sending
                    .send(|slices, more| sock.send(slices, more))
                    .map_err(write_error)?;
                self.sending = None;
            }
            while let Some(rest @ [_, ..]) = self.output.get(self.output_at..) {
                self.output_at += sock.send(&[rest], false).map_err(write_error)?;
            }
            if machine.has_output() {
                self.output = machine.take_output();
                self.output_at = 0;
                continue;
            }
            if !machine.is_open() || !con.has_work() {
                return Ok(());
            }
            let keep = con.policy() == Policy::Lossless && !machine.is_lossy();
            let (keepalive, msg, more) = {
                let mut shared = con.shared.lock();
                if shared.generation != self.generation {
                    return Ok(());
                }
                let (keepalive, msg) = match core::mem::take(&mut shared.keepalive) {
                    true => (true, None),
                    false => (false, shared.queue.next(keep)),
                };
                // Who may take it out again needs our lock, so what comes now, comes.
                let more = !shared.queue.is_idle();
                con.set_work(more || keepalive);
                (keepalive, msg, more)
            };
            if keepalive {
                machine.keepalive(&KernelCrypto, now())?;
                continue;
            }
            let Some(msg) = msg else {
                return Ok(());
            };
            let mut sending = Sending::new(&KernelCrypto, msg, more);
            sending.begin(&KernelCrypto, machine)?;
            if let Err(error) = sending.send(|slices, more| sock.send(slices, more)) {
                self.sending = Some(sending);
                return Err(write_error(error));
            }
        }
    }

    /// A message is complete.
    fn message_came(&mut self, con: &Connection) -> Step {
        if let Some(machine) = &self.machine {
            let (head, _) = machine.head();
            acknowledge(con, &mut self.acknowledged, head.ack_seq);
        }
        match core::mem::take(&mut self.skipping) {
            true => Step::Again,
            false => Step::Call(Due::Dispatch),
        }
    }

    /// Performs what the machine asks for.
    #[cold]
    fn act(&mut self, con: &Connection, action: Action) -> Result<Step, Fault> {
        let call = match action {
            Action::Head => return Ok(Step::Call(Due::Alloc)),
            Action::Message => return Ok(self.message_came(con)),
            Action::Hello(addr) => {
                con.msgr.learn_addr(&addr);
                Call::AuthRequest
            }
            Action::BadMethod(bad) => Call::AuthBadMethod(bad),
            Action::AuthMore(payload) => Call::AuthMore(payload),
            Action::AuthDone {
                global_id,
                con_mode,
                payload,
            } => {
                if con_mode != CON_MODE_CRC || !self.modes.contains(&con_mode) {
                    return Err(Fault {
                        error: eprotonosupport(),
                        why: "server wants a connection mode that was not asked for",
                    });
                }
                Call::AuthDone {
                    global_id,
                    con_mode,
                    payload,
                }
            }
            Action::Identify => {
                self.identify(con)?;
                return Ok(Step::Again);
            }
            Action::RetryGlobal(above) => {
                self.global_seq = con.msgr.next_global_seq(above);
                self.identify(con)?;
                return Ok(Step::Again);
            }
            Action::PeerReset => {
                if let Some((name, addr)) = self.peer {
                    info!("{name} {addr} session reset\n");
                }
                let messages = con.shared.lock().queue.clear();
                drop(messages);
                self.acknowledged = 0;
                self.reset = true;
                self.identify(con)?;
                return Ok(Step::Again);
            }
            Action::Established { received } => {
                self.delay = 0;
                let features = self.with_machine(|machine| Ok(machine.peer_features()))?;
                let messages = {
                    let mut shared = con.shared.lock();
                    if shared.generation == self.generation {
                        shared.established = true;
                        shared.peer_features = features;
                        shared.alive = Some(time::jiffies());
                    }
                    shared.queue.acknowledge_requeued(received)
                };
                drop(messages);
                // Only now it has said that it is the one that was meant.
                let reset = core::mem::take(&mut self.reset);
                Call::Established { reset }
            }
            Action::Acked(seq) => {
                acknowledge(con, &mut self.acknowledged, seq);
                return Ok(Step::Again);
            }
            Action::KeepaliveAck(sent) => {
                let mut shared = con.shared.lock();
                if shared.generation == self.generation {
                    shared.alive = Some(sent_at(sent));
                }
                return Ok(Step::Again);
            }
        };
        self.call = Some(call);
        Ok(Step::Call(Due::Other))
    }

    /// The owner's answer to [`Call::AuthRequest`] and [`Call::AuthBadMethod`].
    pub(super) fn auth_request(
        &mut self,
        request: &Result<super::ops::AuthRequest>,
    ) -> Result<(), Fault> {
        let request = request.as_ref().map_err(auth_fault)?;
        self.modes.clear();
        self.modes.extend_from_slice(&request.modes, GFP_KERNEL)?;
        self.with_machine(|machine| Ok(machine.auth_request(&KernelCrypto, request)?))
    }

    /// The owner's answer to [`Call::Alloc`].
    pub(super) fn begin_body(&mut self, header: &Header, alloc: Alloc) -> Result<(), Fault> {
        self.skipping = matches!(alloc, Alloc::Skip);
        let body = match alloc {
            Alloc::Skip => Body::Skip,
            Alloc::Accept => Body::Collect,
            Alloc::Fill(dest) => {
                let room = dest.remaining();
                self.lent = Some(Lent {
                    tid: header.tid,
                    dest,
                });
                if room < header.data_len {
                    return Err(Fault::protocol("protocol error, more data than asked for"));
                }
                Body::Divert
            }
        };
        self.with_machine(|machine| {
            machine.body(body);
            Ok(())
        })
    }

    /// The owner could not take in a message; with `ENOMEM`, it shall come again.
    pub(super) fn not_taken(&mut self, error: Error) -> Result<(), Fault> {
        if let (Some(machine), true) = (&mut self.machine, error == ENOMEM) {
            machine.not_taken();
        }
        let why = CORRUPT;
        Err(Fault { error, why })
    }

    /// Tells the peer who we are.
    pub(super) fn identify(&mut self, con: &Connection) -> Result<(), Fault> {
        let identity = Identity {
            addr: con.msgr.addr(),
            global_id: con.msgr.name().num,
            global_seq: self.global_seq,
            cookie: random::u64().max(1),
            supported: FEATURES_SUPPORTED,
            required: con.msgr.config.required,
        };
        self.with_machine(|machine| Ok(machine.identify(&KernelCrypto, &identity)?))
    }

    pub(super) fn with_machine<R>(
        &mut self,
        f: impl FnOnce(&mut Machine) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        match &mut self.machine {
            Some(machine) => f(machine),
            None => Err(Fault {
                error: EINVAL,
                why: "connection is closed",
            }),
        }
    }

    /// The connection cannot go on: closes the socket, and decides what next.
    #[cold]
    fn fault(&mut self, con: &Connection, fault: Fault) -> Call {
        let missing = self.machine.as_ref().map_or(0, Machine::missing_features);
        self.complain(con, &fault, missing);
        self.output = KVVec::new();
        self.output_at = 0;
        self.sending = None;
        self.skipping = false;
        let lossless = con.policy() == Policy::Lossless;
        let (established, lossless) = match &mut self.machine {
            Some(machine) => {
                machine.fault();
                (machine.was_established(), lossless && !machine.is_lossy())
            }
            None => (false, lossless),
        };
        // The socket goes before its successor is thought of.
        self.life = Life::Closed;
        let mut messages = None;
        let mut shared = con.shared.lock();
        if established && !lossless {
            messages = Some(shared.queue.clear());
        } else {
            shared.queue.requeue();
            con.set_work(true);
            let (base, max) = (time::msecs(DELAY_BASE), time::msecs(DELAY_MAX));
            let idle = shared.queue.is_idle() && !shared.keepalive;
            if established && idle && self.delay >= max {
                self.life = Life::Standby;
            } else {
                self.delay = self.delay.saturating_mul(2).clamp(base, max);
                self.life = Life::Backoff {
                    until: time::jiffies().wrapping_add(self.delay),
                };
            }
        }
        drop(shared);
        drop(messages);
        let broken = Broken {
            error: fault.error,
            why: fault.why,
            missing,
        };
        Call::Fault(self.lent.take(), broken)
    }

    /// Logs why the connection broke.
    fn complain(&self, con: &Connection, fault: &Fault, missing: u64) {
        let Some((name, addr)) = self.peer else {
            return;
        };
        if missing != 0 {
            // Each attempt ends so: one line for all of them, and for all daemons. Of the
            // monitors the monitor client tells, and more.
            if name.kind != EntityType::MON && con.msgr.tell_missing(missing) {
                error!(
                    "{name} {addr} requires features that this client lacks: {} ({missing:#x})\n",
                    features::Names(missing)
                );
            }
        } else if fault.why == SOCKET_CLOSED {
            let state = self.machine.as_ref().map_or("CLOSED", |m| m.state_name());
            warning!("{name} {addr} {fault} (con state {state})\n");
        } else if fault.why != CORRUPT {
            // The owner has told more of that than could be told here.
            let errno = fault.error.to_errno();
            warning!("{name} {addr} {fault} (error {errno})\n");
        }
    }
}

fn write_error(error: Error) -> Fault {
    Fault {
        error,
        why: "write error",
    }
}

const SOCKET_CLOSED: &str = "socket closed";

fn socket_closed(sock: &Socket) -> Fault {
    Fault {
        error: sock.take_error().err().unwrap_or_else(econnreset),
        why: SOCKET_CLOSED,
    }
}

#[kunit_tests(ceph_messenger_actor)]
mod tests {
    use super::*;
    use ceph_proto::wire::msgr2::MessageHead;
    use kernel_ext::iov::IovDest;

    fn actor() -> Actor {
        let name = EntityName {
            kind: EntityType::OSD,
            num: 1,
        };
        let machine = Machine::new(name, EntityAddr::BLANK, true);
        Actor {
            machine: Some(machine),
            ..Actor::new()
        }
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
            let mut actor = actor();
            let alloc = Alloc::Fill(IovDest::with_len(room)?);
            assert_eq!(actor.begin_body(&header(7, 100), alloc).is_ok(), good);
            // Either way it can be had back, by its number, once.
            assert!(actor.take_lent(8).is_none());
            assert!(actor.take_lent(7).is_some());
            assert!(actor.take_lent(7).is_none());
        }
        Ok(())
    }
}
