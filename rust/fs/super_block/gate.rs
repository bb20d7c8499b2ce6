// SPDX-License-Identifier: GPL-2.0
//! What counts the references that keep a super block from being killed.

use crate::bindings;
use core::cell::UnsafeCell;
use core::ptr;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::{Arc, Completion};

/// Lets references in while the super block lives, and waits for the last one.
///
/// `refs` is one for the super block itself until `kill_sb`, and one for each
/// counted reference.
#[pin_data]
pub(in crate::fs) struct Gate {
    refs: Atomic<i64>,
    #[pin]
    idle: Completion,
    /// Set once, before there is a handle.
    pub(in crate::fs) sb: UnsafeCell<*mut bindings::super_block>,
}

// SAFETY: The pointer is only used by those who have entered.
unsafe impl Send for Gate {}
// SAFETY: As above; the other fields are made for sharing.
unsafe impl Sync for Gate {}

impl Gate {
    /// Open, for a super block that `sb` will be set to.
    pub(in crate::fs) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                refs: Atomic::new(1),
                idle <- Completion::new(),
                sb: UnsafeCell::new(ptr::null_mut()),
            }),
            GFP_KERNEL,
        )
    }

    /// Counts one more, for a caller who has one already.
    pub(in crate::fs) fn get(&self) {
        self.refs.fetch_add(1, ordering::Relaxed);
    }

    /// Counts one more unless the end has begun and all others are gone.
    pub(in crate::fs) fn try_get(&self) -> bool {
        let mut now = self.refs.load(ordering::Relaxed);
        while now > 0 {
            match self.refs.cmpxchg(now, now + 1, ordering::Full) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Counts one less. The super block, and what it has, may be gone after that. Any
    /// context.
    pub(in crate::fs) fn put(&self) {
        if self.refs.fetch_sub(1, ordering::Full) == 1 {
            self.idle.complete_all();
        }
    }

    /// Gives up the super block's own one and waits for the others. Sleeps, uninterruptibly.
    pub(in crate::fs) fn close(&self) {
        self.put();
        self.idle.wait_for_completion();
    }
}

#[kunit_tests(kernel_ext_fs_gate)]
mod tests {
    use super::*;
    use crate::workqueue::{Flags, OwnedQueue};
    use kernel::time::{delay::fsleep, Delta};

    #[test]
    fn closes_after_the_last() -> Result {
        let gate = Gate::new()?;
        assert!(gate.try_get());
        gate.get();
        gate.put();
        let other = gate.clone();
        let queue = OwnedQueue::new(c"kext_test", Flags::UNBOUND)?;
        queue.try_spawn(GFP_KERNEL, move || {
            fsleep(Delta::from_millis(20));
            // The end has begun, and one who has entered may let in another.
            assert!(other.try_get());
            other.put();
            other.put();
        })?;
        gate.close();
        assert!(!gate.try_get());
        Ok(())
    }
}
