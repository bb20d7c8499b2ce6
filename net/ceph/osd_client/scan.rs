// SPDX-License-Identifier: GPL-2.0
//! What takes requests out of their sessions: new maps, broken connections, and whatever else
//! ends them or brings them elsewhere. The worker does it.
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{atomic::Relaxed, Arc},
};

use ceph_proto::machine::osd_request::{State as LifeState, Verdict};
use ceph_proto::wire::osdmap::OsdMap;

use super::{
    client::OsdClient,
    request::{Pending, Requests},
    session::{self, Session, HOMELESS},
    view::View,
};
use crate::log::info;

/// Requests that were taken out of their sessions.
pub(super) struct Taken {
    /// To be placed anew.
    pub(super) again: Requests,
    /// To be ended.
    pub(super) failed: Requests,
    /// A callback has the memory of others, which stay where they are for now.
    pub(super) busy: bool,
}

impl Taken {
    pub(super) fn new() -> Self {
        Self {
            again: RBTree::new(),
            failed: RBTree::new(),
            busy: false,
        }
    }
}

/// Why [`OsdClient::scan`] looks through the sessions.
#[derive(Clone, Copy)]
pub(super) enum Scan {
    /// There is a new map, or another reason to look.
    Changed,
    /// All sessions end.
    Reopen,
    /// The monitors have said what the epoch of their newest map is, or could not be asked.
    Confirmed(Result<u32>),
}

impl OsdClient {
    /// Takes out what a map, a broken connection or its owner says shall not stay where it is.
    pub(super) fn scan(self: &Arc<Self>, view: &Arc<View>, how: Scan, taken: &mut Taken) {
        self.scan_session(&self.homeless, view, how, taken);
        let mut id = HOMELESS;
        while let Some(session) = self.session_after(id) {
            id = session.id;
            self.scan_session(&session, view, how, taken);
        }
    }

    fn scan_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
        view: &Arc<View>,
        how: Scan,
        taken: &mut Taken,
    ) {
        let map = &view.map;
        let addr = session.con.as_ref().and_then(|con| con.peer_addr());
        let reopen = matches!(how, Scan::Reopen);
        let gone = session.id != HOMELESS
            && (reopen || !map.osd_is_up(session.id) || addr != Some(map.osd_addr(session.id)));
        let mut state = session.state.lock();
        let faulted = core::mem::take(&mut state.faulted);
        if gone {
            self.retire(session, &mut state);
            drop(state);
            let why = match reopen {
                true => "begun anew",
                false => "over, it is not where it was",
            };
            let id = session.id;
            self.events.add(format_args!("osd{id} session {why}"));
            // Afterwards no callback has anything any more.
            session.close_connection();
            state = session.state.lock();
        }
        let con = session.con.as_ref();
        let mut any = false;
        let mut next = state.requests.cursor_front_mut();
        while let Some(mut cursor) = next {
            let (_, pending) = cursor.current_mut();
            let verdict = match self.judge(session, pending, view, how) {
                Verdict::Stay if gone => {
                    pending.life.reset();
                    Verdict::Place
                }
                verdict => verdict,
            };
            let stays = verdict == Verdict::Stay;
            if stays || !pending.recall(con) {
                taken.busy |= !stays;
                next = cursor.move_next();
                continue;
            }
            let to = match verdict {
                Verdict::End(_) => &mut taken.failed,
                Verdict::Place | Verdict::Stay => &mut taken.again,
            };
            let (following, node) = cursor.remove_current();
            to.insert(node);
            next = following;
            any = true;
        }
        if any {
            state.left();
        }
        drop(state);
        if faulted && !gone {
            self.reconnect(session, map);
        }
    }

    /// What shall become of a request of a session.
    fn judge(&self, session: &Session, pending: &mut Pending, view: &View, how: Scan) -> Verdict {
        if let Some(error) = self.halted() {
            return pending.life.fail(error);
        }
        if let Scan::Confirmed(newest) = how {
            let verdict = pending.life.confirmed(newest);
            if let Verdict::End(_) = verdict {
                info!("tid {} pool does not exist\n", pending.tid());
            }
            return verdict;
        }
        if let LifeState::Ending(error) = pending.life.state() {
            return Verdict::End(error);
        }
        if pending.life.target().epoch < view.map.epoch || pending.life.waits_for_map() {
            let verdict = self.look(pending, view);
            if verdict != Verdict::Stay {
                return verdict;
            }
        }
        // It may not have been possible before to take it out.
        match pending.life.osd().unwrap_or(HOMELESS) == session.id {
            true => Verdict::Stay,
            false => Verdict::Place,
        }
    }

    /// Before the first map comes: takes out what shall end.
    pub(super) fn fail_homeless(&self, taken: &mut Taken) {
        let mut state = self.homeless.state.lock();
        let mut next = state.requests.cursor_front_mut();
        while let Some(mut cursor) = next {
            let (_, pending) = cursor.current_mut();
            if let Some(error) = self.halted() {
                pending.life.fail(error);
            }
            if !matches!(pending.life.state(), LifeState::Ending(_)) {
                next = cursor.move_next();
                continue;
            }
            let (following, node) = cursor.remove_current();
            taken.failed.insert(node);
            next = following;
        }
    }

    /// A session gets no more requests: who looks for one finds another.
    pub(super) fn retire(&self, session: &Session, state: &mut session::State) {
        state.closed = true;
        // The reference is dropped when the lock is not held any more.
        let node = self.shared.lock().sessions.remove_node(&session.id);
        drop(node);
        self.retired.store(true, Relaxed);
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
    pub(super) fn settle(self: &Arc<Self>, taken: Taken) {
        let Taken {
            again, mut failed, ..
        } = taken;
        while let Some(cursor) = failed.cursor_front_mut() {
            let (_, node) = cursor.remove_current();
            let (_, mut pending) = node.to_key_value();
            let error = pending.life.end();
            self.finish(pending, Err(error));
        }
        self.place_all(again);
    }
}
