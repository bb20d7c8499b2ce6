// SPDX-License-Identifier: GPL-2.0
//! The type that stands for the file system in all types of the VFS.
//!
//! What belongs to it (super block, inode, dentry) is said in
//! [`super_block`](crate::super_block), which is above all; who has an inode or a dentry
//! in hand only names this.

/// The file system type `ceph`.
pub(crate) struct CephFs;

/// `CEPH_SUPER_MAGIC` (include/uapi/linux/magic.h).
pub(crate) const MAGIC: usize = 0x00c3_6400;
