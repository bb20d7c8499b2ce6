// SPDX-License-Identifier: GPL-2.0
//! Mapped files.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::file::{OpenFile, Operations};
use crate::bindings;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use kernel::error::{from_result, to_result};
use kernel::ffi::{c_int, c_ulong};
use kernel::fs::LocalFile;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// A page of a mapped file is touched.
///
/// # Invariants
///
/// `vmf` is a fault in an area that maps an open file, which the kernel waits for. The area
/// itself may go as soon as the page is given.
pub struct Fault<'a> {
    vmf: *mut bindings::vm_fault,
    done: &'a Cell<Option<bindings::vm_fault_t>>,
}

impl Fault<'_> {
    /// Gives the page of the page cache, which is read first if it is not there.
    pub fn from_page_cache(self) {
        // SAFETY: By the invariant. What is returned, which may be a locked page, is what the
        // kernel gets (`Vtable::fault`), and nobody can ask twice.
        let how = unsafe { bindings::filemap_fault(self.vmf) };
        self.done.set(Some(how));
    }

    /// As [`from_page_cache`](Self::from_page_cache), but the page is read in any case: one
    /// that is there is dropped.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it cannot be dropped.
    pub fn read_anew(self) -> Result {
        // SAFETY: By the invariant; the mapping lives as long as the file. No page is locked.
        to_result(unsafe {
            let file = (*(*self.vmf).__bindgen_anon_1.vma).vm_file;
            let page = (*self.vmf).__bindgen_anon_1.pgoff;
            bindings::invalidate_inode_pages2_range((*file).f_mapping, page, page)
        })?;
        self.from_page_cache();
        Ok(())
    }
}

/// Called by `mmap_region`, in a task, with `mmap_lock` held for writing. May sleep.
///
/// # Safety
///
/// `desc` is valid during the call, and nobody else uses it. Its file is open, has the
/// operations of `O`, and will be held by the area.
pub(super) unsafe extern "C" fn mmap_prepare<O: Operations>(
    desc: *mut bindings::vm_area_desc,
) -> c_int {
    from_result(|| {
        // SAFETY: The VFS gives a description, which nobody else has. That the file can be
        // read by pages is looked after.
        unsafe {
            to_result(bindings::generic_file_readonly_mmap_prepare(desc))?;
            (*desc).vm_ops = &Vtable::<O>::TABLE;
        }
        Ok(0)
    })
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::vm_operations_struct = {
        assert!(O::HAS_FAULT, "a mapping without `fault`");
        bindings::vm_operations_struct {
            fault: Some(Self::fault),
            map_pages: if O::HAS_MAY_MAP {
                Some(Self::map_pages)
            } else {
                None
            },
            // SAFETY: All members are nullable pointers.
            ..unsafe { MaybeUninit::zeroed().assume_init() }
        }
    };

    /// # Safety
    ///
    /// `vmf` is a fault in an area with the operations [`Vtable::TABLE`], and lives as long as what is
    /// returned.
    unsafe fn mapped<'a>(vmf: *mut bindings::vm_fault) -> &'a OpenFile<O> {
        // SAFETY: The area holds the file, which is open, and which has the operations of `O`,
        // as `mmap_prepare` is one of them.
        unsafe { OpenFile::from_raw((*(*vmf).__bindgen_anon_1.vma).vm_file) }
    }

    /// Called by `__do_fault`, in a task, with `mmap_lock` held for reading or the lock of the
    /// area. May sleep. What it returns says whether the lock was dropped meanwhile.
    ///
    /// # Safety
    ///
    /// `vmf` is valid until this returns. Its area has the operations [`Vtable::TABLE`], and holds
    /// the file as long as the lock is held.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // The lock of the memory map may be dropped while the page is read, and with the map
        // the file may go.
        // SAFETY: The area holds the file until then. Its position is not used.
        let file = unsafe { LocalFile::from_raw_file((*(*vmf).__bindgen_anon_1.vma).vm_file) };
        let held = ARef::from(file);
        // SAFETY: It is open as long as it is held, and has the operations of `O`: see `mapped`.
        let file = unsafe { OpenFile::from_raw(held.as_ptr()) };
        let done = Cell::new(None);
        // INVARIANT: The caller's obligation.
        let result = O::fault(file, Fault { vmf, done: &done });
        match (done.get(), result) {
            (Some(how), _) => how,
            (None, Err(ENOMEM)) => bindings::vm_fault_reason_VM_FAULT_OOM,
            (None, _) => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }

    /// Called by `do_fault_around`, in an RCU section, with `mmap_lock` held for reading or the
    /// lock of the area. Must not sleep.
    ///
    /// # Safety
    ///
    /// `vmf` is valid until this returns, and so is its area, which has the operations
    /// [`Vtable::TABLE`] and holds the file.
    unsafe extern "C" fn map_pages(
        vmf: *mut bindings::vm_fault,
        start: c_ulong,
        end: c_ulong,
    ) -> bindings::vm_fault_t {
        // SAFETY: The caller's obligation.
        if !O::may_map(unsafe { Self::mapped(vmf) }) {
            return 0;
        }
        // SAFETY: As above.
        unsafe { bindings::filemap_map_pages(vmf, start, end) }
    }
}
