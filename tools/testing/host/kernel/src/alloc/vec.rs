// SPDX-License-Identifier: GPL-2.0
//! `kernel::alloc::Vec`, which grows by the same rule as the kernel's.
use super::{AllocError, Allocator, Box, Flags, Strict};
use crate::error::{code::EINVAL, Error};
use crate::host::Charge;
use core::borrow::{Borrow, BorrowMut};
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut, Index, IndexMut};
use core::slice::{self, SliceIndex};

/// A vector in memory of allocator `A`.
pub struct Vec<T, A: Allocator> {
    inner: std::vec::Vec<T>,
    charge: Charge,
    _strict: Strict<T>,
    _p: PhantomData<A>,
}

impl<T, A: Allocator> Vec<T, A> {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            inner: std::vec::Vec::new(),
            charge: Charge::NONE,
            _strict: Strict::NEW,
            _p: PhantomData,
        }
    }

    /// Empty, with room for `capacity` elements.
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut v = Self::new();
        v.reserve(capacity, flags)?;
        Ok(v)
    }

    /// Elements that there is room for.
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        self
    }

    /// The elements, to change.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self
    }

    /// Makes room for `additional` elements.
    pub fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        let (len, cap) = (self.len(), self.capacity());
        if cap - len >= additional {
            return Ok(());
        }
        let need = len.checked_add(additional).ok_or(AllocError)?;
        let new_cap = need.max(cap.saturating_mul(2));
        Charge::may_allocate()?;
        let bytes = new_cap.checked_mul(size_of::<T>()).ok_or(AllocError)?;
        // The kernel's limit for kvmalloc.
        if bytes > i32::MAX as usize {
            return Err(AllocError);
        }
        // Counted before it is tried: a test must see the absurd size too.
        self.charge.set(bytes);
        if self.inner.try_reserve_exact(new_cap - len).is_err() {
            self.charge.set(cap * size_of::<T>());
            return Err(AllocError);
        }
        Ok(())
    }

    /// Adds at the end.
    pub fn push(&mut self, v: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.inner.push(v);
        Ok(())
    }

    /// Adds at the end if there is room.
    pub fn push_within_capacity(&mut self, v: T) -> Result<(), PushError<T>> {
        if self.len() == self.capacity() {
            return Err(PushError(v));
        }
        self.inner.push(v);
        Ok(())
    }

    /// Inserts if there is room.
    pub fn insert_within_capacity(&mut self, index: usize, v: T) -> Result<(), InsertError<T>> {
        if index > self.len() {
            return Err(InsertError::IndexOutOfBounds(v));
        }
        if self.len() == self.capacity() {
            return Err(InsertError::OutOfCapacity(v));
        }
        self.inner.insert(index, v);
        Ok(())
    }

    /// Takes the last.
    pub fn pop(&mut self) -> Option<T> {
        self.inner.pop()
    }

    /// Takes one out; those behind it move up.
    pub fn remove(&mut self, i: usize) -> Result<T, RemoveError> {
        if i >= self.len() {
            return Err(RemoveError);
        }
        Ok(self.inner.remove(i))
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.inner.clear();
    }

    /// Drops all but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.inner.truncate(len);
    }

    /// Takes all.
    pub fn drain_all(&mut self) -> DrainAll<'_, T> {
        DrainAll(self.inner.drain(..))
    }

    /// Drops those that `f` does not want.
    pub fn retain(&mut self, f: impl FnMut(&mut T) -> bool) {
        self.inner.retain_mut(f);
    }
}

impl<T> Vec<T, super::KVmalloc> {
    /// Gives memory back, down to `min_capacity` elements.
    pub fn shrink_to(&mut self, min_capacity: usize, _: Flags) -> Result<(), AllocError> {
        self.inner.shrink_to(min_capacity);
        let bytes = self.capacity() * size_of::<T>();
        self.charge.set(bytes);
        Ok(())
    }
}

impl<T: Clone, A: Allocator> Vec<T, A> {
    /// Adds `n` times `value`.
    pub fn extend_with(&mut self, n: usize, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(n, flags)?;
        let len = self.len() + n;
        self.inner.resize(len, value);
        Ok(())
    }

    /// Adds copies of `other`.
    pub fn extend_from_slice(&mut self, other: &[T], flags: Flags) -> Result<(), AllocError> {
        self.reserve(other.len(), flags)?;
        self.inner.extend_from_slice(other);
        Ok(())
    }

    /// `n` times `value`.
    pub fn from_elem(value: T, n: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut v = Self::with_capacity(n, flags)?;
        v.extend_with(n, value, flags)?;
        Ok(v)
    }

    /// Grows with `value`, or drops from the end.
    pub fn resize(&mut self, new_len: usize, value: T, flags: Flags) -> Result<(), AllocError> {
        match new_len.checked_sub(self.len()) {
            Some(n) => self.extend_with(n, value, flags),
            None => {
                self.truncate(new_len);
                Ok(())
            }
        }
    }
}

impl<T, A: Allocator, const N: usize> From<Box<[T; N], A>> for Vec<T, A> {
    fn from(b: Box<[T; N], A>) -> Self {
        let Box(array, charge, _p) = b;
        Self {
            inner: (array as std::boxed::Box<[T]>).into_vec(),
            charge,
            _strict: Strict::NEW,
            _p,
        }
    }
}

impl<T, A: Allocator> Default for Vec<T, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug, A: Allocator> fmt::Debug for Vec<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T, A: Allocator> Deref for Vec<T, A> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.inner
    }
}

impl<T, A: Allocator> DerefMut for Vec<T, A> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.inner
    }
}

impl<T, A: Allocator> Borrow<[T]> for Vec<T, A> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<T, A: Allocator> BorrowMut<[T]> for Vec<T, A> {
    fn borrow_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T: Eq, A: Allocator> Eq for Vec<T, A> {}

impl<T, I: SliceIndex<[T]>, A: Allocator> Index<I> for Vec<T, A> {
    type Output = I::Output;
    fn index(&self, index: I) -> &I::Output {
        &(**self)[index]
    }
}

impl<T, I: SliceIndex<[T]>, A: Allocator> IndexMut<I> for Vec<T, A> {
    fn index_mut(&mut self, index: I) -> &mut I::Output {
        &mut (**self)[index]
    }
}

macro_rules! impl_slice_eq {
    ($([$($vars:tt)*] $lhs:ty, $rhs:ty,)*) => {$(
        impl<T: PartialEq<U>, U, $($vars)*> PartialEq<$rhs> for $lhs {
            fn eq(&self, other: &$rhs) -> bool {
                self[..] == other[..]
            }
        }
    )*};
}

impl_slice_eq! {
    [A1: Allocator, A2: Allocator] Vec<T, A1>, Vec<U, A2>,
    [A: Allocator] Vec<T, A>, &[U],
    [A: Allocator] Vec<T, A>, &mut [U],
    [A: Allocator] &[T], Vec<U, A>,
    [A: Allocator] &mut [T], Vec<U, A>,
    [A: Allocator] Vec<T, A>, [U],
    [A: Allocator] [T], Vec<U, A>,
    [A: Allocator, const N: usize] Vec<T, A>, [U; N],
    [A: Allocator, const N: usize] Vec<T, A>, &[U; N],
}

impl<'a, T, A: Allocator> IntoIterator for &'a Vec<T, A> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T, A: Allocator> IntoIterator for &'a mut Vec<T, A> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

/// The elements, one by one, out of their vector.
pub struct IntoIter<T, A: Allocator> {
    inner: std::vec::IntoIter<T>,
    charge: Charge,
    _strict: Strict<T>,
    _p: PhantomData<A>,
}

impl<T, A: Allocator> IntoIter<T, A> {
    /// What is left, as a vector.
    pub fn collect(self, _: Flags) -> Vec<T, A> {
        let Self {
            inner, charge, _p, ..
        } = self;
        Vec {
            inner: inner.collect(),
            charge,
            _strict: Strict::NEW,
            _p,
        }
    }
}

impl<T, A: Allocator> Iterator for IntoIter<T, A> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.inner.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<T, A: Allocator> IntoIterator for Vec<T, A> {
    type Item = T;
    type IntoIter = IntoIter<T, A>;
    fn into_iter(self) -> IntoIter<T, A> {
        let Self {
            inner, charge, _p, ..
        } = self;
        IntoIter {
            inner: inner.into_iter(),
            charge,
            _strict: Strict::NEW,
            _p,
        }
    }
}

/// What [`Vec::drain_all`] takes.
pub struct DrainAll<'vec, T>(std::vec::Drain<'vec, T>);

impl<T> Iterator for DrainAll<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// No room.
pub struct PushError<T>(pub T);

/// No such element.
pub struct RemoveError;

/// No room, or no such place.
pub enum InsertError<T> {
    /// Beyond the end.
    IndexOutOfBounds(T),
    /// No room.
    OutOfCapacity(T),
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Not enough capacity")
    }
}

impl fmt::Debug for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Index out of bounds")
    }
}

impl<T> fmt::Debug for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InsertError::IndexOutOfBounds(_) => "Index out of bounds",
            InsertError::OutOfCapacity(_) => "Not enough capacity",
        })
    }
}

impl<T> From<PushError<T>> for Error {
    fn from(_: PushError<T>) -> Error {
        EINVAL
    }
}

impl From<RemoveError> for Error {
    fn from(_: RemoveError) -> Error {
        EINVAL
    }
}

impl<T> From<InsertError<T>> for Error {
    fn from(_: InsertError<T>) -> Error {
        EINVAL
    }
}
