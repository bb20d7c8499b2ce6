// SPDX-License-Identifier: GPL-2.0
//! Initialisers of locks for code that several crates instantiate.
//!
//! Lockdep wants one address of the name for each lock class. Those macros of the
//! kernel crate make a class, which is a static, and a name, which is a constant: in
//! a generic function, or in one that returns an initialiser, each crate that
//! instantiates it gets a copy of the constant. Here the name is a static as well.

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
