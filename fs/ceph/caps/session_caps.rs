// SPDX-License-Identifier: GPL-2.0
//! The capabilities of a session: which there are, and which were given back.
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
};
use kernel_ext::fs::InodeRef;

use ceph_fs_proto::{
    machine::registry::{
        Registry,
        Slot, //
    },
    wire::{
        client_caps::CapItem,
        msg::Vino, //
    },
};

use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs, //
};

/// The file system's part of a session: its capabilities.
#[pin_data]
pub(crate) struct SessionCaps {
    /// Leaf lock.
    #[pin]
    pub(crate) list: SpinLock<Registry>,
    /// See the module.
    #[pin]
    pub(crate) order: Mutex<()>,
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
    pub(crate) fn make_room(&self) -> Result {
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

    pub(crate) fn insert(&self, ino: u64) -> Option<Slot> {
        self.list.lock().insert(ino)
    }

    pub(crate) fn remove(&self, place: Slot) {
        self.list.lock().remove(place);
    }

    /// Remembers that a capability is given back; whether a message is full.
    pub(crate) fn release(&self, place: Slot, item: CapItem) -> bool {
        let mut list = self.list.lock();
        list.release(place, item);
        list.pending() >= CapItem::PER_MESSAGE
    }

    /// As [`Self::release`], of one that is not known.
    pub(crate) fn release_unknown(&self, item: CapItem) -> Result {
        loop {
            self.make_room()?;
            if self.list.lock().release_unknown(item) {
                return Ok(());
            }
        }
    }

    /// The inodes of up to 64 capabilities, and where to go on.
    pub(crate) fn batch(&self, from: u32) -> ([u64; 64], usize, Option<u32>) {
        let mut inos = [0; 64];
        let (len, next) = self.list.lock().batch(from, &mut inos);
        (inos, len, next)
    }
}

impl FsClient {
    /// Calls `f` for the inode of each capability of the session.
    pub(crate) fn for_each_cap(
        &self,
        session: &Arc<Session>,
        mut f: impl FnMut(InodeRef<CephFs>) -> bool,
    ) {
        let Some(sb) = self.super_block() else { return };
        let mut from = 0;
        loop {
            let (inos, len, next) = session.data.batch(from);
            for ino in inos.iter().take(len) {
                let inode = sb.find_inode(&Vino::head(*ino));
                if let Some(inode) = inode {
                    if !f(inode) {
                        return;
                    }
                }
            }
            match next {
                Some(next) => from = next,
                None => return,
            }
        }
    }

    /// The server has renewed the session, whose capabilities had gone stale. It has issued
    /// anew what can be had again before it said so; the rest is lost.
    pub(crate) fn session_renewed(&self, session: &Arc<Session>) {
        self.for_each_cap(session, |inode| {
            let info = inode.data();
            info.state().caps.renewed(session.rank);
            info.changed.wake_all();
            true
        });
    }

    /// Wakes all who wait for capabilities of the session.
    pub(crate) fn wake_session(&self, session: &Arc<Session>) {
        self.for_each_cap(session, |inode| {
            inode.data().changed.wake_all();
            true
        });
    }
}
