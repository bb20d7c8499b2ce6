// SPDX-License-Identifier: GPL-2.0
//! Hashes of names in a directory (Ceph: src/common/ceph_hash.cc), which choose a
//! name's fragment and the order of readdir.
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

/// `ceph_dir_layout::dl_dir_hash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirHash(pub u8);

impl DirHash {
    /// `CEPH_STR_HASH_LINUX`.
    pub const LINUX: Self = Self(1);
    /// `CEPH_STR_HASH_RJENKINS`, what every server uses.
    pub const RJENKINS: Self = Self(2);

    /// Takes a `ceph_dir_layout` (8 bytes).
    #[inline]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let hash = Self(d.u8()?);
        d.skip(7)?;
        Ok(hash)
    }

    /// The hash of a name, 32 bits; fragments use the lowest 24
    /// (`ceph_frag_value`).
    pub fn hash(self, name: &[u8]) -> u32 {
        match self {
            Self::LINUX => linux(name),
            Self::RJENKINS => rjenkins(name),
            _ => u32::MAX,
        }
    }
}

fn linux(name: &[u8]) -> u32 {
    let mut hash = 0u64;
    for c in name {
        let c = u64::from(*c);
        hash = hash.wrapping_add(c << 4).wrapping_add(c >> 4);
        hash = hash.wrapping_mul(11);
    }
    (hash & 0xffff_ffff) as u32
}

/// Robert Jenkins' hash of 1996, https://burtleburtle.net/bob/hash/evahash.html.
fn rjenkins(name: &[u8]) -> u32 {
    let mut state = [0x9e37_79b9u32, 0x9e37_79b9, 0];
    let mut blocks = name.chunks_exact(12);
    for block in blocks.by_ref() {
        for (word, bytes) in state.iter_mut().zip(block.chunks_exact(4)) {
            *word = word.wrapping_add(le(bytes));
        }
        mix(&mut state);
    }
    let [a, b, c] = &mut state;
    let tail = blocks.remainder();
    // The lowest byte of the last word is the length, so the tail's third word
    // starts one byte higher.
    *c = c.wrapping_add(u32::try_from(name.len()).unwrap_or(u32::MAX));
    let mut words = tail.chunks(4);
    *a = a.wrapping_add(words.next().map_or(0, le));
    *b = b.wrapping_add(words.next().map_or(0, le));
    *c = c.wrapping_add(words.next().map_or(0, le) << 8);
    mix(&mut state);
    let [_, _, c] = state;
    c
}

/// Up to four bytes, the first lowest.
fn le(bytes: &[u8]) -> u32 {
    if let Some(all) = bytes.first_chunk() {
        return u32::from_le_bytes(*all);
    }
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

#[inline(always)]
fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for (right, left, down) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> right);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << left);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> down);
    }
    *state = [a, b, c];
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
