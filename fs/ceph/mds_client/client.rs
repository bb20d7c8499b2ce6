// SPDX-License-Identifier: GPL-2.0
//! The MDS client of one mount: its map, its sessions by rank, its requests by tid.
//!
//! Locks, outermost first: `MdsClient::maps`, `Session::io`, `MdsClient::state`, then the leaf
//! locks `Session::inner` and `Request::progress`. Messages are encoded under `Session::io`
//! alone.
use core::fmt;
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    time::Jiffies,
};
use kernel_ext::{
    impl_has_delayed_task, new_delayed_task, new_wait_queue, time,
    wait::WaitQueue,
    workqueue::{
        DelayedTask,
        OwnedQueue, //
    },
};

use ceph_core::client::Client;
use ceph_fs_proto::wire::mdsmap::MdsMap;

use super::{
    config::Config,
    events::{
        MdsEvents,
        SessionOf, //
    },
    request::Pending,
};

/// Where the mount is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Mounting,
    Mounted,
    /// Shut out by the cluster, and about to begin anew: requests wait.
    Recovering,
    /// Sessions are being closed.
    Stopping,
    /// By force: nothing succeeds any more.
    Shutdown,
}

pub(super) struct State<F: MdsEvents> {
    pub(super) map: Option<Arc<MdsMap>>,
    /// Why there will be no map.
    pub(super) map_error: Option<Error>,
    pub(super) phase: Phase,
    /// By rank.
    pub(super) sessions: KVec<Option<Arc<SessionOf<F>>>>,
    pub(super) requests: RBTree<u64, Arc<dyn Pending<F>>>,
    pub(super) last_renew: Jiffies,
}

/// The MDS client of one mount.
#[pin_data]
pub(crate) struct MdsClient<F: MdsEvents> {
    pub(super) client: Arc<Client>,
    pub(super) config: Config,
    #[pin]
    fs: SpinLock<Option<Arc<F>>>,
    /// Held while a map is taken in: monitors and metadata servers send them.
    #[pin]
    pub(super) maps: Mutex<()>,
    #[pin]
    pub(super) state: Mutex<State<F>>,
    pub(super) last_tid: Atomic<u64>,
    /// A server said that the cluster has shut this client out.
    blocklisted: Atomic<i32>,
    /// A session came or went.
    #[pin]
    pub(super) sessions_changed: WaitQueue,
    #[pin]
    tick: DelayedTask<MdsClient<F>>,
}

impl_has_delayed_task! {
    impl{F: MdsEvents} HasDelayedTask for MdsClient<F> { self.tick }
}

impl<F: MdsEvents> MdsClient<F> {
    /// Makes an MDS client; its periodic work runs on `queue`.
    pub(crate) fn new(
        client: Arc<Client>,
        config: Config,
        queue: Arc<OwnedQueue>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                client,
                config,
                fs <- new_spinlock!(None, "ceph::MdsClient::fs"),
                maps <- new_mutex!((), "ceph::MdsClient::maps"),
                state <- new_mutex!(
                    State {
                        map: None,
                        map_error: None,
                        phase: Phase::Mounting,
                        sessions: KVec::new(),
                        requests: RBTree::new(),
                        last_renew: time::jiffies(),
                    },
                    "ceph::MdsClient::state"
                ),
                last_tid: Atomic::new(0),
                blocklisted: Atomic::new(0),
                sessions_changed <- new_wait_queue!("ceph::MdsClient::sessions_changed"),
                tick <- new_delayed_task!(queue, "ceph::MdsClient::tick"),
            }),
            GFP_KERNEL,
        )
    }

    /// Connects the file system; before anything else. [`stop`](Self::stop) cuts it.
    pub(super) fn connect(&self, fs: Arc<F>) {
        *self.fs.lock() = Some(fs);
    }

    /// Cuts what leads up.
    pub(super) fn disconnect(&self) {
        let fs = self.fs.lock().take();
        drop(fs);
    }

    /// The file system above, until it is cut.
    pub(super) fn fs(&self) -> Option<Arc<F>> {
        self.fs.lock().clone()
    }

    /// The mount is complete: from now on a request outlasts the loss of all ranks.
    pub(crate) fn mounted(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Mounting {
            state.phase = Phase::Mounted;
        }
    }

    /// Whether the cluster has shut this client out.
    pub(crate) fn is_blocklisted(&self) -> bool {
        self.blocklisted.load(Relaxed) != 0
    }

    /// Notes that the cluster has shut this client out, or not any more. Whether that is
    /// new.
    pub(crate) fn set_blocklisted(&self, blocklisted: bool) -> bool {
        let new = i32::from(blocklisted);
        self.blocklisted.xchg(new, Relaxed) != new
    }

    /// The request with this number, if it is not over.
    pub(crate) fn request(&self, tid: u64) -> Option<Arc<dyn Pending<F>>> {
        self.state.lock().requests.get(&tid).cloned()
    }

    /// The current map.
    pub(crate) fn map(&self) -> Option<Arc<MdsMap>> {
        self.state.lock().map.clone()
    }

    /// Whether it is the session of its rank still.
    pub(super) fn is_current(&self, session: &Arc<SessionOf<F>>) -> bool {
        self.state.lock().is_current(session)
    }

    /// Calls `f` for each session, with no lock held.
    pub(crate) fn for_each_session(&self, mut f: impl FnMut(&Arc<SessionOf<F>>)) {
        for session in self.sessions() {
            f(&session);
        }
    }

    /// The sessions, by rank, each as it is when its turn comes. Takes the state's lock
    /// for each, and no memory: what goes over all sessions must not be cut short.
    pub(super) fn sessions(&self) -> impl Iterator<Item = Arc<SessionOf<F>>> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let state = self.state.lock();
            let mut rest = state.sessions.iter().enumerate().skip(from);
            let (at, session) = rest.find_map(|(at, s)| Some((at, s.clone()?)))?;
            from = at.saturating_add(1);
            Some(session)
        })
    }

    /// An event for the file `health`.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        self.client.events.add(what);
    }
}

impl<F: MdsEvents> State<F> {
    pub(super) fn slot(&mut self, rank: u32) -> Option<&mut Option<Arc<SessionOf<F>>>> {
        self.sessions.get_mut(usize::try_from(rank).ok()?)
    }

    pub(super) fn session(&self, rank: u32) -> Option<&Arc<SessionOf<F>>> {
        self.sessions.get(usize::try_from(rank).ok()?)?.as_ref()
    }

    pub(super) fn is_current(&self, session: &Arc<SessionOf<F>>) -> bool {
        let current = self.session(session.rank);
        current.is_some_and(|current| Arc::ptr_eq(current, session))
    }

    /// The oldest request that is not over.
    pub(super) fn oldest_tid(&self) -> Option<u64> {
        self.requests.keys().next().copied()
    }
}
