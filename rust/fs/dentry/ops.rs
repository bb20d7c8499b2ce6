// SPDX-License-Identifier: GPL-2.0
//! The operations of dentries, as a trait and as a table.

use super::{Dentry, DentryData, LookupFlags, Memory, Stable, Uncounted};
use crate::bindings;
use crate::fs::inode::{self, Inode};
use crate::fs::FileSystem;
use crate::pin_init::init_at;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use kernel::ffi::{c_int, c_uint, c_void};
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;

/// The operations of all dentries of a file system.
#[vtable]
pub trait Operations: Sized {
    /// The file system.
    type Fs: FileSystem<DentryOps = Self>;

    /// Whether the dentry is still valid. `name` and `dir` are those that were looked up.
    fn revalidate(
        _dir: &Inode<Self::Fs>,
        _name: &[u8],
        _dentry: &Dentry<Self::Fs>,
        _flags: LookupFlags,
    ) -> Result<bool> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// As [`Operations::revalidate`], in RCU walk: it must not sleep, and leaves it to that
    /// by `ECHILD` if it cannot tell. Everything may change under it.
    fn revalidate_rcu(
        _dir: &inode::Uncounted<Self::Fs>,
        _name: &[u8],
        _dentry: &Uncounted<Self::Fs>,
        _flags: LookupFlags,
    ) -> Result<bool> {
        Err(ECHILD)
    }

    /// True if the dentry shall not be kept when its last user is gone.
    ///
    /// Called with the lock of the dentry held.
    fn delete(_dentry: Stable<'_, Self::Fs>) -> bool {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// The dentry is about to be dropped; it is still in its directory.
    ///
    /// Called with the lock of the dentry held.
    fn prune(_dentry: Stable<'_, Self::Fs>) {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// The dentry is gone for all but RCU walk.
    fn release(_dentry: &Uncounted<Self::Fs>) {}
}

/// The table of `O`.
pub(in crate::fs) const fn table<O: Operations>() -> &'static bindings::dentry_operations {
    &Vtable::<O>::TABLE
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::dentry_operations = {
        assert!(
            O::HAS_REVALIDATE || !O::HAS_REVALIDATE_RCU,
            "`revalidate_rcu` without `revalidate`: neither would be called",
        );
        bindings::dentry_operations {
            d_revalidate: if O::HAS_REVALIDATE {
                Some(Self::d_revalidate)
            } else {
                None
            },
            d_delete: if O::HAS_DELETE {
                Some(Self::d_delete)
            } else {
                None
            },
            d_init: Some(Self::d_init),
            d_release: Some(Self::d_release),
            d_prune: if O::HAS_PRUNE {
                Some(Self::d_prune)
            } else {
                None
            },
            // SAFETY: All members are nullable pointers.
            ..unsafe { MaybeUninit::zeroed().assume_init() }
        }
    };

    /// Called by the VFS for a dentry that it has found. With `LOOKUP_RCU` it is RCU walk: in an RCU
    /// section, must not sleep. Else it may; `i_rwsem` of `dir` may be held.
    ///
    /// # Safety
    ///
    /// `dentry` is of the file system. The caller holds it and `dir`, or, in RCU walk, is in an RCU
    /// section that began before they could be freed. `name` does not change during the call.
    unsafe extern "C" fn d_revalidate(
        dir: *mut bindings::inode,
        name: *const bindings::qstr,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: The VFS gives a name that does not change during the call.
        let bytes = unsafe {
            let len = (*name).__bindgen_anon_1.__bindgen_anon_1.len as usize;
            core::slice::from_raw_parts((*name).name, len)
        };
        let lookup = LookupFlags::new(flags);
        // SAFETY: The VFS holds directory and dentry, or is in RCU walk, when neither is
        // freed before the end of the RCU section.
        let valid = unsafe {
            if flags & bindings::LOOKUP_RCU != 0 {
                O::revalidate_rcu(
                    inode::Uncounted::from_raw(dir),
                    bytes,
                    Uncounted::from_raw(dentry),
                    lookup,
                )
            } else {
                O::revalidate(
                    Inode::from_raw(dir),
                    bytes,
                    Dentry::from_raw(dentry),
                    lookup,
                )
            }
        };
        match valid {
            Ok(valid) => valid.into(),
            Err(err) => err.to_errno(),
        }
    }

    /// Called by `dput` for the last reference, with `d_lock` held. Must not sleep.
    ///
    /// # Safety
    ///
    /// `dentry` is of the file system, hashed or not, and locked: neither name, parent nor inode
    /// changes, and it holds the last two.
    unsafe extern "C" fn d_delete(dentry: *const bindings::dentry) -> c_int {
        // SAFETY: The caller's obligation: it is locked.
        let dentry = unsafe { Stable::new(Uncounted::from_raw(dentry.cast_mut())) };
        O::delete(dentry).into()
    }

    /// Called by `__dentry_kill`, with `d_lock` held, and `i_lock` if it has an inode. Must not
    /// sleep.
    ///
    /// # Safety
    ///
    /// As for [`Self::d_delete`]; nobody has a reference any more.
    unsafe extern "C" fn d_prune(dentry: *mut bindings::dentry) {
        // SAFETY: The caller's obligation: it is locked.
        O::prune(unsafe { Stable::new(Uncounted::from_raw(dentry)) });
    }

    /// Called by `__d_alloc`, in a task: for a root, for a lookup, which holds `i_rwsem` of the
    /// directory, or for an alias. May sleep.
    ///
    /// # Safety
    ///
    /// `dentry` is new, of a super block of the file system, and nobody else has it. If this fails
    /// it is freed, without `d_release`.
    unsafe extern "C" fn d_init(dentry: *mut bindings::dentry) -> c_int {
        let memory = KBox::<Memory<O::Fs>>::new_uninit(GFP_KERNEL);
        let Ok(mut memory) = memory else {
            return ENOMEM.to_errno();
        };
        let slot: *mut Memory<O::Fs> = memory.as_mut_ptr();
        let init = <<O::Fs as FileSystem>::Dentry as DentryData>::init();
        // SAFETY: The memory is valid and stays where it is until it is dropped.
        let result = unsafe { init_at(init, (&raw mut (*slot).data).cast()) };
        if let Err(err) = result {
            return err.to_errno();
        }
        let memory = KBox::into_raw(memory);
        // SAFETY: The dentry is new, and the memory ours.
        unsafe {
            (&raw mut (*slot).handed_over).write(Atomic::new(0));
            (*slot).dentry = dentry;
            (*dentry).d_fsdata = memory.cast::<c_void>();
        }
        0
    }

    /// Called by `__dentry_kill`. No lock is held; may sleep. The dentry is out of the tree and has no
    /// inode any more.
    ///
    /// # Safety
    ///
    /// `d_init` was called for `dentry`, successfully. This is called once, when nobody has a
    /// reference; RCU walk may still look at it until a grace period has passed.
    unsafe extern "C" fn d_release(dentry: *mut bindings::dentry) {
        // SAFETY: The VFS calls it once; `d_init` has set `d_fsdata`. RCU walk may still
        // look at the data, so it is freed after a grace period; the module waits for
        // that in `Registration`.
        unsafe {
            let memory: *mut Memory<O::Fs> = (*dentry).d_fsdata.cast();
            if O::HAS_RELEASE {
                O::release(Uncounted::from_raw(dentry));
            }
            bindings::call_rcu((*memory).rcu.get(), Some(Self::free_data));
        }
    }

    /// An RCU callback, so in softirq: must not sleep.
    ///
    /// # Safety
    ///
    /// `rcu` was given to `call_rcu` by [`Self::d_release`], once, and a grace period has passed:
    /// nobody looks at the data.
    unsafe extern "C" fn free_data(rcu: *mut bindings::callback_head) {
        let memory: *mut Memory<O::Fs> = rcu.cast();
        // SAFETY: `rcu` is the first member of memory that `d_init` has made from a box,
        // and whose data it has initialised.
        unsafe {
            (*memory).data.assume_init_drop();
            drop(KBox::<MaybeUninit<Memory<O::Fs>>>::from_raw(memory.cast()));
        }
    }
}
