// SPDX-License-Identifier: GPL-2.0
//! A session with a metadata server, and what it is told at a reconnect.
use crate::harness::{run_events, Events};
use ceph_fs_proto::machine::session::{RenewCaps, Session, SessionState};
use ceph_fs_proto::wire::cap_bits::Caps;
use ceph_fs_proto::wire::reconnect::{CapRecord, RealmRecord, Reconnect};
use ceph_fs_proto::wire::session::Features;
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

pub(crate) fn mds_session(raw: &[u8]) {
    run_events(raw, |mut e| {
        // Near the end of the clock's range, so that it wraps around.
        let mut now = usize::MAX - 1_000;
        let mut session = Session::new(now);
        let mut gen = session.validity(now).0;
        while e.more() {
            let (op, detail) = (e.u8(), e.u8());
            let before = session.state();
            let (lease, good) = (session.cap_lease(), session.validity(now).1);
            let mut allowed = [before, before, before];
            match op % 15 {
                0 => {
                    session.opening(now);
                    allowed[0] = SessionState::Opening;
                }
                1 => {
                    let hung = session.heard(now, 300);
                    assert_eq!(hung, before == SessionState::Hung);
                    allowed[0] = if hung { SessionState::Open } else { before };
                    assert!(!session.tick(now));
                }
                2 => {
                    let hung = session.tick(now);
                    assert!(!hung || before == SessionState::Open);
                    assert!(!session.tick(now));
                    allowed[0] = if hung { SessionState::Hung } else { before };
                }
                3 => {
                    let old = session.opened(Features(u64::from(detail)), u64::from(detail), 60);
                    assert_eq!(old, before);
                    if !before.is_over() {
                        assert_eq!(session.features(), Features(u64::from(detail)));
                        allowed[0] = SessionState::Open;
                    }
                }
                4 => assert_eq!(
                    session.renew(now, detail & 1 == 0).is_some(),
                    detail & 1 == 0
                ),
                5 => {
                    let (_, good) = session.validity(now);
                    match session.renewed(u64::from(detail), now, 60) {
                        RenewCaps::Old => assert_eq!(session.validity(now).1, good),
                        RenewCaps::Good => assert!(good),
                        RenewCaps::Fresh => assert!(!good && session.validity(now).1),
                        RenewCaps::StillStale => assert!(!good && !session.validity(now).1),
                    }
                }
                6 => {
                    session.stale(now);
                    assert!(!session.validity(now).1);
                }
                7 => {
                    session.force_readonly();
                    assert!(session.is_readonly());
                }
                8 => {
                    let close = session.count_message();
                    assert_eq!(close.is_some(), before == SessionState::Closing);
                }
                9 => {
                    let close = session.close();
                    assert_eq!(
                        close.is_none(),
                        before == SessionState::Closing || before.is_over()
                    );
                    allowed[0] = if close.is_some() {
                        SessionState::Closing
                    } else {
                        before
                    };
                }
                10 => {
                    session.ended(detail & 1 != 0);
                    assert!(session.state().is_over() && session.close().is_none());
                    allowed = [SessionState::Closed, SessionState::Rejected, before];
                }
                11 => {
                    session.moved(now);
                    allowed[0] = SessionState::Restarting;
                }
                12 => {
                    let alive = session.reconnecting(now);
                    assert_ne!(alive, before.is_over());
                    if alive {
                        assert!(!session.is_readonly());
                        allowed[0] = SessionState::Reconnecting;
                    }
                }
                13 => {
                    // The new daemon could not be told.
                    if session.reconnecting(now) {
                        session.moved(now);
                        allowed[0] = SessionState::Restarting;
                    }
                }
                _ => now = now.wrapping_add(usize::from(detail) * 8),
            }
            let after = session.state();
            assert!(
                allowed.contains(&after),
                "{before:?} became {after:?} by {}",
                op % 15
            );
            assert!(!after.name().is_empty());
            assert!(!after.is_usable() || after.is_alive());
            assert!(!after.is_over() || !after.is_alive());
            // Whatever is not good any more before its time is seen by whoever compares.
            if session.cap_lease().covers(&lease) && good && op % 15 != 14 {
                assert!(session.validity(now).1);
            }
            // Generations never go back.
            let new = session.validity(now).0;
            assert!(new.wrapping_sub(gen) <= 2);
            gen = new;
        }
    });
}

/// Counts the records of a message; it must be well-formed.
fn records(version: u16, data: &[u8]) -> Result<(usize, usize, bool)> {
    let d = &mut Decoder::new(data);
    let caps = d.u32()? as usize;
    for _ in 0..caps {
        d.u64()?;
        let (_, mut body) = d.versioned(2)?;
        body.blob()?;
        body.skip(8 + 4 + 4 + 8 + 8)?;
        body.blob()?;
        body.u64()?;
        assert!(body.is_empty());
    }
    if version < 5 {
        assert_eq!(d.remaining() % 24, 0);
        return Ok((caps, d.remaining() / 24, false));
    }
    let realms = d.u32()? as usize;
    for _ in 0..realms {
        let (_, mut body) = d.versioned(1)?;
        body.skip(24)?;
        assert!(body.is_empty());
    }
    let more = d.bool()?;
    assert!(d.is_empty() && (caps == 0 || realms == 0));
    Ok((caps, realms, more))
}

fn build(e: &mut Events<'_>) -> Result {
    let (multi, max_size) = (e.u8() & 1 != 0, usize::from(e.u16()) + 200);
    let mut reconnect = Reconnect::new(multi, max_size)?;
    let mut caps = 0;
    let realms = usize::from(e.u8() & 31);
    while e.more() {
        let record = CapRecord {
            ino: e.u64(),
            cap_id: 1,
            wanted: Caps::PIN,
            issued: Caps(e.u32()),
            snaprealm: 1,
            pathbase: 1,
            path: e.blob(),
            snap_follows: 0,
        };
        reconnect.cap(&record)?;
        caps += 1;
    }
    let realm = RealmRecord {
        ino: 1,
        seq: 2,
        parent: 3,
    };
    let messages = reconnect.finish(&[realm; 31][..realms])?;
    let (mut sum, sum_caps) = ((0, 0), caps);
    for (i, (version, data)) in messages.iter().enumerate() {
        let (caps, realms, more) = records(*version, data).expect("well-formed");
        assert_eq!(more, i + 1 < messages.len());
        assert_eq!(*version == 5, messages.len() > 1);
        // Without any capability there is no place to split.
        assert!(
            sum_caps == 0 || data.len() <= max_size + 400,
            "{} bytes, at most {max_size}",
            data.len()
        );
        sum = (sum.0 + caps, sum.1 + realms);
    }
    assert_eq!(sum, (caps, realms));
    Ok(())
}

pub(crate) fn reconnect(raw: &[u8]) {
    run_events(raw, |mut e| match build(&mut e) {
        Ok(()) | Err(ENOMEM | ENOSPC) => {}
        Err(error) => panic!("{error:?}"),
    });
}
