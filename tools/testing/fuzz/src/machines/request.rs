// SPDX-License-Identifier: GPL-2.0
//! A request to a metadata server, under answers, forwards and the loss of sessions.
use crate::harness::{run_events, Events};
use ceph_fs_proto::machine::request::{Next, Reply, Request, RequestState};
use ceph_fs_proto::wire::session::Features;

const RANKS: u32 = 3;

/// What a client and its servers know of it.
#[derive(Default)]
struct Seen {
    forwards: u32,
    answered: bool,
    committed: bool,
    aborted: bool,
    over: bool,
}

fn follow(r: &Request, next: Next, before: RequestState, seen: &Seen) {
    match next {
        Next::Stay => assert_eq!(r.state(), before),
        Next::Advance => {
            assert!(!seen.aborted);
            assert_eq!(r.state(), RequestState::WaitsForMap);
        }
        Next::Forget => assert!(seen.aborted && r.state() == RequestState::Over),
        Next::Lost => {
            assert!(matches!(before, RequestState::Unsafe(_)));
            assert_eq!(r.state(), RequestState::Over);
        }
    }
}

pub(crate) fn mds_request(raw: &[u8]) {
    run_events(raw, |mut e: Events<'_>| {
        let mut r = Request::new();
        let mut seen = Seen::default();
        while e.more() {
            let (op, detail) = (e.u8(), e.u8());
            let rank = u32::from(detail) % RANKS;
            let features = match detail & 0x80 {
                0 => Features(0),
                _ => Features::SUPPORTED,
            };
            let before = r.state();
            match op % 13 {
                0 => r.wait_for_map(),
                1 => r.wait_for_session(rank),
                2 => {
                    let chosen = r.choose(rank);
                    assert_eq!(
                        chosen,
                        r.state() == RequestState::Sending(rank) && before != r.state()
                    );
                }
                3 => match r.sending(rank, features) {
                    Ok(counts) => {
                        assert_eq!(counts.is_some(), before == RequestState::Sending(rank));
                        if let Some(counts) = counts {
                            assert_eq!(
                                (counts.num_retry, counts.num_fwd),
                                (r.attempts(), seen.forwards)
                            );
                        }
                        let attempts = r.attempts();
                        assert_eq!(r.sent(rank), counts.is_some());
                        assert_eq!(r.attempts(), attempts + u32::from(counts.is_some()));
                    }
                    Err(_) => {
                        assert!(r.attempts() >= 0x100 && !features.has(Features::RETRY_FWD_32))
                    }
                },
                4 => {
                    let is_safe = detail & 0x40 != 0;
                    match r.replied(rank, is_safe) {
                        Reply::Stale => assert_eq!(r.state(), before),
                        Reply::Answer => {
                            assert!(!seen.answered);
                            seen.answered = true;
                            seen.committed = is_safe;
                        }
                        Reply::Commit => {
                            assert!(seen.answered && !seen.committed && is_safe);
                            seen.committed = true;
                        }
                    }
                    assert!(!seen.committed || r.state() == RequestState::Over);
                }
                5 => {
                    let count = match detail & 0x30 {
                        0 => u32::from(e.u8()),
                        _ => seen.forwards.wrapping_add(1),
                    };
                    match r.forwarded(rank, u32::from(detail >> 6) % RANKS, count) {
                        Ok(next) => {
                            follow(&r, next, before, &seen);
                            if next != Next::Stay {
                                assert!(count > seen.forwards && r.attempts() == 0);
                                seen.forwards = count;
                            }
                        }
                        Err(_) => {
                            assert_eq!(before, RequestState::Sent(rank));
                            assert!(r.fail());
                        }
                    }
                }
                6 => {
                    let next = r.map_changed();
                    follow(&r, next, before, &seen);
                }
                7 => {
                    let next = r.session_opened(rank);
                    follow(&r, next, before, &seen);
                }
                8 => {
                    let next = r.session_lost(rank);
                    follow(&r, next, before, &seen);
                }
                9 => {
                    let next = r.rank_serves(rank);
                    follow(&r, next, before, &seen);
                    assert_ne!(next, Next::Lost);
                }
                10 => {
                    let replayed = r.replay(rank);
                    assert_eq!(replayed.is_some(), before == RequestState::Unsafe(rank));
                    assert_eq!(r.state(), before);
                }
                11 => {
                    seen.aborted = true;
                    let end = r.abort();
                    assert_eq!(end, r.state() == RequestState::Over);
                }
                _ => assert_eq!(r.fail(), before != RequestState::Over),
            }
            // What is over stays so; what was answered is not asked again.
            assert!(!seen.over || r.state() == RequestState::Over);
            seen.over = r.state() == RequestState::Over;
            if seen.answered {
                assert!(matches!(
                    r.state(),
                    RequestState::Unsafe(_) | RequestState::Over
                ));
            }
            if seen.aborted {
                assert!(!matches!(
                    r.state(),
                    RequestState::WaitsForMap | RequestState::WaitsForSession(_)
                ));
            }
        }
    });
}
