// SPDX-License-Identifier: GPL-2.0
//! Tickets: showing them to services, and renewing them. All of it under the lock of
//! [`MonAuth`](super::auth::MonAuth) alone.
use kernel::prelude::*;
use kernel_ext::alloc_scope::NoIo;

use ceph_proto::machine::auth::Authorizer;
use ceph_proto::wire::{mon::kind, types::EntityType};

use super::{auth::State, client::MonClient};
use crate::auth::{now, KernelCrypto};
use crate::log::error;
use crate::messenger::Parts;

impl MonClient {
    /// The client's number; 0 before it was authenticated.
    pub fn global_id(&self) -> u64 {
        self.auth.lock().client.global_id()
    }

    /// The number of the authentication method, and what convinces a service that we may
    /// use it.
    ///
    /// # Errors
    ///
    /// `EACCES` if there is no ticket for the service, `ENOMEM`.
    pub(crate) fn authorizer(&self, service: EntityType) -> Result<(u32, Authorizer)> {
        let state = self.auth.lock();
        let authorizer = state.client.authorizer(&KernelCrypto, service)?;
        Ok((state.client.method(), authorizer))
    }

    /// A service did not take our ticket: gets another one.
    pub(crate) fn invalidate(&self, service: EntityType) {
        let mut state = self.auth.lock();
        state.client.invalidate(service);
        self.renew(&mut state);
    }

    /// Renews the tickets that have to be renewed.
    pub fn validate_auth(&self) {
        let _noio = NoIo::enter();
        self.renew(&mut self.auth.lock());
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

    pub(super) fn send_auth(&self, front: KVVec<u8>) -> Result {
        self.send(Parts {
            kind: kind::AUTH,
            front,
            ..Parts::default()
        })
    }
}
