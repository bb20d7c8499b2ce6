// SPDX-License-Identifier: GPL-2.0
//! The capabilities of an inode, under messages of several servers and local use.
use crate::harness::{run_events, Events};
use ceph_fs_proto::machine::caps::{CapSet, Change, Issuer};
use ceph_fs_proto::machine::refs::Mode;
use ceph_fs_proto::wire::cap_bits::Caps;
use ceph_fs_proto::wire::client_caps::CapPeer;
use ceph_fs_proto::wire::inode_stat::ReplyCap;
use core::cell::Cell;
use kernel::prelude::*;

const RANKS: u32 = 4;
/// Bits of a client that reads.
const BITS: u32 = Caps::ANY_RD.0 | Caps::PIN.0 | Caps::ANY_DIR_OPS.0;

/// A session: its rank, and for all sessions their generations.
#[derive(Clone)]
struct Rank<'a>(u32, &'a [Cell<(u32, bool)>; RANKS as usize]);

impl Issuer for Rank<'_> {
    fn rank(&self) -> u32 {
        self.0
    }
    fn validity(&self) -> (u32, bool) {
        self.1[self.0 as usize].get()
    }
    fn carries_over(&self, gen: u32) -> bool {
        // Of each change of the generation only every other is that of a restart.
        gen % 2 == 0
    }
}

fn check(set: &CapSet<Rank<'_>>, taken: &[Caps]) {
    for (i, cap) in set.caps().enumerate() {
        let rank = cap.issuer().rank();
        assert!(set
            .caps()
            .take(i)
            .all(|other| other.issuer().rank() != rank));
        assert!(cap.implemented().contains(cap.issued()));
        assert!(set.get(rank).is_some());
    }
    if set.auth().is_some() {
        assert!(set.len() > 0);
    }
    assert!(set.implemented().contains(set.issued()));
    let used = set.used(false);
    for bit in [Caps::FILE_RD, Caps::FILE_CACHE] {
        let users = taken.iter().any(|got| got.intersects(bit));
        assert_eq!(used.contains(bit), users);
    }
}

/// A change counts what can be used now, and what can be when late sessions are renewed.
fn check_after(change: &Change, set: &CapSet<Rank<'_>>, sessions: &[Cell<(u32, bool)>]) {
    assert!(change.after.contains(set.issued()));
    if sessions.iter().all(|session| session.get().1) {
        assert_eq!(change.after, set.issued());
    }
}

fn run(e: &mut Events<'_>) -> Result {
    let sessions = [const { Cell::new((1, true)) }; RANKS as usize];
    let is_dir = e.u8() & 1 != 0;
    let mut set = CapSet::new();
    // What local users hold.
    let mut taken: std::vec::Vec<Caps> = std::vec::Vec::new();
    let mut open = 0u32;
    while e.more() {
        let (op, detail) = (e.u8(), e.u8());
        let rank = Rank(u32::from(detail) % RANKS, &sessions);
        let cap_id = u64::from(detail >> 2 & 3);
        let peer = CapPeer {
            cap_id: u64::from(detail >> 4 & 3),
            issue_seq: u32::from(e.u8()),
            mseq: u32::from(detail >> 6),
            mds: u32::from(detail >> 4) % RANKS,
            flags: 0,
        };
        match op % 14 {
            0 | 1 => {
                if !set.has_room(rank.0) {
                    let room = CapSet::new_room(set.len())?;
                    let before = set.len();
                    drop(set.move_to(room));
                    assert_eq!(set.len(), before);
                }
                assert!(set.has_room(rank.0));
                let cap = ReplyCap {
                    caps: Caps(e.u32() & BITS | 1),
                    wanted: Caps(u32::from(e.u16())),
                    cap_id,
                    seq: u32::from(e.u8()),
                    mseq: peer.mseq,
                    realm: 1,
                    flags: detail >> 7,
                };
                let change = set.add(rank.clone(), || cap, is_dir);
                check_after(&change, &set, &sessions);
                assert!(set
                    .get(rank.0)
                    .is_some_and(|c| c.issued().contains(cap.caps)));
            }
            2 | 3 => {
                let caps = Caps(e.u32() & BITS);
                let known = set.get(rank.0).is_some();
                let change = set.grant(rank.0, cap_id, caps, peer.issue_seq);
                assert_eq!(change.is_some(), known);
                if let Some(change) = change {
                    check_after(&change, &set, &sessions);
                    assert!(!change.gained().intersects(change.lost()));
                }
            }
            4 => {
                let target = Rank(peer.mds, &sessions);
                let to = (set.has_room(target.0) && detail & 1 != 0).then_some((&target, peer));
                if let Some(removed) = set.export(rank.0, cap_id, to) {
                    assert_eq!(removed.cap.id(), cap_id);
                    assert!(set.get(rank.0).is_none());
                }
            }
            5 => {
                if let Some(removed) = set.imported_from(&peer) {
                    assert_eq!(removed.cap.issuer().rank(), peer.mds);
                    assert!(set.get(peer.mds).is_none());
                }
            }
            6 => {
                if let Some(removed) = set.remove(rank.0) {
                    assert!(set.get(rank.0).is_none());
                    assert_eq!(removed.cap.release_item(7).cap_id, removed.cap.id());
                }
            }
            7 => {
                let (need, want) = match detail & 3 {
                    0 => (Caps::FILE_RD, Caps::FILE_CACHE),
                    1 => (Caps::FILE_CACHE, Caps::NONE),
                    2 => (Caps::NONE, Caps::FILE_CACHE),
                    _ => (Caps::FILE_SHARED, Caps::FILE_RD),
                };
                if let Some(got) = set.acquire(need, want) {
                    assert!(got.contains(need) && (need | want).contains(got));
                    assert!(set.has(got) && !set.revoking().intersects(got));
                    taken.push(got);
                }
            }
            8 => {
                if let Some(got) = taken.pop() {
                    let waits = set.give_back(got);
                    assert_eq!(waits, set.revoking().intersects(got));
                }
            }
            9 => {
                let cached = detail & 0x10 != 0;
                let before = set.get(rank.0).map(|cap| (cap.issued(), cap.implemented()));
                let update = set.due(rank.0, is_dir, cached, detail & 0x20 != 0);
                if let Some(update) = update {
                    set.note_sent(rank.0, &update);
                    let cap = set.get(rank.0).expect("a capability is told of");
                    let (issued, implemented) = before.expect("which was there before");
                    assert_eq!((update.cap_id, update.caps), (cap.id(), cap.implemented()));
                    assert!(issued.contains(cap.issued()) && implemented.contains(update.caps));
                    assert_eq!(cap.mds_wanted(), update.wanted);
                    // What a server learns is given back is not used under it.
                    let back = implemented.without(update.caps);
                    let others = set.issued() | set.implemented();
                    assert!(
                        !back.intersects(set.used(cached))
                            || others.contains(back & set.used(cached))
                    );
                    // Told once is enough.
                    assert!(set.due(rank.0, is_dir, cached, false).is_none());
                }
            }
            10 => {
                let mode = if detail & 1 == 0 {
                    Mode::Pin
                } else {
                    Mode::Read
                };
                set.open(mode);
                open += 1;
                assert!(set.is_open() && set.wanted(is_dir).contains(Caps::PIN));
            }
            11 => {
                let mode = if detail & 1 == 0 {
                    Mode::Pin
                } else {
                    Mode::Read
                };
                set.close(mode);
                open = open.saturating_sub(1);
            }
            12 => {
                let cell = &sessions[rank.0 as usize];
                let (gen, good) = cell.get();
                cell.set(match detail & 0x10 {
                    0 => (gen, !good),
                    _ => (gen + 1, true),
                });
            }
            _ => {
                if detail & 0x10 != 0 {
                    // It is not made good by being renewed: what is doubtful is lost.
                    let issued = |set: &CapSet<Rank<'_>>| set.get(rank.0).map(|cap| cap.issued());
                    let before = issued(&set).unwrap_or(Caps::NONE) | Caps::PIN;
                    set.renewed(rank.0);
                    assert!(issued(&set).is_none_or(|after| before.contains(after)));
                }
                if let Some((id, wanted, issued)) = set.reconnect(rank.0, is_dir) {
                    assert_eq!(wanted, set.wanted(is_dir));
                    assert!(set
                        .get(rank.0)
                        .is_some_and(|c| c.id() == id && c.issued() == issued));
                    assert!(!is_dir || !issued.intersects(Caps::ANY_DIR_OPS));
                }
            }
        }
        check(&set, &taken);
    }
    while set.pop().is_some() {}
    assert!(set.issued().is_empty() && set.auth().is_none());
    Ok(())
}

pub(crate) fn caps(raw: &[u8]) {
    run_events(raw, |mut e| match run(&mut e) {
        Ok(()) | Err(ENOMEM) => {}
        Err(error) => panic!("{error:?}"),
    });
}
