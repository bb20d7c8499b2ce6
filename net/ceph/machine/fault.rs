// SPDX-License-Identifier: GPL-2.0
//! Why a connection cannot go on.
use core::fmt;
use kernel::prelude::*;

use crate::errno::{ebadmsg, eproto, eprotonosupport};

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its errno.
    pub error: Error,
    /// For the log.
    pub why: &'static str,
}

impl Fault {
    /// The peer broke the rules.
    pub fn protocol(why: &'static str) -> Self {
        Self {
            error: eproto(),
            why,
        }
    }

    /// A checksum or signature is wrong.
    pub fn integrity(why: &'static str) -> Self {
        Self {
            error: ebadmsg(),
            why,
        }
    }

    /// One side requires what the other does not have.
    pub fn missing_features() -> Self {
        Self {
            error: eprotonosupport(),
            why: "missing required protocol features",
        }
    }

    /// The peer is silent, or slow.
    pub fn timeout(why: &'static str) -> Self {
        Self {
            error: ETIMEDOUT,
            why,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let why = if error == ENOMEM {
            "out of memory"
        } else {
            "protocol error, malformed frame"
        };
        Self { error, why }
    }
}

impl From<kernel::alloc::AllocError> for Fault {
    fn from(_: kernel::alloc::AllocError) -> Self {
        Self::from(ENOMEM)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}
