// SPDX-License-Identifier: GPL-2.0
//! Initialisers of locks for code that several crates instantiate.
//!
//! Lockdep wants one address of the name for each lock class. Those macros of the
//! kernel crate make a class, which is a static, and a name, which is a constant: in
//! a generic function, or in one that returns an initialiser, each crate that
//! instantiates it gets a copy of the constant. Here the name is a static as well.
//!
//! ```
//! use kernel::sync::SpinLock;
//! use kernel_ext::new_spinlock;
//!
//! #[pin_data]
//! struct Shared<T> {
//!     #[pin]
//!     value: SpinLock<T>,
//! }
//!
//! impl<T> Shared<T> {
//!     fn new(value: T) -> impl PinInit<Self> {
//!         pin_init!(Self { value <- new_spinlock!(value, "Shared::value") })
//!     }
//! }
//! ```

/// A C string with one address: that of its first use.
#[macro_export]
macro_rules! static_name {
    ($name:expr) => {{
        static NAME: &::kernel::str::CStr = ::kernel::c_str!($name);
        NAME
    }};
}

/// As `kernel::new_spinlock!`, in code that several crates instantiate.
#[macro_export]
macro_rules! new_spinlock {
    ($inner:expr, $name:literal $(,)?) => {
        ::kernel::sync::SpinLock::new(
            $inner,
            $crate::static_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}

/// As `kernel::new_mutex!`, in code that several crates instantiate.
#[macro_export]
macro_rules! new_mutex {
    ($inner:expr, $name:literal $(,)?) => {
        ::kernel::sync::Mutex::new(
            $inner,
            $crate::static_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}

pub use crate::{new_mutex, new_spinlock, static_name};

#[kernel::prelude::kunit_tests(kernel_ext_sync)]
mod tests {
    use kernel::prelude::*;
    use kernel::sync::{Mutex, SpinLock};

    fn name<T>() -> *const kernel::str::CStr {
        static_name!("kernel_ext_sync")
    }

    #[test]
    fn one_name() {
        assert!(core::ptr::eq(name::<u8>(), name::<u16>()));
    }

    #[test]
    fn locks_work() -> Result {
        let spin = KBox::pin_init(new_spinlock!(1, "kernel_ext_sync::spin"), GFP_KERNEL)?;
        let mutex = KBox::pin_init(new_mutex!(2, "kernel_ext_sync::mutex"), GFP_KERNEL)?;
        let (spin, mutex): (&SpinLock<i32>, &Mutex<i32>) = (&spin, &mutex);
        let mut outer = mutex.lock();
        *outer += *spin.lock();
        assert_eq!(*outer, 3);
        assert!(mutex.try_lock().is_none());
        Ok(())
    }
}
