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
    time::Jiffies, //
};
use kernel_ext::time;

/// When an inode is looked at, if nothing else is said (seconds).
const USUAL: u32 = 5;

/// An inode, and when it is to be looked at.
pub(crate) struct Due {
    /// Its number.
    pub(crate) ino: u64,
    when: Jiffies,
}

impl Due {
    /// Whether the time has come.
    pub(crate) fn is_over(&self) -> bool {
        time::reached(self.when)
    }
}

/// Inodes whose capabilities are to be looked at by a later tick.
#[pin_data]
pub(crate) struct Delayed {
    #[pin]
    inos: SpinLock<KVec<Due>>,
    /// There was no memory for something: all capabilities are to be looked at.
    all: Atomic<u32>,
    /// For how long what is closed is left as it is (seconds): it is often opened again soon.
    closed: u32,
}

impl Delayed {
    /// With how many seconds what is closed is left as it is, at least and at most
    /// (`caps_wanted_delay_min` and `_max`).
    pub(crate) fn new(min: u32, max: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            inos <- new_spinlock!(KVec::new(), "ceph::Delayed::inos"),
            all: Atomic::new(0),
            closed: min.min(max),
        })
    }

    /// It is to be looked at soon.
    pub(crate) fn add(&self, ino: u64) {
        self.add_in(ino, USUAL);
    }

    /// Nobody has it open any more.
    pub(crate) fn add_closed(&self, ino: u64) {
        self.add_in(ino, self.closed);
    }

    fn add_in(&self, ino: u64, seconds: u32) {
        let when = time::jiffies().wrapping_add(time::secs(u64::from(seconds)));
        // Many files are closed in a few seconds, perhaps: more than can be had at once.
        let flags = GFP_ATOMIC | __GFP_NOWARN;
        if self.inos.lock().push(Due { ino, when }, flags).is_err() {
            self.add_all();
        }
    }

    pub(crate) fn add_all(&self) {
        self.all.store(1, Release);
    }

    /// All that are there; those whose time has not come are to be put back.
    pub(crate) fn take(&self) -> KVec<Due> {
        core::mem::take(&mut *self.inos.lock())
    }

    /// Puts back what [`Self::take`] has given.
    pub(crate) fn put_back(&self, rest: KVec<Due>) {
        let mut inos = self.inos.lock();
        let new = core::mem::replace(&mut *inos, rest);
        for due in new {
            if inos.push(due, GFP_ATOMIC | __GFP_NOWARN).is_err() {
                self.add_all();
            }
        }
    }

    pub(crate) fn take_all(&self) -> bool {
        self.all.xchg(0, Acquire) != 0
    }
}
