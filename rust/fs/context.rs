// SPDX-License-Identifier: GPL-2.0
//! A mount in the making, or a change of mount options: `struct fs_context`.
//!
//! C header: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)
//!
//! What [`Operations::get_tree`] does, in the usual case; `make_root` finds or makes the
//! root's inode:
//!
//! ```
//! use kernel_ext::fs::context::{FsContext, Sget};
//! use kernel_ext::fs::super_block::Locked;
//! use kernel_ext::fs::{FileSystem, InodeRef, SuperBlock};
//!
//! fn get_tree<T: FileSystem>(
//!     fc: &FsContext<T>,
//!     data: T::Super,
//!     same: fn(&T::Super, &T::Super) -> bool,
//!     make_root: fn(&SuperBlock<T>) -> Result<InodeRef<T>>,
//! ) -> Result<Locked<T>> {
//!     match fc.sget(data, same)? {
//!         Sget::Existing(sb) => Ok(sb),
//!         Sget::New(mut sb) => {
//!             sb.set_block_size_bits(12);
//!             let root = make_root(&sb)?;
//!             sb.set_root(root)
//!         }
//!     }
//! }
//! ```

use super::super_block::{Locked, SuperBlock};
#[cfg(doc)]
use super::Registration;
use super::{param, registration, FileSystem};
use crate::bindings;
use core::marker::PhantomData;
use core::ptr;
use kernel::error::{from_result, to_result};
use kernel::ffi::{c_char, c_int, c_void};
use kernel::fmt;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::types::{ForeignOwnable, Opaque};

/// A `struct fs_context` of the file system `T`.
///
/// # Invariants
///
/// It is valid, and its type is that of a [`Registration<T>`].
#[repr(transparent)]
pub struct FsContext<T: FileSystem>(Opaque<bindings::fs_context>, PhantomData<T>);

/// How bad a message is.
#[derive(Clone, Copy)]
enum Level {
    Error = b'e' as isize,
    Warning = b'w' as isize,
    Info = b'i' as isize,
}

impl<T: FileSystem> FsContext<T> {
    /// # Safety
    ///
    /// `ptr` must be valid for `'a` and of a [`Registration<T>`].
    unsafe fn from_raw<'a>(ptr: *mut bindings::fs_context) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::fs_context {
        self.0.get()
    }

    fn log(&self, level: Level, args: fmt::Arguments<'_>) {
        // SAFETY: The context is valid; `%pA` takes a pointer to `fmt::Arguments`,
        // which lives until the call returns.
        unsafe {
            let log = &raw const (*self.as_ptr()).log;
            bindings::logfc(
                (*log).log,
                (*log).prefix,
                level as c_char,
                c"%pA".as_char_ptr(),
                ptr::from_ref(&args).cast::<c_void>(),
            );
        }
    }

    /// Tells whoever mounts about an error (and the kernel's log, if nobody reads
    /// the messages of the context).
    pub fn error(&self, args: fmt::Arguments<'_>) {
        self.log(Level::Error, args);
    }

    /// As [`FsContext::error`], a warning.
    pub fn warn(&self, args: fmt::Arguments<'_>) {
        self.log(Level::Warning, args);
    }

    /// As [`FsContext::error`], for information.
    pub fn info(&self, args: fmt::Arguments<'_>) {
        self.log(Level::Info, args);
    }

    /// [`FsContext::error`], and then `EINVAL` to return.
    pub fn invalid(&self, args: fmt::Arguments<'_>) -> Error {
        self.error(args);
        EINVAL
    }

    /// Whether it keeps messages for whoever mounts. If not, they go to the kernel's log.
    pub fn has_log(&self) -> bool {
        // SAFETY: The context is valid; the log is set before the first operation.
        unsafe { !(*self.as_ptr()).log.log.is_null() }
    }

    /// The source, if it has been given.
    pub fn source(&self) -> Option<&CStr> {
        // SAFETY: The context is valid, and only `parse_param` sets the source,
        // which is not called while one of the operations runs.
        let source = unsafe { (*self.as_ptr()).source };
        if source.is_null() {
            return None;
        }
        // SAFETY: It is a C string that belongs to the context.
        Some(unsafe { CStr::from_char_ptr(source.cast()) })
    }

    /// The flags `SB_*` that the super block shall have; see
    /// [`super::super_block::flags`].
    pub fn sb_flags(&self) -> u32 {
        // SAFETY: The context is valid, and used by one task at a time.
        unsafe { (*self.as_ptr()).sb_flags }
    }

    /// Sets flags of the super block: those of [`super::super_block::flags`], the others
    /// belong to the VFS.
    pub fn add_sb_flags(&self, flags: u32) {
        // SAFETY: As in `sb_flags`.
        unsafe { (*self.as_ptr()).sb_flags |= flags & super::super_block::flags::ALL }
    }

    /// Those of [`FsContext::sb_flags`] that a reconfiguration changes.
    pub fn sb_flags_mask(&self) -> u32 {
        // SAFETY: As in `sb_flags`.
        unsafe { (*self.as_ptr()).sb_flags_mask }
    }

    /// True if mount(2) is the caller, whose options are one string.
    pub fn is_old_api(&self) -> bool {
        // SAFETY: As in `sb_flags`.
        unsafe { (*self.as_ptr()).oldapi() }
    }

    /// Finds a super block of this type for which `same(existing, mine)` holds, or
    /// makes one with `data`.
    ///
    /// `same` is called with a spin lock held. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is one that this mount may not share, `EPERM` in a user namespace;
    /// `EAGAIN` if the first mount of the one that exists has failed; `ENOMEM`, `EMFILE`.
    pub fn sget(
        &self,
        data: T::Super,
        same: fn(existing: &T::Super, mine: &T::Super) -> bool,
    ) -> Result<Sget<T>> {
        super::super_block::sget(self, data, same)
    }
}

/// What [`FsContext::sget`] found. Both are locked, and given up on drop.
pub enum Sget<T: FileSystem> {
    /// A super block without a root yet.
    New(super::super_block::New<T>),
    /// A super block that another mount has made; the new data has been dropped.
    Existing(Locked<T>),
}

/// The operations of a mount in the making; the value is its private data.
#[vtable]
pub trait Operations: Sized + Send + Sync + 'static {
    /// The file system.
    type Fs: FileSystem<Context = Self>;

    /// The parameters.
    const PARAMS: &'static param::ParamTable;

    /// Begins a mount, or a reconfiguration of `existing`.
    fn new(fc: &FsContext<Self::Fs>, existing: Option<&SuperBlock<Self::Fs>>) -> Result<Self>;

    /// Takes the parameter that has the number `opt` in [`Operations::PARAMS`]. Like all
    /// operations here it may sleep, and is called by one task at a time.
    ///
    /// A parameter named `source` also becomes the source that `/proc/mounts` shows.
    fn parse_param(&mut self, fc: &FsContext<Self::Fs>, opt: u8, value: param::Value<'_>)
        -> Result;

    /// Is asked for parameters that are not in the table. An error rejects it,
    /// `Ok(false)` leaves it to the VFS, which says that it is unknown.
    fn unknown_param(&mut self, _fc: &FsContext<Self::Fs>, _key: &CStr) -> Result<bool> {
        Ok(false)
    }

    /// Makes or finds the super block, with a root.
    fn get_tree(&mut self, fc: &FsContext<Self::Fs>) -> Result<Locked<Self::Fs>>;

    /// Changes the options of a super block.
    fn reconfigure(&mut self, _fc: &FsContext<Self::Fs>, _sb: &SuperBlock<Self::Fs>) -> Result {
        Ok(())
    }
}

/// The table of `C`.
struct Vtable<C: Operations>(PhantomData<C>);

impl<C: Operations> Vtable<C> {
    const TABLE: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        dup: None,
        parse_param: Some(Self::parse_param),
        parse_monolithic: None,
        get_tree: Some(Self::get_tree),
        reconfigure: if C::HAS_RECONFIGURE {
            Some(Self::reconfigure)
        } else {
            None
        },
    };

    /// # Safety
    ///
    /// `fc` must be valid, of the type [`Registration<C::Fs>`], initialised by
    /// [`init_fs_context`], and used by one task at a time.
    unsafe fn private<'a>(fc: *mut bindings::fs_context) -> &'a mut C {
        // SAFETY: `init_fs_context` has set it from a `KBox<C>`, and the caller
        // promises exclusive use.
        unsafe { <KBox<C> as ForeignOwnable>::borrow_mut((*fc).fs_private) }
    }

    /// Called by `put_fs_context`, in a task. May sleep.
    ///
    /// # Safety
    ///
    /// [`init_fs_context`] has set up `fc`. This is called once, after the last other operation on
    /// it.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: The VFS calls it once, after all other operations.
        unsafe {
            let private = (*fc).fs_private;
            if !private.is_null() {
                drop(<KBox<C> as ForeignOwnable>::from_foreign(private));
            }
            registration::Inner::from_fs_type((*fc).fs_type).end_use();
        }
    }

    /// Called by `vfs_parse_fs_param`, for one parameter after the other: `uapi_mutex` is held, or
    /// only the task knows the context. May sleep.
    ///
    /// # Safety
    ///
    /// [`init_fs_context`] has set up `fc`, and nobody else uses it. `param` is valid during the
    /// call; its key is a C string.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS calls it with a valid context, under its `uapi_mutex`.
            let (this, ctx) = unsafe { (Self::private(fc), FsContext::<C::Fs>::from_raw(fc)) };
            // SAFETY: `fc` and `param` are valid for this call.
            match unsafe { C::PARAMS.parse(&raw mut (*fc).log, param)? } {
                Some((opt, value)) => {
                    this.parse_param(ctx, opt, value)?;
                    // SAFETY: `param` is valid, and its key is a C string.
                    if unsafe { CStr::from_char_ptr((*param).key) } == c"source" {
                        // SAFETY: Both are valid; this moves the string, as C
                        // does, unless there is a source already (then it says so).
                        to_result(unsafe { bindings::vfs_parse_fs_param_source(fc, param) })?;
                    }
                    Ok(0)
                }
                None => {
                    // SAFETY: As above.
                    let key = unsafe { CStr::from_char_ptr((*param).key) };
                    if this.unknown_param(ctx, key)? {
                        Ok(0)
                    } else {
                        Ok(-(bindings::ENOPARAM as c_int))
                    }
                }
            }
        })
    }

    /// Called by `vfs_get_tree`, as [`Self::parse_param`]; `root` is null. After success it owns
    /// what was put there: a reference, an active reference to the super block, `s_umount`.
    ///
    /// # Safety
    ///
    /// [`init_fs_context`] has set up `fc`, and nobody else uses it.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: As in `parse_param`.
            let (this, ctx) = unsafe { (Self::private(fc), FsContext::<C::Fs>::from_raw(fc)) };
            let locked = this.get_tree(ctx)?;
            // SAFETY: `fc` is valid. The VFS takes over the root reference, the active
            // reference and the lock of the super block.
            unsafe { (*fc).root = locked.into_root() };
            Ok(0)
        })
    }

    /// Called by `reconfigure_super`, as [`Self::parse_param`], with `s_umount` held for writing.
    ///
    /// # Safety
    ///
    /// [`init_fs_context`] has set up `fc`, for the super block of `root`, which it holds. Nobody
    /// else uses it.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: As in `parse_param`; the root is that of the super block to
            // reconfigure, which is of our type.
            let (this, ctx, sb) = unsafe {
                (
                    Self::private(fc),
                    FsContext::<C::Fs>::from_raw(fc),
                    SuperBlock::<C::Fs>::from_raw((*(*fc).root).d_sb),
                )
            };
            this.reconfigure(ctx, sb)?;
            Ok(0)
        })
    }
}

/// `init_fs_context` of the file system type.
///
/// # Safety
///
/// To be called by the VFS for a context whose type is a [`Registration<T>`].
pub(super) unsafe extern "C" fn init_fs_context<T: FileSystem>(
    fc: *mut kernel::bindings::fs_context,
) -> c_int {
    from_result(|| {
        // In the `bindings` of the kernel crate the type is opaque.
        let fc: *mut bindings::fs_context = fc.cast();
        // SAFETY: The VFS calls this for a context of a `Registration<T>`.
        let ctx = unsafe { FsContext::<T>::from_raw(fc) };
        // SAFETY: For a reconfiguration the VFS sets the root before, and its super
        // block is of our type.
        let existing = unsafe {
            let root = (*fc).root;
            (!root.is_null()).then(|| SuperBlock::<T>::from_raw((*root).d_sb))
        };
        let private = KBox::new(<T::Context as Operations>::new(ctx, existing)?, GFP_KERNEL)?;
        // SAFETY: `fc` is valid and not used by others yet.
        unsafe {
            (*fc).fs_private = private.into_foreign();
            (*fc).ops = &Vtable::<T::Context>::TABLE;
            registration::Inner::from_fs_type((*fc).fs_type).begin_use();
        }
        Ok(0)
    })
}
