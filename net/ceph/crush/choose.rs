// SPDX-License-Identifier: GPL-2.0
//! The draws of CRUSH: which item a bucket chooses for an input and a try.
//!
//! Nothing is allocated. The C implementation keeps a permutation for each bucket
//! in a work space; here the one element asked for is computed backwards
//! ([`permuted`]).
use super::hash::{hash2, hash3, hash4, RJENKINS1};
use super::ln::crush_ln;
use super::map::{Algorithm, Bucket, ChooseArg, ChooseArgs, CrushMap};

/// Draws that one rule may cost: a hundred times what large maps need.
pub(super) const BUDGET: u32 = 1 << 23;

/// Largest result (`CEPH_PG_MAX_SIZE`).
pub(super) const MAX_RESULT: usize = 32;

/// A place that is not yet decided (`CRUSH_ITEM_UNDEF`).
pub(super) const ITEM_UNDEF: i32 = 0x7fff_fffe;

/// Bits of a number as the hash takes them.
#[inline]
pub(super) fn bits(id: i32) -> u32 {
    id as u32
}

/// What all choices of a rule share.
pub(super) struct Chooser<'a> {
    pub(super) map: &'a CrushMap,
    pub(super) x: u32,
    pub(super) weight: &'a dyn Fn(i32) -> u32,
    pub(super) choose_args: Option<&'a ChooseArgs>,
    /// Draws that are left; at 0 nothing more is chosen.
    pub(super) budget: u32,
}

impl Chooser<'_> {
    /// Whether a device refuses this input: always at weight 0, never from 1 on.
    pub(super) fn is_out(&self, device: i32) -> bool {
        match (self.weight)(device) {
            0 => true,
            0x1_0000.. => false,
            weight => hash2(self.x, bits(device)) & 0xffff >= weight,
        }
    }

    /// Pays for as many draws as a bucket has items.
    fn pay(&mut self, bucket: &Bucket) -> Option<()> {
        let cost = u32::try_from(bucket.items.len()).unwrap_or(u32::MAX);
        match self.budget.checked_sub(cost.max(1)) {
            Some(left) => {
                self.budget = left;
                Some(())
            }
            None => {
                self.budget = 0;
                None
            }
        }
    }

    pub(super) fn permutation(&mut self, bucket: &Bucket, r: i32) -> Option<i32> {
        self.pay(bucket)?;
        permuted(bucket, self.x, r)
    }

    /// The choice of a bucket that is not empty; none if the map is broken.
    pub(super) fn pick(&mut self, bucket: &Bucket, r: i32, position: usize) -> Option<i32> {
        self.pay(bucket)?;
        match &bucket.alg {
            Algorithm::Uniform => permuted(bucket, self.x, r),
            Algorithm::List(weights) => list(bucket, weights, self.x, r),
            Algorithm::Tree(nodes) => tree(bucket, nodes, self.x, r),
            Algorithm::Straw(straws) => straw(bucket, straws, self.x, r),
            Algorithm::Straw2(weights) => {
                let arg = self.choose_args.and_then(|args| args.of(bucket));
                let weights = arg.and_then(|arg| arg.weights(position)).unwrap_or(weights);
                let ids = arg.and_then(ChooseArg::ids).unwrap_or(&bucket.items);
                straw2(bucket, weights, ids, self.x, r)
            }
        }
    }
}

/// An unknown hash function gives 0, with every implementation.
#[inline]
fn bucket_hash3(bucket: &Bucket, a: u32, b: u32, c: u32) -> u32 {
    match bucket.hash {
        RJENKINS1 => hash3(a, b, c),
        _ => 0,
    }
}

#[inline]
fn bucket_hash4(bucket: &Bucket, a: u32, b: u32, c: u32, d: u32) -> u32 {
    match bucket.hash {
        RJENKINS1 => hash4(a, b, c, d),
        _ => 0,
    }
}

/// The item at place `r` of the bucket's pseudo-random permutation.
///
/// The permutation is made by swapping place p with place p + hash(p) % (size - p),
/// for p = 0, 1, ...; after step p place p is final. Going back from step `r` one
/// finds the place that the element came from.
fn permuted(bucket: &Bucket, x: u32, r: i32) -> Option<i32> {
    let size = u32::try_from(bucket.items.len()).ok()?;
    let last = bits(r).checked_rem(size)?;
    let offset = |p: u32| {
        let left = size.wrapping_sub(p);
        match left {
            0 | 1 => 0,
            _ => bucket_hash3(bucket, x, bits(bucket.id), p)
                .checked_rem(left)
                .unwrap_or(0),
        }
    };
    let mut place = last.wrapping_add(offset(last));
    for p in (0..last).rev() {
        if place == p.wrapping_add(offset(p)) {
            place = p;
        }
    }
    bucket.items.get(usize::try_from(place).ok()?).copied()
}

fn list(bucket: &Bucket, weights: &[(u32, u32)], x: u32, r: i32) -> Option<i32> {
    for (item, (weight, sum)) in bucket.items.iter().zip(weights).rev() {
        let hash = bucket_hash4(bucket, x, bits(*item), bits(r), bits(bucket.id)) & 0xffff;
        let draw = u64::from(hash).wrapping_mul(u64::from(*sum)) >> 16;
        if draw < u64::from(*weight) {
            return Some(*item);
        }
    }
    bucket.items.first().copied()
}

/// Items are the leaves (odd numbers) of a binary tree that is numbered in order.
fn tree(bucket: &Bucket, nodes: &[u32], x: u32, r: i32) -> Option<i32> {
    let mut node = u32::try_from(nodes.len()).ok()? >> 1;
    let weight = |node: u32| nodes.get(usize::try_from(node).ok()?).copied();
    while node & 1 == 0 {
        let hash = bucket_hash4(bucket, x, node, bits(r), bits(bucket.id));
        let draw = u64::from(hash).wrapping_mul(u64::from(weight(node)?)) >> 32;
        let half = 1u32.checked_shl(node.trailing_zeros())? >> 1;
        let left = node.wrapping_sub(half);
        node = match draw < u64::from(weight(left)?) {
            true => left,
            false => node.wrapping_add(half),
        };
    }
    bucket.items.get(usize::try_from(node >> 1).ok()?).copied()
}

fn straw(bucket: &Bucket, straws: &[u32], x: u32, r: i32) -> Option<i32> {
    let mut best: Option<(u64, i32)> = None;
    for (item, straw) in bucket.items.iter().zip(straws) {
        let hash = bucket_hash3(bucket, x, bits(*item), bits(r)) & 0xffff;
        let draw = u64::from(hash).wrapping_mul(u64::from(*straw));
        if best.is_none_or(|(high, _)| draw > high) {
            best = Some((draw, *item));
        }
    }
    best.map(|(_, item)| item)
}

fn straw2(bucket: &Bucket, weights: &[u32], ids: &[i32], x: u32, r: i32) -> Option<i32> {
    let mut best: Option<(i64, i32)> = None;
    for ((item, weight), id) in bucket.items.iter().zip(weights).zip(ids) {
        let hash = bucket_hash3(bucket, x, bits(*id), bits(r));
        let [low, high, ..] = hash.to_le_bytes();
        // The logarithm of a number in (0, 1], scaled by the weight: the larger
        // the weight, the nearer to 0.
        let ln = crush_ln(u16::from_le_bytes([low, high]));
        let draw = i64::try_from(ln)
            .unwrap_or(0)
            .wrapping_sub(1 << 48)
            .checked_div(i64::from(*weight))
            .unwrap_or(i64::MIN);
        if best.is_none_or(|(high, _)| draw > high) {
            best = Some((draw, *item));
        }
    }
    best.map(|(_, item)| item)
}
