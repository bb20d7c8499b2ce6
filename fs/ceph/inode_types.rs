// SPDX-License-Identifier: GPL-2.0
//! Which operations an inode has, by its type.
use kernel::prelude::*;
use kernel_ext::fs::inode::{
    mode,
    New, //
};

use crate::{
    dir::{
        lookup::DirOps,
        readdir::DirFileOps, //
    },
    file::{
        ops::FileOps,
        read::Data, //
    },
    fs_type::CephFs,
    inode::inode_ops::{
        LinkOps,
        PlainOps, //
    },
};

/// Gives a new inode the operations of its type. `mode` is of the type too; `rdev` is a
/// device as the kernel has it, which is what clients put on the wire too.
///
/// # Errors
///
/// `EINVAL` if there is no such type.
pub(crate) fn init_inode(new: &mut New<CephFs>, mode: u16, rdev: u32) -> Result {
    match mode & mode::TYPE_MASK {
        mode::DIRECTORY => new.init_dir::<DirOps, DirFileOps>(mode),
        mode::REGULAR => new.init_netfs::<PlainOps, FileOps, Data>(mode),
        mode::SYMLINK => new.init_symlink::<LinkOps>(mode),
        _ => new.init_special::<PlainOps>(mode, rdev)?,
    }
    Ok(())
}
