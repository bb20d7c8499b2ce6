// SPDX-License-Identifier: GPL-2.0
//! Inodes: what is kept for them, and their operations.

pub(crate) mod access;
pub(crate) mod attrs;
pub(crate) mod getattr;
pub(crate) mod info;
pub(crate) mod inode_ops;
pub(crate) mod issued;
pub(crate) mod names;
pub(crate) mod xattrs;
