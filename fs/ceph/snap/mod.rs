// SPDX-License-Identifier: GPL-2.0
//! Snapshots, as far as inodes of this client are concerned.

pub(crate) mod handle;
pub(crate) mod realm;
