// SPDX-License-Identifier: GPL-2.0
//! The client of the monitors: who the cluster is, which maps there are, and
//! questions to the monitors themselves.
//!
//! There is a session with one monitor at all times. [`Hunt`] says with which and
//! for how long, [`Subs`] which maps are wanted, [`AuthClient`] what we may use; they
//! are pure, and this shell does what they say, under one mutex.
//!
//! Each session has an object of its own for the callbacks of the connection (see
//! [`session`]), so one that comes late from a session that was given up is told
//! apart by the session's number.
//!
//! Locks: the mutex is taken after any lock of the OSD and MDS clients. Neither
//! callbacks of requests nor [`MonDispatch`] are called with it held. What allocates
//! with it held does so in a [`NoIo`] scope: reclaim may wait for a read, and the OSD
//! client, to go on with that, for the mutex.
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
    wait::{Reason, WaitQueue, WaitTable},
    workqueue::{DelayedTask, OwnedQueue, TaskHandler},
};

use ceph_proto::errno;
use ceph_proto::machine::{
    auth::{AuthClient, Authorizer},
    hunt::{Hunt, Tick, PING_TIMEOUT_MS},
    subs::Subs,
};
use ceph_proto::wire::{
    mon::kind,
    monmap::MonMap,
    types::{EntityName, EntityType, Fsid},
};

use crate::auth::{self, KernelCrypto};
use crate::events::Events;
use crate::log::{error, info};
use crate::messenger::{Connection, Incoming, Message, Messenger, Parts, Policy};
use crate::options::Options;

mod query;
mod session;
mod show;

pub use ceph_proto::machine::subs::Sub;
pub use ceph_proto::wire::mon::Statfs;
use query::Query;
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
    auth: AuthClient,
    /// Number of the current session.
    session: u64,
    /// Since when there is none.
    lost_at: Option<Jiffies>,
    /// A renewal of tickets is under way.
    renewing: bool,
    /// The subscriptions could not be sent.
    unsent: bool,
    /// Why waiting is in vain.
    error: Option<Error>,
    queries: RBTree<u64, Arc<Query>>,
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
        options: &Options,
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
        let map = Arc::new(MonMap::initial(&options.mon_addrs)?, GFP_KERNEL)?;
        let inner = Inner {
            fsid: options.fsid,
            hunt: Hunt::new(),
            subs: Subs::new(),
            auth: AuthClient::new(options.entity_name(), key, &auth::SERVICES)?,
            session: 0,
            lost_at: None,
            renewing: false,
            unsent: false,
            error: None,
            queries: RBTree::new(),
            maps: None,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                messenger,
                con,
                waits,
                events,
                last_tid: Atomic::new(0),
                map <- new_spinlock!(map, "ceph::MonClient::map"),
                inner <- new_mutex!(inner, "ceph::MonClient::inner"),
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
        inner.error = None;
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
            inner.error = Some(errno::eshutdown());
            inner.session = inner.session.wrapping_add(1);
            inner.maps.take()
        };
        drop(DelayedTask::<Self>::cancel_sync(self));
        self.con.close();
        drop(maps);
        self.fail_queries(errno::eshutdown());
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
        inner.renewing = false;
        inner.auth.reset();
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

    /// Registers interest in a map: all from epoch `start` on (0: the newest), once
    /// or continuously. Returns whether that is new; then
    /// [`renew_subs`](Self::renew_subs) asks for it.
    pub fn want_map(&self, sub: Sub, start: u32, continuous: bool) -> bool {
        self.inner.lock().subs.want(sub, start, continuous)
    }

    /// A map was received and taken in.
    pub fn got_map(&self, sub: Sub, epoch: u32) {
        self.inner.lock().subs.got(sub, epoch);
        self.changed.wake_all();
    }

    /// Sends all subscriptions, now or as soon as there is a session.
    pub fn renew_subs(&self) {
        let _noio = NoIo::enter();
        let mut inner = self.inner.lock();
        if !inner.hunt.is_hunting() {
            self.send_subs(&mut inner);
        }
    }

    fn send_subs(&self, inner: &mut Inner) {
        let sent = inner.subs.request(now()).and_then(|front| {
            let Some(front) = front else { return Ok(()) };
            self.send(Parts {
                kind: kind::MON_SUBSCRIBE,
                version: 2,
                front,
                ..Parts::default()
            })
        });
        inner.unsent = sent.is_err();
        if inner.unsent {
            error!("cannot subscribe to maps: out of memory; tried again soon\n");
        }
    }

    /// Names the file system whose MDS map is wanted.
    pub fn set_fs_cluster_id(&self, id: i32) {
        self.inner.lock().subs.set_fs(id);
    }

    /// Learns the cluster's identity, or compares it with what is known.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` if it is another cluster; a mount that waits fails with that.
    pub fn check_fsid(&self, fsid: &Fsid) -> Result {
        let mut inner = self.inner.lock();
        let known = *inner.fsid.get_or_insert(*fsid);
        if known == *fsid {
            return Ok(());
        }
        if inner.error.is_none() {
            error!(
                "bad fsid, had {known} got {fsid}: these monitors are of another cluster, \
                check the source of the mount and its monitors\n"
            );
        }
        if inner.subs.get(Sub::MonMap).1 == 0 {
            inner.error = Some(errno::ehostunreach());
        }
        drop(inner);
        self.changed.wake_all();
        Err(errno::ehostunreach())
    }

    /// The cluster's identity, once it is known.
    pub fn fsid(&self) -> Option<Fsid> {
        self.inner.lock().fsid
    }

    /// The client's number; 0 before it was authenticated.
    pub fn global_id(&self) -> u64 {
        self.inner.lock().auth.global_id()
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

    /// Waits for the first maps of monitors and OSDs.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `EINTR` when the task is being killed, and what makes waiting
    /// vain: `EACCES` (the key), `EHOSTUNREACH` (another cluster).
    pub fn wait_maps(&self, timeout: Option<Jiffies>) -> Result {
        let reason = Reason {
            what: "mount",
            whom: FROM_MONITORS,
            ..Reason::default()
        };
        let mut result = Ok(());
        self.changed.wait_until(&self.waits, reason, timeout, || {
            let inner = self.inner.lock();
            let have = |sub| inner.subs.get(sub).1 > 0;
            match inner.error {
                Some(error) => {
                    result = Err(error);
                    true
                }
                None => have(Sub::MonMap) && have(Sub::OsdMap),
            }
        })?;
        result
    }

    /// Waits until the OSD map has at least this epoch.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `EINTR` when the task is being killed, `ESHUTDOWN`.
    pub fn wait_osdmap(&self, epoch: u32, timeout: Option<Jiffies>) -> Result {
        let reason = Reason {
            what: "osdmap",
            whom: FROM_MONITORS,
            id: u64::from(epoch),
            ..Reason::default()
        };
        let mut stopped = false;
        self.changed.wait_until(&self.waits, reason, timeout, || {
            let inner = self.inner.lock();
            stopped = inner.hunt.is_stopped();
            stopped || inner.subs.get(Sub::OsdMap).1 >= epoch
        })?;
        match stopped {
            true => Err(errno::eshutdown()),
            false => Ok(()),
        }
    }

    /// Makes sure that the OSD map is at least as new as the monitors' is now.
    ///
    /// # Errors
    ///
    /// Those of [`get_version`](Self::get_version) and
    /// [`wait_osdmap`](Self::wait_osdmap).
    pub fn wait_latest_osdmap(&self, timeout: Option<Jiffies>) -> Result {
        let newest = u32::try_from(self.get_version("osdmap")?).map_err(|_| EINVAL)?;
        let have = self.inner.lock().subs.get(Sub::OsdMap).1;
        if have >= newest {
            return Ok(());
        }
        if self.want_map(Sub::OsdMap, have.saturating_add(1), false) {
            self.renew_subs();
        }
        self.wait_osdmap(newest, timeout)
    }

    /// What convinces a service that we may use it.
    pub(crate) fn authorizer(&self, service: EntityType) -> Result<(u32, Authorizer)> {
        let inner = self.inner.lock();
        let authorizer = inner.auth.authorizer(&KernelCrypto, service)?;
        Ok((inner.auth.method(), authorizer))
    }

    /// A service did not take our ticket: gets another one.
    pub(crate) fn invalidate(&self, service: EntityType) {
        let mut inner = self.inner.lock();
        inner.auth.invalidate(service);
        self.renew_tickets(&mut inner);
    }

    /// Renews the tickets that have to be renewed.
    pub fn validate_auth(&self) {
        let _noio = NoIo::enter();
        self.renew_tickets(&mut self.inner.lock());
    }

    fn renew_tickets(&self, inner: &mut Inner) {
        if inner.renewing || inner.hunt.is_hunting() || inner.hunt.is_stopped() {
            return;
        }
        let sent = inner
            .auth
            .renewal(&KernelCrypto, auth::now())
            .and_then(|front| match front {
                Some(front) => self.send_auth(front).map(|()| true),
                None => Ok(false),
            });
        match sent {
            Ok(sent) => inner.renewing = sent,
            Err(error) => error!("cannot renew tickets: {}\n", error.to_errno()),
        }
    }

    fn send_auth(&self, front: KVVec<u8>) -> Result {
        self.send(Parts {
            kind: kind::AUTH,
            front,
            ..Parts::default()
        })
    }

    /// Waiting is in vain.
    fn give_up(&self, inner: &mut Inner, error: Error) {
        inner.error = Some(error);
        self.changed.wake_all();
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
                this.renew_tickets(&mut inner);
                let forgets = this.con.peer_features() & MON_STATEFUL_SUB == 0;
                if inner.unsent || forgets && inner.subs.renewal_is_due(now()) {
                    this.send_subs(&mut inner);
                }
            }
        }
        this.schedule(&inner);
    }
}

/// Seconds since the machine started.
fn now() -> u64 {
    time::to_msecs(time::jiffies()) / 1000
}
