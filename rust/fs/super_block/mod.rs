// SPDX-License-Identifier: GPL-2.0
//! Super blocks.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # The end of a super block
//!
//! `kill_sb` runs when the last mount is gone:
//!
//! 1. [`Operations::quiesce`]: nothing new begins. What is under way goes on.
//! 2. The VFS writes back what is dirty, with all references and sessions that this needs.
//! 3. [`Operations::close`]: the file system ends whatever may hold references to inodes
//!    and dentries, or may make them.
//! 4. From now on [`Handle::get`] finds nothing, and the last [`InodeRef`], [`DentryRef`]
//!    and [`SuperRef`] is waited for: this shows in the table of [`Operations::waits`]. A
//!    task that is killed meanwhile, and one that has waited for a minute, makes all fail
//!    that the holders may wait for ([`Operations::umount_begin`]).
//! 5. [`Operations::unreferenced`].
//! 6. The VFS drops all dentries, evicts all inodes ([`Operations::evict`]) and
//!    calls [`Operations::put_super`]. What it calls from now on gets uncounted inodes and
//!    dentries, of which no reference can be made.
//! 7. The data is dropped.
//!
//! # Example
//!
//! What outlives a mount has a [`Handle`], and asks each time:
//!
//! ```
//! use kernel_ext::fs::super_block::Handle;
//! use kernel_ext::fs::{inode::Key, FileSystem};
//!
//! struct Watcher<T: FileSystem> {
//!     sb: Handle<T>,
//! }
//!
//! impl<T: FileSystem> Watcher<T> {
//!     /// The server says that the object has changed.
//!     fn changed(&self, key: &Key<T>) -> Result {
//!         let Some(sb) = self.sb.get() else {
//!             return Ok(());
//!         };
//!         match sb.find_inode(key) {
//!             Some(inode) => inode.invalidate_pages(),
//!             None => Ok(()),
//!         }
//!     }
//! }
//! ```
//!
//! [`InodeRef`]: super::InodeRef
//! [`DentryRef`]: super::DentryRef

use super::context::{FsContext, Sget};
use super::inode::{self, Got, InodeRef};
use super::{dentry, registration, Dentry, FileSystem};
use crate::bindings;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use kernel::error::{from_err_ptr, to_result};
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::Arc;
use kernel::types::Opaque;

mod gate;
mod kill;
mod ops;
mod statfs;

use gate::Gate;
pub(super) use kill::kill_sb;
pub use ops::Operations;
pub use statfs::StatFs;

/// Flags of a super block.
pub mod flags {
    /// Mounted read-only.
    pub const RDONLY: u32 = crate::bindings::SB_RDONLY;
    /// Writes are synchronous.
    pub const SYNCHRONOUS: u32 = crate::bindings::SB_SYNCHRONOUS;
    /// POSIX ACLs are checked.
    pub const POSIXACL: u32 = crate::bindings::SB_POSIXACL;
    /// All of these.
    pub(crate) const ALL: u32 = RDONLY | SYNCHRONOUS | POSIXACL;
}

/// [`Reason::what`](crate::wait::Reason::what) of an unmount that waits for references;
/// `id` is their number.
pub const LAST_REFERENCES: &str = "references";
/// [`Reason::whom`](crate::wait::Reason::whom) of such a wait.
pub const THIS_MOUNT: &str = "this mount";

/// What `s_fs_info` points to.
#[pin_data]
pub(super) struct Inner<T: FileSystem> {
    pub(super) gate: Arc<Gate>,
    /// Inodes whose last reference is to be put by `work`.
    deferred: Opaque<bindings::llist_head>,
    /// Likewise dentries.
    deferred_dentries: Opaque<bindings::llist_head>,
    /// Lives in the same allocation, which outlives it: `kill_sb` cancels it.
    work: Opaque<bindings::work_struct>,
    queue: *mut bindings::workqueue_struct,
    data: T::Super,
}

impl<T: FileSystem> Inner<T> {
    pub(super) fn data_ref(&self) -> &T::Super {
        &self.data
    }

    fn new(data: T::Super, registration: &registration::Inner) -> Result<Pin<KBox<Self>>> {
        let inner = KBox::pin(
            Inner {
                gate: Gate::new()?,
                deferred: Opaque::zeroed(),
                deferred_dentries: Opaque::zeroed(),
                work: Opaque::uninit(),
                queue: registration.queue,
                data,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: The memory is ours and stays where it is. The work item is only used
        // by `defer` and `kill_sb`.
        unsafe {
            bindings::fs_init_work(inner.work.get(), Some(Self::put_deferred));
        }
        Ok(inner)
    }

    /// Hands one reference of `inode`, perhaps the last one, to the work item, with
    /// its count at the gate.
    pub(super) fn defer_iput(&self, inode: &inode::Uncounted<T>) {
        // SAFETY: The node is part of the inode and not on a list: it is only put on one
        // with what may be the last reference, and taken off before that is put.
        unsafe { self.defer(inode.deferred_node(), &self.deferred) };
    }

    /// As [`Inner::defer_iput`], for a dentry, and any number of its references.
    pub(super) fn defer_dput(&self, dentry: &dentry::Uncounted<T>) {
        // If it is on the list, the work item puts this one, too, perhaps at once: `dentry`
        // and `self` may be gone then.
        if dentry.hand_over() {
            // SAFETY: The node is part of the dentry and not on the list: the work item has
            // taken it off before it takes what was handed over.
            unsafe { self.defer(dentry.deferred_node(), &self.deferred_dentries) };
        }
    }

    /// # Safety
    ///
    /// `node` must belong to the kind of object that `list` is for, and be on no list.
    /// The caller gives up a reference to the object, and its count at the gate.
    unsafe fn defer(&self, node: *mut bindings::llist_node, list: &Opaque<bindings::llist_head>) {
        // The work item may put the reference, and its count, before it is queued
        // here: a count of our own keeps `self` alive.
        self.gate.get();
        // SAFETY: The node is on no list and fits this one. The queue outlives all super blocks, the work item
        // is initialised.
        unsafe {
            bindings::llist_add(node, list.get());
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                self.queue,
                self.work.get(),
            );
        }
        self.gate.put();
    }

    /// Puts the references on both lists.
    ///
    /// # Safety
    ///
    /// Called by the work queue, with the work item of an `Inner<T>`.
    unsafe extern "C" fn put_deferred(work: *mut bindings::work_struct) {
        // SAFETY: The work item is embedded in an `Inner<T>`, which `kill_sb` frees only
        // after the work is done.
        let this = unsafe { &*kernel::container_of!(Opaque::cast_from(work), Self, work) };
        // SAFETY: The list is initialised.
        let mut node = unsafe { bindings::llist_del_all(this.deferred.get()) };
        while !node.is_null() {
            // SAFETY: `node` was put on the list with a reference to its inode, and
            // nobody changes it until that is put.
            unsafe {
                let inode = inode::Uncounted::<T>::from_deferred_node(node);
                node = (*node).next;
                bindings::iput(inode);
            }
            this.gate.put();
        }
        // SAFETY: The list is initialised.
        let mut node = unsafe { bindings::llist_del_all(this.deferred_dentries.get()) };
        while !node.is_null() {
            // SAFETY: As above; so many references to the dentry are ours.
            let references = unsafe {
                let next = (*node).next;
                let (dentry, references) = dentry::Uncounted::<T>::take_over(node);
                node = next;
                for _ in 0..references {
                    bindings::dput(dentry);
                }
                references
            };
            for _ in 0..references {
                this.gate.put();
            }
        }
    }
}

/// A super block of the file system `T`.
///
/// # Invariants
///
/// It is valid, of the type of a `Registration<T>`, and its `s_fs_info` points to an
/// `Inner<T>`.
#[repr(transparent)]
pub struct SuperBlock<T: FileSystem>(Opaque<bindings::super_block>, PhantomData<T>);

// SAFETY: All that can be done with a shared reference may be done by any task.
unsafe impl<T: FileSystem> Sync for SuperBlock<T> {}

impl<T: FileSystem> SuperBlock<T> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::super_block) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub fn as_ptr(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    pub(super) fn inner(&self) -> &Inner<T> {
        // SAFETY: By the invariant; it is freed after the last use of the super block.
        unsafe { &*(*self.as_ptr()).s_fs_info.cast() }
    }

    /// The data of the file system.
    pub fn data(&self) -> &T::Super {
        &self.inner().data
    }

    /// True if it is mounted read-only.
    pub fn is_rdonly(&self) -> bool {
        // SAFETY: The super block is valid; the flags may change any time.
        let flags = unsafe { ptr::read_volatile(&raw const (*self.as_ptr()).s_flags) };
        flags & flags::RDONLY as usize != 0
    }

    /// The root.
    pub fn root(&self) -> Option<&Dentry<T>> {
        // SAFETY: The root is set once, by `set_root`, which releases what it has written
        // to it. It is dropped when the super block is killed, after the last use of `self`.
        unsafe {
            let root = bindings::super_root(self.as_ptr());
            (!root.is_null()).then(|| Dentry::from_raw(root))
        }
    }

    /// The device number.
    pub fn dev(&self) -> u32 {
        // SAFETY: It is set before the super block is seen.
        unsafe { (*self.as_ptr()).s_dev }
    }

    /// The name of the backing device, once there is one: what
    /// `/sys/kernel/debug/bdi/` and `/sys/class/bdi/` call it.
    pub fn bdi_name(&self) -> Option<KVec<u8>> {
        // SAFETY: The backing device is set up before the super block is used and
        // stays until it is killed; its name is a C string that does not change.
        unsafe {
            let bdi = (*self.as_ptr()).s_bdi;
            if bdi.is_null() || (*bdi).dev.is_null() {
                return None;
            }
            let name = CStr::from_char_ptr((&raw const (*bdi).dev_name).cast());
            let mut out = KVec::new();
            out.extend_from_slice(name.to_bytes(), GFP_KERNEL).ok()?;
            Some(out)
        }
    }

    /// A handle that can be kept. Any context.
    pub fn handle(&self) -> Handle<T> {
        Handle {
            gate: self.inner().gate.clone(),
            _p: PhantomData,
        }
    }

    /// Finds the inode of `key`, or makes one.
    ///
    /// May wait until another task has made it, and so sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if [`inode::InodeData::init`] fails.
    pub fn get_or_create_inode(&self, key: &inode::Key<T>) -> Result<Got<T>> {
        inode::get_or_create(self, key)
    }

    /// Finds the inode of `key`.
    ///
    /// May wait until another task has made it, and so sleep.
    pub fn find_inode(&self, key: &inode::Key<T>) -> Option<InodeRef<T>> {
        inode::find(self, key)
    }

    /// Drops all dentries that nobody uses. Sleeps.
    pub fn shrink_dcache(&self) {
        // SAFETY: The super block is valid.
        unsafe { bindings::shrink_dcache_sb(self.as_ptr()) };
    }
}

/// Something to find a super block by as long as it lives. It does not keep it.
pub struct Handle<T: FileSystem> {
    gate: Arc<Gate>,
    _p: PhantomData<fn() -> T>,
}

impl<T: FileSystem> Handle<T> {
    /// The super block, unless it has been killed. Any context.
    pub fn get(&self) -> Option<SuperRef<T>> {
        self.gate.try_get().then(|| SuperRef {
            gate: self.gate.clone(),
            _p: PhantomData,
        })
    }
}

impl<T: FileSystem> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            _p: PhantomData,
        }
    }
}

/// A reference to a super block, for a short time: `kill_sb` waits for it.
///
/// # Invariants
///
/// It is counted at the gate.
pub struct SuperRef<T: FileSystem> {
    gate: Arc<Gate>,
    _p: PhantomData<fn() -> T>,
}

impl<T: FileSystem> Deref for SuperRef<T> {
    type Target = SuperBlock<T>;

    fn deref(&self) -> &SuperBlock<T> {
        // SAFETY: By the invariant, the super block lives; `sget` has set the pointer
        // before there was a handle.
        unsafe { SuperBlock::from_raw(*self.gate.sb.get()) }
    }
}

impl<T: FileSystem> Drop for SuperRef<T> {
    fn drop(&mut self) {
        self.gate.put();
    }
}

/// A super block with a root, locked, and with an active reference. Dropping it gives
/// both up, which kills the super block if that was the only mount.
///
/// # Invariants
///
/// The caller owns `s_umount` and an active reference; `s_root` is set.
pub struct Locked<T: FileSystem>(NonNull<bindings::super_block>, PhantomData<T>);

impl<T: FileSystem> Locked<T> {
    /// Gives root, lock and active reference to the VFS.
    pub(super) fn into_root(self) -> *mut bindings::dentry {
        let this = ManuallyDrop::new(self);
        // SAFETY: The root is set by the invariant.
        unsafe { bindings::dget((*this.0.as_ptr()).s_root) }
    }
}

impl<T: FileSystem> Deref for Locked<T> {
    type Target = SuperBlock<T>;

    fn deref(&self) -> &SuperBlock<T> {
        // SAFETY: By the invariant it is alive, and `sget` only returns our type.
        unsafe { SuperBlock::from_raw(self.0.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { bindings::deactivate_locked_super(self.0.as_ptr()) };
    }
}

/// A super block without a root, locked.
///
/// # Invariants
///
/// The caller owns `s_umount` and the only active reference; `s_root` is null.
pub struct New<T: FileSystem>(NonNull<bindings::super_block>, PhantomData<T>);

impl<T: FileSystem> Deref for New<T> {
    type Target = SuperBlock<T>;

    fn deref(&self) -> &SuperBlock<T> {
        // SAFETY: By the invariant it is alive, and `sget` only returns our type.
        unsafe { SuperBlock::from_raw(self.0.as_ptr()) }
    }
}

impl<T: FileSystem> Drop for New<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { bindings::deactivate_locked_super(self.0.as_ptr()) };
    }
}

impl<T: FileSystem> New<T> {
    /// Sets the magic number that statfs(2) shows by default.
    pub fn set_magic(&mut self, magic: usize) {
        // SAFETY: The super block is ours until it has a root.
        unsafe { (*self.0.as_ptr()).s_magic = magic };
    }

    /// Sets the times that inodes can have, in seconds, and their granularity in
    /// nanoseconds.
    pub fn set_time_range(&mut self, min: i64, max: i64, granularity: u32) {
        // SAFETY: As above.
        unsafe {
            let sb = self.0.as_ptr();
            (*sb).s_time_min = min;
            (*sb).s_time_max = max;
            (*sb).s_time_gran = granularity;
        }
    }

    /// Sets the largest file size.
    pub fn set_max_bytes(&mut self, max: i64) {
        // SAFETY: As above.
        unsafe { (*self.0.as_ptr()).s_maxbytes = max.max(0) };
    }

    /// Sets the block size, two to the power of `bits`.
    pub fn set_block_size_bits(&mut self, bits: u8) {
        let bits = bits.clamp(9, 30);
        // SAFETY: As above.
        unsafe {
            (*self.0.as_ptr()).s_blocksize_bits = bits;
            (*self.0.as_ptr()).s_blocksize = 1 << bits;
        }
    }

    /// Makes a backing device of this name, with read-ahead and the largest I/O in
    /// pages.
    ///
    /// # Errors
    ///
    /// `EEXIST` if it has one, or there is another of that name; `ENOMEM`.
    pub fn setup_bdi(&mut self, name: &CStr, ra_pages: usize, io_pages: usize) -> Result {
        // SAFETY: The super block is ours.
        if unsafe { (*self.0.as_ptr()).s_iflags } & bindings::SB_I_PERSB_BDI as usize != 0 {
            return Err(EEXIST);
        }
        // SAFETY: The super block is ours; the format has one string, which follows.
        to_result(unsafe {
            bindings::super_setup_bdi_name(
                self.0.as_ptr(),
                c"%s".as_char_ptr().cast_mut(),
                name.as_char_ptr(),
            )
        })?;
        // SAFETY: It has just been made.
        unsafe {
            let bdi = (*self.0.as_ptr()).s_bdi;
            (*bdi).ra_pages = ra_pages;
            (*bdi).io_pages = io_pages;
        }
        Ok(())
    }

    /// Makes `inode` the root and the super block ready for use.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no directory of this super block, or still [`inode::New`];
    /// `ENOMEM`.
    pub fn set_root(self, inode: InodeRef<T>) -> Result<Locked<T>> {
        if inode.super_block().as_ptr() != self.0.as_ptr() || !inode.is_dir() {
            return Err(EINVAL);
        }
        inode.check_ready()?;
        let inode = inode.into_vfs();
        // SAFETY: It takes over the reference.
        let root = unsafe { bindings::d_make_root(inode) };
        if root.is_null() {
            return Err(ENOMEM);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: The super block is ours, locked. The VFS drops the root when it is killed.
        unsafe { bindings::super_set_root(this.0.as_ptr(), root) };
        // INVARIANT: The lock and the reference are those of `New`.
        Ok(Locked(this.0, PhantomData))
    }
}

/// See [`FsContext::sget`].
pub(super) fn sget<T: FileSystem>(
    fc: &FsContext<T>,
    data: T::Super,
    same: fn(&T::Super, &T::Super) -> bool,
) -> Result<Sget<T>> {
    /// What the callbacks get, in place of `s_fs_info`.
    struct Proposal<T: FileSystem> {
        inner: *mut Inner<T>,
        same: fn(&T::Super, &T::Super) -> bool,
    }

    /// Called by `sget_fc`, with the spin lock of all super blocks held. Must not sleep.
    ///
    /// # Safety
    ///
    /// `fc` is that of the call, with our proposal. `sb` is of the same type and not dead
    /// (`SB_DEAD`), so [`kill_sb`] has not freed its data.
    unsafe extern "C" fn test<T: FileSystem>(
        sb: *mut bindings::super_block,
        fc: *mut kernel::bindings::fs_context,
    ) -> c_int {
        // SAFETY: `sget_fc` calls it with `sb_lock` held, for super blocks of the type of
        // `fc` that are not dead, so `kill_sb` has not freed their data yet; `fc` has our
        // proposal.
        unsafe {
            let proposal = (*fc.cast::<bindings::fs_context>())
                .s_fs_info
                .cast::<Proposal<T>>();
            let existing = (*sb).s_fs_info.cast::<Inner<T>>();
            ((*proposal).same)(&(*existing).data, &(*(*proposal).inner).data).into()
        }
    }

    /// Called by `sget_fc` as [`test`], for a new super block before others see it.
    ///
    /// # Safety
    ///
    /// `fc` is that of the call, with our proposal. `sb` is of its type, and nobody else has it.
    unsafe extern "C" fn set<T: FileSystem>(
        sb: *mut bindings::super_block,
        fc: *mut kernel::bindings::fs_context,
    ) -> c_int {
        // SAFETY: As above; `sb` is new and not seen by others yet.
        unsafe {
            let proposal = (*fc.cast::<bindings::fs_context>())
                .s_fs_info
                .cast::<Proposal<T>>();
            let inner = (*proposal).inner;
            // `Inner` is not shared yet either, nor is its gate.
            *(*inner).gate.sb.get() = sb;
            (*sb).s_fs_info = inner.cast();
            bindings::vfs_super_init(
                sb,
                ops::table::<T::SuperOps>(),
                dentry::table::<T::DentryOps>(),
            );
            (*sb).s_time_gran = 1;
            (*sb).s_maxbytes = bindings::MAX_LFS_FILESIZE;
            bindings::set_anon_super_fc(sb, fc)
        }
    }

    let raw = fc.as_ptr();
    // SAFETY: The context is valid, its type is part of a registration.
    let registration = unsafe { registration::Inner::from_fs_type((*raw).fs_type) };
    let inner = Inner::<T>::new(data, registration)?;
    // SAFETY: It is not moved.
    let inner = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
    let mut proposal = Proposal { inner, same };
    // SAFETY: The context is valid and used by us alone; both callbacks are for its
    // type and only use the proposal during the call.
    let sb = unsafe {
        (*raw).s_fs_info = ptr::from_mut(&mut proposal).cast::<c_void>();
        let sb = bindings::sget_fc(raw.cast(), Some(test::<T>), Some(set::<T>));
        (*raw).s_fs_info = ptr::null_mut();
        sb
    };
    let sb = from_err_ptr(sb).inspect_err(|_| {
        // SAFETY: No super block was made, so it is still ours.
        drop(unsafe { Pin::new_unchecked(KBox::from_raw(inner)) });
    })?;
    // SAFETY: `sget_fc` returns a valid super block.
    let sb = unsafe { NonNull::new_unchecked(sb) };
    // SAFETY: The super block is locked and we have an active reference to it.
    let (is_new, has_root) = unsafe {
        (
            (*sb.as_ptr()).s_fs_info == inner.cast(),
            !(*sb.as_ptr()).s_root.is_null(),
        )
    };
    if is_new {
        registration.begin_use();
        // INVARIANT: A new super block is locked, has one reference and no root.
        return Ok(Sget::New(New(sb, PhantomData)));
    }
    // SAFETY: Another super block is used, so it is still ours.
    drop(unsafe { Pin::new_unchecked(KBox::from_raw(inner)) });
    if !has_root {
        // Its first mount failed.
        // SAFETY: The lock and the reference are ours.
        unsafe { bindings::deactivate_locked_super(sb.as_ptr()) };
        return Err(EAGAIN);
    }
    // INVARIANT: It is locked, we have a reference and it has a root.
    Ok(Sget::Existing(Locked(sb, PhantomData)))
}
