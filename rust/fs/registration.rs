// SPDX-License-Identifier: GPL-2.0
//! Registration of a file system type.

use super::{context, inode, super_block, FileSystem};
use crate::bindings;
use core::marker::PhantomData;
use core::ptr;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::types::Opaque;

/// A registered file system type, to be kept in the module's state.
///
/// # Invariants
///
/// `fs_type` is registered; `cache` and `queue` are valid and made for `T`.
pub struct Registration<T: FileSystem> {
    // In a box of its own: the VFS keeps pointers to it.
    inner: Pin<KBox<Inner>>,
    _p: PhantomData<fn() -> T>,
}

/// # Invariants
///
/// `fs_type` is the first field, so a pointer to it is a pointer to this.
#[repr(C)]
pub(super) struct Inner {
    fs_type: Opaque<bindings::file_system_type>,
    /// The slab cache of inodes.
    pub(super) cache: *mut bindings::kmem_cache,
    /// Where the last puts of inodes run.
    pub(super) queue: *mut bindings::workqueue_struct,
    /// The lock class keys of `fs_type` are registered.
    has_keys: bool,
}

// SAFETY: The registration can be dropped by any task.
unsafe impl<T: FileSystem> Send for Registration<T> {}
// SAFETY: It has no methods that take a shared reference.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: FileSystem> Registration<T> {
    /// Registers the type `T`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a type of that name.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The name is static, the constructor takes an object of the size of
        // `Memory<T>`.
        let cache = unsafe { inode::create_cache::<T>() };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: The format has one string, which follows.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s-iput".as_char_ptr(),
                bindings::wq_flags_WQ_MEM_RECLAIM | bindings::wq_flags_WQ_UNBOUND,
                0,
                T::NAME.as_char_ptr(),
            )
        };
        let inner = Inner {
            fs_type: Opaque::new(bindings::file_system_type {
                name: T::NAME.as_char_ptr(),
                fs_flags: T::FLAGS.bits(),
                init_fs_context: Some(context::init_fs_context::<T>),
                parameters: <T::Context as context::Operations>::PARAMS.as_ptr().cast(),
                kill_sb: Some(super_block::kill_sb::<T>),
                owner: module.as_ptr(),
                ..Default::default()
            }),
            cache,
            queue,
            has_keys: false,
        };
        // From here on `Drop for Inner` frees the cache and the queue.
        if inner.queue.is_null() {
            return Err(ENOMEM);
        }
        let mut inner = KBox::new(inner, GFP_KERNEL)?;
        // SAFETY: The memory is ours and stays where it is until `Inner` is dropped, which
        // undoes this. No lock has a key of it yet.
        unsafe { bindings::fs_type_register_keys(inner.fs_type.get()) };
        inner.has_keys = true;
        let inner = KBox::into_pin(inner);
        // SAFETY: It is initialised, and stays where it is until it is unregistered.
        to_result(unsafe { bindings::register_filesystem(inner.fs_type.get()) })?;
        // INVARIANT: Just registered.
        Ok(Self {
            inner,
            _p: PhantomData,
        })
    }

    /// The C object.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn fs_type(&self) -> *mut bindings::file_system_type {
        self.inner.fs_type.get()
    }
}

impl Inner {
    /// # Safety
    ///
    /// `fs_type` must be that of a registration, which must outlive `'a`.
    pub(super) unsafe fn from_fs_type<'a>(fs_type: *mut bindings::file_system_type) -> &'a Self {
        // SAFETY: It is the first field.
        unsafe { &*fs_type.cast() }
    }
}

impl<T: FileSystem> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is registered. Super blocks hold the
        // module, so none is left. It waits for RCU readers of the list of types.
        unsafe { bindings::unregister_filesystem(self.inner.fs_type.get()) };
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        super::netfs::outlive_requests();
        // SAFETY: Waits for `free_inode` and the freeing of dentry data.
        unsafe { bindings::rcu_barrier() };
        // SAFETY: No inode and no super block is left, so neither is used; both are
        // valid or null, which the first takes and the second is asked for.
        unsafe {
            bindings::kmem_cache_destroy(self.cache);
            if !self.queue.is_null() {
                bindings::destroy_workqueue(self.queue);
            }
            if self.has_keys {
                bindings::fs_type_unregister_keys(self.fs_type.get());
            }
        }
        self.cache = ptr::null_mut();
    }
}
