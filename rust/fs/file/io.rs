// SPDX-License-Identifier: GPL-2.0
//! Reads of open files.

use crate::bindings;
use crate::fs::inode::{Base, Inode};
use crate::fs::{direct, mapping, netfs, FileSystem};
use core::cell::Cell;
use core::marker::PhantomData;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// What has become of one call of `read_iter` or `splice_read`. It outlives the token
/// that the file system gets, and decides what the VFS is told.
#[derive(Default)]
pub(super) struct Outcome {
    /// How many bytes the VFS was given.
    given: Cell<usize>,
    /// The read ends later, and owns what the VFS has passed.
    queued: Cell<bool>,
}

impl Outcome {
    /// Notes what one of the C functions has returned, which have ended what they did.
    pub(super) fn note(&self, ret: isize) -> Result<usize> {
        to_result(ret.min(0) as c_int)?;
        self.gave(ret as usize);
        Ok(ret as usize)
    }

    /// So many bytes more were given.
    fn gave(&self, bytes: usize) {
        self.given.set(self.given.get().saturating_add(bytes));
    }

    /// What the VFS is told when the file system says `result`. It takes both the number
    /// of bytes and `EIOCBQUEUED` at their word, so they have to be true.
    pub(super) fn answer(&self, result: Result<usize>) -> isize {
        if self.queued.get() {
            return EIOCBQUEUED.to_errno() as isize;
        }
        match result {
            Ok(n) => n.min(self.given.get()) as isize,
            Err(err) if err == EIOCBQUEUED => EIO.to_errno() as isize,
            Err(err) => err.to_errno() as isize,
        }
    }
}

/// A read of a file.
///
/// # Invariants
///
/// Position and iterator are valid, and ours, for `'a`. They are given to nobody else
/// before this ends.
pub struct ReadIter<'a, T: FileSystem> {
    pub(super) iocb: *mut bindings::kiocb,
    pub(super) iter: *mut bindings::iov_iter,
    pub(super) outcome: &'a Outcome,
    pub(super) _p: PhantomData<fn() -> T>,
}

impl<T: FileSystem> ReadIter<'_, T> {
    /// Where it begins.
    pub fn pos(&self) -> i64 {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_pos }
    }

    /// How many bytes are wanted, still.
    pub fn len(&self) -> usize {
        // SAFETY: By the invariant; all kinds of iterators have a count.
        unsafe {
            (*self.iter)
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }

    /// True if nothing is wanted any more.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for `O_DIRECT`.
    pub fn is_direct(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_flags & bindings::IOCB_DIRECT != 0 }
    }

    /// True if it must not wait.
    pub fn is_nowait(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_flags & bindings::IOCB_NOWAIT != 0 }
    }

    /// True if the caller waits for the end of the read.
    pub fn is_sync(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_complete.is_none() }
    }

    /// Reads from the page cache. Sleeps, unless [`ReadIter::is_nowait`].
    ///
    /// # Errors
    ///
    /// * `EINVAL` if the inode is not a regular file, or the read is direct.
    /// * `EAGAIN` if it must not wait.
    /// * Those of the file system's reads.
    pub fn buffered(&mut self) -> Result<usize> {
        // SAFETY: By the invariant, for a file of `T`.
        let read = unsafe { T::InodeBase::read_buffered(self.iocb, self.iter)? };
        self.outcome.gave(read);
        Ok(read)
    }

    /// Gives bytes; returns how many of them there was room for and could be stored.
    pub fn copy(&mut self, bytes: &[u8]) -> usize {
        let bytes = bytes.get(..self.len()).unwrap_or(bytes);
        // SAFETY: By the invariant; as many bytes are readable.
        let done =
            unsafe { bindings::_copy_to_iter(bytes.as_ptr().cast(), bytes.len(), self.iter) };
        self.gave(done)
    }

    /// Gives up to `bytes` zeros; returns how many there was room for.
    pub fn zero(&mut self, bytes: usize) -> usize {
        // SAFETY: By the invariant.
        let done = unsafe { bindings::iov_iter_zero(bytes.min(self.len()), self.iter) };
        self.gave(done)
    }

    /// Counts bytes that were given, and moves on by as many.
    fn gave(&mut self, done: usize) -> usize {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_pos = (*self.iocb).ki_pos.saturating_add(done as i64) };
        self.outcome.gave(done);
        done
    }
}

impl<T: FileSystem<InodeBase = netfs::Inode>> ReadIter<'_, T> {
    /// Reads around the page cache. It takes the read: if the caller does not wait for the
    /// end, it ends by itself.
    ///
    /// # Errors
    ///
    /// * `EINVAL` if the inode is not that of the file, or not a regular file.
    /// * `ERESTARTSYS` before it has begun.
    /// * `EIOCBQUEUED` if it goes on and ends later, which is what the VFS will be told then.
    /// * `EFAULT`, `ENOMEM`.
    /// * Those of the parts.
    pub fn direct<O: direct::Operations<Fs = T>>(self, inode: &Inode<T>) -> Result<usize> {
        // SAFETY: By the invariant, for a file of `T`.
        unsafe {
            let file = (*self.iocb).ki_filp;
            if (*file).f_inode != inode.as_ptr() || !mapping::has_pages(file) {
                return Err(EINVAL);
            }
        }
        // SAFETY: By the invariant, and as was seen. It is not used any more after this.
        match unsafe { direct::read::<O>(self.iocb, self.iter)? } {
            direct::Read::Queued => {
                self.outcome.queued.set(true);
                Err(EIOCBQUEUED)
            }
            direct::Read::Ended(read) => {
                self.outcome.gave(read);
                Ok(read)
            }
        }
    }
}

#[kernel::prelude::kunit_tests(kernel_ext_fs_file)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        let outcome = Outcome::default();
        assert_eq!(outcome.answer(Ok(5)), 0);
        assert!(matches!(outcome.note(4), Ok(4)));
        assert_eq!(outcome.answer(Ok(5)), 4);
        assert_eq!(outcome.answer(Ok(2)), 2);
        assert_eq!(outcome.answer(Err(EAGAIN)), -11);
        assert_eq!(outcome.answer(Err(EIOCBQUEUED)), -5);
        // What it ended with, by chance, is no sign that it goes on.
        assert!(matches!(outcome.note(-529), Err(e) if e == EIOCBQUEUED));
        assert_eq!(outcome.answer(Err(EIOCBQUEUED)), -5);
        // It goes on, whatever the file system says.
        outcome.queued.set(true);
        assert_eq!(outcome.answer(Ok(4)), -529);
        assert_eq!(outcome.answer(Err(EIO)), -529);
    }
}
