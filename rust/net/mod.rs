// SPDX-License-Identifier: GPL-2.0
//! TCP sockets of the kernel: [`Socket`], with [`SkbChunk`] for what was received.

mod namespace;
mod skb;
mod socket;
mod socket_test;

pub use namespace::Net;
pub use skb::SkbChunk;
pub use socket::{Socket, SocketCallbacks, TcpState};
