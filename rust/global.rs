// SPDX-License-Identifier: GPL-2.0
//! What a module makes when it is loaded and destroys when it is removed.
//!
//! Statics of a module are never dropped. A [`Global`] is a static place for a
//! value that the guard of [`Global::set`], kept by the module's own struct, takes
//! out again.
//!
//! ```
//! use kernel::sync::Arc;
//! use kernel_ext::global::{Global, Guard};
//! use kernel_ext::workqueue::{Flags, OwnedQueue, Queues};
//!
//! static QUEUE: Global<Arc<OwnedQueue>> = Global::new();
//!
//! // Called when the module is loaded; the module's own struct keeps the result.
//! fn init(queues: Queues) -> Result<Guard<Arc<OwnedQueue>>> {
//!     QUEUE.set(OwnedQueue::new(queues, c"my-queue", Flags::UNBOUND)?)
//! }
//!
//! fn somewhere() -> Result {
//!     QUEUE.get().ok_or(ENODEV)?.flush();
//!     Ok(())
//! }
//! ```

use core::cell::UnsafeCell;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};

const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const FULL: u32 = 2;

/// A static place for a value that can be cloned, such as an `Arc`.
///
/// # Invariants
///
/// While `state` is `FULL`, `value` holds a value that nobody changes. Whoever has
/// set `state` to `BUSY` from `EMPTY`, or from `FULL` with `readers` 0 since, owns
/// `value`.
pub struct Global<T: 'static> {
    state: Atomic<u32>,
    readers: Atomic<usize>,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: The value is cloned by any thread and dropped by another.
unsafe impl<T: Send + Sync> Sync for Global<T> {}

impl<T: Clone + Send + Sync> Global<T> {
    /// An empty place.
    // A `Default` could not make a static.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            state: Atomic::new(EMPTY),
            readers: Atomic::new(0),
            value: UnsafeCell::new(None),
        }
    }

    /// Puts a value there until the guard is dropped.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is one.
    pub fn set(&'static self, value: T) -> Result<Guard<T>> {
        if self.state.cmpxchg(EMPTY, BUSY, ordering::Full).is_err() {
            return Err(EBUSY);
        }
        // SAFETY: By the invariants the value is ours.
        unsafe { *self.value.get() = Some(value) };
        // INVARIANT: There is a value now.
        self.state.store(FULL, ordering::Release);
        Ok(Guard(self))
    }

    /// The value, cloned; may be called in any context in which that may be. `None` before it was set and after it was taken out.
    pub fn get(&self) -> Option<T> {
        // Fully ordered, as is the change of `state` in `Guard::drop`: either that
        // one sees this reader, or this reader sees that the value is gone.
        self.readers.fetch_add(1, ordering::Full);
        let value = match self.state.load(ordering::Acquire) {
            // SAFETY: By the invariants nobody changes it while there is a reader.
            FULL => unsafe { (*self.value.get()).clone() },
            _ => None,
        };
        self.readers.fetch_sub(1, ordering::Release);
        value
    }
}

/// Takes the value of a [`Global`] out when it is dropped. That may sleep.
pub struct Guard<T: 'static>(&'static Global<T>);

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        self.0.state.xchg(BUSY, ordering::Full);
        while self.0.readers.load(ordering::Acquire) != 0 {
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(1));
        }
        // SAFETY: By the invariants the value is ours: it was `FULL`, only this
        // guard changes that, and there is no reader of it any more.
        drop(unsafe { (*self.0.value.get()).take() });
        self.0.state.store(EMPTY, ordering::Release);
    }
}

#[kunit_tests(kernel_ext_global)]
mod tests {
    use super::*;
    use kernel::sync::Arc;

    static PLACE: Global<Arc<u32>> = Global::new();

    #[test]
    fn there_and_gone() -> Result {
        assert!(PLACE.get().is_none());
        let guard = PLACE.set(Arc::new(7, GFP_KERNEL)?)?;
        assert_eq!(PLACE.get().map(|v| *v), Some(7));
        assert!(PLACE.set(Arc::new(8, GFP_KERNEL)?).is_err());
        let kept = PLACE.get();
        drop(guard);
        assert!(PLACE.get().is_none());
        assert_eq!(kept.map(|v| *v), Some(7));
        drop(PLACE.set(Arc::new(9, GFP_KERNEL)?)?);
        Ok(())
    }
}
