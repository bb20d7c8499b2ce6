// SPDX-License-Identifier: GPL-2.0
//! The page cache of an inode: `struct address_space`.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)
//!
//! Where the pages come from is said by the operations: those of [`netfs`](super::netfs), or
//! [`Operations`] of the file system's own.

use super::inode::{Inode, Uncounted};
use super::FileSystem;
use crate::bindings;
use core::ptr;
use kernel::prelude::*;

mod folio;
mod ops;

pub use folio::Folio;
pub use ops::Operations;

/// Whether pages of the file can be read.
///
/// # Safety
///
/// `file` is open, and held by the caller.
pub(super) unsafe fn has_pages(file: *mut bindings::file) -> bool {
    // SAFETY: An open file has a mapping, whose operations are set before there is a file.
    unsafe { (*(*(*file).f_mapping).a_ops).read_folio.is_some() }
}

impl<T: FileSystem> Uncounted<T> {
    /// The number of pages in the page cache.
    pub fn nr_pages(&self) -> usize {
        // SAFETY: The mapping lives as long as the inode.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).i_data.nrpages) }
    }
}

impl<T: FileSystem> Inode<T> {
    /// Drops the pages beyond the size, after that has shrunk. May sleep and wait for
    /// reads.
    pub fn truncate_pagecache(&self, size: i64) {
        // SAFETY: The inode has a reference.
        unsafe { bindings::truncate_pagecache(self.as_ptr(), size.max(0)) };
    }

    /// Drops all pages that are clean and not in use, without waiting.
    pub fn invalidate_clean_pages(&self) {
        // SAFETY: The mapping lives as long as the inode.
        unsafe {
            bindings::invalidate_mapping_pages(&raw mut (*self.as_ptr()).i_data, 0, usize::MAX)
        };
    }

    /// Drops all pages, waiting for reads, and unmaps them.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a page could not be dropped.
    pub fn invalidate_pages(&self) -> Result {
        // SAFETY: The mapping lives as long as the inode.
        kernel::error::to_result(unsafe {
            bindings::invalidate_inode_pages2(&raw mut (*self.as_ptr()).i_data)
        })
    }
}
