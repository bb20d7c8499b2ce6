// SPDX-License-Identifier: GPL-2.0
//! The life of a request, backoffs, and the epoch barrier.
use super::osd_target::{map, target, Plan};
use crate::harness::{run_events, Events};
use ceph_proto::machine::osd_backoffs::Backoffs;
use ceph_proto::machine::osd_barrier::Barrier;
use ceph_proto::machine::osd_request::{Answered, PoolCheck, Request, State, Verdict};
use ceph_proto::machine::osd_target::Context;
use ceph_proto::machine::placements::UpActing;
use ceph_proto::wire::encode::Encoder;
use ceph_proto::wire::osd::{Op, OpVec, OsdOpReply, SpgId, NO_SNAP};
use ceph_proto::wire::osd_backoff::{Backoff, BackoffOp, HObject};
use ceph_proto::wire::osdmap::OsdMap;
use ceph_proto::wire::osdmap_pool::PgId;
use kernel::prelude::*;
use std::vec::Vec;

fn reply(e: &mut Events<'_>, attempts: u32) -> Result<KVVec<u8>> {
    let kind = e.u8();
    let mut out = Encoder::new();
    out.blob(b"object")?;
    PgId::default().encode(&mut out)?;
    let result = match kind & 3 {
        0 => 0,
        1 => -2,
        2 => EAGAIN.to_errno(),
        _ => e.u32() as i32,
    };
    let ops = u32::from(kind >> 2 & 3);
    out.u64(0)?.i32(result)?.bytes(&[0; 12])?.u32(9)?.u32(ops)?;
    for _ in 0..ops {
        out.bytes(&[0; 34])?.u32(7)?;
    }
    let attempt = attempts as i32 - 1 + i32::from(kind >> 4 & 1);
    out.i32(attempt)?;
    for _ in 0..ops {
        out.i32(0)?;
    }
    out.bytes(&[0; 12])?.u64(0)?.bool(kind & 0x20 != 0)?;
    if kind & 0x20 != 0 {
        out.versioned(1, 1, |out| {
            out.versioned(6, 3, |out| {
                out.i64(i64::from(kind >> 6))?.i32(-1)?.blob(b"")?;
                out.blob(b"")?.i64(-1)?;
                Ok(())
            })?;
            out.blob(b"")?.u32(0)?;
            Ok(())
        })?;
    }
    Ok(out.into_vec())
}

/// What must be true of a request at any time.
fn is_sane(req: &Request, map: Option<&OsdMap>, barrier: u32) {
    let target = req.target();
    match req.state() {
        State::Sent | State::BackedOff | State::Unsent | State::Paused => {
            let map = map.expect("only a map brings it here");
            assert!(target.epoch > 0 && target.epoch <= map.epoch);
            assert_eq!(req.osd(), Some(target.osd));
            assert!(map.pool(target.pool).is_some() || target.epoch < map.epoch);
            assert!(map.osd_is_up(target.osd) || target.epoch < map.epoch);
        }
        State::Homeless | State::AskingPool(_) => assert_eq!(req.osd(), None),
        State::Ending(_) | State::Ended => {}
    }
    if let (State::Unsent, Some(map)) = (req.state(), map) {
        assert!(target.epoch < map.epoch || !target.should_pause(map, barrier));
    }
    assert_eq!(req.may_be_sent(), req.state() == State::Unsent);
    assert!(req.state() != State::Sent || req.attempts() > 0);
}

fn life(e: &mut Events<'_>) -> Result {
    let mut plan = Plan::new();
    let mut ops = OpVec::new(Op::Stat);
    if e.u8() & 1 != 0 {
        ops.push(Op::Stat)?;
    }
    let mut req = Request::new(target(e), ops, NO_SNAP);
    let (mut current, mut barrier) = (None, 0);
    while e.more() {
        let (op, detail) = (e.u8(), e.u8());
        let (before, attempts) = (req.state(), req.attempts());
        match op % 20 {
            0..9 => {
                plan.change(op % 20, detail);
                plan.epoch += 1 + u32::from(op >> 7);
                if op & 0x40 != 0 {
                    barrier = plan.epoch + u32::from(detail & 1);
                }
                current = Some(map(&plan)?);
            }
            9 => {
                let bytes = reply(e, attempts)?;
                let version = OsdOpReply::VERSION;
                let answered = req.reply(&bytes, version, usize::from(detail));
                match answered {
                    Answered::Stale => assert_eq!(req.state(), before),
                    Answered::Place => assert_eq!(req.state(), State::Homeless),
                    Answered::Over(_) | Answered::Corrupt => assert_eq!(req.state(), State::Ended),
                }
                assert!(attempts > 0 || !matches!(answered, Answered::Over(_)));
            }
            10 | 11 => {
                if req.may_be_sent() {
                    req.encode()?;
                }
                req.sent();
                assert_eq!(req.attempts() > attempts, before == State::Unsent);
            }
            12 => req.back_off(),
            13 => req.unblock(),
            14 => req.reset(),
            15 => req.homeless(),
            16 => req.asked(),
            17 => {
                let newest = plan.epoch + u32::from(detail & 3) - 1;
                let answer = if detail & 4 == 0 {
                    Ok(newest)
                } else {
                    Err(EIO)
                };
                let verdict = req.confirmed(answer);
                let asked = before == State::AskingPool(PoolCheck::Asked);
                let gone = asked && answer.is_ok_and(|newest| req.target().epoch >= newest);
                assert_eq!(verdict == Verdict::End(ENOENT), gone);
                assert!(asked || req.state() == before);
            }
            18 => {
                req.fail(EINTR);
                assert!(matches!(req.state(), State::Ending(_) | State::Ended));
            }
            _ => {
                if let State::Ending(error) = before {
                    assert_eq!(req.end(), error);
                }
            }
        }
        if let Some(map) = &current {
            let before = req.state();
            let context = Context {
                barrier,
                pick: &|_, set| usize::from(detail) % set.as_slice().len().max(1),
                place: &UpActing::of,
            };
            match req.map(map, &context) {
                Verdict::Stay => {
                    let same = req.state() == before;
                    assert!(same || req.target().epoch < map.epoch);
                }
                Verdict::Place => assert!(!matches!(
                    req.state(),
                    State::Sent | State::BackedOff | State::Ending(_) | State::Ended
                )),
                Verdict::End(error) => assert_eq!(req.state(), State::Ending(error)),
            }
        }
        if before == State::Ended {
            assert_eq!(req.state(), State::Ended);
        }
        if let State::Ending(error) = before {
            assert!(req.state() == State::Ended || req.state() == State::Ending(error));
        }
        is_sane(&req, current.as_ref(), barrier);
    }
    Ok(())
}

fn run(raw: &[u8], f: impl Fn(&mut Events<'_>) -> Result) {
    run_events(raw, |mut e| match f(&mut e) {
        Ok(()) | Err(ENOMEM) => {}
        Err(error) => panic!("{error:?}"),
    });
}

pub(crate) fn osd_request(raw: &[u8]) {
    run(raw, life);
}

fn object(name: &[u8]) -> HObject<'_> {
    HObject {
        name,
        snap: NO_SNAP,
        pool: 2,
        ..HObject::default()
    }
}

/// Compared with a list that is looked through from its beginning.
pub(crate) fn osd_backoffs(raw: &[u8]) {
    run(raw, |e| {
        let mut all = Backoffs::new();
        let mut list: Vec<(SpgId, u64, u8, u8)> = Vec::new();
        let spg = |seed: u8| SpgId {
            pg: PgId {
                pool: 2,
                seed: u32::from(seed & 3),
            },
            shard: SpgId::NO_SHARD,
        };
        while e.more() {
            let (op, from, to) = (e.u8(), e.u8(), e.u8());
            let id = u64::from(op >> 5);
            if op & 4 == 0 {
                let backoff = Backoff {
                    spg: spg(op),
                    epoch: 1,
                    op: BackoffOp::Block,
                    id,
                    begin: object(core::slice::from_ref(&from)),
                    end: object(core::slice::from_ref(&to)),
                };
                assert!(all.block(&backoff)?);
                list.push((spg(op), id, from, to));
            } else {
                all.unblock(id);
                list.retain(|(_, other, _, _)| *other != id);
            }
            for seed in 0..4 {
                for name in [0, from, from.wrapping_add(1), to.wrapping_sub(1), to, 255] {
                    let found = list.iter().any(|(of, _, begin, end)| {
                        *of == spg(seed) && (name == *begin || (name > *begin && name < *end))
                    });
                    let object = object(core::slice::from_ref(&name));
                    assert_eq!(all.covers(&spg(seed), &object), found);
                }
            }
            assert_eq!(all.iter().count(), list.len());
            assert_eq!(all.is_empty(), list.is_empty());
        }
        Ok(())
    });
}

/// Nothing that is true is ever withdrawn, and nothing that is false stays.
pub(crate) fn osd_barrier(raw: &[u8]) {
    run(raw, |e| {
        let mut barrier = Barrier::new();
        // The newest map that the monitors have, and ours; what was true, and what not.
        let (mut newest, mut have, mut highest) = (10, 10, 0);
        let mut asking = false;
        let mut liars: Vec<u64> = Vec::new();
        while e.more() {
            let (op, detail) = (e.u8(), e.u8());
            match op & 7 {
                0 => newest += u32::from(detail & 3),
                1 => {
                    have = have.max(newest - u32::from(detail & 1));
                    barrier.map(have);
                }
                2..5 => {
                    let who = u64::from(detail & 3);
                    let epoch = newest + 1 - u32::from(detail >> 2 & 7);
                    barrier.raise(who, epoch, have, || Ok((who, newest)))?;
                    if epoch <= newest {
                        highest = highest.max(epoch);
                    } else {
                        liars.push(who);
                    }
                    assert!(barrier.epoch() >= epoch);
                }
                5 => {
                    let asks = barrier.ask();
                    assert!(!asks || !asking);
                    asking |= asks;
                }
                _ if asking => {
                    asking = false;
                    let answer = if detail & 1 == 0 {
                        Ok(newest)
                    } else {
                        Err(EIO)
                    };
                    while let Some(((who, _), epoch)) = barrier.answer(answer) {
                        assert!(epoch > newest && liars.contains(&who));
                    }
                }
                _ => {}
            }
            assert!(barrier.epoch() >= highest);
            assert!(barrier.confirmed() <= newest && barrier.confirmed() <= barrier.epoch());
        }
        // In the end only what is true is left.
        for _ in 0..2 {
            if !asking {
                barrier.ask();
            }
            asking = false;
            while barrier.answer(Ok(newest)).is_some() {}
        }
        assert!(barrier.epoch() >= highest && barrier.epoch() <= newest);
        assert!(!barrier.ask());
        Ok(())
    });
}
