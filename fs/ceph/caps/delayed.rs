// SPDX-License-Identifier: GPL-2.0
//! Inodes whose capabilities are to be looked at later.
use kernel::{
    alloc::flags::{
        GFP_ATOMIC,
        __GFP_NOWARN, //
    },
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        SpinLock, //
    },
};

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

    pub(crate) fn add(&self, ino: u64) {
        // Many files are closed in a few seconds, perhaps: more than can be had at once.
        let flags = GFP_ATOMIC | __GFP_NOWARN;
        if self.inos.lock().0.push(ino, flags).is_err() {
            self.add_all();
        }
    }

    pub(crate) fn add_all(&self) {
        self.all.store(1, Release);
    }

    pub(crate) fn take(&self) -> KVec<u64> {
        let mut inos = self.inos.lock();
        let new = core::mem::take(&mut inos.0);
        core::mem::replace(&mut inos.1, new)
    }

    pub(crate) fn take_all(&self) -> bool {
        self.all.xchg(0, Acquire) != 0
    }
}
