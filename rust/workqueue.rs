// SPDX-License-Identifier: GPL-2.0
//! Work queues that a module owns, and work items that can be delayed and
//! cancelled.
//!
//! `kernel::workqueue` has neither `alloc_workqueue()` nor a way to cancel. Here a
//! [`DelayedTask`] is a field of a struct that lives in an [`Arc`]; while it is
//! pending, the queue holds one reference to that struct, which [`run`] gets or
//! [`DelayedTask::cancel_sync`] gives back. Nothing is waited for in `Drop`.
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
//!     impl_has_delayed_task, new_delayed_task, DelayedTask, Flags, OwnedQueue, TaskHandler,
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
//! fn tick_for_a_while() -> Result {
//!     let queue = OwnedQueue::new(c"ticker", Flags::UNBOUND)?;
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
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::alloc::Flags as AllocFlags;
use kernel::prelude::*;
use kernel::sync::{Arc, LockClassKey};
use kernel::time::Jiffies;
use kernel::types::Opaque;
use kernel::workqueue::{Queue, RawWorkItem};

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

/// A work queue of our own; destroyed, after its items have run, on drop.
///
/// Keep one reference outside of the items: the last one must not be dropped by
/// an item that runs on this very queue, which would wait for itself.
///
/// # Invariants
///
/// The pointer is a live queue that only we destroy. No timer of a delayed item
/// refers to it once this is dropped: pending items own their struct, which owns
/// a reference to the queue.
pub struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: Work queues are used from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: Work queues synchronise their users.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Creates a queue. Items that can be delayed refer to it, so it is shared.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(name: &CStr, flags: Flags) -> Result<Arc<Self>> {
        let max_active = i32::from(flags.ordered());
        // SAFETY: `name` is a C string; the queue copies it.
        let ptr = unsafe { bindings::workqueue_alloc(name.as_char_ptr(), flags.0, max_active) };
        // INVARIANT: A new queue, nobody else knows it. If the allocation of the
        // `Arc` fails, this value is dropped and destroys it.
        let queue = Self(NonNull::new(ptr).ok_or(ENOMEM)?);
        Ok(Arc::new(queue, GFP_KERNEL)?)
    }

    fn as_queue(&self) -> &Queue {
        // SAFETY: By the invariants the queue lives as long as `self`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }

    /// Queues an item of the kernel crate's kind, without delay.
    pub fn enqueue<W, const ID: u64>(&self, w: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.as_queue().enqueue(w)
    }

    /// Runs a closure on the queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn try_spawn<F>(&self, flags: AllocFlags, func: F) -> Result
    where
        F: FnOnce() + Send + 'static,
    {
        Ok(self.as_queue().try_spawn(flags, func)?)
    }

    /// Waits until everything that was queued before has run (not what is still
    /// delayed). Sleeps.
    pub fn flush(&self) {
        // SAFETY: The queue is live.
        unsafe { bindings::__flush_workqueue(self.0.as_ptr()) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the invariants it is ours, and no timer refers to it. It
        // waits for the items that are queued.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}

/// What a task does when its time has come.
pub trait TaskHandler<const ID: u64 = 0>: Sized {
    /// Runs on the task's queue; never twice at the same time for one task.
    ///
    /// It owns the reference that was queued; the item may be queued again.
    fn run(this: Arc<Self>);
}

/// Says where in `Self` the task `ID` is. Implemented by
/// [`impl_has_delayed_task!`](crate::impl_has_delayed_task).
///
/// # Safety
///
/// `OFFSET` is the offset of a field of type `DelayedTask<Self, ID>`.
pub unsafe trait HasDelayedTask<const ID: u64 = 0>: Sized + Send + Sync + 'static {
    /// Offset of the field in bytes.
    const OFFSET: usize;
}

/// Implements [`HasDelayedTask`] for a struct with a field of type
/// `DelayedTask<Self, ID>`.
///
/// ```
/// use kernel_ext::workqueue::{impl_has_delayed_task, DelayedTask};
///
/// #[pin_data]
/// struct Connection {
///     #[pin]
///     work: DelayedTask<Connection, 1>,
/// }
///
/// impl_has_delayed_task! { impl HasDelayedTask<1> for Connection { self.work } }
/// ```
#[macro_export]
macro_rules! impl_has_delayed_task {
    ($(impl$({$($generics:tt)*})?
       HasDelayedTask$(<$id:tt>)?
       for $self:ty
       { self.$field:ident }
    )*) => {$(
        // SAFETY: `offset_of!` names a direct field; `TYPED` only compiles if that
        // field has the right type (no coercion applies to raw pointers).
        unsafe impl$(<$($generics)+>)? $crate::workqueue::HasDelayedTask$(<$id>)? for $self {
            const OFFSET: usize = {
                const fn typed$(<$($generics)+>)?(
                    this: &$self
                ) -> *const $crate::workqueue::DelayedTask<$self $(, $id)?> {
                    &raw const this.$field
                }
                let _: fn(&$self) -> *const $crate::workqueue::DelayedTask<$self $(, $id)?> =
                    typed;
                ::core::mem::offset_of!($self, $field)
            };
        }
    )*};
}
pub use crate::impl_has_delayed_task;

/// Creates a [`DelayedTask`] initialiser: `new_delayed_task!(queue, "name")`, with
/// a lock class of its own.
#[macro_export]
macro_rules! new_delayed_task {
    ($queue:expr, $name:literal) => {
        $crate::workqueue::DelayedTask::new(
            $queue,
            $crate::static_name!($name),
            ::kernel::static_lock_class!(),
            $crate::static_name!(::core::concat!($name, "_timer")),
            ::kernel::static_lock_class!(),
        )
    };
}
pub use crate::new_delayed_task;

/// A work item, with a timer, inside a struct `T` that lives in an [`Arc`].
///
/// All operations but [`cancel_sync`] may be used in any context, softirq too.
///
/// # Invariants
///
/// While `dwork` is pending, it owns a reference to the `Arc<T>` that it is in.
/// It is never disabled.
///
/// [`cancel_sync`]: DelayedTask::cancel_sync
#[pin_data]
pub struct DelayedTask<T, const ID: u64 = 0> {
    #[pin]
    dwork: Opaque<bindings::delayed_work>,
    queue: Arc<OwnedQueue>,
    _inner: PhantomData<fn(T)>,
}

// SAFETY: A work item may be used from any thread; there is no `T` in it.
unsafe impl<T, const ID: u64> Send for DelayedTask<T, ID> {}
// SAFETY: As above; the C functions synchronise.
unsafe impl<T, const ID: u64> Sync for DelayedTask<T, ID> {}

impl<T, const ID: u64> DelayedTask<T, ID>
where
    T: HasDelayedTask<ID> + TaskHandler<ID>,
{
    /// Use [`new_delayed_task!`](crate::new_delayed_task).
    pub fn new(
        queue: Arc<OwnedQueue>,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        timer_name: &'static CStr,
        timer_key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            dwork <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is valid for writes; names and keys are static.
                // `raw_run` fits the way in which items are queued here.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*slot).work,
                        Some(Self::raw_run),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    );
                    bindings::timer_init_key(
                        &raw mut (*slot).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        timer_name.as_char_ptr(),
                        timer_key.as_ptr(),
                    );
                }
            }),
            queue,
            _inner: PhantomData,
        })
    }

    /// # Safety
    ///
    /// Only the work queue code calls it, for an item that `submit` queued.
    unsafe extern "C" fn raw_run(work: *mut bindings::work_struct) {
        // SAFETY: `work` is the first-level field of the `dwork` of a `Self`.
        let dwork = unsafe { kernel::container_of!(work, bindings::delayed_work, work) };
        // SAFETY: The item was queued by `submit` only, with the pointer that
        // `Self::of` computed from a pointer to `T`.
        let this = unsafe { Self::container(dwork) };
        // SAFETY: By the invariants the pending item owned a reference, made by
        // `Arc::into_raw`. It is not pending any more.
        T::run(unsafe { Arc::from_raw(this) })
    }

    /// The struct that the item is in.
    ///
    /// # Safety
    ///
    /// `dwork` was computed by [`Self::of`].
    unsafe fn container(dwork: *mut bindings::delayed_work) -> *const T {
        // SAFETY: `dwork` is the field of a `Self`, as `of` has computed it.
        let task =
            unsafe { kernel::container_of!(Opaque::cast_from(dwork).cast_mut(), Self, dwork) };
        // SAFETY: By `HasDelayedTask` the task is at that offset of a `T`.
        unsafe { task.cast::<u8>().sub(T::OFFSET).cast::<T>() }
    }

    /// The item in a `T`.
    ///
    /// # Safety
    ///
    /// `this` points to a valid `T`.
    unsafe fn of(this: *const T) -> *mut bindings::delayed_work {
        // SAFETY: By `HasDelayedTask` there is a `Self` at that offset.
        let task = unsafe { this.cast::<u8>().add(T::OFFSET).cast::<Self>() };
        // SAFETY: `task` is valid.
        Opaque::cast_into(unsafe { &raw const (*task).dwork })
    }

    /// The task's queue.
    ///
    /// # Safety
    ///
    /// `this` points to a valid `T`.
    unsafe fn queue_of(this: *const T) -> *mut bindings::workqueue_struct {
        // SAFETY: By `HasDelayedTask` there is a `Self` at that offset.
        unsafe {
            (*this.cast::<u8>().add(T::OFFSET).cast::<Self>())
                .queue
                .0
                .as_ptr()
        }
    }

    /// Gives the reference to the queue if `f` says that the item became pending.
    fn submit(
        this: Arc<T>,
        f: impl FnOnce(*mut bindings::workqueue_struct, *mut bindings::delayed_work) -> bool,
    ) -> bool {
        let raw = Arc::into_raw(this);
        // SAFETY: `raw` is valid until the reference is given away, which happens
        // in `f` at the earliest.
        let (queue, dwork) = unsafe { (Self::queue_of(raw), Self::of(raw)) };
        // INVARIANT: If it became pending, it owns the reference.
        let queued = f(queue, dwork);
        if !queued {
            // SAFETY: The reference was not taken.
            drop(unsafe { Arc::from_raw(raw) });
        }
        queued
    }

    /// Runs the task now; false if it was pending already.
    pub fn queue(this: Arc<T>) -> bool {
        Self::queue_delayed(this, 0)
    }

    /// Runs the task after `delay` jiffies; false if it was pending already, whose
    /// time stays as it is.
    pub fn queue_delayed(this: Arc<T>, delay: Jiffies) -> bool {
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        Self::submit(this, |queue, dwork| {
            // SAFETY: Queue and item are valid; once pending, the item keeps both
            // alive. An item is never disabled, so false means pending.
            unsafe { bindings::queue_delayed_work_on(cpu, queue, dwork, delay) }
        })
    }

    /// Runs the task `delay` jiffies from now, also if it was pending for another
    /// time; true if it was not pending.
    pub fn mod_delayed(this: Arc<T>, delay: Jiffies) -> bool {
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        Self::submit(this, |queue, dwork| {
            // SAFETY: As above. If it was pending, it still is, with the reference
            // that it has had; if not, it needs this one.
            unsafe { !bindings::mod_delayed_work_on(cpu, queue, dwork, delay) }
        })
    }

    /// Takes the task off the queue if it is pending, and returns the reference
    /// that the queue had. It may still be running.
    pub fn cancel(this: &Arc<T>) -> Option<Arc<T>> {
        let raw = Arc::as_ptr(this);
        // SAFETY: `raw` is valid.
        if unsafe { bindings::cancel_delayed_work(Self::of(raw)) } {
            // SAFETY: By the invariants the item owned this reference, and is not
            // pending any more.
            Some(unsafe { Arc::from_raw(raw) })
        } else {
            None
        }
    }

    /// Takes the task off the queue and waits until it does not run. Returns the
    /// reference of the queue if it was pending.
    ///
    /// Sleeps; must not be called from the task itself. A task that queues itself
    /// again without delay must have been told to stop before.
    pub fn cancel_sync(this: &Arc<T>) -> Option<Arc<T>> {
        // Not cancel_delayed_work_sync(): it disables the item meanwhile, and
        // mod_delayed_work_on() cannot tell its caller that it did nothing.
        let mut pending = Self::cancel(this);
        loop {
            // SAFETY: The item is valid.
            let ran = unsafe { bindings::flush_work(&raw mut (*Self::of(Arc::as_ptr(this))).work) };
            match Self::cancel(this) {
                Some(again) => pending = Some(again),
                None if !ran => return pending,
                None => {}
            }
        }
    }

    /// Whether the task waits for its time or for a worker.
    pub fn is_pending(this: &Arc<T>) -> bool {
        // SAFETY: The item is valid.
        unsafe { bindings::work_is_pending(&raw mut (*Self::of(Arc::as_ptr(this))).work) }
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
        let queue = OwnedQueue::new(c"kext_test", Flags::UNBOUND | Flags::MEM_RECLAIM)?;
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
        let queue = OwnedQueue::new(c"kext_test", Flags::ORDERED)?;
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
        let queue = OwnedQueue::new(c"kext_test", Flags::UNBOUND)?;
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
        let queue = OwnedQueue::new(c"kext_test", Flags::UNBOUND)?;
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
}
