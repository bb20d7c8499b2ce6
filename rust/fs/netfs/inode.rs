// SPDX-License-Identifier: GPL-2.0
//! Inodes that netfs works on.

use super::{table, Operations};
use crate::bindings;
use crate::fs::inode::{self, mode, Base, New};
use crate::fs::{file, FileSystem};
use core::mem::MaybeUninit;
use core::ptr;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::types::Opaque;

/// `struct netfs_inode`: what all inodes of a file system begin with that uses netfs. Those
/// that have no operations of netfs are as others.
#[repr(transparent)]
pub struct Inode(Opaque<bindings::netfs_inode>);

// SAFETY: The C inode is the first member of `struct netfs_inode`.
unsafe impl Base for Inode {
    unsafe fn init(this: *mut Self) {
        // SAFETY: As the caller says.
        unsafe { bindings::netfs_inode_init(this.cast(), ptr::null()) };
    }

    unsafe fn set_size(inode: *mut bindings::inode, size: i64) {
        // SAFETY: As the caller says.
        unsafe { bindings::inode_set_sizes(inode, size) };
    }

    unsafe fn wait_for_io(inode: *mut bindings::inode, give_up: impl FnOnce()) {
        // SAFETY: As the caller says.
        unsafe {
            if bindings::netfs_has_outstanding_io(inode) {
                give_up();
            }
            bindings::netfs_wait_for_outstanding_io(inode);
        }
    }

    unsafe fn read_buffered(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> Result<usize> {
        // SAFETY: As the caller says. The operations are set, or not, before there is a file.
        let ret = unsafe {
            let inode = (*(*iocb).ki_filp).f_inode.cast::<bindings::netfs_inode>();
            if (*inode).ops.is_null() || (*iocb).ki_flags & bindings::IOCB_DIRECT != 0 {
                return Err(EINVAL);
            }
            bindings::netfs_buffered_read_iter(iocb, iter)
        };
        to_result(ret.min(0) as c_int)?;
        Ok(ret as usize)
    }
}

impl<T: FileSystem<InodeBase = Inode>> New<T> {
    /// Makes it a regular file whose pages come through netfs, in large folios.
    pub fn init_netfs<I, F, N>(&mut self, bits: u16)
    where
        I: inode::Operations<Fs = T>,
        F: file::Operations<Fs = T>,
        N: Operations<Fs = T>,
    {
        self.init_with::<I, F>(mode::REGULAR, bits);
        let raw = self.as_ptr();
        // SAFETY: By the invariant nobody else uses these fields. The memory begins with a
        // `netfs_inode`, the mapping is that of the inode; there are no pages and no reads
        // yet.
        unsafe {
            (*(*raw).i_mapping).a_ops = address_space_table();
            bindings::mapping_set_large_folios((*raw).i_mapping);
            (*raw.cast::<bindings::netfs_inode>()).ops = table::<N>();
        }
    }
}

/// The address space operations of all regular files.
const fn address_space_table() -> *const bindings::address_space_operations {
    const TABLE: bindings::address_space_operations = bindings::address_space_operations {
        read_folio: Some(bindings::netfs_read_folio),
        readahead: Some(bindings::netfs_readahead),
        dirty_folio: Some(bindings::netfs_dirty_folio),
        release_folio: Some(bindings::netfs_release_folio),
        invalidate_folio: Some(bindings::netfs_invalidate_folio),
        #[cfg(CONFIG_MIGRATION)]
        migrate_folio: Some(bindings::filemap_migrate_folio),
        // SAFETY: All members are nullable pointers.
        ..unsafe { MaybeUninit::zeroed().assume_init() }
    };
    &TABLE
}
