// SPDX-License-Identifier: GPL-2.0
//! Fragments of a directory (Ceph: src/include/frag.h).
//!
//! A fragment is the part of the 24-bit hash space of names whose highest `bits`
//! bits have one value. A directory's fragment tree says where fragments are split.
use ceph_proto::errno::ebadmsg;
use core::cmp::Ordering;
use kernel::prelude::*;

const VALUE_MASK: u32 = 0xff_ffff;

/// `frag_t`: 8 bits of depth, 24 bits of value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frag(pub u32);

impl Frag {
    /// The whole directory.
    pub const ROOT: Self = Self(0);

    /// The fragment of the `bits` highest bits of `value`.
    pub const fn new(bits: u32, value: u32) -> Self {
        let bits = if bits > 24 { 24 } else { bits };
        Self((bits << 24) | (value & Self::mask_of(bits)))
    }

    const fn mask_of(bits: u32) -> u32 {
        let bits = if bits > 24 { 24 } else { bits };
        VALUE_MASK.wrapping_shl(24u32.wrapping_sub(bits)) & VALUE_MASK
    }

    /// A fragment as received.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it is deeper than the hash is wide, or its value has bits below
    /// its depth: it would neither hold its own value nor be followed by another, and
    /// a listing would go round.
    pub fn checked(raw: u32) -> Result<Self> {
        let frag = Self(raw);
        if frag.bits() > 24 || !frag.contains(frag.value()) {
            return Err(ebadmsg());
        }
        Ok(frag)
    }

    /// Depth, 0 to 24.
    pub const fn bits(self) -> u32 {
        self.0 >> 24
    }

    /// First hash value in it.
    pub const fn value(self) -> u32 {
        self.0 & VALUE_MASK
    }

    /// Mask of the bits that are fixed.
    pub const fn mask(self) -> u32 {
        Self::mask_of(self.bits())
    }

    /// Whether a hash value belongs to it.
    pub const fn contains(self, value: u32) -> bool {
        value & self.mask() == self.value()
    }

    /// Whether it is the first of the directory.
    pub const fn is_leftmost(self) -> bool {
        self.value() == 0
    }

    /// Whether it is the last of the directory.
    pub const fn is_rightmost(self) -> bool {
        self.value() == self.mask()
    }

    /// The fragment of the same depth that follows; the last has none.
    pub const fn next(self) -> Option<Self> {
        if self.is_rightmost() {
            return None;
        }
        let step = 0x100_0000u32.wrapping_shr(self.bits());
        Some(Self::new(self.bits(), self.value().wrapping_add(step)))
    }

    /// The part `index` of it after a split by `by` bits.
    pub const fn child(self, by: u32, index: u32) -> Self {
        let bits = self.bits().saturating_add(by);
        let bits = if bits > 24 { 24 } else { bits };
        let shift = 24u32.wrapping_sub(bits);
        Self::new(bits, self.value() | index.wrapping_shl(shift))
    }
}

/// In the order of the hash space, the larger first (`ceph_frag_compare`).
impl Ord for Frag {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.value(), self.bits()).cmp(&(other.value(), other.bits()))
    }
}

impl PartialOrd for Frag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a fragment is split, and into how many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// What is split.
    pub frag: Frag,
    /// By how many bits, 1 to 24.
    pub by: u32,
}

/// `fragtree_t`: the splits of one directory. Empty for nearly every directory.
#[derive(Debug, Default)]
pub struct FragTree(KVec<Split>);

impl FragTree {
    /// A directory that is not split.
    pub const fn new() -> Self {
        Self(KVec::new())
    }

    /// Takes over splits as a reply lists them.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn from_splits(splits: impl Iterator<Item = Split>) -> Result<Self> {
        let mut vec = KVec::new();
        for split in splits {
            vec.push(split, GFP_KERNEL)?;
        }
        vec.sort_unstable_by(|a: &Split, b: &Split| a.frag.cmp(&b.frag));
        Ok(Self(vec))
    }

    /// Whether the directory is not split.
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// The leaf that a hash value belongs to (`fragtree_t::operator[]`).
    pub fn choose(&self, value: u32) -> Frag {
        let mut frag = Frag::ROOT;
        // Each step goes down at least one bit, so 24 steps are the most.
        for _ in 0..24 {
            let Ok(at) = self.0.binary_search_by(|s| s.frag.cmp(&frag)) else {
                break;
            };
            let Some(split) = self.0.get(at) else { break };
            let bits = frag.bits().saturating_add(split.by);
            if split.by == 0 || bits > 24 {
                break;
            }
            frag = Frag::new(bits, value);
        }
        frag
    }
}

#[kunit_tests(ceph_wire_frag)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_everything() {
        assert!(Frag::ROOT.contains(0xff_ffff) && Frag::ROOT.contains(0));
        assert!(Frag::ROOT.is_leftmost() && Frag::ROOT.is_rightmost());
        assert_eq!(Frag::ROOT.next(), None);
        assert!(Frag::checked(25 << 24).is_err());
    }

    #[test]
    fn bits_below_the_depth_are_refused() {
        assert!(Frag::checked((1 << 24) | 0x80_0000).is_ok());
        assert!(Frag::checked((1 << 24) | 0x80_0001).is_err());
        assert!(Frag::checked(1).is_err());
    }

    #[test]
    fn children_cover_their_parent() {
        let parent = Frag::new(1, 0x80_0000);
        let mut frag = parent.child(2, 0);
        for i in 0..4 {
            assert_eq!(frag, parent.child(2, i));
            assert!(parent.contains(frag.value()));
            assert_eq!(frag.bits(), 3);
            match frag.next() {
                Some(next) => frag = next,
                None => assert_eq!(i, 3),
            }
        }
    }

    #[test]
    fn a_tree_leads_to_leaves() -> Result {
        let tree = FragTree::from_splits(
            [
                Split {
                    frag: Frag::new(1, 0x80_0000),
                    by: 3,
                },
                Split {
                    frag: Frag::ROOT,
                    by: 1,
                },
            ]
            .into_iter(),
        )?;
        assert_eq!(tree.choose(0x12_3456), Frag::new(1, 0));
        assert_eq!(tree.choose(0xa2_3456), Frag::new(4, 0xa0_0000));
        assert_eq!(FragTree::new().choose(0xa2_3456), Frag::ROOT);
        // A split by nothing must not make it turn forever.
        let bad = FragTree::from_splits(core::iter::once(Split {
            frag: Frag::ROOT,
            by: 0,
        }))?;
        assert_eq!(bad.choose(7), Frag::ROOT);
        Ok(())
    }
}
