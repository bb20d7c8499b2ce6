// SPDX-License-Identifier: GPL-2.0
//! Reading file data through netfs: the page cache and readahead.
//!
//! C header: [`include/linux/netfs.h`](srctree/include/linux/netfs.h)
//!
//! netfs cuts a read into subrequests, each no longer than
//! [`Operations::max_read`] says, and gives each to [`Operations::issue_read`] as a
//! [`Subrequest`]: a token that ends the subrequest exactly once, by [`ReadToken::end`]
//! or, with an error, when it is dropped. The pages belong to the token:
//! [`Subrequest::into_dest`] gives them away together with it, so whoever receives the
//! data cannot write to pages that netfs has back. How much was read is what the
//! destination says that it was given, so no page that nobody wrote counts as read.
//!
//! ```
//! use core::marker::PhantomData;
//! use kernel_ext::fs::netfs::{Inode, Operations, ReadToken, Subrequest};
//! use kernel_ext::fs::FileSystem;
//!
//! /// Files that are full of `x`.
//! struct Crosses<T>(PhantomData<T>);
//!
//! #[vtable]
//! impl<T: FileSystem<InodeBase = Inode>> Operations for Crosses<T> {
//!     type Fs = T;
//!     type Private = ();
//!
//!     fn issue_read(subrequest: Subrequest<T>) {
//!         // Usually `dest` is passed on to whoever receives the data.
//!         let mut dest = subrequest.into_dest();
//!         while dest.remaining() > 0 && dest.copy_from_slice(b"x").is_ok() {}
//!         Subrequest::<T>::end(dest, Ok(()));
//!     }
//! }
//! ```
//!
//! # How the module outlives netfs
//!
//! A request that has ended is freed by a work item on `system_dfl_wq`, which first gives
//! up its count at the inode (so the inode may be evicted, and the file system unmounted)
//! and then, without sleeping in between, calls `call_rcu`; the RCU callback reads the
//! request's `netfs_ops`, which are part of the module. So before the module goes, the
//! work items on that queue are waited for, and then the RCU callbacks: see
//! [`outlive_requests`]. Both happens when the [`super::Registration`] is dropped.

use super::inode::Uncounted;
use super::FileSystem;
use crate::bindings;
use crate::iov::IovDest;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};
use kernel::error::from_result;
use kernel::ffi::{c_int, c_ulong, c_void};
use kernel::prelude::*;
use kernel::types::ForeignOwnable;

mod inode;

pub use inode::Inode;

/// Waits until no work item of netfs is between giving up its inode and `call_rcu`.
///
/// To be called when no inode is left. `rcu_barrier` must follow.
pub(super) fn outlive_requests() {
    // SAFETY: The queue always exists. It is flushed while the module is removed, without
    // any lock.
    unsafe { bindings::__flush_workqueue(bindings::system_dfl_wq) };
}

/// What owns the destination of a part of a read until that has ended. Borrowed, it is
/// the inode. Who drops the destination ends the part with `EIO`.
pub trait ReadToken:
    for<'a> ForeignOwnable<Borrowed<'a> = &'a Uncounted<Self::Fs>> + Send + 'static
{
    /// The file system.
    type Fs: FileSystem;

    /// Ends the part whose destination this is. On success what was filled of it has been
    /// read; the rest reads as zeros (it is a hole, or beyond the end). Does not sleep. A
    /// destination of another kind is dropped.
    fn end(dest: IovDest, result: Result);
}

/// Why a read is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Ahead of what was asked for.
    Readahead,
    /// Into the page cache, and somebody waits.
    Page,
    /// Anything else.
    Other,
}

/// A read as a whole.
pub struct Request<'a, T: FileSystem> {
    raw: NonNull<bindings::netfs_io_request>,
    _p: PhantomData<&'a T>,
}

impl<'a, T: FileSystem> Request<'a, T> {
    /// The inode. netfs does not hold a reference, but who reads has its file, or has locked
    /// pages of it.
    pub fn inode(&self) -> &'a Uncounted<T> {
        // SAFETY: The request is valid for this call, and so is the inode.
        unsafe { Uncounted::from_raw((*self.raw.as_ptr()).inode) }
    }

    /// Where it begins.
    pub fn start(&self) -> u64 {
        // SAFETY: The request is valid for this call.
        unsafe { (*self.raw.as_ptr()).start }
    }

    /// How long it is.
    pub fn len(&self) -> u64 {
        // SAFETY: As above.
        unsafe { (*self.raw.as_ptr()).len }
    }

    /// True if it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Why it is done.
    pub fn origin(&self) -> Origin {
        // SAFETY: As above.
        origin(unsafe { (*self.raw.as_ptr()).origin })
    }
}

fn origin(raw: bindings::netfs_io_origin) -> Origin {
    match raw {
        bindings::netfs_io_origin_NETFS_READAHEAD => Origin::Readahead,
        bindings::netfs_io_origin_NETFS_READPAGE
        | bindings::netfs_io_origin_NETFS_READ_FOR_WRITE
        | bindings::netfs_io_origin_NETFS_READ_GAPS => Origin::Page,
        _ => Origin::Other,
    }
}

/// A part of a read that was given to the file system.
///
/// # Invariants
///
/// netfs waits for its end: it is in progress, and we own the reference that
/// `netfs_read_subreq_terminated` puts. It is valid, and its inode is not evicted, until
/// then.
pub struct Subrequest<T: FileSystem> {
    raw: NonNull<bindings::netfs_io_subrequest>,
    _p: PhantomData<fn() -> T>,
}

// SAFETY: A subrequest may be ended by any task.
unsafe impl<T: FileSystem> Send for Subrequest<T> {}

impl<T: FileSystem> Subrequest<T> {
    fn raw(&self) -> *mut bindings::netfs_io_subrequest {
        self.raw.as_ptr()
    }

    /// The inode. netfs does not hold a reference, but eviction waits for the subrequest.
    pub fn inode(&self) -> &Uncounted<T> {
        // SAFETY: By the invariant.
        unsafe { Uncounted::from_raw((*(*self.raw()).rreq).inode) }
    }

    /// Where in the file it begins: after what earlier attempts have read.
    pub fn start(&self) -> u64 {
        // SAFETY: By the invariant; we alone change it.
        unsafe {
            (*self.raw())
                .start
                .saturating_add((*self.raw()).transferred as u64)
        }
    }

    /// How many bytes are wanted.
    pub fn len(&self) -> usize {
        // SAFETY: As above.
        unsafe { (*self.raw()).len.saturating_sub((*self.raw()).transferred) }
    }

    /// True if nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often it was tried before.
    pub fn retries(&self) -> u8 {
        // SAFETY: As above.
        unsafe { (*self.raw()).retry_count }
    }

    /// Why it is done.
    pub fn origin(&self) -> Origin {
        // SAFETY: As above; the request outlives its subrequests.
        origin(unsafe { (*(*self.raw()).rreq).origin })
    }

    /// The memory that the data goes to, which takes the token along. The end is
    /// [`ReadToken::end`].
    pub fn into_dest(self) -> IovDest {
        // SAFETY: netfs reads into pages or kernel memory: never into memory of a user
        // address space. All of it stays until the subrequest, which is the owner, is ended,
        // and the iterator is copied.
        unsafe {
            let iter = ptr::read(&raw const (*self.raw()).io_iter);
            IovDest::from_iter(iter, 0, self)
        }
    }

    /// Ends it without success. Does not sleep.
    pub fn fail(self, error: Error) {
        // SAFETY: Nothing is said to be filled.
        unsafe { self.complete(Err(error)) }
    }

    /// Ends it. On success so many bytes have been read; if that is less than
    /// [`Subrequest::len`], the rest reads as zeros (it is a hole, or beyond the end).
    /// Does not sleep.
    ///
    /// # Safety
    ///
    /// On success the first bytes of its memory, as many as said, were written: netfs marks
    /// the pages as valid, so they are shown to whoever reads the file.
    unsafe fn complete(self, result: Result<usize>) {
        let raw = ManuallyDrop::new(self).raw.as_ptr();
        // SAFETY: By the invariant we own the subrequest. It is ended once, as `self` is
        // not dropped. netfs reads the fields after it has seen the end.
        unsafe {
            match result {
                Ok(read) => {
                    let wanted = (*raw).len.saturating_sub((*raw).transferred);
                    (*raw).transferred += read.min(wanted);
                    let mut flags: c_ulong = 1 << bindings::NETFS_SREQ_MADE_PROGRESS;
                    if read < wanted {
                        flags |= 1 << bindings::NETFS_SREQ_CLEAR_TAIL;
                        let end = (*raw).start.saturating_add((*raw).transferred as u64);
                        if end >= (*(*raw).rreq).i_size {
                            flags |= 1 << bindings::NETFS_SREQ_HIT_EOF;
                        }
                    }
                    // The other flags belong to netfs, which does not change them now.
                    (*raw).flags |= flags;
                    (*raw).error = 0;
                }
                Err(err) => (*raw).error = err.to_errno() as i16,
            }
            bindings::netfs_read_subreq_terminated(raw);
        }
    }
}

// SAFETY: The pointer is that of the subrequest, which is valid by the invariant.
unsafe impl<T: FileSystem> ForeignOwnable for Subrequest<T> {
    const FOREIGN_ALIGN: usize = core::mem::align_of::<bindings::netfs_io_subrequest>();
    type Borrowed<'a> = &'a Uncounted<T>;
    type BorrowedMut<'a> = &'a Uncounted<T>;

    fn into_foreign(self) -> *mut c_void {
        ManuallyDrop::new(self).raw.as_ptr().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // INVARIANT: The caller gives what `into_foreign` has returned, once.
        Self {
            // SAFETY: As above, so it is not null.
            raw: unsafe { NonNull::new_unchecked(ptr.cast()) },
            _p: PhantomData,
        }
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a Uncounted<T> {
        let raw: *mut bindings::netfs_io_subrequest = ptr.cast();
        // SAFETY: The caller says that the subrequest has not ended for `'a`.
        unsafe { Uncounted::from_raw((*(*raw).rreq).inode) }
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> &'a Uncounted<T> {
        // SAFETY: As the caller says.
        unsafe { Self::borrow(ptr) }
    }
}

impl<T: FileSystem> ReadToken for Subrequest<T> {
    type Fs = T;

    fn end(dest: IovDest, result: Result) {
        let filled = dest.filled();
        if let Ok(this) = dest.into_owner::<Self>() {
            // SAFETY: The owner is that of the destination, which was made of the memory of
            // the subrequest as it is (`into_dest`), and which counts what is written to it.
            unsafe { this.complete(result.map(|()| filled)) };
        }
    }
}

impl<T: FileSystem> Drop for Subrequest<T> {
    fn drop(&mut self) {
        // INVARIANT: `self` is not used any more, so there is one token still.
        let this = Self {
            raw: self.raw,
            _p: PhantomData,
        };
        this.fail(EIO);
    }
}

/// The operations of a regular file's data.
#[vtable]
pub trait Operations: Sized + 'static {
    /// The file system.
    type Fs: FileSystem<InodeBase = Inode>;
    /// What a request holds until it ends.
    type Private: ForeignOwnable + Send;

    /// A request begins. What it returns is dropped when the request ends, in a work item.
    fn begin(_request: &Request<'_, Self::Fs>) -> Result<Self::Private> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// How many bytes can be read at once, of `len` at `start`: at least one.
    fn max_read(_inode: &Uncounted<Self::Fs>, _start: u64, len: usize) -> usize {
        len
    }

    /// Reads. Called by the task that reads, for one subrequest after the other: what waits
    /// here for the end of one holds up those that follow.
    fn issue_read(subrequest: Subrequest<Self::Fs>);
}

/// The table of `O`.
const fn table<O: Operations>() -> *const bindings::netfs_request_ops {
    &Vtable::<O>::TABLE
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::netfs_request_ops = bindings::netfs_request_ops {
        init_request: if O::HAS_BEGIN {
            Some(Self::init_request)
        } else {
            None
        },
        free_request: if O::HAS_BEGIN {
            Some(Self::free_request)
        } else {
            None
        },
        prepare_read: Some(Self::prepare_read),
        issue_read: Some(Self::issue_read),
        // SAFETY: All members are nullable pointers.
        ..unsafe { MaybeUninit::zeroed().assume_init() }
    };

    /// Called by `netfs_alloc_request` in the task that reads, which holds the file or has locked
    /// folios of the inode: so that is not evicted, although it does not count the request yet. May
    /// sleep.
    ///
    /// # Safety
    ///
    /// `rreq` is new, for an inode with these operations, and nobody else uses it. It is valid
    /// during the call.
    unsafe extern "C" fn init_request(
        rreq: *mut bindings::netfs_io_request,
        _file: *mut bindings::file,
    ) -> c_int {
        from_result(|| {
            // SAFETY: netfs gives a valid request.
            let raw = unsafe { NonNull::new_unchecked(rreq) };
            let private = O::begin(&Request {
                raw,
                _p: PhantomData,
            })?;
            // SAFETY: As above; it is not used by others yet.
            unsafe { (*rreq).netfs_priv = private.into_foreign().cast() };
            Ok(0)
        })
    }

    /// Called by netfs, in a work item or in the task that read, before the inode is told that the
    /// request is gone. May sleep.
    ///
    /// # Safety
    ///
    /// [`Self::init_request`] was called for `rreq`, successfully. This is called once, after the
    /// last subrequest has ended.
    unsafe extern "C" fn free_request(rreq: *mut bindings::netfs_io_request) {
        // SAFETY: netfs calls it once, for a request whose `init_request` has succeeded.
        drop(unsafe { O::Private::from_foreign((*rreq).netfs_priv) });
    }

    /// Called by netfs in the task that reads, or in a work item that tries again, before
    /// [`Self::issue_read`]. May sleep.
    ///
    /// # Safety
    ///
    /// `subreq` and its request, which is for an inode with these operations, are valid during the
    /// call, and nobody else uses the former. The inode counts the request, so it is not evicted.
    unsafe extern "C" fn prepare_read(subreq: *mut bindings::netfs_io_subrequest) -> c_int {
        // SAFETY: netfs gives a valid subrequest that it works on alone, of a request for
        // one of our inodes.
        unsafe {
            let rreq = (*subreq).rreq;
            let done = (*subreq).transferred;
            let max = O::max_read(
                Uncounted::from_raw((*rreq).inode),
                (*subreq).start.saturating_add(done as u64),
                (*subreq).len.saturating_sub(done),
            );
            (*rreq).io_streams[0].sreq_max_len = max.max(1);
        }
        0
    }

    /// Called by netfs as [`Self::prepare_read`]. May sleep.
    ///
    /// # Safety
    ///
    /// `subreq` is in progress, of a request for an inode with these operations. It is valid, and
    /// its memory is nobody else's, until `netfs_read_subreq_terminated` is called for it, once,
    /// in any context; that puts the reference that comes with it. The inode counts the request,
    /// so it is not evicted before.
    unsafe extern "C" fn issue_read(subreq: *mut bindings::netfs_io_subrequest) {
        // SAFETY: netfs gives a valid subrequest.
        let raw = unsafe { NonNull::new_unchecked(subreq) };
        // INVARIANT: netfs has set it in progress and waits for its end, for which it has
        // given us a reference.
        O::issue_read(Subrequest {
            raw,
            _p: PhantomData,
        });
    }
}
