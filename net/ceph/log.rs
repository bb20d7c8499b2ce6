// SPDX-License-Identifier: GPL-2.0
//! Lines in the kernel's log, and in files of debugfs, with values that only
//! implement `core::fmt::Display`, as those of the pure crates do.
//!
//! Warnings and errors are mostly what a peer provokes: each place in the code may
//! print ten in five seconds.

/// As `pr_info!`.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { ::kernel::pr_info!("{}", ::core::format_args!($($arg)*)) };
}
/// As `pr_warn!`, unless there were too many of this message of late.
#[macro_export]
macro_rules! warning {
    ($($arg:tt)*) => {
        if ::kernel_ext::ratelimit!() {
            ::kernel::pr_warn!("{}", ::core::format_args!($($arg)*))
        }
    };
}
/// As `pr_err!`, unless there were too many of this message of late.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => {
        if ::kernel_ext::ratelimit!() {
            ::kernel::pr_err!("{}", ::core::format_args!($($arg)*))
        }
    };
}
/// As `seq_print!`.
#[macro_export]
macro_rules! show {
    ($m:expr, $($arg:tt)*) => { ::kernel::seq_print!($m, "{}", ::core::format_args!($($arg)*)) };
}
pub use crate::{error, info, show, warning};
