// SPDX-License-Identifier: GPL-2.0
//! Modules that have work queues.

use super::close_all;
use crate::bindings;
use core::mem::ManuallyDrop;
use core::ptr;
use kernel::prelude::*;

/// The right to make work queues for a module.
///
/// # Invariants
///
/// `close_all` is called for the module before it goes, or it never goes.
#[derive(Clone, Copy)]
pub struct Queues(*mut bindings::module);

// SAFETY: The pointer is only compared, and looked at while the module is there.
unsafe impl Send for Queues {}
// SAFETY: As above.
unsafe impl Sync for Queues {}

impl Queues {
    /// For the module of a queue that there is.
    pub(super) fn of(module: *mut bindings::module) -> Self {
        // INVARIANT: It was made for that queue.
        Self(module)
    }

    pub(super) fn module(self) -> *mut bindings::module {
        self.0
    }
}

#[cfg(CONFIG_KUNIT = "y")]
impl Queues {
    /// For tests, which wait for what they have queued.
    // INVARIANT: No module.
    pub(crate) const TEST: Self = Self(ptr::null_mut());

    /// For tests of the end of a module.
    pub(super) fn of_test(module: *mut bindings::module) -> Self {
        // INVARIANT: The test calls `close_all`.
        Self(module)
    }
}

/// A module that has work queues.
pub trait OwnsQueues: Sized + Sync + Send {
    /// What [`kernel::Module::init`] is. `queues` is for
    /// [`OwnedQueue::new`](super::OwnedQueue::new).
    fn init(module: &'static ThisModule, queues: Queues) -> Result<Self>;
}

/// A module and its queues. When it is dropped, the module is, and then what is left of its
/// queues is brought to an end.
pub struct ModuleQueues<M: OwnsQueues> {
    inner: ManuallyDrop<M>,
    module: *mut bindings::module,
}

// SAFETY: The pointer is only used when it is dropped, which any task may do.
unsafe impl<M: OwnsQueues> Send for ModuleQueues<M> {}
// SAFETY: It has no methods that take a shared reference.
unsafe impl<M: OwnsQueues> Sync for ModuleQueues<M> {}

impl<M: OwnsQueues> ModuleQueues<M> {
    /// For [`module_with_queues!`](crate::module_with_queues).
    ///
    /// # Errors
    ///
    /// Those of [`OwnsQueues::init`].
    ///
    /// # Safety
    ///
    /// The result is dropped before the module goes.
    #[doc(hidden)]
    pub unsafe fn init(module: &'static ThisModule) -> Result<Self> {
        let raw = module.as_ptr().cast();
        // INVARIANT: By `drop`, which the caller guarantees, or here.
        match M::init(module, Queues(raw)) {
            Ok(inner) => Ok(Self {
                inner: ManuallyDrop::new(inner),
                module: raw,
            }),
            Err(error) => {
                close_all(raw);
                Err(error)
            }
        }
    }
}

impl<M: OwnsQueues> Drop for ModuleQueues<M> {
    fn drop(&mut self) {
        // SAFETY: It is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        close_all(self.module);
    }
}

/// Declares the type for `module!` of a module that has work queues:
///
/// ```
/// use kernel_ext::workqueue::{module_with_queues, Flags, OwnedQueue, OwnsQueues, Queues};
///
/// struct Driver {
///     queue: Arc<OwnedQueue>,
/// }
///
/// impl OwnsQueues for Driver {
///     fn init(_module: &'static ThisModule, queues: Queues) -> Result<Self> {
///         let queue = OwnedQueue::new(queues, c"driver", Flags::UNBOUND)?;
///         Ok(Self { queue })
///     }
/// }
///
/// // And then `module! { type: DriverModule, ... }`.
/// module_with_queues! { struct DriverModule(Driver); }
/// # use kernel::sync::Arc;
/// ```
#[macro_export]
macro_rules! module_with_queues {
    ($(#[$attr:meta])* struct $name:ident($inner:ty);) => {
        $(#[$attr])*
        // The static that `module!` makes of it is what drops it.
        struct $name {
            _queues: $crate::workqueue::ModuleQueues<$inner>,
        }

        impl ::kernel::Module for $name {
            fn init(
                module: &'static ::kernel::ThisModule,
            ) -> ::kernel::error::Result<Self> {
                let init: unsafe fn(&'static ::kernel::ThisModule) -> ::kernel::error::Result<_> =
                    $crate::workqueue::ModuleQueues::<$inner>::init;
                // SAFETY: The type has no other use than in `module!`, which drops its value
                // when the module goes: nothing else can get at the field.
                let queues = unsafe { init(module) };
                Ok(Self { _queues: queues? })
            }
        }
    };
}
