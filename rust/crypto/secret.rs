// SPDX-License-Identifier: GPL-2.0
//! Memory for keys: wiped before it is freed, never printed.

use crate::bindings;
use core::ops::{Deref, DerefMut};
use kernel::fmt;
use kernel::prelude::*;

/// A byte string that is wiped when it is dropped. Its length is fixed, so no
/// copies are left behind by growing.
pub struct Secret(KVec<u8>);

impl Secret {
    /// A copy of `bytes`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        let mut vec = KVec::with_capacity(bytes.len(), GFP_KERNEL)?;
        vec.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(Self(vec))
    }

    /// `len` zero bytes, to be filled in.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn zeroed(len: usize) -> Result<Self> {
        Ok(Self(KVec::from_elem(0, len, GFP_KERNEL)?))
    }

    /// A copy.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn try_clone(&self) -> Result<Self> {
        Self::from_slice(self)
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Secret {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl From<KVec<u8>> for Secret {
    fn from(vec: KVec<u8>) -> Self {
        Self(vec)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let (ptr, _, capacity) = core::mem::take(&mut self.0).into_raw_parts();
        if capacity != 0 {
            // SAFETY: A `KVec` with capacity is an allocation of kmalloc(), which is
            // ours. The whole of it is wiped and freed.
            unsafe { bindings::kfree_sensitive(ptr.cast()) }
        }
    }
}

/// Compares in a time that depends on the lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // SAFETY: Both are valid for as many bytes.
    unsafe { !bindings::memory_differs(a.as_ptr().cast(), b.as_ptr().cast(), a.len()) }
}

#[kunit_tests(kernel_ext_secret)]
mod tests {
    use super::*;

    #[test]
    fn holds_and_compares() -> Result {
        let mut a = Secret::from_slice(b"key")?;
        let b = a.try_clone()?;
        assert!(equal(&a, &b));
        a[0] = b'K';
        assert!(!equal(&a, &b));
        assert!(!equal(&a, b"ke"));
        assert!(Secret::zeroed(0)?.is_empty());
        Ok(())
    }
}
