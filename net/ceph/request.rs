// SPDX-License-Identifier: GPL-2.0
//! The core of a request to a daemon: who asked for what and when, and an answer
//! that is given exactly once, to a task that waits or to a callback.
//!
//! ```text
//!            complete(): the callback is called
//!   Open ----------------------------------------> Over
//!    |                                              ^
//!    | complete(): the waiter is woken              | wait() takes the answer
//!    '-----------------> Answered ------------------'
//! ```
//!
//! Where a request is kept (by tid, by session) and how it is sent is its owner's
//! business.
use core::ops::Deref;
use kernel::{prelude::*, sync::SpinLock, time::Jiffies};
use kernel_ext::{
    sync::new_spinlock,
    task::{self, TaskRef},
    time,
    wait::{Completion, Reason, WaitTable},
};

/// Called once with the answer, in the context of whoever has it.
pub struct Callback<T>(Call<T>);

enum Call<T> {
    Function(fn(Result<T>)),
    Closure(KBox<dyn FnMut(Result<T>) + Send>),
}

impl<T> Callback<T> {
    /// Makes a callback of a closure.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(f: impl FnOnce(Result<T>) + Send + 'static) -> Result<Self> {
        // A `KBox<dyn FnOnce>` cannot be called, as a `Box` of the standard library
        // can.
        let mut f = Some(f);
        let call = move |answer| {
            if let Some(f) = f.take() {
                f(answer)
            }
        };
        Ok(Self(Call::Closure(KBox::new(call, GFP_KERNEL)?)))
    }

    /// Makes a callback of a function, which takes no memory.
    pub fn of(f: fn(Result<T>)) -> Self {
        Self(Call::Function(f))
    }

    /// Calls it.
    pub fn call(self, answer: Result<T>) {
        match self.0 {
            Call::Function(f) => f(answer),
            Call::Closure(mut f) => f(answer),
        }
    }
}

enum State<T> {
    Open(Option<Callback<T>>),
    Answered(Result<T>),
    Over,
}

/// Who asked for what, and when.
pub struct Submission {
    tid: u64,
    pid: i32,
    task: TaskRef,
    submitted: Jiffies,
    deadline: Option<Jiffies>,
    reason: Reason,
}

impl Submission {
    /// Of the current task, with a request that may take `limit` jiffies (`None`: for ever).
    pub fn new(tid: u64, reason: Reason, limit: Option<Jiffies>) -> Self {
        let submitted = time::jiffies();
        Self {
            tid,
            pid: task::current_pid(),
            task: TaskRef::current(),
            submitted,
            deadline: limit.map(|limit| submitted.wrapping_add(limit)),
            reason,
        }
    }

    /// Transaction id.
    pub fn tid(&self) -> u64 {
        self.tid
    }

    /// Number of the task that asked.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The task that asked, which may have ended meanwhile.
    pub fn submitter(&self) -> &TaskRef {
        &self.task
    }

    /// Whether it takes longer than it may: its owner has to end it with `ETIMEDOUT`,
    /// unless a task [waits](Request::wait), which does.
    pub fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(time::reached)
    }

    /// When it asked.
    pub fn submitted(&self) -> Jiffies {
        self.submitted
    }

    /// What it waits for.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// A request that several may have to do with; `T` is the answer. (One that has a single owner
/// at any time needs no more than a [`Submission`] and a [`Callback`].)
#[pin_data]
pub struct Request<T: Send + Unpin> {
    submission: Submission,
    #[pin]
    state: SpinLock<State<T>>,
    #[pin]
    done: Completion,
}

impl<T: Send + Unpin> Deref for Request<T> {
    type Target = Submission;

    fn deref(&self) -> &Submission {
        &self.submission
    }
}

impl<T: Send + Unpin> Request<T> {
    /// A request of the current task that may take `limit` jiffies (`None`: for ever),
    /// with a callback or, without, to be waited for.
    pub fn new(
        tid: u64,
        reason: Reason,
        limit: Option<Jiffies>,
        callback: Option<Callback<T>>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            submission: Submission::new(tid, reason, limit),
            state <- new_spinlock!(State::Open(callback), "ceph::Request::state"),
            done <- Completion::new(),
        })
    }

    /// Answers. Only the first answer counts; returns whether this was it. May
    /// call the callback, so no lock that it takes may be held.
    pub fn complete(&self, answer: Result<T>) -> bool {
        let mut state = self.state.lock();
        match core::mem::replace(&mut *state, State::Over) {
            State::Open(Some(callback)) => {
                drop(state);
                callback.call(answer);
                self.done.complete_all();
                true
            }
            State::Open(None) => {
                *state = State::Answered(answer);
                drop(state);
                self.done.complete_all();
                true
            }
            old => {
                *state = old;
                false
            }
        }
    }

    /// Whether it was answered.
    pub fn is_complete(&self) -> bool {
        !matches!(&*self.state.lock(), State::Open(_))
    }

    /// Waits until it is answered, or until the deadline.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed and `ETIMEDOUT`; then the owner has to
    /// forget the request and [`complete`](Self::complete) it.
    pub fn wait_until_answered(&self, waits: &WaitTable) -> Result {
        let left = self.deadline.map(|deadline| match time::reached(deadline) {
            true => 0,
            false => deadline.wrapping_sub(time::jiffies()),
        });
        self.done.wait(waits, self.reason, left)
    }

    /// As [`Self::wait_until_answered`], and takes the answer.
    ///
    /// # Errors
    ///
    /// Those of [`Self::wait_until_answered`]; else the answer's.
    pub fn wait(&self, waits: &WaitTable) -> Result<T> {
        self.wait_until_answered(waits)?;
        self.take()
    }

    /// Takes the answer, once.
    ///
    /// # Errors
    ///
    /// The answer's; `EINVAL` if there is none, or it was taken.
    pub fn take(&self) -> Result<T> {
        let mut state = self.state.lock();
        match core::mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => answer,
            old => {
                *state = old;
                Err(EINVAL)
            }
        }
    }
}

#[kunit_tests(ceph_request)]
mod tests {
    use super::*;
    use kernel::sync::Arc;

    #[test]
    fn the_first_answer_counts() -> Result {
        let waits = KBox::pin_init(WaitTable::new(), GFP_KERNEL)?;
        let request = Request::<u32>::new(7, Reason::default(), Some(2), None);
        let request = Arc::pin_init(request, GFP_KERNEL)?;
        assert!(!request.is_complete());
        assert!(request.wait(&waits) == Err(ETIMEDOUT));
        assert!(request.is_overdue());
        assert!(request.complete(Ok(1)));
        assert!(!request.complete(Ok(2)));
        assert!(request.is_complete());
        // The answer came after all.
        assert!(request.wait(&waits) == Ok(1));
        assert_eq!(waits.count(), 0);
        Ok(())
    }

    #[test]
    fn callbacks() -> Result {
        let seen = Arc::pin_init(new_spinlock!(0, "seen"), GFP_KERNEL)?;
        let copy = seen.clone();
        let callback =
            Callback::new(move |answer: Result<u32>| *copy.lock() += answer.unwrap_or(100))?;
        let request = Request::new(7, Reason::default(), None, Some(callback));
        let request = Arc::pin_init(request, GFP_KERNEL)?;
        assert!(!request.is_overdue());
        assert!(request.complete(Ok(3)));
        assert!(!request.complete(Err(EIO)));
        assert_eq!(*seen.lock(), 3);
        Ok(())
    }
}
