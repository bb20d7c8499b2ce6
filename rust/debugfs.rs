// SPDX-License-Identifier: GPL-2.0
//! debugfs: directories, files that print or take a number, symbolic links.
//!
//! `kernel::debugfs` prints objects that the file owns, with fixed modes. Here a
//! file is a closure over whatever it shares, with the mode that it shall have. An
//! entry lives as long as its value; dropping a file waits for readers that are in
//! it, so the closure is never called afterwards. A failure to create something is
//! not an error, as debugfs wants it.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)
//!
//! ```
//! use kernel::{seq_print, sync::Arc};
//! use kernel_ext::debugfs::{Dir, File};
//!
//! fn show_number(number: Arc<u64>) -> Result<File> {
//!     let dir = Dir::root(c"demo").subdir(c"instance");
//!     dir.file(c"number", 0o400, move |m| {
//!         seq_print!(m, "{}\n", *number);
//!         Ok(())
//!     })
//! }
//! ```

use crate::bindings;
use kernel::error::from_result;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::Arc;
use kernel::uaccess::{UserPtr, UserSlice};

/// One entry of debugfs; removed on drop.
///
/// # Invariants
///
/// `dentry` is an error pointer, or was created by us and not removed yet. The
/// parent is removed after it.
struct Entry {
    dentry: *mut bindings::dentry,
    _parent: Option<Arc<Entry>>,
}

// SAFETY: debugfs entries are used and removed by any thread.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: By the invariants; error pointers are ignored. Waits for users.
        unsafe { bindings::debugfs_remove(self.dentry) }
    }
}

/// A directory. It goes when the last clone and everything in it is dropped.
#[derive(Clone)]
pub struct Dir(Option<Arc<Entry>>);

impl Dir {
    /// A directory at the top of debugfs.
    pub fn root(name: &CStr) -> Self {
        Self::create(name, None)
    }

    /// A directory in this one.
    pub fn subdir(&self, name: &CStr) -> Self {
        // Without this one there is no other, rather than one at the top.
        self.0.as_ref().map_or(Self(None), |parent| {
            Self::create(name, Some(parent.clone()))
        })
    }

    fn create(name: &CStr, parent: Option<Arc<Entry>>) -> Self {
        let at = parent.as_ref().map_or(core::ptr::null_mut(), |p| p.dentry);
        // SAFETY: The name is a C string; the parent is null, an error or a
        // directory.
        let dentry = unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), at) };
        // INVARIANT: As created; the parent is kept. If the allocation fails, the
        // entry is removed at once.
        Self(
            Arc::new(
                Entry {
                    dentry,
                    _parent: parent,
                },
                GFP_KERNEL,
            )
            .ok(),
        )
    }

    fn entry(&self) -> Result<&Arc<Entry>> {
        self.0.as_ref().ok_or(ENOMEM)
    }

    fn create_file(&self, name: &CStr, mode: u16, ops: Ops) -> Result<File> {
        let parent = self.entry()?;
        let ops = KBox::new(ops, GFP_KERNEL)?;
        let data = core::ptr::from_ref::<Ops>(&ops).cast_mut().cast();
        // SAFETY: The name is a C string, the parent an error or a directory, and
        // the table static. `ops` stays where it is until the file is removed.
        let dentry = unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                // The type is not the caller's: debugfs has a BUG() for any but files.
                mode & 0o777,
                parent.dentry,
                data,
                core::ptr::null(),
                &FILE_OPS.0,
            )
        };
        Ok(File {
            _entry: Entry {
                dentry,
                _parent: Some(parent.clone()),
            },
            _ops: Some(ops),
        })
    }

    /// A file that `show` prints; `mode` is that of `stat(2)`, such as `0o400`.
    /// `show` may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn file<F>(&self, name: &CStr, mode: u16, show: F) -> Result<File>
    where
        F: Fn(&SeqFile) -> Result + Send + Sync + 'static,
    {
        self.create_file(
            name,
            mode,
            Ops {
                show: KBox::new(show, GFP_KERNEL)?,
                set: None,
            },
        )
    }

    /// A file with a decimal number, that can be written if `mode` says so.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Errors of `set` become those of `write(2)`.
    pub fn number<G, S>(&self, name: &CStr, mode: u16, get: G, set: S) -> Result<File>
    where
        G: Fn() -> u64 + Send + Sync + 'static,
        S: Fn(u64) -> Result + Send + Sync + 'static,
    {
        let show = move |m: &SeqFile| {
            seq_print!(m, "{}\n", get());
            Ok(())
        };
        let ops = Ops {
            show: KBox::new(show, GFP_KERNEL)?,
            set: Some(KBox::new(set, GFP_KERNEL)?),
        };
        self.create_file(name, mode, ops)
    }

    /// A symbolic link.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn symlink(&self, name: &CStr, target: &CStr) -> Result<File> {
        let parent = self.entry()?;
        // SAFETY: C strings (the target is copied), and an error or a directory.
        let dentry = unsafe {
            bindings::debugfs_create_symlink(
                name.as_char_ptr(),
                parent.dentry,
                target.as_char_ptr(),
            )
        };
        Ok(File {
            _entry: Entry {
                dentry,
                _parent: Some(parent.clone()),
            },
            _ops: None,
        })
    }
}

type Show = KBox<dyn Fn(&SeqFile) -> Result + Send + Sync>;
type Set = KBox<dyn Fn(u64) -> Result + Send + Sync>;

/// What the private pointer of a file's inode points to.
struct Ops {
    show: Show,
    set: Option<Set>,
}

/// A file or link; removed on drop, after the calls that are in progress. So it
/// must not be dropped by its own closures.
pub struct File {
    // Before the closures: fields are dropped in this order.
    _entry: Entry,
    _ops: Option<KBox<Ops>>,
}

struct FileOps(bindings::file_operations);

// SAFETY: A constant table.
unsafe impl Sync for FileOps {}

static FILE_OPS: FileOps = FileOps(bindings::file_operations {
    owner: &raw mut bindings::__this_module,
    open: Some(open),
    read: Some(bindings::seq_read),
    write: Some(write),
    llseek: Some(bindings::seq_lseek),
    // Called even after the file was removed, hence only with what seq_file owns.
    release: Some(bindings::single_release),
    ..pin_init::zeroed()
});

/// # Safety
///
/// Called by debugfs for a file of [`Dir::create_file`] that is not removed.
unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> i32 {
    // SAFETY: `inode` and `file` are valid; `show` is called by `seq_read` only,
    // which debugfs does not call once the file is removed.
    unsafe { bindings::single_open(file, Some(show), (*inode).i_private) }
}

/// # Safety
///
/// Called by `seq_read` for a file that [`open`] opened and that is not removed.
unsafe extern "C" fn show(m: *mut bindings::seq_file, _data: *mut kernel::ffi::c_void) -> i32 {
    // SAFETY: single_open() put the pointer into the private field. Only this thread
    // has `m`, which is locked.
    let (ops, m) = unsafe { (&*(*m).private.cast::<Ops>(), SeqFile::from_raw(m)) };
    from_result(|| (ops.show)(m).map(|()| 0))
}

/// # Safety
///
/// Called by debugfs for an open file that is not removed.
unsafe extern "C" fn write(
    file: *mut bindings::file,
    buf: *const kernel::ffi::c_char,
    len: usize,
    _pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: The file was opened by `open`: it has a seq_file with our pointer.
    let ops = unsafe {
        &*(*(*file).private_data.cast::<bindings::seq_file>())
            .private
            .cast::<Ops>()
    };
    let result = || -> Result<isize> {
        let set = ops.set.as_ref().ok_or(EINVAL)?;
        let mut text = [0u8; 24];
        let text = text.get_mut(..len).ok_or(EINVAL)?;
        UserSlice::new(UserPtr::from_ptr(buf.cast_mut().cast()), len)
            .reader()
            .read_slice(text)?;
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        set(text.trim().parse().map_err(|_| EINVAL)?)?;
        Ok(len as isize)
    };
    result().unwrap_or_else(|e| e.to_errno() as isize)
}

#[kunit_tests(kernel_ext_debugfs)]
mod tests {
    use super::*;

    #[test]
    fn closures_go_with_the_file() -> Result {
        let dir = Dir::root(c"kernel_ext_test").subdir(c"sub");
        let shared = Arc::new(1u64, GFP_KERNEL)?;
        let probe = shared.clone();
        let file = dir.file(c"show", 0o400, move |m| {
            seq_print!(m, "{}\n", *probe);
            Ok(())
        })?;
        let link = dir.symlink(c"link", c"show")?;
        let number = dir.number(c"number", 0o600, || 5, |_| Err(EPERM))?;
        // The entries keep the directory.
        drop(dir);
        drop((file, link, number));
        assert!(Arc::into_unique_or_drop(shared).is_some());
        Ok(())
    }

    #[test]
    fn shows_what_the_closure_prints() -> Result {
        const SIZE: usize = 64;
        let dir = Dir::root(c"kernel_ext_test");
        let file = dir.number(c"answer", 0o400, || 42, |_| Err(EPERM))?;
        let ops = file._ops.as_deref().ok_or(EINVAL)?;
        let mut inode = KBox::new(pin_init::zeroed::<bindings::inode>(), GFP_KERNEL)?;
        let mut opened = KBox::new(pin_init::zeroed::<bindings::file>(), GFP_KERNEL)?;
        inode.i_private = core::ptr::from_ref(ops).cast_mut().cast();
        // SAFETY: As debugfs does it, with as much of inode and file as is looked at. The
        // buffer belongs to the seq_file, which frees it by kvfree().
        unsafe {
            assert_eq!(open(&mut *inode, &mut *opened), 0);
            let seq = opened.private_data.cast::<bindings::seq_file>();
            let (buf, _, _) = KVVec::from_elem(0u8, SIZE, GFP_KERNEL)?.into_raw_parts();
            (*seq).buf = buf.cast();
            (*seq).size = SIZE;
            let ret = show(seq, core::ptr::null_mut());
            let printed = core::slice::from_raw_parts(buf, (*seq).count.min(SIZE));
            assert_eq!((ret, printed), (0, &b"42\n"[..]));
            bindings::single_release(&mut *inode, &mut *opened);
        }
        Ok(())
    }
}
