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
use kernel_ext::{
    alloc_scope::NoIo,
    time,
    workqueue::{DelayedTask, TaskHandler},
};

use ceph_proto::machine::osd_request::State as LifeState;

use super::{
    client::{stopped, OsdClient},
    scan::{Scan, Taken},
    session::{self, Session, HOMELESS},
};
use crate::log::error;

impl TaskHandler for OsdClient {
    fn run(this: Arc<Self>) {
        let _noio = NoIo::enter();
        this.work();
    }
}

impl OsdClient {
    /// One turn of the worker.
    fn work(self: &Arc<Self>) {
        if self.shared.lock().ended {
            return;
        }
        self.asleep.store(false, Relaxed);
        let mut taken = Taken::new();
        let before = self.epoch();
        let left = self.take_all_maps(&mut taken);
        self.mark_given_up();
        if let Some(view) = self.view.get() {
            if let Some(newest) = self.pool_question.take() {
                self.scan(&view, Scan::Confirmed(newest), &mut taken);
            }
            let how = match self.reopen.xchg(false, Relaxed) {
                true => Scan::Reopen,
                false => Scan::Changed,
            };
            self.scan(&view, how, &mut taken);
        } else {
            self.fail_homeless(&mut taken);
        }
        let busy = taken.busy;
        self.settle(taken);
        let epoch = self.epoch();
        if epoch != before {
            self.events.add(format_args!("osdmap {epoch}"));
        }
        self.tick();
        self.renew_view();
        // Fully ordered, as is `submit`: either that one sees that it has to wake us, or we see
        // its request.
        self.asleep.xchg(true, Full);
        let waiting = self.count.load(Relaxed) > 0;
        if waiting {
            self.asleep.store(false, Relaxed);
        }
        let delay = match waiting || left {
            // The callback takes no longer.
            _ if busy => time::msecs(10),
            true => time::secs(1),
            false => time::secs(u64::from(self.options.osd_idle_ttl.max(4) / 4)),
        };
        DelayedTask::<Self>::queue_delayed(self.clone(), delay);
    }

    /// What is due with time.
    fn tick(self: &Arc<Self>) {
        let keepalive = time::secs(u64::from(self.options.osd_keepalive));
        let mut slow = self.overdue(&self.homeless);
        self.check_pools();
        self.ask_for_claims();
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
            for pending in session.state.lock().requests.values_mut() {
                let (tid, of) = (pending.tid(), pending.ino());
                if given_up
                    .iter()
                    .any(|(ino, last)| of == *ino && tid <= *last)
                {
                    pending.life.fail(EINTR);
                }
            }
        });
    }

    /// Fails requests that wait for too long, or that nobody waits for any more. Returns
    /// whether there are others that wait for an OSD that does not answer.
    fn overdue(self: &Arc<Self>, session: &Session) -> bool {
        let keepalive = time::secs(u64::from(self.options.osd_keepalive));
        let mut state = session.state.lock();
        let mut slow = false;
        for pending in state.requests.values_mut() {
            slow |= time::elapsed(pending.sent_at) >= keepalive;
            let error = match pending.submission.is_overdue() {
                true => ETIMEDOUT,
                false if pending.is_abandoned() => EINTR,
                false => continue,
            };
            if let LifeState::Ending(_) = pending.life.state() {
                continue;
            }
            if error == ETIMEDOUT {
                error!("tid {} on osd{} timeout\n", pending.tid(), session.id);
            }
            pending.life.fail(error);
            self.wake_worker();
        }
        slow
    }

    /// Sends what could not be sent for want of memory, asks an OSD that is slow for a
    /// sign of life, and closes a session that nobody has used for long.
    fn look_after(self: &Arc<Self>, session: &Arc<Session>, keepalive: Jiffies) {
        let mut state = session.state.lock();
        let mut slow = false;
        let session::State {
            requests, backoffs, ..
        } = &mut *state;
        for pending in requests.values_mut() {
            let waits = time::elapsed(pending.sent_at);
            session.send(backoffs, pending);
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

    /// Ends all sessions and requests; the worker does not run any more.
    pub(super) fn close_all(self: &Arc<Self>) {
        let mut current = Some(self.homeless.clone());
        while let Some(session) = current {
            self.retire(&session, &mut session.state.lock());
            // Afterwards no callback has anything any more.
            session.close_connection();
            let mut all = core::mem::replace(&mut session.state.lock().requests, RBTree::new());
            while let Some(cursor) = all.cursor_front_mut() {
                let (_, node) = cursor.remove_current();
                let (_, mut pending) = node.to_key_value();
                pending.recall(session.con.as_ref());
                pending.life.fail(stopped());
                let error = pending.life.end();
                self.finish(pending, Err(error));
            }
            current = self.session_after(HOMELESS);
        }
    }
}
