// SPDX-License-Identifier: GPL-2.0
//! The capabilities of a session: those that are issued, and the releases of those that
//! were given back, until they are sent.
//!
//! Each has a slot in a table from when it comes until the server was told that it is gone.
//! So to give one back takes no memory, which matters where inodes go because there is
//! none, and a release cannot be lost: it stays until its message was made.
//!
//! ```text
//!          insert          release             forget
//!   Free ──────────▶ Issued ────────▶ Pending ──────────▶ Free
//!                      └──────────── remove ───────────────▲
//! ```
//!
//! Slots that were never used are not written to: a page grows into its room.
//!
//! Nothing here allocates but [`Registry::new_room`], which needs no lock.
use kernel::prelude::*;

use crate::wire::client_caps::CapItem;

/// Slots of a page.
const SLOTS: usize = 128;

/// Slots that are looked at in one go, as that may be done with a spin lock held.
const LOOK: u32 = 1024;

/// Marks the end of a list of slots.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
enum Entry {
    Free { next: u32 },
    Issued { ino: u64 },
    Pending { item: CapItem, next: u32 },
}

type Page = KVec<Entry>;

/// Where a capability is in its session's [`Registry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// Room for more capabilities.
pub struct Room {
    page: Page,
    table: KVVec<Page>,
}

/// The capabilities of a session.
pub struct Registry {
    /// Each has room for [`SLOTS`], and the slots that were ever used.
    pages: KVVec<Page>,
    /// How many slots were ever used: those of the first pages.
    used: u32,
    /// Of those, the first of the free ones.
    free: u32,
    issued: usize,
    pending: usize,
    /// The oldest and the newest that is pending.
    ends: (u32, u32),
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// No capabilities.
    pub const fn new() -> Self {
        Self {
            pages: KVVec::new(),
            used: 0,
            free: NONE,
            issued: 0,
            pending: 0,
            ends: (NONE, NONE),
        }
    }

    // ----- room: no allocation under the lock -----

    /// Whether one more fits.
    pub fn has_room(&self) -> bool {
        self.free != NONE || self.unused_page().is_some()
    }

    /// The page of the next slot that was never used.
    fn unused_page(&self) -> Option<usize> {
        let page = usize::try_from(self.used).ok()? / SLOTS;
        (page < self.pages.len()).then_some(page)
    }

    /// How many pages the table needs a slot for that has none now; 0 if it has places
    /// left. For [`Self::new_room`].
    pub fn wanted_table(&self) -> usize {
        if self.pages.len() < self.pages.capacity() {
            return 0;
        }
        self.pages.len().saturating_mul(2).saturating_add(4)
    }

    /// Room for some more capabilities, with a larger table for `table` pages unless that
    /// is 0.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new_room(table: usize) -> Result<Room> {
        Ok(Room {
            page: KVec::with_capacity(SLOTS, GFP_KERNEL)?,
            table: KVVec::with_capacity(table, GFP_KERNEL)?,
        })
    }

    /// Adds the room. What it returns is to be freed without the lock.
    pub fn grow(&mut self, room: Room) -> Room {
        let Room { page, mut table } = room;
        // Slots are numbered by 32 bits, of which [`NONE`] is no number.
        let slots = self.pages.len().saturating_add(1).checked_mul(SLOTS);
        if slots.is_none_or(|slots| u32::try_from(slots).is_err()) {
            return Room { page, table };
        }
        if self.pages.len() == self.pages.capacity() {
            if table.capacity() <= self.pages.len() {
                return Room { page, table };
            }
            table.clear();
            core::mem::swap(&mut self.pages, &mut table);
            for old in table.drain_all() {
                // There is room, so this does not allocate.
                let _ = self.pages.push(old, GFP_KERNEL);
            }
        }
        // Nor does this.
        let _ = self.pages.push(page, GFP_KERNEL);
        Room {
            page: KVec::new(),
            table,
        }
    }

    fn slot(&mut self, index: u32) -> Option<&mut Entry> {
        let index = usize::try_from(index).ok()?;
        let page = self.pages.get_mut(index / SLOTS)?;
        page.get_mut(index % SLOTS)
    }

    fn take_free(&mut self, new: Entry) -> Option<u32> {
        let index = self.free;
        if index == NONE {
            return self.take_unused(new);
        }
        let slot = self.slot(index)?;
        let Entry::Free { next } = *slot else {
            return None;
        };
        *slot = new;
        self.free = next;
        Some(index)
    }

    fn take_unused(&mut self, new: Entry) -> Option<u32> {
        let page = self.unused_page()?;
        self.pages.get_mut(page)?.push_within_capacity(new).ok()?;
        let index = self.used;
        self.used = index.saturating_add(1);
        Some(index)
    }

    fn set_free(&mut self, index: u32) {
        let next = self.free;
        if let Some(slot) = self.slot(index) {
            *slot = Entry::Free { next };
            self.free = index;
        }
    }

    // ----- capabilities -----

    /// How many are issued.
    pub const fn len(&self) -> usize {
        self.issued
    }

    /// Whether none is issued.
    pub const fn is_empty(&self) -> bool {
        self.issued == 0
    }

    /// Adds the capability of an inode. None if there is no room.
    pub fn insert(&mut self, ino: u64) -> Option<Slot> {
        let index = self.take_free(Entry::Issued { ino })?;
        self.issued = self.issued.saturating_add(1);
        Some(Slot(index))
    }

    /// A capability is gone, and the server knows.
    pub fn remove(&mut self, slot: Slot) {
        if let Some(Entry::Issued { .. }) = self.slot(slot.0) {
            self.set_free(slot.0);
            self.issued = self.issued.saturating_sub(1);
        }
    }

    /// A capability is given back; the server is to be told.
    pub fn release(&mut self, slot: Slot, item: CapItem) {
        if let Some(entry @ Entry::Issued { .. }) = self.slot(slot.0) {
            *entry = Entry::Pending { item, next: NONE };
            self.issued = self.issued.saturating_sub(1);
            self.append(slot.0);
        }
    }

    /// A capability that is not issued here is to be given back. Whether there was room.
    #[must_use]
    pub fn release_unknown(&mut self, item: CapItem) -> bool {
        let index = self.take_free(Entry::Pending { item, next: NONE });
        if let Some(index) = index {
            self.append(index);
        }
        index.is_some()
    }

    fn append(&mut self, index: u32) {
        let (oldest, newest) = self.ends;
        match self.slot(newest) {
            Some(Entry::Pending { next, .. }) => {
                *next = index;
                self.ends = (oldest, index);
            }
            _ => self.ends = (index, index),
        }
        self.pending = self.pending.saturating_add(1);
    }

    /// Inode numbers of issued capabilities, from the slot `from` on, until `inos` is full or
    /// some pages were looked at: how many there are, and where to go on.
    pub fn batch(&mut self, from: u32, inos: &mut [u64]) -> (usize, Option<u32>) {
        let mut at = from;
        let mut len = 0;
        while let Some(slot) = self.slot(at) {
            if at.wrapping_sub(from) >= LOOK {
                return (len, Some(at));
            }
            if let Entry::Issued { ino } = *slot {
                let Some(out) = inos.get_mut(len) else {
                    return (len, Some(at));
                };
                *out = ino;
                len = len.saturating_add(1);
            }
            at = at.saturating_add(1);
        }
        (len, None)
    }

    // ----- releases -----

    /// How many are pending.
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// The pending ones, the oldest first, as far as they fit into `items`, which has to
    /// have its room already. They stay until [`Self::forget`].
    pub fn peek(&mut self, items: &mut KVec<CapItem>) {
        let (mut at, _) = self.ends;
        while items.len() < items.capacity() {
            let Some(Entry::Pending { item, next }) = self.slot(at).copied() else {
                break;
            };
            if items.push(item, GFP_KERNEL).is_err() {
                break;
            }
            at = next;
        }
    }

    /// The server is told of the oldest `count`, or need not be.
    pub fn forget(&mut self, count: usize) {
        for _ in 0..count {
            let (oldest, newest) = self.ends;
            let Some(Entry::Pending { next, .. }) = self.slot(oldest).copied() else {
                break;
            };
            self.ends = if next == NONE {
                (NONE, NONE)
            } else {
                (next, newest)
            };
            self.set_free(oldest);
            self.pending = self.pending.saturating_sub(1);
        }
    }
}

#[kunit_tests(ceph_machine_registry)]
mod tests {
    use super::*;

    fn item(ino: u64) -> CapItem {
        CapItem {
            ino,
            cap_id: ino.wrapping_add(1000),
            mseq: 0,
            issue_seq: 1,
        }
    }

    fn insert(registry: &mut Registry, ino: u64) -> Result<Slot> {
        if !registry.has_room() {
            let room = Registry::new_room(registry.wanted_table())?;
            drop(registry.grow(room));
        }
        registry.insert(ino).ok_or(EINVAL)
    }

    fn inos(registry: &mut Registry) -> Result<KVec<u64>> {
        let (mut all, mut from) = (KVec::new(), Some(0));
        while let Some(at) = from {
            let mut some = [0; 50];
            let (len, next) = registry.batch(at, &mut some);
            all.extend_from_slice(some.get(..len).ok_or(EINVAL)?, GFP_KERNEL)?;
            from = next;
        }
        all.sort_unstable();
        Ok(all)
    }

    fn pending(registry: &mut Registry, most: usize) -> Result<KVec<u64>> {
        let mut items = KVec::with_capacity(most, GFP_KERNEL)?;
        registry.peek(&mut items);
        let mut all = KVec::new();
        for item in items.iter() {
            all.push(item.ino, GFP_KERNEL)?;
        }
        Ok(all)
    }

    #[test]
    fn many_come_and_go() -> Result {
        let mut registry = Registry::new();
        let mut places = KVec::new();
        for ino in 0..1000 {
            places.push(insert(&mut registry, ino)?, GFP_KERNEL)?;
        }
        assert_eq!((registry.len(), registry.pages.len()), (1000, 8));
        assert!(inos(&mut registry)?.iter().copied().eq(0..1000));
        for (ino, slot) in places.iter().enumerate() {
            if ino % 3 == 0 {
                registry.remove(*slot);
                registry.remove(*slot);
            }
        }
        assert_eq!(registry.len(), 666);
        assert!(inos(&mut registry)?.iter().all(|ino| ino % 3 != 0));
        for ino in 2000..2334 {
            insert(&mut registry, ino)?;
        }
        // Slots were used again.
        assert_eq!((registry.len(), registry.pages.len()), (1000, 8));
        assert_eq!(inos(&mut registry)?.len(), 1000);
        Ok(())
    }

    #[test]
    fn many_free_slots_are_passed_over_in_steps() -> Result {
        let mut registry = Registry::new();
        let mut places = KVec::new();
        for ino in 0..3000 {
            places.push(insert(&mut registry, ino)?, GFP_KERNEL)?;
        }
        for slot in places.iter().take(2500) {
            registry.remove(*slot);
        }
        assert_eq!(registry.batch(0, &mut [0; 50]), (0, Some(LOOK)));
        assert!(inos(&mut registry)?.iter().copied().eq(2500..3000));
        Ok(())
    }

    #[test]
    fn room_that_comes_twice_is_used() -> Result {
        let mut registry = Registry::new();
        for _ in 0..2 {
            let room = Registry::new_room(registry.wanted_table())?;
            drop(registry.grow(room));
        }
        for ino in 0..200 {
            assert!(registry.insert(ino).is_some());
        }
        assert_eq!(registry.pages.len(), 2);
        assert!(inos(&mut registry)?.iter().copied().eq(0..200));
        // 56 are left.
        while registry.has_room() {
            assert!(registry.insert(7).is_some());
        }
        assert!(registry.insert(7).is_none());
        assert_eq!(registry.len(), 256);
        Ok(())
    }

    #[test]
    fn releases_need_no_room_and_stay_until_they_are_told() -> Result {
        let mut registry = Registry::new();
        let mut places = KVec::new();
        for ino in 0..128 {
            places.push(insert(&mut registry, ino)?, GFP_KERNEL)?;
        }
        assert!(!registry.has_room());
        assert!(!registry.release_unknown(item(500)));
        for (ino, slot) in places.iter().enumerate().take(5) {
            registry.release(*slot, item(ino as u64));
            registry.release(*slot, item(ino as u64));
        }
        assert_eq!((registry.len(), registry.pending()), (123, 5));
        assert_eq!(&pending(&mut registry, 3)?[..], &[0, 1, 2]);
        assert_eq!(&pending(&mut registry, 3)?[..], &[0, 1, 2]);
        registry.forget(2);
        assert!(registry.release_unknown(item(500)));
        assert_eq!(&pending(&mut registry, 9)?[..], &[2, 3, 4, 500]);
        registry.forget(100);
        assert_eq!((registry.pending(), registry.len()), (0, 123));
        assert!(pending(&mut registry, 9)?.is_empty());
        insert(&mut registry, 7)?;
        assert_eq!(registry.pages.len(), 1);
        Ok(())
    }
}
