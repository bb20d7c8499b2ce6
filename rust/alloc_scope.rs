// SPDX-License-Identifier: GPL-2.0
//! Allocation contexts: while a guard lives, allocations of this task do not
//! start I/O ([`NoIo`]) or enter file systems ([`NoFs`]).
//!
//! ```
//! use kernel_ext::alloc_scope::NoIo;
//!
//! fn buffer() -> Result<KVec<u8>> {
//!     let _noio = NoIo::enter();
//!     Ok(KVec::with_capacity(4096, GFP_KERNEL)?) // as with GFP_NOIO
//! }
//! ```
//!
//! The guards nest; drop them in the reverse order of their creation.

use crate::bindings;
use kernel::types::NotThreadSafe;

macro_rules! scope {
    ($(#[$doc:meta])* $name:ident, $save:ident, $restore:ident) => {
        $(#[$doc])*
        #[must_use = "the scope ends when the guard is dropped"]
        pub struct $name {
            flags: u32,
            _not_send: NotThreadSafe,
        }

        impl $name {
            /// Enters the scope.
            pub fn enter() -> Self {
                // SAFETY: Changes a flag of the current task only.
                let flags = unsafe { bindings::$save() };
                Self { flags, _not_send: NotThreadSafe }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: `flags` came from the matching save in this task.
                unsafe { bindings::$restore(self.flags) }
            }
        }
    };
}

scope!(
    /// No I/O for allocations (`memalloc_noio_save()`).
    NoIo, scope_noio_save, scope_noio_restore
);
scope!(
    /// No file system recursion for allocations (`memalloc_nofs_save()`).
    NoFs, scope_nofs_save, scope_nofs_restore
);

#[kernel::prelude::kunit_tests(kernel_ext_alloc_scope)]
mod tests {
    use super::*;

    /// Whether I/O and file systems are forbidden to allocations of this task.
    fn forbidden() -> (bool, bool) {
        // SAFETY: Only the task itself changes these flags.
        let flags = unsafe { (*kernel::current!().as_ptr()).flags };
        (
            flags & bindings::PF_MEMALLOC_NOIO != 0,
            flags & bindings::PF_MEMALLOC_NOFS != 0,
        )
    }

    #[test]
    fn scopes_nest() {
        assert_eq!(forbidden(), (false, false));
        {
            let _nofs = NoFs::enter();
            assert_eq!(forbidden(), (false, true));
            let noio = NoIo::enter();
            assert_eq!(forbidden(), (true, true));
            drop(NoIo::enter());
            assert_eq!(forbidden(), (true, true));
            drop(noio);
            assert_eq!(forbidden(), (false, true));
        }
        assert_eq!(forbidden(), (false, false));
    }
}
