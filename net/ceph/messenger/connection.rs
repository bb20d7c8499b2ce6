// SPDX-License-Identifier: GPL-2.0
//! A session with one daemon, as its owner sees it.
//!
//! Locks, outer first: `Connection::actor` (a mutex; the work holds it while it
//! moves bytes, never while it calls the owner), `Connection::shared` (a spin lock,
//! the innermost).
use core::time::Duration;
use kernel::{
    list::ListArc,
    new_condvar, new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, CondVar, Mutex, SpinLock,
    },
    time::Jiffies,
};
use kernel_ext::{
    iov::IovDest,
    net::{SocketCallbacks, TcpState},
    task, time,
    workqueue::{impl_has_delayed_task, new_delayed_task, DelayedTask},
};

use ceph_proto::wire::types::{EntityAddr, EntityName};

use super::{
    actor::Actor, crypto::KernelCrypto, message::Message, ops::ConnectionOps, outgoing::Queue,
    Messenger,
};

/// What becomes of a session when its socket breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is lost (monitors, OSDs): the owner is told and starts anew.
    Lossy,
    /// It goes on over another socket (MDSs): messages are kept until they are
    /// acknowledged, and sent again.
    Lossless,
}

/// A destination that was lent for the data of a message, and the message's `tid`.
pub struct Lent {
    /// Transaction id of the message.
    pub tid: u64,
    /// What was lent; filled in part or not at all.
    pub dest: IovDest,
}

/// A session with one daemon.
#[pin_data]
pub struct Connection {
    pub(super) msgr: Arc<Messenger>,
    policy: Policy,
    #[pin]
    work: DelayedTask<Connection>,
    /// Protocol state and socket. Outside of the work, only what revokes or closes
    /// takes this lock.
    #[pin]
    pub(super) actor: Mutex<Actor>,
    /// What owner, senders and the work share.
    #[pin]
    pub(super) shared: SpinLock<Shared>,
    /// Whether there may be something to send in `shared`, so that the work does not lock
    /// it in vain. Written with that lock held.
    pending: Atomic<u32>,
    /// Waits, with `shared`, for the end of a callback.
    #[pin]
    quiet: CondVar,
}

impl_has_delayed_task! {
    impl HasDelayedTask for Connection { self.work }
}

/// See [`Connection`].
pub(super) struct Shared {
    /// Counts `open` and `close`; what the actor has of another generation is void.
    pub(super) generation: u64,
    pub(super) target: Option<Target>,
    pub(super) queue: Queue,
    /// A keepalive was asked for.
    pub(super) keepalive: bool,
    /// When the last keepalive that was answered was sent, or the session established.
    pub(super) alive: Option<Jiffies>,
    pub(super) established: bool,
    pub(super) peer_features: u64,
    /// The thread that is in a callback of the owner.
    calling: Option<i32>,
    /// Threads that wait for its end.
    awaited: u32,
}

/// Who a connection is opened to, and for whom.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) name: EntityName,
    pub(super) addr: EntityAddr,
    pub(super) ops: Arc<dyn ConnectionOps>,
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
                actor <- new_mutex!(Actor::new(), "ceph::Connection::actor"),
                shared <- new_spinlock!(
                    Shared {
                        generation: 0,
                        target: None,
                        queue: Queue::new(),
                        keepalive: false,
                        alive: None,
                        established: false,
                        peer_features: 0,
                        calling: None,
                        awaited: 0,
                    },
                    "ceph::Connection::shared"
                ),
                pending: Atomic::new(0),
                quiet <- new_condvar!("ceph::Connection::quiet"),
            }),
            GFP_KERNEL,
        )
    }

    /// Starts a session with `name` at `addr` (of kind msgr2); `ops` are called
    /// back. The connection should be closed: new, or after [`close`](Self::close);
    /// if it is not, it is closed as by [`close_nowait`](Self::close_nowait).
    pub fn open(self: &Arc<Self>, name: EntityName, addr: EntityAddr, ops: Arc<dyn ConnectionOps>) {
        drop(self.cut(Some(Target { name, addr, ops })));
        DelayedTask::<Self>::mod_delayed(self.clone(), 0);
    }

    /// Ends the session: forgets queued and unacknowledged messages, closes the
    /// socket and drops `ops`. Returns what was lent and has not come back.
    ///
    /// After it has returned, no callback of the session runs or comes later. It
    /// waits for a running one (a lock that a callback takes must not be held),
    /// unless it is called by that callback itself. May sleep.
    pub fn close(self: &Arc<Self>) -> Option<Lent> {
        let lent = self.cut(None);
        self.wait_quiet();
        lent
    }

    /// As [`close`](Self::close), but does not wait: a callback that is running
    /// may still be running when this returns, though no other one will start
    /// (only [`ConnectionOps::returned`], for a destination that this callback
    /// lends). For callers that hold a lock which callbacks take. May sleep.
    pub fn close_nowait(self: &Arc<Self>) -> Option<Lent> {
        self.cut(None)
    }

    /// Ends what is, and sets what is to come.
    fn cut(self: &Arc<Self>, target: Option<Target>) -> Option<Lent> {
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
        let lent = self.actor.lock().reset(self);
        // A pause between attempts is over. The work only begins one while it has
        // the actor's lock.
        drop(DelayedTask::<Self>::cancel(self));
        drop(old);
        lent
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
    pub(super) fn begin_call(&self, generation: u64) -> Option<Arc<dyn ConnectionOps>> {
        let mut shared = self.shared.lock();
        if shared.generation != generation {
            return None;
        }
        let ops = shared.target.as_ref()?.ops.clone();
        shared.calling = Some(task::current_pid());
        Some(ops)
    }

    /// Ends a callback.
    pub(super) fn end_call(&self, ops: Arc<dyn ConnectionOps>) {
        // Before the end is told: whoever waits for it may then drop what the
        // owner needs.
        drop(ops);
        let awaited = {
            let mut shared = self.shared.lock();
            shared.calling = None;
            shared.awaited > 0
        };
        if awaited {
            self.quiet.notify_all();
        }
    }

    /// Queues a message. It is sent when the session is established; messages keep
    /// their order. On a closed connection it is dropped. Never sleeps.
    ///
    /// A message is in one queue at a time: one that is still queued here or in
    /// another connection is left where it is (see [`revoke`](Self::revoke)).
    pub fn send(self: &Arc<Self>, msg: Arc<Message>) {
        let Ok(msg) = ListArc::try_from_arc(msg) else {
            return;
        };
        // It may have had a number in another session.
        msg.set_seq(0);
        let dropped = {
            let mut shared = self.shared.lock();
            if shared.target.is_some() {
                shared.queue.push(msg);
                self.set_work(true);
                None
            } else {
                Some(msg)
            }
        };
        if dropped.is_none() {
            DelayedTask::<Self>::queue(self.clone());
        }
    }

    /// Whether there may be a message or a keepalive to send. Whoever puts one there queues
    /// the work afterwards.
    pub(super) fn has_work(&self) -> bool {
        self.pending.load(Relaxed) != 0
    }

    /// With the lock of `shared`, whether there is something to send.
    pub(super) fn set_work(&self, pending: bool) {
        self.pending.store(u32::from(pending), Relaxed);
    }

    /// Takes a message back: afterwards it is in no queue, and no byte of it will be
    /// read. If it was half sent, the peer is told to ignore it.
    ///
    /// Returns whether any of it was still here. May sleep.
    pub fn revoke(&self, msg: &Arc<Message>) -> bool {
        // The work moves messages from the queue to the socket with this lock held.
        let mut actor = self.actor.lock();
        let half_sent = actor.abort(&KernelCrypto, msg);
        let queued = self.shared.lock().queue.remove(msg);
        drop(actor);
        half_sent || queued.is_some()
    }

    /// Takes back the destination that was lent for the message `tid`, of which the
    /// rest is then read and thrown away. `None` if there is none: it was never
    /// lent, or it has come back by a callback that has ended.
    ///
    /// Waits for a running callback as [`close`](Self::close) does. May sleep.
    pub fn revoke_incoming(&self, tid: u64) -> Option<IovDest> {
        loop {
            let mut actor = self.actor.lock();
            if let Some(dest) = actor.take_lent(tid) {
                return Some(dest);
            }
            // A callback begins with the actor's lock held: there is none now, or it
            // is the one to wait for.
            let calling = self.shared.lock().calling;
            drop(actor);
            if calling.is_none_or(|caller| caller == task::current_pid()) {
                return None;
            }
            self.wait_quiet();
        }
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
            self.set_work(true);
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

/// What the socket holds to wake the connection's work. The reference that it holds
/// is cut when the socket is closed.
pub(super) struct Waker(pub(super) Arc<Connection>);

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
