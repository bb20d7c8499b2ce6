// SPDX-License-Identifier: GPL-2.0
//! Work queues that a module owns, and work items that can be delayed and
//! cancelled.
//!
//! `kernel::workqueue` has neither `alloc_workqueue()` nor a way to cancel. Here a
//! [`DelayedTask`] is a field of a struct that lives in an [`Arc`]; while it is
//! pending, the queue holds one reference to that struct, which [`run`] gets or
//! [`DelayedTask::cancel_sync`] gives back. Nothing is waited for in `Drop`.
//!
//! # The end of a module
//!
//! A pending item owns its struct, which owns its queue: an item that nobody cancels would
//! outlive the module whose code it runs. So each queue belongs to a module, whose type is
//! made by [`module_with_queues!`]: when that is dropped, which no code of the module can
//! keep from happening, what is still delayed is cancelled, what runs is waited for, and
//! nothing is queued any more. Only code of that module can be queued.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)
//!
//! [`run`]: TaskHandler::run
//!
//! # Examples
//!
//! ```
//! use kernel::sync::Arc;
//! use kernel_ext::time;
//! use kernel_ext::workqueue::{
//!     impl_has_delayed_task, new_delayed_task, DelayedTask, Flags, OwnedQueue, Queues,
//!     TaskHandler,
//! };
//!
//! #[pin_data]
//! struct Ticker {
//!     #[pin]
//!     tick: DelayedTask<Ticker>,
//! }
//!
//! impl_has_delayed_task! { impl HasDelayedTask for Ticker { self.tick } }
//!
//! impl TaskHandler for Ticker {
//!     fn run(this: Arc<Self>) {
//!         DelayedTask::<Self>::queue_delayed(this, time::secs(5));
//!     }
//! }
//!
//! fn tick_for_a_while(queues: Queues) -> Result {
//!     let queue = OwnedQueue::new(queues, c"ticker", Flags::UNBOUND)?;
//!     let ticker = Arc::pin_init(
//!         pin_init!(Ticker { tick <- new_delayed_task!(queue, "ticker") }),
//!         GFP_KERNEL,
//!     )?;
//!     DelayedTask::<Ticker>::queue(ticker.clone());
//!     DelayedTask::<Ticker>::mod_delayed(ticker.clone(), time::secs(1));
//!     DelayedTask::<Ticker>::cancel_sync(&ticker);
//!     Ok(())
//! }
//! ```

use crate::bindings;
use core::ptr::{self, NonNull};
use kernel::alloc::Flags as AllocFlags;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed, Release};
use kernel::sync::Arc;
use kernel::types::Opaque;
use kernel::workqueue::Queue;

mod delayed;
mod module;

pub use crate::{impl_has_delayed_task, module_with_queues, new_delayed_task};
pub use delayed::{DelayedTask, HasDelayedTask, TaskHandler};
pub use module::{ModuleQueues, OwnsQueues, Queues};

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
/// (see [`delayed`]), and changes with `lock` held. `node` is on the list of all queues,
/// which owns a reference, until `destroyed`, or is on none.
#[pin_data]
struct Shared {
    wq: NonNull<bindings::workqueue_struct>,
    /// Whose code runs on it; null if that never goes.
    module: *mut bindings::module,
    /// The module goes: nothing is queued any more.
    closed: Atomic<i32>,
    /// The [`OwnedQueue`] is gone, and the one who closes has to destroy it. Guarded by the
    /// lock of the list of all queues.
    orphaned: Atomic<i32>,
    #[pin]
    lock: Opaque<bindings::spinlock_t>,
    #[pin]
    delayed: Opaque<bindings::list_head>,
    #[pin]
    node: Opaque<bindings::list_head>,
}

// SAFETY: Work queues are used from any thread; the rest is locked.
unsafe impl Send for Shared {}
// SAFETY: As above.
unsafe impl Sync for Shared {}

/// Calls `f` with the lock of the list of all queues, which sleeps, and its head.
fn with_registry<R>(f: impl FnOnce(*mut bindings::list_head) -> R) -> R {
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
    fn may_run(&self, code: usize) -> bool {
        // SAFETY: The module is there as long as it has queues, by the type's use.
        self.module.is_null() || unsafe { bindings::address_within_module(code, self.module) }
    }

    fn is_closed(&self) -> bool {
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
pub struct OwnedQueue(Arc<Shared>);

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

/// The module goes: cancels what is delayed on its queues, waits for what runs there, and
/// lets nothing be queued any more. Sleeps.
fn close_all(module: *mut bindings::module) {
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

#[kunit_tests(kernel_ext_workqueue)]
mod tests {
    use super::*;
    use crate::time;
    use kernel::sync::atomic::{Atomic, Relaxed};
    use kernel::sync::Completion;

    #[pin_data]
    struct Counter {
        #[pin]
        now: DelayedTask<Counter, 1>,
        #[pin]
        again: DelayedTask<Counter, 2>,
        runs: Atomic<i32>,
        #[pin]
        ran: Completion,
    }

    impl_has_delayed_task! {
        impl HasDelayedTask<1> for Counter { self.now }
        impl HasDelayedTask<2> for Counter { self.again }
    }

    impl TaskHandler<1> for Counter {
        fn run(this: Arc<Self>) {
            this.runs.fetch_add(1, Relaxed);
            this.ran.complete_all();
        }
    }

    impl TaskHandler<2> for Counter {
        fn run(this: Arc<Self>) {
            this.runs.fetch_add(100, Relaxed);
            DelayedTask::<Self, 2>::queue_delayed(this, 1);
        }
    }

    fn counter(queue: &Arc<OwnedQueue>) -> Result<Arc<Counter>> {
        Arc::pin_init(
            pin_init!(Counter {
                now <- new_delayed_task!(queue.clone(), "Counter::now"),
                again <- new_delayed_task!(queue.clone(), "Counter::again"),
                runs: Atomic::new(0),
                ran <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    #[test]
    fn runs_once_for_each_queueing() -> Result {
        let queue = OwnedQueue::new(
            Queues::TEST,
            c"kext_test",
            Flags::UNBOUND | Flags::MEM_RECLAIM,
        )?;
        let c = counter(&queue)?;
        assert!(DelayedTask::<_, 1>::queue(c.clone()));
        queue.flush();
        assert_eq!(c.runs.load(Relaxed), 1);
        assert!(DelayedTask::<_, 1>::queue_delayed(
            c.clone(),
            time::secs(3600)
        ));
        assert!(!DelayedTask::<_, 1>::queue(c.clone()));
        assert!(DelayedTask::<_, 1>::is_pending(&c));
        assert!(!DelayedTask::<_, 1>::mod_delayed(c.clone(), 0));
        queue.flush();
        assert!(DelayedTask::<_, 1>::cancel_sync(&c).is_none());
        assert_eq!(c.runs.load(Relaxed), 2);
        // All references came back.
        assert!(Arc::into_unique_or_drop(c).is_some());
        Ok(())
    }

    #[test]
    fn cancelling_gives_the_reference_back() -> Result {
        let queue = OwnedQueue::new(Queues::TEST, c"kext_test", Flags::ORDERED)?;
        let c = counter(&queue)?;
        assert!(DelayedTask::<_, 1>::mod_delayed(
            c.clone(),
            time::secs(3600)
        ));
        assert!(!DelayedTask::<_, 1>::mod_delayed(
            c.clone(),
            time::secs(1800)
        ));
        let back = DelayedTask::<_, 1>::cancel_sync(&c).ok_or(EINVAL)?;
        assert!(Arc::ptr_eq(&back, &c));
        assert!(DelayedTask::<_, 1>::cancel(&c).is_none());
        drop(back);
        assert_eq!(c.runs.load(Relaxed), 0);
        assert!(Arc::into_unique_or_drop(c).is_some());
        Ok(())
    }

    #[test]
    fn cancelling_one_that_requeues_itself() -> Result {
        let queue = OwnedQueue::new(Queues::TEST, c"kext_test", Flags::UNBOUND)?;
        for _ in 0..20 {
            let c = counter(&queue)?;
            assert!(DelayedTask::<_, 2>::queue(c.clone()));
            DelayedTask::<_, 1>::queue_delayed(c.clone(), 3);
            c.ran.wait_for_completion();
            DelayedTask::<_, 2>::cancel_sync(&c);
            DelayedTask::<_, 1>::cancel_sync(&c);
            assert!(!DelayedTask::<_, 2>::is_pending(&c));
            assert!(Arc::into_unique_or_drop(c).is_some());
        }
        Ok(())
    }

    #[test]
    fn closures() -> Result {
        let queue = OwnedQueue::new(Queues::TEST, c"kext_test", Flags::UNBOUND)?;
        let runs = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        for _ in 0..3 {
            let runs = runs.clone();
            queue.try_spawn(GFP_KERNEL, move || {
                runs.fetch_add(1, Relaxed);
            })?;
        }
        drop(queue);
        assert_eq!(runs.load(Relaxed), 3);
        Ok(())
    }

    #[test]
    fn a_module_goes_while_items_are_delayed() -> Result {
        // SAFETY: It is a module that has the code of the tests.
        let queues = Queues::of_test(unsafe { bindings::test_module(true) });
        let queue = OwnedQueue::new(queues, c"kext_test", Flags::UNBOUND)?;
        let c = counter(&queue)?;
        // Nobody cancels it, and what would be dropped in the end is forgotten.
        assert!(DelayedTask::<_, 1>::queue_delayed(
            c.clone(),
            time::secs(3600)
        ));
        assert!(DelayedTask::<_, 2>::queue(c.clone()));
        core::mem::forget(queue.clone());
        close_all(queues.module());
        let runs = c.runs.load(Relaxed);
        assert_eq!(runs % 100, 0);
        assert!(!DelayedTask::<_, 1>::is_pending(&c) && !DelayedTask::<_, 2>::is_pending(&c));
        // It is over for ever.
        assert!(!DelayedTask::<_, 1>::queue(c.clone()));
        assert!(!DelayedTask::<_, 1>::queue_delayed(c.clone(), 1));
        assert!(!DelayedTask::<_, 1>::mod_delayed(c.clone(), 1));
        assert!(queue.try_spawn(GFP_KERNEL, || {}).is_err());
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(30));
        assert_eq!(c.runs.load(Relaxed), runs);
        assert!(Arc::into_unique_or_drop(c).is_some());
        Ok(())
    }

    #[test]
    fn code_of_others_is_not_queued() -> Result {
        // SAFETY: It is a module that has no code.
        let elsewhere = unsafe { bindings::test_module(false) };
        let queue = OwnedQueue::new(Queues::of_test(elsewhere), c"kext_test", Flags::UNBOUND)?;
        let other = queue.try_spawn(GFP_KERNEL, || {});
        close_all(elsewhere);
        assert!(matches!(other, Err(e) if e == ENODEV));
        Ok(())
    }
}
