// SPDX-License-Identifier: GPL-2.0
//! Reading directories.
//!
//! A directory of names that are known; the position is the number of the entry after
//! the dots, which are 0 and 1:
//!
//! ```
//! use kernel_ext::fs::file::{DirContext, EntryType};
//! use kernel_ext::fs::FileSystem;
//!
//! fn iterate<T: FileSystem>(mut ctx: DirContext<'_, T>, names: &[&[u8]]) -> Result {
//!     if !ctx.emit_dots() {
//!         return Ok(());
//!     }
//!     for (pos, name) in (2i64..).zip(names) {
//!         if pos < ctx.pos() {
//!             continue;
//!         }
//!         if !ctx.emit(name, pos as u64, EntryType::Regular) {
//!             break;
//!         }
//!         ctx.set_pos(pos + 1);
//!     }
//!     Ok(())
//! }
//! ```

use crate::bindings;
use crate::fs::dentry::DirChildren;
use crate::fs::{inode, Dentry, FileSystem};
use kernel::ffi::{c_int, c_uint};

/// The type of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EntryType {
    /// Not known.
    Unknown = bindings::DT_UNKNOWN,
    /// A named pipe.
    Fifo = bindings::DT_FIFO,
    /// A character device.
    Character = bindings::DT_CHR,
    /// A directory.
    Directory = bindings::DT_DIR,
    /// A block device.
    Block = bindings::DT_BLK,
    /// A regular file.
    Regular = bindings::DT_REG,
    /// A symbolic link.
    Symlink = bindings::DT_LNK,
    /// A socket.
    Socket = bindings::DT_SOCK,
}

impl EntryType {
    /// The type of an inode with this mode.
    pub fn of_mode(mode: u16) -> Self {
        match mode & inode::mode::TYPE_MASK {
            inode::mode::FIFO => Self::Fifo,
            inode::mode::CHARACTER => Self::Character,
            inode::mode::DIRECTORY => Self::Directory,
            inode::mode::BLOCK => Self::Block,
            inode::mode::REGULAR => Self::Regular,
            inode::mode::SYMLINK => Self::Symlink,
            inode::mode::SOCKET => Self::Socket,
            _ => Self::Unknown,
        }
    }
}

/// The reader of a directory.
pub struct DirContext<'a, T: FileSystem> {
    pub(super) ctx: *mut bindings::dir_context,
    pub(super) file: *mut bindings::file,
    pub(super) dir: &'a Dentry<T>,
    /// The inode of `dir`, which is a directory.
    pub(super) _locked: inode::Locked<'a, T>,
}

impl<'a, T: FileSystem> DirContext<'a, T> {
    /// Where the next entry is.
    pub fn pos(&self) -> i64 {
        // SAFETY: The VFS has given it for this call.
        unsafe { (*self.ctx).pos }
    }

    /// Says where the next entry is.
    pub fn set_pos(&mut self, pos: i64) {
        // SAFETY: As above.
        unsafe { (*self.ctx).pos = pos }
    }

    /// Gives one entry to the reader, whose place is the position as it is now. False if
    /// there is no room for it: it has to come again at the next call.
    #[must_use]
    pub fn emit(&mut self, name: &[u8], ino: u64, kind: EntryType) -> bool {
        let Ok(len) = c_int::try_from(name.len()) else {
            return false;
        };
        // SAFETY: As above; the name has that length.
        unsafe { bindings::dir_emit(self.ctx, name.as_ptr().cast(), len, ino, kind as c_uint) }
    }

    /// Gives `.` and `..`, at the positions 0 and 1. False if there is no room.
    #[must_use]
    pub fn emit_dots(&mut self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::dir_emit_dots(self.file, self.ctx) }
    }

    /// The directory.
    pub fn dentry(&self) -> &'a Dentry<T> {
        self.dir
    }

    /// The children in the dentry cache, to be found and added.
    pub fn children(&self) -> DirChildren<'a, T> {
        // SAFETY: The directory is locked for `'a`.
        unsafe { DirChildren::new(self.dir) }
    }
}
