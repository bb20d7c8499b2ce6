// SPDX-License-Identifier: GPL-2.0
//! Locks of files: fcntl(2) and flock(2).
//!
//! Without [`Operations::lock`] and [`Operations::flock`] the VFS keeps locks by itself, among
//! the tasks of this machine. A file that others use too needs both:
//!
//! ```
//! use kernel_ext::errno::enolck;
//! use kernel_ext::fs::file::lock::{Kind, Request};
//!
//! /// Nobody keeps locks for all who use the file, so nobody gets one.
//! fn refuse(request: Request<'_>) -> Result {
//!     match request.kind() {
//!         Kind::Unlock => Ok(()),
//!         Kind::Read | Kind::Write => Err(enolck()),
//!     }
//! }
//! ```
//!
//! C header: [`include/linux/filelock.h`](srctree/include/linux/filelock.h)
//!
//! [`Operations::lock`]: super::Operations::lock
//! [`Operations::flock`]: super::Operations::flock

use crate::bindings;
use core::marker::PhantomData;
use kernel::ffi::c_int;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A lock that others may have too.
    Read,
    /// A lock that nobody else may have.
    Write,
    /// The end of a lock, or of a part of it.
    Unlock,
}

/// A request for a lock, or for its end.
///
/// # Invariants
///
/// `lock` is valid for `'a`.
pub struct Request<'a> {
    lock: *const bindings::file_lock,
    command: c_int,
    _p: PhantomData<&'a ()>,
}

impl Request<'_> {
    /// # Safety
    ///
    /// `lock` must be valid as long as the request.
    pub(super) unsafe fn from_raw(lock: *const bindings::file_lock, command: c_int) -> Self {
        // INVARIANT: The caller's obligation.
        Self {
            lock,
            command,
            _p: PhantomData,
        }
    }

    /// What is asked for.
    pub fn kind(&self) -> Kind {
        // SAFETY: By the invariant.
        match unsafe { bindings::file_lock_type(self.lock) } as u32 {
            bindings::F_UNLCK => Kind::Unlock,
            bindings::F_RDLCK => Kind::Read,
            _ => Kind::Write,
        }
    }

    /// True if it is only asked whether another one is in the way (`F_GETLK`).
    pub fn is_test(&self) -> bool {
        self.command == bindings::F_GETLK as c_int
    }

    /// True if whoever asks waits until the lock is free.
    pub fn waits(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { bindings::file_lock_waits(self.lock) }
    }
}
