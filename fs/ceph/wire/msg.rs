// SPDX-License-Identifier: GPL-2.0
//! Message numbers and identities (include/linux/ceph/ceph_fs.h, rados.h).
use ceph_proto::errno::eopnotsupp;
use core::fmt;
use kernel::prelude::*;

/// `CEPH_MSG_MDS_MAP`.
pub const MDS_MAP: u16 = 21;
/// `CEPH_MSG_CLIENT_SESSION`.
pub const CLIENT_SESSION: u16 = 22;
/// `CEPH_MSG_CLIENT_RECONNECT`.
pub const CLIENT_RECONNECT: u16 = 23;
/// `CEPH_MSG_CLIENT_REQUEST`.
pub const CLIENT_REQUEST: u16 = 24;
/// `CEPH_MSG_CLIENT_REQUEST_FORWARD`.
pub const CLIENT_REQUEST_FORWARD: u16 = 25;
/// `CEPH_MSG_CLIENT_REPLY`.
pub const CLIENT_REPLY: u16 = 26;
/// `CEPH_MSG_FS_MAP_USER`.
pub const FS_MAP_USER: u16 = 103;
/// `CEPH_MSG_CLIENT_CAPS`.
pub const CLIENT_CAPS: u16 = 0x310;
/// `CEPH_MSG_CLIENT_LEASE`.
pub const CLIENT_LEASE: u16 = 0x311;
/// `CEPH_MSG_CLIENT_SNAP`.
pub const CLIENT_SNAP: u16 = 0x312;
/// `CEPH_MSG_CLIENT_CAPRELEASE`.
pub const CLIENT_CAPRELEASE: u16 = 0x313;
/// `CEPH_MSG_CLIENT_QUOTA`.
pub const CLIENT_QUOTA: u16 = 0x314;

/// Up to which version of its encoding a message is read that a server sends; `None` for a
/// message that no server sends to a client, or that is passed over.
pub const fn understood(kind: u16) -> Option<u16> {
    match kind {
        CLIENT_REPLY
        | CLIENT_REQUEST_FORWARD
        | CLIENT_LEASE
        | CLIENT_SNAP
        | CLIENT_QUOTA
        | FS_MAP_USER => Some(1),
        MDS_MAP => Some(2),
        CLIENT_SESSION => Some(7),
        CLIENT_CAPS => Some(12),
        _ => None,
    }
}

/// Whether a message is read; of one that is not there is nothing to say.
///
/// # Errors
///
/// [`eopnotsupp`] if its sender says that it takes a newer reader.
pub fn is_understood(kind: u16, compat_version: u16) -> Result<bool> {
    match understood(kind) {
        Some(version) if compat_version > version => Err(eopnotsupp()),
        known => Ok(known.is_some()),
    }
}

/// Number of the file system's root inode.
pub const INO_ROOT: u64 = 1;
/// Number of the hidden .ceph directory.
pub const INO_CEPH: u64 = 2;
/// Number of the snap realm that stands for "everything".
pub const INO_GLOBAL_SNAPREALM: u64 = 3;
/// `CEPH_NOSNAP`: the live revision.
pub const NOSNAP: u64 = u64::MAX - 1;
/// `CEPH_SNAPDIR`: the hidden .snap directory.
pub const SNAPDIR: u64 = u64::MAX;
/// More ranks than any file system has (`CEPH_MAX_MDS`).
pub const MAX_MDS: u32 = 0x100;

/// Identity of an inode: its number and the snapshot it is seen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vino {
    /// Inode number.
    pub ino: u64,
    /// Snapshot, [`NOSNAP`] or [`SNAPDIR`].
    pub snap: u64,
}

impl Vino {
    /// The live root.
    pub const ROOT: Self = Self::head(INO_ROOT);

    /// The live inode of the number.
    pub const fn head(ino: u64) -> Self {
        Self { ino, snap: NOSNAP }
    }

    /// Whether it is the live inode.
    pub const fn is_head(self) -> bool {
        self.snap == NOSNAP
    }
}

impl fmt::Display for Vino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.ino, self.snap)
    }
}

/// Whether sequence `a` is newer than `b`, which wrap around (`ceph_seq_cmp`).
pub const fn seq_newer(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[kunit_tests(ceph_wire_msg)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_takes_a_newer_reader_is_refused() -> Result {
        for (kind, version) in [
            (MDS_MAP, 2),
            (FS_MAP_USER, 1),
            (CLIENT_SESSION, 7),
            (CLIENT_REPLY, 1),
            (CLIENT_REQUEST_FORWARD, 1),
            (CLIENT_CAPS, 12),
            (CLIENT_LEASE, 1),
            (CLIENT_SNAP, 1),
            (CLIENT_QUOTA, 1),
        ] {
            assert!(is_understood(kind, 0)?);
            assert!(is_understood(kind, version)?);
            let newer = is_understood(kind, version.wrapping_add(1));
            assert!(newer.is_err_and(|e| e == eopnotsupp()));
        }
        // Whatever it says.
        assert!(!is_understood(CLIENT_REQUEST, 99)?);
        assert!(!is_understood(CLIENT_CAPRELEASE, 99)?);
        Ok(())
    }
}
