// SPDX-License-Identifier: GPL-2.0
//! What statfs(2) shows.
//!
//! ```
//! use kernel_ext::fs::super_block::StatFs;
//!
//! fn statfs(stat: &mut StatFs, bytes: u64, free: u64) {
//!     stat.set_block_size(4096, 4096)
//!         .set_blocks(bytes / 4096, free / 4096, free / 4096)
//!         .set_name_len(255);
//! }
//! ```

use crate::bindings;
use kernel::types::Opaque;

/// `struct kstatfs`, zeroed by the VFS.
#[repr(transparent)]
pub struct StatFs(Opaque<bindings::kstatfs>);

impl StatFs {
    /// # Safety
    ///
    /// `ptr` must be valid and not used by others for `'a`. (In the `bindings` of the
    /// kernel crate the type is opaque, so it is another type of the same name.)
    pub(super) unsafe fn from_raw<'a, X>(ptr: *mut X) -> &'a mut Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &mut *ptr.cast() }
    }

    fn raw(&mut self) -> &mut bindings::kstatfs {
        // SAFETY: The VFS has initialised it, and we have it alone.
        unsafe { &mut *self.0.get() }
    }

    /// Sets the magic number.
    pub fn set_type(&mut self, magic: i64) -> &mut Self {
        self.raw().f_type = magic as isize;
        self
    }

    /// Sets the block size and the fragment size, in bytes.
    pub fn set_block_size(&mut self, block: u32, fragment: u32) -> &mut Self {
        self.raw().f_bsize = block as isize;
        self.raw().f_frsize = fragment as isize;
        self
    }

    /// Sets the numbers of all, free and available blocks, in fragments.
    pub fn set_blocks(&mut self, all: u64, free: u64, available: u64) -> &mut Self {
        let raw = self.raw();
        raw.f_blocks = all;
        raw.f_bfree = free;
        raw.f_bavail = available;
        self
    }

    /// Sets the numbers of all and free inodes.
    pub fn set_files(&mut self, all: u64, free: u64) -> &mut Self {
        self.raw().f_files = all;
        self.raw().f_ffree = free;
        self
    }

    /// Sets the longest name, in bytes.
    pub fn set_name_len(&mut self, len: u32) -> &mut Self {
        self.raw().f_namelen = len as isize;
        self
    }

    /// Sets the id of the file system.
    pub fn set_fsid(&mut self, id: u64) -> &mut Self {
        self.raw().f_fsid.val = [id as u32 as i32, (id >> 32) as u32 as i32];
        self
    }
}
