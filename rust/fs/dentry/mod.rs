// SPDX-License-Identifier: GPL-2.0
//! Dentries.
//!
//! C header: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)
//!
//! Type state only where the VFS has it: [`Unhashed`] is what `lookup` gets, [`InLookup`]
//! what readdir may add; both become a [`Dentry`] when they are spliced into the tree.

use super::inode::{self, Inode};
use super::{FileSystem, SuperBlock};
use crate::bindings;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use kernel::error::from_err_ptr;
use kernel::ffi::c_uint;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Full};
use kernel::types::Opaque;

mod ops;
mod states;

pub(super) use ops::table;
pub use ops::Operations;
pub use states::{Child, DirChildren, InLookup, Spliced, Stable, Unhashed};

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
    /// References that were handed over and not put yet. While it is not 0, the node is on
    /// the list, or its work item is about to look.
    handed_over: Atomic<u32>,
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

    /// Counts a reference that the work item of the super block shall put. True if the node
    /// has to be put on its list.
    pub(super) fn hand_over(&self) -> bool {
        // SAFETY: By the invariant `d_fsdata` is set.
        let memory = unsafe { &*(*self.as_ptr()).d_fsdata.cast::<Memory<T>>() };
        memory.handed_over.fetch_add(1, Full) == 0
    }

    /// Takes what was handed over: the dentry, and how many references of it.
    ///
    /// # Safety
    ///
    /// `node` must come from [`Uncounted::deferred_node`], and have been taken off the list:
    /// it may be put there again at once.
    pub(super) unsafe fn take_over(
        node: *mut bindings::llist_node,
    ) -> (*mut bindings::dentry, u32) {
        // SAFETY: It is that member, as it comes from `deferred_node`, and `d_init` has
        // set the others. The references that were handed over keep it.
        let memory =
            unsafe { &*kernel::container_of!(Opaque::cast_from(node), Memory<T>, deferred) };
        (memory.dentry, memory.handed_over.xchg(0, Full))
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

    /// One more reference. May spin for the lock of the dentry: not in softirq, nor in
    /// [`Operations::delete`] or [`Operations::prune`] of this very dentry.
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

    /// Whether a name in it that is in the dentry cache exists. Takes the lock of the dentry,
    /// for as long as it takes to look at all names in it; does not sleep.
    pub fn has_positive_child(&self) -> bool {
        // SAFETY: It has a reference.
        unsafe { bindings::dentry_has_positive_child(self.as_ptr()) }
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
/// Dropping it neither sleeps nor waits for a lock: if it is the last one, since that may
/// evict the inode, or somebody has the lock of the dentry, the work item of the super block
/// puts it. So it may be dropped anywhere: in softirq, and with the locks of dentries held.
/// Calls from the VFS, which may sleep, rather use [`DentryRef::put_now`].
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
