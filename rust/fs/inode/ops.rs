// SPDX-License-Identifier: GPL-2.0
//! The operations of inodes, as a trait and as a table.

use super::attr::{GetAttr, Stat};
use super::{Inode, Locked, Uncounted};
use crate::bindings;
use crate::fs::acl::{Acl, AclType};
use crate::fs::idmap::Idmap;
use crate::fs::xattr::NameList;
use crate::fs::{dentry, FileSystem};
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use kernel::error::from_result;
use kernel::ffi::{c_char, c_int, c_uint};
use kernel::prelude::*;
use kernel::str::CStr;

/// What `permission` is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Access(c_int);

impl Access {
    /// To read.
    pub fn read(self) -> bool {
        self.0 & bindings::MAY_READ as c_int != 0
    }

    /// To write.
    pub fn write(self) -> bool {
        self.0 & bindings::MAY_WRITE as c_int != 0
    }

    /// To execute or to search.
    pub fn execute(self) -> bool {
        self.0 & bindings::MAY_EXEC as c_int != 0
    }
}

/// The check of mode bits and ids that the VFS offers.
pub struct GenericPermission<'a> {
    idmap: Idmap<'a>,
    inode: *mut bindings::inode,
    mask: c_int,
    _p: PhantomData<&'a ()>,
}

impl GenericPermission<'_> {
    /// Checks what the call asks for.
    ///
    /// # Errors
    ///
    /// `EACCES`; `ECHILD` in RCU walk if it cannot be told.
    pub fn check(&self) -> Result {
        // SAFETY: The VFS has given all three for this call.
        kernel::error::to_result(unsafe {
            bindings::generic_permission(self.idmap.as_ptr(), self.inode, self.mask)
        })
    }
}

/// The operations of an inode.
#[vtable]
pub trait Operations: Sized {
    /// The file system.
    type Fs: FileSystem;

    /// Finds `dentry` in the directory `dir`. May sleep.
    fn lookup<'a>(
        _dir: Locked<'_, Self::Fs>,
        _dentry: dentry::Unhashed<'a, Self::Fs>,
        _flags: dentry::LookupFlags,
    ) -> Result<dentry::Spliced<'a, Self::Fs>> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Checks the permission to use the inode.
    fn permission(
        _inode: &Inode<Self::Fs>,
        _access: Access,
        _generic: GenericPermission<'_>,
    ) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// As [`Operations::permission`], in RCU walk: it must not sleep, and leaves it to
    /// that by `ECHILD` if it cannot tell.
    fn permission_rcu(
        _inode: &Uncounted<Self::Fs>,
        _access: Access,
        _generic: GenericPermission<'_>,
    ) -> Result {
        Err(ECHILD)
    }

    /// An ACL of the inode, or that it has none. The VFS keeps either until
    /// [`Uncounted::forget_acls`]; if that is called meanwhile, it does not. May sleep.
    fn get_inode_acl(_inode: &Inode<Self::Fs>, _kind: AclType) -> Result<Option<Acl>> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Lists the names of the extended attributes. May sleep.
    fn listxattr(_inode: &Inode<Self::Fs>, _list: NameList<'_>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Answers stat(2).
    fn getattr(_call: GetAttr<'_, Self::Fs>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// The target of a symbolic link. It may be used until the inode is freed.
    fn get_link<'a>(_inode: &'a Inode<Self::Fs>) -> Result<&'a CStr> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// As [`Operations::get_link`], in RCU walk: it must not sleep, and leaves it to that
    /// by `ECHILD` if it does not know.
    fn get_link_rcu<'a>(_inode: &'a Uncounted<Self::Fs>) -> Result<&'a CStr> {
        Err(ECHILD)
    }
}

/// The table of `O`.
pub(super) const fn table<O: Operations>() -> *const bindings::inode_operations {
    &Vtable::<O>::TABLE
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::inode_operations = {
        assert!(
            O::HAS_PERMISSION || !O::HAS_PERMISSION_RCU,
            "`permission_rcu` without `permission`: neither would be called",
        );
        assert!(
            O::HAS_GET_LINK || !O::HAS_GET_LINK_RCU,
            "`get_link_rcu` without `get_link`: neither would be called",
        );
        bindings::inode_operations {
            lookup: if O::HAS_LOOKUP {
                Some(Self::lookup)
            } else {
                None
            },
            permission: if O::HAS_PERMISSION {
                Some(Self::permission)
            } else {
                None
            },
            get_inode_acl: if O::HAS_GET_INODE_ACL {
                Some(Self::get_inode_acl)
            } else {
                None
            },
            listxattr: if O::HAS_LISTXATTR {
                Some(Self::listxattr)
            } else {
                None
            },
            getattr: if O::HAS_GETATTR {
                Some(Self::getattr)
            } else {
                None
            },
            get_link: if O::HAS_GET_LINK {
                Some(Self::get_link)
            } else {
                None
            },
            // SAFETY: All members are nullable pointers.
            ..unsafe { MaybeUninit::zeroed().assume_init() }
        }
    };

    /// Called by the VFS for a name that is not in the dentry cache. `i_rwsem` of `dir` is held, at
    /// least shared. May sleep.
    ///
    /// # Safety
    ///
    /// `dir` is a directory of the file system with these operations, and is held by the caller.
    /// `dentry` is a negative child of it, not hashed, held by the caller; nobody else looks up
    /// the name, and neither name nor parent changes before it is hashed or this returns. The
    /// caller takes over the reference that comes with another dentry that is returned.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: The caller's obligation.
        let (dir, dentry) = unsafe {
            (
                Locked::new(Inode::from_raw(dir)),
                dentry::Unhashed::from_raw(dentry),
            )
        };
        match O::lookup(dir, dentry, dentry::LookupFlags::new(flags)) {
            Ok(spliced) => spliced.into_vfs(),
            Err(err) => err.to_ptr(),
        }
    }

    /// Called by the VFS. `i_rwsem` is held or not. With `MAY_NOT_BLOCK` it is RCU walk: in an RCU
    /// section, must not sleep. Else it may.
    ///
    /// # Safety
    ///
    /// `inode` has these operations. The caller holds it, or, in RCU walk, is in an RCU section
    /// that began before it could be freed. `idmap` is valid during the call.
    unsafe extern "C" fn permission(
        idmap: *mut bindings::mnt_idmap,
        inode: *mut bindings::inode,
        mask: c_int,
    ) -> c_int {
        from_result(|| {
            let generic = GenericPermission {
                // SAFETY: The caller's obligation.
                idmap: unsafe { Idmap::from_raw(idmap) },
                inode,
                mask,
                _p: PhantomData,
            };
            // SAFETY: The VFS calls it for an inode that it holds or, in RCU walk, that
            // is not freed before the end of the RCU section.
            unsafe {
                if mask & bindings::MAY_NOT_BLOCK as c_int != 0 {
                    O::permission_rcu(Uncounted::from_raw(inode), Access(mask), generic)?;
                } else {
                    O::permission(Inode::from_raw(inode), Access(mask), generic)?;
                }
            }
            Ok(0)
        })
    }

    /// Called by the VFS to check a permission or to read an ACL, in a task. No lock of the inode
    /// is held; may sleep, unless `rcu` is set.
    ///
    /// # Safety
    ///
    /// `inode` has these operations, and a reference during the call unless `rcu` is set.
    unsafe extern "C" fn get_inode_acl(
        inode: *mut bindings::inode,
        kind: c_int,
        rcu: bool,
    ) -> *mut bindings::posix_acl {
        if rcu {
            return ECHILD.to_ptr();
        }
        // SAFETY: The caller's obligation.
        let inode = unsafe { Inode::from_raw(inode) };
        match O::get_inode_acl(inode, AclType::from_raw(kind)) {
            Ok(Some(acl)) => acl.into_vfs(),
            Ok(None) => core::ptr::null_mut(),
            Err(err) => err.to_ptr(),
        }
    }

    /// Called by `vfs_listxattr`, in a task. No lock of the inode is held; may sleep.
    ///
    /// # Safety
    ///
    /// The caller holds `dentry`, which is positive and stays so, of an inode with these
    /// operations. `size` bytes from `buf` can be written during the call, by nobody else, or
    /// `size` is 0.
    unsafe extern "C" fn listxattr(
        dentry: *mut bindings::dentry,
        buf: *mut c_char,
        size: usize,
    ) -> isize {
        let len = Cell::new(0);
        // SAFETY: The caller's obligation.
        let (inode, list) = unsafe {
            (
                Inode::from_raw((*dentry).d_inode),
                NameList::from_raw(buf, size, &len),
            )
        };
        match O::listxattr(inode, list) {
            Ok(()) => len.get() as isize,
            Err(err) => err.to_errno() as isize,
        }
    }

    /// Called by `vfs_getattr_nosec`, in a task. No lock of the inode is held; may sleep.
    ///
    /// # Safety
    ///
    /// The caller holds `path`, whose dentry is positive and stays so, of an inode with these
    /// operations. `stat` is initialised, and nobody else uses it; `idmap` is that of the mount.
    /// All are valid during the call.
    unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        request_mask: u32,
        query_flags: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS holds the path, whose dentry is positive, and gives a buffer.
            let call = unsafe {
                GetAttr {
                    idmap: Idmap::from_raw(idmap),
                    inode: Inode::from_raw((*(*path).dentry).d_inode),
                    stat: Stat::from_raw(stat),
                    request_mask,
                    query_flags,
                }
            };
            O::getattr(call)?;
            Ok(0)
        })
    }

    /// Called by the VFS. With no dentry it is RCU walk: in an RCU section, must not sleep. Else it
    /// may; no lock is held.
    ///
    /// # Safety
    ///
    /// `inode` has these operations. If `dentry` is not null, the caller holds both, and uses the
    /// string no longer than that. Else it uses inode and string in an RCU section that began
    /// before the inode could be freed.
    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        _done: *mut bindings::delayed_call,
    ) -> *const c_char {
        // SAFETY: The VFS calls it for an inode that it holds, or without a dentry in RCU
        // walk, when the inode is not freed before the end of the RCU section. It uses
        // the string no longer than that.
        let link = unsafe {
            if dentry.is_null() {
                O::get_link_rcu(Uncounted::from_raw(inode))
            } else {
                O::get_link(Inode::from_raw(inode))
            }
        };
        match link {
            Ok(link) => link.as_char_ptr(),
            Err(err) => err.to_ptr::<c_char>(),
        }
    }
}
