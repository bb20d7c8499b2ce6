// SPDX-License-Identifier: GPL-2.0
//! A value that many look at and that is seldom replaced.
//!
//! Whoever looks takes a reference without a lock, under RCU; whoever replaces the value waits
//! until nobody is between finding the old one and counting that reference.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)
//!
//! ```
//! use kernel::sync::Arc;
//! use kernel_ext::published::Published;
//!
//! struct Table {
//!     map: Published<KVec<u32>>,
//! }
//!
//! impl Table {
//!     fn len(&self) -> usize {
//!         self.map.get().map_or(0, |map| map.len())
//!     }
//!
//!     fn replace(&self, map: KVec<u32>) -> Result {
//!         drop(self.map.replace(Some(Arc::new(map, GFP_KERNEL)?)));
//!         Ok(())
//!     }
//! }
//! ```

use crate::bindings;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr;
use kernel::prelude::*;
use kernel::sync::{
    atomic::{Acquire, Atomic, Full},
    rcu, Arc,
};

/// A place for a counted value; see the module.
///
/// # Invariants
///
/// `ptr` is null, or comes from `Arc::into_raw`, and that reference is ours. It is given up no
/// earlier than a grace period of RCU after `ptr` was changed.
pub struct Published<T: Send + Sync> {
    ptr: Atomic<*mut T>,
    _owns: PhantomData<Arc<T>>,
}

// SAFETY: It is an `Arc` that any thread may clone and drop.
unsafe impl<T: Send + Sync> Send for Published<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Published<T> {}

fn into_raw<T>(value: Option<Arc<T>>) -> *mut T {
    value.map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut())
}

/// # Safety
///
/// `ptr` is null or comes from [`into_raw`], whose reference is given to the caller.
unsafe fn from_raw<T>(ptr: *mut T) -> Option<Arc<T>> {
    // SAFETY: Promised by the caller.
    (!ptr.is_null()).then(|| unsafe { Arc::from_raw(ptr) })
}

impl<T: Send + Sync> Published<T> {
    /// A place with a value, or none.
    pub fn new(value: Option<Arc<T>>) -> Self {
        // INVARIANT: It was just made so.
        Self {
            ptr: Atomic::new(into_raw(value)),
            _owns: PhantomData,
        }
    }

    /// The value. Never sleeps, takes no lock.
    pub fn get(&self) -> Option<Arc<T>> {
        let _guard = rcu::read_lock();
        // SAFETY: By the invariants, the reference that the pointer stands for, if there is one,
        // is not given up before the guard is dropped. It is not ours: what is made of it is
        // not dropped.
        let value = ManuallyDrop::new(unsafe { from_raw(self.ptr.load(Acquire)) });
        (*value).clone()
    }

    /// Replaces the value; returns the old one. Sleeps, for some milliseconds or longer, if
    /// there was one.
    pub fn replace(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let old = self.ptr.xchg(into_raw(value), Full);
        if !old.is_null() {
            // SAFETY: No additional requirements; we may sleep.
            unsafe { bindings::synchronize_rcu() };
        }
        // SAFETY: By the invariants it was ours; a grace period has passed.
        unsafe { from_raw(old) }
    }
}

impl<T: Send + Sync> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariants; nobody else has a reference to `self`, so nobody is in
        // `get`.
        drop(unsafe { from_raw(*self.ptr.get_mut()) });
    }
}

#[kunit_tests(kernel_ext_published)]
mod tests {
    use super::*;

    #[test]
    fn references_are_counted() -> Result {
        let place = Published::new(None);
        assert!(place.get().is_none());
        let one = Arc::new(1, GFP_KERNEL)?;
        assert!(place.replace(Some(one.clone())).is_none());
        let got = place.get().ok_or(ENOENT)?;
        assert!(Arc::ptr_eq(&got, &one));
        let old = place.replace(Some(Arc::new(2, GFP_KERNEL)?));
        assert!(old.is_some_and(|old| Arc::ptr_eq(&old, &one)));
        assert_eq!(place.get().map(|two| *two), Some(2));
        // The last reference but one.
        drop(got);
        assert!(Arc::into_unique_or_drop(one).is_some());
        Ok(())
    }
}
