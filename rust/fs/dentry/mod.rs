// SPDX-License-Identifier: GPL-2.0
//! Dentries.
//!
//! C header: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)
//!
//! Type state only where the VFS has it: [`Unhashed`] is what `lookup` gets, [`InLookup`]
//! what readdir may add; both become a [`Dentry`] when they are spliced into the tree.
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

use super::inode::{self, Inode, InodeRef};
use super::{FileSystem, SuperBlock};
use crate::bindings;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use kernel::error::from_err_ptr;
use kernel::ffi::c_uint;
use kernel::prelude::*;
use kernel::types::Opaque;

mod ops;

pub(super) use ops::table;
pub use ops::Operations;

/// Data of a dentry.
///
/// It is dropped in an RCU callback, so its destructor must not sleep.
pub trait DentryData: Send + Sync + Sized {
    /// The data of a new dentry. May be called with locks held that forbid to enter the
    /// file system again.
    fn init() -> impl PinInit<Self, Error>;
}

/// What `d_fsdata` points to.
#[repr(C)]
pub(super) struct Memory<T: FileSystem> {
    pub(super) rcu: Opaque<bindings::callback_head>,
    /// For [`super::super_block::Inner::defer_dput`].
    deferred: Opaque<bindings::llist_node>,
    pub(super) dentry: *mut bindings::dentry,
    pub(super) data: MaybeUninit<T::Dentry>,
}

/// A dentry that is alive, but perhaps not referenced.
///
/// # Invariants
///
/// It is of the file system `T`, `d_init` has made its data, and neither is freed before
/// the end of the reference to this.
#[repr(transparent)]
pub struct Uncounted<T: FileSystem>(Opaque<bindings::dentry>, PhantomData<T>);

// SAFETY: All that can be done with a shared reference may be done by any task; the data
// is `Sync`.
unsafe impl<T: FileSystem> Sync for Uncounted<T> {}

impl<T: FileSystem> Uncounted<T> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dentry) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub fn as_ptr(&self) -> *mut bindings::dentry {
        self.0.get()
    }

    /// The data of the file system.
    pub fn data(&self) -> Pin<&T::Dentry> {
        // SAFETY: By the invariant `d_fsdata` is set, once, and its data is initialised
        // and does not move.
        unsafe {
            let memory: *const Memory<T> = (*self.as_ptr()).d_fsdata.cast();
            Pin::new_unchecked((*memory).data.assume_init_ref())
        }
    }

    pub(super) fn deferred_node(&self) -> *mut bindings::llist_node {
        // SAFETY: By the invariant `d_fsdata` is set.
        unsafe {
            let memory: *const Memory<T> = (*self.as_ptr()).d_fsdata.cast();
            (*memory).deferred.get()
        }
    }

    /// # Safety
    ///
    /// `node` must come from [`Uncounted::deferred_node`].
    pub(super) unsafe fn from_deferred_node(
        node: *mut bindings::llist_node,
    ) -> *mut bindings::dentry {
        // SAFETY: It is that member, as it comes from `deferred_node`, and `d_init` has
        // set the other.
        unsafe { (*kernel::container_of!(Opaque::cast_from(node), Memory<T>, deferred)).dentry }
    }

    /// The inode, which may change any time, unless negative.
    pub fn inode_uncounted(&self) -> Option<&inode::Uncounted<T>> {
        // SAFETY: The dentry is valid. In RCU walk, or with the dentry held or locked, the
        // inode is not freed before the end of the borrow.
        unsafe {
            let inode = ptr::read_volatile(&raw const (*self.as_ptr()).d_inode);
            (!inode.is_null()).then(|| inode::Uncounted::from_raw(inode))
        }
    }

    /// True if it has no inode.
    pub fn is_negative(&self) -> bool {
        self.inode_uncounted().is_none()
    }

    /// True if it is a root.
    pub fn is_root(&self) -> bool {
        // SAFETY: The dentry is valid.
        let parent = unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).d_parent) };
        parent == self.as_ptr()
    }

    /// True if it is not in the tree.
    pub fn is_unhashed(&self) -> bool {
        // SAFETY: The dentry is valid.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).d_hash.pprev).is_null() }
    }

    /// The parent, for callers with the lock of the dentry held, when it cannot change.
    pub(super) fn parent_uncounted(&self) -> &Uncounted<T> {
        // SAFETY: A dentry holds its parent until it is freed.
        unsafe { Self::from_raw((*self.as_ptr()).d_parent) }
    }
}

/// A dentry with a reference.
///
/// # Invariants
///
/// It has a reference for the lifetime of the borrow.
#[repr(transparent)]
pub struct Dentry<T: FileSystem>(Uncounted<T>);

impl<T: FileSystem> Deref for Dentry<T> {
    type Target = Uncounted<T>;

    fn deref(&self) -> &Uncounted<T> {
        &self.0
    }
}

impl<T: FileSystem> Dentry<T> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dentry) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The super block.
    pub fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: It outlives its dentries, and does not change.
        unsafe { SuperBlock::from_raw((*self.as_ptr()).d_sb) }
    }

    /// One more reference. Any context.
    pub fn get(&self) -> DentryRef<T> {
        self.super_block().inner().gate.get();
        // SAFETY: It has a reference.
        unsafe { bindings::dget(self.as_ptr()) };
        // INVARIANT: Just counted.
        DentryRef(NonNull::from(self).cast(), PhantomData)
    }

    /// The inode, unless negative. (A dentry that is held may become positive, but not
    /// negative: only `d_delete` does that, when nobody else holds it, and is not offered
    /// here.)
    pub fn inode(&self) -> Option<&Inode<T>> {
        // SAFETY: The dentry holds its inode, and does not lose it while it is held.
        unsafe {
            let inode = ptr::read_volatile(&raw const (*self.as_ptr()).d_inode);
            (!inode.is_null()).then(|| Inode::from_raw(inode))
        }
    }

    /// The parent; a root is its own.
    pub fn parent(&self) -> DentryRef<T> {
        // SAFETY: It has a reference, so the parent is valid and comes with one.
        let parent = unsafe { DentryRef::from_vfs(bindings::dget_parent(self.as_ptr())) };
        match parent {
            Some(parent) => parent,
            // Every dentry has a parent.
            None => self.get(),
        }
    }

    /// A copy of the name. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn name(&self) -> Result<KVec<u8>> {
        let mut out = KVec::new();
        let mut snapshot = bindings::name_snapshot::default();
        // The name may point to another part of the snapshot: no references to it.
        let snapshot = &raw mut snapshot;
        // SAFETY: The dentry has a reference; the snapshot is valid, does not move and is
        // released below, and its name has the length that it says until then.
        unsafe {
            bindings::take_dentry_name_snapshot(snapshot, self.as_ptr());
            let len = (*snapshot).name.__bindgen_anon_1.__bindgen_anon_1.len as usize;
            let name = core::slice::from_raw_parts((*snapshot).name.name, len);
            let result = out.extend_from_slice(name, GFP_KERNEL);
            bindings::release_dentry_name_snapshot(snapshot);
            result?;
        }
        Ok(out)
    }

    /// Its path from the root of the file system. May sleep.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG`, `ENOMEM`.
    pub fn path(&self) -> Result<KVec<u8>> {
        const LEN: usize = bindings::PATH_MAX as usize;
        let mut buf = KVec::from_elem(0u8, LEN, GFP_KERNEL)?;
        // SAFETY: The dentry has a reference; the buffer is as long as it says.
        let path = from_err_ptr(unsafe {
            bindings::dentry_path_raw(self.as_ptr(), buf.as_mut_ptr().cast(), LEN as c_int)
        })?;
        let at = (path as usize).saturating_sub(buf.as_ptr() as usize);
        let mut out = KVec::new();
        let text = buf.get(at..).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        out.extend_from_slice(text, GFP_KERNEL)?;
        Ok(out)
    }

    /// Takes it out of the tree: the next lookup asks the file system. Takes the lock of
    /// the dentry; does not sleep.
    pub fn unhash(&self) {
        // SAFETY: It has a reference.
        unsafe { bindings::d_drop(self.as_ptr()) };
    }

    /// Takes it and all below out of the tree, with what is mounted there. May sleep.
    pub fn invalidate(&self) {
        // SAFETY: It has a reference.
        unsafe { bindings::d_invalidate(self.as_ptr()) };
    }

    /// Drops all dentries below that nobody uses. May sleep.
    pub fn shrink_children(&self) {
        // SAFETY: It has a reference.
        unsafe { bindings::shrink_dcache_parent(self.as_ptr()) };
    }

    /// Finds a child in the dentry cache. Does not sleep.
    pub fn cached_child(&self, name: &[u8]) -> Option<DentryRef<T>> {
        let name = self.qstr(name)?;
        // SAFETY: It has a reference; the name is hashed for it.
        unsafe { DentryRef::from_vfs(bindings::d_lookup(self.as_ptr(), &name)) }
    }

    /// `None` if the name is empty or too long.
    fn qstr(&self, name: &[u8]) -> Option<bindings::qstr> {
        if name.is_empty() || name.len() > bindings::NAME_MAX as usize {
            return None;
        }
        let len = name.len() as u32;
        // SAFETY: The name has that length.
        let hash =
            unsafe { bindings::full_name_hash(self.as_ptr().cast(), name.as_ptr().cast(), len) };
        Some(bindings::qstr {
            name: name.as_ptr(),
            __bindgen_anon_1: bindings::qstr__bindgen_ty_1 {
                __bindgen_anon_1: bindings::qstr__bindgen_ty_1__bindgen_ty_1 { hash, len },
            },
        })
    }
}

/// A counted reference to a dentry.
///
/// Dropping it never sleeps: if it is the last one, the work item of the super block puts
/// it, since that may evict the inode. So it may be dropped anywhere. Calls from the VFS,
/// which may sleep, rather use [`DentryRef::put_now`].
///
/// # Invariants
///
/// It owns a reference, which is counted at the gate of the super block too.
pub struct DentryRef<T: FileSystem>(NonNull<bindings::dentry>, PhantomData<T>);

// SAFETY: References may be passed on and put by any task.
unsafe impl<T: FileSystem> Send for DentryRef<T> {}
// SAFETY: As for `Dentry`.
unsafe impl<T: FileSystem> Sync for DentryRef<T> {}

impl<T: FileSystem> DentryRef<T> {
    /// Takes over a reference from the VFS, if there is one.
    ///
    /// # Safety
    ///
    /// `dentry` must be null, or of `T` and have a reference that the caller owns.
    pub(super) unsafe fn from_vfs(dentry: *mut bindings::dentry) -> Option<Self> {
        let dentry = NonNull::new(dentry)?;
        // SAFETY: It is not null, so it is of `T` and has a reference.
        unsafe { Dentry::<T>::from_raw(dentry.as_ptr()) }
            .super_block()
            .inner()
            .gate
            .get();
        // INVARIANT: Just counted.
        Some(Self(dentry, PhantomData))
    }

    /// Puts the reference here and now. May sleep, and evict the inode.
    pub fn put_now(self) {
        let this = ManuallyDrop::new(self);
        let inner: *const super::super_block::Inner<T> = this.super_block().inner();
        // SAFETY: The reference is ours; the count at the gate, put after it, keeps the
        // super block alive.
        unsafe {
            bindings::dput(this.0.as_ptr());
            (*inner).gate.put();
        }
    }

    /// Gives the reference to the VFS.
    fn into_vfs(self) -> *mut bindings::dentry {
        let this = ManuallyDrop::new(self);
        // The VFS keeps the super block alive as long as it has references.
        this.super_block().inner().gate.put();
        this.0.as_ptr()
    }
}

impl<T: FileSystem> Clone for DentryRef<T> {
    fn clone(&self) -> Self {
        self.get()
    }
}

impl<T: FileSystem> Deref for DentryRef<T> {
    type Target = Dentry<T>;

    fn deref(&self) -> &Dentry<T> {
        // SAFETY: By the invariant.
        unsafe { Dentry::from_raw(self.0.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for DentryRef<T> {
    fn drop(&mut self) {
        let inner: *const super::super_block::Inner<T> = self.super_block().inner();
        // SAFETY: The reference is ours; the count at the gate keeps `inner` alive until
        // it is put, here or by the work item.
        unsafe {
            if bindings::dentry_put_not_last(self.0.as_ptr()) {
                (*inner).gate.put();
            } else {
                (*inner).defer_dput(Uncounted::from_raw(self.0.as_ptr()));
            }
        }
    }
}

/// Flags of a lookup.
#[derive(Clone, Copy)]
pub struct LookupFlags(c_uint);

impl LookupFlags {
    pub(super) fn new(flags: c_uint) -> Self {
        LookupFlags(flags)
    }

    /// True if the last component shall be opened.
    pub fn open(self) -> bool {
        self.0 & bindings::LOOKUP_OPEN != 0
    }

    /// True if the last component shall be made.
    pub fn create(self) -> bool {
        self.0 & bindings::LOOKUP_CREATE != 0
    }

    /// True if only a directory will do.
    pub fn directory(self) -> bool {
        self.0 & bindings::LOOKUP_DIRECTORY != 0
    }

    /// True if the caller wants to be sure that it is still valid on the server.
    pub fn revalidate(self) -> bool {
        self.0 & bindings::LOOKUP_REVAL != 0
    }
}

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
    pub(super) unsafe fn from_raw(ptr: *mut bindings::dentry) -> Self {
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
    pub(super) fn into_vfs(self) -> *mut bindings::dentry {
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
    pub(super) unsafe fn new(dir: &'a Dentry<T>) -> Self {
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
