// SPDX-License-Identifier: GPL-2.0
//! Open files and directories.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::inode::Inode;
use super::{Dentry, FileSystem};
use crate::bindings;
use core::marker::PhantomData;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::types::{ForeignOwnable, Opaque};

mod dir;
mod io;
pub mod lock;
mod ops;
mod splice;

pub use super::vm::Fault;
pub use dir::{DirContext, EntryType};
pub use io::ReadIter;
pub(super) use ops::table;
pub use ops::Operations;
pub use splice::SpliceRead;

/// `SEEK_SET` of lseek(2): from the start.
pub const SEEK_SET: i32 = bindings::SEEK_SET as i32;
/// `SEEK_CUR`: from where the file stands.
pub const SEEK_CUR: i32 = bindings::SEEK_CUR as i32;
/// `SEEK_END`: from the end.
pub const SEEK_END: i32 = bindings::SEEK_END as i32;
/// `SEEK_DATA`: to what is no hole.
pub const SEEK_DATA: i32 = bindings::SEEK_DATA as i32;
/// `SEEK_HOLE`: to a hole, or to the end.
pub const SEEK_HOLE: i32 = bindings::SEEK_HOLE as i32;

/// An open file of the operations `O`.
///
/// # Invariants
///
/// It is valid and its operations are those of `O`; except in `open`, its private data is
/// an `O::Data`.
#[repr(transparent)]
pub struct OpenFile<O: Operations>(Opaque<bindings::file>, PhantomData<O>);

impl<O: Operations> OpenFile<O> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(in crate::fs) unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub fn as_ptr(&self) -> *mut bindings::file {
        self.0.get()
    }

    /// The data that `open` has returned.
    pub fn data(&self) -> <O::Data as ForeignOwnable>::Borrowed<'_> {
        // SAFETY: By the invariant; `release` is called when nobody else uses the file.
        unsafe { O::Data::borrow((*self.as_ptr()).private_data) }
    }

    /// The inode.
    pub fn inode(&self) -> &Inode<O::Fs> {
        // SAFETY: An open file holds its inode.
        unsafe { Inode::from_raw((*self.as_ptr()).f_inode) }
    }

    /// The dentry.
    pub fn dentry(&self) -> &Dentry<O::Fs> {
        // SAFETY: An open file holds its path, whose dentry is of our file system, as the
        // inode is.
        unsafe { Dentry::from_raw((*self.as_ptr()).__bindgen_anon_1.f_path.dentry) }
    }

    /// Flags as in open(2).
    pub fn flags(&self) -> u32 {
        // SAFETY: The file is valid; some flags may change any time.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).f_flags) }
    }

    /// lseek(2) as usual, with the end that the inode's size says. `whence` is as in lseek(2).
    ///
    /// # Errors
    ///
    /// `EINVAL` for a position that cannot be; `ENXIO` for one beyond the end.
    pub fn generic_file_llseek(&self, offset: i64, whence: i32) -> Result<i64> {
        // SAFETY: The file is valid.
        let pos = unsafe { bindings::generic_file_llseek(self.as_ptr(), offset, whence) };
        to_result(pos.min(0) as c_int)?;
        Ok(pos)
    }

    /// lseek(2) as usual, for positions up to `max` and an end at `end`. `whence` is as in
    /// lseek(2).
    ///
    /// # Errors
    ///
    /// `EINVAL` for a position outside, `ENXIO` for a search from beyond the end.
    pub fn generic_llseek(&self, offset: i64, whence: i32, max: i64, end: i64) -> Result<i64> {
        // SAFETY: The file is valid.
        let pos =
            unsafe { bindings::generic_file_llseek_size(self.as_ptr(), offset, whence, max, end) };
        to_result(pos.min(0) as c_int)?;
        Ok(pos)
    }
}

/// A file that is being opened.
pub struct Opening<'a, T: FileSystem> {
    file: *mut bindings::file,
    _p: PhantomData<&'a T>,
}

impl<T: FileSystem> Opening<'_, T> {
    /// Flags as in open(2).
    pub fn flags(&self) -> u32 {
        // SAFETY: The VFS has given it for this call.
        unsafe { (*self.file).f_flags }
    }

    /// True if it is opened for reading.
    pub fn reads(&self) -> bool {
        // SAFETY: As above.
        unsafe { (*self.file).f_mode & bindings::FMODE_READ != 0 }
    }
}
