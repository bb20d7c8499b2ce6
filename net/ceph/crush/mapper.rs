// SPDX-License-Identifier: GPL-2.0
//! The CRUSH algorithm: what a rule selects for an input.
//!
//! Every server and client computes the same result from the same map, so each
//! detail here is a fact of the cluster, odd ones included: which index enters
//! which hash, what counts as a retry, how numbers wrap.
//!
//! Nothing is allocated, and nothing recurses by the depth of the map: a choice of leaves
//! nests one choice, and the way down is a loop. A map made to harm (a cycle, a
//! huge number of tries) ends when [`BUDGET`] is used up. Rules that retry all of their
//! steps are in `msr.rs`, the draws of buckets in `choose.rs`.
use super::choose::{bits, Chooser, BUDGET, ITEM_UNDEF, MAX_RESULT};
use super::map::{Algorithm, Bucket, ChooseArgs, CrushMap, Step, ITEM_NONE};
use super::msr;

/// Operations of steps (`CRUSH_RULE_*`).
mod op {
    pub(super) const TAKE: u32 = 1;
    pub(super) const CHOOSE_FIRSTN: u32 = 2;
    pub(super) const CHOOSE_INDEP: u32 = 3;
    pub(super) const EMIT: u32 = 4;
    pub(super) const CHOOSELEAF_FIRSTN: u32 = 6;
    pub(super) const CHOOSELEAF_INDEP: u32 = 7;
    pub(super) const SET_CHOOSE_TRIES: u32 = 8;
    pub(super) const SET_CHOOSELEAF_TRIES: u32 = 9;
    pub(super) const SET_CHOOSE_LOCAL_TRIES: u32 = 10;
    pub(super) const SET_CHOOSE_LOCAL_FALLBACK_TRIES: u32 = 11;
    pub(super) const SET_CHOOSELEAF_VARY_R: u32 = 12;
    pub(super) const SET_CHOOSELEAF_STABLE: u32 = 13;
}

/// Up to [`MAX_RESULT`] items.
#[derive(Clone, Copy, Debug)]
struct Items {
    items: [i32; MAX_RESULT],
    len: usize,
}

impl Items {
    const EMPTY: Self = Self {
        items: [ITEM_NONE; MAX_RESULT],
        len: 0,
    };

    fn as_slice(&self) -> &[i32] {
        self.items.get(..self.len).unwrap_or(&[])
    }
}

/// Runs rule `number` for input `x` and returns how many items it selected.
///
/// `weight` gives that of a device (16.16 fixed point; below 1 it refuses part of what
/// it is chosen for, and at 0, which is also that of an unknown one, all). At most
/// `result.len()`, and at most 32 (`CEPH_PG_MAX_SIZE`), items are selected.
pub fn do_rule(
    map: &CrushMap,
    number: u32,
    x: u32,
    result: &mut [i32],
    weight: &dyn Fn(i32) -> u32,
    choose_args: Option<&ChooseArgs>,
) -> usize {
    let Some(rule) = map.rule(number) else {
        return 0;
    };
    let max = result.len().min(MAX_RESULT);
    let chooser = Chooser {
        map,
        x,
        weight,
        choose_args,
        budget: BUDGET,
    };
    if let Some(order) = msr::Order::of(rule) {
        let result = result.get_mut(..max).unwrap_or_default();
        return msr::do_rule(chooser, rule, order, result);
    }
    let mut run = Run::new(chooser, max);
    let mut selected = 0usize;
    for step in &rule.steps {
        if step.op != op::EMIT {
            run.step(step);
            continue;
        }
        for (place, item) in result
            .iter_mut()
            .take(max)
            .skip(selected)
            .zip(run.working.as_slice())
        {
            *place = *item;
            selected = selected.saturating_add(1);
        }
        run.working.len = 0;
    }
    selected
}

/// A rule under way.
struct Run<'a> {
    chooser: Chooser<'a>,
    /// Largest result.
    max: usize,
    /// What the last step selected.
    working: Items,
    choose_tries: u32,
    leaf_tries: u32,
    local_tries: u32,
    local_fallback_tries: u32,
    vary_r: u32,
    stable: bool,
}

impl<'a> Run<'a> {
    fn new(chooser: Chooser<'a>, max: usize) -> Self {
        let tunables = &chooser.map.tunables;
        Run {
            max,
            working: Items::EMPTY,
            // The tunable counts retries, not tries.
            choose_tries: tunables.choose_total_tries.wrapping_add(1),
            leaf_tries: 0,
            local_tries: tunables.choose_local_tries,
            local_fallback_tries: tunables.choose_local_fallback_tries,
            vary_r: u32::from(tunables.chooseleaf_vary_r),
            stable: tunables.chooseleaf_stable != 0,
            chooser,
        }
    }

    fn step(&mut self, step: &Step) {
        let not_negative = u32::try_from(step.arg1).ok();
        let positive = not_negative.filter(|n| *n > 0);
        let map = self.chooser.map;
        match step.op {
            op::TAKE => {
                let device = step.arg1 >= 0 && step.arg1 < map.max_devices;
                if device || map.bucket(step.arg1).is_some() {
                    if let Some(first) = self.working.items.first_mut() {
                        *first = step.arg1;
                    }
                    self.working.len = 1;
                }
            }
            op::SET_CHOOSE_TRIES => replace(&mut self.choose_tries, positive),
            op::SET_CHOOSELEAF_TRIES => replace(&mut self.leaf_tries, positive),
            op::SET_CHOOSE_LOCAL_TRIES => replace(&mut self.local_tries, not_negative),
            op::SET_CHOOSE_LOCAL_FALLBACK_TRIES => {
                replace(&mut self.local_fallback_tries, not_negative);
            }
            op::SET_CHOOSELEAF_VARY_R => replace(&mut self.vary_r, not_negative),
            op::SET_CHOOSELEAF_STABLE => {
                replace(&mut self.stable, not_negative.map(|n| n != 0));
            }
            op::CHOOSE_FIRSTN => self.choose(step, true, false),
            op::CHOOSELEAF_FIRSTN => self.choose(step, true, true),
            op::CHOOSE_INDEP => self.choose(step, false, false),
            op::CHOOSELEAF_INDEP => self.choose(step, false, true),
            _ => {}
        }
    }

    /// Replaces each bucket of the working set by items chosen from it.
    fn choose(&mut self, step: &Step, firstn: bool, to_leaf: bool) {
        if self.working.len == 0 {
            return;
        }
        // A number that is not positive says how many fewer than wanted.
        let max = i32::try_from(self.max).unwrap_or(i32::MAX);
        let wanted = match step.arg1 {
            n if n > 0 => n,
            n => n.saturating_add(max),
        };
        let mut chosen = Items::EMPTY;
        let mut leaves = Items::EMPTY;
        let mut done = 0usize;
        for start in self.working.as_slice() {
            let (Some(bucket), true) = (self.chooser.map.bucket(*start), wanted > 0) else {
                continue;
            };
            let range = done..self.max;
            let (Some(out), Some(out_leaves)) = (
                chosen.items.get_mut(range.clone()),
                leaves.items.get_mut(range),
            ) else {
                break;
            };
            let leaf_out = to_leaf.then_some(&mut *out_leaves);
            let added = if firstn {
                let params = Firstn {
                    bucket,
                    first: 0,
                    replicas: wanted,
                    kind: step.arg2,
                    tries: self.choose_tries,
                    leaf_tries: if self.leaf_tries != 0 {
                        self.leaf_tries
                    } else if self.chooser.map.tunables.chooseleaf_descend_once {
                        1
                    } else {
                        self.choose_tries
                    },
                    local_tries: self.local_tries,
                    local_fallback_tries: self.local_fallback_tries,
                    vary_r: self.vary_r,
                    stable: self.stable,
                    parent_r: 0,
                };
                let room = out.len();
                self.chooser.firstn(&params, out, room, leaf_out)
            } else {
                let count = usize::try_from(wanted).unwrap_or(0).min(out.len());
                let params = Indep {
                    bucket,
                    from: 0,
                    count,
                    replicas: wanted,
                    kind: step.arg2,
                    tries: self.choose_tries,
                    leaf_tries: self.leaf_tries.max(1),
                    parent_r: 0,
                };
                self.chooser.indep(&params, out, leaf_out);
                count
            };
            done = done.saturating_add(added);
        }
        self.working = if to_leaf { leaves } else { chosen };
        self.working.len = done;
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// What the way down from a bucket led to.
enum Descent {
    /// An item of the type sought.
    Item(i32),
    /// A bucket without items, which counts as a rejected try.
    Empty,
    /// No item of the type is below; trying again is of no use.
    Bad,
}

/// A "first n" choice: a list without holes, in which replacements move up.
#[derive(Clone, Copy)]
struct Firstn<'a> {
    bucket: &'a Bucket,
    /// Where in the output the choice begins; those before must not be repeated.
    first: usize,
    /// Ordinal of the last replica, plus one.
    replicas: i32,
    kind: i32,
    tries: u32,
    leaf_tries: u32,
    local_tries: u32,
    local_fallback_tries: u32,
    vary_r: u32,
    stable: bool,
    parent_r: i32,
}

/// An "independent" choice: each position has its item or a hole.
#[derive(Clone, Copy)]
struct Indep<'a> {
    bucket: &'a Bucket,
    /// First position.
    from: usize,
    /// Number of positions.
    count: usize,
    /// Positions of the whole set, by which tries are numbered.
    replicas: i32,
    kind: i32,
    tries: u32,
    leaf_tries: u32,
    parent_r: i32,
}

impl<'a> Chooser<'a> {
    /// Returns the length of the output. `room` more items may be added to it.
    fn firstn(
        &mut self,
        p: &Firstn<'a>,
        out: &mut [i32],
        mut room: usize,
        mut leaves: Option<&mut [i32]>,
    ) -> usize {
        let mut len = p.first;
        let mut replica = match p.stable {
            true => 0,
            false => i32::try_from(p.first).unwrap_or(i32::MAX),
        };
        while replica < p.replicas && room > 0 {
            let leaf_out = leaves.as_deref_mut();
            if let Some(item) = self.replica(p, replica, out, len, room, leaf_out) {
                let Some(place) = out.get_mut(len) else {
                    break;
                };
                *place = item;
                len = len.saturating_add(1);
                room = room.saturating_sub(1);
            }
            replica = replica.saturating_add(1);
        }
        len
    }

    /// Finds an item that is neither out nor chosen before.
    fn replica(
        &mut self,
        p: &Firstn<'a>,
        replica: i32,
        out: &[i32],
        len: usize,
        room: usize,
        mut leaves: Option<&mut [i32]>,
    ) -> Option<i32> {
        let mut failures = 0u32;
        'descent: loop {
            let mut bucket = p.bucket;
            let mut local_failures = 0u32;
            loop {
                let r = replica
                    .wrapping_add(p.parent_r)
                    .wrapping_add_unsigned(failures);
                // On the way down `bucket` follows, as local retries start where
                // the last one ended.
                let found = loop {
                    let size = u32::try_from(bucket.items.len()).unwrap_or(u32::MAX);
                    if size == 0 {
                        break Descent::Empty;
                    }
                    let fallback = p.local_fallback_tries > 0
                        && local_failures >= size >> 1
                        && local_failures > p.local_fallback_tries;
                    let item = match fallback {
                        true => self.permutation(bucket, r),
                        false => self.pick(bucket, r, len),
                    };
                    match self.judge(item, p.kind) {
                        Ok(descent) => break descent,
                        Err(below) => bucket = below,
                    }
                };
                let (item, collides) = match found {
                    Descent::Bad => return None,
                    Descent::Empty => (None, false),
                    Descent::Item(item) => {
                        let collides = out.get(..len).unwrap_or(out).contains(&item);
                        (Some(item), collides)
                    }
                };
                let accepted = item.filter(|item| {
                    !collides
                        && self.leaf_of(p, *item, r, len, room, leaves.as_deref_mut())
                        && !(p.kind == 0 && self.is_out(*item))
                });
                if accepted.is_some() {
                    return accepted;
                }
                failures = failures.wrapping_add(1);
                local_failures = local_failures.wrapping_add(1);
                let size = u32::try_from(bucket.items.len()).unwrap_or(u32::MAX);
                let again_here = (collides && local_failures <= p.local_tries)
                    || (p.local_fallback_tries > 0
                        && local_failures <= size.wrapping_add(p.local_fallback_tries));
                if self.budget == 0 {
                    return None;
                }
                if again_here {
                    continue;
                }
                if failures < p.tries {
                    continue 'descent;
                }
                return None;
            }
        }
    }

    /// If leaves are wanted, chooses one below `item`; false if there is none.
    fn leaf_of(
        &mut self,
        p: &Firstn<'a>,
        item: i32,
        r: i32,
        len: usize,
        room: usize,
        leaves: Option<&mut [i32]>,
    ) -> bool {
        let Some(leaves) = leaves else {
            return true;
        };
        if item >= 0 {
            if let Some(place) = leaves.get_mut(len) {
                *place = item;
            }
            return true;
        }
        let Some(bucket) = self.map.bucket(item) else {
            return false;
        };
        let next = i32::try_from(len).unwrap_or(i32::MAX).saturating_add(1);
        let inner = Firstn {
            bucket,
            first: len,
            replicas: if p.stable { 1 } else { next },
            kind: 0,
            tries: p.leaf_tries,
            leaf_tries: 0,
            parent_r: match p.vary_r.checked_sub(1) {
                Some(shift) => r.wrapping_shr(shift),
                None => 0,
            },
            ..*p
        };
        self.firstn(&inner, leaves, room, None) > len
    }

    /// Fills the positions of the output; what cannot be filled becomes a hole.
    fn indep(&mut self, p: &Indep<'a>, out: &mut [i32], mut leaves: Option<&mut [i32]>) {
        let end = p.from.saturating_add(p.count);
        let range = p.from..end;
        fill(out, range.clone(), ITEM_UNDEF);
        if let Some(leaves) = leaves.as_deref_mut() {
            fill(leaves, range.clone(), ITEM_UNDEF);
        }
        let mut left = p.count;
        let mut failures = 0u32;
        while left > 0 && failures < p.tries && self.budget > 0 {
            for position in range.clone() {
                if out.get(position) != Some(&ITEM_UNDEF) {
                    continue;
                }
                let leaf_out = leaves.as_deref_mut();
                let Some(item) = self.position(p, position, failures, out, leaf_out) else {
                    continue;
                };
                if let Some(place) = out.get_mut(position) {
                    *place = item;
                }
                left = left.saturating_sub(1);
            }
            failures = failures.wrapping_add(1);
        }
        for places in [Some(out), leaves].into_iter().flatten() {
            for place in places.get_mut(range.clone()).unwrap_or_default() {
                if *place == ITEM_UNDEF {
                    *place = ITEM_NONE;
                }
            }
        }
    }

    /// Tries to decide one position; none if this try failed.
    fn position(
        &mut self,
        p: &Indep<'a>,
        position: usize,
        failures: u32,
        out: &[i32],
        leaves: Option<&mut [i32]>,
    ) -> Option<i32> {
        let mut bucket = p.bucket;
        let (item, r) = loop {
            let size = u32::try_from(bucket.items.len()).unwrap_or(u32::MAX);
            if size == 0 {
                return None;
            }
            let replicas = bits(p.replicas);
            // A uniform bucket whose size is a multiple of the set's would give
            // the same item at each try.
            let uniform = matches!(bucket.alg, Algorithm::Uniform);
            let stride = match uniform && size.checked_rem(replicas) == Some(0) {
                true => replicas.wrapping_add(1),
                false => replicas,
            };
            let r = i32::try_from(position)
                .unwrap_or(i32::MAX)
                .wrapping_add(p.parent_r)
                .wrapping_add_unsigned(stride.wrapping_mul(failures));
            let item = self.pick(bucket, r, p.from);
            match self.judge(item, p.kind) {
                Ok(Descent::Item(item)) => break (item, r),
                Ok(Descent::Empty) => return None,
                Ok(Descent::Bad) => {
                    if let Some(place) = leaves.and_then(|leaves| leaves.get_mut(position)) {
                        *place = ITEM_NONE;
                    }
                    return Some(ITEM_NONE);
                }
                Err(below) => bucket = below,
            }
        };
        let end = p.from.saturating_add(p.count);
        if out.get(p.from..end).unwrap_or(out).contains(&item) {
            return None;
        }
        if let Some(leaves) = leaves {
            if item < 0 {
                let inner = Indep {
                    bucket: self.map.bucket(item)?,
                    from: position,
                    count: 1,
                    kind: 0,
                    tries: p.leaf_tries,
                    leaf_tries: 0,
                    parent_r: r,
                    ..*p
                };
                self.indep(&inner, leaves, None);
                if leaves.get(position) == Some(&ITEM_NONE) {
                    return None;
                }
            } else if let Some(place) = leaves.get_mut(position) {
                *place = item;
            }
        }
        (p.kind != 0 || !self.is_out(item)).then_some(item)
    }

    /// Whether an item ends the way down (`Ok`) or is the next bucket of it (`Err`).
    fn judge(&self, item: Option<i32>, kind: i32) -> Result<Descent, &'a Bucket> {
        let Some(item) = item.filter(|item| *item < self.map.max_devices) else {
            return Ok(Descent::Bad);
        };
        if item >= 0 {
            return Ok(match kind {
                0 => Descent::Item(item),
                _ => Descent::Bad,
            });
        }
        match self.map.bucket(item) {
            None => Ok(Descent::Bad),
            Some(bucket) if i32::from(bucket.kind) == kind => Ok(Descent::Item(item)),
            Some(bucket) => Err(bucket),
        }
    }
}

fn fill(items: &mut [i32], range: core::ops::Range<usize>, item: i32) {
    if let Some(places) = items.get_mut(range) {
        places.fill(item);
    }
}
