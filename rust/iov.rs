// SPDX-License-Identifier: GPL-2.0
//! Destinations for received data, lent to whoever receives.
//!
//! An [`IovDest`] owns the right to write to some memory: a kernel buffer, or the
//! pages that a C `struct iov_iter` describes together with the object that keeps
//! them alive. It travels by value; the one who has it may write. It counts what
//! was filled, and never takes more than it has room for.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)
//!
//! ```
//! use kernel_ext::iov::IovDest;
//!
//! fn padded(data: &[u8]) -> Result<KVVec<u8>> {
//!     let mut dest = IovDest::with_len(4096)?;
//!     dest.copy_from_slice(data)?;
//!     dest.zero_rest()?;
//!     dest.into_buffer().map_err(|_| EINVAL)
//! }
//! ```

use crate::bindings;
use core::any::TypeId;
use core::mem::{ManuallyDrop, MaybeUninit};
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::types::ForeignOwnable;

/// What keeps memory alive: something that is as big as a pointer, so that it needs no
/// memory of its own.
///
/// # Invariants
///
/// `ptr` comes from `into_foreign` of the type `kind`, which is `Send`, and `drop` is its
/// [`drop_owner`].
struct Owner {
    ptr: *mut c_void,
    kind: TypeId,
    drop: unsafe fn(*mut c_void),
}

/// # Safety
///
/// `ptr` must come from `O::into_foreign` and is not used any more.
unsafe fn drop_owner<O: ForeignOwnable>(ptr: *mut c_void) {
    // SAFETY: Promised by the caller.
    drop(unsafe { O::from_foreign(ptr) });
}

impl Owner {
    fn new<O: ForeignOwnable + Send + 'static>(owner: O) -> Self {
        // INVARIANT: All three are of the same type.
        Self {
            ptr: owner.into_foreign(),
            kind: TypeId::of::<O>(),
            drop: drop_owner::<O>,
        }
    }

    fn borrow<O: ForeignOwnable + 'static>(&self) -> Option<O::Borrowed<'_>> {
        // SAFETY: By the invariants, as the type was checked; it is not borrowed mutably.
        (self.kind == TypeId::of::<O>()).then(|| unsafe { O::borrow(self.ptr) })
    }

    fn into_inner<O: ForeignOwnable + 'static>(self) -> Result<O, Self> {
        if self.kind != TypeId::of::<O>() {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: By the invariants, as the type was checked; `this` is not dropped.
        Ok(unsafe { O::from_foreign(this.ptr) })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: By the invariants.
        unsafe { (self.drop)(self.ptr) }
    }
}

/// # Invariants
///
/// `raw` is an `ITER_DEST` iterator over kernel memory that any thread may write
/// to until `owner` is dropped or given back. The part of it begins `at` bytes after where
/// the memory of the owner does.
struct OwnedIter {
    raw: bindings::iov_iter,
    at: usize,
    owner: Owner,
}

// SAFETY: By the invariants any thread may write; the owner is `Send`.
unsafe impl Send for OwnedIter {}

enum Kind {
    Buffer(KVVec<u8>),
    Iter(OwnedIter),
}

/// Memory that received data goes to, and how much of it has been filled.
///
/// # Invariants
///
/// `filled <= len`. A buffer is `len` bytes long; an iterator has `len - filled`
/// bytes left.
pub struct IovDest {
    kind: Kind,
    len: usize,
    filled: usize,
}

/// Bytes left in an iterator.
pub(crate) fn count(iter: &bindings::iov_iter) -> usize {
    // SAFETY: `count` is in the part of the union that all kinds have, as in
    // iov_iter_count().
    unsafe { iter.__bindgen_anon_1.__bindgen_anon_1.as_ref().count }
}

impl IovDest {
    /// The whole of `buf`.
    pub fn from_buffer(buf: KVVec<u8>) -> Self {
        let len = buf.len();
        // INVARIANT: Nothing filled yet.
        Self {
            kind: Kind::Buffer(buf),
            len,
            filled: 0,
        }
    }

    /// A new buffer of `len` bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn with_len(len: usize) -> Result<Self> {
        Ok(Self::from_buffer(KVVec::from_elem(0, len, GFP_KERNEL)?))
    }

    /// The memory of a C iterator, which `owner` keeps alive. It is the part of the owner's
    /// memory that begins `at` bytes after its start, for [`at`](Self::at) to tell.
    ///
    /// # Safety
    ///
    /// `iter` is an `ITER_DEST` iterator over kernel memory (not user-backed). The
    /// memory, and what `iter` points to, stays valid, and nobody else reads or
    /// writes it, until `owner` is dropped or given back by
    /// [`into_owner`](Self::into_owner). Any thread may write.
    pub unsafe fn from_iter<O: ForeignOwnable + Send + 'static>(
        iter: bindings::iov_iter,
        at: usize,
        owner: O,
    ) -> Self {
        let len = count(&iter);
        let owner = Owner::new(owner);
        // INVARIANT: Promised by the caller.
        Self {
            kind: Kind::Iter(OwnedIter {
                raw: iter,
                at,
                owner,
            }),
            len,
            filled: 0,
        }
    }

    /// Which part of the memory of its owner it is: where it begins, in bytes.
    pub fn at(&self) -> usize {
        match &self.kind {
            Kind::Buffer(_) => 0,
            Kind::Iter(iter) => iter.at,
        }
    }

    /// The owner, if it is an `O`.
    pub fn owner<O: ForeignOwnable + 'static>(&self) -> Option<O::Borrowed<'_>> {
        match &self.kind {
            Kind::Buffer(_) => None,
            Kind::Iter(iter) => iter.owner.borrow::<O>(),
        }
    }

    /// Room in all, in bytes.
    // "Empty" would be said of what is filled, which this is not.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes filled so far, from the start.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Bytes that there is still room for.
    pub fn remaining(&self) -> usize {
        self.len.saturating_sub(self.filled)
    }

    /// Lets `f` write `len` bytes to the iterator it is given; on success they count
    /// as filled.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if there is no room for `len` bytes; what `f` returns.
    ///
    /// # Safety
    ///
    /// `f` writes, and advances the iterator, by exactly `len` bytes if it returns
    /// `Ok`, else by none.
    pub(crate) unsafe fn fill_with(
        &mut self,
        len: usize,
        f: impl FnOnce(*mut bindings::iov_iter) -> Result,
    ) -> Result {
        if len > self.remaining() {
            return Err(EMSGSIZE);
        }
        match &mut self.kind {
            Kind::Buffer(buf) => {
                let rest = buf.get_mut(self.filled..).ok_or(EINVAL)?;
                let vec = bindings::kvec {
                    iov_base: rest.as_mut_ptr().cast(),
                    iov_len: rest.len(),
                };
                let mut iter = MaybeUninit::<bindings::iov_iter>::uninit();
                // SAFETY: `iter` is valid for writes; `vec` describes memory that we
                // have exclusively, and both outlive `f`.
                unsafe {
                    bindings::iov_iter_kvec(
                        iter.as_mut_ptr(),
                        bindings::ITER_DEST,
                        &vec,
                        1,
                        vec.iov_len,
                    );
                }
                f(iter.as_mut_ptr())?;
            }
            Kind::Iter(iter) => f(&mut iter.raw)?,
        }
        // INVARIANT: `f` has advanced by `len`, which was checked above.
        self.filled += len;
        Ok(())
    }

    /// Appends `src`.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if there is no room for it.
    pub fn copy_from_slice(&mut self, src: &[u8]) -> Result {
        // SAFETY: _copy_to_iter() copies all to kernel memory that has the room.
        unsafe {
            self.fill_with(src.len(), |iter| {
                let done = bindings::_copy_to_iter(src.as_ptr().cast(), src.len(), iter);
                exactly(iter, done, src.len())
            })
        }
    }

    /// Appends `len` zero bytes (a hole).
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if there is no room for them.
    pub fn zero(&mut self, len: usize) -> Result {
        // SAFETY: iov_iter_zero() writes all to kernel memory that has the room.
        unsafe {
            self.fill_with(len, |iter| {
                exactly(iter, bindings::iov_iter_zero(len, iter), len)
            })
        }
    }

    /// Fills the rest with zero bytes.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the memory cannot be written.
    pub fn zero_rest(&mut self) -> Result {
        self.zero(self.remaining())
    }

    /// Starts again: what was filled will be written anew.
    pub fn rewind(&mut self) {
        if let Kind::Iter(iter) = &mut self.kind {
            // SAFETY: The iterator was advanced by `filled` since it was taken.
            unsafe { bindings::iov_iter_revert(&mut iter.raw, self.filled) }
        }
        self.filled = 0;
    }

    /// Gives the buffer back, cut to what was filled.
    ///
    /// # Errors
    ///
    /// The destination itself if it is not one made of a buffer.
    pub fn into_buffer(self) -> Result<KVVec<u8>, Self> {
        match self.kind {
            Kind::Buffer(mut buf) => {
                buf.truncate(self.filled);
                Ok(buf)
            }
            kind => Err(Self { kind, ..self }),
        }
    }

    /// Ends the writing and gives the owner back.
    ///
    /// # Errors
    ///
    /// The destination itself if its owner is not an `O`.
    pub fn into_owner<O: ForeignOwnable + 'static>(self) -> Result<O, Self> {
        let Self { kind, len, filled } = self;
        match kind {
            Kind::Iter(OwnedIter { raw, at, owner }) => owner.into_inner().map_err(|owner| Self {
                kind: Kind::Iter(OwnedIter { raw, at, owner }),
                len,
                filled,
            }),
            kind => Err(Self { kind, len, filled }),
        }
    }
}

/// # Safety
///
/// `iter` was advanced by `done` bytes.
unsafe fn exactly(iter: *mut bindings::iov_iter, done: usize, len: usize) -> Result {
    if done == len {
        return Ok(());
    }
    // SAFETY: The caller says that it was advanced by `done` bytes.
    unsafe { bindings::iov_iter_revert(iter, done) };
    Err(EFAULT)
}

impl core::fmt::Debug for IovDest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "IovDest({} of {})", self.filled, self.len)
    }
}

#[kunit_tests(kernel_ext_iov)]
mod tests {
    use super::*;

    #[test]
    fn buffer() -> Result {
        let mut dest = IovDest::with_len(8)?;
        dest.copy_from_slice(b"abc")?;
        assert_eq!((dest.len(), dest.filled(), dest.remaining()), (8, 3, 5));
        assert!(dest.copy_from_slice(b"too long").is_err());
        assert_eq!(dest.filled(), 3);
        dest.copy_from_slice(b"de")?;
        dest.zero_rest()?;
        let buf = dest.into_buffer().map_err(|_| EINVAL)?;
        assert_eq!(&buf[..], b"abcde\0\0\0");
        Ok(())
    }

    #[test]
    fn short_and_rewound() -> Result {
        let mut dest = IovDest::with_len(8)?;
        dest.copy_from_slice(b"wrong")?;
        dest.rewind();
        dest.copy_from_slice(b"ok")?;
        assert_eq!(&dest.into_buffer().map_err(|_| EINVAL)?[..], b"ok");
        Ok(())
    }

    #[test]
    fn iterator_with_owner() -> Result {
        struct Owner(KVec<u8>, bindings::kvec);
        // SAFETY: The pointer in the `kvec` is to the vector beside it.
        unsafe impl Send for Owner {}

        let mut vec = KVec::from_elem(0xffu8, 6, GFP_KERNEL)?;
        let desc = bindings::kvec {
            iov_base: vec.as_mut_ptr().cast(),
            iov_len: vec.len(),
        };
        let owner = KBox::new(Owner(vec, desc), GFP_KERNEL)?;
        let mut iter = MaybeUninit::<bindings::iov_iter>::uninit();
        // SAFETY: The description and the memory are in the owner.
        let mut dest = unsafe {
            bindings::iov_iter_kvec(iter.as_mut_ptr(), bindings::ITER_DEST, &owner.1, 1, 6);
            IovDest::from_iter(iter.assume_init(), 7, owner)
        };
        assert_eq!(dest.at(), 7);
        dest.copy_from_slice(b"12345")?;
        dest.rewind();
        dest.copy_from_slice(b"ab")?;
        dest.zero(1)?;
        assert_eq!(dest.remaining(), 3);
        assert!(dest.owner::<KBox<u32>>().is_none());
        assert!(dest.owner::<KBox<Owner>>().is_some_and(|o| o.0.len() == 6));
        let dest = match dest.into_owner::<KBox<u32>>() {
            Ok(_) => return Err(EINVAL),
            Err(dest) => dest,
        };
        let owner = dest.into_owner::<KBox<Owner>>().map_err(|_| EINVAL)?;
        assert_eq!(&owner.0[..], b"ab\x0045\xff");
        Ok(())
    }
}
