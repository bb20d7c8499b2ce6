// SPDX-License-Identifier: GPL-2.0
//! `MClientQuota`: a directory's limits and recursive statistics.
use ceph_proto::wire::decode::Decoder;
use ceph_proto::wire::types::Timespec;
use kernel::prelude::*;

/// Limits of a directory tree; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes.
    pub max_bytes: u64,
    /// Files and directories.
    pub max_files: u64,
}

impl Quota {
    /// Takes a `quota_info_t`.
    #[inline(always)]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let (_, mut body) = d.versioned(1)?;
        let mut body = body.block::<16>()?;
        Ok(Self {
            max_bytes: body.u64()?,
            max_files: body.u64()?,
        })
    }
}

/// `MClientQuota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientQuota {
    /// The directory.
    pub ino: u64,
    /// The newest change time in the tree.
    pub rctime: Timespec,
    /// Bytes in the tree.
    pub rbytes: u64,
    /// Files in the tree.
    pub rfiles: u64,
    /// Directories in the tree.
    pub rsubdirs: u64,
    /// The limits.
    pub quota: Quota,
}

impl ClientQuota {
    /// Takes the front of the message.
    pub fn decode(front: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        Ok(Self {
            ino: d.u64()?,
            rctime: d.timespec()?,
            rbytes: d.u64()?,
            rfiles: d.u64()?,
            rsubdirs: d.u64()?,
            quota: Quota::decode(&mut d)?,
        })
    }
}

#[kunit_tests(ceph_wire_quota)]
mod tests {
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    #[test]
    fn a_quota_is_read() -> Result {
        let mut e = Encoder::new();
        e.u64(1)?.u32(2)?.u32(3)?.u64(4)?.u64(5)?.u64(6)?;
        e.versioned(2, 1, |e| {
            e.u64(7)?.u64(8)?;
            Ok(())
        })?;
        let bytes = e.into_vec();
        let quota = ClientQuota::decode(&bytes)?;
        assert_eq!((quota.ino, quota.rctime.nsec, quota.rsubdirs), (1, 3, 6));
        assert_eq!((quota.quota.max_bytes, quota.quota.max_files), (7, 8));
        for len in 0..bytes.len() {
            assert!(ClientQuota::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        Ok(())
    }
}
