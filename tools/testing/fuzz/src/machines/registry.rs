// SPDX-License-Identifier: GPL-2.0
//! The capabilities of a session: held, given back, told.
use crate::harness::{run_events, Events};
use ceph_fs_proto::machine::registry::{Registry, Slot};
use ceph_fs_proto::wire::client_caps::CapItem;
use kernel::prelude::*;
use std::{collections::VecDeque, vec::Vec};

fn item(ino: u64) -> CapItem {
    CapItem {
        ino,
        ..CapItem::default()
    }
}

fn pick(held: &mut Vec<(Slot, u64)>, detail: u8) -> Option<(Slot, u64)> {
    let at = usize::from(detail).checked_rem(held.len())?;
    Some(held.swap_remove(at))
}

pub(crate) fn registry(raw: &[u8]) {
    run_events(raw, |mut e: Events<'_>| {
        let mut registry = Registry::new();
        let mut held: Vec<(Slot, u64)> = Vec::new();
        let mut pending: VecDeque<u64> = VecDeque::new();
        let mut ino = 0;
        while e.more() {
            let (op, detail) = (e.u8(), e.u8());
            match op % 6 {
                0 => {
                    // Room of an older state may come late.
                    let table = registry.wanted_table() / (1 + usize::from(detail & 1));
                    if let Ok(new) = Registry::new_room(table) {
                        drop(registry.grow(new));
                    }
                }
                1 => {
                    for _ in 0..detail {
                        ino += 1;
                        let had_room = registry.has_room();
                        let slot = registry.insert(ino);
                        assert_eq!(slot.is_some(), had_room);
                        held.extend(slot.map(|slot| (slot, ino)));
                    }
                }
                2 => {
                    if let Some((slot, _)) = pick(&mut held, detail) {
                        registry.remove(slot);
                        assert!(registry.has_room());
                    }
                }
                3 => {
                    if let Some((slot, ino)) = pick(&mut held, detail) {
                        registry.release(slot, item(ino));
                        pending.push_back(ino);
                    }
                }
                4 => {
                    ino += 1;
                    let had_room = registry.has_room();
                    assert_eq!(registry.release_unknown(item(ino)), had_room);
                    if had_room {
                        pending.push_back(ino);
                    }
                }
                _ => {
                    let count = usize::from(detail);
                    registry.forget(count);
                    pending.drain(..count.min(pending.len()));
                }
            }
            assert_eq!(
                (registry.len(), registry.is_empty()),
                (held.len(), held.is_empty())
            );
            assert_eq!(registry.pending(), pending.len());
            if let Ok(mut items) = KVec::with_capacity(pending.len().min(9), GFP_KERNEL) {
                registry.peek(&mut items);
                assert!(items
                    .iter()
                    .map(|item| &item.ino)
                    .eq(pending.iter().take(items.len())));
                assert!(items.len() >= pending.len().min(9));
            }
        }
        let (mut all, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let mut some = [0; 7];
            let (len, next) = registry.batch(at, &mut some);
            all.extend_from_slice(&some[..len]);
            from = next;
        }
        all.sort_unstable();
        held.sort_unstable_by_key(|(_, ino)| *ino);
        assert!(all.iter().eq(held.iter().map(|(_, ino)| ino)));
    });
}
