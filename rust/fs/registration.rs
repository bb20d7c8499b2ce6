// SPDX-License-Identifier: GPL-2.0
//! Registration of a file system type.

use super::{context, inode, super_block, FileSystem};
use crate::bindings;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::types::Opaque;

/// A registered file system type, to be kept in the module's state.
///
/// The VFS keeps pointers to the type, and counts the module, as long as there are super
/// blocks and mount contexts of it. So there are none when the module goes. If it is
/// dropped at another time, its memory is not freed.
///
/// # Invariants
///
/// `fs_type` is registered; `cache` and `queue` are valid and made for `T`.
pub struct Registration<T: FileSystem> {
    // In a box of its own: the VFS keeps pointers to it.
    inner: ManuallyDrop<Pin<KBox<Inner>>>,
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
    /// Super blocks and mount contexts.
    users: Atomic<i64>,
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
            users: Atomic::new(0),
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
            inner: ManuallyDrop::new(inner),
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
    /// A super block or a mount context was made.
    pub(super) fn begin_use(&self) {
        self.users.fetch_add(1, ordering::Relaxed);
    }

    /// It has gone.
    pub(super) fn end_use(&self) {
        self.users.fetch_sub(1, ordering::Full);
    }

    /// Whether the VFS has no pointer to it, and gets none any more.
    fn is_unused(&self) -> bool {
        if self.users.load(ordering::Acquire) != 0 {
            return false;
        }
        // The VFS looks at the type once more after the last user is gone, and then puts
        // the module.
        // SAFETY: The owner is null or the module that we are part of.
        unsafe {
            let owner = (*self.fs_type.get()).owner;
            owner.is_null()
                || ptr::read_volatile(&raw const (*owner).state)
                    == bindings::module_state_MODULE_STATE_GOING
        }
    }

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
        // SAFETY: By the type's invariant it is registered. It waits for RCU readers of the
        // list of types.
        unsafe { bindings::unregister_filesystem(self.inner.fs_type.get()) };
        if self.inner.is_unused() {
            // SAFETY: It is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        } else {
            pr_err!("a file system type was dropped before its module: not freed\n");
        }
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
