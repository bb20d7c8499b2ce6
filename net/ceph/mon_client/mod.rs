// SPDX-License-Identifier: GPL-2.0
//! The client of the monitors: who the cluster is, which maps there are, and
//! questions to the monitors themselves.
//!
//! There is a session with one monitor at all times. [`Hunt`](ceph_proto::machine::hunt::Hunt) says with which and
//! for how long, [`Subs`](ceph_proto::machine::subs::Subs) which maps are wanted; they are pure, and this shell does what
//! they say, under one mutex. What we may use is the business of [`auth`], which has a
//! mutex of its own.
//!
//! A session counts as one when the monitor has said who it is. Before, the hunt goes on:
//! a monitor that takes our key may still have nothing to do with us, or fall silent.
//!
//! Each session has an object of its own for the callbacks of the connection (see
//! [`session`]), so one that comes late from a session that was given up is told
//! apart by the session's number.
//!
//! Locks: both are taken after any lock of the OSD and MDS clients, that of [`auth`] as the
//! inner one. Neither callbacks of requests nor [`MonDispatch`] are called with one of them
//! held. What allocates with one held does so in a [`NoIo`] scope: reclaim may wait for a
//! read, and the OSD client, to go on with that, for the mutex.

mod auth;
mod cause;
mod client;
mod generic_request;
mod hunting;
mod maps;
mod request;
mod session;
mod show;
mod tickets;

pub use cause::{Cause, Explained};
pub(crate) use client::QUEUE;
pub use client::{MonClient, MonDispatch, FROM_MONITORS};

pub use ceph_proto::machine::subs::Sub;
pub use ceph_proto::wire::mon_request::Statfs;
