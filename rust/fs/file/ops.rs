// SPDX-License-Identifier: GPL-2.0
//! The operations of open files and directories, as a trait and as a table.

use super::io::{Outcome, ReadIter};
use super::{lock, DirContext, OpenFile, Opening, SpliceRead};
use crate::bindings;
use crate::fs::inode::Locked;
use crate::fs::vm::{self, Fault};
use crate::fs::{FileSystem, Inode};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use kernel::error::from_result;
use kernel::ffi::{c_int, c_uint};
use kernel::prelude::*;
use kernel::types::ForeignOwnable;

/// The operations of an open file or directory.
#[vtable]
pub trait Operations: Sized + 'static {
    /// The file system.
    type Fs: FileSystem;
    /// Data of an open file.
    type Data: ForeignOwnable + Send + Sync;

    /// Whether `O_DIRECT` is allowed.
    const DIRECT: bool = false;

    /// Opens the file. The data of `file` cannot be used yet.
    fn open(inode: &Inode<Self::Fs>, file: &Opening<'_, Self::Fs>) -> Result<Self::Data>;

    /// The last user has closed the file.
    fn release(_inode: &Inode<Self::Fs>, data: Self::Data) {
        drop(data);
    }

    /// Reads.
    fn read_iter(_file: &OpenFile<Self>, _io: ReadIter<'_, Self::Fs>) -> Result<usize> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Splices into a pipe.
    fn splice_read(_file: &OpenFile<Self>, _io: SpliceRead<'_>) -> Result<usize> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// A page of the file, which is mapped for reading, is touched and was not mapped by
    /// [`may_map`](Self::may_map). May sleep; the memory map of the task, or a part of it, is
    /// locked, shared. A file without this cannot be mapped.
    ///
    /// # Errors
    ///
    /// `ENOMEM` as such, any other is `SIGBUS` for the task; unless the page was given.
    fn fault(_file: &OpenFile<Self>, _fault: Fault<'_>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Whether pages that are in the page cache may be mapped as they are when one nearby is
    /// touched. May not sleep. The default is no.
    fn may_map(_file: &OpenFile<Self>) -> bool {
        false
    }

    /// Reads a directory, which is locked, at least shared.
    fn iterate(_file: &OpenFile<Self>, _ctx: DirContext<'_, Self::Fs>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// fcntl(2): gives, ends or looks for a lock of a range. Without it the VFS does, for this
    /// machine alone. It must not answer with success unless the lock is given. May sleep.
    fn lock(_file: &OpenFile<Self>, _request: lock::Request<'_>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// flock(2): as [`lock`](Self::lock), for the whole file, which the open file owns.
    fn flock(_file: &OpenFile<Self>, _request: lock::Request<'_>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Moves the position. The default is that of regular files, with the size of the inode.
    fn llseek(_file: &OpenFile<Self>, _offset: i64, _whence: i32) -> Result<i64> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }
}

/// The table of `O`.
pub(in crate::fs) const fn table<O: Operations>() -> *const bindings::file_operations {
    &Vtable::<O>::TABLE
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::file_operations = {
        assert!(
            O::HAS_FAULT || !O::HAS_MAY_MAP,
            "`may_map` without `fault`: neither would be called",
        );
        bindings::file_operations {
            open: Some(Self::open),
            release: Some(Self::release),
            llseek: if O::HAS_LLSEEK {
                Some(Self::llseek)
            } else {
                Some(bindings::generic_file_llseek)
            },
            read: if O::HAS_ITERATE {
                Some(bindings::generic_read_dir)
            } else {
                None
            },
            read_iter: if O::HAS_READ_ITER {
                Some(Self::read_iter)
            } else {
                None
            },
            splice_read: if O::HAS_SPLICE_READ {
                Some(Self::splice_read)
            } else {
                None
            },
            mmap_prepare: if O::HAS_FAULT {
                Some(vm::mmap_prepare::<O>)
            } else {
                None
            },
            iterate_shared: if O::HAS_ITERATE {
                Some(Self::iterate_shared)
            } else {
                None
            },
            lock: if O::HAS_LOCK { Some(Self::lock) } else { None },
            flock: if O::HAS_FLOCK {
                Some(Self::flock)
            } else {
                None
            },
            fsync: Some(bindings::noop_fsync),
            // SAFETY: All members are numbers and nullable pointers.
            ..unsafe { MaybeUninit::zeroed().assume_init() }
        }
    };

    /// Called by the VFS (`do_dentry_open`) once for each open file, by the task that opens it.
    /// No lock is held; may sleep.
    ///
    /// # Safety
    ///
    /// `file` is new, has these operations and the path and mode that it will have, and nobody
    /// else has it. `inode` is that of its dentry, which it holds.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The VFS holds the inode and opens the file, alone.
            let inode = unsafe { Inode::from_raw(inode) };
            let opening = Opening {
                file,
                _p: PhantomData,
            };
            let data = O::open(inode, &opening)?;
            // SAFETY: As above.
            unsafe {
                (*file).private_data = data.into_foreign().cast();
                if O::DIRECT {
                    (*file).f_mode |= bindings::FMODE_CAN_ODIRECT;
                }
            }
            Ok(0)
        })
    }

    /// Called by the VFS (`__fput`) in a task of its own choice. No lock is held; may sleep.
    ///
    /// # Safety
    ///
    /// `file` was opened by [`Self::open`], successfully. This is called once, after the last
    /// other operation on it has returned. The file still holds its dentry, and so `inode`.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The VFS calls it once, after a successful `open`, when nobody uses the
        // file any more.
        unsafe {
            let data = O::Data::from_foreign((*file).private_data);
            O::release(Inode::from_raw(inode), data);
        }
        0
    }

    /// Called by the VFS; `f_pos_lock` is held or not. May sleep.
    ///
    /// # Safety
    ///
    /// `file` is open, has these operations, and is held by the caller.
    unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: The VFS holds the file, which is open.
        match O::llseek(unsafe { OpenFile::from_raw(file) }, offset, whence) {
            Ok(pos) => pos,
            Err(err) => err.to_errno().into(),
        }
    }

    /// Called by the VFS, by splice and io_uring, in a task. No lock is held; may sleep unless
    /// `IOCB_NOWAIT` is set.
    ///
    /// # Safety
    ///
    /// `iocb` and what it points to, `ki_filp` among it, are valid until this returns with
    /// something else than `EIOCBQUEUED`, or until `ki_complete` is called, and so is what `iter`
    /// describes; `iter` itself is valid until this returns. Nobody else uses either. The file
    /// is open, has these operations and is held by the caller.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS holds the file, which is open.
        let file = unsafe { OpenFile::from_raw((*iocb).ki_filp) };
        let outcome = Outcome::default();
        // INVARIANT: The VFS has given both for this call.
        let io = ReadIter {
            iocb,
            iter,
            outcome: &outcome,
            _p: PhantomData,
        };
        outcome.answer(O::read_iter(file, io))
    }

    /// Called by the VFS in a task, with the lock of the pipe held where the caller has one. May
    /// sleep.
    ///
    /// # Safety
    ///
    /// `file` is open, has these operations and is held by the caller. `pos` and `pipe` are
    /// valid during the call, and nobody else uses them.
    unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        pos: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        let outcome = Outcome::default();
        // INVARIANT: The VFS has given all of it for this call.
        let io = SpliceRead {
            file,
            pos,
            pipe,
            len,
            flags,
            outcome: &outcome,
        };
        // SAFETY: The VFS holds the file, which is open.
        let file = unsafe { OpenFile::from_raw(file) };
        outcome.answer(O::splice_read(file, io))
    }

    /// Called by fcntl(2), and by `locks_remove_posix` at a close, in a task. No lock of the
    /// inode is held; may sleep.
    ///
    /// # Safety
    ///
    /// `file` is open, has these operations, and is held by the caller. `lock` is valid during
    /// the call, and nobody else uses it.
    unsafe extern "C" fn lock(
        file: *mut bindings::file,
        command: c_int,
        lock: *mut bindings::file_lock,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The caller's obligation.
            let request = unsafe { lock::Request::from_raw(lock, command) };
            // SAFETY: As above.
            O::lock(unsafe { OpenFile::from_raw(file) }, request)?;
            Ok(0)
        })
    }

    /// Called by flock(2), and by `locks_remove_flock` at the last close, in a task. No lock of
    /// the inode is held; may sleep.
    ///
    /// # Safety
    ///
    /// As [`Self::lock`].
    unsafe extern "C" fn flock(
        file: *mut bindings::file,
        command: c_int,
        lock: *mut bindings::file_lock,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The caller's obligation.
            let request = unsafe { lock::Request::from_raw(lock, command) };
            // SAFETY: As above.
            O::flock(unsafe { OpenFile::from_raw(file) }, request)?;
            Ok(0)
        })
    }

    /// Called by `iterate_dir`, in a task. `i_rwsem` of the inode is held, at least shared, and the
    /// inode was not removed before (`IS_DEADDIR`). May sleep.
    ///
    /// # Safety
    ///
    /// `file` is open, has these operations, and is held by the caller. `ctx` is valid during the
    /// call, with an `actor`, and nobody else uses it. `i_rwsem` is held until this returns.
    unsafe extern "C" fn iterate_shared(
        file: *mut bindings::file,
        ctx: *mut bindings::dir_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS holds the file, which is open, and locks its inode.
            let open = unsafe { OpenFile::<O>::from_raw(file) };
            // Nobody keeps an inode of another kind from having these operations, but
            // only a directory can have children.
            if !open.inode().is_dir() {
                return Err(ENOTDIR);
            }
            let ctx = DirContext {
                ctx,
                file,
                dir: open.dentry(),
                // SAFETY: The caller's obligation.
                _locked: unsafe { Locked::new(open.inode()) },
            };
            O::iterate(open, ctx)?;
            Ok(0)
        })
    }
}
