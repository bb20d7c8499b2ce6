// SPDX-License-Identifier: GPL-2.0
//! Operations of inodes by their type.
use kernel::prelude::*;
use kernel_ext::fs::inode::New;

use crate::super_block::CephFs;

struct Special;

#[vtable]
impl kernel_ext::fs::inode::Operations for Special {
    type Fs = CephFs;
}

/// Gives a new inode the operations of its type.
pub(crate) fn init_inode(new: &mut New<CephFs>, mode: u16, rdev: u32) -> Result {
    new.init_special::<Special>(mode, rdev)
}
