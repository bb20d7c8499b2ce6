// SPDX-License-Identifier: GPL-2.0
//! Network namespaces.
//!
//! ```
//! use kernel_ext::net::Net;
//!
//! fn is_ours(net: &Net) -> bool {
//!     *net == Net::current()
//! }
//! ```

use crate::bindings;
use core::ptr::NonNull;

/// A counted reference to a network namespace (`struct net`).
pub struct Net(NonNull<bindings::net>);

// SAFETY: Namespaces are reference-counted objects, used from any thread.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

impl Net {
    /// The network namespace of the current task; the initial one if that is exiting and
    /// has given up its own.
    pub fn current() -> Self {
        // SAFETY: `net_current` returns a namespace that the task or the kernel holds.
        let net = unsafe { bindings::net_get(bindings::net_current()) };
        // SAFETY: It returns its argument, which is a valid object.
        Self(unsafe { NonNull::new_unchecked(net) })
    }

    /// The C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::net {
        self.0.as_ptr()
    }
}

impl Clone for Net {
    fn clone(&self) -> Self {
        // SAFETY: We hold a reference.
        unsafe { bindings::net_get(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // SAFETY: We hold a reference, and give it back.
        unsafe { bindings::net_put(self.0.as_ptr()) }
    }
}

impl PartialEq for Net {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Net {}

#[kernel::prelude::kunit_tests(kernel_ext_net)]
mod tests {
    use super::*;

    #[test]
    fn counted() {
        let net = Net::current();
        let other = net.clone();
        assert!(net == other);
        drop(net);
        assert!(other == Net::current());
    }
}
