// SPDX-License-Identifier: GPL-2.0
//! Ids of users and groups, and how a mount maps them.
//!
//! C headers: [`include/linux/uidgid.h`](srctree/include/linux/uidgid.h),
//! [`include/linux/mnt_idmapping.h`](srctree/include/linux/mnt_idmapping.h)
//!
//! ```
//! use kernel_ext::fs::idmap::{Kgid, Kuid};
//! use kernel_ext::fs::{FileSystem, Inode};
//!
//! /// What a server says of the owner, in numbers.
//! fn take_owner<T: FileSystem>(inode: &Inode<T>, uid: u32, gid: u32) {
//!     inode.set_owner(Kuid::new(uid), Kgid::new(gid));
//!     assert_eq!(inode.uid().get(), uid);
//! }
//! ```

use crate::bindings;
use core::marker::PhantomData;

/// A user, as the kernel has it (`kuid_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kuid(u32);

impl Kuid {
    /// The user with this number in the initial user namespace.
    pub const fn new(uid: u32) -> Self {
        Self(uid)
    }

    /// The number in the initial user namespace.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A group, as the kernel has it (`kgid_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kgid(u32);

impl Kgid {
    /// The group with this number in the initial user namespace.
    pub const fn new(gid: u32) -> Self {
        Self(gid)
    }

    /// The number in the initial user namespace.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// How the mount that an operation is called through maps ids.
///
/// # Invariants
///
/// It is valid for `'a`.
#[derive(Clone, Copy)]
pub struct Idmap<'a>(*mut bindings::mnt_idmap, PhantomData<&'a ()>);

impl Idmap<'_> {
    /// # Safety
    ///
    /// `ptr` must be valid as long as this is used.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::mnt_idmap) -> Self {
        // INVARIANT: The caller's obligation.
        Self(ptr, PhantomData)
    }

    /// The C object.
    pub(super) fn as_ptr(self) -> *mut bindings::mnt_idmap {
        self.0
    }
}
