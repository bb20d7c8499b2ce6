// SPDX-License-Identifier: GPL-2.0
//! Messages that a peer can provoke, and so must not flood the log.

use crate::bindings;

/// Whether one more such message may be printed: ten in five seconds, for all
/// callers together. C's `___ratelimit()` tells how many were left out.
pub fn ratelimit() -> bool {
    // SAFETY: Callable in any context.
    unsafe { bindings::print_ratelimit() }
}

/// `pr_err!` unless there were too many of late.
#[macro_export]
macro_rules! pr_err_ratelimited {
    ($($arg:tt)*) => {
        if $crate::print::ratelimit() {
            ::kernel::pr_err!($($arg)*);
        }
    };
}

/// `pr_warn!` unless there were too many of late.
#[macro_export]
macro_rules! pr_warn_ratelimited {
    ($($arg:tt)*) => {
        if $crate::print::ratelimit() {
            ::kernel::pr_warn!($($arg)*);
        }
    };
}

/// `pr_info!` unless there were too many of late.
#[macro_export]
macro_rules! pr_info_ratelimited {
    ($($arg:tt)*) => {
        if $crate::print::ratelimit() {
            ::kernel::pr_info!($($arg)*);
        }
    };
}

pub use crate::{pr_err_ratelimited, pr_info_ratelimited, pr_warn_ratelimited};
