// SPDX-License-Identifier: GPL-2.0
//! Direct reads: into the memory of who reads, around the page cache.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)
//!
//! netfs can do this, too, but each read that nobody waits for costs two work items there.
//!
//! [`ReadIter::direct`](super::file::ReadIter::direct) pins the memory and cuts it into
//! parts as [`Operations::plan`] says. A part is an [`IovDest`] whose owner is a [`Token`];
//! [`ReadToken::end`] ends it, in any task. When the last one has ended, the task that
//! waits goes on, or, if none does, what the VFS has asked for is called.

use super::inode::Uncounted;
use super::netfs::{self, ReadToken};
use super::{registration, FileSystem};
use crate::bindings;
use crate::iov::{self, IovDest};
use crate::sync::new_spinlock;
use crate::wait::Completion;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Full, Relaxed};
use kernel::sync::{Arc, ArcBorrow, SpinLock};
use kernel::types::{ForeignOwnable, Opaque, ScopeGuard};

/// What a file system does in a direct read.
pub trait Operations: Sized + 'static {
    /// The file system.
    type Fs: FileSystem<InodeBase = netfs::Inode>;

    /// How to read a part.
    type Plan;

    /// How to read the first of `len` bytes at `start`, and how many of them, which is at
    /// least one. Called by the task that reads, for one part after the other.
    ///
    /// # Errors
    ///
    /// What the read shall end with, if there is nothing before that.
    fn plan(inode: &Uncounted<Self::Fs>, start: u64, len: usize) -> Result<(Self::Plan, usize)>;

    /// Reads as many bytes as there is room for. Called after [`plan`](Self::plan).
    fn read(plan: Self::Plan, dest: IovDest);

    /// The task will not wait for the end: what it holds for the read has to be held on.
    fn begin_async(inode: &Uncounted<Self::Fs>);

    /// The end of what [`begin_async`](Self::begin_async) began; by whoever ends the last
    /// part. Must not wait for a server.
    fn end_async(inode: &Uncounted<Self::Fs>);

    /// The task that waits for the end is being killed: the parts shall end soon.
    fn killed(inode: &Uncounted<Self::Fs>);
}

/// What keeps the memory of who reads: for that of a user, pinned pages.
///
/// # Invariants
///
/// `pages` is null, or an array of `count` pinned pages, which is ours.
struct Memory {
    pages: *mut bindings::bio_vec,
    count: usize,
    /// Pages are to be marked as written when they are given back, which takes their locks.
    /// They were before, so who writes them back knows; but that may be over already.
    set_dirty: bool,
}

// SAFETY: Pages may be written and given back by any task.
unsafe impl Send for Memory {}

impl Memory {
    /// Takes up to `len` bytes of what is left of an iterator, which moves on by as many, and
    /// gives an iterator of kernel memory, or of pages, for these.
    ///
    /// # Errors
    ///
    /// `EFAULT`, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `from` is a valid `ITER_DEST` iterator. What it describes, if that is not memory of
    /// a user, stays until this is not used any more.
    unsafe fn take(
        from: *mut bindings::iov_iter,
        len: usize,
    ) -> Result<(Self, bindings::iov_iter)> {
        // SAFETY: Promised by the caller; what is extracted is valid then.
        unsafe {
            if !bindings::iov_iter_user_backed(from) {
                let mut iter = ptr::read(from);
                bindings::iov_iter_truncate(&mut iter, len as u64);
                bindings::iov_iter_advance(from, iov::count(&iter));
                let memory = Self {
                    pages: ptr::null_mut(),
                    count: 0,
                    set_dirty: false,
                };
                return Ok((memory, iter));
            }
            // The array is as long as what is left.
            bindings::iov_iter_truncate(from, len as u64);
            let mut iter = MaybeUninit::<bindings::iov_iter>::uninit();
            let count = bindings::netfs_extract_user_iter(from, len, iter.as_mut_ptr(), 0);
            to_result(count.min(0) as c_int)?;
            let iter = iter.assume_init();
            let pages = iter
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .__bindgen_anon_1
                .bvec
                .cast_mut();
            bindings::bvec_set_dirty(pages, count as usize);
            // INVARIANT: So many pages were pinned.
            let memory = Self {
                pages,
                count: count as usize,
                set_dirty: true,
            };
            Ok((memory, iter))
        }
    }

    /// Nothing is written any more: whether no lock has to be taken to give it back.
    fn is_settled(&mut self) -> bool {
        // SAFETY: By the invariant.
        self.set_dirty &= !unsafe { bindings::bvec_is_dirty(self.pages, self.count) };
        !self.set_dirty
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.pages.is_null() {
            // SAFETY: By the invariant.
            unsafe {
                bindings::bvec_unpin(self.pages, self.count, self.set_dirty);
                bindings::kvfree(self.pages.cast());
            }
        }
    }
}

/// What has become of a read.
struct State {
    /// The first part that failed, by where it begins in the read.
    failed: Option<(usize, Error)>,
    /// None when the read has ended.
    memory: Option<Memory>,
}

/// A direct read.
///
/// # Invariants
///
/// Until [`finish`](Self::finish) the inode is valid: the reader's file holds it. `iocb` is
/// null if a task waits for the end, else it is valid until we complete it.
#[pin_data]
struct DirectRead<O: Operations> {
    inode: *mut bindings::inode,
    iocb: *mut bindings::kiocb,
    len: usize,
    /// Parts that have not ended, and one while there may be more of them.
    parts: Atomic<usize>,
    #[pin]
    state: SpinLock<State>,
    #[pin]
    done: Completion,
    /// For the end, if it may have to wait.
    #[pin]
    work: Opaque<bindings::work_struct>,
    _p: PhantomData<fn() -> O>,
}

// SAFETY: What the pointers are used for may be done by any task.
unsafe impl<O: Operations> Send for DirectRead<O> {}
// SAFETY: As above; what changes is locked.
unsafe impl<O: Operations> Sync for DirectRead<O> {}

impl<O: Operations> DirectRead<O> {
    fn result(&self) -> Result<usize> {
        match self.state.lock().failed {
            None => Ok(self.len),
            Some((0, error)) => Err(error),
            Some((read, _)) => Ok(read),
        }
    }

    fn fail(&self, at: usize, error: Error) {
        let mut state = self.state.lock();
        match state.failed {
            Some((first, _)) if first <= at => (),
            _ => state.failed = Some((at, error)),
        }
    }

    /// Counts what was counted in `parts` off. If it is the last, the read ends.
    fn count_off(self: &Arc<Self>) {
        if self.parts.fetch_sub(1, Full) > 1 {
            return;
        }
        if self.iocb.is_null() {
            self.done.complete_all();
            return;
        }
        let settled = match &mut self.state.lock().memory {
            Some(memory) => memory.is_settled(),
            None => true,
        };
        if settled {
            return self.finish();
        }
        // Who holds the lock of a page may wait for our caller, who takes in what OSDs say.
        // SAFETY: The inode and so its super block are valid, by the invariant. The work item
        // is initialised, is queued once, and gets the reference.
        unsafe {
            let fs_type = (*(*self.inode).i_sb).s_type;
            let this = Arc::into_raw(self.clone());
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                registration::Inner::from_fs_type(fs_type).queue,
                (*this).work.get(),
            );
        }
    }

    /// # Safety
    ///
    /// Called by the work queue, with the work item of a read whose parts have ended, and the
    /// reference that was given to it.
    unsafe extern "C" fn finish_later(work: *mut bindings::work_struct) {
        // SAFETY: The work item is embedded in a read; the reference is ours.
        let this =
            unsafe { Arc::from_raw(kernel::container_of!(Opaque::cast_from(work), Self, work)) };
        this.finish();
    }

    /// All parts have ended, and nobody waits. May take the locks of pages.
    fn finish(&self) {
        // SAFETY: By the invariant.
        O::end_async(unsafe { Uncounted::from_raw(self.inode) });
        self.put_memory();
        let result = self.result();
        // SAFETY: By the invariant; this is done once, and neither is used afterwards.
        unsafe {
            let iocb = self.iocb;
            if let Ok(read) = result {
                (*iocb).ki_pos = (*iocb).ki_pos.saturating_add(read as i64);
            }
            if let Some(complete) = (*iocb).ki_complete {
                let answer = result.map_or_else(|e| e.to_errno() as isize, |read| read as isize);
                complete(iocb, answer);
            }
        }
    }

    /// Gives the pages back, and lets a truncation go on that waits for that.
    fn put_memory(&self) {
        let memory = self.state.lock().memory.take();
        drop(memory);
        // SAFETY: By the invariant; it was begun by `start`, and this is called once.
        unsafe { bindings::inode_dio_end(self.inode) };
    }
}

/// The owner of the destination of a part.
pub struct Token<O: Operations>(Arc<DirectRead<O>>);

impl<O: Operations> Drop for Token<O> {
    fn drop(&mut self) {
        // Who ends it properly does not drop it, and says where it is.
        self.0.fail(0, EIO);
        self.0.count_off();
    }
}

// SAFETY: The pointer is that of the read.
unsafe impl<O: Operations> ForeignOwnable for Token<O> {
    const FOREIGN_ALIGN: usize = <Arc<DirectRead<O>> as ForeignOwnable>::FOREIGN_ALIGN;
    type Borrowed<'a> = &'a Uncounted<O::Fs>;
    type BorrowedMut<'a> = &'a Uncounted<O::Fs>;

    fn into_foreign(self) -> *mut c_void {
        self.into_read().into_foreign()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: As the caller says, `into_foreign` has returned it.
        Self(unsafe { Arc::from_foreign(ptr) })
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a Uncounted<O::Fs> {
        // SAFETY: As the caller says.
        let read: ArcBorrow<'a, DirectRead<O>> =
            unsafe { <Arc<DirectRead<O>> as ForeignOwnable>::borrow(ptr) };
        // SAFETY: The read goes on as long as the token is not given up.
        unsafe { Uncounted::from_raw(read.inode) }
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> &'a Uncounted<O::Fs> {
        // SAFETY: As the caller says.
        unsafe { Self::borrow(ptr) }
    }
}

impl<O: Operations> Token<O> {
    fn into_read(self) -> Arc<DirectRead<O>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used any more.
        unsafe { ptr::read(&this.0) }
    }
}

impl<O: Operations> ReadToken for Token<O> {
    type Fs = O::Fs;

    fn end(mut dest: IovDest, result: Result) {
        let at = dest.at();
        let result = result.and_then(|()| dest.zero_rest());
        if let Ok(this) = dest.into_owner::<Self>() {
            let read = this.into_read();
            if let Err(error) = result {
                read.fail(at, error);
            }
            read.count_off();
        }
    }
}

/// What has become of a read.
pub(super) enum Read {
    /// It goes on, and ends by itself.
    Queued,
    /// So many bytes were read.
    Ended(usize),
}

/// Reads.
///
/// # Errors
///
/// `ERESTARTSYS` before it has begun, `EFAULT`, `ENOMEM`; those of the parts.
///
/// # Safety
///
/// `iocb` and `iter` are what the VFS has given `read_iter`, for a file whose inode is of
/// netfs and of the file system of `O`.
pub(super) unsafe fn read<O: Operations>(
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> Result<Read> {
    // SAFETY: As the caller says; the file is open until this returns, even if the read ends
    // before.
    unsafe {
        let inode = (*(*iocb).ki_filp).f_inode;
        if wanted(inode, iocb, iter) == 0 {
            // Without a lock that keeps others from the page cache.
            return Ok(Read::Ended(0));
        }
        to_result(bindings::netfs_start_io_direct(inode))?;
        let _end = ScopeGuard::new(|| bindings::netfs_end_io_direct(inode));
        start::<O>(inode, iocb, iter)
    }
}

/// How many bytes there are to be read.
///
/// # Safety
///
/// As for [`read`], with the inode.
unsafe fn wanted(
    inode: *mut bindings::inode,
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> usize {
    // SAFETY: As the caller says.
    unsafe {
        let left = bindings::i_size_read(inode).saturating_sub((*iocb).ki_pos);
        iov::count(&*iter).min(usize::try_from(left).unwrap_or(0))
    }
}

/// # Safety
///
/// As for [`read`]. `raw` is the inode, locked for direct reads.
unsafe fn start<O: Operations>(
    raw: *mut bindings::inode,
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> Result<Read> {
    // SAFETY: As the caller says.
    let (inode, start, sync, (memory, mut rest)) = unsafe {
        let start = (*iocb).ki_pos;
        let len = wanted(raw, iocb, iter);
        if len == 0 {
            return Ok(Read::Ended(0));
        }
        to_result(bindings::kiocb_write_and_wait(iocb, len))?;
        bindings::file_accessed((*iocb).ki_filp);
        (
            Uncounted::<O::Fs>::from_raw(raw),
            u64::try_from(start)?,
            (*iocb).ki_complete.is_none(),
            Memory::take(iter, len)?,
        )
    };
    let len = iov::count(&rest);
    let state = State {
        failed: None,
        memory: Some(memory),
    };
    // INVARIANT: The caller holds the file of the inode until the end.
    let read = Arc::pin_init(
        try_pin_init!(DirectRead::<O> {
            inode: raw,
            iocb: if sync { ptr::null_mut() } else { iocb },
            len,
            parts: Atomic::new(1),
            state <- new_spinlock!(state, "direct::DirectRead::state"),
            done <- Completion::new(),
            work <- Opaque::ffi_init(|work| {
                // SAFETY: It is memory for a work item, which does not move.
                unsafe { bindings::fs_init_work(work, Some(DirectRead::<O>::finish_later)) }
            }),
            _p: PhantomData,
        }),
        GFP_KERNEL,
    )?;
    // SAFETY: The inode is valid; `put_memory` is called once in any case.
    unsafe { bindings::inode_dio_begin(raw) };
    if !sync {
        O::begin_async(inode);
    }
    let mut at = 0;
    while at < len && read.state.lock().failed.is_none() {
        let left = len.saturating_sub(at);
        let start = start.saturating_add(at as u64);
        let (plan, part) = match O::plan(inode, start, left) {
            Ok((plan, part)) => (plan, part.clamp(1, left)),
            Err(error) => {
                read.fail(at, error);
                break;
            }
        };
        read.parts.fetch_add(1, Relaxed);
        // SAFETY: Both are iterators of memory that stays until the last token, which owns
        // a part, is given up; no two parts overlap.
        let dest = unsafe {
            let mut iter = ptr::read(&rest);
            bindings::iov_iter_truncate(&mut iter, part as u64);
            bindings::iov_iter_advance(&mut rest, part);
            IovDest::from_iter(iter, at, Token(read.clone()))
        };
        O::read(plan, dest);
        at = at.saturating_add(part);
    }
    // From here on the read may have ended, if nobody waits for it.
    read.count_off();
    if !sync {
        return Ok(Read::Queued);
    }
    if read.done.wait_killable(None).is_err() {
        O::killed(inode);
        // Without a limit it has ended.
        let _ = read.done.wait_uninterruptible(None);
    }
    read.put_memory();
    let result = read.result()?;
    // SAFETY: The caller waits.
    unsafe {
        (*iocb).ki_pos = (*iocb).ki_pos.saturating_add(result as i64);
        bindings::task_io_account_read(result);
    }
    Ok(Read::Ended(result))
}
