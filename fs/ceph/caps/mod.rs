// SPDX-License-Identifier: GPL-2.0
//! Capabilities: what the servers say of them, what they are told, and who waits.
//!
//! What happens to the capabilities of one inode is decided by
//! [`CapSet`](ceph_fs_proto::machine::caps::CapSet), under the inode's lock. Here
//! the decisions are carried out, with no spin lock held.
//!
//! Each session lists its capabilities ([`SessionCaps`]). The lists name inodes by
//! number and hold no references: an inode that is evicted takes its capabilities out.
//!
//! What a server has to be told is never lost for lack of memory: releases wait in the
//! place of their capability, and if an update cannot be sent the tick looks at all
//! capabilities again.
//!
//! [`SessionCaps::order`] is held from the decision what to tell a server until the
//! message is queued, so that an older state never overtakes a newer one. It is
//! outside of the inode's lock.
//!
//! [`SessionCaps`]: session_caps::SessionCaps
//! [`SessionCaps::order`]: session_caps::SessionCaps
pub(crate) mod add;
pub(crate) mod delayed;
pub(crate) mod handle;
pub(crate) mod pages;
pub(crate) mod recall;
pub(crate) mod reconnect;
pub(crate) mod refs;
pub(crate) mod sender;
pub(crate) mod session_caps;
pub(crate) mod session_end;
pub(crate) mod stale_pages;
