// SPDX-License-Identifier: GPL-2.0
//! The operations of super blocks, as a trait and as a table.

use super::{StatFs, SuperBlock};
use crate::bindings;
use crate::fs::inode::Base;
use crate::fs::{inode, Dentry, FileSystem};
use crate::wait::WaitTable;
use core::marker::PhantomData;
use kernel::error::from_result;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;

/// The operations of a super block.
#[vtable]
pub trait Operations: Sized {
    /// The file system.
    type Fs: FileSystem<SuperOps = Self>;

    /// The super block is about to be killed: begin nothing new. What is dirty is written
    /// back next. May sleep; `s_umount` is held, as in the two that follow.
    ///
    /// Also called for a super block that never got a root, as the three that follow.
    fn quiesce(_sb: &SuperBlock<Self::Fs>) {}

    /// All was written back: end all that holds or makes references to the super block, its
    /// inodes and dentries. They are waited for next.
    fn close(sb: &SuperBlock<Self::Fs>);

    /// The table that shows who is blocked: the wait for the last references does in it.
    fn waits(_data: &<Self::Fs as FileSystem>::Super) -> &WaitTable {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// The last reference is gone, and there will be none. The VFS drops what it has next.
    fn unreferenced(_data: &<Self::Fs as FileSystem>::Super) {}

    /// All inodes and dentries are gone. Not called if there never was a root.
    fn put_super(_data: &<Self::Fs as FileSystem>::Super) {}

    /// An inode is being evicted while reads into its pages are under way: they are waited
    /// for next, and nobody wants them. May be called in memory reclaim.
    fn give_up_reads(_inode: &inode::Uncounted<Self::Fs>) {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// An inode is evicted: its pages are gone, and no call on it comes any more
    /// except from RCU walk. Release what it holds.
    fn evict(_inode: &inode::Uncounted<Self::Fs>) {}

    /// True if an inode without references shall not be kept.
    ///
    /// Called with the lock of the inode held.
    fn drop_inode(_inode: &inode::Uncounted<Self::Fs>) -> bool {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Fills in what statfs(2) shows.
    fn statfs(_dentry: &Dentry<Self::Fs>, _stat: &mut StatFs) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Shows the mount options, each with a comma before it.
    fn show_options(_root: &Dentry<Self::Fs>, _seq: &SeqFile) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Make all that waits for the server fail: `umount -f`, or an unmount that has waited
    /// too long for those who wait.
    fn umount_begin(_sb: &SuperBlock<Self::Fs>) {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }
}

/// The table of `O`.
pub(super) const fn table<O: Operations>() -> *const bindings::super_operations {
    &Vtable::<O>::TABLE
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::super_operations = bindings::super_operations {
        alloc_inode: Some(inode::alloc::<O::Fs>),
        free_inode: Some(inode::free::<O::Fs>),
        evict_inode: Some(Self::evict_inode),
        drop_inode: if O::HAS_DROP_INODE {
            Some(Self::drop_inode)
        } else {
            None
        },
        put_super: if O::HAS_PUT_SUPER {
            Some(Self::put_super)
        } else {
            None
        },
        statfs: if O::HAS_STATFS {
            Some(Self::statfs)
        } else {
            Some(bindings::simple_statfs)
        },
        show_options: if O::HAS_SHOW_OPTIONS {
            Some(Self::show_options)
        } else {
            None
        },
        umount_begin: if O::HAS_UMOUNT_BEGIN {
            Some(Self::umount_begin)
        } else {
            None
        },
        // SAFETY: All members are nullable pointers.
        ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
    };

    /// Called by `evict`: by the last `iput`, in memory reclaim (kswapd, or any task that allocates
    /// with `__GFP_FS`), or when the super block is killed. No spin lock is held; may sleep.
    ///
    /// # Safety
    ///
    /// `inode` is of the file system and has `I_FREEING`: it has no references and gets none, no
    /// dentry has it, and no write-back of it runs. This is called once. Who looks for its key
    /// waits for the end; only RCU walk still looks at it. The super block lives.
    unsafe extern "C" fn evict_inode(inode: *mut bindings::inode) {
        // SAFETY: The VFS calls it once, for an inode of this file system that is being
        // freed; the order is that of `evict` in C when there is no `evict_inode`, after
        // the reads of netfs that still use the mapping have ended.
        unsafe {
            <O::Fs as FileSystem>::InodeBase::wait_for_io(inode, || {
                if O::HAS_GIVE_UP_READS {
                    O::give_up_reads(inode::Uncounted::from_raw(inode));
                }
            });
            bindings::truncate_inode_pages_final(&raw mut (*inode).i_data);
            if O::HAS_EVICT {
                O::evict(inode::Uncounted::from_raw(inode));
            }
            bindings::clear_inode(inode);
        }
    }

    /// Called by `iput_final` for the last reference, with `i_lock` held. Must not sleep.
    ///
    /// # Safety
    ///
    /// `inode` is of the file system, and is not evicted meanwhile.
    unsafe extern "C" fn drop_inode(inode: *mut bindings::inode) -> c_int {
        // SAFETY: The VFS calls it for an inode of this file system.
        let inode = unsafe { inode::Uncounted::from_raw(inode) };
        O::drop_inode(inode).into()
    }

    /// Called by `generic_shutdown_super`, if there is a root, with `s_umount` held for writing. May
    /// sleep.
    ///
    /// # Safety
    ///
    /// `sb` is of the file system; no dentry and no inode of it is left, and its data is there.
    unsafe extern "C" fn put_super(sb: *mut bindings::super_block) {
        // SAFETY: The VFS calls it from `kill_anon_super`, before the data is freed.
        O::put_super(unsafe { SuperBlock::<O::Fs>::from_raw(sb) }.data());
    }

    /// Called by the VFS in a task, for a path that is held, or, for ustat(2), for the root, with
    /// `s_umount` held for reading. May sleep.
    ///
    /// # Safety
    ///
    /// `dentry` is of the file system and held by the caller. `buf` is zeroed, and nobody else uses
    /// it during the call.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        buf: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS holds the dentry and gives a buffer.
            let (dentry, buf) = unsafe { (Dentry::from_raw(dentry), StatFs::from_raw(buf)) };
            O::statfs(dentry, buf)?;
            Ok(0)
        })
    }

    /// Called by the VFS for `/proc/mounts` and statmount(2), with `namespace_sem` held for reading.
    /// May sleep.
    ///
    /// # Safety
    ///
    /// `seq` is valid during the call, and nobody else uses it. `root` is the root of a mount of
    /// the file system, which is held.
    unsafe extern "C" fn show_options(
        seq: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: Both are valid for this call.
            let (seq, root) = unsafe { (SeqFile::from_raw(seq), Dentry::from_raw(root)) };
            O::show_options(root, seq)?;
            Ok(0)
        })
    }

    /// Called by `do_umount` with `MNT_FORCE`, in a task. No lock is held; may sleep. Others use the
    /// mount meanwhile.
    ///
    /// # Safety
    ///
    /// `sb` is of the file system; the caller holds a mount of it.
    unsafe extern "C" fn umount_begin(sb: *mut bindings::super_block) {
        // SAFETY: The VFS holds the super block.
        O::umount_begin(unsafe { SuperBlock::from_raw(sb) });
    }
}
