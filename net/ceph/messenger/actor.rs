// SPDX-License-Identifier: GPL-2.0
//! The actor of a connection: moves bytes between the socket, the protocol machine, the
//! queue and destinations. [`Inbound`] and [`Outbound`] are its halves.
//!
//! It knows nobody but its [`Host`]. What it wants of an owner it asks for: [`Actor::next`]
//! runs up to the next [`Ask`], and [`Actor::resume`] gets the [`Reply`].
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
use kernel::{prelude::*, sync::Arc, time::Jiffies};
use kernel_ext::{
    iov::IovDest,
    net::{Socket, SocketCallbacks, TcpState},
    random, time,
};

use ceph_proto::errno::{ebadmsg, econnreset, eprotonosupport};
use ceph_proto::machine::{
    msgr2::{Action, Fault, Identity},
    protocol::Machine,
};
use ceph_proto::wire::features;
use ceph_proto::wire::msgr2::AuthBadMethod;
use ceph_proto::wire::types::{EntityAddr, EntityName, EntityType};

use crate::log::{error, info, warning};

use super::{
    client::{Messenger, FEATURES_SUPPORTED},
    crypto::KernelCrypto,
    inbound::{Inbound, Met},
    keepalive::{now_ms, sent_at},
    message::{Header, Incoming, Message},
    ops::{Alloc, AuthKeys, AuthRequest, Broken},
    outbound::Outbound,
    shared::Shared,
};

/// First pause after a fault in milliseconds; it doubles with each fault up to
/// [`DELAY_MAX`], until a session is established.
const DELAY_BASE: u64 = 250;
/// Longest pause in milliseconds.
const DELAY_MAX: u64 = 15_000;
/// Turns with something that came in, mostly messages, after which something goes out.
const SEND_AFTER: u32 = 16;
/// Turns without a question, after which others have their turn.
const BUDGET: usize = 64;

/// Why a connection is reset whose owner cannot make sense of a message, and has said so.
const CORRUPT: &str = "corrupt message";

/// What an actor is part of.
pub(super) trait Host {
    /// How the owner is called.
    type Ops: Unpin;

    /// What all connections of the client share.
    fn msgr(&self) -> &Messenger;
    /// What owner, senders and actor share.
    fn shared(&self) -> &Shared<Self::Ops>;
    /// Whether the session outlives its socket.
    fn is_lossless(&self) -> bool;
    /// What runs the actor when something happens at the socket.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn waker(&self) -> Result<Arc<dyn SocketCallbacks>>;
    /// Runs the actor after that long, whatever happens meanwhile; the last call counts.
    fn wake_in(&self, delay: Jiffies);
    /// Does not.
    fn never_mind(&self);
}

/// What the actor wants before it goes on.
pub(super) enum Ask {
    /// Nothing, until something wakes it.
    Rest,
    /// Nothing for that long.
    Later(Jiffies),
    /// To go on when others have had their turn.
    Yield,
    /// How to authenticate. [`Reply::AuthRequest`]
    AuthRequest,
    /// Whether there is another way to. [`Reply::AuthRequest`]
    AuthBadMethod(AuthBadMethod),
    /// What to say to this. [`Reply::AuthMore`]
    AuthMore(KVVec<u8>),
    /// The keys. [`Reply::AuthDone`]
    AuthDone {
        global_id: u64,
        con_mode: u32,
        payload: KVVec<u8>,
    },
    /// Where a message shall go, which begins. [`Reply::Alloc`]
    Alloc(Header),
    /// Somebody to take a message in. [`Reply::Dispatched`]
    Dispatch(Incoming),
    /// That the owner knows that the session is open. [`Reply::Heard`]
    Established {
        /// The peer has forgotten the session that was.
        reset: bool,
    },
    /// That it knows that the socket broke. [`Reply::Heard`]
    Fault(Broken),
}

/// The answer to an [`Ask`].
pub(super) enum Reply {
    AuthRequest(Result<AuthRequest>),
    AuthMore(Result<KVVec<u8>>),
    AuthDone(Result<AuthKeys>),
    Alloc(Header, Alloc),
    Dispatched(Result),
    Heard,
}

/// See the module.
enum Life {
    Closed,
    Preopen,
    Connecting(Socket),
    Online(Socket),
    Backoff { until: Jiffies },
    Standby,
}

/// State that only who runs the actor changes (and what cuts it short: close and revoke).
/// Guarded by `Connection::actor`.
pub(super) struct Actor {
    /// That of the session which all of this belongs to.
    pub(super) generation: u64,
    life: Life,
    peer: Option<(EntityName, EntityAddr)>,
    machine: Option<Machine>,
    inbound: Inbound,
    outbound: Outbound,
    /// Turns since something could go out.
    turns: u32,
    /// Number of the last connection attempt.
    global_seq: u64,
    /// Connection modes that the owner asked for.
    modes: KVVec<u32>,
    /// Pause after the last fault.
    delay: Jiffies,
    /// Who answers at the peer's address has forgotten the session, or is another one.
    reset: bool,
    /// What the connection cannot go on for: an answer of the owner, or what a sender met.
    failed: Option<Fault>,
}

/// What a turn came to.
// On the stack of the turn alone: memory of its own for what is asked would cost more.
#[expect(clippy::large_enum_variant)]
enum Step {
    /// Something moved.
    Again,
    Ask(Ask),
}

impl Actor {
    pub(super) fn new() -> Self {
        Self {
            generation: 0,
            life: Life::Closed,
            peer: None,
            machine: None,
            inbound: Inbound::new(),
            outbound: Outbound::new(),
            turns: 0,
            global_seq: 0,
            modes: KVVec::new(),
            delay: 0,
            reset: false,
            failed: None,
        }
    }

    /// Forgets the session, and takes over what the owner has set since.
    pub(super) fn reset(&mut self, host: &impl Host) {
        // The socket goes first, and not under the spin lock.
        self.life = Life::Closed;
        let mut inbound = core::mem::replace(&mut self.inbound, Inbound::new());
        *self = Self::new();
        let mut shared = host.shared().lock();
        self.generation = shared.generation;
        if let Some(target) = &shared.target {
            let config = &host.msgr().config;
            let (version, verify) = (config.version, config.verify_data);
            self.peer = Some((target.name, target.addr));
            self.machine = Some(Machine::new(version, target.name, target.addr, verify));
            self.life = Life::Preopen;
        }
        inbound.give_back(&mut shared);
    }

    /// The message was revoked: not another byte of it is read.
    pub(super) fn abort(&mut self, msg: &Arc<Message>) {
        self.outbound.abort(msg);
    }

    /// Takes back what is lent for the message `tid`.
    pub(super) fn take_lent(&mut self, tid: u64) -> Option<IovDest> {
        self.inbound.take_lent(self.machine.as_mut(), tid)
    }

    /// Whether there is nothing to do now. What there will be wakes it again.
    pub(super) fn is_quiet(&self, host: &impl Host) -> bool {
        let (Life::Online(sock), Some(machine)) = (&self.life, &self.machine) else {
            return false;
        };
        let ready = sock.ready();
        let to_read = ready.data || ready.closed || machine.has_item();
        !to_read && !machine.wants_ack() && !self.outbound.has_output(machine, host.shared())
    }

    /// Runs until it wants something.
    pub(super) fn next(&mut self, host: &impl Host) -> Ask {
        for _ in 0..BUDGET {
            let step = match self.failed.take() {
                Some(fault) => Err(fault),
                None => self.step(host),
            };
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Ask(ask)) => return ask,
                Err(fault) => return self.fault(host, fault),
            }
        }
        Ask::Yield
    }

    /// Goes on with the answer to what it asked for last, when it is [run](Self::next) again.
    pub(super) fn resume(&mut self, reply: Reply) {
        if let Err(fault) = self.take_reply(reply) {
            self.failed = Some(fault);
        }
    }

    /// A message of the session made no sense, as its owner has found out since.
    pub(super) fn distrust(&mut self) {
        if let (Life::Online(_), None) = (&self.life, &self.failed) {
            self.failed = Some(Fault {
                error: ebadmsg(),
                why: CORRUPT,
            });
        }
    }

    /// What it asked for is not to be had: the session is over, and who ends it waits for our
    /// lock.
    pub(super) fn put_back(&mut self, ask: Ask) {
        if let Ask::Dispatch(msg) = ask {
            self.inbound.put_back(msg);
        }
    }

    /// Sends what there is, if the session is open. What there is to do otherwise, also after
    /// a fault, is for [`Self::next`]; false if there is anything.
    pub(super) fn send(&mut self, host: &impl Host) -> bool {
        let Self {
            generation,
            life: Life::Online(sock),
            machine: Some(machine),
            outbound,
            failed: None,
            ..
        } = self
        else {
            return false;
        };
        if !machine.is_open() {
            return false;
        }
        let keep = host.is_lossless() && !machine.is_lossy();
        if let Err(fault) = outbound.transmit(sock, machine, host.shared(), *generation, keep) {
            self.failed = Some(fault);
            return false;
        }
        true
    }

    fn step(&mut self, host: &impl Host) -> Result<Step, Fault> {
        match &self.life {
            Life::Closed => Ok(Step::Ask(Ask::Rest)),
            Life::Standby => {
                let shared = host.shared().lock();
                if shared.queue.is_idle() && !shared.keepalive {
                    return Ok(Step::Ask(Ask::Rest));
                }
                drop(shared);
                self.life = Life::Preopen;
                Ok(Step::Again)
            }
            Life::Backoff { until } => {
                if !time::reached(*until) {
                    let left = until.wrapping_sub(time::jiffies());
                    return Ok(Step::Ask(Ask::Later(left)));
                }
                self.life = Life::Preopen;
                Ok(Step::Again)
            }
            Life::Preopen => self.connect(host),
            Life::Connecting(sock) => {
                let state = sock.state();
                if state == TcpState::Close {
                    return Err(socket_closed(sock));
                }
                self.with_machine(|machine| machine.check_deadline(now_ms()))?;
                if matches!(state, TcpState::SynSent | TcpState::SynRecv) {
                    return Ok(Step::Ask(Ask::Rest));
                }
                if let Life::Connecting(sock) = core::mem::replace(&mut self.life, Life::Closed) {
                    self.life = Life::Online(sock);
                }
                self.with_machine(|machine| Ok(machine.connected()?))?;
                Ok(Step::Again)
            }
            Life::Online(_) => self.exchange(host),
        }
    }

    #[cold]
    fn connect(&mut self, host: &impl Host) -> Result<Step, Fault> {
        let sock = self.peer.and_then(|(_, addr)| addr.sock).ok_or(Fault {
            error: EINVAL,
            why: "no address",
        })?;
        let msgr = host.msgr();
        self.global_seq = msgr.next_global_seq(0);
        let now = now_ms();
        let deadline = self.with_machine(|machine| Ok(machine.connecting(now)))?;
        let nodelay = msgr.config.nodelay;
        let sock = Socket::connect(&msgr.net, sock, host.waker()?, nodelay).map_err(|error| {
            let why = "connect error";
            Fault { error, why }
        })?;
        self.life = Life::Connecting(sock);
        // Not before the time is up.
        host.wake_in(time::msecs(deadline.saturating_sub(now)).saturating_add(1));
        Ok(Step::Again)
    }

    /// Moves bytes both ways until nothing moves, or there is something to do.
    ///
    /// What has come in goes first: its owner may have more to send then, and all of that goes
    /// out together. Only now and then it does not wait for that.
    fn exchange(&mut self, host: &impl Host) -> Result<Step, Fault> {
        let Self {
            generation,
            life: Life::Online(sock),
            machine: Some(machine),
            inbound,
            outbound,
            turns,
            ..
        } = self
        else {
            return Ok(Step::Ask(Ask::Rest));
        };
        let shared = host.shared();
        let keep = host.is_lossless() && !machine.is_lossy();
        // A dead socket may still have something to say; the error waits for that.
        let sent = if *turns >= SEND_AFTER {
            *turns = 0;
            outbound.transmit(sock, machine, shared, *generation, keep)
        } else {
            *turns += 1;
            Ok(())
        };
        // Mostly this is how the actor finds that it is done: without the socket's lock.
        let ready = sock.ready();
        let waits = inbound.obtain_share(machine, &host.msgr().budget)?;
        let mut met = Met::End { any: false };
        if machine.has_item() {
            if let Some(action) = machine.go_on(&KernelCrypto)? {
                met = Met::Action(action);
            }
        }
        let nothing = matches!(met, Met::End { .. });
        if nothing && waits.is_none() && (ready.data || ready.closed) {
            met = inbound.receive(sock, machine, shared)?;
        }
        match met {
            Met::Action(Action::Message) => return Ok(self.message_came(shared)),
            Met::Action(action) => return self.act(host, action),
            Met::End { any: true } => {
                // The rest of a message may be long in coming.
                *turns = SEND_AFTER;
                return Ok(Step::Again);
            }
            Met::End { any: false } => {}
        }
        if ready.closed && waits.is_none() {
            return Err(socket_closed(sock));
        }
        sent?;
        *turns = 0;
        // Most acknowledgements ride on messages; if there are none of those:
        outbound.transmit(sock, machine, shared, *generation, keep)?;
        if machine.wants_ack() {
            machine.ack(&KernelCrypto)?;
            outbound.transmit(sock, machine, shared, *generation, keep)?;
        }
        if !machine.is_open() {
            machine.check_deadline(now_ms())?;
        }
        if let Some(left) = inbound.share_ends_in() {
            host.wake_in(left);
        }
        Ok(Step::Ask(match waits {
            Some(delay) => Ask::Later(delay),
            None => Ask::Rest,
        }))
    }

    /// A message is complete.
    #[inline]
    fn message_came<O: Unpin>(&mut self, shared: &Shared<O>) -> Step {
        match &mut self.machine {
            Some(machine) if self.inbound.complete(machine, shared) => {
                Step::Ask(Ask::Dispatch(self.inbound.take_message(machine)))
            }
            _ => Step::Again,
        }
    }

    /// Performs what the machine asks for.
    #[cold]
    fn act(&mut self, host: &impl Host, action: Action) -> Result<Step, Fault> {
        let shared = host.shared();
        let ask = match action {
            Action::Head => {
                let (head, lens) = self.with_machine(|machine| {
                    let (head, lens) = machine.head();
                    Ok((*head, lens))
                })?;
                Ask::Alloc(Header::new(&head, lens))
            }
            Action::Message => return Ok(self.message_came(shared)),
            Action::Hello(addr) => {
                host.msgr().learn_addr(&addr);
                Ask::AuthRequest
            }
            Action::BadMethod(bad) => Ask::AuthBadMethod(bad),
            Action::AuthMore(payload) => Ask::AuthMore(payload),
            Action::AuthDone {
                global_id,
                con_mode,
                payload,
            } => {
                if !self.modes.contains(&con_mode) {
                    return Err(Fault {
                        error: eprotonosupport(),
                        why: "server wants a connection mode that was not asked for",
                    });
                }
                Ask::AuthDone {
                    global_id,
                    con_mode,
                    payload,
                }
            }
            Action::Identify => {
                self.identify(host)?;
                return Ok(Step::Again);
            }
            Action::RetryGlobal(above) => {
                self.global_seq = host.msgr().next_global_seq(above);
                self.identify(host)?;
                return Ok(Step::Again);
            }
            Action::PeerReset => {
                if let Some((name, addr)) = self.peer {
                    info!("{name} {addr} session reset\n");
                }
                let messages = shared.lock().queue.clear();
                drop(messages);
                self.inbound.peer_reset();
                self.reset = true;
                self.identify(host)?;
                return Ok(Step::Again);
            }
            Action::Established { received } => {
                host.never_mind();
                self.delay = 0;
                let features = self.with_machine(|machine| Ok(machine.peer_features()))?;
                let messages = {
                    let mut shared = shared.lock();
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
                Ask::Established { reset }
            }
            Action::Acked(seq) => {
                if let Some(machine) = &self.machine {
                    self.inbound.acknowledge(machine, shared, seq);
                }
                return Ok(Step::Again);
            }
            Action::KeepaliveAck(sent) => {
                let mut shared = shared.lock();
                if shared.generation == self.generation {
                    shared.alive = Some(sent_at(sent));
                }
                return Ok(Step::Again);
            }
        };
        Ok(Step::Ask(ask))
    }

    fn take_reply(&mut self, reply: Reply) -> Result<(), Fault> {
        match reply {
            Reply::AuthRequest(request) => {
                let request = request.map_err(auth_fault)?;
                self.modes.clear();
                self.modes.extend_from_slice(&request.modes, GFP_KERNEL)?;
                self.with_machine(|machine| Ok(machine.auth_request(&KernelCrypto, &request)?))
            }
            Reply::AuthMore(payload) => {
                let payload = payload.map_err(auth_fault)?;
                self.with_machine(|machine| Ok(machine.auth_more(&KernelCrypto, &payload)?))
            }
            Reply::AuthDone(keys) => {
                let keys = keys.map_err(auth_fault)?;
                let key = keys.session_key.as_slice();
                self.with_machine(|machine| machine.auth_done(&KernelCrypto, key))
            }
            Reply::Alloc(header, alloc) => {
                let machine = self.machine.as_mut().ok_or_else(closed)?;
                self.inbound.begin_body(machine, &header, alloc);
                Ok(())
            }
            Reply::Dispatched(Err(error)) => {
                if let (Some(machine), true) = (&mut self.machine, error == ENOMEM) {
                    // It shall come again.
                    machine.not_taken();
                }
                let why = CORRUPT;
                Err(Fault { error, why })
            }
            Reply::Dispatched(Ok(())) | Reply::Heard => Ok(()),
        }
    }

    /// Tells the peer who we are.
    fn identify(&mut self, host: &impl Host) -> Result<(), Fault> {
        let msgr = host.msgr();
        let identity = Identity {
            addr: msgr.addr(),
            global_id: msgr.name().num,
            global_seq: self.global_seq,
            cookie: random::u64().max(1),
            supported: FEATURES_SUPPORTED,
            required: msgr.config.required,
        };
        self.with_machine(|machine| Ok(machine.identify(&KernelCrypto, &identity)?))
    }

    fn with_machine<R>(
        &mut self,
        f: impl FnOnce(&mut Machine) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        match &mut self.machine {
            Some(machine) => f(machine),
            None => Err(closed()),
        }
    }

    /// The connection cannot go on: closes the socket, and decides what next.
    #[cold]
    fn fault(&mut self, host: &impl Host, fault: Fault) -> Ask {
        let missing = self.machine.as_ref().map_or(0, Machine::missing_features);
        self.complain(host, &fault, missing);
        host.never_mind();
        self.outbound.fault();
        self.inbound.fault(host.shared());
        let lossless = host.is_lossless();
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
        let mut shared = host.shared().lock();
        if established && !lossless {
            messages = Some(shared.queue.clear());
        } else {
            shared.queue.requeue();
            host.shared().set_work(true);
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
        let Fault { error, why } = fault;
        let broken = Broken {
            error,
            why,
            missing,
        };
        Ask::Fault(broken)
    }

    /// Logs why the connection broke.
    fn complain(&self, host: &impl Host, fault: &Fault, missing: u64) {
        let Some((name, addr)) = self.peer else {
            return;
        };
        let state = self.machine.as_ref().map_or("CLOSED", |m| m.state_name());
        if missing != 0 {
            // Each attempt ends so: one line for all of them, and for all daemons. Of the
            // monitors the monitor client tells, and more.
            if name.kind != EntityType::MON && host.msgr().tell_missing(missing) {
                error!(
                    "{name} {addr} requires features that this client lacks: {} ({missing:#x})\n",
                    features::Names(missing)
                );
            }
        } else if fault.why == SOCKET_CLOSED || fault.error == ETIMEDOUT {
            warning!("{name} {addr} {fault} (con state {state})\n");
        } else if fault.why != CORRUPT {
            // The owner has told more of that than could be told here.
            let errno = fault.error.to_errno();
            warning!("{name} {addr} {fault} (error {errno})\n");
        }
    }
}

fn auth_fault(error: Error) -> Fault {
    Fault {
        error,
        why: "authentication failed",
    }
}

fn closed() -> Fault {
    Fault {
        error: EINVAL,
        why: "connection is closed",
    }
}

const SOCKET_CLOSED: &str = "socket closed";

fn socket_closed(sock: &Socket) -> Fault {
    Fault {
        error: sock.take_error().err().unwrap_or_else(econnreset),
        why: SOCKET_CLOSED,
    }
}
