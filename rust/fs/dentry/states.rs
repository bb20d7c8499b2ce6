// SPDX-License-Identifier: GPL-2.0
//! Dentries that are being looked up, as [`Unhashed`] and [`InLookup`]; both become a
//! [`Dentry`] when they are spliced into the tree.
//!
//! A lookup that knows all names; what it does not know becomes a negative dentry:
//!
//! ```
//! use kernel_ext::fs::dentry::{Spliced, Unhashed};
//! use kernel_ext::fs::{
//!     inode::{Key, Locked},
//!     FileSystem,
//! };
//!
//! fn lookup<'a, T: FileSystem>(
//!     dir: Locked<'_, T>,
//!     dentry: Unhashed<'a, T>,
//!     known: fn(&[u8]) -> Option<Key<T>>,
//! ) -> Result<Spliced<'a, T>> {
//!     let inode = known(dentry.name()).and_then(|key| dir.super_block().find_inode(&key));
//!     dentry.splice(inode)
//! }
//! ```

use super::{Dentry, DentryRef, Uncounted};
use crate::bindings;
use crate::fs::inode::InodeRef;
use crate::fs::FileSystem;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use kernel::error::from_err_ptr;
use kernel::prelude::*;

/// A dentry whose name and parent do not change now.
///
/// # Invariants
///
/// So it is for `'a`: its lock is held, or it is not hashed and the lock of its directory is.
pub struct Stable<'a, T: FileSystem>(&'a Uncounted<T>);

impl<'a, T: FileSystem> Stable<'a, T> {
    /// # Safety
    ///
    /// As in the invariants.
    pub(in crate::fs) unsafe fn new(dentry: &'a Uncounted<T>) -> Self {
        // INVARIANT: The caller's obligation.
        Self(dentry)
    }

    /// The name.
    pub fn name(&self) -> &'a [u8] {
        // SAFETY: By the invariant it does not change, nor is it freed.
        unsafe {
            let name = &raw const (*self.0.as_ptr()).__bindgen_anon_1.d_name;
            let len = (*name).__bindgen_anon_1.__bindgen_anon_1.len as usize;
            core::slice::from_raw_parts((*name).name, len)
        }
    }

    /// The parent; a root is its own.
    pub fn parent(&self) -> &'a Uncounted<T> {
        // SAFETY: By the invariant it does not change, and a dentry holds its parent.
        unsafe { Uncounted::from_raw((*self.0.as_ptr()).d_parent) }
    }
}

impl<T: FileSystem> Deref for Stable<'_, T> {
    type Target = Uncounted<T>;

    fn deref(&self) -> &Uncounted<T> {
        self.0
    }
}

/// A dentry that is not in the tree yet, of a directory that is locked.
///
/// # Invariants
///
/// The caller of the operation holds it, and nobody changes its name and parent, or puts it
/// into the tree, before [`splice`](Self::splice).
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
        // SAFETY: By the invariant, until `splice` takes `self`: then a lookup elsewhere may
        // move the dentry.
        unsafe { Stable::new(self.0) }.name()
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

/// A child of a directory that is locked, for the time of one call of
/// [`DirChildren::with_child`], whose frame has this. What the callback gets only borrows
/// it, so nothing that the callback does or forgets keeps a reference.
///
/// # Invariants
///
/// It owns a reference to `dentry`, and to `other` unless that is null. If `in_lookup`, the
/// state of that name was made for us, and we have to end it.
struct Met<T: FileSystem> {
    dentry: NonNull<bindings::dentry>,
    /// What is used instead of `dentry` after a splice.
    other: Cell<*mut bindings::dentry>,
    in_lookup: bool,
    _p: PhantomData<T>,
}

impl<T: FileSystem> Met<T> {
    /// # Safety
    ///
    /// `dentry` must be null, or of `T` and have a reference that the caller owns; its
    /// directory must be locked for as long as this lives.
    unsafe fn new(dentry: *mut bindings::dentry) -> Option<Self> {
        let dentry = NonNull::new(dentry)?;
        // SAFETY: It has a reference. If it is in lookup, it was made for our caller, as
        // the lookup of others has been waited for.
        let in_lookup = unsafe { bindings::d_in_lookup(dentry.as_ptr()) } != 0;
        // INVARIANT: The caller's obligation, and as was seen.
        Some(Self {
            dentry,
            other: Cell::new(ptr::null_mut()),
            in_lookup,
            _p: PhantomData,
        })
    }

    fn lend(&self) -> Child<'_, T> {
        if self.in_lookup {
            Child::InLookup(InLookup(self))
        } else {
            // SAFETY: By the invariant.
            Child::Existing(unsafe { Dentry::from_raw(self.dentry.as_ptr()) })
        }
    }
}

impl<T: FileSystem> Drop for Met<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariants. The first does nothing if a splice has done it. The
        // directory, which is locked, keeps the super block alive.
        unsafe {
            if self.in_lookup {
                bindings::d_lookup_done(self.dentry.as_ptr());
            }
            bindings::dput(self.dentry.as_ptr());
            bindings::dput(self.other.get());
        }
    }
}

/// A child that readdir has met.
pub enum Child<'a, T: FileSystem> {
    /// It is in the tree.
    Existing(&'a Dentry<T>),
    /// It can be added.
    InLookup(InLookup<'a, T>),
}

/// A dentry in the making, for a name that nobody else looks up until the callback returns.
pub struct InLookup<'a, T: FileSystem>(&'a Met<T>);

impl<'a, T: FileSystem> InLookup<'a, T> {
    /// Puts it into the tree, as [`Unhashed::splice`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Unhashed::splice`].
    pub fn splice(self, inode: Option<InodeRef<T>>) -> Result<&'a Dentry<T>> {
        let met = self.0;
        // SAFETY: It is not hashed, as this is done once, and the directory is locked. What
        // it gives comes with a reference, which `met` keeps.
        unsafe {
            let other = splice(met.dentry.as_ptr(), inode)?;
            met.other.set(other);
            let used = if other.is_null() {
                met.dentry.as_ptr()
            } else {
                other
            };
            Ok(Dentry::from_raw(used))
        }
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
            // SAFETY: The directory is held and locked, longer than this frame; the name is
            // hashed for it. What it gives comes with a reference.
            let cached = unsafe { Met::new(bindings::d_lookup(self.0.as_ptr(), &name)) };
            if let Some(met) = cached {
                return Ok(f(met.lend()));
            }
        }
        // SAFETY: The directory is held and locked; the name is hashed for it.
        let dentry = unsafe { from_err_ptr(bindings::d_alloc_parallel(self.0.as_ptr(), &name))? };
        // SAFETY: As above.
        let met = unsafe { Met::new(dentry) }.ok_or(ENOMEM)?;
        Ok(f(met.lend()))
    }
}
