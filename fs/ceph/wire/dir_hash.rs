// SPDX-License-Identifier: GPL-2.0
//! Hashes of names in a directory (Ceph: src/common/ceph_hash.cc), which choose a
//! name's fragment and the order of readdir.
use ceph_proto::crush::hash::{hash_whole_name, STR_HASH_LINUX, STR_HASH_RJENKINS};
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

/// `ceph_dir_layout::dl_dir_hash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirHash(pub u8);

impl DirHash {
    /// `CEPH_STR_HASH_LINUX`.
    pub const LINUX: Self = Self(STR_HASH_LINUX);
    /// `CEPH_STR_HASH_RJENKINS`, what every server uses.
    pub const RJENKINS: Self = Self(STR_HASH_RJENKINS);

    /// Takes a `ceph_dir_layout` (8 bytes).
    #[inline(always)]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let hash = Self(d.u8()?);
        d.skip(7)?;
        Ok(hash)
    }

    /// The hash of a name, 32 bits; fragments use the lowest 24
    /// (`ceph_frag_value`).
    #[inline]
    pub fn hash(self, name: &[u8]) -> u32 {
        hash_whole_name(self.0, name)
    }
}

#[kunit_tests(ceph_wire_dir_hash)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        // Computed with Ceph's src/common/ceph_hash.cc.
        let h = DirHash::RJENKINS;
        assert_eq!(h.hash(b""), 3_175_731_469);
        assert_eq!(h.hash(b"foo"), 2_143_417_350);
        assert_eq!(h.hash(b"a name of more than twelve"), 3_919_479_503);
        assert_eq!(DirHash::LINUX.hash(b"foo"), 2_415_402);
        assert_eq!(DirHash(0).hash(b"foo"), u32::MAX);
    }
}
