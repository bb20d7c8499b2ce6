// SPDX-License-Identifier: GPL-2.0
//! CRUSH rules that retry all of their steps ("multi-step retry", since Ceph 19).
//!
//! A rule is a sequence of blocks, each `TAKE root, CHOOSE_MSR n type, ..., EMIT`. A block
//! has as many places as the product of its numbers, and each step divides the places
//! that it is given into `n` strides, one below the other:
//!
//! ```text
//!   choosemsr 4 host    |  host   |  host   |  host   |  host   |   strides of 2 places
//!   choosemsr 2 osd     | o  | o  | o  | o  | o  | o  | o  | o  |   strides of 1 place
//! ```
//!
//! The strides of a step share no item. One stride may use several, though: where a
//! device is out, its place stays empty until the next descent, which goes through the
//! block from its root again, and may find another host. So each step remembers
//! for each stride which items it chose, as many as the stride has places, and forgets
//! at the end of a descent those below which nothing was found.
use super::choose::{Chooser, ITEM_UNDEF, MAX_RESULT};
use super::map::{Bucket, Rule, Step, ITEM_NONE};

/// Operations of steps (`CRUSH_RULE_*`).
mod op {
    pub(super) const TAKE: u32 = 1;
    pub(super) const EMIT: u32 = 4;
    pub(super) const SET_MSR_DESCENTS: u32 = 14;
    pub(super) const SET_MSR_COLLISION_TRIES: u32 = 15;
    pub(super) const CHOOSE_MSR: u32 = 16;
}

/// The most steps that choose in one block: Ceph has twelve types of buckets.
const MAX_STEPS: usize = 12;

/// What becomes of places for which nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// What was found moves up (`CRUSH_RULE_TYPE_MSR_FIRSTN`).
    Firstn,
    /// They stay holes (`CRUSH_RULE_TYPE_MSR_INDEP`).
    Indep,
}

impl Order {
    /// None for a rule of another kind.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        match rule.kind {
            4 => Some(Self::Firstn),
            5 => Some(Self::Indep),
            _ => None,
        }
    }
}

/// Where a block ends and how many places it has; none if it is no block.
fn block(steps: &[Step], max: usize) -> Option<(usize, usize)> {
    let mut places = 1usize;
    if steps.first()?.op != op::TAKE {
        return None;
    }
    for (at, step) in steps.iter().enumerate().skip(1) {
        match step.op {
            op::EMIT => return Some((at, places)),
            op::CHOOSE_MSR => places = places.checked_mul(strides(step, max)?)?,
            _ => return None,
        }
    }
    None
}

/// Into how many strides a step divides its places; 0 stands for the size of the result.
fn strides(step: &Step, max: usize) -> Option<usize> {
    match usize::try_from(step.arg1).ok()? {
        0 => Some(max),
        n => Some(n),
    }
}

/// Runs a rule. Returns how long the result is.
pub(super) fn do_rule(
    chooser: Chooser<'_>,
    rule: &Rule,
    order: Order,
    result: &mut [i32],
) -> usize {
    let tunables = &chooser.map.tunables;
    let mut descents = tunables.msr_descents;
    let mut collision_tries = tunables.msr_collision_tries;
    let mut steps = &rule.steps[..];
    while let Some((step, rest)) = steps.split_first() {
        let number = u32::try_from(step.arg1).unwrap_or(u32::MAX);
        match step.op {
            op::SET_MSR_DESCENTS => descents = number,
            op::SET_MSR_COLLISION_TRIES => collision_tries = number,
            _ => break,
        }
        steps = rest;
    }
    result.fill(ITEM_NONE);
    let max = result.len();
    let mut run = Run {
        chooser,
        order,
        result,
        found: 0,
        max,
        collision_tries,
        descent: 0,
    };
    let mut first = 0usize;
    while !steps.is_empty() {
        let Some((emit, places)) = block(steps, max) else {
            return 0;
        };
        let Some((inside, rest)) = steps.split_at_checked(emit) else {
            return 0;
        };
        let Some((take, choose)) = inside.split_first() else {
            return 0;
        };
        let end = first.saturating_add(places).min(max);
        if take.arg1 >= 0 {
            if !choose.is_empty() {
                return 0;
            }
            run.emit(first, take.arg1);
        } else {
            let Some(root) = run.chooser.map.bucket(take.arg1) else {
                return 0;
            };
            run.block(root, choose, places, first, end, descents);
        }
        first = end;
        steps = rest.get(1..).unwrap_or_default();
    }
    match order {
        Order::Firstn => run.found,
        Order::Indep => max,
    }
}

/// What a step chose, by place: those of a stride are at its beginning.
type Chosen = [i32; MAX_RESULT];

/// A rule under way.
struct Run<'a, 'r> {
    chooser: Chooser<'a>,
    order: Order,
    result: &'r mut [i32],
    /// How many places of the result have an item.
    found: usize,
    /// The size of the result.
    max: usize,
    collision_tries: u32,
    /// Number of the descent from the root.
    descent: u32,
}

/// Places `first..end`, all of one stride of the step above.
#[derive(Clone, Copy)]
struct Range {
    first: usize,
    end: usize,
}

impl<'a> Run<'a, '_> {
    fn emit(&mut self, place: usize, item: i32) {
        let place = match self.order {
            Order::Firstn => self.found,
            Order::Indep => place,
        };
        if let Some(place) = self.result.get_mut(place) {
            *place = item;
            self.found = self.found.saturating_add(1);
        }
    }

    fn block(
        &mut self,
        root: &'a Bucket,
        steps: &[Step],
        places: usize,
        first: usize,
        end: usize,
        descents: u32,
    ) {
        let mut memory = [[ITEM_UNDEF; MAX_RESULT]; MAX_STEPS];
        let Some(chosen) = memory.get_mut(..steps.len()).filter(|c| !c.is_empty()) else {
            return;
        };
        let enough = self.found.saturating_add(end.saturating_sub(first));
        self.descent = 0;
        while self.descent < descents && self.found < enough && self.chooser.budget > 0 {
            self.choose(root, steps, chosen, places, Range { first, end });
            // A descent that draws nothing ends, too.
            self.chooser.budget = self.chooser.budget.saturating_sub(1);
            self.descent = self.descent.wrapping_add(1);
        }
    }

    /// Goes through the strides of the first of `steps`, with all that is below each.
    /// `places` may be more than there are in the range. Returns how many were found.
    fn choose(
        &mut self,
        bucket: &'a Bucket,
        steps: &[Step],
        chosen: &mut [Chosen],
        places: usize,
        range: Range,
    ) -> usize {
        let (Some((step, below)), Some((mine, chosen_below))) =
            (steps.split_first(), chosen.split_first_mut())
        else {
            return 0;
        };
        let length = strides(step, self.max)
            .and_then(|n| places.checked_div(n))
            .unwrap_or(0);
        if length == 0 {
            return 0;
        }
        // Until the end of the descent an item counts as chosen, even if nothing was
        // found below: so a device that is out moves as little as possible.
        let mut in_vain = [ITEM_UNDEF; MAX_RESULT];
        let mut found = 0usize;
        for (index, first) in (range.first..range.end).step_by(length).enumerate() {
            let end = first.saturating_add(length).min(range.end);
            let stride = Range { first, end };
            let leaves = chosen_below.last().unwrap_or(mine);
            if !leaves
                .get(first..end)
                .unwrap_or_default()
                .contains(&ITEM_UNDEF)
            {
                continue;
            }
            let Some(item) = self.candidate(bucket, step.arg2, index, mine, range, stride) else {
                continue;
            };
            if step.arg2 == 0 {
                // A device: nothing may come below it.
                if length != 1 || !below.is_empty() || self.chooser.is_out(item) {
                    continue;
                }
                push(mine, stride, item);
                self.emit(first, item);
                found = found.saturating_add(1);
                continue;
            }
            let Some(child) = self.chooser.map.bucket(item).filter(|_| !below.is_empty()) else {
                continue;
            };
            let more = self.choose(child, below, chosen_below, length, stride);
            // What was there before has had something below it, then.
            if push(mine, stride, item) && more == 0 {
                if let Some(place) = in_vain.get_mut(index) {
                    *place = item;
                }
            } else {
                found = found.saturating_add(more);
            }
        }
        for (index, first) in (range.first..range.end).step_by(length).enumerate() {
            let end = first.saturating_add(length).min(range.end);
            if in_vain.get(index).is_some_and(|item| *item != ITEM_UNDEF) {
                pop(mine, Range { first, end });
            }
        }
        found
    }

    /// An item that no other stride has.
    fn candidate(
        &mut self,
        bucket: &'a Bucket,
        kind: i32,
        index: usize,
        chosen: &Chosen,
        range: Range,
        stride: Range,
    ) -> Option<i32> {
        for collision in 0..self.collision_tries {
            let item = self.descend(bucket, kind, index, collision)?;
            let mut places = chosen.iter().enumerate().take(range.end).skip(range.first);
            match places.find(|(_, other)| **other == item) {
                Some((at, _)) if !(stride.first..stride.end).contains(&at) => {}
                _ => return Some(item),
            }
        }
        None
    }

    /// The way down to a device or to a bucket of the type.
    fn descend(
        &mut self,
        mut bucket: &'a Bucket,
        kind: i32,
        index: usize,
        collision: u32,
    ) -> Option<i32> {
        let max = u32::try_from(self.max).ok()?;
        let number = u32::try_from(index).ok()?;
        let r = self
            .descent
            .wrapping_mul(max)
            .wrapping_add(number)
            .wrapping_shl(16)
            .wrapping_add(collision);
        loop {
            let item = self.chooser.pick(bucket, r as i32, index)?;
            if item >= 0 {
                return Some(item);
            }
            bucket = self.chooser.map.bucket(item)?;
            if i32::from(bucket.kind) == kind {
                return Some(item);
            }
        }
    }
}

/// Notes an item for a stride; false if it is noted already.
fn push(chosen: &mut Chosen, stride: Range, item: i32) -> bool {
    for place in chosen.get_mut(stride.first..stride.end).unwrap_or_default() {
        if *place == item {
            return false;
        }
        if *place == ITEM_UNDEF {
            *place = item;
            return true;
        }
    }
    false
}

/// Forgets the item that was noted last for a stride.
fn pop(chosen: &mut Chosen, stride: Range) {
    let places = chosen.get_mut(stride.first..stride.end).unwrap_or_default();
    if let Some(place) = places.iter_mut().rev().find(|place| **place != ITEM_UNDEF) {
        *place = ITEM_UNDEF;
    }
}
