// SPDX-License-Identifier: GPL-2.0
//! Modules that have work queues.

use super::delayed;
use super::queue::{with_registry, Queues, Shared};
use crate::bindings;
use core::mem::ManuallyDrop;
use core::ptr;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Relaxed, Release};
use kernel::sync::Arc;
use kernel::types::Opaque;

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
        match M::init(module, Queues::of(raw)) {
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

/// The module goes: cancels what is delayed on its queues, waits for what runs there, and
/// lets nothing be queued any more. Sleeps.
pub(super) fn close_all(module: *mut bindings::module) {
    with_registry(|all| {
        // SAFETY: The list is locked.
        unsafe {
            for_each(all, |shared| {
                if (*shared).module == module {
                    (*shared).closed.store(1, Release);
                }
            });
        }
    });
    // An item that began before may have queued another one after the first round.
    for round in [1, 2] {
        while let Some(shared) = next_to_close(module, round) {
            delayed::cancel_all(&shared);
            // SAFETY: It is destroyed below only, once it was closed.
            unsafe { bindings::__flush_workqueue(shared.wq.as_ptr()) };
        }
    }
    while let Some(shared) = next_to_close(module, 3) {
        with_registry(|_| {
            // SAFETY: The list is locked; its reference is taken over.
            unsafe {
                bindings::list_del_init(shared.node.get());
                drop(Arc::from_raw(Arc::as_ptr(&shared)));
            }
        });
        if shared.orphaned.load(Acquire) != 0 {
            // SAFETY: Nobody refers to it any more, and its items have run.
            unsafe { bindings::destroy_workqueue(shared.wq.as_ptr()) };
        } else {
            pr_err!("a work queue outlives its module: not freed\n");
        }
    }
}

/// A closed queue of the module that has not been through this round, which it is now.
fn next_to_close(module: *mut bindings::module, round: i32) -> Option<Arc<Shared>> {
    let mut found: *const Shared = ptr::null();
    with_registry(|all| {
        // SAFETY: The list is locked, and owns what is on it.
        unsafe {
            for_each(all, |shared| {
                let mine = (*shared).module == module && (*shared).closed.load(Relaxed) > 0;
                if found.is_null() && mine && (*shared).closed.load(Relaxed) <= round {
                    (*shared).closed.store(round + 1, Relaxed);
                    found = shared;
                }
            });
            // A reference of our own; that of the list stays.
            (!found.is_null()).then(|| {
                let listed = core::mem::ManuallyDrop::new(Arc::from_raw(found));
                Arc::clone(&listed)
            })
        }
    })
}

/// Calls `f` for each queue.
///
/// # Safety
///
/// `all` is the list of all queues, locked.
unsafe fn for_each(all: *mut bindings::list_head, mut f: impl FnMut(*const Shared)) {
    // SAFETY: As the caller says; what is on the list are the nodes of queues, which `f` does
    // not take off.
    unsafe {
        let mut next = (*all).next;
        while next != all {
            let shared = kernel::container_of!(Opaque::cast_from(next), Shared, node);
            next = (*next).next;
            f(shared.cast());
        }
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
