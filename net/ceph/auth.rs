// SPDX-License-Identifier: GPL-2.0
//! Authentication of connections: the kernel's cryptography for
//! [`ceph_proto::machine::auth`], and what convinces OSDs and metadata servers.
use core::fmt::{self, Write};
use kernel::{prelude::*, sync::Arc, sync::Mutex};
use kernel_ext::{crypto::AesCbc, random, sync::new_mutex, time};

use ceph_proto::errno;
use ceph_proto::machine::auth::{Authorizer, ConnectionKeys, Crypto};
use ceph_proto::wire::{auth::method, types::EntityType};

use crate::log::error;
use crate::messenger::{AuthBadMethod, AuthKeys, AuthRequest, CON_MODE_CRC};
use crate::mon_client::MonClient;

/// Services that a client of a file system uses.
pub(crate) const SERVICES: [EntityType; 3] = [EntityType::MON, EntityType::OSD, EntityType::MDS];

/// The kernel's ciphers and random numbers.
pub(crate) struct KernelCrypto;

impl Crypto for KernelCrypto {
    fn encrypt(&self, key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result {
        AesCbc::new(key)?.encrypt(iv, data)
    }

    fn decrypt(&self, key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result {
        AesCbc::new(key)?.decrypt(iv, data)
    }

    fn random(&self) -> u64 {
        random::u64()
    }
}

/// Seconds since 1970, as tickets count them.
pub(crate) fn now() -> u64 {
    u64::try_from(time::real_timespec().0).unwrap_or(0)
}

/// An entity name in a message of the log.
pub(crate) struct Name<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            f.write_char(match byte {
                0x21..=0x7e => char::from(*byte),
                _ => '?',
            })?;
        }
        Ok(())
    }
}

/// An authentication request for a connection with checksums.
pub(crate) fn request(method: u32, payload: KVVec<u8>) -> Result<AuthRequest> {
    let mut modes = KVVec::new();
    modes.push(CON_MODE_CRC, GFP_KERNEL)?;
    Ok(AuthRequest {
        method,
        modes,
        payload,
    })
}

/// The keys of a connection, for the messenger.
pub(crate) fn keys(keys: &ConnectionKeys) -> Result<AuthKeys> {
    Ok(AuthKeys {
        session_key: keys.session.try_clone()?,
        con_secret: keys.connection.try_clone()?,
    })
}

/// Whether the peer refuses the client, and not the way in which it asks.
pub(crate) fn is_refusal(bad: &AuthBadMethod) -> bool {
    bad.result != errno::eopnotsupp().to_errno()
}

/// The error that a refusal means. If it is the way in which we ask, and `tell`,
/// says what to do.
pub(crate) fn bad_method(tell: bool, peer: &str, bad: &AuthBadMethod) -> Error {
    if is_refusal(bad) {
        return match bad.result {
            -4095..=-1 => Error::from_errno(bad.result),
            _ => EACCES,
        };
    }
    let protocol = method::name(bad.method);
    let with = match bad.method {
        method::NONE => "with",
        _ => "without",
    };
    if tell && !bad.allowed_methods.contains(&bad.method) {
        error!("auth protocol '{protocol}' not allowed by {peer}: mount {with} a key\n");
    } else if tell && !bad.allowed_modes.contains(&CON_MODE_CRC) {
        error!(
            "mode 'crc' not allowed by {peer}, which insists on 'secure': this client does not \
            support that yet, set ms_client_mode and ms_service_mode to allow crc\n"
        );
    } else if tell {
        error!(
            "auth protocol '{protocol}' is not taken by {peer}, though it is said to be allowed\n"
        );
    }
    EACCES
}

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
            Ok(found) => keys(&found),
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
        let service = self.service.name();
        let error = bad_method(true, service, bad);
        if is_refusal(bad) {
            error!(
                "auth protocol '{}' authorization to {service} failed: {}\n",
                method::name(bad.method),
                bad.result
            );
            self.monc.invalidate(self.service);
        }
        Err(error)
    }
}
