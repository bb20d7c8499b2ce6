// SPDX-License-Identifier: GPL-2.0
//! Host stand-in for the `kernel` crate: what the pure crates use of it, with the
//! same names, signatures and growth of vectors, and an allocator that counts and
//! can be told to fail ([`host`]).
//!
//! Run the tests with `make host-test`, or
//! `tools/testing/host/run.sh [CARGO-TEST-ARGUMENT...]`, for example
//! `run.sh -p ceph_proto crush -- --nocapture`.
//!
//! A test that needs the allocator stands beside the others, for the host alone:
//!
//! ```ignore
//! #[test]
//! #[cfg(not(CONFIG_RUST))]
//! fn memory_is_bounded() {
//!     kernel::host::check_decoder(&bytes, |b| MonMap::decode(&mut Decoder::new(b)));
//! }
//! ```
#![feature(coerce_unsized, unsize)]

pub mod alloc;
pub mod error;
pub mod host;
pub mod sync;

/// As `kernel::fmt`: there is but one `Display` here.
pub mod fmt {
    pub use core::fmt::*;
}

/// `core::ffi`, as the kernel's own `ffi` on 64-bit.
pub mod ffi {
    pub use core::ffi::*;
}

/// `kernel::prelude`.
pub mod prelude {
    pub use crate::alloc::flags::*;
    pub use crate::alloc::{Box, KBox, KVBox, KVVec, KVec, VBox, VVec, Vec};
    pub use crate::error::{code::*, Error, Result};
    pub use crate::{
        build_assert, const_assert, fmt, pr_alert, pr_crit, pr_debug, pr_emerg, pr_err, pr_info,
        pr_notice, pr_warn, static_assert,
    };
    pub use core::ffi::{
        c_char, c_int, c_long, c_longlong, c_schar, c_short, c_uchar, c_uint, c_ulong, c_ulonglong,
        c_ushort, c_void, CStr,
    };
    pub use core::mem::{align_of, align_of_val, size_of, size_of_val};
    pub use core::pin::Pin;
    pub use macros::{kunit_tests, vtable};
}

/// `format_args!`.
#[macro_export]
macro_rules! fmt {
    ($($args:tt)*) => { ::core::format_args!($($args)*) };
}

/// Checked when compiled.
#[macro_export]
macro_rules! static_assert {
    ($condition:expr $(, $message:literal)? $(,)?) => {
        const _: () = ::core::assert!($condition $(, $message)?);
    };
}

/// Checked when compiled, with generic parameters.
#[macro_export]
macro_rules! const_assert {
    ($condition:expr $(, $message:literal)? $(,)?) => {
        const { ::core::assert!($condition $(, $message)?) }
    };
}

/// Checked when run, here; when linked, in the kernel.
#[macro_export]
macro_rules! build_assert {
    ($($args:tt)*) => { ::core::assert!($($args)*) };
}

/// Prints to stderr, as it comes; so do all levels.
#[macro_export]
macro_rules! pr_info {
    ($($args:tt)*) => { ::std::eprint!($($args)*) };
}
pub use pr_info as pr_alert;
pub use pr_info as pr_cont;
pub use pr_info as pr_crit;
pub use pr_info as pr_emerg;
pub use pr_info as pr_err;
pub use pr_info as pr_notice;
pub use pr_info as pr_warn;

/// Compiled, not printed, as in a kernel without `DEBUG`.
#[macro_export]
macro_rules! pr_debug {
    ($($args:tt)*) => { if false { ::std::eprint!($($args)*) } };
}

/// A `KVec` of these elements, or why there is none.
#[macro_export]
macro_rules! kvec {
    () => { $crate::alloc::KVec::new() };
    ($elem:expr; $n:expr) => {
        $crate::alloc::KVec::from_elem($elem, $n, $crate::alloc::flags::GFP_KERNEL)
    };
    ($($x:expr),+ $(,)?) => {
        $crate::alloc::KBox::new([$($x),+], $crate::alloc::flags::GFP_KERNEL)
            .map($crate::alloc::KVec::from)
    };
}
