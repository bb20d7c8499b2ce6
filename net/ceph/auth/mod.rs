// SPDX-License-Identifier: GPL-2.0
//! Authentication of connections.
mod handshake;
mod service;

pub use handshake::Refusal;
pub(crate) use handshake::{keys, now, request, KernelCrypto, Name, SERVICES};
pub use service::ServiceAuth;
