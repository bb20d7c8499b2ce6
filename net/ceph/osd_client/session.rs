// SPDX-License-Identifier: GPL-2.0
//! A session with one OSD: its connection, and the requests that wait for it.
//!
//! The callbacks of the connection take the session's lock, so that lock is never
//! held over [`Connection::close`], which waits for them. [`Connection::revoke`] does not.
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{Arc, Mutex},
    time::Jiffies,
};
use kernel_ext::time;

use ceph_proto::machine::osd_backoffs::Backoffs;

use super::request::{Pending, Requests};
use crate::messenger::Connection;

/// Id of the session of requests that have no OSD.
pub(super) const HOMELESS: i32 = -1;

/// A session with one OSD.
#[pin_data]
pub(super) struct Session {
    /// Number of the OSD, or [`HOMELESS`].
    pub(super) id: i32,
    /// None if homeless.
    pub(super) con: Option<Arc<Connection>>,
    #[pin]
    pub(super) state: Mutex<State>,
}

/// The changing part of a [`Session`].
pub(super) struct State {
    /// Nothing is added any more; another session takes its place.
    pub(super) closed: bool,
    /// The connection broke.
    pub(super) faulted: bool,
    /// The worker takes requests out, when no callback of the connection has their memory; and
    /// that callback, when it is the answer.
    pub(super) requests: Requests,
    pub(super) backoffs: Backoffs,
    /// When the last request left.
    pub(super) idle_since: Jiffies,
}

impl State {
    /// A request has left.
    pub(super) fn left(&mut self) {
        if self.requests.is_empty() {
            self.idle_since = time::jiffies();
        }
    }
}

impl Session {
    pub(super) fn new(id: i32, con: Option<Arc<Connection>>) -> Result<Arc<Self>> {
        let state = State {
            closed: false,
            faulted: false,
            requests: RBTree::new(),
            backoffs: Backoffs::new(),
            idle_since: time::jiffies(),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                id,
                con,
                state <- new_mutex!(state, "ceph::osd_client::Session::state"),
            }),
            GFP_KERNEL,
        )
    }

    /// Sends a request of the tree, unless something forbids it now. Without memory it stays
    /// unsent, and the next tick tries again.
    pub(super) fn send(&self, backoffs: &Backoffs, pending: &mut Pending) {
        let Some(con) = &self.con else { return };
        if !pending.life.may_be_sent() {
            return;
        }
        let target = pending.life.target();
        if backoffs.covers(&target.spg, &target.hobject()) {
            pending.life.back_off();
            return;
        }
        pending.send(con);
    }

    /// Sends all requests, in order: the connection is a new one.
    pub(super) fn send_all(&self) {
        let mut state = self.state.lock();
        state.backoffs.clear();
        let State {
            requests, backoffs, ..
        } = &mut *state;
        for pending in requests.values_mut() {
            pending.life.reset();
            self.send(backoffs, pending);
        }
    }

    /// Ends the session with the OSD. No lock is held.
    pub(super) fn close_connection(&self) {
        if let Some(con) = &self.con {
            con.close();
        }
    }
}
