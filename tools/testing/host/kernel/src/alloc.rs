// SPDX-License-Identifier: GPL-2.0
//! `kernel::alloc`: vectors and boxes whose every allocation may fail.
use crate::host::Charge;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{CoerceUnsized, Deref, DerefMut};
use core::pin::Pin;

mod vec;
pub use vec::{DrainAll, InsertError, IntoIter, PushError, RemoveError, Vec};

/// The allocator refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// `GFP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

impl core::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Flags(self.0 | rhs.0)
    }
}

/// The `GFP_*` that the kernel crate has; the host makes no difference.
pub mod flags {
    use super::Flags;
    macro_rules! flags {
        ($($name:ident = $bit:literal,)*) => {$(
            #[doc = stringify!($name)]
            pub const $name: Flags = Flags($bit);
        )*};
    }
    flags! {
        GFP_ATOMIC = 1, GFP_KERNEL = 2, GFP_KERNEL_ACCOUNT = 4, GFP_NOWAIT = 8, __GFP_ZERO = 16,
        __GFP_HIGHMEM = 32, __GFP_NOWARN = 64,
    }
}

/// Which of the kernel's allocators.
pub trait Allocator {}

/// The kernel's allocators.
pub mod allocator {
    /// `kmalloc`.
    pub struct Kmalloc;
    /// `vmalloc`.
    pub struct Vmalloc;
    /// `kvmalloc`.
    pub struct KVmalloc;
    impl super::Allocator for Kmalloc {}
    impl super::Allocator for Vmalloc {}
    impl super::Allocator for KVmalloc {}
}
use allocator::{KVmalloc, Kmalloc, Vmalloc};

/// A vector from `kmalloc`.
pub type KVec<T> = Vec<T, Kmalloc>;
/// A vector from `vmalloc`.
pub type VVec<T> = Vec<T, Vmalloc>;
/// A vector from `kvmalloc`.
pub type KVVec<T> = Vec<T, KVmalloc>;
/// A box from `kmalloc`.
pub type KBox<T> = Box<T, Kmalloc>;
/// A box from `vmalloc`.
pub type VBox<T> = Box<T, Vmalloc>;
/// A box from `kvmalloc`.
pub type KVBox<T> = Box<T, KVmalloc>;

/// `kernel::alloc::Box`.
pub struct Box<T: ?Sized, A: Allocator>(std::boxed::Box<T>, Charge, PhantomData<A>);

/// Makes the compiler as strict about borrows in a dropped container as with the
/// kernel's, whose `Drop` may look at the elements.
pub(crate) struct Strict<T>(PhantomData<T>);

impl<T> Strict<T> {
    const NEW: Self = Self(PhantomData);
}

impl<T> Drop for Strict<T> {
    fn drop(&mut self) {}
}

impl<T: ?Sized + core::marker::Unsize<U>, U: ?Sized, A: Allocator> CoerceUnsized<Box<U, A>>
    for Box<T, A>
{
}

impl<T, A: Allocator> Box<T, A> {
    /// Allocates for `x`.
    pub fn new(x: T, _: Flags) -> Result<Self, AllocError> {
        Charge::may_allocate()?;
        let mut charge = Charge::NONE;
        charge.set(size_of::<T>());
        Ok(Self(std::boxed::Box::new(x), charge, PhantomData))
    }

    /// Allocates without a value.
    pub fn new_uninit(flags: Flags) -> Result<Box<MaybeUninit<T>, A>, AllocError> {
        Box::new(MaybeUninit::uninit(), flags)
    }

    /// Allocates for `x`, pinned.
    pub fn pin(x: T, flags: Flags) -> Result<Pin<Self>, AllocError>
    where
        A: 'static,
    {
        Ok(Self::into_pin(Self::new(x, flags)?))
    }

    /// Takes the value out.
    pub fn into_inner(b: Self) -> T {
        *b.0
    }
}

impl<T, A: Allocator> Box<MaybeUninit<T>, A> {
    /// Sets the value.
    pub fn write(self, value: T) -> Box<T, A> {
        let Self(_, charge, _) = self;
        Box(std::boxed::Box::new(value), charge, PhantomData)
    }
}

impl<T: ?Sized, A: Allocator> Box<T, A> {
    /// Pins what it holds.
    pub fn into_pin(this: Self) -> Pin<Self> {
        // SAFETY: The value lies in a heap allocation that `Box` owns and never
        // moves; `Box` gives no `&mut T` of a pinned box.
        unsafe { Pin::new_unchecked(this) }
    }
}

impl<T: ?Sized, A: Allocator> Deref for Box<T, A> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized, A: Allocator> DerefMut for Box<T, A> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: ?Sized + fmt::Debug, A: Allocator> fmt::Debug for Box<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display, A: Allocator> fmt::Display for Box<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl<T: ?Sized, A: Allocator> core::borrow::Borrow<T> for Box<T, A> {
    fn borrow(&self) -> &T {
        self
    }
}
