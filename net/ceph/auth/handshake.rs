// SPDX-License-Identifier: GPL-2.0
//! Authentication of connections: the kernel's cryptography for
//! [`ceph_proto::machine::auth`], and what peers say no to.
use core::fmt::{self, Write};
use kernel::prelude::*;
use kernel_ext::{crypto::hmac_sha256, crypto::AesCbc, crypto::Krb5, random, time};

use ceph_proto::errno;
use ceph_proto::machine::auth::{ConnectionKeys, Crypto};
use ceph_proto::wire::{auth::method, auth::KeyUsage, secret::Secret, types::EntityType};

use crate::messenger::{AuthBadMethod, AuthKeys, AuthRequest, CON_MODE_CRC};

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
                -511..=-1 => Error::from_errno(bad.result),
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
