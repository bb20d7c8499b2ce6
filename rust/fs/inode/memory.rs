// SPDX-License-Identifier: GPL-2.0
//! What an inode is made of: the VFS inode, perhaps as a part of what a library of the kernel
//! keeps of it, then what we and the file system have.

use super::{InodeData, Key};
use crate::bindings;
use crate::fs::{registration, FileSystem};
use crate::pin_init::init_at;
use core::cell::UnsafeCell;
use core::mem::{align_of, size_of, MaybeUninit};
use core::ptr;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_uint, c_void};
use kernel::prelude::*;
use kernel::types::Opaque;

/// What the memory of all inodes of a file system begins with. It is one of [`Plain`] and
/// [`netfs::Inode`](crate::fs::netfs::Inode).
///
/// # Safety
///
/// The C inode is the first member. The functions do what they say.
pub unsafe trait Base: Sized + 'static {
    /// Makes it ready for an inode that is being allocated.
    ///
    /// # Safety
    ///
    /// `this` is valid, nobody else has it, and `inode_init_once` and, except for what the
    /// VFS does not look at then, `alloc_inode_sb` were called for it.
    #[doc(hidden)]
    unsafe fn init(this: *mut Self);

    /// Sets the size.
    ///
    /// # Safety
    ///
    /// The inode is valid, of a file system with this base. Its lock is not held.
    #[doc(hidden)]
    unsafe fn set_size(inode: *mut bindings::inode, size: i64);

    /// Waits until no library does I/O for an inode that is evicted; calls `give_up` if there
    /// is any. May sleep.
    ///
    /// # Safety
    ///
    /// As for [`set_size`](Self::set_size).
    #[doc(hidden)]
    unsafe fn wait_for_io(inode: *mut bindings::inode, give_up: impl FnOnce());

    /// Reads from the page cache, as `read_iter` of C.
    ///
    /// # Errors
    ///
    /// * `EINVAL` if the inode is no regular file whose pages can be read so, or the read is
    ///   direct.
    /// * What it is in C.
    ///
    /// # Safety
    ///
    /// Both are what the VFS has given `read_iter`, for an inode with this base.
    #[doc(hidden)]
    unsafe fn read_buffered(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> Result<usize>;
}

/// The VFS inode alone.
#[repr(transparent)]
pub struct Plain(Opaque<bindings::inode>);

// SAFETY: It is the C inode.
unsafe impl Base for Plain {
    unsafe fn init(_this: *mut Self) {}

    unsafe fn set_size(inode: *mut bindings::inode, size: i64) {
        // SAFETY: As the caller says.
        unsafe { bindings::inode_set_size(inode, size) };
    }

    unsafe fn wait_for_io(_inode: *mut bindings::inode, _give_up: impl FnOnce()) {}

    unsafe fn read_buffered(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> Result<usize> {
        // SAFETY: As the caller says; there is the operation that this calls.
        let ret = unsafe {
            if (*iocb).ki_flags & bindings::IOCB_DIRECT != 0
                || !crate::fs::mapping::has_pages((*iocb).ki_filp)
            {
                return Err(EINVAL);
            }
            bindings::filemap_read(iocb, iter, 0)
        };
        to_result(ret.min(0) as c_int)?;
        Ok(ret as usize)
    }
}

/// The memory of an inode.
#[repr(C)]
pub(super) struct Memory<T: FileSystem> {
    /// First; its first member is the VFS inode.
    base: T::InodeBase,
    /// For [`super_block::Inner::defer_iput`](crate::fs::super_block::Inner::defer_iput).
    pub(super) deferred: Opaque<bindings::llist_node>,
    /// Set before the inode can be found.
    pub(super) key: UnsafeCell<MaybeUninit<Key<T>>>,
    /// Set while the inode is allocated.
    pub(super) data: UnsafeCell<MaybeUninit<T::Inode>>,
}

/// # Safety
///
/// To be called by the slab allocator for a new object of the cache that [`create_cache`]
/// makes, once before its first use: nobody else has it. Any context.
unsafe extern "C" fn construct(memory: *mut c_void) {
    // SAFETY: The allocator calls it with an object of a cache for `Memory`, at whose
    // begin the inode is.
    unsafe { bindings::inode_init_once(memory.cast()) };
}

/// Makes the slab cache; null if there is no memory.
///
/// # Safety
///
/// It must be destroyed after the last inode.
pub(in crate::fs) unsafe fn create_cache<T: FileSystem>() -> *mut bindings::kmem_cache {
    // SAFETY: The name is static; the constructor fits.
    unsafe {
        bindings::inode_cache_create(
            T::NAME.as_char_ptr(),
            size_of::<Memory<T>>() as c_uint,
            align_of::<Memory<T>>() as c_uint,
            Some(construct),
        )
    }
}

/// `alloc_inode`.
///
/// # Safety
///
/// To be called by the VFS for a super block of `T`.
pub(in crate::fs) unsafe extern "C" fn alloc<T: FileSystem>(
    sb: *mut bindings::super_block,
) -> *mut bindings::inode {
    // SAFETY: The type of the super block is part of a registration.
    let cache = unsafe { registration::Inner::from_fs_type((*sb).s_type) }.cache;
    // SAFETY: The cache has objects for `Memory<T>`.
    let memory = unsafe { bindings::alloc_inode_sb(sb, cache, bindings::GFP_KERNEL) };
    let memory: *mut Memory<T> = memory.cast();
    if memory.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: The memory is ours; the part of the VFS inode has been constructed. The
    // data stays where it is until it is dropped in `free`.
    unsafe {
        T::InodeBase::init(&raw mut (*memory).base);
        let slot = (*(*memory).data.get()).as_mut_ptr();
        if init_at(T::Inode::init(), slot).is_err() {
            bindings::kfree(memory.cast());
            return ptr::null_mut();
        }
    }
    memory.cast()
}

/// `free_inode`.
///
/// # Safety
///
/// To be called by the VFS, from an RCU callback, for an inode that [`alloc`] has made.
pub(in crate::fs) unsafe extern "C" fn free<T: FileSystem>(inode: *mut bindings::inode) {
    let memory: *mut Memory<T> = inode.cast();
    // SAFETY: Nobody uses the inode any more. `kfree` takes objects of any cache.
    unsafe {
        (*(*memory).data.get()).assume_init_drop();
        bindings::kfree(memory.cast());
    }
}
