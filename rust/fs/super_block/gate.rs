// SPDX-License-Identifier: GPL-2.0
//! What counts the references that keep a super block from being killed.

use crate::bindings;
use crate::time;
use crate::wait::{Completion, Reason, WaitTable};
use core::cell::UnsafeCell;
use core::ptr;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::Arc;
use kernel::time::Jiffies;

/// Set once the gate is being closed.
const CLOSING: i64 = 1 << 62;
/// The bits that count.
const COUNT: i64 = CLOSING - 1;

/// How long the last references are waited for before their holders are made to fail, in
/// seconds.
const PATIENCE_SECS: u64 = 60;
/// How often the log hears of those that are left then, in seconds.
const REPORT_SECS: u64 = 30;

/// Lets references in while the super block lives, and waits for the last one.
///
/// `refs` is one for the super block itself until the gate is closed, and one for each
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

    /// Counts one more, for a caller who has one already or whom the VFS has let in: it
    /// kills no super block that it uses itself. Any context.
    pub(in crate::fs) fn get(&self) {
        if self.refs.fetch_add(1, ordering::Relaxed) & COUNT == 0 {
            self.too_late();
        }
    }

    /// A reference after the last one was gone: what it refers to may be freed any time.
    /// It stays counted, so that [`Self::is_empty`] tells of it.
    #[cold]
    fn too_late(&self) {
        kernel::warn_on!(true);
        pr_err!("a reference to a super block that is being killed\n");
    }

    /// Counts one more unless the gate is being closed. Any context.
    pub(in crate::fs) fn try_get(&self) -> bool {
        let mut now = self.refs.load(ordering::Relaxed);
        while now & CLOSING == 0 {
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
        if self.refs.fetch_sub(1, ordering::Full) == CLOSING + 1 {
            self.idle.complete_all();
        }
    }

    fn count(&self) -> i64 {
        self.refs.load(ordering::Acquire) & COUNT
    }

    /// Whether the gate was closed and nobody is in.
    pub(in crate::fs) fn is_empty(&self) -> bool {
        self.refs.load(ordering::Acquire) == CLOSING
    }

    /// Lets nobody in any more, gives up the super block's own reference, and waits for the
    /// others. Sleeps.
    ///
    /// When the task is being killed, or after a minute, `force` is called, which has to make
    /// all fail that the holders wait for. What is not given back then cannot be done
    /// without, as the VFS frees what it refers to: it is waited for, and the log says so.
    /// While this waits, it shows in the table.
    pub(in crate::fs) fn close(&self, waits: Option<&WaitTable>, force: impl FnOnce()) {
        self.refs.fetch_add(CLOSING, ordering::Full);
        self.put();
        let patience = time::secs(PATIENCE_SECS);
        if self.wait(waits, |idle| idle.wait_killable(Some(patience))) {
            return;
        }
        force();
        let report: Jiffies = time::secs(REPORT_SECS);
        while !self.wait(waits, |idle| idle.wait_uninterruptible(Some(report))) {
            pr_warn!("unmounting waits for {} references\n", self.count());
        }
    }

    fn wait(&self, waits: Option<&WaitTable>, f: impl FnOnce(&Completion) -> Result) -> bool {
        if self.idle.is_done() {
            return true;
        }
        let reason = Reason {
            what: super::LAST_REFERENCES,
            whom: super::THIS_MOUNT,
            id: self.count() as u64,
            ino: 0,
        };
        match waits {
            Some(waits) => waits.during(reason, || f(&self.idle)),
            None => f(&self.idle),
        }
        .is_ok()
    }
}

#[kunit_tests(kernel_ext_fs_gate)]
mod tests {
    use super::*;
    use crate::workqueue::{Flags, OwnedQueue, Queues};
    use kernel::sync::atomic::Relaxed;
    use kernel::time::{delay::fsleep, Delta};

    #[test]
    fn closes_after_the_last() -> Result {
        let gate = Gate::new()?;
        assert!(gate.try_get());
        gate.get();
        gate.put();
        let other = gate.clone();
        let queue = OwnedQueue::new(Queues::TEST, c"kext_test", Flags::UNBOUND)?;
        let waits = KBox::pin_init(WaitTable::new(), GFP_KERNEL)?;
        let seen = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let saw = seen.clone();
        queue.try_spawn(GFP_KERNEL, move || {
            while other.try_get() {
                // The end has not begun.
                other.put();
                fsleep(Delta::from_millis(5));
            }
            // Nobody new gets in, but one who is in may count another.
            other.get();
            other.put();
            saw.store(1, Relaxed);
            other.put();
        })?;
        gate.close(Some(&waits), || pr_err!("forced without need\n"));
        assert_eq!(seen.load(Relaxed), 1);
        assert!(gate.is_empty());
        assert!(!gate.try_get());
        assert_eq!(waits.count(), 0);
        Ok(())
    }

    #[test]
    fn killed_while_it_closes() -> Result {
        let gate = Gate::new()?;
        gate.get();
        let waits = KBox::pin_init(WaitTable::new(), GFP_KERNEL)?;
        let mut forced = false;
        // SAFETY: A signal for the thread of this test, which is taken back below.
        unsafe { bindings::test_kill_current() };
        gate.close(Some(&waits), || {
            forced = true;
            gate.put();
        });
        // SAFETY: As above.
        unsafe { bindings::test_unkill_current() };
        assert!(forced && gate.is_empty());
        Ok(())
    }

    #[test]
    fn shows_what_it_waits_for() -> Result {
        let gate = Gate::new()?;
        gate.get();
        let waits = Arc::pin_init(WaitTable::new(), GFP_KERNEL)?;
        let (other, table) = (gate.clone(), waits.clone());
        let seen = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let saw = seen.clone();
        let queue = OwnedQueue::new(Queues::TEST, c"kext_test", Flags::UNBOUND)?;
        queue.try_spawn(GFP_KERNEL, move || {
            for _ in 0..1000 {
                table.for_each(|_, _, reason, _| saw.store(reason.id as i32, Relaxed));
                if saw.load(Relaxed) != 0 {
                    break;
                }
                fsleep(Delta::from_millis(5));
            }
            other.put();
        })?;
        gate.close(Some(&waits), || {});
        assert_eq!(seen.load(Relaxed), 1);
        Ok(())
    }
}
