// SPDX-License-Identifier: GPL-2.0
//! Waiting with a reason.
//!
//! Every wait is killable, may have a limit, and shows in a [`WaitTable`] while it
//! lasts: who waits, since when, for what and on whom.
//!
//! ```
//! use kernel_ext::time;
//! use kernel_ext::wait::{Completion, Reason, WaitTable};
//!
//! fn wait_for_reply(waits: &WaitTable, done: &Completion, tid: u64) -> Result {
//!     let reason = Reason { what: "reply", whom: "server", id: tid, ino: 0 };
//!     done.wait(waits, reason, Some(time::secs(60)))
//! }
//! ```

use crate::task::{self, Comm};
use crate::{bindings, new_spinlock, time};
use core::ptr;
use kernel::prelude::*;
use kernel::sync::{LockClassKey, SpinLock};
use kernel::task::Task;
use kernel::time::Jiffies;
use kernel::types::{Opaque, ScopeGuard};

/// Why a task waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reason {
    /// What for, such as "reply".
    pub what: &'static str,
    /// On whom, such as "server"; may be empty.
    pub whom: &'static str,
    /// Request, session or map number; 0 if there is none.
    pub id: u64,
    /// Inode number; 0 if there is none.
    pub ino: u64,
}

/// A blocked task, as [`WaitTable::snapshot`] found it.
#[derive(Clone, Copy)]
pub struct Waiting {
    /// Its thread id, in the initial pid namespace.
    pub pid: i32,
    /// Its command name.
    pub comm: Comm,
    /// Why it waits.
    pub reason: Reason,
    /// For how long, in milliseconds.
    pub msecs: u64,
}

/// One blocked task, on the stack of that task.
struct Waiter {
    reason: Reason,
    task: *const Task,
    since: Jiffies,
    prev: *mut Waiter,
    next: *mut Waiter,
}

/// The list's ends.
///
/// # Invariants
///
/// All members, reachable by `next` from `first` and by `prev` from `last`, are
/// valid, and so are their tasks: a waiter leaves the list before its stack frame ends.
struct List {
    first: *mut Waiter,
    last: *mut Waiter,
}

// SAFETY: The pointers are only followed under the table's lock, and the waiters
// hold nothing that is bound to a thread.
unsafe impl Send for List {}

/// The tasks that are blocked on behalf of one client.
#[pin_data]
pub struct WaitTable {
    #[pin]
    list: SpinLock<List>,
}

impl WaitTable {
    /// An empty table.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: No members.
            list <- new_spinlock!(List { first: ptr::null_mut(), last: ptr::null_mut() }, "WaitTable"),
        })
    }

    /// Calls `f`, which blocks, with the current task in the table.
    pub fn during<R>(&self, reason: Reason, f: impl FnOnce() -> R) -> R {
        let mut waiter = Waiter {
            reason,
            task: &raw const **kernel::current!(),
            since: time::jiffies(),
            prev: ptr::null_mut(),
            next: ptr::null_mut(),
        };
        let waiter = &raw mut waiter;

        let mut list = self.list.lock();
        // SAFETY: `waiter` is a local that nobody else knows yet, and `list.last`
        // is a member or null.
        unsafe {
            (*waiter).prev = list.last;
            match list.last.as_mut() {
                Some(last) => last.next = waiter,
                None => list.first = waiter,
            }
        }
        // INVARIANT: Valid until the guard below removes it.
        list.last = waiter;
        drop(list);

        let _remove = ScopeGuard::new(|| {
            let mut list = self.list.lock();
            // SAFETY: We hold the lock; `waiter` is a member, and so are its
            // neighbours.
            unsafe {
                match (*waiter).prev.as_mut() {
                    Some(prev) => prev.next = (*waiter).next,
                    None => list.first = (*waiter).next,
                }
                match (*waiter).next.as_mut() {
                    Some(next) => next.prev = (*waiter).prev,
                    None => list.last = (*waiter).prev,
                }
            }
        });
        f()
    }

    /// Calls `f` for each blocked task: pid, command, reason, milliseconds. Under a
    /// spin lock: `f` must not sleep nor wait.
    pub fn for_each(&self, mut f: impl FnMut(i32, &Comm, &Reason, u64)) {
        self.walk(|waiter, task| {
            let msecs = time::to_msecs(time::elapsed(waiter.since));
            f(task.pid(), &Comm::of(task), &waiter.reason, msecs);
        });
    }

    fn walk(&self, mut f: impl FnMut(&Waiter, &Task)) {
        let list = self.list.lock();
        let mut next = list.first;
        // SAFETY: Members and their tasks are valid while we hold the lock.
        while let Some(waiter) = unsafe { next.as_ref() } {
            // SAFETY: As above.
            f(waiter, unsafe { &*waiter.task });
            next = waiter.next;
        }
    }

    /// Number of blocked tasks.
    pub fn count(&self) -> usize {
        let mut n = 0;
        self.walk(|_, _| n += 1);
        n
    }

    /// The blocked tasks, the longest first.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn snapshot(&self) -> Result<KVec<Waiting>> {
        let mut all = KVec::new();
        // Memory is not allocated under the lock: what has come meanwhile makes another
        // round necessary.
        loop {
            let count = self.count();
            all.clear();
            all.reserve(count, GFP_KERNEL)?;
            let mut complete = true;
            self.for_each(|pid, comm, reason, msecs| {
                let waiting = Waiting {
                    pid,
                    comm: *comm,
                    reason: *reason,
                    msecs,
                };
                complete &= all.push_within_capacity(waiting).is_ok();
            });
            if complete {
                return Ok(all);
            }
        }
    }
}

/// The longest time that the scheduler takes for "no limit".
const FOREVER: isize = isize::MAX;

fn limit(timeout: Option<Jiffies>) -> isize {
    timeout.map_or(FOREVER, |t| isize::try_from(t).unwrap_or(FOREVER))
}

/// An event that happens once and stays (`struct completion`).
#[pin_data]
pub struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion is there to be shared between threads.
unsafe impl Send for Completion {}
// SAFETY: As above; the C functions synchronise.
unsafe impl Sync for Completion {}

impl Completion {
    /// Not yet done.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::init_completion(slot) }
            }),
        })
    }

    /// It is done: wakes all who wait, now and later. Any context.
    pub fn complete_all(&self) {
        // SAFETY: `inner` is an initialised completion.
        unsafe { bindings::complete_all(self.inner.get()) }
    }

    /// Whether it is done.
    pub fn is_done(&self) -> bool {
        // SAFETY: `inner` is an initialised completion.
        unsafe { bindings::completion_done(self.inner.get()) }
    }

    /// Waits until it is done, at most `timeout` jiffies.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, `ETIMEDOUT`.
    pub fn wait(&self, table: &WaitTable, reason: Reason, timeout: Option<Jiffies>) -> Result {
        if self.is_done() {
            return Ok(());
        }
        table.during(reason, || self.wait_killable(timeout))
    }

    /// Waits until it is done, at most `timeout` jiffies, in no table: for waits whose reason
    /// shows in another way.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, `ETIMEDOUT`.
    pub fn wait_killable(&self, timeout: Option<Jiffies>) -> Result {
        // SAFETY: `inner` is an initialised completion.
        let left = unsafe {
            bindings::wait_for_completion_killable_timeout(
                self.inner.get(),
                limit(timeout) as usize,
            )
        };
        match left {
            1.. => Ok(()),
            0 => Err(ETIMEDOUT),
            _ => Err(EINTR),
        }
    }

    /// As [`wait_killable`](Self::wait_killable), but it cannot be killed: for ends that are
    /// near.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`.
    pub fn wait_uninterruptible(&self, timeout: Option<Jiffies>) -> Result {
        // SAFETY: `inner` is an initialised completion.
        match unsafe {
            bindings::wait_for_completion_timeout(self.inner.get(), limit(timeout) as usize)
        } {
            0 => Err(ETIMEDOUT),
            _ => Ok(()),
        }
    }
}

/// Creates a [`WaitQueue`] initialiser with a lock class of its own.
#[macro_export]
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::wait::WaitQueue::new($crate::static_name!($name), ::kernel::static_lock_class!())
    };
}
pub use crate::new_wait_queue;

/// Tasks that wait for conditions (`wait_queue_head_t`).
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue is there to be shared between threads.
unsafe impl Send for WaitQueue {}
// SAFETY: As above; the C functions synchronise.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Use [`new_wait_queue!`](crate::new_wait_queue).
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            head <- Opaque::ffi_init(|slot: *mut bindings::wait_queue_head| {
                // SAFETY: `slot` is valid for writes; name and key are static.
                unsafe { bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Waits until `cond` is true, at most `timeout` jiffies. `cond` may sleep; it is
    /// checked at the start and after each wake-up.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, `ETIMEDOUT`; not if `cond` is true.
    pub fn wait_until(
        &self,
        table: &WaitTable,
        reason: Reason,
        timeout: Option<Jiffies>,
        mut cond: impl FnMut() -> bool,
    ) -> Result {
        if cond() {
            return Ok(());
        }
        table.during(reason, || self.wait_slowly(limit(timeout), cond))
    }

    fn wait_slowly(&self, mut left: isize, mut cond: impl FnMut() -> bool) -> Result {
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        let entry = entry.get();
        // SAFETY: `entry` is a local that does not move, and is off the queue
        // before this function returns, by the guard.
        unsafe {
            bindings::woken_wait_init(entry);
            bindings::add_wait_queue(self.head.get(), entry);
        }
        let _remove = ScopeGuard::new(|| {
            // SAFETY: It is on this queue.
            unsafe { bindings::remove_wait_queue(self.head.get(), entry) }
        });
        loop {
            if cond() {
                return Ok(());
            }
            if task::fatal_signal_pending() {
                return Err(EINTR);
            }
            if left == 0 {
                return Err(ETIMEDOUT);
            }
            // SAFETY: The entry is initialised for wait_woken() and on the queue.
            left = unsafe { bindings::wait_woken(entry, bindings::TASK_KILLABLE, left) };
        }
    }

    /// Makes all who wait check their conditions. Any context.
    pub fn wake_all(&self) {
        // SAFETY: `head` is an initialised wait queue.
        unsafe {
            bindings::__wake_up(self.head.get(), bindings::TASK_NORMAL, 0, ptr::null_mut());
        }
    }
}

#[kunit_tests(kernel_ext_wait)]
mod tests {
    use super::*;
    use crate::workqueue::{Flags, OwnedQueue, Queues};
    use kernel::sync::atomic::{Acquire, Atomic, Release};
    use kernel::sync::Arc;

    #[pin_data]
    struct Shared {
        #[pin]
        waits: WaitTable,
        #[pin]
        done: Completion,
        #[pin]
        queue: WaitQueue,
        stage: Atomic<i32>,
    }

    fn shared() -> Result<Arc<Shared>> {
        Arc::pin_init(
            pin_init!(Shared {
                waits <- WaitTable::new(),
                done <- Completion::new(),
                queue <- new_wait_queue!("kernel_ext_test"),
                stage: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    const REASON: Reason = Reason {
        what: "test",
        whom: "",
        id: 7,
        ino: 0,
    };

    #[test]
    fn completion() -> Result {
        let s = shared()?;
        assert!(!s.done.is_done());
        assert!(matches!(s.done.wait(&s.waits, REASON, Some(1)), Err(e) if e == ETIMEDOUT));
        s.done.complete_all();
        s.done.wait(&s.waits, REASON, None)?;
        assert!(s.done.is_done());
        assert_eq!(s.waits.count(), 0);
        Ok(())
    }

    #[test]
    fn waiters_are_listed() -> Result {
        let s = shared()?;
        let work = OwnedQueue::new(Queues::TEST, c"kext_test", Flags::UNBOUND)?;
        let other = s.clone();
        work.try_spawn(GFP_KERNEL, move || {
            let _ = other.done.wait(&other.waits, REASON, None);
            other.stage.store(2, Release);
            other.queue.wake_all();
        })?;
        let mut seen = None;
        for _ in 0..1000 {
            // Wakes nobody: until the other task has registered, only time helps.
            let listed = s
                .queue
                .wait_until(&s.waits, REASON, Some(time::msecs(20)), || false);
            assert!(matches!(listed, Err(e) if e == ETIMEDOUT));
            s.waits
                .for_each(|pid, _, reason, _| seen = Some((pid, reason.id)));
            if seen.is_some() {
                break;
            }
        }
        assert!(matches!(seen, Some((pid, 7)) if pid != task::current_pid()));
        s.done.complete_all();
        s.queue
            .wait_until(&s.waits, REASON, None, || s.stage.load(Acquire) == 2)?;
        assert_eq!(s.waits.count(), 0);
        Ok(())
    }

    #[test]
    fn killed() -> Result {
        let s = shared()?;
        // SAFETY: A signal for the thread of this test, which is taken back below.
        unsafe { bindings::test_kill_current() };
        let completion = s.done.wait(&s.waits, REASON, None);
        let queue = s.queue.wait_until(&s.waits, REASON, None, || false);
        // What is there is not waited for.
        let there = s.queue.wait_until(&s.waits, REASON, None, || true);
        // SAFETY: As above.
        unsafe { bindings::test_unkill_current() };
        assert!(matches!(completion, Err(e) if e == EINTR));
        assert!(matches!(queue, Err(e) if e == EINTR));
        assert!(there.is_ok());
        assert_eq!(s.waits.count(), 0);
        Ok(())
    }

    #[test]
    fn nested_and_out_of_order() -> Result {
        let s = shared()?;
        s.waits.during(REASON, || {
            assert_eq!(s.waits.count(), 1);
            s.waits.during(REASON, || assert_eq!(s.waits.count(), 2));
            let all = s.waits.snapshot()?;
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].pid, task::current_pid());
            assert_eq!(all[0].reason.id, 7);
            assert_eq!(s.waits.count(), 1);
            Ok::<_, Error>(())
        })?;
        assert_eq!(s.waits.count(), 0);
        Ok(())
    }
}
