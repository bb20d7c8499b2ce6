// SPDX-License-Identifier: GPL-2.0
//! What stat(2) shows.
//!
//! ```
//! use kernel_ext::fs::inode::attr::GetAttr;
//! use kernel_ext::fs::FileSystem;
//!
//! fn getattr<T: FileSystem>(mut call: GetAttr<'_, T>) -> Result {
//!     call.fill().set_block_size(1 << 22);
//!     Ok(())
//! }
//! ```

use super::Inode;
use crate::bindings;
use crate::fs::idmap::Idmap;
use crate::fs::FileSystem;
use kernel::types::Opaque;

/// A time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, less than 10^9.
    pub nsec: u32,
}

impl Time {
    #[inline]
    pub(in crate::fs) fn to_raw(self) -> bindings::timespec64 {
        bindings::timespec64 {
            tv_sec: self.sec,
            tv_nsec: self.nsec.min(999_999_999) as isize,
        }
    }

    #[inline]
    pub(in crate::fs) fn from_raw(raw: &bindings::timespec64) -> Self {
        Time {
            sec: raw.tv_sec,
            nsec: raw.tv_nsec.clamp(0, 999_999_999) as u32,
        }
    }
}

/// `struct kstat` for an answer to statx(2).
#[repr(transparent)]
pub struct Stat(Opaque<bindings::kstat>);

/// Bits of the masks of statx(2).
pub mod mask {
    /// Type and mode bits.
    pub const MODE: u32 = crate::bindings::STATX_MODE;
    /// The type.
    pub const TYPE: u32 = crate::bindings::STATX_TYPE;
    /// The number of links.
    pub const NLINK: u32 = crate::bindings::STATX_NLINK;
    /// The owner.
    pub const UID: u32 = crate::bindings::STATX_UID;
    /// The group.
    pub const GID: u32 = crate::bindings::STATX_GID;
    /// Time of the last access.
    pub const ATIME: u32 = crate::bindings::STATX_ATIME;
    /// Time of the last change of the data.
    pub const MTIME: u32 = crate::bindings::STATX_MTIME;
    /// Time of the last change of the inode.
    pub const CTIME: u32 = crate::bindings::STATX_CTIME;
    /// The inode number.
    pub const INO: u32 = crate::bindings::STATX_INO;
    /// The size.
    pub const SIZE: u32 = crate::bindings::STATX_SIZE;
    /// The allocated blocks.
    pub const BLOCKS: u32 = crate::bindings::STATX_BLOCKS;
    /// All that stat(2) has.
    pub const BASIC: u32 = crate::bindings::STATX_BASIC_STATS;
    /// Time of birth.
    pub const BTIME: u32 = crate::bindings::STATX_BTIME;
    /// The change counter.
    pub const CHANGE_COOKIE: u32 = crate::bindings::STATX_CHANGE_COOKIE;

    /// Query flag: do not ask the server.
    pub const AT_DONT_SYNC: u32 = crate::bindings::AT_STATX_DONT_SYNC;
    /// Query flag: ask the server in any case.
    pub const AT_FORCE_SYNC: u32 = crate::bindings::AT_STATX_FORCE_SYNC;
}

impl Stat {
    /// # Safety
    ///
    /// `ptr` must be valid and not used by others for `'a`.
    pub(in crate::fs) unsafe fn from_raw<'a>(ptr: *mut bindings::kstat) -> &'a mut Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &mut *ptr.cast() }
    }

    fn raw(&mut self) -> &mut bindings::kstat {
        // SAFETY: The VFS has initialised it, and we have it alone.
        unsafe { &mut *self.0.get() }
    }

    /// Sets the inode number.
    pub fn set_ino(&mut self, ino: u64) {
        self.raw().ino = ino;
    }

    /// Sets the device number that the object is shown to be on.
    pub fn set_dev(&mut self, dev: u32) {
        self.raw().dev = dev;
    }

    /// Sets the number of links.
    pub fn set_nlink(&mut self, nlink: u32) {
        self.raw().nlink = nlink;
    }

    /// Sets the size and the allocated blocks of 512 bytes.
    pub fn set_size(&mut self, size: i64, blocks: u64) {
        self.raw().size = size;
        self.raw().blocks = blocks;
    }

    /// Sets the block size for efficient I/O.
    pub fn set_block_size(&mut self, size: u32) {
        self.raw().blksize = size;
    }

    /// Sets the time of birth.
    pub fn set_btime(&mut self, time: Time) {
        self.raw().btime = time.to_raw();
        self.raw().result_mask |= mask::BTIME;
    }

    /// Sets the change counter.
    pub fn set_change_cookie(&mut self, cookie: u64) {
        let raw = self.raw();
        raw.change_cookie = cookie;
        raw.result_mask |= mask::CHANGE_COOKIE;
    }

    /// Says that the change counter only grows.
    pub fn set_change_monotonic(&mut self) {
        let raw = self.raw();
        raw.attributes |= bindings::STATX_ATTR_CHANGE_MONOTONIC as u64;
        raw.attributes_mask |= bindings::STATX_ATTR_CHANGE_MONOTONIC as u64;
    }

    /// Says whether content or names are encrypted.
    pub fn set_encrypted(&mut self, encrypted: bool) {
        let raw = self.raw();
        if encrypted {
            raw.attributes |= u64::from(bindings::STATX_ATTR_ENCRYPTED);
        }
        raw.attributes_mask |= u64::from(bindings::STATX_ATTR_ENCRYPTED);
    }

    /// Says which fields are valid.
    pub fn set_result_mask(&mut self, mask: u32) {
        self.raw().result_mask = mask;
    }
}

/// A call of `getattr`.
pub struct GetAttr<'a, T: FileSystem> {
    pub(in crate::fs) idmap: Idmap<'a>,
    pub(in crate::fs) inode: &'a Inode<T>,
    pub(in crate::fs) stat: &'a mut Stat,
    /// Which fields are asked for.
    pub request_mask: u32,
    /// [`mask::AT_DONT_SYNC`] and so on.
    pub query_flags: u32,
}

impl<'a, T: FileSystem> GetAttr<'a, T> {
    /// The inode.
    pub fn inode(&self) -> &'a Inode<T> {
        self.inode
    }

    /// Fills in what the VFS inode knows, with ids mapped for the mount; gives the
    /// answer, for the rest.
    pub fn fill(&mut self) -> &mut Stat {
        // SAFETY: The VFS has given all three for this call.
        unsafe {
            bindings::generic_fillattr(
                self.idmap.as_ptr(),
                self.request_mask,
                self.inode.as_ptr(),
                self.stat.0.get(),
            )
        };
        self.stat
    }
}
