// SPDX-License-Identifier: GPL-2.0
//! State machines under arbitrary sequences of events.
pub(crate) mod auth;
pub(crate) mod caps;
pub(crate) mod files;
pub(crate) mod listing;
pub(crate) mod messenger;
pub(crate) mod mon;
pub(crate) mod msgr1;
pub(crate) mod osd_request;
pub(crate) mod osd_target;
pub(crate) mod registry;
pub(crate) mod request;
pub(crate) mod session;
