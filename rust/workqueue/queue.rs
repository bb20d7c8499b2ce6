// SPDX-License-Identifier: GPL-2.0
//! Work queues, and the list of all of them.

use crate::bindings;
use core::ptr::NonNull;
use kernel::alloc::Flags as AllocFlags;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;
use kernel::types::Opaque;
use kernel::workqueue::Queue;

/// The right to make work queues for a module.
///
/// # Invariants
///
/// [`close_all`](super::module::close_all) is called for the module before it goes, or it never goes.
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
    pub(crate) const TEST: Self = Self(core::ptr::null_mut());

    /// For tests of the end of a module.
    pub(super) fn of_test(module: *mut bindings::module) -> Self {
        // INVARIANT: The test calls `close_all`.
        Self(module)
    }
}

/// How a queue behaves (`WQ_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u32);

impl Flags {
    /// Bound to the CPU that queues, one worker pool for each.
    pub const PERCPU: Flags = Flags(bindings::wq_flags_WQ_PERCPU);
    /// Workers of any CPU.
    pub const UNBOUND: Flags = Flags(bindings::wq_flags_WQ_UNBOUND);
    /// Has a rescuer thread: makes progress when no memory is left for workers.
    pub const MEM_RECLAIM: Flags = Flags(bindings::wq_flags_WQ_MEM_RECLAIM);
    /// One item at a time, in the order of queueing (implies `UNBOUND`).
    pub const ORDERED: Flags =
        Flags(bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED);

    fn ordered(self) -> bool {
        self.0 & bindings::wq_flags___WQ_ORDERED != 0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// What there is of a queue: shared by its [`OwnedQueue`] and the list of all queues.
///
/// # Invariants
///
/// `wq` is a live queue until `destroyed`. `delayed` has the items that wait for a timer
/// (see [`super::delayed`]), and changes with `lock` held. `node` is on the list of all queues,
/// which owns a reference, until `destroyed`, or is on none.
#[pin_data]
pub(super) struct Shared {
    pub(super) wq: NonNull<bindings::workqueue_struct>,
    /// Whose code runs on it; null if that never goes.
    pub(super) module: *mut bindings::module,
    /// The module goes: nothing is queued any more.
    pub(super) closed: Atomic<i32>,
    /// The [`OwnedQueue`] is gone, and the one who closes has to destroy it. Guarded by the
    /// lock of the list of all queues.
    pub(super) orphaned: Atomic<i32>,
    #[pin]
    pub(super) lock: Opaque<bindings::spinlock_t>,
    #[pin]
    pub(super) delayed: Opaque<bindings::list_head>,
    #[pin]
    pub(super) node: Opaque<bindings::list_head>,
}

// SAFETY: Work queues are used from any thread; the rest is locked.
unsafe impl Send for Shared {}
// SAFETY: As above.
unsafe impl Sync for Shared {}

/// Calls `f` with the lock of the list of all queues, which sleeps, and its head.
pub(super) fn with_registry<R>(f: impl FnOnce(*mut bindings::list_head) -> R) -> R {
    // SAFETY: Lock and list are static.
    unsafe {
        bindings::queue_registry_lock();
        let result = f(bindings::queue_registry());
        bindings::queue_registry_unlock();
        result
    }
}

impl Shared {
    /// Whether code at this address is code of the queue's module, and so may be queued.
    pub(super) fn may_run(&self, code: usize) -> bool {
        // SAFETY: The module is there as long as it has queues, by the type's use.
        self.module.is_null() || unsafe { bindings::address_within_module(code, self.module) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed) != 0
    }
}

/// A work queue of our own; destroyed, after its items have run, on drop.
///
/// Keep one reference outside of the items: the last one must not be dropped by
/// an item that runs on this very queue, which would wait for itself.
///
/// # Invariants
///
/// The queue is live, and only we destroy it, unless the module goes first. No timer of a
/// delayed item refers to it once this is dropped: pending items own their struct, which
/// owns a reference to this.
pub struct OwnedQueue(pub(super) Arc<Shared>);

impl OwnedQueue {
    /// Creates a queue. Items that can be delayed refer to it, so it is shared.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(queues: Queues, name: &CStr, flags: Flags) -> Result<Arc<Self>> {
        let max_active = i32::from(flags.ordered());
        // SAFETY: `name` is a C string; the queue copies it.
        let wq = unsafe { bindings::workqueue_alloc(name.as_char_ptr(), flags.0, max_active) };
        let wq = NonNull::new(wq).ok_or(ENOMEM)?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                wq,
                module: queues.module(),
                closed: Atomic::new(0),
                orphaned: Atomic::new(0),
                // SAFETY: The memory is valid for writes.
                lock <- Opaque::ffi_init(|slot| unsafe { bindings::queue_lock_init(slot) }),
                // SAFETY: As above.
                delayed <- Opaque::ffi_init(|slot| unsafe { bindings::INIT_LIST_HEAD(slot) }),
                // SAFETY: As above.
                node <- Opaque::ffi_init(|slot| unsafe { bindings::INIT_LIST_HEAD(slot) }),
            }),
            GFP_KERNEL,
        )
        // SAFETY: It is new, and nobody else knows it.
        .inspect_err(|_| unsafe { bindings::destroy_workqueue(wq.as_ptr()) })?;
        with_registry(|all| {
            let listed = Arc::into_raw(shared.clone());
            // SAFETY: The list is locked, the node is new, and stays where it is.
            unsafe { bindings::list_add_tail((*listed).node.get(), all) };
        });
        // INVARIANT: A new queue, nobody else knows it. If the allocation fails, this value is
        // dropped and destroys it.
        Ok(Arc::new(Self(shared), GFP_KERNEL)?)
    }

    fn as_queue(&self) -> &Queue {
        // SAFETY: By the invariants the queue lives as long as `self`.
        unsafe { Queue::from_raw(self.0.wq.as_ptr()) }
    }

    /// One more queue of the same module.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn sibling(&self, name: &CStr, flags: Flags) -> Result<Arc<Self>> {
        Self::new(Queues::of(self.0.module), name, flags)
    }

    /// Runs a closure on the queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` if the module goes, or the closure is not of the module of the
    /// queue.
    pub fn try_spawn<F>(&self, flags: AllocFlags, func: F) -> Result
    where
        F: FnOnce() + Send + 'static,
    {
        /// Is in the module that has the closure.
        fn call<F: FnOnce()>(func: F) {
            func()
        }
        if self.0.is_closed() || !self.0.may_run(call::<F> as fn(F) as usize) {
            return Err(ENODEV);
        }
        Ok(self.as_queue().try_spawn(flags, move || call(func))?)
    }

    /// Waits until everything that was queued before has run (not what is still
    /// delayed). Sleeps.
    pub fn flush(&self) {
        // SAFETY: The queue is live.
        unsafe { bindings::__flush_workqueue(self.0.wq.as_ptr()) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        let ours = with_registry(|_| {
            if self.0.is_closed() {
                // Who closes it uses it, and destroys it then.
                self.0.orphaned.store(1, Relaxed);
                return false;
            }
            // SAFETY: The list is locked; its reference is taken over.
            unsafe {
                bindings::list_del_init(self.0.node.get());
                drop(Arc::from_raw(Arc::as_ptr(&self.0)));
            }
            true
        });
        if ours {
            // SAFETY: By the invariants it is ours, and no timer refers to it. It
            // waits for the items that are queued.
            unsafe { bindings::destroy_workqueue(self.0.wq.as_ptr()) }
        }
    }
}
