// SPDX-License-Identifier: GPL-2.0
//! The operations of a page cache, as a trait and as a table.

use super::Folio;
use crate::bindings;
use crate::fs::inode::{self, mode, New, Uncounted};
use crate::fs::{file, FileSystem};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use kernel::error::from_result;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// The operations of the page cache of a regular file that does not use netfs.
///
/// ```
/// use core::marker::PhantomData;
/// use kernel_ext::fs::inode::Uncounted;
/// use kernel_ext::fs::mapping::{Folio, Operations};
/// use kernel_ext::fs::FileSystem;
///
/// /// Files that are full of `x`.
/// struct Crosses<T>(PhantomData<T>);
///
/// impl<T: FileSystem> Operations for Crosses<T> {
///     type Fs = T;
///
///     fn read_folio(_inode: &Uncounted<T>, folio: &mut Folio<'_>) -> Result {
///         while folio.copy(b"x") > 0 {}
///         Ok(())
///     }
/// }
/// ```
pub trait Operations: Sized + 'static {
    /// The file system.
    type Fs: FileSystem;

    /// Reads a folio. May sleep. The inode is not evicted meanwhile, but perhaps nobody holds
    /// it.
    ///
    /// # Errors
    ///
    /// What the read shall end with.
    fn read_folio(inode: &Uncounted<Self::Fs>, folio: &mut Folio<'_>) -> Result;
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::address_space_operations = bindings::address_space_operations {
        read_folio: Some(Self::read_folio),
        dirty_folio: Some(bindings::filemap_dirty_folio),
        #[cfg(CONFIG_MIGRATION)]
        migrate_folio: Some(bindings::filemap_migrate_folio),
        // SAFETY: All members are nullable pointers.
        ..unsafe { MaybeUninit::zeroed().assume_init() }
    };

    /// Called by the page cache to read a folio; unlocks it. May sleep.
    ///
    /// # Safety
    ///
    /// `folio` is locked by the caller, who has a reference to it, is in the mapping of an
    /// inode of the file system, and is not up to date. As long as it is locked it stays in
    /// the mapping, so the inode is not evicted; whether somebody holds that is not said, and
    /// `file` may be null.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: The caller's obligation.
        let (inode, mut reading) = unsafe {
            let host = (*bindings::folio_host(folio)).host;
            (
                Uncounted::<O::Fs>::from_raw(host),
                Folio::new(NonNull::new_unchecked(folio)),
            )
        };
        let result = O::read_folio(inode, &mut reading);
        // SAFETY: It was lent to the operation only.
        unsafe { reading.end(result) };
        from_result(|| result.map(|()| 0))
    }
}

impl<T: FileSystem> New<T> {
    /// Makes it a regular file whose pages come from `M`.
    pub fn init_regular<I, F, M>(&mut self, bits: u16)
    where
        I: inode::Operations<Fs = T>,
        F: file::Operations<Fs = T>,
        M: Operations<Fs = T>,
    {
        self.init_with::<I, F>(mode::REGULAR, bits);
        // SAFETY: By the invariant nobody else uses this field; the mapping is that of the
        // inode, and there are no pages yet.
        unsafe { (*(*self.as_ptr()).i_mapping).a_ops = &Vtable::<M>::TABLE };
    }
}
