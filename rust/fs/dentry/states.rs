// SPDX-License-Identifier: GPL-2.0
//! Dentries that are being looked up, as [`Unhashed`] and [`InLookup`]; both become a
//! [`Dentry`] when they are spliced into the tree.
//!
//! A lookup that knows all names; what it does not know becomes a negative dentry:
//!
//! ```
//! use kernel_ext::fs::dentry::{Spliced, Unhashed};
//! use kernel_ext::fs::{inode::Key, FileSystem, Inode};
//!
//! fn lookup<'a, T: FileSystem>(
//!     dir: &Inode<T>,
//!     dentry: Unhashed<'a, T>,
//!     known: fn(&[u8]) -> Option<Key<T>>,
//! ) -> Result<Spliced<'a, T>> {
//!     let inode = known(dentry.name()).and_then(|key| dir.super_block().find_inode(&key));
//!     dentry.splice(inode)
//! }
//! ```

use super::{Dentry, DentryRef};
use crate::bindings;
use crate::fs::inode::InodeRef;
use crate::fs::FileSystem;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use kernel::error::from_err_ptr;
use kernel::prelude::*;

/// A dentry that is not in the tree yet, of a directory that is locked.
///
/// # Invariants
///
/// The caller of the operation holds it, and nobody changes its name and parent.
pub struct Unhashed<'a, T: FileSystem>(&'a Dentry<T>);

impl<'a, T: FileSystem> Unhashed<'a, T> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(in crate::fs) unsafe fn from_raw(ptr: *mut bindings::dentry) -> Self {
        // SAFETY: The caller says that the dentry is held for `'a`.
        Self(unsafe { Dentry::from_raw(ptr) })
    }

    /// The dentry.
    pub fn dentry(&self) -> &'a Dentry<T> {
        self.0
    }

    /// The name. It may change once the dentry is in the tree.
    pub fn name(&self) -> &[u8] {
        // SAFETY: By the invariant the name does not change, until `splice` takes `self`:
        // then a lookup elsewhere may move the dentry.
        unsafe { stable_name(self.0.as_ptr()) }
    }

    /// The parent.
    pub fn parent(&self) -> &'a Dentry<T> {
        // SAFETY: By the invariant the parent does not change as long as we have `self`. The
        // VFS holds it for all of `'a`, as that is the directory that it has locked.
        unsafe { Dentry::from_raw((*self.0.as_ptr()).d_parent) }
    }

    /// Puts it into the tree, with an inode or as a negative dentry. A directory that has
    /// a dentry already is moved here, and that dentry is the result.
    ///
    /// # Errors
    ///
    /// `EXDEV` for an inode of another super block, `EINVAL` for one that is still
    /// [`inode::New`]; `ELOOP` for a directory that this one is in, `ESTALE` for one whose
    /// dentry cannot be moved now.
    pub fn splice(self, inode: Option<InodeRef<T>>) -> Result<Spliced<'a, T>> {
        // SAFETY: The dentry is unhashed and held, the directory locked. What it gives comes
        // with a reference.
        let other = unsafe { DentryRef::from_vfs(splice(self.0.as_ptr(), inode)?) };
        Ok(Spliced {
            given: self.0,
            other,
        })
    }

    /// Leaves it out of the tree: what was found may be used once, by the caller. It is
    /// negative.
    pub fn leave_negative(self) -> Spliced<'a, T> {
        Spliced {
            given: self.0,
            other: None,
        }
    }
}

/// The name of a dentry.
///
/// # Safety
///
/// The dentry must be valid, and its name must not change for `'a`.
unsafe fn stable_name<'a>(dentry: *mut bindings::dentry) -> &'a [u8] {
    // SAFETY: The caller says that the dentry is valid, and keeps its name for `'a`.
    unsafe {
        let name = &raw const (*dentry).__bindgen_anon_1.d_name;
        let len = (*name).__bindgen_anon_1.__bindgen_anon_1.len as usize;
        core::slice::from_raw_parts((*name).name, len)
    }
}

/// Gives null, or another dentry that is used instead, with a reference.
///
/// # Safety
///
/// `dentry` must be of `T`, held and not hashed, with its directory locked.
unsafe fn splice<T: FileSystem>(
    dentry: *mut bindings::dentry,
    inode: Option<InodeRef<T>>,
) -> Result<*mut bindings::dentry> {
    let inode = match inode {
        Some(inode) => {
            // SAFETY: The dentry is valid.
            if inode.super_block().as_ptr() != unsafe { (*dentry).d_sb } {
                return Err(EXDEV);
            }
            inode.check_ready()?;
            inode.into_vfs()
        }
        None => ptr::null_mut(),
    };
    // SAFETY: The dentry is held and unhashed, its directory locked. It takes over the
    // reference to the inode in any case.
    unsafe { from_err_ptr(bindings::d_splice_alias(inode, dentry)) }
}

/// The result of a lookup. It dereferences to the dentry that is in use now.
pub struct Spliced<'a, T: FileSystem> {
    given: &'a Dentry<T>,
    other: Option<DentryRef<T>>,
}

impl<T: FileSystem> Deref for Spliced<'_, T> {
    type Target = Dentry<T>;

    fn deref(&self) -> &Dentry<T> {
        match &self.other {
            Some(other) => other,
            None => self.given,
        }
    }
}

impl<T: FileSystem> Spliced<'_, T> {
    /// What `lookup` returns to the VFS.
    pub(in crate::fs) fn into_vfs(self) -> *mut bindings::dentry {
        self.other.map_or(ptr::null_mut(), DentryRef::into_vfs)
    }
}

/// A dentry that is held while its directory is locked.
///
/// So the super block needs no other reference ([`DentryRef`]), and dropping it, which may
/// sleep and evict the inode, does so in a call from the VFS.
///
/// # Invariants
///
/// It owns a reference. Its directory is locked for `'a`.
pub struct Held<'a, T: FileSystem>(NonNull<bindings::dentry>, PhantomData<&'a Dentry<T>>);

impl<T: FileSystem> Held<'_, T> {
    /// # Safety
    ///
    /// `dentry` must be null, or of `T` and have a reference that the caller owns; its
    /// directory must be locked for as long as this lives.
    unsafe fn new(dentry: *mut bindings::dentry) -> Option<Self> {
        // INVARIANT: The caller's obligation.
        NonNull::new(dentry).map(|dentry| Self(dentry, PhantomData))
    }
}

impl<T: FileSystem> Deref for Held<'_, T> {
    type Target = Dentry<T>;

    fn deref(&self) -> &Dentry<T> {
        // SAFETY: By the invariant.
        unsafe { Dentry::from_raw(self.0.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The reference is ours. The directory, which is locked, keeps the super block
        // alive.
        unsafe { bindings::dput(self.0.as_ptr()) };
    }
}

/// A child that readdir has met.
pub enum Child<'a, T: FileSystem> {
    /// It is in the tree.
    Existing(Held<'a, T>),
    /// It can be added.
    InLookup(InLookup<'a, T>),
}

/// A dentry in the making, for a name that nobody else looks up now. Dropping it ends that.
///
/// # Invariants
///
/// It is in-lookup, which the owner of this has to end.
pub struct InLookup<'a, T: FileSystem>(Held<'a, T>);

impl<'a, T: FileSystem> InLookup<'a, T> {
    /// Puts it into the tree, as [`Unhashed::splice`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Unhashed::splice`].
    pub fn splice(self, inode: Option<InodeRef<T>>) -> Result<Held<'a, T>> {
        // SAFETY: By the invariants it is not hashed and the directory locked. What it gives
        // comes with a reference.
        let other = unsafe { Held::new(splice(self.0.as_ptr(), inode)?) };
        Ok(match other {
            Some(other) => other,
            None => {
                // It is in the tree now, which has ended the lookup.
                let this = ManuallyDrop::new(self);
                // SAFETY: `this` is not dropped, so the reference is moved.
                unsafe { ptr::read(&this.0) }
            }
        })
    }
}

impl<T: FileSystem> Drop for InLookup<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant. It does nothing if `splice` has done it.
        unsafe { bindings::d_lookup_done(self.0.as_ptr()) };
    }
}

/// The children of a directory that is locked, at least shared.
///
/// # Invariants
///
/// The directory's inode is locked for `'a`, and the dentry is that of a directory.
pub struct DirChildren<'a, T: FileSystem>(&'a Dentry<T>);

impl<'a, T: FileSystem> DirChildren<'a, T> {
    /// # Safety
    ///
    /// As in the invariants.
    pub(in crate::fs) unsafe fn new(dir: &'a Dentry<T>) -> Self {
        Self(dir)
    }

    /// Gives the child of that name to `f`: one that is in the tree, or one in the making.
    /// Waits while another task looks up the name. If it is `likely` to be in the tree it is
    /// looked for before one is made.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the name is empty or too long.
    pub fn with_child<R>(
        &self,
        name: &[u8],
        likely: bool,
        f: impl for<'c> FnOnce(Child<'c, T>) -> R,
    ) -> Result<R> {
        let name = self.0.qstr(name).ok_or(EINVAL)?;
        if likely {
            // SAFETY: The directory is held and locked; the name is hashed for it. What it
            // gives comes with a reference, and `f` cannot keep it longer than the lock.
            let cached = unsafe { Held::new(bindings::d_lookup(self.0.as_ptr(), &name)) };
            if let Some(dentry) = cached {
                return Ok(f(Child::Existing(dentry)));
            }
        }
        // SAFETY: The directory is held and locked; the name is hashed for it.
        let dentry = unsafe { from_err_ptr(bindings::d_alloc_parallel(self.0.as_ptr(), &name))? };
        // SAFETY: It comes with a reference, and `f` cannot keep it longer than the lock.
        let dentry = unsafe { Held::new(dentry) }.ok_or(ENOMEM)?;
        // SAFETY: It is held.
        let child = if unsafe { bindings::d_in_lookup(dentry.as_ptr()) } != 0 {
            // INVARIANT: The state was made for us.
            Child::InLookup(InLookup(dentry))
        } else {
            Child::Existing(dentry)
        };
        Ok(f(child))
    }
}
