// SPDX-License-Identifier: GPL-2.0
//! Mounting and opening, as the VFS does it for user space.

use super::TestFs;
use crate::bindings;
use crate::fs::{FileSystem, Registration, SuperBlock};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use kernel::error::{from_err_ptr, to_result};
use kernel::ffi::{c_int, c_uint};
use kernel::prelude::*;
use kernel::str::CStr;

/// A mount for a test.
pub(in crate::fs) struct Mounted<T: FileSystem = TestFs>(*mut bindings::vfsmount, PhantomData<T>);

impl<T: FileSystem> Mounted<T> {
    pub(super) fn new(registration: &Registration<T>, options: &[(&CStr, &CStr)]) -> Result<Self> {
        // SAFETY: The type is registered, the options are C strings.
        unsafe {
            let fc = from_err_ptr(bindings::fs_context_for_mount(
                registration.fs_type().cast(),
                bindings::SB_KERNMOUNT,
            ))?;
            let result = options.iter().try_for_each(|(key, value)| {
                to_result(bindings::vfs_parse_fs_cstr(
                    fc,
                    key.as_ptr().cast(),
                    value.as_ptr().cast(),
                ))
            });
            let mnt = result.and_then(|()| from_err_ptr(bindings::fc_mount(fc.cast())));
            bindings::put_fs_context(fc);
            Ok(Mounted(mnt?, PhantomData))
        }
    }

    /// The super block.
    pub(super) fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: The mount is ours, of our type, and holds its super block.
        unsafe { SuperBlock::from_raw((*self.0).mnt_sb) }
    }

    /// Opens the root, or what has that name in it.
    pub(super) fn open(&self, name: &[u8]) -> Result<TestFile> {
        self.open_flags(name, 0)
    }

    /// Calls `f` with the path of the root, or of what has that name in it.
    pub(super) fn with_path<R>(
        &self,
        name: &[u8],
        f: impl FnOnce(&bindings::path) -> R,
    ) -> Result<R> {
        let mut qstr = bindings::qstr::default();
        qstr.name = name.as_ptr();
        qstr.__bindgen_anon_1.__bindgen_anon_1.len = name.len() as u32;
        // SAFETY: The mount is valid; the name has that length.
        unsafe {
            let root = (*self.0).mnt_root;
            let dentry = if name.is_empty() {
                bindings::dget(root)
            } else {
                from_err_ptr(bindings::test_lookup(&mut qstr, root))?
            };
            let path = bindings::path {
                mnt: self.0,
                dentry,
            };
            let result = f(&path);
            bindings::dput(dentry);
            Ok(result)
        }
    }

    /// Opens it with flags of open(2).
    pub(super) fn open_flags(&self, name: &[u8], flags: u32) -> Result<TestFile> {
        // SAFETY: The path is held.
        let file = self.with_path(name, |path| unsafe {
            bindings::dentry_open(path, flags as c_int, bindings::test_current_cred())
        })?;
        Ok(TestFile(from_err_ptr(file)?))
    }
}

impl<T: FileSystem> Drop for Mounted<T> {
    fn drop(&mut self) {
        // SAFETY: The mount is ours, and internal to the kernel.
        unsafe { bindings::kern_unmount(self.0) };
    }
}

pub(in crate::fs) struct TestFile(*mut bindings::file);

impl TestFile {
    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.0
    }

    /// Reads at `pos`, as far as one call goes.
    pub(super) fn read(&self, buf: &mut [u8], pos: &mut i64) -> Result<usize> {
        // SAFETY: The file is open, the buffer has that length.
        let n = unsafe { bindings::kernel_read(self.0, buf.as_mut_ptr().cast(), buf.len(), pos) };
        to_result(n.min(0) as c_int)?;
        Ok(n as usize)
    }
}

/// A read that nobody waits for.
#[repr(C)]
struct AsyncRead {
    iocb: bindings::kiocb,
    ended: Option<isize>,
}

/// # Safety
///
/// Called for the `iocb` of an [`AsyncRead`].
unsafe extern "C" fn ended(iocb: *mut bindings::kiocb, result: isize) {
    // SAFETY: It is the first field.
    unsafe { (*iocb.cast::<AsyncRead>()).ended = Some(result) };
}

impl TestFile {
    /// Reads directly without waiting: what the VFS is told, what the read ended with, and
    /// the position then. The file system has to end it before it returns.
    pub(super) fn read_async(&self, buf: &mut [u8], pos: i64) -> (isize, Option<isize>, i64) {
        let mut read = AsyncRead {
            iocb: bindings::kiocb {
                ki_filp: self.0,
                ki_pos: pos,
                ki_complete: Some(ended),
                ki_flags: bindings::IOCB_DIRECT,
                ..Default::default()
            },
            ended: None,
        };
        let vec = bindings::kvec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        };
        let mut iter = MaybeUninit::<bindings::iov_iter>::uninit();
        let raw = &raw mut read;
        // SAFETY: The file is open; all of it outlives the read, and only `raw` is used while
        // it goes on.
        unsafe {
            bindings::iov_iter_kvec(iter.as_mut_ptr(), bindings::ITER_DEST, &vec, 1, buf.len());
            let told = (*(*self.0).f_op)
                .read_iter
                .map_or(0, |f| f(raw.cast(), iter.as_mut_ptr()));
            (told, (*raw).ended, (*raw).iocb.ki_pos)
        }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // SAFETY: The file is ours.
        unsafe { bindings::__fput_sync(self.0) };
    }
}

/// A reader of directories.
#[repr(C)]
pub(in crate::fs) struct Names {
    ctx: bindings::dir_context,
    /// The names, with a space after each.
    pub(super) seen: KVec<u8>,
    /// How many more there is room for.
    pub(super) room: usize,
}

impl Names {
    pub(super) fn new(room: usize) -> Self {
        Self {
            ctx: bindings::dir_context {
                actor: Some(actor),
                ..Default::default()
            },
            seen: KVec::new(),
            room,
        }
    }

    pub(super) fn read(&mut self, dir: &TestFile) -> Result {
        // SAFETY: The file is open, the context is valid.
        to_result(unsafe { bindings::iterate_dir(dir.0, &mut self.ctx) })
    }
}

/// # Safety
///
/// Called by `dir_emit`, with the context of a [`Names`] and a name of that length.
unsafe extern "C" fn actor(
    ctx: *mut bindings::dir_context,
    name: *const u8,
    len: c_int,
    _pos: i64,
    _ino: u64,
    _kind: c_uint,
) -> bool {
    // SAFETY: The context is the first field; the name has that length.
    unsafe {
        let names = &mut *ctx.cast::<Names>();
        if names.room == 0 {
            return false;
        }
        names.room -= 1;
        let name = core::slice::from_raw_parts(name, len as usize);
        names.seen.extend_from_slice(name, GFP_KERNEL).is_ok()
            && names.seen.push(b' ', GFP_KERNEL).is_ok()
    }
}
