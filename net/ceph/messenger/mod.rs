// SPDX-License-Identifier: GPL-2.0
//! The messenger: sessions with daemons over msgr2.1.
//!
//! * [`Messenger`] is what all connections of one client share: who the client is.
//! * [`Connection`] is a session with one daemon. Inside is an actor, which owns the protocol
//!   state and the socket; mostly a work item runs it.
//! * [`ConnectionOps`] is how it calls its owner.
//! * [`Message`] goes out, [`Incoming`] comes in.
mod actor;
mod budget;
mod client;
mod connection;
mod crypto;
mod inbound;
mod keepalive;
mod message;
mod ops;
mod outbound;
mod queue;
mod sending;
mod shared;

pub(crate) use client::QUEUE;
pub use client::{Config, Messenger, Version, FEATURES_SUPPORTED, FEATURE_MSG_AUTH};
pub use connection::{Connection, ConnectionOps, Policy};
pub use message::{Header, Incoming, Message, Parts, PRIO_DEFAULT};
pub use ops::{Alloc, AuthBadMethod, AuthKeys, AuthRequest, Broken, CON_MODE_CRC, CON_MODE_SECURE};
pub use shared::Reservation;
