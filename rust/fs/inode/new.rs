// SPDX-License-Identifier: GPL-2.0
//! Inodes in the making.
//!
//! [`SuperBlock::get_or_create_inode`] gives a [`New`] inode to exactly one caller; all
//! others wait until that has called [`New::unlock`] or dropped it, which makes it a bad
//! inode that nobody finds any more. What kind of inode it is (`i_op`, `i_fop`, `a_ops`)
//! can only be set in the new state, and an inode in that state cannot be put into the
//! tree of dentries, so nobody calls the operations before they are set.
//!
//! ```
//! use core::marker::PhantomData;
//! use kernel_ext::fs::inode::{self, Got, Key, Operations};
//! use kernel_ext::fs::{FileSystem, Inode, InodeRef, SuperBlock};
//!
//! /// The operations of a symbolic link to `elsewhere`.
//! struct LinkOps<T>(PhantomData<T>);
//!
//! #[vtable]
//! impl<T: FileSystem> Operations for LinkOps<T> {
//!     type Fs = T;
//!
//!     fn get_link<'a>(_inode: &'a Inode<T>) -> Result<&'a CStr> {
//!         Ok(c"elsewhere")
//!     }
//! }
//!
//! fn link<T: FileSystem>(sb: &SuperBlock<T>, key: &Key<T>) -> Result<InodeRef<T>> {
//!     Ok(match sb.get_or_create_inode(key)? {
//!         Got::Existing(inode) => inode,
//!         Got::New(mut new) => {
//!             new.init_symlink::<LinkOps<T>>(0o777);
//!             new.set_size(9);
//!             new.unlock()
//!         }
//!     })
//! }
//! ```

use super::{mode, ops, set, test, Inode, InodeData, InodeRef, Key, Operations};
use crate::bindings;
use crate::fs::{file, FileSystem, SuperBlock};
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr;
use kernel::prelude::*;

/// What [`SuperBlock::get_or_create_inode`] found.
pub enum Got<T: FileSystem> {
    /// An inode that is ready.
    Existing(InodeRef<T>),
    /// An inode that the caller has to fill in.
    New(New<T>),
}

pub(in crate::fs) fn get_or_create<T: FileSystem>(
    sb: &SuperBlock<T>,
    key: &Key<T>,
) -> Result<Got<T>> {
    let data = ptr::from_ref(key).cast_mut().cast();
    // SAFETY: The super block is alive; the callbacks fit its inodes and the key.
    let inode = unsafe {
        bindings::iget5_locked(
            sb.as_ptr(),
            T::Inode::hash(key),
            Some(test::<T>),
            Some(set::<T>),
            data,
        )
    };
    // SAFETY: It comes with a reference, and its key is set.
    let inode = unsafe { InodeRef::<T>::from_vfs(inode) }.ok_or(ENOMEM)?;
    // SAFETY: The inode is valid. Only we can have got it in the new state, as all others
    // wait for the end of that.
    if unsafe { bindings::inode_is_new(inode.as_ptr()) } {
        Ok(Got::New(New(inode)))
    } else {
        Ok(Got::Existing(inode))
    }
}

/// An inode that nobody else finds yet. Dropping it makes it a bad inode.
///
/// References to it ([`Inode::get`]) can be passed on, but not be put into the tree.
///
/// # Invariants
///
/// It has `I_NEW` set, and the caller is the one to clear it.
pub struct New<T: FileSystem>(InodeRef<T>);

impl<T: FileSystem> Deref for New<T> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        &self.0
    }
}

impl<T: FileSystem> New<T> {
    /// Makes it a directory.
    pub fn init_dir<I, F>(&mut self, bits: u16)
    where
        I: Operations<Fs = T>,
        F: file::Operations<Fs = T>,
    {
        // The VFS takes one without for a place that only it puts names into.
        const { assert!(I::HAS_LOOKUP, "a directory without `lookup`") };
        self.init_with::<I, F>(mode::DIRECTORY, bits);
    }

    /// Gives it its type and operations, but for those of pages.
    pub(in crate::fs) fn init_with<I, F>(&mut self, kind: u16, bits: u16)
    where
        I: Operations<Fs = T>,
        F: file::Operations<Fs = T>,
    {
        let raw = self.as_ptr();
        // SAFETY: By the invariant nobody else uses these fields.
        unsafe {
            (*raw).i_mode = kind | bits & !mode::TYPE_MASK;
            (*raw).i_op = ops::table::<I>();
            (*raw).__bindgen_anon_3.i_fop = file::table::<F>();
        }
    }

    /// Makes it a symbolic link.
    pub fn init_symlink<I>(&mut self, bits: u16)
    where
        I: Operations<Fs = T>,
    {
        const { assert!(I::HAS_GET_LINK, "a symbolic link without `get_link`") };
        let raw = self.as_ptr();
        // SAFETY: By the invariant nobody else uses these fields.
        unsafe {
            (*raw).i_mode = mode::SYMLINK | bits & !mode::TYPE_MASK;
            (*raw).i_op = ops::table::<I>();
        }
    }

    /// Makes it a device file, a named pipe or a socket; `rdev` is the device as the
    /// kernel encodes it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the mode is none of these.
    pub fn init_special<I>(&mut self, mode: u16, rdev: u32) -> Result
    where
        I: Operations<Fs = T>,
    {
        match mode & mode::TYPE_MASK {
            mode::CHARACTER | mode::BLOCK | mode::FIFO | mode::SOCKET => {}
            _ => return Err(EINVAL),
        }
        let raw = self.as_ptr();
        // SAFETY: By the invariant nobody else uses these fields.
        unsafe {
            (*raw).i_op = ops::table::<I>();
            bindings::init_special_inode(raw, mode, rdev);
        }
        Ok(())
    }

    /// The end of the new state: all can use it now.
    pub fn unlock(self) -> InodeRef<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the invariant.
        unsafe { bindings::unlock_new_inode(this.0.as_ptr()) };
        // SAFETY: `this` is not dropped, so the reference is moved.
        unsafe { ptr::read(&this.0) }
    }
}

impl<T: FileSystem> Drop for New<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant. This is `iget_failed` without the put, which the field
        // does.
        unsafe {
            bindings::make_bad_inode(self.0.as_ptr());
            bindings::unlock_new_inode(self.0.as_ptr());
        }
    }
}
