// SPDX-License-Identifier: GPL-2.0
//! What the owner of a connection answers and hears.
use kernel::prelude::*;

pub use ceph_proto::wire::msgr2::{AuthBadMethod, AuthRequest, CON_MODE_CRC, CON_MODE_SECURE};
use ceph_proto::wire::secret::Secret;

/// What to do with a message that is about to be read.
pub enum Alloc {
    /// Read it and throw it away; it counts as received.
    Skip,
    /// Read it into memory of the messenger's own, data too.
    Accept,
}

/// Outcome of an authentication.
pub struct AuthKeys {
    /// Key that signs the handshake; empty for a method without keys.
    pub session_key: Secret,
    /// Secret for encryption of the connection; empty in crc mode.
    pub con_secret: Secret,
}

/// Why a connection broke.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    /// The errno.
    pub error: Error,
    /// In words.
    pub why: &'static str,
    /// Features that the peer requires and the client lacks; 0 if that is not the reason.
    pub missing: u64,
}
