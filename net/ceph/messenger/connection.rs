// SPDX-License-Identifier: GPL-2.0
//! A session with one daemon, as its owner sees it.
//!
//! Only here are both known, the actor and the owner: what the one asks for, the other is
//! called for, with no lock held.
//!
//! Locks, outer first: `Connection::actor` (a mutex; who runs the actor holds it while bytes
//! move, never while the owner is called), `Connection::shared` (a spin lock, the innermost).
use core::time::Duration;
use kernel::{
    list::ListArc,
    new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, Mutex},
    time::Jiffies,
};
use kernel_ext::{
    alloc_scope::NoIo,
    iov::IovDest,
    net::{SocketCallbacks, TcpState},
    task, time,
    workqueue::{impl_has_delayed_task, new_delayed_task, DelayedTask, TaskHandler},
};

use ceph_proto::wire::types::{EntityAddr, EntityName};

use super::{
    actor::{Actor, Ask, Host, Reply},
    client::Messenger,
    message::Message,
    message::{Header, Incoming},
    ops::{Alloc, AuthBadMethod, AuthKeys, AuthRequest, Broken},
    shared::{Posted, Pushed, Reservation, Shared, Target},
};

/// Callbacks after which the work lets others run.
const BUDGET: usize = 64;

/// What becomes of a session when its socket breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is lost (monitors, OSDs): the owner is told and starts anew.
    Lossy,
    /// It goes on over another socket (MDSs): messages are kept until they are
    /// acknowledged, and sent again.
    Lossless,
}

/// The owner of a connection: a session with one daemon.
///
/// All methods are called from the connection's work item, one at a time, in
/// process context, with no lock of the messenger held; they may sleep, and may
/// call any method of the connection. They must not wait for a message of the same
/// connection, and allocations in them are implicitly `GFP_NOIO`.
///
/// The connection holds its owner from [`Connection::open`] to
/// [`Connection::close`].
pub trait ConnectionOps: Send + Sync {
    /// A message with this head, which has data, is about to be read. What `alloc_msg` is
    /// not prepared for, it skips. Messages without data are read anyway.
    fn alloc_msg(&self, con: &Arc<Connection>, header: &Header) -> Alloc;

    /// A message came in, perhaps of a kind that the owner does not know and ignores.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there was no memory to take the message in; the connection breaks, and
    /// a lossless one gets it once more. Any other: the message makes no sense; the
    /// connection is reset, and the message counts as received. The owner has logged it.
    fn dispatch(&self, con: &Arc<Connection>, msg: Incoming) -> Result;

    /// The connection broke. A lossless one, or one that was never established,
    /// tries again by itself; a lossy one that was established has lost its
    /// messages and is closed until it is opened again.
    fn fault(&self, _con: &Arc<Connection>, _broken: &Broken) {}

    /// The session is open: the peer has said who it is, and takes messages. Comes again
    /// each time that a lossless session goes on over another socket.
    fn established(&self, _con: &Arc<Connection>) {}

    /// The peer has forgotten the session (lossless connections only), and a new one is
    /// established. What was queued when the peer said so is gone. Another daemon that
    /// answers at the peer's address, which has never known the session, does not
    /// get as far as this.
    fn peer_reset(&self, _con: &Arc<Connection>) {}

    /// How to authenticate, and which connection modes are acceptable.
    ///
    /// # Errors
    ///
    /// An error here and below is a fault of the connection.
    fn auth_request(&self, con: &Arc<Connection>) -> Result<AuthRequest>;

    /// The peer has something to say before it decides; the answer is sent back.
    fn auth_more(&self, con: &Arc<Connection>, payload: &[u8]) -> Result<KVVec<u8>>;

    /// The peer is content. `con_mode` is one of the modes that were asked for.
    fn auth_done(
        &self,
        con: &Arc<Connection>,
        global_id: u64,
        con_mode: u32,
        payload: &[u8],
    ) -> Result<AuthKeys>;

    /// The peer refuses the method or the modes. If this returns `Ok`,
    /// [`auth_request`](Self::auth_request) is asked again at once; return an error
    /// if there is nothing else to try.
    fn auth_bad_method(&self, con: &Arc<Connection>, bad: &AuthBadMethod) -> Result;
}

/// A session with one daemon.
#[pin_data]
pub struct Connection {
    pub(super) msgr: Arc<Messenger>,
    policy: Policy,
    /// Runs the actor.
    #[pin]
    work: DelayedTask<Connection>,
    /// Queues the work when a time is up.
    #[pin]
    alarm: DelayedTask<Connection, ALARM>,
    /// Protocol state and socket. Outside of the work, only what sends, revokes or closes
    /// takes this lock.
    #[pin]
    actor: Mutex<Actor>,
    #[pin]
    shared: Shared<Arc<dyn ConnectionOps>>,
    /// Waits, with `shared`, for the end of a callback.
    #[pin]
    quiet: CondVar,
}

/// Number of the [`DelayedTask`].
const ALARM: u64 = 1;

impl_has_delayed_task! {
    impl HasDelayedTask for Connection { self.work }
    impl HasDelayedTask<1> for Connection { self.alarm }
}

impl Connection {
    /// Makes a connection that is closed.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(msgr: &Arc<Messenger>, policy: Policy) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                msgr: msgr.clone(),
                policy,
                work <- new_delayed_task!(msgr.queue.clone(), "ceph_connection"),
                alarm <- new_delayed_task!(msgr.queue.clone(), "ceph_connection_alarm"),
                actor <- new_mutex!(Actor::new(), "ceph::Connection::actor"),
                shared <- Shared::new(),
                quiet <- new_condvar!("ceph::Connection::quiet"),
            }),
            GFP_KERNEL,
        )
    }

    /// Starts a session with `name` at `addr` (of kind msgr2); `ops` are called
    /// back. The connection should be closed: new, or after [`close`](Self::close);
    /// if it is not, it is closed as by [`close_nowait`](Self::close_nowait).
    pub fn open(self: &Arc<Self>, name: EntityName, addr: EntityAddr, ops: Arc<dyn ConnectionOps>) {
        self.cut(Some(Target { name, addr, ops }));
        DelayedTask::<Self>::mod_delayed(self.clone(), 0);
    }

    /// Ends the session: forgets queued and unacknowledged messages, closes the
    /// socket and drops `ops`. What was posted stays so.
    ///
    /// After it has returned, no callback of the session runs or comes later. It
    /// waits for a running one (a lock that a callback takes must not be held),
    /// unless it is called by that callback itself. May sleep.
    pub fn close(self: &Arc<Self>) {
        self.cut(None);
        self.wait_quiet();
    }

    /// As [`close`](Self::close), but does not wait: a callback that is running
    /// may still be running when this returns, though no other one will start. For
    /// callers that hold a lock which callbacks take. May sleep.
    pub fn close_nowait(self: &Arc<Self>) {
        self.cut(None);
    }

    /// Ends what is, and sets what is to come.
    fn cut(self: &Arc<Self>, target: Option<Target<Arc<dyn ConnectionOps>>>) {
        let (messages, old) = {
            let mut shared = self.shared.lock();
            shared.generation = shared.generation.wrapping_add(1);
            shared.keepalive = false;
            shared.alive = None;
            shared.established = false;
            shared.peer_features = 0;
            let old = core::mem::replace(&mut shared.target, target);
            (shared.queue.clear(), old)
        };
        drop(messages);
        self.actor.lock().reset(self);
        // A pause between attempts is over. The work only begins one while it has
        // the actor's lock.
        drop(DelayedTask::<Self>::cancel(self));
        self.never_mind();
        drop(old);
    }

    /// Waits for the end of a callback, unless that is what runs us.
    fn wait_quiet(&self) {
        let pid = task::current_pid();
        let mut shared = self.shared.lock();
        while shared.calling.is_some_and(|caller| caller != pid) {
            shared.awaited += 1;
            self.quiet.wait(&mut shared);
            shared.awaited -= 1;
        }
    }

    /// Begins a callback of the session `generation`; `None` if that is over. Called
    /// with the actor's lock held, so that who has that lock knows of all callbacks.
    #[inline]
    fn begin_call(&self, generation: u64, ask: &mut Ask) -> Option<Arc<dyn ConnectionOps>> {
        let mut shared = self.shared.lock();
        if shared.generation != generation {
            return None;
        }
        let ops = shared.target.as_ref()?.ops.clone();
        shared.calling = Some(task::current_pid());
        if let Ask::Dispatch(msg) = ask {
            // Without data, it was not lent.
            let posted = shared.complete(msg.header.tid, msg.header.kind);
            if msg.dest.is_none() {
                msg.dest = posted;
            }
        }
        Some(ops)
    }

    /// Ends a callback. Returns whether there is something to send, of which the work is told
    /// in no other way while a callback runs.
    fn end_call(&self, ops: Arc<dyn ConnectionOps>) -> bool {
        // Before the end is told: whoever waits for it may then drop what the
        // owner needs.
        drop(ops);
        let (awaited, more) = {
            let mut shared = self.shared.lock();
            shared.calling = None;
            (shared.awaited > 0, self.shared.has_work())
        };
        if awaited {
            self.quiet.notify_all();
        }
        more
    }

    /// Calls the owner for what the actor asks for, and lets that go on. Returns whether a
    /// message was taken in.
    fn call(self: &Arc<Self>, generation: u64, ops: &dyn ConnectionOps, ask: Ask) -> bool {
        let reply = match ask {
            Ask::Rest | Ask::Later(_) | Ask::Yield => return false,
            Ask::Dispatch(msg) => match ops.dispatch(self, msg) {
                Ok(()) => return true,
                Err(error) => Reply::Dispatched(Err(error)),
            },
            Ask::Alloc(header) => {
                let alloc = ops.alloc_msg(self, &header);
                Reply::Alloc(header, alloc)
            }
            Ask::AuthRequest => Reply::AuthRequest(ops.auth_request(self)),
            Ask::AuthBadMethod(bad) => Reply::AuthRequest(
                ops.auth_bad_method(self, &bad)
                    .and_then(|()| ops.auth_request(self)),
            ),
            Ask::AuthMore(payload) => Reply::AuthMore(ops.auth_more(self, &payload)),
            Ask::AuthDone {
                global_id,
                con_mode,
                payload,
            } => Reply::AuthDone(ops.auth_done(self, global_id, con_mode, &payload)),
            Ask::Established { reset } => {
                if reset {
                    ops.peer_reset(self);
                }
                ops.established(self);
                Reply::Heard
            }
            Ask::Fault(broken) => {
                ops.fault(self, &broken);
                Reply::Heard
            }
        };
        let mut actor = self.actor.lock();
        if actor.generation == generation {
            actor.resume(reply);
        }
        false
    }

    /// Queues a message. It is sent when the session is established; messages keep
    /// their order. On a closed connection it is dropped.
    ///
    /// A message is in one queue at a time: one that is still queued here or in
    /// another connection is left where it is (see [`revoke`](Self::revoke)).
    ///
    /// May sleep: mostly it sends the message itself.
    pub fn send(self: &Arc<Self>, msg: Arc<Message>) {
        let Ok(msg) = ListArc::try_from_arc(msg) else {
            return;
        };
        self.push(msg, None);
    }

    /// As [`send`](Self::send), a request whose reply, a message of kind `reply` with the same
    /// `tid`, is to have its data put into `dest`. The destination is posted: it comes back
    /// with that reply (also one without data), or by [`revoke`](Self::revoke), and else stays
    /// here, whatever becomes of the connection. Data that does not fit is a fault of the
    /// connection.
    pub fn send_expecting(
        self: &Arc<Self>,
        msg: Arc<Message>,
        reply: u16,
        room: Reservation,
        dest: IovDest,
    ) {
        let tid = msg.tid();
        let Ok(msg) = ListArc::try_from_arc(msg) else {
            self.repost(tid, reply, room, dest);
            return;
        };
        let posted = Posted {
            kind: reply,
            dest: Some(dest),
        };
        self.push(msg, Some((room, posted)));
    }

    fn push(self: &Arc<Self>, msg: ListArc<Message>, posted: Option<(Reservation, Posted)>) {
        // It may have had a number in another session.
        msg.set_seq(0);
        match self.shared.push(msg, posted) {
            Pushed::Closed | Pushed::Called => {}
            // Nothing is going on, so there is nothing to wait for: that spares the work a
            // turn. With others under way, messages that are sent together cost less.
            Pushed::Alone if self.send_now() => {}
            Pushed::Alone | Pushed::Behind => {
                DelayedTask::<Self>::queue(self.clone());
            }
        }
    }

    /// Sends what is queued, if nobody else is at it, who may have found the queue empty just
    /// before. Returns whether that is all there is to do.
    fn send_now(self: &Arc<Self>) -> bool {
        let _scope = NoIo::enter();
        let actor = self.actor.try_lock();
        actor.is_some_and(|mut actor| actor.send(self))
    }

    /// Posts a destination once more, for another reply to a request that was sent.
    pub fn repost(&self, tid: u64, reply: u16, room: Reservation, dest: IovDest) {
        let posted = Posted {
            kind: reply,
            dest: Some(dest),
        };
        let old = self.shared.lock().post(room, tid, posted);
        drop(old);
    }

    /// Takes a message back: afterwards it is in no queue, and no byte of it will be
    /// read. If it was half sent, the peer is told to ignore it. Returns the destination
    /// that was posted with it, to be filled from the start; what is still to come of the
    /// reply is thrown away. `None` if there was none, or if the reply is complete: then it
    /// is, or was, in the hands of [`ConnectionOps::dispatch`].
    ///
    /// Waits for no callback. May sleep.
    pub fn revoke(&self, msg: &Arc<Message>) -> Option<IovDest> {
        // Messages go from the queue to the socket with this lock held.
        let mut actor = self.actor.lock();
        actor.abort(msg);
        let tid = msg.tid();
        let (queued, mut dest, lent) = {
            let mut shared = self.shared.lock();
            let lent = shared.is_posted(tid);
            (shared.queue.remove(msg), shared.unpost(tid), lent)
        };
        if dest.is_none() && lent {
            dest = actor.take_lent(tid);
        }
        drop(actor);
        drop(queued);
        if let Some(dest) = &mut dest {
            dest.rewind();
        }
        dest
    }

    /// Asks the peer for a sign of life, as soon as the session is established.
    /// Never sleeps.
    pub fn keepalive(self: &Arc<Self>) {
        {
            let mut shared = self.shared.lock();
            if shared.target.is_none() {
                return;
            }
            shared.keepalive = true;
            self.shared.set_work(true);
        }
        DelayedTask::<Self>::queue(self.clone());
    }

    /// Whether the peer has answered no keepalive that was sent in the last `interval`,
    /// nor was the session established in it. False before the first.
    pub fn keepalive_expired(&self, interval: Duration) -> bool {
        let interval = time::msecs(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        let alive = self.shared.lock().alive;
        alive.is_some_and(|then| time::elapsed(then) >= interval)
    }

    /// Resets the connection as if [`ConnectionOps::dispatch`] had said that a message makes no
    /// sense: for what the owner finds out later, and has logged. May sleep.
    pub fn distrust(self: &Arc<Self>) {
        self.actor.lock().distrust();
        DelayedTask::<Self>::queue(self.clone());
    }

    /// Whether a session was established since [`open`](Self::open).
    pub fn is_established(&self) -> bool {
        self.shared.lock().established
    }

    /// Who the peer is; `None` when closed.
    pub fn peer(&self) -> Option<EntityName> {
        self.shared.lock().target.as_ref().map(|target| target.name)
    }

    /// Where the peer is; `None` when closed.
    pub fn peer_addr(&self) -> Option<EntityAddr> {
        self.shared.lock().target.as_ref().map(|target| target.addr)
    }

    /// Features that the peer has; 0 before the session is established.
    pub fn peer_features(&self) -> u64 {
        self.shared.lock().peer_features
    }

    /// What all connections of the client share.
    pub fn messenger(&self) -> &Arc<Messenger> {
        &self.msgr
    }

    /// What becomes of the session when its socket breaks.
    pub fn policy(&self) -> Policy {
        self.policy
    }
}

impl TaskHandler for Connection {
    fn run(this: Arc<Self>) {
        let _scope = NoIo::enter();
        for _ in 0..BUDGET {
            let mut actor = this.actor.lock();
            let mut ask = actor.next(&this);
            match ask {
                Ask::Rest => return,
                Ask::Later(delay) => {
                    // Before who closes can get the lock, and cancel it.
                    DelayedTask::<Self>::queue_delayed(this.clone(), delay);
                    return;
                }
                Ask::Yield => break,
                _ => {}
            }
            let generation = actor.generation;
            let Some(ops) = this.begin_call(generation, &mut ask) else {
                actor.put_back(ask);
                return;
            };
            let quiet = matches!(ask, Ask::Dispatch(_)) && actor.is_quiet(&this);
            drop(actor);
            let taken = this.call(generation, &*ops, ask);
            let more = this.end_call(ops);
            if quiet && taken && !more {
                return;
            }
        }
        DelayedTask::<Self>::queue(this);
    }
}

impl TaskHandler<ALARM> for Connection {
    fn run(this: Arc<Self>) {
        DelayedTask::<Self>::queue(this);
    }
}

impl Host for Arc<Connection> {
    type Ops = Arc<dyn ConnectionOps>;

    fn msgr(&self) -> &Messenger {
        &self.msgr
    }

    fn shared(&self) -> &Shared<Self::Ops> {
        &self.shared
    }

    fn is_lossless(&self) -> bool {
        self.policy == Policy::Lossless
    }

    fn waker(&self) -> Result<Arc<dyn SocketCallbacks>> {
        Ok(Arc::new(Waker(self.clone()), GFP_KERNEL)?)
    }

    fn wake_in(&self, delay: Jiffies) {
        DelayedTask::<Connection, ALARM>::mod_delayed(self.clone(), delay);
    }

    fn never_mind(&self) {
        drop(DelayedTask::<Connection, ALARM>::cancel(self));
    }
}

/// What the socket holds to wake the connection's work. The reference that it holds
/// is cut when the socket is closed.
struct Waker(Arc<Connection>);

impl Waker {
    /// While there is a socket, the work is never put off.
    fn wake(&self) {
        DelayedTask::<Connection>::queue(self.0.clone());
    }
}

impl SocketCallbacks for Waker {
    fn data_ready(&self) {
        self.wake();
    }

    fn write_space(&self) {
        self.wake();
    }

    fn state_change(&self, _state: TcpState) {
        self.wake();
    }
}
