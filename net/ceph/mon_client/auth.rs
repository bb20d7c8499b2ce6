// SPDX-License-Identifier: GPL-2.0
//! Authentication of the client and its tickets, under a lock of their own: the handshakes
//! of OSDs and metadata servers, which ask for authorizers, do not wait for what else the
//! monitor client does.
use kernel::{new_mutex, prelude::*, sync::Mutex, sync::MutexGuard};
use kernel_ext::alloc_scope::NoIo;

use ceph_proto::machine::auth::{AuthClient, Authorizer};
use ceph_proto::wire::{mon::kind, types::EntityType};

use super::MonClient;
use crate::auth::{now, KernelCrypto};
use crate::log::error;
use crate::messenger::Parts;

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
}

impl MonClient {
    /// The client's number; 0 before it was authenticated.
    pub fn global_id(&self) -> u64 {
        self.auth.state.lock().client.global_id()
    }

    /// The number of the authentication method, and what convinces a service that we may
    /// use it.
    ///
    /// # Errors
    ///
    /// `EACCES` if there is no ticket for the service, `ENOMEM`.
    pub(crate) fn authorizer(&self, service: EntityType) -> Result<(u32, Authorizer)> {
        let state = self.auth.state.lock();
        let authorizer = state.client.authorizer(&KernelCrypto, service)?;
        Ok((state.client.method(), authorizer))
    }

    /// A service did not take our ticket: gets another one.
    pub(crate) fn invalidate(&self, service: EntityType) {
        let mut state = self.auth.state.lock();
        state.client.invalidate(service);
        self.renew(&mut state);
    }

    /// Renews the tickets that have to be renewed.
    pub fn validate_auth(&self) {
        let _noio = NoIo::enter();
        self.renew(&mut self.auth.state.lock());
    }

    /// Without a session this asks for nothing: the next one begins with new tickets.
    fn renew(&self, state: &mut State) {
        if state.renewing {
            return;
        }
        let sent = match state.client.renewal(&KernelCrypto, now()) {
            Ok(Some(front)) => self.send_auth(front).map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        match sent {
            Ok(sent) => state.renewing = sent,
            Err(error) => error!("cannot renew tickets: {}\n", error.to_errno()),
        }
    }

    /// Takes the answer of the monitor of `session` to a renewal, and asks for what is still
    /// missing.
    ///
    /// # Errors
    ///
    /// The monitor's, `EBADMSG`, `EPROTO`, `ENOMEM`: a new session has to begin with a new
    /// proof.
    pub(super) fn renewed(&self, session: u64, front: &[u8]) -> Result {
        let Some(mut state) = self.auth.lock_session(session) else {
            return Ok(());
        };
        state.renewing = false;
        if let Some(front) = state.client.renewed(&KernelCrypto, now(), front)? {
            self.send_auth(front)?;
            state.renewing = true;
        }
        Ok(())
    }

    fn send_auth(&self, front: KVVec<u8>) -> Result {
        self.send(Parts {
            kind: kind::AUTH,
            front,
            ..Parts::default()
        })
    }
}
