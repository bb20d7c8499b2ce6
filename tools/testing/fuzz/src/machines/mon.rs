// SPDX-License-Identifier: GPL-2.0
//! Hunting for a monitor, and subscriptions.
use crate::harness::run_events;
use ceph_proto::machine::hunt::{Hunt, Tick};
use ceph_proto::machine::subs::{Sub, Subs, Want};
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

pub(crate) fn hunt(raw: &[u8]) {
    run_events(raw, |mut e| {
        let mut hunt = Hunt::new();
        while e.more() {
            let (op, detail) = (e.u8(), e.u8());
            match op % 7 {
                0 => {
                    let (old, count) = (hunt.current(), usize::from(detail & 7));
                    let random = u32::from(detail >> 3);
                    match hunt.next(count, |n| random % n) {
                        Some(pick) => {
                            assert!(pick < count && hunt.is_hunting());
                            assert!(count == 1 || old != Some(pick));
                            assert_eq!(hunt.current(), Some(pick));
                        }
                        None => assert_eq!(count, 0),
                    }
                }
                1 => {
                    let hunting = hunt.is_hunting();
                    assert_eq!(hunt.found(), hunting);
                    assert!(!hunt.is_hunting());
                }
                2 => {
                    let (hunting, stopped) = (hunt.is_hunting(), hunt.is_stopped());
                    let tick = hunt.tick(detail & 1 != 0);
                    assert_eq!(tick == Tick::Stopped, stopped);
                    assert!(tick == Tick::Reopen || !hunting);
                }
                3 => assert_eq!(hunt.lost(), !hunt.is_hunting() && !hunt.is_stopped()),
                4 => {
                    hunt.stop();
                    assert!(hunt.is_stopped() && hunt.current().is_none());
                }
                5 => {
                    hunt.distrust();
                    assert!(hunt.is_hunting() || hunt.is_stopped());
                }
                _ => hunt.renumber((detail & 1 != 0).then_some(usize::from(detail >> 1))),
            }
            // Three seconds to half a minute.
            assert!((3_000..=30_000).contains(&hunt.delay_ms()));
        }
    });
}

/// The items of a subscription: name, first epoch, only once.
fn items(front: &[u8]) -> Result<std::vec::Vec<(String, u64, bool)>> {
    let mut d = Decoder::new(front);
    let count = d.count(13)?;
    let mut items = std::vec::Vec::new();
    for _ in 0..count {
        let name = String::from_utf8_lossy(d.blob()?).into_owned();
        items.push((name, d.u64()?, d.bool()?));
    }
    assert!(d.is_empty());
    Ok(items)
}

fn check_request(subs: &Subs, front: Option<KVVec<u8>>) {
    let wanted = Sub::ALL.into_iter().filter_map(|sub| {
        let name = match (sub, subs.fs()) {
            (Sub::MdsMap, Some(fs)) => format!("{}.{fs}", sub.name()),
            _ => sub.name().to_string(),
        };
        match subs.get(sub).0 {
            Want::Nothing => None,
            Want::Once(start) => Some((name, start, true)),
            Want::From(start) => Some((name, start, false)),
        }
    });
    let asked = front.map_or(std::vec::Vec::new(), |front| {
        items(&front).expect("well-formed")
    });
    assert!(wanted.eq(asked));
}

pub(crate) fn subs(raw: &[u8]) {
    run_events(raw, |mut e| {
        let mut subs = Subs::new();
        let mut now = 1_000u64;
        while e.more() {
            let (op, detail) = (e.u8(), e.u8());
            let sub = Sub::ALL[usize::from(detail & 3)];
            match op % 8 {
                0 | 1 => {
                    let start = e.u32();
                    let before = subs.get(sub).0;
                    let new = subs.want(sub, start, detail & 4 != 0);
                    let after = subs.get(sub).0;
                    assert_eq!(new, before != after);
                    let start = u64::from(start);
                    let want = if detail & 4 != 0 {
                        Want::From(start)
                    } else {
                        Want::Once(start)
                    };
                    assert_eq!(after, want);
                }
                2 => {
                    let (epoch, before) = (e.u32(), subs.get(sub).0);
                    subs.got(sub, epoch);
                    let (after, have) = subs.get(sub);
                    assert_eq!(have, epoch);
                    match before {
                        Want::From(_) => assert_eq!(after, Want::From(u64::from(epoch) + 1)),
                        _ => assert_eq!(after, Want::Nothing),
                    }
                }
                3 => subs.set_fs(e.u32() as i32),
                4 => {
                    subs.session_opened(now);
                    assert!(subs.renewal_is_due(now));
                }
                5 => match subs.request(now) {
                    Ok(front) => check_request(&subs, front),
                    Err(error) => assert_eq!(error, ENOMEM),
                },
                6 => subs.acknowledged(e.u32()),
                _ => now += u64::from(detail),
            }
        }
    });
}
