// SPDX-License-Identifier: GPL-2.0
//! The client of the monitors itself: what it is made of, its beginning and its end.
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    rbtree::RBTree,
    sync::{atomic::Atomic, Arc, Mutex, MutexGuard, SpinLock},
    time::Jiffies,
};
use kernel_ext::{
    global::Global,
    impl_has_delayed_task, new_delayed_task, new_wait_queue,
    wait::{WaitQueue, WaitTable},
    workqueue::{DelayedTask, OwnedQueue},
};

use ceph_proto::errno;
use ceph_proto::machine::{auth::AuthClient, hunt::Hunt, subs::Subs};
use ceph_proto::wire::{
    monmap::{Mon, MonMap},
    types::Fsid,
};

use super::{
    auth::MonAuth,
    cause::{Cause, Explained},
    generic_request::Pending,
};
use crate::auth::SERVICES;
use crate::events::Events;
use crate::log::error;
use crate::messenger::{Broken, Connection, Incoming, Message, Messenger, Parts, Policy};
use crate::options::Options;

/// Who a task waits for, in the [`Reason`](kernel_ext::wait::Reason) of a wait for monitors.
pub const FROM_MONITORS: &str = "mon";

/// The queue of the ticks of all clients.
pub(crate) static QUEUE: Global<Arc<OwnedQueue>> = Global::new();

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
    pub(super) options: Arc<Options>,
    pub(super) messenger: Arc<Messenger>,
    pub(super) con: Arc<Connection>,
    pub(super) waits: Arc<WaitTable>,
    pub(super) events: Arc<Events>,
    pub(super) last_tid: Atomic<u64>,
    /// The current map: replaced, never changed. Innermost lock.
    #[pin]
    pub(super) map: SpinLock<Arc<MonMap>>,
    #[pin]
    pub(super) inner: Mutex<Inner>,
    #[pin]
    pub(super) auth: MonAuth,
    /// Woken when a map came, or when nothing will come.
    #[pin]
    pub(super) changed: WaitQueue,
    #[pin]
    pub(super) tick: DelayedTask<MonClient>,
}

pub(super) struct Inner {
    /// Given by the mount options, or learned from the first map.
    pub(super) fsid: Option<Fsid>,
    pub(super) hunt: Hunt,
    pub(super) subs: Subs,
    /// Number of the current session.
    pub(super) session: u64,
    /// Since when there is none.
    pub(super) lost_at: Option<Jiffies>,
    /// The subscriptions could not be sent.
    pub(super) unsent: bool,
    /// Why there is none.
    pub(super) cause: Option<Cause>,
    /// What became of the last connection that broke, since there was a session.
    pub(super) broken: Option<(Mon, Broken)>,
    /// By tid.
    pub(super) requests: RBTree<u64, Arc<dyn Pending>>,
    /// Cut by `stop`.
    pub(super) maps: Option<Arc<dyn MonDispatch>>,
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
        let map = Arc::new(
            MonMap::initial(messenger.addr_kind(), &options.mon_addrs)?,
            GFP_KERNEL,
        )?;
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

    /// Queues a message; without a session it is lost.
    pub(super) fn send(&self, parts: Parts) -> Result {
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
    pub(super) fn blame(&self, inner: &mut Inner, cause: Cause) {
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
    pub(super) fn lock_session(&self, session: u64) -> Option<MutexGuard<'_, Inner>> {
        let inner = self.inner.lock();
        (inner.session == session && !inner.hunt.is_stopped()).then_some(inner)
    }
}
