// SPDX-License-Identifier: GPL-2.0
//! What is known of a session's capabilities beside the inodes: which there are, which were
//! given back, and which inodes are to be looked at later.
use kernel::{
    alloc::flags::{GFP_ATOMIC, __GFP_NOWARN},
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Mutex, SpinLock,
    },
};

use ceph_fs_proto::{
    machine::registry::{Registry, Slot},
    wire::client_caps::CapItem,
};

/// The file system's part of a session: its capabilities.
#[pin_data]
pub(crate) struct SessionCaps {
    /// Leaf lock.
    #[pin]
    pub(super) list: SpinLock<Registry>,
    /// See the module.
    #[pin]
    pub(super) order: Mutex<()>,
    /// How many leases on names were revoked.
    revokes: Atomic<u32>,
}

impl SessionCaps {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            list <- new_spinlock!(Registry::new(), "ceph::SessionCaps::list"),
            order <- new_mutex!((), "ceph::SessionCaps::order"),
            revokes: Atomic::new(0),
        }? Error)
    }

    /// How many leases on names were revoked.
    pub(crate) fn revokes(&self) -> u32 {
        self.revokes.load(Acquire)
    }

    pub(crate) fn count_revoke(&self) {
        self.revokes.fetch_add(1, Release);
    }

    /// How many capabilities the session has issued.
    pub(crate) fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// Makes sure that there is room for one more, unless others take it.
    pub(super) fn make_room(&self) -> Result {
        let table = {
            let list = self.list.lock();
            if list.has_room() {
                return Ok(());
            }
            list.wanted_table()
        };
        let room = Registry::new_room(table)?;
        let old = self.list.lock().grow(room);
        drop(old);
        Ok(())
    }

    pub(super) fn insert(&self, ino: u64) -> Option<Slot> {
        self.list.lock().insert(ino)
    }

    pub(super) fn remove(&self, place: Slot) {
        self.list.lock().remove(place);
    }

    /// Remembers that a capability is given back; whether a message is full.
    pub(super) fn release(&self, place: Slot, item: CapItem) -> bool {
        let mut list = self.list.lock();
        list.release(place, item);
        list.pending() >= CapItem::PER_MESSAGE
    }

    /// As [`Self::release`], of one that is not held.
    pub(super) fn release_unheld(&self, item: CapItem) -> Result {
        loop {
            self.make_room()?;
            if self.list.lock().release_unheld(item) {
                return Ok(());
            }
        }
    }

    /// The inodes of up to 64 capabilities, and where to go on.
    pub(super) fn batch(&self, from: u32) -> ([u64; 64], usize, Option<u32>) {
        let mut inos = [0; 64];
        let (len, next) = self.list.lock().batch(from, &mut inos);
        (inos, len, next)
    }
}

/// Inodes whose capabilities are to be looked at in the next but one tick: what is
/// closed is often opened again soon.
#[pin_data]
pub(crate) struct Delayed {
    #[pin]
    inos: SpinLock<(KVec<u64>, KVec<u64>)>,
    /// There was no memory for something: all capabilities are to be looked at.
    all: Atomic<u32>,
}

impl Delayed {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inos <- new_spinlock!((KVec::new(), KVec::new()), "ceph::Delayed::inos"),
            all: Atomic::new(0),
        })
    }

    pub(super) fn add(&self, ino: u64) {
        // Many files are closed in a few seconds, perhaps: more than can be had at once.
        let flags = GFP_ATOMIC | __GFP_NOWARN;
        if self.inos.lock().0.push(ino, flags).is_err() {
            self.add_all();
        }
    }

    pub(super) fn add_all(&self) {
        self.all.store(1, Release);
    }

    pub(super) fn take(&self) -> KVec<u64> {
        let mut inos = self.inos.lock();
        let new = core::mem::take(&mut inos.0);
        core::mem::replace(&mut inos.1, new)
    }

    pub(super) fn take_all(&self) -> bool {
        self.all.xchg(0, Acquire) != 0
    }
}
