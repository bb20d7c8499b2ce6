// SPDX-License-Identifier: GPL-2.0
//! Lines in the kernel's log, and in files of debugfs, with values that only
//! implement `core::fmt::Display`, as those of the pure crates do.

/// As `pr_info!`.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { ::kernel::pr_info!("{}", ::core::format_args!($($arg)*)) };
}
/// As `pr_warn!`.
#[macro_export]
macro_rules! warning {
    ($($arg:tt)*) => { ::kernel::pr_warn!("{}", ::core::format_args!($($arg)*)) };
}
/// As `pr_err!`.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { ::kernel::pr_err!("{}", ::core::format_args!($($arg)*)) };
}
/// As `seq_print!`.
#[macro_export]
macro_rules! show {
    ($m:expr, $($arg:tt)*) => { ::kernel::seq_print!($m, "{}", ::core::format_args!($($arg)*)) };
}
pub use crate::{error, info, show, warning};
