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
//! | `address_space_operations` | [`mapping::Operations`]    | [`inode::New`], for each inode |
//! | `netfs_request_ops`      | [`netfs::Operations`]        | [`inode::New`], for each inode |
//!
//! What direct reads want of a file system is [`direct::Operations`], which has no table.
//!
//! # Life cycles
//!
//! * [`Registration`] lives in the module. The super blocks hold the module, so
//!   none is left when it is dropped; it then waits for the RCU callbacks that
//!   free inodes and dentry data, and for netfs (see [`netfs`]).
//! * [`SuperBlock`] data is made before the super block and dropped in
//!   `kill_sb`, after the last inode. Every counted reference ([`InodeRef`],
//!   [`DentryRef`], [`SuperRef`]) is counted for the super block too: `kill_sb` tells
//!   the file system ([`super_block::Operations::close`]) and waits for all of them
//!   (see [`super_block`]), so none of them can outlive their super block.
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
//! A file system whose root has nothing in it. The modules have examples of their own;
//! a whole one, with files, mounted and read, is in `rust/fs/test/mod.rs`.
//!
//! ```
//! use kernel_ext::fs::{
//!     context, dentry, file, inode, param, super_block, FileSystem, Flags, FsContext,
//!     Inode, Registration, SuperBlock,
//! };
//!
//! struct EmptyFs;
//!
//! impl FileSystem for EmptyFs {
//!     const NAME: &'static CStr = c"empty";
//!     const FLAGS: Flags = Flags::NONE;
//!     type Super = ();
//!     type InodeBase = inode::Plain;
//!     type Inode = NoData;
//!     type Dentry = NoData;
//!     type Context = Mount;
//!     type SuperOps = Ops;
//!     type DentryOps = Ops;
//! }
//!
//! struct NoData;
//!
//! impl inode::InodeData for NoData {
//!     type Key = u64;
//!
//!     fn hash(key: &u64) -> u64 {
//!         *key
//!     }
//!     fn ino(key: &u64) -> u64 {
//!         *key
//!     }
//!     fn init() -> impl PinInit<Self, Error> {
//!         Ok(NoData)
//!     }
//! }
//!
//! impl dentry::DentryData for NoData {
//!     fn init() -> impl PinInit<Self, Error> {
//!         Ok(NoData)
//!     }
//! }
//!
//! struct Mount;
//!
//! static PARAMS: param::ParamTable = param::ParamTable::new(&[param::ParamSpec::END]);
//!
//! #[vtable]
//! impl context::Operations for Mount {
//!     type Fs = EmptyFs;
//!     const PARAMS: &'static param::ParamTable = &PARAMS;
//!
//!     fn new(_: &FsContext<EmptyFs>, _: Option<&SuperBlock<EmptyFs>>) -> Result<Self> {
//!         Ok(Mount)
//!     }
//!
//!     fn parse_param(&mut self, _: &FsContext<EmptyFs>, _: u8, _: param::Value<'_>) -> Result {
//!         Err(EINVAL)
//!     }
//!
//!     fn get_tree(
//!         &mut self,
//!         fc: &FsContext<EmptyFs>,
//!     ) -> Result<super_block::Locked<EmptyFs>> {
//!         // A new one for each mount.
//!         let sb = match fc.sget((), |_, _| false)? {
//!             context::Sget::New(sb) => sb,
//!             context::Sget::Existing(sb) => return Ok(sb),
//!         };
//!         let root = match sb.get_or_create_inode(&1)? {
//!             inode::Got::Existing(root) => root,
//!             inode::Got::New(mut new) => {
//!                 new.init_dir::<Ops, Ops>(0o755);
//!                 new.set_nlink(2);
//!                 new.unlock()
//!             }
//!         };
//!         sb.set_root(root)
//!     }
//! }
//!
//! struct Ops;
//!
//! #[vtable]
//! impl super_block::Operations for Ops {
//!     type Fs = EmptyFs;
//!
//!     fn close(_: &SuperBlock<EmptyFs>) {}
//! }
//!
//! #[vtable]
//! impl dentry::Operations for Ops {
//!     type Fs = EmptyFs;
//! }
//!
//! #[vtable]
//! impl inode::Operations for Ops {
//!     type Fs = EmptyFs;
//!
//!     fn lookup<'a>(
//!         _: inode::Locked<'_, EmptyFs>,
//!         dentry: dentry::Unhashed<'a, EmptyFs>,
//!         _: dentry::LookupFlags,
//!     ) -> Result<dentry::Spliced<'a, EmptyFs>> {
//!         dentry.splice(None)
//!     }
//! }
//!
//! #[vtable]
//! impl file::Operations for Ops {
//!     type Fs = EmptyFs;
//!     type Data = ();
//!
//!     fn open(_: &Inode<EmptyFs>, _: &file::Opening<'_, EmptyFs>) -> Result {
//!         Ok(())
//!     }
//!
//!     fn iterate(
//!         _: &file::OpenFile<Self>,
//!         mut ctx: file::DirContext<'_, EmptyFs>,
//!     ) -> Result {
//!         let _ = ctx.emit_dots();
//!         Ok(())
//!     }
//! }
//!
//! // The module keeps it.
//! fn register(module: &'static ThisModule) -> Result<Registration<EmptyFs>> {
//!     Registration::new(module)
//! }
//! ```

use kernel::str::CStr;

pub mod acl;
pub mod context;
pub mod dentry;
pub mod direct;
pub mod file;
pub mod idmap;
pub mod inode;
pub mod mapping;
pub mod netfs;
pub mod param;
mod registration;
pub mod super_block;
#[cfg(CONFIG_KUNIT = "y")]
mod test;
mod vm;
pub mod xattr;

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
    /// What the memory of an inode begins with: [`inode::Plain`], or [`netfs::Inode`] for
    /// files whose data netfs reads.
    type InodeBase: inode::Base;
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
