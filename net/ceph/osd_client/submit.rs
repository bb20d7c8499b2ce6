// SPDX-License-Identifier: GPL-2.0
//! Requests on their way to the session of their OSD, and sessions on theirs to be.
use kernel::{
    prelude::*,
    rbtree::{Entry, RBTreeNode, RBTreeNodeReservation},
    sync::{
        atomic::{Full, Relaxed},
        Arc,
    },
};
use kernel_ext::{alloc_scope::NoIo, iov::IovDest, random, time};

use ceph_proto::crush::placement::OsdSet;
use ceph_proto::machine::osd_request::{PoolCheck, State as LifeState, Verdict};
use ceph_proto::machine::osd_target::Context;
use ceph_proto::wire::osd::flag;
use ceph_proto::wire::osdmap::OsdMap;
use ceph_proto::wire::types::{EntityName, EntityType};

use super::{
    client::{stopped, OsdClient},
    ops::Ops,
    request::{Answer, Pending, Requests, Spec},
    session::{self, Session},
    view::View,
};
use crate::log::info;
use crate::messenger::{Connection, Policy};
use crate::options::ReadFromReplica;
use crate::request::Callback;

impl OsdClient {
    /// Has the operations done, with `dest` for what they read. The answer goes to `done`, from
    /// the work of a connection or of this client, or from here.
    ///
    /// It takes as long as it takes: OSDs that are down come back. It ends with an error when
    /// the submitting task is being killed ([`submitter_killed`](Self::submitter_killed)), and
    /// see the option `osd_request_timeout`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what ended the client; then `dest` and `done` are dropped.
    pub fn submit(self: &Arc<Self>, spec: Spec, dest: IovDest, done: Callback<Answer>) -> Result {
        let _noio = NoIo::enter();
        let flags = match self.options.read_from_replica {
            ReadFromReplica::No => 0,
            ReadFromReplica::Balance => flag::BALANCE_READS,
            ReadFromReplica::Localize => flag::LOCALIZE_READS,
        };
        if let Some(error) = self.halted() {
            return Err(error);
        }
        let tid = self.last_tid.fetch_add(1, Relaxed).wrapping_add(1);
        let limit = match self.options.osd_request_timeout {
            0 => None,
            seconds => Some(time::secs(u64::from(seconds))),
        };
        let room = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let pending = Pending::new(tid, spec, flags, dest, limit, done);
        self.count.fetch_add(1, Full);
        if self.asleep.load(Relaxed) && self.asleep.xchg(false, Relaxed) {
            // From now on it shall look after requests each second.
            self.wake_worker();
        }
        self.begin(pending, room);
        Ok(())
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
    pub(super) fn locality(&self, map: &OsdMap, osd: i32) -> Option<u16> {
        let here = &self.options.crush_location;
        map.crush().locality(osd, |kind, name| {
            here.iter().any(|(k, n)| k[..] == *kind && n[..] == *name)
        })
    }

    /// Takes the map of a view into account for a request.
    pub(super) fn look(&self, pending: &mut Pending, view: &View) -> Verdict {
        let pick = |map: &OsdMap, acting: &OsdSet| self.pick_replica(map, acting);
        let context = Context {
            barrier: self.barrier(),
            pick: &pick,
            place: &|map, pool, hash| view.placements.find(map, pool, hash),
        };
        let verdict = pending.life.map(&view.map, &context);
        if verdict == Verdict::End(ENOENT) {
            info!("tid {} pool does not exist\n", pending.tid());
        }
        verdict
    }

    /// Finds the session of a request by the current view, of which it gives the epoch. Sessions
    /// that are in the view may be over: `anew` says that one was.
    ///
    /// # Errors
    ///
    /// What the request is to end with.
    fn assign(self: &Arc<Self>, pending: &mut Pending, anew: bool) -> Result<(Arc<Session>, u32)> {
        if let Some(error) = self.halted() {
            return Err(error);
        }
        let Some(view) = self.view.get() else {
            return Ok((self.homeless.clone(), 0));
        };
        if let Verdict::End(error) = self.look(pending, &view) {
            return Err(error);
        }
        let osd = pending.life.osd();
        let session = osd.and_then(|osd| self.session(&view, osd, anew));
        let session = session.unwrap_or_else(|| {
            pending.life.homeless();
            self.homeless.clone()
        });
        Ok((session, view.map.epoch))
    }

    /// Puts a new request where the current map says, and sends it if it may be sent.
    /// No lock is held.
    fn begin(self: &Arc<Self>, mut pending: Pending, room: RBTreeNodeReservation<u64, Pending>) {
        let tid = pending.tid();
        let mut anew = false;
        loop {
            let (session, epoch) = match self.assign(&mut pending, anew) {
                Ok(found) => found,
                Err(error) => return self.finish(pending, Err(error)),
            };
            let mut state = session.state.lock();
            if state.closed {
                anew = true;
                continue;
            }
            let session::State {
                requests, backoffs, ..
            } = &mut *state;
            let Entry::Vacant(entry) = requests.entry(tid) else {
                // No two have one tid.
                drop(state);
                return self.finish(pending, Err(EEXIST));
            };
            let pending = entry.insert(pending, room);
            session.send(backoffs, pending);
            let was = pending.life.state();
            drop(state);
            self.placed(epoch, was);
            return;
        }
    }

    /// The same with requests that have been in sessions.
    pub(super) fn place_all(self: &Arc<Self>, mut all: Requests) {
        let mut anew = false;
        while let Some(mut cursor) = all.cursor_front_mut() {
            let (tid, pending) = cursor.current_mut();
            let tid = *tid;
            let (session, epoch) = match self.assign(pending, anew) {
                Ok(found) => found,
                Err(error) => {
                    let (_, node) = cursor.remove_current();
                    self.finish(node.to_key_value().1, Err(error));
                    continue;
                }
            };
            let mut state = session.state.lock();
            anew = state.closed;
            if anew {
                continue;
            }
            let (_, node) = cursor.remove_current();
            let session::State {
                requests, backoffs, ..
            } = &mut *state;
            requests.insert(node);
            let Some(pending) = requests.get_mut(&tid) else {
                continue;
            };
            session.send(backoffs, pending);
            let was = pending.life.state();
            drop(state);
            self.placed(epoch, was);
        }
    }

    /// A request is in a session, by the map of an epoch: what that means for others.
    fn placed(self: &Arc<Self>, epoch: u32, was: LifeState) {
        match was {
            LifeState::Homeless | LifeState::Paused => self.request_map(),
            _ => {}
        }
        let asks = was == LifeState::AskingPool(PoolCheck::Due);
        // Whoever has changed that has not seen the request, perhaps.
        if asks || self.epoch() != epoch || self.halted().is_some() {
            self.wake_worker();
        }
    }

    /// The session with an OSD, which may have to be opened; `None` without memory.
    fn session(self: &Arc<Self>, view: &View, osd: i32, anew: bool) -> Option<Arc<Session>> {
        if let (Some(session), false) = (view.session(osd), anew) {
            return Some(session.clone());
        }
        let known = self.shared.lock().sessions.get(&osd).cloned();
        let session = match known {
            Some(session) => session,
            None => self.open_session(&view.map, osd).ok()?,
        };
        view.remember(&session);
        Some(session)
    }

    fn open_session(self: &Arc<Self>, map: &OsdMap, osd: i32) -> Result<Arc<Session>> {
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
    pub(super) fn connect(self: &Arc<Self>, session: &Arc<Session>, map: &OsdMap) -> Result {
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
