// SPDX-License-Identifier: GPL-2.0
//! Extended attributes.
//!
//! ```
//! use kernel_ext::fs::xattr::NameList;
//!
//! fn listxattr(mut list: NameList<'_>) -> Result {
//!     list.add(b"user.colour")?;
//!     list.add(b"user.size")
//! }
//! ```

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr;
use kernel::ffi::c_char;
use kernel::prelude::*;

/// The names of an inode's extended attributes, for listxattr(2).
///
/// # Invariants
///
/// `buf` is null, or `size` bytes from there can be written, for `'a`; the first `len` of
/// them are.
pub struct NameList<'a> {
    buf: *mut u8,
    size: usize,
    len: &'a Cell<usize>,
    _p: PhantomData<&'a mut [u8]>,
}

impl<'a> NameList<'a> {
    /// # Safety
    ///
    /// `size` bytes from `buf` can be written for `'a`, by nobody else; or `buf` is null or
    /// `size` is 0, and only the length is asked for.
    pub(super) unsafe fn from_raw(buf: *mut c_char, size: usize, len: &'a Cell<usize>) -> Self {
        len.set(0);
        let buf = if size == 0 { ptr::null_mut() } else { buf };
        // INVARIANT: The caller's obligation.
        Self {
            buf: buf.cast(),
            size,
            len,
            _p: PhantomData,
        }
    }

    /// Adds a name, with its prefix.
    ///
    /// # Errors
    ///
    /// * `ERANGE` if there is no room for it.
    /// * `EINVAL` if there is a 0 in it.
    pub fn add(&mut self, name: &[u8]) -> Result {
        if name.contains(&0) {
            return Err(EINVAL);
        }
        let at = self.len.get();
        let end = at
            .checked_add(name.len())
            .and_then(|end| end.checked_add(1))
            .ok_or(ERANGE)?;
        if !self.buf.is_null() {
            if end > self.size {
                return Err(ERANGE);
            }
            // SAFETY: By the invariant; the name with its 0 ends at `end`, which is not
            // beyond `size`.
            unsafe {
                let to = self.buf.add(at);
                ptr::copy_nonoverlapping(name.as_ptr(), to, name.len());
                to.add(name.len()).write(0);
            }
        }
        self.len.set(end);
        Ok(())
    }
}

#[kunit_tests(kernel_ext_fs_xattr)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let len = Cell::new(7);
        // SAFETY: Only the length is asked for.
        let mut list = unsafe { NameList::from_raw(ptr::null_mut(), 0, &len) };
        assert!(list.add(b"user.a").is_ok() && list.add(b"user.bc").is_ok());
        assert!(matches!(list.add(b"a\0b"), Err(EINVAL)));
        assert_eq!(len.get(), 15);
        let mut buf = [1u8; 15];
        // SAFETY: So many bytes can be written.
        let mut list = unsafe { NameList::from_raw(buf.as_mut_ptr().cast(), 14, &len) };
        assert!(list.add(b"user.a").is_ok());
        assert!(matches!(list.add(b"user.bc"), Err(ERANGE)));
        assert_eq!(len.get(), 7);
        assert!(list.add(b"user.b").is_ok());
        assert_eq!(&buf, b"user.a\0user.b\0\x01");
    }
}
