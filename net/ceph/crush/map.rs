// SPDX-License-Identifier: GPL-2.0
//! The CRUSH map: a forest of buckets over devices, and rules that select from it.
//!
//! Encoding: `CrushWrapper::encode` of Ceph, from tunables v1 to those of MSR rules.
use kernel::prelude::*;

use crate::errno::ebadmsg;
use crate::wire::{decode::Decoder, flat_map::FlatMap};

const MAGIC: u32 = 0x0001_0000;

/// No item: a hole in an erasure-coded set (`CRUSH_ITEM_NONE`).
pub const ITEM_NONE: i32 = 0x7fff_ffff;

/// A CRUSH map.
pub struct CrushMap {
    buckets: KVVec<Option<KBox<Bucket>>>,
    rules: KVVec<Option<Rule>>,
    /// Devices have ids below this.
    pub max_devices: i32,
    /// Parameters of the choice.
    pub tunables: Tunables,
    type_names: FlatMap<i32, u8>,
    names: FlatMap<i32, u8>,
    choose_args: KVVec<ChooseArgs>,
}

/// Parameters of the choice that the map fixes for all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Retries in the same bucket after a collision.
    pub choose_local_tries: u32,
    /// Retries in the same bucket by permutation.
    pub choose_local_fallback_tries: u32,
    /// Retries from the start of the rule's step.
    pub choose_total_tries: u32,
    /// The inner choice of a leaf is tried once.
    pub chooseleaf_descend_once: bool,
    /// How the try of the outer choice enters the inner one, 0 for not at all.
    pub chooseleaf_vary_r: u8,
    /// The inner choice does not depend on the position.
    pub chooseleaf_stable: u8,
    /// How often the steps of an MSR rule are gone through.
    pub msr_descents: u32,
    /// Tries of a step of an MSR rule after a collision.
    pub msr_collision_tries: u32,
}

impl Tunables {
    /// What a map means that does not say: Argonaut's.
    pub const LEGACY: Self = Self {
        choose_local_tries: 2,
        choose_local_fallback_tries: 5,
        choose_total_tries: 19,
        chooseleaf_descend_once: false,
        chooseleaf_vary_r: 0,
        chooseleaf_stable: 0,
        msr_descents: 100,
        msr_collision_tries: 100,
    };
}

/// An inner node.
pub struct Bucket {
    /// Negative.
    pub id: i32,
    /// Level; 0 is for devices.
    pub kind: u16,
    /// Hash function.
    pub hash: u8,
    /// Devices (not negative) and buckets (negative).
    pub items: KVVec<i32>,
    /// Algorithm with its weights.
    pub alg: Algorithm,
}

/// How a bucket chooses among its items; weights are 16.16 fixed point.
pub enum Algorithm {
    /// All items weigh the same: a pseudo-random permutation.
    Uniform,
    /// From the last to the first; an item's weight, and the sum of all up to it.
    List(KVVec<(u32, u32)>),
    /// A binary tree with the weights of its nodes.
    Tree(KVVec<u32>),
    /// The longest of scaled straws.
    Straw(KVVec<u32>),
    /// The longest of independent exponential straws; the items' weights.
    Straw2(KVVec<u32>),
}

/// A list of steps.
pub struct Rule {
    /// `CRUSH_RULE_TYPE_*`.
    pub kind: u8,
    /// Steps in order.
    pub steps: KVVec<Step>,
}

/// A step of a rule: an operation (`CRUSH_RULE_*`) and its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Operation.
    pub op: u32,
    /// First argument.
    pub arg1: i32,
    /// Second argument.
    pub arg2: i32,
}

/// Weights and ids that replace those of the buckets for one pool (or for all).
pub struct ChooseArgs {
    index: i64,
    args: KVVec<ChooseArg>,
}

/// Replacements for one bucket.
pub struct ChooseArg {
    bucket: u32,
    weight_sets: KVVec<KVVec<u32>>,
    ids: KVVec<i32>,
}

impl ChooseArgs {
    /// The index of the set that is used when a pool has none of its own.
    const DEFAULT: i64 = -1;

    /// The replacements for a bucket.
    #[inline]
    pub fn of(&self, bucket: &Bucket) -> Option<&ChooseArg> {
        let index = bucket_index(bucket.id)?;
        let at = self
            .args
            .binary_search_by(|arg| u64::from(arg.bucket).cmp(&(index as u64)));
        self.args.get(at.ok()?)
    }
}

impl ChooseArg {
    /// The weights for a position of the result, if they are replaced.
    pub fn weights(&self, position: usize) -> Option<&[u32]> {
        let last = self.weight_sets.len().checked_sub(1)?;
        self.weight_sets.get(position.min(last)).map(|set| &set[..])
    }

    /// The ids to hash instead of the items, if they are replaced.
    pub fn ids(&self) -> Option<&[i32]> {
        (!self.ids.is_empty()).then_some(&self.ids[..])
    }
}

/// Index of the bucket with the (negative) id.
#[inline]
fn bucket_index(id: i32) -> Option<usize> {
    // -1 - id, which cannot overflow.
    usize::try_from(!id).ok()
}

impl CrushMap {
    /// Decodes a map.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for malformed bytes, `ENOMEM`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        if d.u32()? != MAGIC {
            return Err(ebadmsg());
        }
        let max_buckets = d.count(0)?;
        let max_rules = d.count(0)?;
        let max_devices = d.i32()?;

        // Every slot has at least its u32 that says whether it is used.
        d.check_count(max_buckets, 4)?;
        let mut buckets = KVVec::with_capacity(max_buckets, GFP_KERNEL)?;
        for index in 0..max_buckets {
            let bucket = match d.u32()? {
                0 => None,
                alg => Some(KBox::new(Bucket::decode(&mut d, index, alg)?, GFP_KERNEL)?),
            };
            buckets.push(bucket, GFP_KERNEL)?;
        }

        d.check_count(max_rules, 4)?;
        let mut rules = KVVec::with_capacity(max_rules, GFP_KERNEL)?;
        for _ in 0..max_rules {
            let rule = match d.u32()? {
                0 => None,
                _ => Some(Rule::decode(&mut d)?),
            };
            rules.push(rule, GFP_KERNEL)?;
        }

        let type_names = FlatMap::decode_names(&mut d, 4, Decoder::i32)?;
        let names = FlatMap::decode_names(&mut d, 4, Decoder::i32)?;
        for _ in 0..d.count(8)? {
            // Names of rules.
            d.skip(4)?;
            d.blob()?;
        }

        let mut map = Self {
            buckets,
            rules,
            max_devices,
            tunables: Tunables::LEGACY,
            type_names,
            names,
            choose_args: KVVec::new(),
        };
        map.decode_rest(&mut d)?;
        Ok(map)
    }

    /// Decodes what later versions added; the map may end before each part.
    fn decode_rest(&mut self, d: &mut Decoder<'_>) -> Result {
        let tunables = &mut self.tunables;
        if d.is_empty() {
            return Ok(());
        }
        tunables.choose_local_tries = d.u32()?;
        tunables.choose_local_fallback_tries = d.u32()?;
        tunables.choose_total_tries = d.u32()?;
        if d.is_empty() {
            return Ok(());
        }
        tunables.chooseleaf_descend_once = d.u32()? != 0;
        if d.is_empty() {
            return Ok(());
        }
        tunables.chooseleaf_vary_r = d.u8()?;
        if d.is_empty() {
            return Ok(());
        }
        // straw_calc_version, allowed_bucket_algs: for those who edit the map.
        d.skip(1)?;
        if d.is_empty() {
            return Ok(());
        }
        d.skip(4)?;
        if d.is_empty() {
            return Ok(());
        }
        tunables.chooseleaf_stable = d.u8()?;
        if d.is_empty() {
            return Ok(());
        }
        // Classes of devices, names of classes, shadow buckets of classes: rules
        // name the shadow buckets by id.
        for _ in 0..d.count(8)? {
            d.skip(8)?;
        }
        for _ in 0..d.count(8)? {
            d.skip(4)?;
            d.blob()?;
        }
        for _ in 0..d.count(8)? {
            d.skip(4)?;
            for _ in 0..d.count(8)? {
                d.skip(8)?;
            }
        }
        if d.is_empty() {
            return Ok(());
        }
        let sets = d.vec(12, |d| {
            Ok(ChooseArgs {
                index: d.i64()?,
                args: d.vec(12, ChooseArg::decode)?,
            })
        })?;
        self.check_choose_args(&sets)?;
        self.choose_args = sets;
        if d.is_empty() {
            return Ok(());
        }
        self.tunables.msr_descents = d.u32()?;
        self.tunables.msr_collision_tries = d.u32()?;
        Ok(())
    }

    fn check_choose_args(&self, sets: &[ChooseArgs]) -> Result {
        if !sets.is_sorted_by(|a, b| a.index < b.index) {
            return Err(ebadmsg());
        }
        for set in sets {
            if !set.args.is_sorted_by(|a, b| a.bucket < b.bucket) {
                return Err(ebadmsg());
            }
            for arg in &set.args {
                let index = usize::try_from(arg.bucket).map_err(|_| ebadmsg())?;
                let bucket = match self.buckets.get(index) {
                    Some(bucket) => bucket,
                    None => return Err(ebadmsg()),
                };
                let size = bucket.as_ref().map_or(0, |bucket| bucket.items.len());
                let ids_fit = arg.ids.is_empty() || arg.ids.len() == size;
                if !ids_fit || arg.weight_sets.iter().any(|set| set.len() != size) {
                    return Err(ebadmsg());
                }
            }
        }
        Ok(())
    }

    /// The bucket with the (negative) id.
    #[inline]
    pub fn bucket(&self, id: i32) -> Option<&Bucket> {
        match self.buckets.get(bucket_index(id)?) {
            Some(Some(bucket)) => Some(bucket),
            _ => None,
        }
    }

    /// The rule with the number.
    pub fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(number).ok()?)?.as_ref()
    }

    /// The weights that replace those of the map for a pool: its own, or those for
    /// all, or none.
    pub fn choose_args(&self, pool: i64) -> Option<&ChooseArgs> {
        let find = |index: i64| {
            let at = self
                .choose_args
                .binary_search_by(|set| set.index.cmp(&index));
            self.choose_args.get(at.ok()?)
        };
        find(pool).or_else(|| find(ChooseArgs::DEFAULT))
    }

    /// How near an OSD is to a place given as pairs of bucket type and name: the
    /// least type of bucket that holds both, none if nothing does.
    pub fn locality(&self, osd: i32, is_here: impl Fn(&[u8], &[u8]) -> bool) -> Option<u16> {
        let mut id = osd;
        // No path is longer than there are buckets; a cycle ends here.
        for _ in 0..self.buckets.len() {
            let (parent, kind, name) = self.parent(id)?;
            if is_here(kind, name) {
                return Some(parent.kind);
            }
            id = parent.id;
        }
        None
    }

    /// The bucket that holds an item, with the names of its type and of itself.
    /// The shadow trees of device classes have names that no one can type.
    fn parent(&self, id: i32) -> Option<(&Bucket, &[u8], &[u8])> {
        let plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
        self.buckets.iter().flatten().find_map(|bucket| {
            let name = self.names.get(&bucket.id)?;
            if name.is_empty() || !name.iter().all(plain) || !bucket.items.contains(&id) {
                return None;
            }
            let kind = self.type_names.get(&i32::from(bucket.kind))?;
            Some((&**bucket, kind, name))
        })
    }
}

impl Bucket {
    fn decode(d: &mut Decoder<'_>, index: usize, alg: u32) -> Result<Self> {
        let id = d.i32()?;
        if bucket_index(id) != Some(index) {
            return Err(ebadmsg());
        }
        let kind = d.u16()?;
        if kind == 0 || u32::from(d.u8()?) != alg {
            return Err(ebadmsg());
        }
        let hash = d.u8()?;
        d.skip(4)?; // The sum of the weights, which its parent has too.
        let items = d.vec(4, Decoder::i32)?;
        let size = items.len();
        let alg = match alg {
            1 => {
                d.skip(4)?; // The weight of all.
                Algorithm::Uniform
            }
            2 => Algorithm::List(array(d, size, 8, |d| Ok((d.u32()?, d.u32()?)))?),
            3 => {
                let nodes = usize::from(d.u8()?);
                Algorithm::Tree(array(d, nodes, 4, Decoder::u32)?)
            }
            4 => Algorithm::Straw(array(d, size, 8, |d| {
                d.skip(4)?; // The item's weight, of which the straw was made.
                d.u32()
            })?),
            5 => Algorithm::Straw2(array(d, size, 4, Decoder::u32)?),
            _ => return Err(ebadmsg()),
        };
        Ok(Self {
            id,
            kind,
            hash,
            items,
            alg,
        })
    }
}

/// Takes `count` elements of `size` bytes on the wire.
fn array<'a, T>(
    d: &mut Decoder<'a>,
    count: usize,
    size: usize,
    element: impl Fn(&mut Decoder<'a>) -> Result<T>,
) -> Result<KVVec<T>> {
    d.check_count(count, size)?;
    let mut array = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        array.push(element(d)?, GFP_KERNEL)?;
    }
    Ok(array)
}

impl Rule {
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let len = d.count(0)?;
        // A mask from the days when a pool named a set of rules by size and type; now
        // it names the rule. Only the type has a meaning still.
        d.skip(1)?;
        let kind = d.u8()?;
        d.skip(2)?;
        let steps = array(d, len, 12, |d| {
            Ok(Step {
                op: d.u32()?,
                arg1: d.i32()?,
                arg2: d.i32()?,
            })
        })?;
        Ok(Self { kind, steps })
    }
}

impl ChooseArg {
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            bucket: d.u32()?,
            weight_sets: d.vec(4, |d| d.vec(4, Decoder::u32))?,
            ids: d.vec(4, Decoder::i32)?,
        })
    }
}

#[kunit_tests(ceph_crush_map)]
mod tests {
    use super::*;
    use crate::wire::encode::Encoder;

    /// A map with two buckets, a place for one that is not there, and replacements for
    /// each bucket index, with weights for so many items and ids for so many.
    fn map(args: &[(u32, &[usize], usize)]) -> Result<CrushMap> {
        let mut e = Encoder::new();
        e.u32(MAGIC)?.u32(3)?.u32(0)?.i32(3)?;
        for (id, items) in [(-1, &[-2][..]), (-2, &[0, 1, 2])] {
            e.u32(5)?.i32(id)?.u16(1)?.u8(5)?.u8(0)?.u32(0)?;
            e.length(items.len())?;
            for item in items {
                e.i32(*item)?;
            }
            for _ in items {
                e.u32(0x10000)?;
            }
        }
        e.u32(0)?;
        // Names of types, of buckets, of rules.
        e.bytes(&[0; 12])?;
        // Tunables of all versions, no classes.
        e.bytes(&[0; 12 + 4 + 1 + 1 + 4 + 1])?.bytes(&[0; 12])?;
        e.u32(1)?.i64(-1)?.length(args.len())?;
        for (bucket, weight_sets, ids) in args {
            e.u32(*bucket)?.length(weight_sets.len())?;
            for weights in *weight_sets {
                e.length(*weights)?;
                for _ in 0..*weights {
                    e.u32(1)?;
                }
            }
            e.length(*ids)?;
            for _ in 0..*ids {
                e.i32(7)?;
            }
        }
        CrushMap::decode(e.as_slice())
    }

    #[test]
    fn replacements_fit_their_bucket() -> Result {
        let good = map(&[(0, &[1], 1), (1, &[3, 3], 0)])?;
        let args = good.choose_args(4).ok_or(EINVAL)?;
        let arg = args.of(good.bucket(-2).ok_or(EINVAL)?).ok_or(EINVAL)?;
        assert_eq!(arg.weights(1).map(<[u32]>::len), Some(3));
        let bad: [&[(u32, &[usize], usize)]; 9] = [
            // Weights for fewer or more items than there are, in any of the sets.
            &[(1, &[2], 0)],
            &[(1, &[4], 0)],
            &[(1, &[3, 2], 0)],
            &[(1, &[3, 0], 0)],
            &[(1, &[], 2)],
            // Twice for one bucket.
            &[(1, &[3], 0), (1, &[3], 0)],
            // Of no bucket, and beyond all.
            &[(2, &[1], 0)],
            &[(2, &[], 1)],
            &[(3, &[], 0)],
        ];
        for args in bad {
            assert_eq!(map(args).err(), Some(ebadmsg()));
        }
        Ok(())
    }
}
