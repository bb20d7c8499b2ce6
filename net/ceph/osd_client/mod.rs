// SPDX-License-Identifier: GPL-2.0
//! The OSD client: objects are read wherever the OSD map says they are.
//!
//! ```text
//!   submit() --> assign(): target from the view --> Session (one for each OSD) --> Connection
//!                                                     |  reply: the answer
//!   maps, broken connections, killed tasks,           v
//!   redirects, "ask the primary" --> the worker: recall what is lent, then assign() again
//! ```
//!
//! What a request goes through is in [`osd_request`](ceph_proto::machine::osd_request); here
//! is what moves it. Submitting and answering take the lock of one session, and none that
//! requests to other OSDs take: what they need to know is in a [`View`](view::View), which is found without
//! a lock. All that takes requests out of a session for other reasons than an answer is done by
//! one work item, the worker: it alone changes the view, so no two of those run at once. A
//! request that is placed by a map which changes meanwhile is noticed by its epoch after it was
//! inserted, and the worker looks at it again.
//!
//! A destination is *lent* to a connection with the message that asks for the data. It comes
//! back with the reply, or by [`Connection::revoke`](crate::messenger::Connection::revoke), after which the connection cannot touch
//! its memory; only then does a request leave its session.
//!
//! Locks, outer first: a session's state, those of its connection, `shared`.
mod checks;
mod client;
mod maps;
mod ops;
mod pool_question;
mod request;
mod scan;
mod session;
mod show;
mod submit;
mod view;
mod waiting_maps;
mod worker;

pub use ceph_proto::machine::osd_target::ObjectName;
pub use ceph_proto::wire::osd::{Op, OpVec};
pub use client::OsdClient;
pub(crate) use client::QUEUE;
pub use request::{Answer, Spec};
pub use show::Waiting;
