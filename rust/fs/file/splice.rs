// SPDX-License-Identifier: GPL-2.0
//! Splices from open files into pipes.

use super::io::Outcome;
#[cfg(doc)]
use super::Operations;
use crate::bindings;
use crate::fs::mapping;
use kernel::ffi::c_uint;
use kernel::prelude::*;

/// A splice from a file into a pipe.
///
/// # Invariants
///
/// All of it is valid for `'a`, for a file of ours that is open.
pub struct SpliceRead<'a> {
    pub(super) file: *mut bindings::file,
    pub(super) pos: *mut bindings::loff_t,
    pub(super) pipe: *mut bindings::pipe_inode_info,
    pub(super) len: usize,
    pub(super) flags: c_uint,
    pub(super) outcome: &'a Outcome,
}

impl SpliceRead<'_> {
    /// Lends pages of the page cache. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the inode is not a regular file; those of the file system's reads.
    pub fn from_page_cache(self) -> Result<usize> {
        // SAFETY: By the invariant.
        if !unsafe { mapping::has_pages(self.file) } {
            return Err(EINVAL);
        }
        // SAFETY: By the invariant; the inode has pages.
        self.outcome.note(unsafe {
            bindings::filemap_splice_read(self.file, self.pos, self.pipe, self.len, self.flags)
        })
    }

    /// Copies, by [`Operations::read_iter`]. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no `read_iter`; `ENOMEM`; those of `read_iter`.
    pub fn copied(self) -> Result<usize> {
        // SAFETY: By the invariant; the operations of an open file do not change.
        if unsafe { (*(*self.file).f_op).read_iter.is_none() } {
            return Err(EINVAL);
        }
        // SAFETY: By the invariant; there is the operation that this calls.
        self.outcome.note(unsafe {
            bindings::copy_splice_read(self.file, self.pos, self.pipe, self.len, self.flags)
        })
    }
}
