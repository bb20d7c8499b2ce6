// SPDX-License-Identifier: GPL-2.0
//! Where a request goes, under one map after the other.
use crate::harness::{run_events, Events};
use ceph_proto::crush::placement::NO_OSD;
use ceph_proto::machine::osd_target::{Context, ObjectName, Outcome, Target};
use ceph_proto::machine::placements::Placements;
use ceph_proto::wire::encode::Encoder;
use ceph_proto::wire::osd::flag;
use ceph_proto::wire::osdmap::{flags, osd_state, OsdMap};
use ceph_proto::wire::osdmap_pool::PgId;
use ceph_proto::wire::types::{AddrVec, EntityAddr};
use kernel::prelude::*;

const OSDS: u16 = 4;
pub(super) const DATA: i64 = 1;
pub(super) const SHARDS: i64 = 2;
pub(super) const TIER: i64 = 3;

/// What a map is made of.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) epoch: u32,
    flags: u32,
    pools: u8,
    pg_num: u32,
    read_tier: i64,
    pool_flags: u64,
    force_resend: u32,
    states: [u8; OSDS as usize],
    weights: [u8; OSDS as usize],
    temp: Option<[i32; 2]>,
}

/// A root (straw2) over the OSDs; rule 0 takes the first n of it, rule 1 shards.
fn crush(e: &mut Encoder) -> Result {
    e.u32(0x1_0000)?.u32(1)?.u32(2)?.i32(i32::from(OSDS))?;
    e.u32(5)?.i32(-1)?.u16(1)?.u8(5)?.u8(0)?.u32(0x4_0000)?;
    e.u32(u32::from(OSDS))?;
    for osd in 0..i32::from(OSDS) {
        e.i32(osd)?;
    }
    for _ in 0..OSDS {
        e.u32(0x1_0000)?;
    }
    for (kind, op) in [(1, 2), (3, 3)] {
        e.u32(1)?.u32(3)?.bytes(&[0, kind, 1, 10])?;
        for (op, arg1) in [(1, -1), (op, 0), (4, 0)] {
            e.u32(op)?.i32(arg1)?.i32(0)?;
        }
    }
    e.u32(0)?.u32(0)?.u32(0)?;
    e.u32(0)?
        .u32(0)?
        .u32(50)?
        .u32(1)?
        .u8(1)?
        .u8(1)?
        .u32(62)?
        .u8(1)?;
    Ok(())
}

fn pool(e: &mut Encoder, plan: &Plan, kind: u8, rule: u8, read_tier: i64) -> Result {
    e.versioned(25, 5, |e| {
        e.u8(kind)?
            .u8(2)?
            .u8(rule)?
            .u8(2)?
            .u32(plan.pg_num)?
            .u32(plan.pg_num)?;
        e.bytes(&[0; 24])?
            .u32(0)?
            .u32(0)?
            .u64(0)?
            .u64(plan.pool_flags)?
            .u32(0)?;
        e.u8(1)?.bytes(&[0; 16])?.u32(0)?.bytes(&[0; 9])?;
        e.i64(read_tier)?.i64(-1)?.u32(0)?;
        e.u8(1)?
            .u8(1)?
            .blob(&[])?
            .bytes(&[0; 12])?
            .bytes(&[0; 32])?;
        e.blob(b"profile")?.u32(0)?;
        e.bytes(&[0; 4 + 8 + 4 + 4 + 1 + 1 + 8])?;
        e.u8(1)?.u8(1)?.blob(&[])?.u32(plan.force_resend)?;
        Ok(())
    })?;
    Ok(())
}

pub(super) fn map(plan: &Plan) -> Result<OsdMap> {
    let mut e = Encoder::new();
    e.versioned(8, 7, |e| {
        e.versioned(9, 1, |e| {
            e.bytes(&[7; 16])?.u32(plan.epoch)?.bytes(&[0; 16])?;
            e.u32(plan.pools.count_ones())?;
            for (bit, id, kind, rule, tier) in [
                (1, DATA, 1, 0, plan.read_tier),
                (2, SHARDS, 3, 1, -1),
                (4, TIER, 1, 0, -1),
            ] {
                if plan.pools & bit != 0 {
                    e.i64(id)?;
                    pool(e, plan, kind, rule, tier)?;
                }
            }
            e.u32(0)?.u32(3)?.u32(plan.flags)?;
            let osds = u32::from(OSDS);
            e.u32(osds)?.u32(osds)?;
            for state in plan.states {
                e.u32(u32::from(state & 3))?;
            }
            e.u32(osds)?;
            for weight in plan.weights {
                e.u32(u32::from(weight) << 9)?;
            }
            e.u32(osds)?;
            for _ in 0..OSDS {
                AddrVec::encode_one(&EntityAddr::BLANK, e)?;
            }
            match plan.temp {
                None => e.u32(0)?,
                Some(osds) => {
                    e.u32(1)?;
                    PgId {
                        pool: DATA,
                        seed: 0,
                    }
                    .encode(e)?;
                    e.u32(2)?.i32(osds[0])?.i32(osds[1])?
                }
            };
            e.u32(0)?.u32(0)?;
            e.sized(crush)?;
            e.u32(0)?
                .u32(0)?
                .u32(0)?
                .u32(1)?
                .u32(0)?
                .u32(0)?
                .bytes(&[0; 16])?;
            Ok(())
        })
        .map(drop)
    })?;
    OsdMap::decode(e.as_slice())
}

impl Plan {
    /// All is well.
    pub(super) fn new() -> Self {
        let up = (osd_state::EXISTS | osd_state::UP) as u8;
        Self {
            epoch: 10,
            flags: 0,
            pools: 7,
            pg_num: 8,
            read_tier: -1,
            pool_flags: 1,
            force_resend: 0,
            states: [up; OSDS as usize],
            weights: [128; OSDS as usize],
            temp: None,
        }
    }

    /// Changes something.
    pub(super) fn change(&mut self, op: u8, detail: u8) {
        let osd = usize::from(detail % OSDS as u8);
        match op % 9 {
            0 => self.states[osd] = detail >> 2,
            1 => self.weights[osd] = detail & 0xfc,
            2 => self.pools = detail & 7,
            3 => self.pg_num = u32::from(detail).max(1),
            4 => {
                self.flags = match detail & 3 {
                    0 => flags::PAUSERD,
                    1 => flags::PAUSEWR,
                    2 => flags::FULL,
                    _ => 0,
                }
            }
            5 => self.read_tier = if detail & 1 == 0 { -1 } else { TIER },
            6 => self.temp = (detail & 1 != 0).then_some([osd as i32, i32::from(detail >> 5)]),
            7 => self.force_resend = self.epoch + u32::from(detail & 3),
            _ => self.pool_flags = u64::from(detail & 3),
        }
    }
}

/// A target for something of the small map.
pub(super) fn target(e: &mut Events<'_>) -> Target {
    let kind = e.u8();
    let base = [DATA, SHARDS, TIER, 9][usize::from(kind & 3)];
    let mut wants = if kind & 4 == 0 {
        flag::READ
    } else {
        flag::WRITE
    };
    if kind & 8 != 0 {
        wants |= flag::BALANCE_READS;
    }
    let object = ObjectName::of_file(0x1_0000 | u64::from(e.u8()), u64::from(kind >> 4));
    Target::new(base, KVec::new(), object, wants)
}

fn step(target: &mut Target, map: &OsdMap, pick: usize) {
    let known = Placements::new();
    let context = Context {
        barrier: 0,
        pick: &|_, set| pick % set.as_slice().len().max(1),
        place: &|map, pool, hash| {
            let found = known.find(map, pool, hash)?;
            let again = known.find(map, pool, hash)?;
            let (up, acting) = map.pg_to_up_acting(pool, hash);
            assert_eq!((found.up, found.acting), (up, acting));
            assert_eq!(found.acting, again.acting);
            Some(found)
        },
    };
    let before = target.epoch;
    let outcome = target.update(map, &context);
    match outcome {
        Outcome::NoMemory => {
            assert_eq!(target.epoch, before);
            return;
        }
        Outcome::PoolGone => assert_eq!(target.osd, NO_OSD),
        Outcome::Send | Outcome::Unchanged => {
            let pool = map.pool(target.pool).expect("the pool is there");
            let acting = &target.up_acting().acting;
            assert!(target.osd == NO_OSD || acting.position(target.osd).is_some());
            assert!(target.osd == NO_OSD || map.osd_exists(target.osd));
            assert!(target.spg.pg.seed < pool.pg_num && target.spg.pg.pool == pool.id);
            assert!(target.should_pause(map, map.epoch + 1));
            assert!(map.flags != 0 || pool.flags != 0 || !target.should_pause(map, map.epoch));
        }
    }
    assert_eq!(target.epoch, map.epoch);
    // The same again is no news.
    match (outcome, target.update(map, &context)) {
        (_, Outcome::NoMemory) => {}
        (Outcome::PoolGone, again) => assert_eq!(again, Outcome::PoolGone),
        (_, again) => assert_eq!(again, Outcome::Unchanged),
    }
}

fn run(e: &mut Events<'_>) -> Result {
    let mut plan = Plan::new();
    let mut target = target(e);
    while e.more() {
        let (op, detail) = (e.u8(), e.u8());
        match op % 11 {
            9 => {
                target.redirected([DATA, SHARDS, TIER, 9][usize::from(detail & 3)]);
                continue;
            }
            10 => {
                target.ask_primary();
                continue;
            }
            op => plan.change(op, detail),
        }
        plan.epoch += 1;
        let pick = usize::from(detail >> 4);
        step(&mut target, &map(&plan)?, pick);
    }
    Ok(())
}

pub(crate) fn osd_target(raw: &[u8]) {
    run_events(raw, |mut e| match run(&mut e) {
        Ok(()) | Err(ENOMEM) => {}
        Err(error) => panic!("{error:?}"),
    });
}
