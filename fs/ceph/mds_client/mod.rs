// SPDX-License-Identifier: GPL-2.0
//! The MDS client: sessions with ranks, requests, and the maps that say who is who.
//!
//! [`MdsClient::do_request`] is the way in. A request waits in the table until the
//! map names an active rank and the session with it is open; it is sent, and sent
//! again to whom it is forwarded, or when a rank has restarted. What the file system
//! adds is behind [`MdsHooks`].
//!
//! Locks, outermost first: `MdsClient::maps`, `Session::io`, `MdsClient::state`, then the leaf locks
//! `Session::inner` and `Request::progress`. Messages are encoded under
//! `Session::io` alone.
use core::fmt::{self, Write};
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Mutex, SpinLock,
    },
    time::Jiffies,
};
use kernel_ext::{
    impl_has_delayed_task, new_delayed_task, new_wait_queue, random, time,
    wait::{Reason, WaitQueue},
    workqueue::{DelayedTask, OwnedQueue, TaskHandler},
};

use ceph_core::{
    client::Client,
    messenger::{Connection, Message, Parts, Policy},
};
use ceph_fs_proto::{
    machine::route::RankHints,
    wire::{
        mdsmap::MdsMap,
        msg::{CLIENT_REQUEST, CLIENT_SESSION},
        request::ClientRequest,
        session::ClientSession,
    },
};
use ceph_proto::{
    errno::{ehostunreach, eshutdown},
    wire::types::{EntityName, EntityType},
};

mod debugfs;
mod dispatch;
mod hooks;
mod map;
mod request;
mod session;

pub(crate) use hooks::MdsHooks;
pub(crate) use request::{Caller, OwnedPath, Reply, Request, Spec};
pub(crate) use session::{caps_epoch, Session, SessionState};

use dispatch::SessionOps;
use request::Place;

/// Who a task waits for, in the [`Reason`] of a wait for a metadata server.
pub(crate) const FROM_MDS: &str = "mds";
/// What an unmount waits for.
pub(crate) const CLOSE_WAIT: &str = "close of the sessions";

/// The tick: releases, renewals, silence of servers.
const TICK_SECS: u64 = 5;

/// How long an unmount waits for sessions to be closed. What the client holds is given
/// back by the same messages, and a server that does not run now reads them when it does.
const CLOSE_SECS: u64 = 10;
/// As [`CLOSE_SECS`], after `umount -f`: long enough to send the messages.
const FORCED_CLOSE_MSECS: u64 = 200;

/// Bytes from outside, printed as text with anything unusual escaped.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// What a mount says of itself and wants.
pub(crate) struct Config {
    /// File system name; `None` for the cluster's default one.
    pub fs_name: Option<KVec<u8>>,
    /// Fail requests at once, while mounting, if no rank is active.
    pub require_active: bool,
    /// Begin anew when the cluster has shut this client out (`recover_session=clean`).
    pub recover: bool,
    /// Host name, for the list of sessions that a server shows.
    pub hostname: KVec<u8>,
    /// Kernel release, likewise.
    pub kernel_release: KVec<u8>,
    /// Entity name without `client.`, likewise.
    pub entity_id: KVec<u8>,
    /// Path that is mounted, likewise.
    pub root: KVec<u8>,
}

/// Where the mount is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Mounting,
    Mounted,
    /// Shut out by the cluster, and about to begin anew: requests wait.
    Recovering,
    /// Sessions are being closed.
    Stopping,
    /// By force: nothing succeeds any more.
    Shutdown,
}

struct State<H: MdsHooks> {
    map: Option<Arc<MdsMap>>,
    /// Why there will be no map.
    map_error: Option<Error>,
    phase: Phase,
    /// By rank.
    sessions: KVec<Option<Arc<Session<H>>>>,
    requests: RBTree<u64, Arc<Request<H>>>,
    last_renew: Jiffies,
}

/// The MDS client of one mount.
#[pin_data]
pub(crate) struct MdsClient<H: MdsHooks> {
    client: Arc<Client>,
    config: Config,
    #[pin]
    hooks: SpinLock<Option<Arc<H>>>,
    /// Held while a map is taken in: monitors and metadata servers send them.
    #[pin]
    maps: Mutex<()>,
    #[pin]
    state: Mutex<State<H>>,
    last_tid: Atomic<u64>,
    /// A server said that the cluster has shut this client out.
    blocklisted: Atomic<i32>,
    /// A session came or went.
    #[pin]
    sessions_changed: WaitQueue,
    #[pin]
    tick: DelayedTask<MdsClient<H>>,
}

impl_has_delayed_task! {
    impl{H: MdsHooks} HasDelayedTask for MdsClient<H> { self.tick }
}

/// What is to become of a request next.
enum Next<H: MdsHooks> {
    Fail(Error),
    Wait,
    Send(Sending<H>),
}

/// How a request is to be sent.
struct Sending<H: MdsHooks> {
    /// Through this session.
    session: Arc<Session<H>>,
    /// If it was sent so many times until then.
    attempts: u32,
    /// The oldest request that is not answered.
    oldest: u64,
    /// Epoch of the map.
    epoch: u32,
}

impl<H: MdsHooks> MdsClient<H> {
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
                hooks <- new_spinlock!(None, "ceph::MdsClient::hooks"),
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
    pub(crate) fn start(self: &Arc<Self>, hooks: Arc<H>) {
        *self.hooks.lock() = Some(hooks);
        DelayedTask::<Self>::queue_delayed(self.clone(), time::secs(TICK_SECS));
    }

    /// The mount is complete: from now on a request outlasts the loss of all ranks.
    pub(crate) fn mounted(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Mounting {
            state.phase = Phase::Mounted;
        }
    }

    /// Lets the periodic work run now, which sends the releases that are pending. Any
    /// context.
    pub(crate) fn tick_soon(self: &Arc<Self>) {
        DelayedTask::<Self>::mod_delayed(self.clone(), 0);
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

    /// Ends all sessions on our side, with all that they vouched for. Requests wait until
    /// [`end_recovery`](Self::end_recovery).
    pub(crate) fn begin_recovery(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Mounted {
                return;
            }
            state.phase = Phase::Recovering;
        }
        for session in self.sessions() {
            self.drop_session(&session, SessionState::Closed);
        }
    }

    /// The client is another one now: requests go on.
    pub(crate) fn end_recovery(self: &Arc<Self>) {
        self.set_blocklisted(false);
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Recovering {
                return;
            }
            state.phase = Phase::Mounted;
        }
        self.kick(|_| true);
    }

    /// The request with this number, if it has no reply yet.
    pub(crate) fn request(&self, tid: u64) -> Option<Arc<Request<H>>> {
        self.state.lock().requests.get(&tid).cloned()
    }

    /// The current map.
    pub(crate) fn map(&self) -> Option<Arc<MdsMap>> {
        self.state.lock().map.clone()
    }

    /// The session with a rank, if there is one.
    pub(crate) fn session(&self, rank: u32) -> Option<Arc<Session<H>>> {
        self.state.lock().session(rank).cloned()
    }

    /// Whether it is the session of its rank still.
    fn is_current(&self, session: &Arc<Session<H>>) -> bool {
        self.state.lock().is_current(session)
    }

    /// Calls `f` for each session, with no lock held.
    pub(crate) fn for_each_session(&self, mut f: impl FnMut(&Arc<Session<H>>)) {
        for session in self.sessions() {
            f(&session);
        }
    }

    /// An event for the file `health`.
    fn note(&self, what: fmt::Arguments<'_>) {
        self.client.events.add(what);
    }

    fn hooks(&self) -> Option<Arc<H>> {
        self.hooks.lock().clone()
    }

    /// The sessions, by rank, each as it is when its turn comes. Takes the state's lock
    /// for each, and no memory: what goes over all sessions must not be cut short.
    fn sessions(&self) -> impl Iterator<Item = Arc<Session<H>>> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let state = self.state.lock();
            let mut rest = state.sessions.iter().enumerate().skip(from);
            let (at, session) = rest.find_map(|(at, s)| Some((at, s.clone()?)))?;
            from = at.saturating_add(1);
            Some(session)
        })
    }

    /// Asks and waits for the answer, killable.
    ///
    /// # Errors
    ///
    /// `EINTR` when killed, `ETIMEDOUT` after the request's own limit,
    /// `EHOSTUNREACH` while mounting if no rank is active, `EACCES` if the server
    /// rejects the client, `EIO` after a forced unmount or for a corrupt reply,
    /// `ENOMEM`. An error of the server is in [`Reply::result`].
    pub(crate) fn do_request(
        self: &Arc<Self>,
        spec: Spec<H::RequestTarget>,
    ) -> Result<Reply<H::Filled>> {
        let request = self.register(spec)?;
        self.advance(&request);
        match request.core.wait(&self.client.waits) {
            Err(e) if !request.core.is_complete() => self.abandon(&request, e),
            answer => answer,
        }
    }

    fn register(&self, spec: Spec<H::RequestTarget>) -> Result<Arc<Request<H>>> {
        let tid = self.last_tid.fetch_add(1, Relaxed).wrapping_add(1);
        let request = Request::new(tid, spec)?;
        let node = RBTreeNode::new(tid, request.clone(), GFP_KERNEL)?;
        self.state.lock().requests.insert(node);
        Ok(request)
    }

    /// The waiter gives up. A request that was sent stays until its reply, for the
    /// sake of the capabilities in it.
    fn abandon(&self, request: &Arc<Request<H>>, why: Error) -> Result<Reply<H::Filled>> {
        let removed = {
            let mut state = self.state.lock();
            if request.progress.lock().attempts == 0 {
                state.requests.remove(&request.tid())
            } else {
                None
            }
        };
        drop(removed);
        if request.core.complete(Err(why)) {
            return Err(why);
        }
        // The answer was faster.
        request.core.wait(&self.client.waits)
    }

    /// Ends a request, once.
    fn finish(&self, request: &Arc<Request<H>>, outcome: Result<Reply<H::Filled>>) {
        let removed = self.state.lock().requests.remove(&request.tid());
        if removed.is_some() {
            let msg = request.progress.lock().msg.take();
            drop(msg);
            request.core.complete(outcome);
        }
    }

    /// Moves a request on as far as it goes now.
    fn advance(self: &Arc<Self>, request: &Arc<Request<H>>) {
        let Some(hooks) = self.hooks() else {
            return self.finish(request, Err(eshutdown()));
        };
        match self.next(&hooks, request) {
            Next::Wait => {}
            Next::Fail(e) => self.finish(request, Err(e)),
            Next::Send(how) => {
                if let Err(e) = Self::transmit(request, &how) {
                    self.finish(request, Err(e));
                }
            }
        }
    }

    fn next(self: &Arc<Self>, hooks: &H, request: &Arc<Request<H>>) -> Next<H> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.requests.get(&request.tid()).is_none() {
            return Next::Wait;
        }
        match state.phase {
            Phase::Shutdown => return Next::Fail(EIO),
            Phase::Recovering => {
                request.progress.lock().place = Place::WaitsForMap;
                return Next::Wait;
            }
            Phase::Mounting | Phase::Mounted | Phase::Stopping => {}
        }
        let map = match (&state.map, state.map_error) {
            (_, Some(e)) if state.phase == Phase::Mounting => return Next::Fail(e),
            (Some(map), _) => map,
            (None, _) => {
                request.progress.lock().place = Place::WaitsForMap;
                return Next::Wait;
            }
        };
        if state.phase == Phase::Mounting && self.config.require_active && !map.is_available() {
            return Next::Fail(ehostunreach());
        }

        let hints = RankHints {
            resend: request.progress.lock().resend_rank,
            ..hooks.hints(&request.spec)
        };
        let Some(rank) = hints.choose(map, random::u32) else {
            request.progress.lock().place = Place::WaitsForMap;
            return Next::Wait;
        };
        let epoch = map.epoch;
        let session = match self.get_session(state, rank) {
            Ok(session) => session,
            Err(e) => return Next::Fail(e),
        };
        match session.state() {
            s if s.is_usable() => {
                let mut progress = request.progress.lock();
                progress.place = Place::Sent(rank);
                let attempts = progress.attempts;
                drop(progress);
                let oldest = state.requests.keys().next().copied();
                return Next::Send(Sending {
                    session,
                    attempts,
                    oldest: oldest.unwrap_or(request.tid()),
                    epoch,
                });
            }
            SessionState::Rejected => {
                let recovers = self.config.recover && self.is_blocklisted();
                if !recovers || state.phase != Phase::Mounted {
                    return Next::Fail(EACCES);
                }
            }
            SessionState::New => {
                if let Err(e) = self.open_session(state, &session) {
                    return Next::Fail(e);
                }
            }
            _ => {}
        }
        let mut progress = request.progress.lock();
        progress.place = Place::WaitsForSession(rank);
        progress.resend_rank = Some(rank);
        Next::Wait
    }

    /// Encodes and queues a request, unless the session has been lost meanwhile.
    fn transmit(request: &Arc<Request<H>>, how: &Sending<H>) -> Result {
        let session = &how.session;
        let _io = session.io.lock();
        // Whoever ends or restarts the session does so under `io`, and afterwards
        // moves all that is placed with it: this request too. And whoever sent it
        // in between has counted.
        let (state, features) = {
            let inner = session.inner.lock();
            (inner.state(), inner.features())
        };
        let forwards = {
            let progress = request.progress.lock();
            if !state.is_usable()
                || progress.place != Place::Sent(session.rank)
                || progress.attempts != how.attempts
            {
                return Ok(());
            }
            progress.forwards
        };
        let spec = &request.spec;
        let (version, front) = ClientRequest {
            oldest_client_tid: how.oldest,
            mdsmap_epoch: how.epoch,
            flags: if spec.want_dentry {
                ClientRequest::WANT_DENTRY
            } else {
                0
            },
            num_retry: how.attempts,
            num_fwd: forwards,
            op: spec.op,
            caller_uid: spec.caller.uid,
            caller_gid: spec.caller.gid,
            gids: &spec.caller.gids,
            args: spec.args,
            path1: spec.path1.borrow(),
            path2: spec.path2.borrow(),
            // Nothing that is asked for in order to read needs others' consent.
            releases: &[],
            stamp: request.stamp,
        }
        .encode(features)?;
        let msg = Message::new(Parts {
            kind: CLIENT_REQUEST,
            tid: request.tid(),
            version,
            front,
            ..Parts::default()
        })?;
        let previous = {
            let mut progress = request.progress.lock();
            progress.attempts = progress.attempts.saturating_add(1);
            progress.resend_rank = None;
            progress.msg.replace(msg.clone())
        };
        if let Some(previous) = previous {
            session.con.revoke(&previous);
        }
        session.send(msg);
        Ok(())
    }

    /// Moves on all requests that are where `pred` says.
    fn kick(self: &Arc<Self>, pred: impl Fn(Place) -> bool) {
        let mut tid = 0;
        loop {
            let next = {
                let mut state = self.state.lock();
                let mut at = state.requests.cursor_lower_bound_mut(&tid);
                loop {
                    let Some(cursor) = at else { break None };
                    let (_, request) = cursor.current();
                    if pred(request.progress.lock().place) {
                        break Some(request.clone());
                    }
                    at = cursor.move_next();
                }
            };
            let Some(request) = next else { return };
            tid = request.tid().saturating_add(1);
            self.advance(&request);
        }
    }

    /// The session with a rank; registers one if there is none.
    fn get_session(self: &Arc<Self>, state: &mut State<H>, rank: u32) -> Result<Arc<Session<H>>> {
        if let Some(session) = state.session(rank) {
            return Ok(session.clone());
        }
        if state.phase == Phase::Stopping {
            return Err(eshutdown());
        }
        let con = Connection::new(&self.client.messenger, Policy::Lossless)?;
        let session = Session::new(rank, con)?;
        let at = usize::try_from(rank).map_err(|_| EINVAL)?;
        while state.sessions.len() <= at {
            state.sessions.push(None, GFP_KERNEL)?;
        }
        if let Some(slot) = state.sessions.get_mut(at) {
            *slot = Some(session.clone());
        }
        Ok(session)
    }

    /// Opens the connection and asks for a session.
    fn open_session(self: &Arc<Self>, state: &State<H>, session: &Arc<Session<H>>) -> Result {
        let map = state.map.as_ref().ok_or_else(ehostunreach)?;
        let oldest = state.requests.keys().next().copied();
        let config = &self.config;
        let front = ClientSession::encode_open(
            0,
            &[
                ("hostname", &config.hostname),
                ("kernel_version", &config.kernel_release),
                ("entity_id", &config.entity_id),
                ("root", &config.root),
            ],
            oldest.unwrap_or(0),
        )?;
        let message = Message::new(Parts {
            kind: CLIENT_SESSION,
            version: ClientSession::OPEN_VERSION,
            front,
            ..Parts::default()
        })?;
        self.open_connection(map, session)?;
        // From here on nothing fails: others wait for this session to be open.
        session.inner.lock().opening(time::jiffies());
        self.note(format_args!("mds{} session opening", session.rank));
        session.send(message);
        Ok(())
    }

    fn open_connection(self: &Arc<Self>, map: &MdsMap, session: &Arc<Session<H>>) -> Result {
        let addr = map.addr(session.rank).ok_or_else(ehostunreach)?;
        let name = EntityName {
            kind: EntityType::MDS,
            num: u64::from(session.rank),
        };
        let ops = SessionOps::new(self.clone(), session.clone())?;
        session.con.open(name, addr, ops);
        Ok(())
    }

    /// Takes a session out of the table if it is the one there. From then on nobody opens
    /// its connection; with `Session::io` held, nobody is about to.
    fn unregister(&self, session: &Arc<Session<H>>) {
        let mut state = self.state.lock();
        let removed = match state.slot(session.rank) {
            Some(slot) if slot.as_ref().is_some_and(|s| Arc::ptr_eq(s, session)) => slot.take(),
            _ => None,
        };
        drop(state);
        drop(removed);
        self.sessions_changed.wake_all();
    }

    /// Ends a session on our side: it leaves the table, its capabilities go, and
    /// what was sent through it is moved on. From the connection's own callbacks
    /// or from elsewhere.
    fn drop_session(self: &Arc<Self>, session: &Arc<Session<H>>, last: SessionState) {
        {
            let _io = session.io.lock();
            // Before it is closed: who finds it in the table may open it.
            if last != SessionState::Rejected {
                self.unregister(session);
            }
            session.inner.lock().ended(last == SessionState::Rejected);
            session.con.close_nowait();
        }
        self.note(format_args!("mds{} session {}", session.rank, last.name()));
        self.sessions_changed.wake_all();
        if let Some(hooks) = self.hooks() {
            hooks.session_closed(session);
        }
        let rank = session.rank;
        self.kick(|place| place == Place::Sent(rank) || place == Place::WaitsForSession(rank));
    }

    /// Closes all sessions, at most for `limit` jiffies (and [`CLOSE_SECS`]), then cuts
    /// what is left. All requests fail from now on. Killable.
    pub(crate) fn stop(self: &Arc<Self>, limit: Jiffies) {
        let forced = {
            let mut state = self.state.lock();
            let forced = state.phase == Phase::Shutdown;
            if !forced {
                state.phase = Phase::Stopping;
            }
            forced
        };
        let hooks = self.hooks();
        let limit = match forced {
            true => time::msecs(FORCED_CLOSE_MSECS),
            false => limit.min(time::secs(CLOSE_SECS)),
        };
        for session in self.sessions() {
            if let Some(hooks) = &hooks {
                hooks.flush_releases(&session);
            }
            if session.state().is_usable() {
                if let Err(e) = session.request_close() {
                    pr_err!("mds{}: cannot close the session: {:?}\n", session.rank, e);
                }
            }
        }
        let reason = Reason {
            what: CLOSE_WAIT,
            whom: FROM_MDS,
            ..Reason::default()
        };
        // What is over has left the table.
        let closed = || !self.sessions().any(|s| s.state() == SessionState::Closing);
        if self
            .sessions_changed
            .wait_until(&self.client.waits, reason, Some(limit), closed)
            .is_err()
        {
            for session in self.sessions() {
                if session.state() == SessionState::Closing {
                    pr_warn!(
                        "mds{} does not answer: unmounted without its closing the session; if it \
                        is not coming back, see `ceph fs status` and `ceph mds fail`\n",
                        session.rank
                    );
                }
            }
        }
        self.shutdown();
        drop(DelayedTask::<Self>::cancel_sync(self));
        // Those that were not closed, or registered by a request meanwhile.
        for session in self.sessions() {
            {
                // Maps still come: who would reopen it looks whether it is in the table.
                let _io = session.io.lock();
                self.unregister(&session);
                session.inner.lock().ended(false);
            }
            session.con.close();
            if let Some(hooks) = &hooks {
                hooks.session_closed(&session);
            }
        }
        // The callbacks of those that have left the table.
        self.client.messenger.flush();
        let hooks = self.hooks.lock().take();
        drop(hooks);
    }

    /// Fails all requests, now and later (`umount -f`).
    pub(crate) fn shutdown(self: &Arc<Self>) {
        self.state.lock().phase = Phase::Shutdown;
        self.kick(|_| true);
    }
}

impl<H: MdsHooks> State<H> {
    fn slot(&mut self, rank: u32) -> Option<&mut Option<Arc<Session<H>>>> {
        self.sessions.get_mut(usize::try_from(rank).ok()?)
    }

    fn session(&self, rank: u32) -> Option<&Arc<Session<H>>> {
        self.sessions.get(usize::try_from(rank).ok()?)?.as_ref()
    }

    fn is_current(&self, session: &Arc<Session<H>>) -> bool {
        let current = self.session(session.rank);
        current.is_some_and(|current| Arc::ptr_eq(current, session))
    }
}

impl<H: MdsHooks> TaskHandler for MdsClient<H> {
    fn run(this: Arc<Self>) {
        let Some(hooks) = this.hooks() else { return };
        let renew = {
            let mut state = this.state.lock();
            if matches!(state.phase, Phase::Stopping | Phase::Shutdown) {
                return;
            }
            let timeout = state.map.as_ref().map_or(60, |map| map.session_timeout);
            let due = state
                .last_renew
                .wrapping_add(time::secs(u64::from(timeout / 4)));
            let renew = time::reached(due);
            if renew {
                state.last_renew = time::jiffies();
            }
            renew
        };
        for session in this.sessions() {
            if session.check_hung() {
                this.note(format_args!("mds{} hung", session.rank));
            }
            this.reconnect_late(&session);
            if !session.state().is_alive() {
                continue;
            }
            if renew {
                this.renew_caps(&session);
            } else {
                session.con.keepalive();
            }
            if session.state().is_usable() {
                hooks.flush_releases(&session);
            }
        }
        hooks.tick();
        DelayedTask::<Self>::queue_delayed(this, time::secs(TICK_SECS));
    }
}
