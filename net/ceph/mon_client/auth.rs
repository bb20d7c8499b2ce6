// SPDX-License-Identifier: GPL-2.0
//! Authentication of the client and its tickets, under a lock of their own: the handshakes
//! of OSDs and metadata servers, which ask for authorizers, do not wait for what else the
//! monitor client does. What is done with it is in `tickets.rs` and `session.rs`.
use kernel::{new_mutex, prelude::*, sync::Mutex, sync::MutexGuard};

use ceph_proto::machine::auth::AuthClient;

/// See the module.
#[pin_data]
pub(super) struct MonAuth {
    #[pin]
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) client: AuthClient,
    /// Number of the session that it belongs to.
    session: u64,
    /// A renewal of tickets is under way.
    pub(super) renewing: bool,
}

impl MonAuth {
    pub(super) fn new(client: AuthClient) -> impl PinInit<Self> {
        let state = State {
            client,
            session: 0,
            renewing: false,
        };
        pin_init!(Self {
            state <- new_mutex!(state, "ceph::MonClient::auth"),
        })
    }

    /// A session begins: a monitor is to be convinced once more. Tickets that are there
    /// stay.
    pub(super) fn begin(&self, session: u64) {
        let mut state = self.state.lock();
        state.session = session;
        state.renewing = false;
        state.client.reset();
    }

    /// Locks, if `session` is still the current one.
    pub(super) fn lock_session(&self, session: u64) -> Option<MutexGuard<'_, State>> {
        let state = self.state.lock();
        (state.session == session).then_some(state)
    }

    /// Locks.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
