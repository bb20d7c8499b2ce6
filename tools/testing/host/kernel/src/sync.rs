// SPDX-License-Identifier: GPL-2.0
//! `kernel::sync`: shared ownership, which is all of it that pure code may use.
use crate::alloc::{AllocError, Flags};
use crate::host::Charge;
use core::ops::Deref;

/// `kernel::sync::Arc`.
pub struct Arc<T>(std::sync::Arc<(T, Charge)>);

impl<T> Arc<T> {
    /// Allocates.
    pub fn new(contents: T, _flags: Flags) -> Result<Self, AllocError> {
        Charge::may_allocate()?;
        let mut charge = Charge::NONE;
        // The kernel's reference count is one word.
        charge.set(size_of::<T>().saturating_add(size_of::<usize>()));
        Ok(Self(std::sync::Arc::new((contents, charge))))
    }

    /// Whether both are the same object.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0 .0
    }
}

/// `kernel::sync::SetOnce`.
pub struct SetOnce<T>(std::sync::OnceLock<T>);

impl<T> SetOnce<T> {
    /// Empty.
    pub const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    /// What is in it.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.get()
    }

    /// Fills it, unless it is full.
    pub fn populate(&self, value: T) -> bool {
        self.0.set(value).is_ok()
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}
