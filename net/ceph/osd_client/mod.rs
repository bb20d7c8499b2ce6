// SPDX-License-Identifier: GPL-2.0
//! The OSD client: objects are read wherever the OSD map says they are.
//!
//! ```text
//!   read() --> place(): target from the map --> Session (one for each OSD) --> Connection
//!                 ^                                |  reply: the answer
//!                 |  redirect, "ask the primary"   |
//!                 '--------------------------------'
//!   maps, broken connections, cancelled requests --> the worker: recall() what is
//!                                                    lent, then place() again
//! ```
//!
//! Submitting and answering take the lock of one session only (and, for the time of a
//! clone or a look-up, the spin lock `shared`). All that takes requests out of a
//! session for other reasons than an answer is done by one work item, the worker:
//! it alone changes the map, so no two of those run at once. A request that is placed
//! by a map which changes meanwhile is noticed by its epoch after it was inserted,
//! and the worker looks at it again.
//!
//! A destination is *lent* to a connection while a reply is received. A request
//! leaves its connection by [`Session::recall`], after which the connection cannot
//! touch its memory.
//!
//! Locks, outer first: a session's state, a request's state, `shared`.
use kernel::{
    alloc::flags::{GFP_ATOMIC, __GFP_NOWARN},
    new_mutex, new_spinlock,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc, Mutex, SpinLock,
    },
};
use kernel_ext::{
    alloc_scope::NoIo,
    global::Global,
    iov::IovDest,
    random, time,
    wait::WaitTable,
    workqueue::{impl_has_delayed_task, new_delayed_task, DelayedTask, OwnedQueue, TaskHandler},
};

use ceph_proto::crush::placement::OsdSet;
use ceph_proto::machine::osd_target::{Context, Outcome};
use ceph_proto::machine::placements::{Placements, UpActing};
use ceph_proto::wire::osd::flag;
use ceph_proto::wire::osdmap::{flags, OsdMap};
use ceph_proto::wire::osdmap_pool::{PgId, Pool};
use ceph_proto::wire::types::{EntityName, EntityType};

use crate::events::Events;
use crate::messenger::{Connection, Messenger, Policy};
use crate::mon_client::{MonClient, Sub};
use crate::options::{Options, ReadFromReplica};
use crate::request::Callback;

mod request;
mod session;
mod show;
mod worker;

pub use ceph_proto::machine::osd_target::ObjectName;
pub use request::{Answer, OsdRequest, ReadOp};
use session::{stopped, Ops, Session, HOMELESS};
pub use show::Waiting;

/// The queue of the workers of all clients.
pub(crate) static QUEUE: Global<Arc<OwnedQueue>> = Global::new();

type Node = RBTreeNode<u64, Arc<OsdRequest>>;

/// The client of the OSDs.
#[pin_data]
pub struct OsdClient {
    options: Arc<Options>,
    messenger: Arc<Messenger>,
    pub(crate) monc: Arc<MonClient>,
    events: Arc<Events>,
    last_tid: Atomic<u64>,
    /// Requests that have no answer yet.
    count: Atomic<i64>,
    /// The worker does not run soon.
    asleep: Atomic<bool>,
    /// Requests wait for a map of this epoch.
    barrier: Atomic<u32>,
    homeless: Arc<Session>,
    #[pin]
    shared: SpinLock<Shared>,
    /// Maps that came in, for the worker.
    #[pin]
    maps: Mutex<KVVec<KVVec<u8>>>,
    /// Inodes whose reads up to a tid nobody wants any more, for the worker.
    #[pin]
    given_up: SpinLock<KVec<(u64, u64)>>,
    /// Where placement groups are. A leaf.
    #[pin]
    placements: SpinLock<Placements>,
    /// All sessions shall be opened anew.
    reopen: Atomic<bool>,
    #[pin]
    worker: DelayedTask<OsdClient>,
}

/// Where the current map puts a request.
struct Placed {
    outcome: Outcome,
    osd: i32,
    paused: bool,
}

struct Shared {
    map: Option<Arc<OsdMap>>,
    sessions: RBTree<i32, Arc<Session>>,
    /// Why there is nothing more to be had.
    stopped: Option<Error>,
    /// For ever: the worker must not run again.
    ended: bool,
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
            map: None,
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
                barrier: Atomic::new(0),
                homeless,
                shared <- new_spinlock!(shared, "ceph::OsdClient::shared"),
                maps <- new_mutex!(KVVec::new(), "ceph::OsdClient::maps"),
                given_up <- new_spinlock!(KVec::new(), "ceph::OsdClient::given_up"),
                placements <- new_spinlock!(
                    Placements::none(),
                    "ceph::OsdClient::placements"
                ),
                reopen: Atomic::new(false),
                worker <- new_delayed_task!(queue, "ceph_osd_worker"),
            }),
            GFP_KERNEL,
        )
    }

    /// The current map; none before the first one came.
    pub fn map(&self) -> Option<Arc<OsdMap>> {
        self.shared.lock().map.clone()
    }

    /// Epoch of the current map, 0 before the first one.
    pub fn epoch(&self) -> u32 {
        self.shared.lock().map.as_ref().map_or(0, |map| map.epoch)
    }

    /// Takes the front of an `MOSDMap`, from whomever. The worker does the rest.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn handle_map(self: &Arc<Self>, front: KVVec<u8>) -> Result {
        self.maps.lock().push(front, GFP_KERNEL)?;
        self.wake_worker();
        Ok(())
    }

    /// Reads from an object into `dest`. The answer goes to `done`, from the work of a
    /// connection or of this client, or, without, to [`OsdRequest::wait`].
    ///
    /// It takes as long as it takes: OSDs that are down come back. See the options
    /// `osd_request_timeout` and [`cancel`](Self::cancel).
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what ended the client; then `dest` and `done` are dropped.
    pub fn read(
        self: &Arc<Self>,
        read: ReadOp,
        dest: IovDest,
        done: Option<Callback<Answer>>,
    ) -> Result<Arc<OsdRequest>> {
        let _noio = NoIo::enter();
        let flags = match self.options.read_from_replica {
            ReadFromReplica::No => 0,
            ReadFromReplica::Balance => flag::BALANCE_READS,
            ReadFromReplica::Localize => flag::LOCALIZE_READS,
        };
        if let Some(error) = self.shared.lock().stopped {
            return Err(error);
        }
        let tid = self.last_tid.fetch_add(1, Relaxed).wrapping_add(1);
        let limit = match self.options.osd_request_timeout {
            0 => None,
            seconds => Some(time::secs(u64::from(seconds))),
        };
        let req = OsdRequest::new(tid, read, flags, dest, limit, done)?;
        let node = RBTreeNode::new(tid, req.clone(), GFP_KERNEL)?;
        self.count.fetch_add(1, Full);
        if self.asleep.load(Relaxed) && self.asleep.xchg(false, Relaxed) {
            // From now on it shall look after requests each second.
            self.wake_worker();
        }
        self.place(node, &req);
        Ok(req)
    }

    /// Reads up to `length` bytes of an object and waits for them.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, and those of the OSD, such as `ENOENT`.
    pub fn read_object(self: &Arc<Self>, waits: &WaitTable, read: ReadOp) -> Result<KVVec<u8>> {
        let length = usize::try_from(read.length).map_err(|_| E2BIG)?;
        let req = self.read(read, IovDest::with_len(length)?, None)?;
        let answer = req.wait(waits).inspect_err(|_| self.cancel(&req))?;
        answer.result?;
        answer.dest.into_buffer().map_err(|_| EINVAL)
    }

    /// Ends a request with `EINTR`, unless it ends otherwise first. The answer comes
    /// when no connection can touch its memory.
    pub fn cancel(self: &Arc<Self>, req: &Arc<OsdRequest>) {
        self.fail(req, EINTR);
    }

    fn fail(self: &Arc<Self>, req: &Arc<OsdRequest>, error: Error) {
        req.state.lock().failed.get_or_insert(error);
        self.wake_worker();
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

    /// From now on, requests wait for a map of at least this epoch.
    pub fn epoch_barrier(self: &Arc<Self>, epoch: u32) {
        // Callers may race, but each only raises it.
        let mut current = self.barrier.load(Relaxed);
        while current < epoch {
            match self.barrier.cmpxchg(current, epoch, Full) {
                Ok(_) => break,
                Err(other) => current = other,
            }
        }
        if current < epoch && self.epoch() < epoch {
            self.request_map();
        }
    }

    /// The epoch that requests wait for.
    pub fn barrier(&self) -> u32 {
        self.barrier.load(Relaxed)
    }

    /// Ends all requests, those to come too, with an error, until
    /// [`resume`](Self::resume).
    pub fn abort(self: &Arc<Self>, error: Error) {
        self.shared.lock().stopped = Some(error);
        self.wake_worker();
    }

    /// After [`abort`](Self::abort), serves requests again.
    pub fn resume(&self) {
        let mut shared = self.shared.lock();
        if !shared.ended {
            shared.stopped = None;
        }
    }

    /// Ends everything: afterwards no connection is open, and all requests have
    /// ended with `ESHUTDOWN`.
    pub fn stop(self: &Arc<Self>) {
        {
            let mut shared = self.shared.lock();
            shared.stopped = Some(stopped());
            shared.ended = true;
        }
        drop(DelayedTask::<Self>::cancel_sync(self));
        self.close_all();
    }

    fn wake_worker(self: &Arc<Self>) {
        DelayedTask::<Self>::mod_delayed(self.clone(), 0);
    }

    /// Asks the monitors for the next map, and, while the cluster is full or paused,
    /// for all that follow.
    fn request_map(&self) {
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

    /// Position in the acting set of the replica to read from.
    fn pick_replica(&self, map: &OsdMap, acting: &OsdSet) -> usize {
        let osds = acting.as_slice();
        if self.options.read_from_replica == ReadFromReplica::Balance {
            let count = u32::try_from(osds.len()).unwrap_or(1);
            return random::below(count) as usize;
        }
        // The first of the nearest; none is further than any.
        let distance = |osd: &i32| self.locality(map, *osd).map_or(u32::MAX, u32::from);
        let nearest = osds.iter().enumerate().min_by_key(|(_, osd)| distance(osd));
        nearest.map_or(0, |(position, _)| position)
    }

    /// How near an OSD is to us: a type of CRUSH bucket.
    fn locality(&self, map: &OsdMap, osd: i32) -> Option<u16> {
        let here = &self.options.crush_location;
        map.crush().locality(osd, |kind, name| {
            here.iter().any(|(k, n)| k[..] == *kind && n[..] == *name)
        })
    }

    /// Where a placement group is, without asking CRUSH for what is known.
    fn up_acting(&self, map: &OsdMap, pool: &Pool, hash: PgId) -> UpActing {
        let pg = pool.pg(hash);
        let known = self.placements.lock().get(map.epoch, pg);
        known.unwrap_or_else(|| {
            let found = map.pg_to_up_acting(pool, hash);
            self.placements.lock().put(map.epoch, pg, &found);
            found
        })
    }

    /// Brings a request's target up to the current map.
    fn update_target(&self, req: &OsdRequest, map: &OsdMap) -> Placed {
        let pick = |map: &OsdMap, acting: &OsdSet| self.pick_replica(map, acting);
        let context = Context {
            barrier: self.barrier(),
            pick: &pick,
            place: &|map, pool, hash| self.up_acting(map, pool, hash),
        };
        let target = &mut req.state.lock().target;
        Placed {
            outcome: target.update(map, &context),
            osd: target.osd,
            paused: target.paused,
        }
    }

    /// Takes a request out of its session.
    fn unlink(&self, state: &mut session::State, tid: u64) -> Option<Node> {
        let node = state.requests.remove_node(&tid);
        if state.requests.is_empty() {
            state.idle_since = time::jiffies();
        }
        node
    }

    /// Answers a request that is in no session and whose destination is at home.
    fn finish(&self, req: &Arc<OsdRequest>, result: Result<usize>) {
        self.count.fetch_sub(1, Relaxed);
        req.complete(result);
    }

    /// Puts a request that is in no session where the current map says, and sends it
    /// if it may be sent. No lock is held.
    fn place(self: &Arc<Self>, node: Node, req: &Arc<OsdRequest>) {
        loop {
            let (map, stopped) = {
                let shared = self.shared.lock();
                (shared.map.clone(), shared.stopped)
            };
            if let Some(error) = stopped {
                drop(node);
                self.finish(req, Err(error));
                return;
            }
            let (session, placed) = match &map {
                Some(map) => {
                    let placed = self.update_target(req, map);
                    (self.session(map, placed.osd), Some(placed))
                }
                None => (self.homeless.clone(), None),
            };
            let mut state = session.state.lock();
            if state.closed {
                continue;
            }
            state.requests.insert(node);
            session.send(&state, req);
            drop(state);

            let epoch = map.as_ref().map_or(0, |map| map.epoch);
            match placed {
                Some(Placed {
                    outcome: Outcome::PoolGone,
                    ..
                }) => self.check_pool(req, epoch),
                Some(Placed { paused: false, .. }) if session.id != HOMELESS => (),
                _ => self.request_map(),
            }
            let (newest, ended) = {
                let shared = self.shared.lock();
                let newest = shared.map.as_ref().map_or(0, |map| map.epoch);
                (newest, shared.stopped.is_some())
            };
            if newest != epoch || ended || req.state.lock().failed.is_some() {
                self.wake_worker();
            }
            return;
        }
    }

    /// The session with an OSD, which may have to be opened, or that of requests
    /// without one (also if there is no memory: the worker tries again).
    fn session(self: &Arc<Self>, map: &OsdMap, osd: i32) -> Arc<Session> {
        if osd < 0 || !map.osd_is_up(osd) {
            return self.homeless.clone();
        }
        if let Some(session) = self.shared.lock().sessions.get(&osd) {
            return session.clone();
        }
        self.open_session(map, osd)
            .unwrap_or_else(|_| self.homeless.clone())
    }

    fn open_session(self: &Arc<Self>, map: &OsdMap, osd: i32) -> Result<Arc<Session>> {
        if self.placements.lock().is_none() {
            // Who reads nothing needs none.
            let placements = Placements::new()?;
            let old = core::mem::replace(&mut *self.placements.lock(), placements);
            // Somebody else's, perhaps: without the lock.
            drop(old);
        }
        let con = Connection::new(&self.messenger, Policy::Lossy)?;
        let session = Session::new(osd, Some(con))?;
        let node = RBTreeNode::new(osd, session.clone(), GFP_KERNEL)?;
        self.connect(&session, map)?;
        let other = {
            let mut shared = self.shared.lock();
            match shared.sessions.get(&osd).cloned() {
                None if shared.stopped.is_none() => {
                    shared.sessions.insert(node);
                    return Ok(session);
                }
                other => other,
            }
        };
        // Somebody was faster, or there shall be none.
        session.close_connection();
        other.ok_or_else(stopped)
    }

    /// Opens the connection of a session to where the map says.
    fn connect(self: &Arc<Self>, session: &Arc<Session>, map: &OsdMap) -> Result {
        let Some(con) = &session.con else {
            return Ok(());
        };
        let ops = Ops::new(self.clone(), session.clone())?;
        let name = EntityName {
            kind: EntityType::OSD,
            num: u64::try_from(session.id).map_err(|_| EINVAL)?,
        };
        con.open(name, map.osd_addr(session.id), ops);
        Ok(())
    }
}

impl TaskHandler for OsdClient {
    fn run(this: Arc<Self>) {
        let _noio = NoIo::enter();
        this.work();
    }
}
