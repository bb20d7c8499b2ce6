// SPDX-License-Identifier: GPL-2.0
//! What is issued for an inode, to be read without its lock.
use kernel::{
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    time::Jiffies, //
};
use kernel_ext::time;

use ceph_fs_proto::wire::cap_bits::Caps;

use crate::mds_client::session::caps_epoch;

/// The epoch of all sessions that something was found to be issued in (low half), and the
/// bits; 0 for nothing known.
#[derive(Clone, Copy)]
pub(crate) struct Published(u64);

impl Published {
    pub(crate) const fn caps(self) -> Caps {
        Caps((self.0 >> 32) as u32)
    }
}

/// What is issued, to be read without a lock.
pub(crate) struct Issued {
    /// A [`Published`].
    word: Atomic<u64>,
    /// It is good until then, in jiffies.
    until: Atomic<Jiffies>,
}

impl Issued {
    pub(crate) const fn new() -> Self {
        Self {
            word: Atomic::new(0),
            until: Atomic::new(0),
        }
    }

    /// Nothing is known any more. With the inode's lock held.
    pub(crate) fn withdraw(&self) {
        self.word.store(0, Release);
    }

    /// What can be read until it is withdrawn.
    pub(crate) fn published(&self) -> Published {
        Published(self.word.load(Relaxed))
    }

    /// With the inode's lock held.
    pub(crate) fn publish(&self, caps: Caps, epoch: u32, until: Jiffies) {
        // A reader who takes the new time with an older word does no harm: that the
        // sessions are good now, in the epoch of that word, says that they were then.
        self.until.store(until, Relaxed);
        let word = u64::from(caps.0) << 32 | u64::from(epoch);
        self.word.store(word, Release);
    }

    /// Publishes once more what was withdrawn, of which all is issued. It is as good as it
    /// was: in its epoch, and until its time. With the inode's lock held.
    pub(crate) fn put_back(&self, before: Published) {
        if before.0 != 0 {
            self.word.store(before.0, Release);
        }
    }

    /// Whether all bits are issued for sure.
    pub(crate) fn contain(&self, mask: Caps) -> bool {
        let word = self.word.load(Acquire);
        Published(word).caps().contains(mask)
            && word as u32 == caps_epoch()
            && !time::reached(self.until.load(Relaxed))
    }
}
