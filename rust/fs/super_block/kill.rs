// SPDX-License-Identifier: GPL-2.0
//! The end of a super block: see [`super`].

use super::{Inner, Operations, SuperBlock};
use crate::bindings;
use crate::fs::{registration, FileSystem};
use core::ptr;
use kernel::prelude::*;

/// `kill_sb` of the file system type.
///
/// # Safety
///
/// To be called by the VFS (`deactivate_locked_super`) for a super block that
/// [`sget`](super::sget) has made, once, when the last active reference is gone, with
/// `s_umount` held for writing, which this releases. May sleep.
pub(in crate::fs) unsafe extern "C" fn kill_sb<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: It is valid until the end of this function, and `s_fs_info` is set below only.
    let inner: *mut Inner<T> = unsafe { (*sb).s_fs_info.cast() };
    {
        // SAFETY: As above.
        let this = unsafe { SuperBlock::<T>::from_raw(sb) };
        if <T::SuperOps as Operations>::HAS_QUIESCE {
            <T::SuperOps as Operations>::quiesce(this);
        }
        if this.root().is_some() {
            // What fails is with those who sync, and with the log.
            // SAFETY: `s_umount` is held, and the gate is open for who writes.
            let _ = unsafe { bindings::sync_filesystem(sb) };
        }
        <T::SuperOps as Operations>::close(this);
        let force = || {
            if <T::SuperOps as Operations>::HAS_UMOUNT_BEGIN {
                <T::SuperOps as Operations>::umount_begin(this);
            }
        };
        let waits = if <T::SuperOps as Operations>::HAS_WAITS {
            Some(<T::SuperOps as Operations>::waits(this.data()))
        } else {
            None
        };
        this.inner().gate.close(waits, force);
    }
    // SAFETY: The work item is initialised. Nothing is deferred any more, as that is
    // counted at the gate, but it may still be returning.
    unsafe { bindings::cancel_work_sync((*inner).work.get()) };
    if <T::SuperOps as Operations>::HAS_UNREFERENCED {
        // SAFETY: The data is dropped below.
        <T::SuperOps as Operations>::unreferenced(unsafe { (*inner).data_ref() });
    }
    // SAFETY: The VFS calls us with the lock that this takes over. After it `sget_fc` skips
    // the super block, which is marked dead under the lock of the list.
    unsafe { bindings::kill_anon_super(sb) };
    // SAFETY: It is valid. The only readers left are RCU walks that began while it was
    // mounted; they see the data or null.
    unsafe { ptr::write_volatile(&raw mut (*sb).s_fs_info, ptr::null_mut()) };
    // SAFETY: No lock is held. This waits for them.
    unsafe { bindings::synchronize_rcu() };
    // SAFETY: It is valid still.
    if unsafe { (*inner).gate.is_empty() } {
        // SAFETY: It comes from `sget`, and nobody looks at it any more.
        drop(unsafe { Pin::new_unchecked(KBox::from_raw(inner)) });
    } else {
        // Who has made a reference too late, which was reported, may find it.
        pr_err!("the data of a super block is not freed\n");
    }
    // SAFETY: The type is that of a registration, which is in use until here.
    unsafe { registration::Inner::from_fs_type((*sb).s_type) }.end_use();
}
