// SPDX-License-Identifier: GPL-2.0
//! What convinces OSDs and metadata servers that we may use them.
use kernel::{prelude::*, sync::Arc, sync::Mutex};
use kernel_ext::sync::new_mutex;

use ceph_proto::errno;
use ceph_proto::machine::auth::Authorizer;
use ceph_proto::wire::types::EntityType;

use super::handshake::{keys, request, KernelCrypto, Refusal};
use crate::log::error;
use crate::messenger::{AuthBadMethod, AuthKeys, AuthRequest};
use crate::mon_client::MonClient;

/// Authentication of one connection to an OSD or a metadata server. The methods
/// are those of [`ConnectionOps`](crate::messenger::ConnectionOps).
#[pin_data]
pub struct ServiceAuth {
    monc: Arc<MonClient>,
    service: EntityType,
    /// Of the handshake that is under way.
    #[pin]
    authorizer: Mutex<Option<Authorizer>>,
}

impl ServiceAuth {
    /// For a connection to a daemon of this kind.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(monc: Arc<MonClient>, service: EntityType) -> impl PinInit<Self> {
        pin_init!(Self {
            monc,
            service,
            authorizer <- new_mutex!(None, "ceph::ServiceAuth::authorizer"),
        })
    }

    /// Begins a handshake with a new authorizer.
    ///
    /// # Errors
    ///
    /// `EACCES` if there is no ticket for the service, `ENOMEM`.
    pub fn auth_request(&self) -> Result<AuthRequest> {
        let (method, authorizer) = self.monc.authorizer(self.service)?;
        let payload = authorizer.request(&KernelCrypto)?;
        *self.authorizer.lock() = Some(authorizer);
        request(method, payload)
    }

    /// Answers the challenge of the service.
    ///
    /// # Errors
    ///
    /// `EBADMSG` or `EACCES` if it is not one that the service would send.
    pub fn auth_more(&self, payload: &[u8]) -> Result<KVVec<u8>> {
        let authorizer = self.authorizer.lock();
        authorizer
            .as_ref()
            .ok_or_else(errno::eproto)?
            .challenge(&KernelCrypto, payload)
    }

    /// Checks that the service could read our ticket.
    ///
    /// # Errors
    ///
    /// `EACCES` if it could not, `EBADMSG`.
    pub fn auth_done(&self, payload: &[u8]) -> Result<AuthKeys> {
        let authorizer = self.authorizer.lock().take().ok_or_else(errno::eproto)?;
        match authorizer.verify(&KernelCrypto, payload) {
            Ok(found) => Ok(keys(found)),
            Err(error) if error == ENOMEM => Err(error),
            Err(error) => {
                error!(
                    "{} could not prove its identity: {}\n",
                    self.service.name(),
                    error.to_errno()
                );
                Err(error)
            }
        }
    }

    /// The service refuses: gets another ticket, for the next attempt.
    ///
    /// # Errors
    ///
    /// Always: there is nothing else to try on this connection.
    pub fn auth_bad_method(&self, bad: &AuthBadMethod) -> Result {
        let refusal = Refusal::of(bad);
        error!("{}\n", refusal.by(self.service.name()));
        if let Refusal::Client { .. } = refusal {
            self.monc.invalidate(self.service);
        }
        Err(refusal.error())
    }
}
