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

use kernel::prelude::*;

mod delayed;
mod module;
mod queue;

pub use crate::{impl_has_delayed_task, module_with_queues, new_delayed_task};
pub use delayed::{DelayedTask, HasDelayedTask, TaskHandler};
pub use module::{ModuleQueues, OwnsQueues};
pub use queue::{Flags, OwnedQueue, Queues};

#[kunit_tests(kernel_ext_workqueue)]
mod tests {
    use super::module::close_all;
    use super::*;
    use crate::bindings;
    use crate::time;
    use kernel::sync::atomic::{Atomic, Relaxed};
    use kernel::sync::Arc;
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
        let forgotten = core::mem::ManuallyDrop::new(queue.clone());
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
        // kmemleak watches the tests: what was forgotten is given back when all is over.
        drop(core::mem::ManuallyDrop::into_inner(forgotten));
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
