// SPDX-License-Identifier: GPL-2.0
//! What takes requests out of their sessions: new maps, broken connections,
//! cancelled requests, time.
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{Full, Relaxed},
        Arc,
    },
    time::Jiffies,
};
use kernel_ext::{time, workqueue::DelayedTask};

use ceph_proto::machine::osd_target::Outcome;
use ceph_proto::wire::osd::OsdMaps;
use ceph_proto::wire::osdmap::{flags, OsdMap};
use ceph_proto::wire::osdmap_inc::Incremental;

use super::{
    request::OsdRequest,
    session::{self, stopped, Session, HOMELESS},
    OsdClient,
};
use crate::log::{error, info};
use crate::mon_client::Sub;
use crate::request::Callback;

type Requests = RBTree<u64, Arc<OsdRequest>>;

/// Requests that were taken out of their sessions.
struct Taken {
    /// To be placed anew.
    again: Requests,
    /// To be ended.
    failed: Requests,
}

impl Taken {
    fn new() -> Self {
        Self {
            again: RBTree::new(),
            failed: RBTree::new(),
        }
    }
}

/// What [`OsdClient::scan`] takes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    /// What the map, a broken connection or its owner says.
    Changed,
    /// All requests.
    All,
    /// All requests, and sessions end.
    Reopen,
}

/// Pauses of the map: somebody wants to know when they end.
fn is_paused(map: &OsdMap) -> bool {
    map.flags & (flags::FULL | flags::PAUSERD | flags::PAUSEWR) != 0
}

impl OsdClient {
    /// One turn of the worker.
    pub(super) fn work(self: &Arc<Self>) {
        if self.shared.lock().ended {
            return;
        }
        self.asleep.store(false, Relaxed);
        let mut taken = Taken::new();
        let before = self.epoch();
        let (news, left) = self.take_all_maps(&mut taken);
        self.mark_given_up();
        let how = match self.reopen.xchg(false, Relaxed) {
            true => Scan::Reopen,
            false => Scan::Changed,
        };
        self.scan(how, &mut taken);
        self.settle(taken);
        if news {
            let epoch = self.epoch();
            if epoch != before {
                self.events.add(format_args!("osdmap {epoch}"));
            }
            self.monc.got_map(Sub::OsdMap, epoch);
        }
        self.tick();
        // Fully ordered, as is `read`: either that one sees that it has to wake us, or we see
        // its request.
        self.asleep.xchg(true, Full);
        let busy = self.count.load(Relaxed) > 0;
        if busy {
            self.asleep.store(false, Relaxed);
        }
        let delay = match busy || left {
            true => time::secs(1),
            false => time::secs(u64::from(self.options.osd_idle_ttl.max(4) / 4)),
        };
        DelayedTask::<Self>::queue_delayed(self.clone(), delay);
    }

    /// Takes the messages with maps that came in. Returns whether there were any, and
    /// whether there is one left for which there is no memory now.
    fn take_all_maps(self: &Arc<Self>, taken: &mut Taken) -> (bool, bool) {
        let mut news = false;
        loop {
            // The worker alone takes out; others append.
            let front = self.maps.lock().first_mut().map(core::mem::take);
            let Some(front) = front else {
                return (news, false);
            };
            match self.take_maps(&front, taken) {
                Err(error) if error == ENOMEM => {
                    if let Some(first) = self.maps.lock().first_mut() {
                        *first = front;
                    }
                    return (news, true);
                }
                Err(error) => error!("corrupt osdmap: {}\n", error.to_errno()),
                Ok(()) => {}
            }
            news = true;
            // It is empty by now.
            let _ = self.maps.lock().remove(0);
        }
    }

    /// Takes the maps of a message, in order.
    fn take_maps(self: &Arc<Self>, front: &[u8], taken: &mut Taken) -> Result {
        let maps = OsdMaps::decode(front)?;
        if self.monc.check_fsid(&maps.fsid).is_err() {
            return Ok(());
        }
        let was_paused = self.map().is_some_and(|map| is_paused(&map));
        let mut incremental = false;
        for (epoch, bytes) in &maps.incremental {
            let Some(old) = self.map() else { break };
            if old.epoch.checked_add(1) == Some(*epoch) {
                self.publish(old.apply(Incremental::decode(bytes)?)?)?;
                self.scan(Scan::Changed, taken);
                incremental = true;
            }
        }
        if let (false, Some((epoch, bytes))) = (incremental, maps.full.last()) {
            let have = self.epoch();
            if have < *epoch {
                self.publish(OsdMap::decode(bytes)?)?;
                // Intervals may have come and gone in between.
                let skipped = have > 0 && have.saturating_add(1) < *epoch;
                self.scan(if skipped { Scan::All } else { Scan::Changed }, taken);
            }
        }
        if let Some(map) = self.map() {
            if was_paused || is_paused(&map) || map.epoch < self.barrier() {
                self.request_map();
            }
        }
        Ok(())
    }

    fn publish(&self, map: OsdMap) -> Result {
        let mut map = Some(Arc::new(map, GFP_KERNEL)?);
        core::mem::swap(&mut self.shared.lock().map, &mut map);
        Ok(())
    }

    /// The session with the least id above `id`.
    pub(super) fn session_after(&self, id: i32) -> Option<Arc<Session>> {
        let shared = self.shared.lock();
        let cursor = shared.sessions.cursor_lower_bound(&id.checked_add(1)?)?;
        let (_, session) = cursor.current();
        Some(session.clone())
    }

    /// Takes out what the current map, a broken connection or its owner says shall
    /// not stay where it is.
    fn scan(self: &Arc<Self>, how: Scan, taken: &mut Taken) {
        let Some(map) = self.map() else { return };
        self.scan_session(&self.homeless, &map, how, taken);
        let mut id = HOMELESS;
        while let Some(session) = self.session_after(id) {
            id = session.id;
            self.scan_session(&session, &map, how, taken);
        }
    }

    fn scan_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
        map: &Arc<OsdMap>,
        how: Scan,
        taken: &mut Taken,
    ) {
        let stopped = self.shared.lock().stopped;
        let addr = session.con.as_ref().and_then(|con| con.peer_addr());
        let gone = session.id != HOMELESS
            && (how == Scan::Reopen
                || !map.osd_is_up(session.id)
                || addr != Some(map.osd_addr(session.id)));
        let (mut asked, mut out) = (Requests::new(), Taken::new());
        let mut state = session.state.lock();
        if gone {
            self.retire(session, &mut state);
        }
        let faulted = core::mem::take(&mut state.faulted);
        let mut next = state.requests.cursor_front_mut();
        while let Some(cursor) = next {
            let req = cursor.current().1.clone();
            let (failed, epoch) = {
                let r = req.state.lock();
                (r.failed.or(stopped), r.target.epoch)
            };
            let outcome = match epoch < map.epoch {
                true => self.update_target(&req, map).outcome,
                false => Outcome::Unchanged,
            };
            let place = if failed.is_some() {
                req.state.lock().failed = failed;
                &mut out.failed
            } else if outcome == Outcome::PoolGone {
                &mut asked
            } else if gone || how != Scan::Changed || outcome == Outcome::Send {
                &mut out.again
            } else {
                next = cursor.move_next();
                continue;
            };
            let (following, node) = cursor.remove_current();
            place.insert(node);
            next = following;
        }
        if state.requests.is_empty() {
            state.idle_since = time::jiffies();
        }
        drop(state);

        if gone {
            let why = match how {
                Scan::Reopen => "begun anew",
                Scan::Changed | Scan::All => "over, it is not where it was",
            };
            let id = session.id;
            self.events.add(format_args!("osd{id} session {why}"));
            session.close_connection();
        } else if faulted {
            self.reconnect(session, map);
        }
        for req in asked.values() {
            session.recall(req);
        }
        for (from, to) in [
            (&mut out.again, &mut taken.again),
            (&mut out.failed, &mut taken.failed),
        ] {
            while let Some(cursor) = from.cursor_front_mut() {
                session.recall(cursor.current().1);
                to.insert(cursor.remove_current().1);
            }
        }
        // Those whose pool is gone go to the others without an OSD.
        while let Some(cursor) = asked.cursor_front_mut() {
            let req = cursor.current().1.clone();
            let (_, node) = cursor.remove_current();
            self.homeless.state.lock().requests.insert(node);
            self.check_pool(&req, map.epoch);
        }
    }

    /// A session gets no more requests: who looks for one finds another.
    fn retire(&self, session: &Session, state: &mut session::State) {
        state.closed = true;
        // The reference is dropped when the lock is not held any more.
        let node = self.shared.lock().sessions.remove_node(&session.id);
        drop(node);
    }

    /// A connection broke. One that was established has lost all that was sent; one
    /// that was not tries again by itself.
    fn reconnect(self: &Arc<Self>, session: &Arc<Session>, map: &OsdMap) {
        let Some(con) = &session.con else { return };
        if con.is_established() {
            self.events
                .add(format_args!("osd{} connection reset", session.id));
            session.close_connection();
            if self.connect(session, map).is_ok() {
                session.send_all();
            } else {
                // Without memory; the next turn tries again.
                session.state.lock().faulted = true;
            }
        }
        self.request_map();
    }

    /// Ends or places what was taken out.
    fn settle(self: &Arc<Self>, mut taken: Taken) {
        while let Some(cursor) = taken.failed.cursor_front_mut() {
            let (_, node) = cursor.remove_current();
            let (_, req) = node.to_key_value();
            let error = req.state.lock().failed.unwrap_or(EIO);
            self.finish(&req, Err(error));
        }
        while let Some(cursor) = taken.again.cursor_front_mut() {
            let req = cursor.current().1.clone();
            let (_, node) = cursor.remove_current();
            self.place(node, &req);
        }
    }

    /// The map of `epoch` does not have the pool of a request: unless the monitors
    /// have a newer one that does, the pool does not exist.
    pub(super) fn check_pool(self: &Arc<Self>, req: &Arc<OsdRequest>, epoch: u32) {
        {
            let mut r = req.state.lock();
            if r.attempts > 0 {
                // It was there before.
                r.gone_since = epoch;
            }
            if r.gone_since > 0 {
                if epoch >= r.gone_since {
                    info!("tid {} pool does not exist\n", req.tid());
                    r.failed.get_or_insert(ENOENT);
                    drop(r);
                    self.wake_worker();
                }
                return;
            }
            if core::mem::replace(&mut r.asked, true) {
                return;
            }
        }
        let (osdc, copy) = (self.clone(), req.clone());
        let told = Callback::new(move |newest: Result<u64>| {
            let mut r = copy.state.lock();
            r.asked = false;
            if let Ok(newest) = newest {
                r.gone_since = u32::try_from(newest).unwrap_or(u32::MAX).max(1);
                if r.target.osd < 0 && osdc.epoch() >= r.gone_since {
                    r.failed.get_or_insert(ENOENT);
                }
            }
            drop(r);
            osdc.request_map();
            osdc.wake_worker();
        });
        let sent = told.and_then(|told| self.monc.get_version_async("osdmap", told));
        if sent.is_err() {
            // Without memory; the tick tries again.
            let mut r = req.state.lock();
            r.asked = false;
            r.ask_again = true;
        }
    }

    /// Asks for the newest epoch again, for one request that could not.
    fn ask_again(self: &Arc<Self>) {
        let req = {
            let state = self.homeless.state.lock();
            let mut requests = state.requests.values();
            requests
                .find(|req| core::mem::take(&mut req.state.lock().ask_again))
                .cloned()
        };
        if let Some(req) = req {
            self.check_pool(&req, self.epoch());
        }
    }

    /// What is due with time.
    fn tick(self: &Arc<Self>) {
        let keepalive = time::secs(u64::from(self.options.osd_keepalive));
        let mut slow = self.overdue(&self.homeless);
        self.retry_homeless();
        self.ask_again();
        let mut id = HOMELESS;
        while let Some(session) = self.session_after(id) {
            id = session.id;
            if self.overdue(&session) {
                slow = true;
            }
            self.look_after(&session, keepalive);
        }
        if slow {
            self.request_map();
        }
    }

    /// Marks the reads of inodes that are being evicted as failed.
    fn mark_given_up(&self) {
        let given_up = core::mem::take(&mut *self.given_up.lock());
        if given_up.is_empty() {
            return;
        }
        self.for_each_session(|session| {
            for req in session.state.lock().requests.values() {
                let named = |(ino, last): &(u64, u64)| req.ino() == *ino && req.tid() <= *last;
                if given_up.iter().any(named) {
                    req.state.lock().failed.get_or_insert(EINTR);
                }
            }
        });
    }

    /// Fails requests that wait for too long, or that nobody waits for any more. Returns
    /// whether there are others that wait for an OSD that does not answer.
    fn overdue(self: &Arc<Self>, session: &Session) -> bool {
        let keepalive = time::secs(u64::from(self.options.osd_keepalive));
        let state = session.state.lock();
        let mut slow = false;
        for req in state.requests.values() {
            let mut r = req.state.lock();
            slow |= time::elapsed(r.sent_at) >= keepalive;
            if req.core.is_overdue() {
                if r.failed.is_none() {
                    error!("tid {} on osd{} timeout\n", req.tid(), session.id);
                }
                r.failed.get_or_insert(ETIMEDOUT);
                self.wake_worker();
            }
            if r.failed.is_none() && req.is_abandoned() {
                r.failed = Some(EINTR);
                self.wake_worker();
            }
        }
        slow
    }

    /// Sends what could not be sent for want of memory, asks an OSD that is slow for a
    /// sign of life, and closes a session that nobody has used for long.
    fn look_after(self: &Arc<Self>, session: &Arc<Session>, keepalive: Jiffies) {
        let mut state = session.state.lock();
        let mut slow = false;
        for req in state.requests.values() {
            let (unsent, since) = {
                let r = req.state.lock();
                (r.sent.is_none(), r.sent_at)
            };
            if unsent {
                session.send(&state, req);
            }
            let waits = time::elapsed(since);
            // Once in each interval; the worker runs every second.
            slow |= waits >= keepalive && waits % keepalive.max(1) < time::secs(1);
        }
        let ttl = time::secs(u64::from(self.options.osd_idle_ttl));
        let idle = state.requests.is_empty() && time::elapsed(state.idle_since) >= ttl;
        if idle {
            self.retire(session, &mut state);
        }
        drop(state);
        if idle {
            session.close_connection();
        } else if let (true, Some(con)) = (slow, &session.con) {
            con.keepalive();
        }
    }

    /// Requests that have an OSD but no session, for want of memory.
    fn retry_homeless(self: &Arc<Self>) {
        let Some(map) = self.map() else { return };
        let mut again = Requests::new();
        let mut state = self.homeless.state.lock();
        let mut next = state.requests.cursor_front_mut();
        while let Some(cursor) = next {
            let osd = cursor.current().1.state.lock().target.osd;
            if osd < 0 || !map.osd_is_up(osd) {
                next = cursor.move_next();
                continue;
            }
            let (following, node) = cursor.remove_current();
            again.insert(node);
            next = following;
        }
        drop(state);
        self.settle(Taken {
            again,
            failed: Requests::new(),
        });
    }

    /// Ends all sessions and requests; the worker does not run any more.
    pub(super) fn close_all(self: &Arc<Self>) {
        let mut current = Some(self.homeless.clone());
        while let Some(session) = current {
            let mut requests = {
                let mut state = session.state.lock();
                self.retire(&session, &mut state);
                core::mem::replace(&mut state.requests, RBTree::new())
            };
            session.close_connection();
            while let Some(cursor) = requests.cursor_front_mut() {
                let (_, node) = cursor.remove_current();
                let (_, req) = node.to_key_value();
                session.recall(&req);
                self.finish(&req, Err(stopped()));
            }
            current = self.session_after(HOMELESS);
        }
    }
}
