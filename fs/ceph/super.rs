// SPDX-License-Identifier: GPL-2.0
//! The file system type and its super blocks. How one is made is in [`crate::context`].
use kernel::{prelude::*, seq_file::SeqFile, str::CStr, sync::Arc};
use kernel_ext::{
    fs::{
        inode::Uncounted,
        netfs,
        super_block::{self, StatFs},
        Dentry, FileSystem, Flags, SuperBlock,
    },
    wait::WaitTable,
};

use ceph_core::log::show;

use crate::{
    context::Mount,
    dir::{dentry_ops::DentryOps, lease::DentryInfo},
    fs_client::FsClient,
    fs_type::{CephFs, MAGIC},
    inode::info::InodeInfo,
};

/// Blocks of statfs are 4 MiB.
const BLOCK_SHIFT: u32 = 22;
/// Longest name.
const NAME_MAX: u32 = 255;

impl FileSystem for CephFs {
    const NAME: &'static CStr = c"ceph";
    const FLAGS: Flags = Flags::RENAME_DOES_D_MOVE.or(Flags::ALLOW_IDMAP);

    type Super = Arc<FsClient>;
    type InodeBase = netfs::Inode;
    type Inode = InodeInfo;
    type Dentry = DentryInfo;
    type Context = Mount;
    type SuperOps = SuperOps;
    type DentryOps = DentryOps;
}

/// The operations of a super block.
pub(crate) struct SuperOps;

#[vtable]
impl super_block::Operations for SuperOps {
    type Fs = CephFs;

    fn close(sb: &SuperBlock<CephFs>) {
        sb.data().close();
    }

    fn waits(fs: &Arc<FsClient>) -> &WaitTable {
        &fs.client.waits
    }

    fn unreferenced(fs: &Arc<FsClient>) {
        fs.stop();
    }

    fn give_up_reads(inode: &Uncounted<CephFs>) {
        if let Some(fs) = inode.super_data() {
            fs.client.osdc.give_up(inode.key().ino);
        }
    }

    fn evict(inode: &Uncounted<CephFs>) {
        FsClient::evict(inode);
    }

    /// What nobody uses goes at once, and its capability back to the server: a
    /// capability that is kept costs the server more than a lookup costs us.
    fn drop_inode(_inode: &Uncounted<CephFs>) -> bool {
        true
    }

    fn statfs(dentry: &Dentry<CephFs>, stat: &mut StatFs) -> Result {
        let fs = dentry.super_block().data();
        let map = fs.mdsc.map().ok_or(EIO)?;
        // With one data pool, its numbers; else those of the cluster.
        let pool = match &map.data_pools[..] {
            [pool] => u64::try_from(*pool).ok(),
            _ => None,
        };
        if fs.is_shut_down() {
            return Err(EIO);
        }
        let found = fs.client.monc.statfs(pool)?;
        let blocks = |kib: u64| kib >> (BLOCK_SHIFT - 10);
        stat.set_type(MAGIC as i64)
            .set_block_size(1 << BLOCK_SHIFT, 1 << BLOCK_SHIFT)
            .set_blocks(
                blocks(found.kb),
                blocks(found.kb_avail),
                blocks(found.kb_avail),
            )
            .set_files(found.num_objects, u64::MAX)
            .set_name_len(NAME_MAX)
            .set_fsid(fs.statfs_id());
        Ok(())
    }

    fn show_options(root: &Dentry<CephFs>, m: &SeqFile) -> Result {
        let fs = root.super_block().data();
        show!(m, ",{}", fs.client.options.shown(false));
        show!(m, "{}", fs.options.shown(fs.new_syntax));
        Ok(())
    }

    fn umount_begin(sb: &SuperBlock<CephFs>) {
        sb.data().shut_down();
    }
}
