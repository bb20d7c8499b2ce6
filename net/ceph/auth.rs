// SPDX-License-Identifier: GPL-2.0
//! Authentication of connections: the kernel's cryptography for
//! [`ceph_proto::machine::auth`], and what convinces OSDs and metadata servers.
use core::fmt::{self, Write};
use kernel::{prelude::*, sync::Arc, sync::Mutex};
use kernel_ext::{
    crypto::hmac_sha256, crypto::AesCbc, crypto::Krb5, random, sync::new_mutex, time,
};

use ceph_proto::errno;
use ceph_proto::machine::auth::{Authorizer, ConnectionKeys, Crypto};
use ceph_proto::wire::{auth::method, auth::KeyUsage, secret::Secret, types::EntityType};

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

    fn krb5_encrypt(&self, key: &[u8; 32], usage: KeyUsage, plain: &[u8]) -> Result<KVVec<u8>> {
        let sealed = Krb5::new(key, usage as u32)?.encrypt(plain)?;
        let mut out = KVVec::with_capacity(sealed.len(), GFP_KERNEL)?;
        out.extend_from_slice(&sealed, GFP_KERNEL)?;
        Ok(out)
    }

    fn krb5_decrypt(&self, key: &[u8; 32], usage: KeyUsage, sealed: &[u8]) -> Result<Secret> {
        match Krb5::new(key, usage as u32)?.decrypt(sealed) {
            Ok(plain) => Secret::new(&plain),
            Err(error) if error == ENOMEM => Err(error),
            Err(_) => Err(EACCES),
        }
    }

    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> [u8; 32] {
        hmac_sha256(key, data)
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
pub(crate) fn keys(keys: ConnectionKeys) -> AuthKeys {
    AuthKeys {
        session_key: keys.session,
        con_secret: keys.connection,
    }
}

/// What a peer does not take of an authentication request.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// The client: the user or its key, or its ticket.
    Client {
        /// Name of the method.
        method: &'static str,
        /// The peer's answer.
        error: Error,
    },
    /// The authentication method (its number).
    Method(u32),
    /// The connection mode.
    Mode,
    /// The method (its number), which it allows nevertheless.
    Unclear(u32),
}

impl Refusal {
    /// Of the client, which uses this method.
    pub(crate) fn client(method: u32, error: Error) -> Self {
        Self::Client {
            method: method::name(method),
            error,
        }
    }

    /// What AUTH_BAD_METHOD says.
    pub(crate) fn of(bad: &AuthBadMethod) -> Self {
        if bad.result != errno::eopnotsupp().to_errno() {
            let error = match bad.result {
                -4095..=-1 => Error::from_errno(bad.result),
                _ => EACCES,
            };
            return Self::client(bad.method, error);
        }
        if !bad.allowed_methods.contains(&bad.method) {
            Self::Method(bad.method)
        } else if !bad.allowed_modes.contains(&CON_MODE_CRC) {
            Self::Mode
        } else {
            Self::Unclear(bad.method)
        }
    }

    /// What it means for the connection.
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Client { error, .. } => *error,
            _ => EACCES,
        }
    }

    /// In words, and what to do; `peer` is the kind of the daemon that refuses.
    pub(crate) fn by<'a>(&'a self, peer: &'a str) -> impl fmt::Display + 'a {
        struct By<'a>(&'a Refusal, &'a str);
        impl fmt::Display for By<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(refusal, peer) = self;
                match **refusal {
                    Refusal::Client { method, error } => {
                        let errno = error.to_errno();
                        write!(
                            f,
                            "auth protocol '{method}' authorization to {peer} failed: {errno}"
                        )
                    }
                    Refusal::Method(number) => {
                        let protocol = method::name(number);
                        let with = match number {
                            method::NONE => "with",
                            _ => "without",
                        };
                        write!(
                            f,
                            "auth protocol '{protocol}' not allowed by {peer}: mount {with} a key"
                        )
                    }
                    Refusal::Mode => write!(
                        f,
                        "mode 'crc' not allowed by {peer}, which insists on 'secure': this client \
                        does not support that yet, set ms_client_mode and ms_service_mode to allow \
                        crc"
                    ),
                    Refusal::Unclear(number) => write!(
                        f,
                        "auth protocol '{}' is not taken by {peer}, though it is said to be allowed",
                        method::name(number)
                    ),
                }
            }
        }
        By(self, peer)
    }
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
