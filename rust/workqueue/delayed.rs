// SPDX-License-Identifier: GPL-2.0
//! Work items that can be delayed and cancelled.
//!
//! What waits for a timer is on a list of its queue, so that it can be cancelled when the
//! module goes. What is queued at once is not, and takes no lock: it is waited for.

use super::queue::{OwnedQueue, Shared};
use crate::bindings;
use core::marker::PhantomData;
use core::ptr;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Release};
use kernel::sync::{Arc, LockClassKey};
use kernel::time::Jiffies;
use kernel::types::{Opaque, ScopeGuard};

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

/// Where an item is on the list of what is delayed on its queue.
///
/// # Invariants
///
/// All but `listed` changes with the lock of the queue held. If it is on the list, `dwork` is
/// the item, and it is pending or about to take the lock in `raw_run`: in both cases its
/// struct is valid while the lock is held.
struct Link {
    node: bindings::list_head,
    /// Written with the lock held.
    listed: Atomic<i32>,
    dwork: *mut bindings::delayed_work,
    /// Drops the reference that the item owned.
    give_back: unsafe fn(*mut bindings::delayed_work),
}

/// Calls `f` with the lock of the queue held, and interrupts off.
fn with_lock<R>(shared: &Shared, f: impl FnOnce() -> R) -> R {
    // SAFETY: The lock is initialised.
    let flags = unsafe { bindings::queue_lock(shared.lock.get()) };
    // SAFETY: It was locked just now.
    let _unlock = ScopeGuard::new(|| unsafe { bindings::queue_unlock(shared.lock.get(), flags) });
    f()
}

impl Link {
    fn is_listed(&self) -> bool {
        self.listed.load(Acquire) != 0
    }

    /// # Safety
    ///
    /// `this` is valid and not listed; the lock is held.
    unsafe fn add(this: *mut Self, shared: &Shared) {
        // SAFETY: As the caller says.
        unsafe {
            bindings::list_add_tail(&raw mut (*this).node, shared.delayed.get());
            (*this).listed.store(1, Release);
        }
    }

    /// # Safety
    ///
    /// `this` is valid and listed; the lock is held.
    unsafe fn del(this: *mut Self) {
        // SAFETY: As the caller says.
        unsafe {
            bindings::list_del_init(&raw mut (*this).node);
            (*this).listed.store(0, Release);
        }
    }
}

/// Cancels what waits for a timer. Sleeps.
pub(super) fn cancel_all(shared: &Shared) {
    loop {
        let cancelled = with_lock(shared, || {
            // SAFETY: The list is initialised, and locked. What is on it is valid.
            unsafe {
                let first = (*shared.delayed.get()).next;
                if first == shared.delayed.get() {
                    return None;
                }
                let link = kernel::container_of!(first, Link, node);
                Link::del(link);
                let (dwork, give_back) = ((*link).dwork, (*link).give_back);
                // If not, it is about to run, and may be gone when the lock is released.
                Some(bindings::cancel_delayed_work(dwork).then_some((dwork, give_back)))
            }
        });
        match cancelled {
            None => return,
            Some(None) => (),
            // SAFETY: It was pending, so it owned a reference, which is ours now.
            Some(Some((dwork, give_back))) => unsafe { give_back(dwork) },
        }
    }
}

/// A work item, with a timer, inside a struct `T` that lives in an [`Arc`].
///
/// All operations but [`cancel_sync`] may be used in any context, softirq too.
///
/// # Invariants
///
/// While `dwork` is pending, it owns a reference to the `Arc<T>` that it is in, and while it
/// waits for the timer, `link` is on the list of the queue. It is never disabled.
///
/// [`cancel_sync`]: DelayedTask::cancel_sync
#[pin_data]
pub struct DelayedTask<T, const ID: u64 = 0> {
    #[pin]
    dwork: Opaque<bindings::delayed_work>,
    #[pin]
    link: Opaque<Link>,
    /// None if the code of the item may not run there: then it never does.
    queue: Option<Arc<OwnedQueue>>,
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
            link <- Opaque::ffi_init(|slot: *mut Link| {
                // SAFETY: `slot` is valid for writes. It is set up before it is listed.
                unsafe {
                    bindings::INIT_LIST_HEAD(&raw mut (*slot).node);
                    (&raw mut (*slot).listed).write(Atomic::new(0));
                    (&raw mut (*slot).dwork).write(ptr::null_mut());
                    (&raw mut (*slot).give_back).write(Self::give_back);
                }
            }),
            queue: Self::admitted(queue),
            _inner: PhantomData,
        })
    }

    /// The queue, if the code of the item is of its module.
    fn admitted(queue: Arc<OwnedQueue>) -> Option<Arc<OwnedQueue>> {
        let code: unsafe extern "C" fn(*mut bindings::work_struct) = Self::raw_run;
        if !queue.0.may_run(code as usize) {
            pr_err!("a work item on the queue of another module: it will never run\n");
            return None;
        }
        Some(queue)
    }

    /// Drops the reference that the item owned while it was pending.
    ///
    /// # Safety
    ///
    /// `dwork` is the item of a `Self`, and was pending until now.
    unsafe fn give_back(dwork: *mut bindings::delayed_work) {
        // SAFETY: By the invariants it owned a reference.
        drop(unsafe { Arc::from_raw(Self::container(dwork)) });
    }

    /// Takes it off the list of what is delayed, unless it is pending again.
    ///
    /// # Safety
    ///
    /// `this` points to a valid `T`.
    unsafe fn unlist(this: *const T) {
        // SAFETY: `this` is valid; the link is used as its invariants say.
        unsafe {
            let link = Self::link_of(this);
            let Some(shared) = Self::shared_of(this) else {
                return;
            };
            if (*link).is_listed() {
                with_lock(shared, || {
                    let work = &raw mut (*Self::of(this)).work;
                    if (*link).is_listed() && !bindings::work_is_pending(work) {
                        Link::del(link);
                    }
                });
            }
        }
    }

    /// Called by the work queue, in a worker, when the item is not pending any more; never
    /// for one item twice at the same time.
    ///
    /// # Safety
    ///
    /// `work` is part of an item that was queued by `submit`, and owned a reference, which
    /// is passed on.
    unsafe extern "C" fn raw_run(work: *mut bindings::work_struct) {
        // SAFETY: `work` is the first-level field of the `dwork` of a `Self`.
        let dwork = unsafe { kernel::container_of!(work, bindings::delayed_work, work) };
        // SAFETY: The item was queued by `submit` only, with the pointer that
        // `Self::of` computed from a pointer to `T`.
        let this = unsafe { Self::container(dwork) };
        // SAFETY: The reference that it owned is still there.
        unsafe { Self::unlist(this) };
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

    /// Where the item is on the list of what is delayed.
    ///
    /// # Safety
    ///
    /// `this` points to a valid `T`.
    unsafe fn link_of(this: *const T) -> *mut Link {
        // SAFETY: By `HasDelayedTask` there is a `Self` at that offset.
        unsafe {
            let task = this.cast::<u8>().add(T::OFFSET).cast::<Self>();
            Opaque::cast_into(&raw const (*task).link)
        }
    }

    /// The task's queue.
    ///
    /// # Safety
    ///
    /// `this` points to a `T` that is valid for `'a`.
    unsafe fn shared_of<'a>(this: *const T) -> Option<&'a Arc<Shared>> {
        // SAFETY: By `HasDelayedTask` there is a `Self` at that offset.
        let task = unsafe { &*this.cast::<u8>().add(T::OFFSET).cast::<Self>() };
        task.queue.as_ref().map(|queue| &queue.0)
    }

    /// Gives the reference to the queue if `f` says that the item became pending.
    fn submit(
        this: Arc<T>,
        f: impl FnOnce(*mut bindings::workqueue_struct, *mut bindings::delayed_work) -> bool,
    ) -> bool {
        let raw = Arc::into_raw(this);
        // SAFETY: `raw` is valid until the reference is given away, which happens
        // in `f` at the earliest.
        let (shared, dwork) = unsafe { (Self::shared_of(raw), Self::of(raw)) };
        // INVARIANT: If it became pending, it owns the reference.
        let queued = match shared {
            Some(shared) if !shared.is_closed() => f(shared.wq.as_ptr(), dwork),
            _ => false,
        };
        if !queued {
            // SAFETY: The reference was not taken.
            drop(unsafe { Arc::from_raw(raw) });
        }
        queued
    }

    /// As [`Self::submit`], for an item that will wait for the timer. `f` says whether it
    /// became pending, and whether it waits for the time that it was given.
    fn submit_delayed(
        this: Arc<T>,
        f: impl FnOnce(*mut bindings::workqueue_struct, *mut bindings::delayed_work) -> (bool, bool),
    ) -> bool {
        // SAFETY: `this` is valid.
        let Some(shared) = (unsafe { Self::shared_of(Arc::as_ptr(&this)) }).cloned() else {
            return false;
        };
        // SAFETY: As above.
        let link = unsafe { Self::link_of(Arc::as_ptr(&this)) };
        Self::submit(this, |queue, dwork| {
            with_lock(&shared, || {
                if shared.is_closed() {
                    return false;
                }
                // SAFETY: The item is valid until `f` gives the reference away; from then on
                // as its invariants say, since the lock is held.
                unsafe {
                    let was_listed = (*link).is_listed();
                    if !was_listed {
                        (*link).dwork = dwork;
                        Link::add(link, &shared);
                    }
                    let (queued, delayed) = f(queue, dwork);
                    if !delayed && !was_listed {
                        Link::del(link);
                    }
                    queued
                }
            })
        })
    }

    /// Runs the task now; false if it was pending already, or the module goes.
    pub fn queue(this: Arc<T>) -> bool {
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        Self::submit(this, |queue, dwork| {
            // SAFETY: Queue and item are valid; once pending, the item keeps both
            // alive. An item is never disabled, so false means pending.
            unsafe { bindings::queue_delayed_work_on(cpu, queue, dwork, 0) }
        })
    }

    /// Runs the task after `delay` jiffies; false if it was pending already, whose
    /// time stays as it is, or the module goes.
    pub fn queue_delayed(this: Arc<T>, delay: Jiffies) -> bool {
        if delay == 0 {
            return Self::queue(this);
        }
        if Self::is_pending(&this) {
            return false;
        }
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        Self::submit_delayed(this, |queue, dwork| {
            // SAFETY: As above.
            let queued = unsafe { bindings::queue_delayed_work_on(cpu, queue, dwork, delay) };
            (queued, queued)
        })
    }

    /// Runs the task `delay` jiffies from now, also if it was pending for another
    /// time; true if it was not pending.
    pub fn mod_delayed(this: Arc<T>, delay: Jiffies) -> bool {
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        let modify = |queue, dwork| {
            // SAFETY: As above. If it was pending, it still is, with the reference
            // that it has had; if not, it needs this one.
            unsafe { !bindings::mod_delayed_work_on(cpu, queue, dwork, delay) }
        };
        if delay == 0 {
            return Self::submit(this, modify);
        }
        Self::submit_delayed(this, |queue, dwork| (modify(queue, dwork), true))
    }

    /// Takes the task off the queue if it is pending, and returns the reference
    /// that the queue had. It may still be running.
    pub fn cancel(this: &Arc<T>) -> Option<Arc<T>> {
        let raw = Arc::as_ptr(this);
        // SAFETY: `raw` is valid.
        if unsafe { bindings::cancel_delayed_work(Self::of(raw)) } {
            // SAFETY: `raw` is valid.
            unsafe { Self::unlist(raw) };
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
