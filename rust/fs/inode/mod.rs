// SPDX-License-Identifier: GPL-2.0
//! Inodes.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Attributes
//!
//! The VFS reads mode, owner, size and times without a lock, so they may change any time
//! by [`Inode::set_owner`] and so on. The file system has to make sure, by a lock of its
//! own, that they are changed by one task at a time, or a mixture may be seen.

use super::idmap::{Kgid, Kuid};
use super::{FileSystem, SuperBlock};
use crate::bindings;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;
use kernel::types::Opaque;

pub mod attr;
mod memory;
mod new;
mod ops;

use attr::Time;
use memory::Memory;
pub(super) use memory::{alloc, create_cache, free};
pub use memory::{Base, Plain};
pub(super) use new::get_or_create;
pub use new::{Got, New};
pub use ops::{Access, GenericPermission, Operations};

/// Data of an inode.
///
/// It is dropped in an RCU callback, so its destructor must not sleep; release what
/// needs that in [`super::super_block::Operations::evict`].
pub trait InodeData: Send + Sync + Sized {
    /// What inodes are found by. Compared with a spin lock held or in an RCU section, so
    /// `==` must not sleep.
    type Key: Copy + Eq + Send + Sync;

    /// The hash of a key.
    fn hash(key: &Self::Key) -> u64;

    /// The inode number of a key.
    fn ino(key: &Self::Key) -> u64;

    /// The data of a new inode.
    fn init() -> impl PinInit<Self, Error>;
}

/// The key of inodes of `T`.
pub type Key<T> = <<T as FileSystem>::Inode as InodeData>::Key;

/// The type bits of a mode, and the types.
pub mod mode {
    /// All type bits.
    pub const TYPE_MASK: u16 = 0o170000;
    /// A directory.
    pub const DIRECTORY: u16 = 0o040000;
    /// A regular file.
    pub const REGULAR: u16 = 0o100000;
    /// A symbolic link.
    pub const SYMLINK: u16 = 0o120000;
    /// A character device.
    pub const CHARACTER: u16 = 0o020000;
    /// A block device.
    pub const BLOCK: u16 = 0o060000;
    /// A named pipe.
    pub const FIFO: u16 = 0o010000;
    /// A socket.
    pub const SOCKET: u16 = 0o140000;
}

/// An inode that is alive, but perhaps not referenced.
///
/// # Invariants
///
/// It is part of a `Memory<T>` that [`alloc`](memory::alloc) has made and that is not freed before the
/// end of the reference to this; its key is set.
#[repr(transparent)]
pub struct Uncounted<T: FileSystem>(Opaque<bindings::inode>, PhantomData<T>);

// SAFETY: All that can be done with a shared reference may be done by any task; the data
// is `Sync`.
unsafe impl<T: FileSystem> Sync for Uncounted<T> {}

impl<T: FileSystem> Uncounted<T> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub fn as_ptr(&self) -> *mut bindings::inode {
        self.0.get()
    }

    fn memory(&self) -> *mut Memory<T> {
        // The inode is at the begin of the memory.
        self.as_ptr().cast()
    }

    pub(super) fn deferred_node(&self) -> *mut bindings::llist_node {
        // SAFETY: By the invariant.
        unsafe { (*self.memory()).deferred.get() }
    }

    /// # Safety
    ///
    /// `node` must come from [`Uncounted::deferred_node`].
    pub(super) unsafe fn from_deferred_node(
        node: *mut bindings::llist_node,
    ) -> *mut bindings::inode {
        // SAFETY: The node is the member `deferred`, as it comes from `deferred_node`.
        unsafe {
            kernel::container_of!(Opaque::cast_from(node), Memory<T>, deferred)
                .cast_mut()
                .cast()
        }
    }

    /// The data of the file system.
    pub fn data(&self) -> Pin<&T::Inode> {
        // SAFETY: By the invariant it is initialised, and it does not move.
        unsafe { Pin::new_unchecked((*(*self.memory()).data.get()).assume_init_ref()) }
    }

    /// The key that it is found by.
    pub fn key(&self) -> &Key<T> {
        // SAFETY: By the invariant it is set, once.
        unsafe { (*(*self.memory()).key.get()).assume_init_ref() }
    }

    /// The inode number.
    pub fn ino(&self) -> u64 {
        // SAFETY: The inode is valid; the number is set before it is found.
        unsafe { (*self.as_ptr()).i_ino }
    }

    /// Type and mode bits.
    pub fn mode(&self) -> u16 {
        // SAFETY: The inode is valid.
        unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).i_mode) }
    }

    /// True if it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode() & mode::TYPE_MASK == mode::DIRECTORY
    }

    /// The owner, as the file system has it.
    pub fn uid(&self) -> Kuid {
        // SAFETY: The inode is valid.
        Kuid::new(unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).i_uid).val })
    }

    /// The group, as the file system has it.
    pub fn gid(&self) -> Kgid {
        // SAFETY: The inode is valid.
        Kgid::new(unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).i_gid).val })
    }

    /// The number of links.
    pub fn nlink(&self) -> u32 {
        // SAFETY: The inode is valid.
        unsafe { ptr::read_volatile((&raw const (*self.as_ptr()).__bindgen_anon_1).cast()) }
    }

    /// The size in bytes.
    pub fn size(&self) -> i64 {
        // SAFETY: The inode is valid.
        unsafe { bindings::i_size_read(self.as_ptr()) }
    }

    /// The device of a device file, as the kernel encodes it.
    pub fn rdev(&self) -> u32 {
        // SAFETY: The inode is valid; this is set while it is new.
        unsafe { (*self.as_ptr()).i_rdev }
    }

    /// Times of the last access, change of data and change of the inode.
    pub fn times(&self) -> (Time, Time, Time) {
        let mut raw = [bindings::timespec64::default(); 3];
        let [atime, mtime, ctime] = &mut raw;
        // SAFETY: The inode is valid.
        unsafe { bindings::inode_get_times(self.as_ptr(), atime, mtime, ctime) };
        let [atime, mtime, ctime] = &raw;
        (
            Time::from_raw(atime),
            Time::from_raw(mtime),
            Time::from_raw(ctime),
        )
    }

    /// The ACLs that the VFS keeps may have changed: it asks for them again. Any context.
    pub fn forget_acls(&self) {
        // SAFETY: The inode is valid; its ACLs are exchanged atomically.
        unsafe { bindings::acl_forget_all(self.as_ptr()) };
    }

    /// The inode has no ACLs, until [`forget_acls`](Self::forget_acls): the VFS need not ask.
    /// Any context.
    pub fn set_no_acls(&self) {
        // SAFETY: As above.
        unsafe { bindings::acl_set_none(self.as_ptr()) };
    }

    /// The data of the super block; `None` if that is dead, which only RCU walk can see.
    pub fn super_data(&self) -> Option<&T::Super> {
        // SAFETY: The super block outlives its inodes, and its data is freed after a
        // grace period after the last inode is evicted. (After `evict` an inode of a dead
        // super block could only be seen by an RCU walk that is older.)
        unsafe {
            let sb = (*self.as_ptr()).i_sb;
            let inner: *const super::super_block::Inner<T> =
                ptr::read_volatile(&raw const (*sb).s_fs_info).cast();
            if inner.is_null() {
                None
            } else {
                Some((*inner).data_ref())
            }
        }
    }
}

/// An inode with a reference.
///
/// # Invariants
///
/// It has a reference for the lifetime of the borrow, and is not being evicted.
#[repr(transparent)]
pub struct Inode<T: FileSystem>(Uncounted<T>);

impl<T: FileSystem> Deref for Inode<T> {
    type Target = Uncounted<T>;

    fn deref(&self) -> &Uncounted<T> {
        &self.0
    }
}

impl<T: FileSystem> Inode<T> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The super block.
    pub fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: It outlives all references to inodes.
        unsafe { SuperBlock::from_raw((*self.as_ptr()).i_sb) }
    }

    /// One more reference.
    pub fn get(&self) -> InodeRef<T> {
        self.super_block().inner().gate.get();
        // SAFETY: It has a reference.
        unsafe { bindings::ihold(self.as_ptr()) };
        // INVARIANT: Just counted.
        InodeRef(NonNull::from(self).cast(), PhantomData)
    }

    /// Sets owner and group.
    pub fn set_owner(&self, uid: Kuid, gid: Kgid) {
        let raw = self.as_ptr();
        // SAFETY: The inode is valid; readers take no lock.
        unsafe {
            ptr::write_volatile(&raw mut (*raw).i_uid.val, uid.get());
            ptr::write_volatile(&raw mut (*raw).i_gid.val, gid.get());
        }
    }

    /// Sets the mode bits; the type does not change.
    pub fn set_mode(&self, bits: u16) {
        let mode = self.mode() & mode::TYPE_MASK | bits & !mode::TYPE_MASK;
        // SAFETY: The inode is valid; readers take no lock.
        unsafe { ptr::write_volatile(&raw mut (*self.as_ptr()).i_mode, mode) };
    }

    /// Sets the number of links.
    pub fn set_nlink(&self, nlink: u32) {
        // SAFETY: The inode is valid.
        unsafe { bindings::set_nlink(self.as_ptr(), nlink) };
    }

    /// Sets the times of the last access, change of data and change of the inode.
    #[inline]
    pub fn set_times(&self, atime: Time, mtime: Time, ctime: Time) {
        // SAFETY: The inode is valid.
        unsafe {
            bindings::inode_set_times(
                self.as_ptr(),
                atime.to_raw(),
                mtime.to_raw(),
                ctime.to_raw(),
            )
        };
    }

    /// Sets the size, and what netfs takes for that of the server. Pages stay as they are.
    /// Takes the lock of the inode.
    pub fn set_size(&self, size: i64) {
        // SAFETY: The inode is valid, of `T`.
        unsafe { T::InodeBase::set_size(self.as_ptr(), size.max(0)) };
    }

    /// Sets the number of allocated blocks of 512 bytes.
    pub fn set_blocks(&self, blocks: u64) {
        // SAFETY: The inode is valid; readers take no lock.
        unsafe { ptr::write_volatile(&raw mut (*self.as_ptr()).i_blocks, blocks) };
    }

    /// Sets the block size for efficient I/O, two to the power of `bits`.
    pub fn set_block_bits(&self, bits: u8) {
        // SAFETY: As above.
        unsafe { ptr::write_volatile(&raw mut (*self.as_ptr()).i_blkbits, bits.clamp(9, 30)) };
    }

    /// Drops the dentries of the inode that nobody uses. May sleep.
    pub fn prune_aliases(&self) {
        // SAFETY: The inode has a reference.
        unsafe { bindings::d_prune_aliases(self.as_ptr()) };
    }

    /// Fails while it is [`New`]: then nobody else may get at it through the tree, as what
    /// it is made of changes.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub(super) fn check_ready(&self) -> Result {
        // SAFETY: The inode has a reference. The state is left once, for ever.
        if unsafe { bindings::inode_is_new(self.as_ptr()) } {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Some dentry of the inode that is in the tree.
    pub fn find_alias(&self) -> Option<super::DentryRef<T>> {
        // SAFETY: The inode has a reference; the dentry comes with one.
        unsafe { super::DentryRef::from_vfs(bindings::d_find_alias(self.as_ptr())) }
    }
}

/// An inode whose `i_rwsem` is held, at least shared: no names are added to a directory, nor
/// taken out, but by who holds it too.
///
/// # Invariants
///
/// The caller of the operation holds both the inode and the lock for `'a`.
pub struct Locked<'a, T: FileSystem>(&'a Inode<T>);

impl<'a, T: FileSystem> Locked<'a, T> {
    /// # Safety
    ///
    /// As in the invariants.
    pub(super) unsafe fn new(inode: &'a Inode<T>) -> Self {
        // INVARIANT: The caller's obligation.
        Self(inode)
    }
}

impl<T: FileSystem> Deref for Locked<'_, T> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        self.0
    }
}

/// A counted reference to an inode.
///
/// Dropping it never sleeps: if it is the last one, the work item of the super block puts
/// it, since eviction may wait for the server. So it may be dropped anywhere.
///
/// # Invariants
///
/// It owns a reference, which is counted at the gate of the super block too.
pub struct InodeRef<T: FileSystem>(NonNull<bindings::inode>, PhantomData<T>);

// SAFETY: References may be passed on and put by any task.
unsafe impl<T: FileSystem> Send for InodeRef<T> {}
// SAFETY: As for `Inode`.
unsafe impl<T: FileSystem> Sync for InodeRef<T> {}

impl<T: FileSystem> InodeRef<T> {
    /// Takes over a reference from the VFS, if there is one.
    ///
    /// # Safety
    ///
    /// `inode` must be null, or of `T` and have a reference that the caller owns.
    pub(super) unsafe fn from_vfs(inode: *mut bindings::inode) -> Option<Self> {
        let inode = NonNull::new(inode)?;
        // SAFETY: It is not null, so it is of `T` and has a reference.
        unsafe { Inode::<T>::from_raw(inode.as_ptr()) }
            .super_block()
            .inner()
            .gate
            .get();
        // INVARIANT: Just counted.
        Some(Self(inode, PhantomData))
    }

    /// Gives the reference to the VFS.
    pub(super) fn into_vfs(self) -> *mut bindings::inode {
        let this = ManuallyDrop::new(self);
        // The VFS keeps the super block alive as long as it has references.
        this.super_block().inner().gate.put();
        this.0.as_ptr()
    }

    /// Puts the reference here and now. May sleep; for callers from the VFS.
    pub fn put_now(self) {
        let this = ManuallyDrop::new(self);
        let inner: *const super::super_block::Inner<T> = this.super_block().inner();
        // SAFETY: The reference is ours; the count at the gate, put after it, keeps the
        // super block alive.
        unsafe {
            bindings::iput(this.0.as_ptr());
            (*inner).gate.put();
        }
    }
}

impl<T: FileSystem> Clone for InodeRef<T> {
    fn clone(&self) -> Self {
        self.get()
    }
}

impl<T: FileSystem> Deref for InodeRef<T> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        // SAFETY: By the invariant.
        unsafe { Inode::from_raw(self.0.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for InodeRef<T> {
    fn drop(&mut self) {
        let inner: *const super::super_block::Inner<T> = self.super_block().inner();
        // SAFETY: The reference is ours; the count at the gate keeps `inner` alive until
        // it is put, here or by the work item.
        unsafe {
            if bindings::inode_put_not_last(self.0.as_ptr()) {
                (*inner).gate.put();
            } else {
                (*inner).defer_iput(Uncounted::from_raw(self.0.as_ptr()));
            }
        }
    }
}

/// Called by `find_inode` in an RCU section, or with a spin lock of the inode hash held. Must not
/// sleep. The inode may be new, or be evicted now.
///
/// # Safety
///
/// `inode` is hashed, so its key is set, of a super block of `T`, and is not freed during the
/// call. `key` is the one that the caller of `iget5_locked` or `ilookup5` gave.
unsafe extern "C" fn test<T: FileSystem>(inode: *mut bindings::inode, key: *mut c_void) -> c_int {
    // SAFETY: The VFS calls it, with a lock or in an RCU section, for hashed inodes of our
    // super block: their key is set. The data is the key that is looked for.
    unsafe {
        let memory: *mut Memory<T> = inode.cast();
        ((*(*memory).key.get()).assume_init_ref() == &*key.cast::<Key<T>>()).into()
    }
}

/// Called by `inode_insert5` with a spin lock of the inode hash held, before the inode is hashed.
/// Must not sleep.
///
/// # Safety
///
/// `inode` comes from [`alloc`], and nobody else has it. `key` is the one that the caller of
/// `iget5_locked` gave.
unsafe extern "C" fn set<T: FileSystem>(inode: *mut bindings::inode, key: *mut c_void) -> c_int {
    // SAFETY: The VFS calls it for a new inode that nobody else sees yet. The data is the
    // key that was looked for.
    unsafe {
        let memory: *mut Memory<T> = inode.cast();
        let key = *key.cast::<Key<T>>();
        (*inode).i_ino = T::Inode::ino(&key);
        (*(*memory).key.get()).write(key);
    }
    0
}

/// Called by `find_inode_nowait` with the spin lock of the inode hash held. Must not sleep.
///
/// # Safety
///
/// `inode` is hashed, so its key is set, of a super block of `T`, and is not freed during the
/// call. `key` is the one that the caller gave.
unsafe extern "C" fn grab<T: FileSystem>(
    inode: *mut bindings::inode,
    _hash: u64,
    key: *mut c_void,
) -> c_int {
    // SAFETY: The VFS calls it with the lock of the table of inodes, for inodes of our super
    // block; the data is the key that is looked for.
    unsafe {
        if test::<T>(inode, key) == 0 {
            0
        } else if bindings::inode_is_new(inode) || bindings::igrab(inode).is_null() {
            -1
        } else {
            1
        }
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// As [`Self::find_inode`], but never sleeps nor waits: an inode that is being evicted,
    /// or is still [`New`], is not found.
    pub fn find_inode_now(&self, key: &Key<T>) -> Option<InodeRef<T>> {
        let data = ptr::from_ref(key).cast_mut().cast();
        // SAFETY: The super block is alive; the callback fits its inodes and the key, and
        // takes a reference to what it finds.
        unsafe {
            InodeRef::from_vfs(bindings::find_inode_nowait(
                self.as_ptr(),
                T::Inode::hash(key),
                Some(grab::<T>),
                data,
            ))
        }
    }
}

pub(super) fn find<T: FileSystem>(sb: &SuperBlock<T>, key: &Key<T>) -> Option<InodeRef<T>> {
    let data = ptr::from_ref(key).cast_mut().cast();
    // SAFETY: As in `get_or_create`.
    unsafe {
        InodeRef::from_vfs(bindings::ilookup5(
            sb.as_ptr(),
            T::Inode::hash(key),
            Some(test::<T>),
            data,
        ))
    }
}
