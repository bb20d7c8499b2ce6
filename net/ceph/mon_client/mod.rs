// SPDX-License-Identifier: GPL-2.0
//! The client of the monitors: who the cluster is, which maps there are, and
//! questions to the monitors themselves.
//!
//! There is a session with one monitor at all times. [`Hunt`] says with which and
//! for how long, [`Subs`] which maps are wanted; they are pure, and this shell does what
//! they say, under one mutex. What we may use is the business of [`auth`], which has a
//! mutex of its own.
//!
//! A session counts as one when the monitor has said who it is. Before, the hunt goes on:
//! a monitor that takes our key may still have nothing to do with us, or fall silent.
//!
//! Each session has an object of its own for the callbacks of the connection (see
//! [`session`]), so one that comes late from a session that was given up is told
//! apart by the session's number.
//!
//! Locks: both are taken after any lock of the OSD and MDS clients, that of [`auth`] as the
//! inner one. Neither callbacks of requests nor [`MonDispatch`] are called with one of them
//! held. What allocates with one held does so in a [`NoIo`] scope: reclaim may wait for a
//! read, and the OSD client, to go on with that, for the mutex.
use core::time::Duration;
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    rbtree::RBTree,
    sync::{atomic::Atomic, Arc, Mutex, MutexGuard, SpinLock},
    time::Jiffies,
};
use kernel_ext::{
    alloc_scope::NoIo,
    global::Global,
    impl_has_delayed_task, new_delayed_task, new_wait_queue, random, time,
    wait::{WaitQueue, WaitTable},
    workqueue::{DelayedTask, OwnedQueue, TaskHandler},
};

use ceph_proto::errno;
use ceph_proto::machine::{
    auth::AuthClient,
    hunt::{Hunt, Tick, PING_TIMEOUT_MS},
    subs::Subs,
};
use ceph_proto::wire::{
    monmap::{Mon, MonMap},
    types::{EntityName, EntityType, Fsid},
};

use crate::auth::SERVICES;
use crate::events::Events;
use crate::log::{error, info};
use crate::messenger::{Broken, Connection, Incoming, Message, Messenger, Parts, Policy};
use crate::options::Options;

mod auth;
mod cause;
mod maps;
mod request;
mod session;
mod show;

use auth::MonAuth;
pub use cause::{Cause, Explained};
pub use ceph_proto::machine::subs::Sub;
pub use ceph_proto::wire::mon_request::Statfs;
use request::Pending;
use session::Session;

/// Who a task waits for, in the [`Reason`] of a wait for monitors.
pub const FROM_MONITORS: &str = "mon";

/// The queue of the ticks of all clients.
pub(crate) static QUEUE: Global<Arc<OwnedQueue>> = Global::new();

/// `CEPH_FEATURE_MON_STATEFUL_SUB` with its incarnation bit.
const MON_STATEFUL_SUB: u64 = 1 << 57;

/// Takes the maps that a monitor sends and that the monitor client does not read.
pub trait MonDispatch: Send + Sync {
    /// A message came in; with no lock held, from the connection's work. Returns
    /// whether its type is known.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, to get it again.
    fn dispatch(&self, monc: &MonClient, msg: &Incoming) -> Result<bool>;
}

/// The client of the monitors.
#[pin_data]
pub struct MonClient {
    options: Arc<Options>,
    messenger: Arc<Messenger>,
    con: Arc<Connection>,
    waits: Arc<WaitTable>,
    events: Arc<Events>,
    last_tid: Atomic<u64>,
    /// The current map: replaced, never changed. Innermost lock.
    #[pin]
    map: SpinLock<Arc<MonMap>>,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    auth: MonAuth,
    /// Woken when a map came, or when nothing will come.
    #[pin]
    changed: WaitQueue,
    #[pin]
    tick: DelayedTask<MonClient>,
}

struct Inner {
    /// Given by the mount options, or learned from the first map.
    fsid: Option<Fsid>,
    hunt: Hunt,
    subs: Subs,
    /// Number of the current session.
    session: u64,
    /// Since when there is none.
    lost_at: Option<Jiffies>,
    /// The subscriptions could not be sent.
    unsent: bool,
    /// Why there is none.
    cause: Option<Cause>,
    /// What became of the last connection that broke, since there was a session.
    broken: Option<(Mon, Broken)>,
    /// By tid.
    requests: RBTree<u64, Arc<dyn Pending>>,
    /// Cut by `stop`.
    maps: Option<Arc<dyn MonDispatch>>,
}

impl_has_delayed_task! { impl HasDelayedTask for MonClient { self.tick } }

impl MonClient {
    /// Makes a client that knows the addresses in the options and has no session.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a kind of key that is not known, `ENODEV` when the module is
    /// being removed, `ENOMEM`.
    pub fn new(
        options: Arc<Options>,
        messenger: Arc<Messenger>,
        waits: Arc<WaitTable>,
        events: Arc<Events>,
    ) -> Result<Arc<Self>> {
        let queue = QUEUE.get().ok_or(ENODEV)?;
        let con = Connection::new(&messenger, Policy::Lossy)?;
        let key = options
            .key
            .as_ref()
            .map(|key| key.try_clone())
            .transpose()?;
        let client = AuthClient::new(options.entity_name(), key, &SERVICES)?;
        let map = Arc::new(MonMap::initial(&options.mon_addrs)?, GFP_KERNEL)?;
        let inner = Inner {
            fsid: options.fsid,
            hunt: Hunt::new(),
            subs: Subs::new(),
            session: 0,
            lost_at: None,
            unsent: false,
            cause: None,
            broken: None,
            requests: RBTree::new(),
            maps: None,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                options,
                messenger,
                con,
                waits,
                events,
                last_tid: Atomic::new(0),
                map <- new_spinlock!(map, "ceph::MonClient::map"),
                inner <- new_mutex!(inner, "ceph::MonClient::inner"),
                auth <- MonAuth::new(client),
                changed <- new_wait_queue!("ceph::MonClient::changed"),
                tick <- new_delayed_task!(queue, "ceph_mon_tick"),
            }),
            GFP_KERNEL,
        )
    }

    /// Opens a session with a random monitor and asks for the maps of monitors and
    /// OSDs. Maps that are not the monitor client's go to `maps` until
    /// [`stop`](Self::stop).
    pub fn start(self: &Arc<Self>, maps: Arc<dyn MonDispatch>) {
        let _noio = NoIo::enter();
        let mut inner = self.inner.lock();
        inner.maps = Some(maps);
        inner.cause = None;
        inner.subs.want(Sub::MonMap, 0, true);
        inner.subs.want(Sub::OsdMap, 0, false);
        self.open(&mut inner);
        self.schedule(&inner);
    }

    /// Ends everything: afterwards no callback runs, and requests that are left
    /// have failed with `ESHUTDOWN`.
    pub fn stop(self: &Arc<Self>) {
        let maps = {
            let mut inner = self.inner.lock();
            inner.hunt.stop();
            inner.session = inner.session.wrapping_add(1);
            inner.maps.take()
        };
        drop(DelayedTask::<Self>::cancel_sync(self));
        self.con.close();
        drop(maps);
        self.fail_requests(errno::eshutdown());
        self.changed.wake_all();
    }

    /// Goes to another monitor, for example because our address has changed.
    pub fn reopen_session(self: &Arc<Self>) {
        let _noio = NoIo::enter();
        let mut inner = self.inner.lock();
        if !inner.hunt.is_stopped() {
            self.reopen(&mut inner);
            self.schedule(&inner);
        }
    }

    /// Takes another monitor than the current one and opens a session with it.
    fn open(self: &Arc<Self>, inner: &mut Inner) {
        let map = self.map();
        let pick = inner.hunt.next(map.mons.len(), random::below);
        let Some(mon) = pick.and_then(|i| map.mons.get(i)).copied() else {
            return;
        };
        inner.session = inner.session.wrapping_add(1);
        inner.lost_at.get_or_insert(time::jiffies());
        self.auth.begin(inner.session);
        // Without memory nothing is open, and the next tick tries again.
        if let Ok(ops) = Session::new(self.clone(), inner.session, mon) {
            let name = EntityName {
                kind: EntityType::MON,
                num: mon.rank,
            };
            self.con.open(name, mon.addr, ops);
            // The monitor shall be known to be alive when the hunt is over.
            self.con.keepalive();
        }
    }

    fn reopen(self: &Arc<Self>, inner: &mut Inner) {
        if !inner.hunt.is_hunting() {
            if let Some((mon, addr)) = self.con.peer().zip(self.con.peer_addr()) {
                info!("{mon} {addr} session lost, hunting for new mon\n");
                self.events
                    .add(format_args!("{mon} {addr} session lost, hunting"));
            }
        }
        self.con.close_nowait();
        self.open(inner);
    }

    fn schedule(self: &Arc<Self>, inner: &Inner) {
        let delay = time::msecs(u64::from(inner.hunt.delay_ms()));
        DelayedTask::<Self>::mod_delayed(self.clone(), delay);
    }

    /// Queues a message; without a session it is lost.
    fn send(&self, parts: Parts) -> Result {
        self.con.send(Message::new(parts)?);
        Ok(())
    }

    /// What all connections of the client share.
    pub fn messenger(&self) -> &Arc<Messenger> {
        &self.messenger
    }

    /// The current map of the monitors.
    pub fn map(&self) -> Arc<MonMap> {
        self.map.lock().clone()
    }

    /// Whether one of `addrs` is a monitor of this cluster. Never sleeps.
    pub fn knows_any(&self, addrs: &[core::net::SocketAddr]) -> bool {
        let map = self.map.lock();
        addrs.iter().any(|addr| map.contains(addr))
    }

    /// Remembers why there is no session. It is tried again and again, and one line in the
    /// log tells it.
    fn blame(&self, inner: &mut Inner, cause: Cause) {
        let kind = core::mem::discriminant(&cause);
        let old = inner.cause.replace(cause);
        if old.is_none_or(|old| core::mem::discriminant(&old) != kind) {
            let text = cause.explain(&self.options);
            error!("{text}\n");
            self.events.add(format_args!("{text}"));
        }
        self.changed.wake_all();
    }

    /// Why there is no session with a monitor, or none that is of use; `None` if there is
    /// one, or if nothing is known.
    pub fn cause(&self) -> Option<Explained<'_>> {
        let cause = self.inner.lock().cause?;
        Some(cause.explain(&self.options))
    }

    /// Whoever waits for a session has given up after so many seconds.
    pub(crate) fn waited(&self, seconds: u32) {
        let mut inner = self.inner.lock();
        let last = inner.broken;
        // What is known already says more.
        if inner.cause.is_none() {
            self.blame(&mut inner, Cause::Silent(seconds, last));
        }
    }

    /// Locks, if `session` is still the current one.
    fn lock_session(&self, session: u64) -> Option<MutexGuard<'_, Inner>> {
        let inner = self.inner.lock();
        (inner.session == session && !inner.hunt.is_stopped()).then_some(inner)
    }
}

impl TaskHandler for MonClient {
    fn run(this: Arc<Self>) {
        let _noio = NoIo::enter();
        let mut inner = this.inner.lock();
        let timeout = Duration::from_millis(u64::from(PING_TIMEOUT_MS));
        match inner.hunt.tick(this.con.keepalive_expired(timeout)) {
            Tick::Stopped => return,
            Tick::Reopen => this.reopen(&mut inner),
            Tick::Quiet => {
                this.con.keepalive();
                this.validate_auth();
                let forgets = this.con.peer_features() & MON_STATEFUL_SUB == 0;
                if inner.unsent || forgets && inner.subs.renewal_is_due(maps::now()) {
                    this.send_subs(&mut inner);
                }
            }
        }
        this.schedule(&inner);
    }
}
