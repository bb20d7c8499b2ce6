// SPDX-License-Identifier: GPL-2.0
//! The MDS client: sessions with ranks, requests, and the maps that say who is who.
//!
//! ```text
//!   submit ──▶ request ──▶ op         what is asked, by whom, and where it is in its life
//!     │
//!   connect ──▶ dispatch ──▶ session  a connection and its state; opened, lost, restarted
//!                │
//!                ├──▶ session_message, reply, map     what comes in
//!   tick, stop                        what time brings, and the end
//! ```
//!
//! [`MdsClient::do_request`](client::MdsClient::do_request) is the way in. A request waits in
//! the table until the map names an active rank and the session with it is open; it is sent,
//! and sent again to whom it is forwarded, or when a rank has restarted. Each operation is an
//! [`MdsOp`](op::MdsOp), which takes its replies; what happens to sessions the file system
//! hears by [`MdsEvents`](events::MdsEvents).
pub(crate) mod client;
pub(crate) mod config;
mod connect;
mod debugfs;
mod dispatch;
pub(crate) mod events;
mod map;
pub(crate) mod op;
pub(crate) mod reason;
mod reply;
pub(crate) mod request;
pub(crate) mod session;
mod session_message;
mod stop;
mod submit;
mod tick;
