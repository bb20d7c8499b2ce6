// SPDX-License-Identifier: GPL-2.0
//! The client itself: what the files beside this one work on.
use kernel::{
    alloc::flags::{GFP_ATOMIC, __GFP_NOWARN},
    new_mutex, new_spinlock,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc, Mutex, SpinLock,
    },
};
use kernel_ext::{
    global::Global,
    published::Published,
    workqueue::{impl_has_delayed_task, new_delayed_task, DelayedTask, OwnedQueue},
};

use ceph_proto::errno;
use ceph_proto::machine::osd_barrier::Barrier;
use ceph_proto::wire::osd::OpResults;
use ceph_proto::wire::osdmap::{flags, OsdMap};

use super::{
    pool_question::PoolQuestion,
    request::Pending,
    session::{Session, HOMELESS},
    view::View,
    waiting_maps::WaitingMaps,
};
use crate::events::Events;
use crate::messenger::Messenger;
use crate::mon_client::{MonClient, Sub};
use crate::options::Options;
use crate::request::Callback;

/// The queue of the workers of all clients.
pub(crate) static QUEUE: Global<Arc<OwnedQueue>> = Global::new();

/// The client of the OSDs.
#[pin_data]
pub struct OsdClient {
    pub(super) options: Arc<Options>,
    pub(super) messenger: Arc<Messenger>,
    pub(crate) monc: Arc<MonClient>,
    pub(super) events: Arc<Events>,
    pub(super) last_tid: Atomic<u64>,
    /// Requests that have no answer yet.
    pub(super) count: Atomic<i64>,
    /// The worker does not run soon.
    pub(super) asleep: Atomic<bool>,
    /// What requests are placed by; none before the first map.
    pub(super) view: Published<View>,
    /// Epoch of its map. Set when it can be seen, and before the worker looks through the
    /// sessions: who has put a request there since sees it.
    pub(super) epoch: Atomic<u32>,
    /// That of `claims`: requests wait for a map of this epoch.
    pub(super) barrier: Atomic<u32>,
    /// The same, as far as it is known to be true.
    pub(super) confirmed_barrier: Atomic<u32>,
    #[pin]
    pub(super) claims: Mutex<Barrier<Callback<u32>>>,
    pub(super) pool_question: PoolQuestion,
    pub(super) homeless: Arc<Session>,
    #[pin]
    pub(super) shared: SpinLock<Shared>,
    /// `Shared::stopped`, for those who need not be exact: an errno, or 0.
    pub(super) halted: Atomic<i32>,
    #[pin]
    pub(super) maps: Mutex<WaitingMaps>,
    /// Inodes whose reads up to a tid nobody wants any more, for the worker.
    #[pin]
    pub(super) given_up: SpinLock<KVec<(u64, u64)>>,
    /// All sessions shall be opened anew.
    pub(super) reopen: Atomic<bool>,
    /// Sessions that are in the view are over.
    pub(super) retired: Atomic<bool>,
    #[pin]
    pub(super) worker: DelayedTask<OsdClient>,
}

pub(super) struct Shared {
    pub(super) sessions: RBTree<i32, Arc<Session>>,
    /// Why there is nothing more to be had.
    pub(super) stopped: Option<Error>,
    /// For ever: the worker must not run again.
    pub(super) ended: bool,
}

impl_has_delayed_task! { impl HasDelayedTask for OsdClient { self.worker } }

impl OsdClient {
    /// Makes a client without a map.
    ///
    /// # Errors
    ///
    /// `ENODEV` when the module is being removed, `ENOMEM`.
    pub fn new(
        options: Arc<Options>,
        messenger: Arc<Messenger>,
        monc: Arc<MonClient>,
        events: Arc<Events>,
    ) -> Result<Arc<Self>> {
        let queue = QUEUE.get().ok_or(ENODEV)?;
        let homeless = Session::new(HOMELESS, None)?;
        let shared = Shared {
            sessions: RBTree::new(),
            stopped: None,
            ended: false,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                options,
                messenger,
                monc,
                events,
                last_tid: Atomic::new(0),
                count: Atomic::new(0),
                asleep: Atomic::new(false),
                view: Published::new(None),
                epoch: Atomic::new(0),
                barrier: Atomic::new(0),
                confirmed_barrier: Atomic::new(0),
                claims <- new_mutex!(Barrier::new(), "ceph::OsdClient::claims"),
                pool_question: PoolQuestion::new(),
                homeless,
                shared <- new_spinlock!(shared, "ceph::OsdClient::shared"),
                halted: Atomic::new(0),
                maps <- new_mutex!(WaitingMaps::new(), "ceph::OsdClient::maps"),
                given_up <- new_spinlock!(KVec::new(), "ceph::OsdClient::given_up"),
                reopen: Atomic::new(false),
                retired: Atomic::new(false),
                worker <- new_delayed_task!(queue, "ceph_osd_worker"),
            }),
            GFP_KERNEL,
        )
    }

    /// The current map; none before the first one came.
    pub fn map(&self) -> Option<Arc<OsdMap>> {
        self.view.get().map(|view| view.map.clone())
    }

    /// Epoch of the current map, 0 before the first one.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Acquire)
    }

    /// A task that waits for requests is being killed: they end with `EINTR`, soon.
    pub fn submitter_killed(self: &Arc<Self>) {
        self.wake_worker();
    }

    /// Ends all reads for an inode that were begun before with `EINTR`, soon. Never sleeps,
    /// so memory reclaim may call it. Without memory they end when the OSD answers.
    pub fn give_up(self: &Arc<Self>, ino: u64) {
        let last = self.last_tid.load(Relaxed);
        let flags = GFP_ATOMIC | __GFP_NOWARN;
        let _ = self.given_up.lock().push((ino, last), flags);
        self.wake_worker();
    }

    /// Opens new sessions, soon, and sends all requests again through those.
    pub fn reopen(self: &Arc<Self>) {
        self.reopen.store(true, Relaxed);
        self.wake_worker();
    }

    /// Ends all requests, those to come too, with an error, until
    /// [`resume`](Self::resume).
    pub fn abort(self: &Arc<Self>, error: Error) {
        self.halt(&mut self.shared.lock(), Some(error));
        self.wake_worker();
    }

    pub(super) fn halt(&self, shared: &mut Shared, error: Option<Error>) {
        shared.stopped = error;
        let errno = error.map_or(0, |error| error.to_errno());
        self.halted.store(errno, Release);
    }

    /// Why there is nothing more to be had.
    pub(super) fn halted(&self) -> Option<Error> {
        match self.halted.load(Acquire) {
            0 => None,
            errno => Some(Error::from_errno(errno)),
        }
    }

    /// After [`abort`](Self::abort), serves requests again.
    pub fn resume(&self) {
        let mut shared = self.shared.lock();
        if !shared.ended {
            self.halt(&mut shared, None);
        }
    }

    /// Ends everything: afterwards no connection is open, and all requests have
    /// ended with `ESHUTDOWN`.
    pub fn stop(self: &Arc<Self>) {
        {
            let mut shared = self.shared.lock();
            self.halt(&mut shared, Some(stopped()));
            shared.ended = true;
        }
        drop(DelayedTask::<Self>::cancel_sync(self));
        self.forget_claims();
        self.close_all();
    }

    pub(super) fn wake_worker(self: &Arc<Self>) {
        DelayedTask::<Self>::mod_delayed(self.clone(), 0);
    }

    /// Asks the monitors for the next map, and, while the cluster is full or paused,
    /// for all that follow.
    pub(super) fn request_map(&self) {
        let (epoch, continuous) = match self.map() {
            Some(map) => (
                map.epoch,
                map.flags & (flags::FULL | flags::PAUSERD | flags::PAUSEWR) != 0,
            ),
            None => (0, false),
        };
        let next = epoch.saturating_add(1);
        if self.monc.want_map(Sub::OsdMap, next, continuous) {
            self.monc.renew_subs();
        }
    }

    /// Answers a request that is in no session and whose destination is at home.
    pub(super) fn finish(&self, pending: Pending, result: Result<OpResults>) {
        self.count.fetch_sub(1, Relaxed);
        pending.complete(result);
    }

    /// The session with the least id above `id`.
    pub(super) fn session_after(&self, id: i32) -> Option<Arc<Session>> {
        let shared = self.shared.lock();
        let cursor = shared.sessions.cursor_lower_bound(&id.checked_add(1)?)?;
        let (_, session) = cursor.current();
        Some(session.clone())
    }

    /// Calls `f` for each session, last for that of the requests without an OSD.
    pub(super) fn for_each_session(&self, mut f: impl FnMut(&Arc<Session>)) {
        let mut id = HOMELESS;
        while let Some(session) = self.session_after(id) {
            id = session.id;
            f(&session);
        }
        f(&self.homeless);
    }
}

/// An error that ends requests when the client is stopped.
pub(super) fn stopped() -> Error {
    errno::eshutdown()
}
