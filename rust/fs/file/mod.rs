// SPDX-License-Identifier: GPL-2.0
//! Open files and directories.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! A directory of names that are known; the position is the number of the entry after
//! the dots, which are 0 and 1:
//!
//! ```
//! use kernel_ext::fs::file::{DirContext, EntryType};
//! use kernel_ext::fs::FileSystem;
//!
//! fn iterate<T: FileSystem>(mut ctx: DirContext<'_, T>, names: &[&[u8]]) -> Result {
//!     if !ctx.emit_dots() {
//!         return Ok(());
//!     }
//!     for (pos, name) in (2i64..).zip(names) {
//!         if pos < ctx.pos() {
//!             continue;
//!         }
//!         if !ctx.emit(name, pos as u64, EntryType::Regular) {
//!             break;
//!         }
//!         ctx.set_pos(pos + 1);
//!     }
//!     Ok(())
//! }
//! ```

use super::dentry::DirChildren;
use super::inode::Inode;
use super::{direct, Dentry, FileSystem};
use crate::bindings;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use kernel::error::{from_result, to_result};
use kernel::ffi::{c_int, c_uint};
use kernel::fs::LocalFile;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::types::{ForeignOwnable, Opaque};

/// `SEEK_SET` of lseek(2): from the start.
pub const SEEK_SET: i32 = bindings::SEEK_SET as i32;
/// `SEEK_CUR`: from where the file stands.
pub const SEEK_CUR: i32 = bindings::SEEK_CUR as i32;
/// `SEEK_END`: from the end.
pub const SEEK_END: i32 = bindings::SEEK_END as i32;

/// An open file of the operations `O`.
///
/// # Invariants
///
/// It is valid and its operations are those of `O`; except in `open`, its private data is
/// an `O::Data`.
#[repr(transparent)]
pub struct OpenFile<O: Operations>(Opaque<bindings::file>, PhantomData<O>);

impl<O: Operations> OpenFile<O> {
    /// # Safety
    ///
    /// `ptr` must be as in the invariants, for `'a`.
    unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: The caller says that `ptr` is valid for `'a`; the layout is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub fn as_ptr(&self) -> *mut bindings::file {
        self.0.get()
    }

    /// The data that `open` has returned.
    pub fn data(&self) -> <O::Data as ForeignOwnable>::Borrowed<'_> {
        // SAFETY: By the invariant; `release` is called when nobody else uses the file.
        unsafe { O::Data::borrow((*self.as_ptr()).private_data) }
    }

    /// The inode.
    pub fn inode(&self) -> &Inode<O::Fs> {
        // SAFETY: An open file holds its inode.
        unsafe { Inode::from_raw((*self.as_ptr()).f_inode) }
    }

    /// The dentry.
    pub fn dentry(&self) -> &Dentry<O::Fs> {
        // SAFETY: An open file holds its path, whose dentry is of our file system, as the
        // inode is.
        unsafe { Dentry::from_raw((*self.as_ptr()).__bindgen_anon_1.f_path.dentry) }
    }

    /// Flags as in open(2).
    pub fn flags(&self) -> u32 {
        // SAFETY: The file is valid; some flags may change any time.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).f_flags) }
    }

    /// lseek(2) as usual, for positions up to `max` and an end at `end`. `whence` is as in
    /// lseek(2).
    ///
    /// # Errors
    ///
    /// `EINVAL` for a position outside, `ENXIO` for a search from beyond the end.
    pub fn generic_llseek(&self, offset: i64, whence: i32, max: i64, end: i64) -> Result<i64> {
        // SAFETY: The file is valid.
        let pos =
            unsafe { bindings::generic_file_llseek_size(self.as_ptr(), offset, whence, max, end) };
        to_result(pos.min(0) as c_int)?;
        Ok(pos)
    }
}

/// What has become of one call of `read_iter` or `splice_read`. It outlives the token
/// that the file system gets, and decides what the VFS is told.
#[derive(Default)]
struct Outcome {
    /// How many bytes the VFS was given.
    given: Cell<usize>,
    /// The read ends later, and owns what the VFS has passed.
    queued: Cell<bool>,
}

impl Outcome {
    /// Notes what one of the C functions has returned, which have ended what they did.
    fn note(&self, ret: isize) -> Result<usize> {
        to_result(ret.min(0) as c_int)?;
        self.gave(ret as usize);
        Ok(ret as usize)
    }

    /// So many bytes more were given.
    fn gave(&self, bytes: usize) {
        self.given.set(self.given.get().saturating_add(bytes));
    }

    /// What the VFS is told when the file system says `result`. It takes both the number
    /// of bytes and `EIOCBQUEUED` at their word, so they have to be true.
    fn answer(&self, result: Result<usize>) -> isize {
        if self.queued.get() {
            return EIOCBQUEUED.to_errno() as isize;
        }
        match result {
            Ok(n) => n.min(self.given.get()) as isize,
            Err(err) if err == EIOCBQUEUED => EIO.to_errno() as isize,
            Err(err) => err.to_errno() as isize,
        }
    }
}

/// A read of a file.
///
/// # Invariants
///
/// Position and iterator are valid, and ours, for `'a`. They are given to nobody else
/// before this ends.
pub struct ReadIter<'a> {
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
    outcome: &'a Outcome,
}

impl ReadIter<'_> {
    /// Where it begins.
    pub fn pos(&self) -> i64 {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_pos }
    }

    /// How many bytes are wanted, still.
    pub fn len(&self) -> usize {
        // SAFETY: By the invariant; all kinds of iterators have a count.
        unsafe {
            (*self.iter)
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }

    /// True if nothing is wanted any more.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for `O_DIRECT`.
    pub fn is_direct(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_flags & bindings::IOCB_DIRECT != 0 }
    }

    /// True if it must not wait.
    pub fn is_nowait(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_flags & bindings::IOCB_NOWAIT != 0 }
    }

    /// True if the caller waits for the end of the read.
    pub fn is_sync(&self) -> bool {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_complete.is_none() }
    }

    /// Whether the inode was made by [`super::inode::New::init_regular`].
    ///
    /// # Safety
    ///
    /// `file` must be a file of one of our file systems.
    unsafe fn is_netfs(file: *mut bindings::file) -> Result {
        // SAFETY: All our inodes begin with a `netfs_inode`. The operations are set, or not,
        // before there is a file.
        let ops = unsafe { (*(*file).f_inode.cast::<bindings::netfs_inode>()).ops };
        if ops.is_null() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Reads from the page cache. Sleeps, unless [`ReadIter::is_nowait`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if the inode is not a regular file, or the read is direct; `EAGAIN` if it
    /// must not wait; those of the file system's reads.
    pub fn buffered(&mut self) -> Result<usize> {
        // SAFETY: By the invariant, for a file of ours.
        unsafe { Self::is_netfs((*self.iocb).ki_filp)? };
        // SAFETY: As above, and the inode has operations for netfs.
        let ret = unsafe { bindings::netfs_buffered_read_iter(self.iocb, self.iter) };
        self.outcome.note(ret)
    }

    /// Reads around the page cache. It takes the read: if the caller does not wait for the
    /// end, it ends by itself.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the inode is not that of the file, or not a regular file; `ERESTARTSYS`
    /// before it has begun; `EIOCBQUEUED` if it goes on and ends later, which is what the VFS
    /// will be told then; `EFAULT`, `ENOMEM`; those of the parts.
    pub fn direct<O: direct::Operations>(self, inode: &Inode<O::Fs>) -> Result<usize> {
        // SAFETY: As in `buffered`.
        unsafe {
            Self::is_netfs((*self.iocb).ki_filp)?;
            if (*(*self.iocb).ki_filp).f_inode != inode.as_ptr() {
                return Err(EINVAL);
            }
        }
        // SAFETY: By the invariant, and as was seen. It is not used any more after this.
        match unsafe { direct::read::<O>(self.iocb, self.iter)? } {
            direct::Read::Queued => {
                self.outcome.queued.set(true);
                Err(EIOCBQUEUED)
            }
            direct::Read::Ended(read) => {
                self.outcome.gave(read);
                Ok(read)
            }
        }
    }

    /// Gives bytes; returns how many of them there was room for and could be stored.
    pub fn copy(&mut self, bytes: &[u8]) -> usize {
        let bytes = bytes.get(..self.len()).unwrap_or(bytes);
        // SAFETY: By the invariant; as many bytes are readable.
        let done =
            unsafe { bindings::_copy_to_iter(bytes.as_ptr().cast(), bytes.len(), self.iter) };
        self.gave(done)
    }

    /// Gives up to `bytes` zeros; returns how many there was room for.
    pub fn zero(&mut self, bytes: usize) -> usize {
        // SAFETY: By the invariant.
        let done = unsafe { bindings::iov_iter_zero(bytes.min(self.len()), self.iter) };
        self.gave(done)
    }

    /// Counts bytes that were given, and moves on by as many.
    fn gave(&mut self, done: usize) -> usize {
        // SAFETY: By the invariant.
        unsafe { (*self.iocb).ki_pos = (*self.iocb).ki_pos.saturating_add(done as i64) };
        self.outcome.gave(done);
        done
    }
}

/// A splice from a file into a pipe.
///
/// # Invariants
///
/// All of it is valid for `'a`, for a file of ours that is open.
pub struct SpliceRead<'a> {
    file: *mut bindings::file,
    pos: *mut bindings::loff_t,
    pipe: *mut bindings::pipe_inode_info,
    len: usize,
    flags: c_uint,
    outcome: &'a Outcome,
}

impl SpliceRead<'_> {
    /// Lends pages of the page cache. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the inode is not a regular file; those of the file system's reads.
    pub fn from_page_cache(self) -> Result<usize> {
        // SAFETY: By the invariant.
        unsafe { ReadIter::is_netfs(self.file)? };
        // SAFETY: By the invariant; the inode has pages.
        self.outcome.note(unsafe {
            bindings::filemap_splice_read(self.file, self.pos, self.pipe, self.len, self.flags)
        })
    }

    /// Copies, by [`Operations::read_iter`]. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no `read_iter`; `ENOMEM`; those of `read_iter`.
    pub fn copied(self) -> Result<usize> {
        // SAFETY: By the invariant; the operations of an open file do not change.
        if unsafe { (*(*self.file).f_op).read_iter.is_none() } {
            return Err(EINVAL);
        }
        // SAFETY: By the invariant; there is the operation that this calls.
        self.outcome.note(unsafe {
            bindings::copy_splice_read(self.file, self.pos, self.pipe, self.len, self.flags)
        })
    }
}

/// The type of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EntryType {
    /// Not known.
    Unknown = bindings::DT_UNKNOWN,
    /// A named pipe.
    Fifo = bindings::DT_FIFO,
    /// A character device.
    Character = bindings::DT_CHR,
    /// A directory.
    Directory = bindings::DT_DIR,
    /// A block device.
    Block = bindings::DT_BLK,
    /// A regular file.
    Regular = bindings::DT_REG,
    /// A symbolic link.
    Symlink = bindings::DT_LNK,
    /// A socket.
    Socket = bindings::DT_SOCK,
}

impl EntryType {
    /// The type of an inode with this mode.
    pub fn of_mode(mode: u16) -> Self {
        match mode & super::inode::mode::TYPE_MASK {
            super::inode::mode::FIFO => Self::Fifo,
            super::inode::mode::CHARACTER => Self::Character,
            super::inode::mode::DIRECTORY => Self::Directory,
            super::inode::mode::BLOCK => Self::Block,
            super::inode::mode::REGULAR => Self::Regular,
            super::inode::mode::SYMLINK => Self::Symlink,
            super::inode::mode::SOCKET => Self::Socket,
            _ => Self::Unknown,
        }
    }
}

/// The reader of a directory.
pub struct DirContext<'a, T: FileSystem> {
    ctx: *mut bindings::dir_context,
    file: *mut bindings::file,
    dir: &'a Dentry<T>,
}

impl<'a, T: FileSystem> DirContext<'a, T> {
    /// Where the next entry is.
    pub fn pos(&self) -> i64 {
        // SAFETY: The VFS has given it for this call.
        unsafe { (*self.ctx).pos }
    }

    /// Says where the next entry is.
    pub fn set_pos(&mut self, pos: i64) {
        // SAFETY: As above.
        unsafe { (*self.ctx).pos = pos }
    }

    /// Gives one entry to the reader, whose place is the position as it is now. False if
    /// there is no room for it: it has to come again at the next call.
    #[must_use]
    pub fn emit(&mut self, name: &[u8], ino: u64, kind: EntryType) -> bool {
        let Ok(len) = c_int::try_from(name.len()) else {
            return false;
        };
        // SAFETY: As above; the name has that length.
        unsafe { bindings::dir_emit(self.ctx, name.as_ptr().cast(), len, ino, kind as c_uint) }
    }

    /// Gives `.` and `..`, at the positions 0 and 1. False if there is no room.
    #[must_use]
    pub fn emit_dots(&mut self) -> bool {
        // SAFETY: As above.
        unsafe { bindings::dir_emit_dots(self.file, self.ctx) }
    }

    /// The directory.
    pub fn dentry(&self) -> &'a Dentry<T> {
        self.dir
    }

    /// The children in the dentry cache, to be found and added.
    pub fn children(&self) -> DirChildren<'a, T> {
        // SAFETY: `iterate_shared` is called with the directory locked.
        unsafe { DirChildren::new(self.dir) }
    }
}

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
    fn read_iter(_file: &OpenFile<Self>, _io: ReadIter<'_>) -> Result<usize> {
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

    /// Moves the position. The default is that of regular files, with the size of the inode.
    fn llseek(_file: &OpenFile<Self>, _offset: i64, _whence: i32) -> Result<i64> {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }
}

/// A page of a mapped file is touched.
///
/// # Invariants
///
/// `vmf` is a fault in an area that maps an open file, which the kernel waits for. The area
/// itself may go as soon as the page is given.
pub struct Fault<'a> {
    vmf: *mut bindings::vm_fault,
    done: &'a Cell<Option<bindings::vm_fault_t>>,
}

impl Fault<'_> {
    /// Gives the page of the page cache, which is read first if it is not there.
    pub fn from_page_cache(self) {
        // SAFETY: By the invariant. What is returned, which may be a locked page, is what the
        // kernel gets (`Vtable::fault`), and nobody can ask twice.
        let how = unsafe { bindings::filemap_fault(self.vmf) };
        self.done.set(Some(how));
    }

    /// As [`from_page_cache`](Self::from_page_cache), but the page is read in any case: one
    /// that is there is dropped.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it cannot be dropped.
    pub fn read_anew(self) -> Result {
        // SAFETY: By the invariant; the mapping lives as long as the file. No page is locked.
        to_result(unsafe {
            let file = (*(*self.vmf).__bindgen_anon_1.vma).vm_file;
            let page = (*self.vmf).__bindgen_anon_1.pgoff;
            bindings::invalidate_inode_pages2_range((*file).f_mapping, page, page)
        })?;
        self.from_page_cache();
        Ok(())
    }
}

/// A file that is being opened.
pub struct Opening<'a, T: FileSystem> {
    file: *mut bindings::file,
    _p: PhantomData<&'a T>,
}

impl<T: FileSystem> Opening<'_, T> {
    /// Flags as in open(2).
    pub fn flags(&self) -> u32 {
        // SAFETY: The VFS has given it for this call.
        unsafe { (*self.file).f_flags }
    }

    /// True if it is opened for reading.
    pub fn reads(&self) -> bool {
        // SAFETY: As above.
        unsafe { (*self.file).f_mode & bindings::FMODE_READ != 0 }
    }
}

/// The table of `O`.
pub(super) const fn table<O: Operations>() -> *const bindings::file_operations {
    &Vtable::<O>::TABLE
}

struct Vtable<O: Operations>(PhantomData<O>);

impl<O: Operations> Vtable<O> {
    const TABLE: bindings::file_operations = bindings::file_operations {
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
            Some(Self::mmap_prepare)
        } else {
            None
        },
        iterate_shared: if O::HAS_ITERATE {
            Some(Self::iterate_shared)
        } else {
            None
        },
        fsync: Some(bindings::noop_fsync),
        // SAFETY: All members are numbers and nullable pointers.
        ..unsafe { MaybeUninit::zeroed().assume_init() }
    };

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `open`.
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

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `release`.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The VFS calls it once, after a successful `open`, when nobody uses the
        // file any more.
        unsafe {
            let data = O::Data::from_foreign((*file).private_data);
            O::release(Inode::from_raw(inode), data);
        }
        0
    }

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `llseek`.
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

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `read_iter`.
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
        };
        outcome.answer(O::read_iter(file, io))
    }

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `splice_read`.
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

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `mmap_prepare`.
    unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a description, which nobody else has. That the file can be
            // read by pages is looked after.
            unsafe {
                to_result(bindings::generic_file_readonly_mmap_prepare(desc))?;
                (*desc).vm_ops = &Self::MAPPED;
            }
            Ok(0)
        })
    }

    const MAPPED: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        map_pages: if O::HAS_MAY_MAP {
            Some(Self::map_pages)
        } else {
            None
        },
        // SAFETY: All members are nullable pointers.
        ..unsafe { MaybeUninit::zeroed().assume_init() }
    };

    /// # Safety
    ///
    /// `vmf` is a fault in an area with the operations `MAPPED`, and lives as long as what is
    /// returned.
    unsafe fn mapped<'a>(vmf: *mut bindings::vm_fault) -> &'a OpenFile<O> {
        // SAFETY: The area holds the file, which is open, and which has the operations of `O`,
        // as `mmap_prepare` is one of them.
        unsafe { OpenFile::from_raw((*(*vmf).__bindgen_anon_1.vma).vm_file) }
    }

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `fault`.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // The lock of the memory map may be dropped while the page is read, and with the map
        // the file may go.
        // SAFETY: The area holds the file until then. Its position is not used.
        let file = unsafe { LocalFile::from_raw_file((*(*vmf).__bindgen_anon_1.vma).vm_file) };
        let held = ARef::from(file);
        // SAFETY: It is open as long as it is held, and has the operations of `O`: see `mapped`.
        let file = unsafe { OpenFile::from_raw(held.as_ptr()) };
        let done = Cell::new(None);
        // INVARIANT: The caller's obligation.
        let result = O::fault(file, Fault { vmf, done: &done });
        match (done.get(), result) {
            (Some(how), _) => how,
            (None, Err(ENOMEM)) => bindings::vm_fault_reason_VM_FAULT_OOM,
            (None, _) => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `map_pages`.
    unsafe extern "C" fn map_pages(
        vmf: *mut bindings::vm_fault,
        start: c_ulong,
        end: c_ulong,
    ) -> bindings::vm_fault_t {
        // SAFETY: The caller's obligation.
        if !O::may_map(unsafe { Self::mapped(vmf) }) {
            return 0;
        }
        // SAFETY: As above.
        unsafe { bindings::filemap_map_pages(vmf, start, end) }
    }

    /// # Safety
    ///
    /// For the table of operations alone: the caller keeps what C asks of one of `iterate_shared`.
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
            };
            O::iterate(open, ctx)?;
            Ok(0)
        })
    }
}

#[kernel::prelude::kunit_tests(kernel_ext_fs_file)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        let outcome = Outcome::default();
        assert_eq!(outcome.answer(Ok(5)), 0);
        assert!(matches!(outcome.note(4), Ok(4)));
        assert_eq!(outcome.answer(Ok(5)), 4);
        assert_eq!(outcome.answer(Ok(2)), 2);
        assert_eq!(outcome.answer(Err(EAGAIN)), -11);
        assert_eq!(outcome.answer(Err(EIOCBQUEUED)), -5);
        // What it ended with, by chance, is no sign that it goes on.
        assert!(matches!(outcome.note(-529), Err(e) if e == EIOCBQUEUED));
        assert_eq!(outcome.answer(Err(EIOCBQUEUED)), -5);
        // It goes on, whatever the file system says.
        outcome.queued.set(true);
        assert_eq!(outcome.answer(Ok(4)), -529);
        assert_eq!(outcome.answer(Err(EIO)), -529);
    }
}
