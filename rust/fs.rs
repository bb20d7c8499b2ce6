// SPDX-License-Identifier: GPL-2.0
//! File systems.
//!
//! A file system is a type that implements [`FileSystem`]: a set of types, no
//! behaviour. The behaviour is in one trait for each operations table of the C
//! side, and for each implementation there is one constant table:
//!
//! | C table                  | trait                        | set by                         |
//! | ------------------------ | ---------------------------- | ------------------------------ |
//! | `fs_context_operations`  | [`context::Operations`]      | [`FileSystem::Context`]        |
//! | `super_operations`       | [`super_block::Operations`]  | [`FileSystem::SuperOps`]       |
//! | `dentry_operations`      | [`dentry::Operations`]       | [`FileSystem::DentryOps`]      |
//! | `inode_operations`       | [`inode::Operations`]        | [`inode::New`], for each inode |
//! | `file_operations`        | [`file::Operations`]         | [`inode::New`], for each inode |
//! | `netfs_request_ops`      | [`netfs::Operations`]        | [`inode::New`], for each inode |
//!
//! # Life cycles
//!
//! * [`Registration`] lives in the module. The super blocks hold the module, so
//!   none is left when it is dropped; it then waits for the RCU callbacks that
//!   free inodes and dentry data, and for netfs (see [`netfs`]).
//! * [`SuperBlock`] data is made before the super block and dropped in
//!   `kill_sb`, after the last inode. Every counted reference ([`InodeRef`],
//!   [`DentryRef`], [`SuperRef`]) is counted for the super block too: `kill_sb`
//!   first tells the file system ([`super_block::Operations::pre_kill`]) and
//!   then waits for all of them, so none of them can outlive their super block.
//! * [`Inode`] data is made in `alloc_inode`. `evict_inode` ends its use
//!   ([`super_block::Operations::evict`]); it is dropped in `free_inode`, an RCU
//!   callback, because an RCU walk may still read it until then. The destructor
//!   must not sleep.
//! * [`Dentry`] data is made in `d_init` and dropped one RCU grace period after
//!   `d_release`. The destructor must not sleep.
//!
//! # Counted and not
//!
//! [`inode::Uncounted`] and [`dentry::Uncounted`] are objects that are alive but
//! perhaps not referenced: what RCU walk, `evict_inode`, `d_release` and the like
//! see. They cannot be turned into references. [`Inode`] and [`Dentry`] dereference
//! to them.
//!
//! # Example
//!
//! A directory that has one file; the whole of it, mounted and read, is in
//! `rust/fs/test.rs`.
//!
//! ```ignore
//! #[vtable]
//! impl inode::Operations for DirOps {
//!     type Fs = TestFs;
//!
//!     fn lookup<'a>(
//!         dir: &Inode<TestFs>,
//!         dentry: dentry::Unhashed<'a, TestFs>,
//!         _flags: LookupFlags,
//!     ) -> Result<dentry::Spliced<'a, TestFs>> {
//!         if dentry.name() != b"file" {
//!             return dentry.splice(None);
//!         }
//!         let inode = match dir.super_block().get_or_create_inode(&FILE)? {
//!             Got::Existing(inode) => inode,
//!             Got::New(mut new) => {
//!                 new.init_regular::<PlainOps, FileOps, Data>(0o644);
//!                 new.set_size(600_000);
//!                 new.unlock()
//!             }
//!         };
//!         dentry.splice(Some(inode))
//!     }
//! }
//! ```

use kernel::str::CStr;

pub mod context;
pub mod dentry;
mod dentry_ops;
pub mod file;
mod gate;
pub mod inode;
mod inode_ops;
pub mod netfs;
pub mod param;
mod registration;
pub mod stat;
pub mod super_block;
mod super_ops;
#[cfg(CONFIG_KUNIT = "y")]
mod test;

pub use context::FsContext;
pub use dentry::{Dentry, DentryRef};
pub use inode::{Inode, InodeRef};
pub use registration::Registration;
pub use super_block::{SuperBlock, SuperRef};

/// Flags of a file system type.
#[derive(Clone, Copy)]
pub struct Flags(i32);

impl Flags {
    /// No flags.
    pub const NONE: Flags = Flags(0);
    /// The file system may be mounted with mapped ids.
    pub const ALLOW_IDMAP: Flags = Flags(crate::bindings::FS_ALLOW_IDMAP as i32);
    /// The file system calls `d_move` in `rename` itself.
    pub const RENAME_DOES_D_MOVE: Flags = Flags(crate::bindings::FS_RENAME_DOES_D_MOVE as i32);

    /// Both sets of flags.
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    const fn bits(self) -> i32 {
        self.0
    }
}

/// A file system: the types that its objects have.
pub trait FileSystem: Sized + Send + Sync + 'static {
    /// The name, as in `mount -t NAME`.
    const NAME: &'static CStr;
    /// Flags of the type.
    const FLAGS: Flags;

    /// Data of a super block.
    type Super: Send + Sync;
    /// Data of an inode.
    type Inode: inode::InodeData;
    /// Data of a dentry.
    type Dentry: dentry::DentryData;

    /// A mount in the making.
    type Context: context::Operations<Fs = Self>;
    /// The table of super blocks.
    type SuperOps: super_block::Operations<Fs = Self>;
    /// The table of all dentries.
    type DentryOps: dentry::Operations<Fs = Self>;
}
