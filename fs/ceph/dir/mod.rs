// SPDX-License-Identifier: GPL-2.0
//! Directories: looking up names, listing them, and how long names are good.

pub(crate) mod dentry_ops;
pub(crate) mod lease;
pub(crate) mod lease_msg;
pub(crate) mod lookup;
pub(crate) mod readdir;
