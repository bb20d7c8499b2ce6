// SPDX-License-Identifier: GPL-2.0
//! Asking servers for attributes.
use kernel::prelude::*;
use kernel_ext::fs::Inode;

use ceph_fs_proto::wire::{
    cap_bits::Caps,
    msg::Vino,
    request::{
        Args,
        Op, //
    },
};

use crate::{
    fs_client::FsClient,
    fs_type::CephFs,
    mds_client::OwnedPath,
    trace::RequestTarget, //
};

impl FsClient {
    /// Makes sure that the attributes that the mask vouches for are known; asks only
    /// if they are not.
    pub(crate) fn getattr(&self, inode: &Inode<CephFs>, mask: Caps) -> Result {
        let info = inode.data();
        info.touch();
        if mask.is_empty() || info.has_caps(mask) {
            return Ok(());
        }
        self.getattr_always(inode, mask)
    }

    /// Asks for the attributes that the mask vouches for.
    pub(crate) fn getattr_always(&self, inode: &Inode<CephFs>, mask: Caps) -> Result {
        if !inode.key().is_head() {
            // An inode in a snapshot does not change.
            return Ok(());
        }
        self.request(
            Op::GETATTR,
            Args::Getattr { mask },
            OwnedPath::inode(inode.key().ino),
            RequestTarget::inode(inode),
        )?;
        Ok(())
    }

    /// Asks for the content that is kept with an inode. None if the file has objects now.
    pub(crate) fn inline_data(&self, ino: u64) -> Result<Option<KVec<u8>>> {
        // Who asks has it in use, or else its eviction waits for the answer: then that must
        // not be waited for.
        let sb = self.super_block().ok_or(EIO)?;
        let inode = sb.find_inode_now(&Vino::head(ino)).ok_or(EIO)?;
        let trace = self.request(
            Op::GETATTR,
            Args::Getattr {
                mask: Caps::STAT_INLINE_DATA,
            },
            OwnedPath::inode(ino),
            RequestTarget::inode(&inode),
        )?;
        Ok(inode.data().has_inline_data().then_some(trace.value))
    }
}
