// SPDX-License-Identifier: GPL-2.0
//! POSIX ACLs.
//!
//! The VFS checks them where the super block has [`flags::POSIXACL`]: it asks the file system
//! for an ACL once ([`Operations::get_inode_acl`]) and keeps it with the inode, for RCU walk
//! too, until the file system says that it may have changed ([`Uncounted::forget_acls`]).
//!
//! C header: [`include/linux/posix_acl.h`](srctree/include/linux/posix_acl.h)
//!
//! ```
//! use kernel_ext::fs::acl::{Acl, AclType};
//!
//! /// An ACL of an inode whose extended attributes are known.
//! fn get_acl(
//!     find: impl Fn(&[u8]) -> Option<&'static [u8]>,
//!     kind: AclType,
//! ) -> Result<Option<Acl>> {
//!     match find(kind.xattr_name()) {
//!         Some(value) => Acl::from_xattr(value),
//!         None => Ok(None),
//!     }
//! }
//! ```
//!
//! [`flags::POSIXACL`]: super::super_block::flags::POSIXACL
//! [`Operations::get_inode_acl`]: super::inode::Operations::get_inode_acl
//! [`Uncounted::forget_acls`]: super::inode::Uncounted::forget_acls

use crate::bindings;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// Which of the two ACLs of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclType {
    /// Who may use the inode.
    Access,
    /// What is made in a directory begins with this one.
    Default,
}

impl AclType {
    /// `ACL_TYPE_DEFAULT` or `ACL_TYPE_ACCESS`.
    pub(super) fn from_raw(raw: c_int) -> Self {
        if raw == bindings::ACL_TYPE_DEFAULT as c_int {
            Self::Default
        } else {
            Self::Access
        }
    }

    /// The extended attribute that it is kept as.
    pub const fn xattr_name(self) -> &'static [u8] {
        match self {
            Self::Access => b"system.posix_acl_access",
            Self::Default => b"system.posix_acl_default",
        }
    }
}

/// A POSIX ACL.
///
/// # Invariants
///
/// It owns a reference.
pub struct Acl(NonNull<bindings::posix_acl>);

// SAFETY: An ACL does not change, and its references are counted atomically.
unsafe impl Send for Acl {}

impl Acl {
    /// Reads what an extended attribute holds, with the ids of the initial user namespace.
    /// `None` if it has no entries. May sleep.
    ///
    /// # Errors
    ///
    /// * `EINVAL` if it is none.
    /// * `EOPNOTSUPP` if it is of another version.
    /// * `ENOMEM`.
    pub fn from_xattr(value: &[u8]) -> Result<Option<Self>> {
        // SAFETY: As many bytes can be read.
        let acl = unsafe { bindings::acl_from_xattr(value.as_ptr().cast(), value.len()) };
        // INVARIANT: What the function returns comes with a reference.
        Ok(NonNull::new(from_err_ptr(acl)?).map(Self))
    }

    /// Gives the reference to the VFS.
    pub(super) fn into_vfs(self) -> *mut bindings::posix_acl {
        ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, by the invariant.
        unsafe { bindings::acl_release(self.0.as_ptr()) };
    }
}

#[kunit_tests(kernel_ext_fs_acl)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        // Version 2; owner rwx, group r-x, others ---.
        let value = [
            2, 0, 0, 0, //
            1, 0, 7, 0, 255, 255, 255, 255, //
            4, 0, 5, 0, 255, 255, 255, 255, //
            32, 0, 0, 0, 255, 255, 255, 255,
        ];
        assert!(matches!(Acl::from_xattr(&value), Ok(Some(_))));
        let (version, _) = value.split_at(4);
        assert!(matches!(Acl::from_xattr(version), Ok(None)));
        assert!(matches!(Acl::from_xattr(&[]), Ok(None) | Err(_)));
        assert!(Acl::from_xattr(&value[..value.len() - 1]).is_err());
        let mut other = value;
        other[0] = 3;
        assert!(Acl::from_xattr(&other).is_err());
        let mut unknown_tag = value;
        unknown_tag[4] = 64;
        assert!(Acl::from_xattr(&unknown_tag).is_err());
    }
}
