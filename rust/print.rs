// SPDX-License-Identifier: GPL-2.0
//! Messages that a peer can provoke, and so must not flood the log.
//!
//! Each place in the code has a limit of its own, as in C, so a flood of one
//! message does not hide another.
//!
//! ```
//! use kernel_ext::print::pr_warn_ratelimited;
//!
//! fn unexpected(kind: u16) {
//!     pr_warn_ratelimited!("a message of the unknown type {}\n", kind);
//! }
//! ```
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::types::Opaque;

const NEW: u32 = 0;
const BUSY: u32 = 1;
const READY: u32 = 2;

/// A static limit for one message: ten in five seconds.
///
/// # Invariants
///
/// While `stage` is `READY`, `state` is initialised. Whoever has set `stage` to `BUSY`
/// from `NEW` is the only one to touch `state`.
pub struct RateLimit {
    name: &'static CStr,
    stage: Atomic<u32>,
    state: Opaque<bindings::ratelimit_state>,
}

// SAFETY: `state` has a lock of its own once it is initialised, and by the invariants
// only one thread does that.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// A limit that was not reached; C tells under `name` how many messages were
    /// left out.
    pub const fn new(name: &'static CStr) -> Self {
        // INVARIANT: Nobody has taken it.
        Self {
            name,
            stage: Atomic::new(NEW),
            state: Opaque::uninit(),
        }
    }

    /// Whether one more message may be printed. Callable in any context.
    pub fn allows(&'static self) -> bool {
        if self.stage.load(ordering::Acquire) != READY {
            // The lock in `state` cannot be made at compile time.
            if self.stage.cmpxchg(NEW, BUSY, ordering::Full).is_err() {
                // The first message is being printed just now.
                return true;
            }
            // SAFETY: By the invariants, `state` is ours; a static is never moved.
            unsafe { bindings::ratelimit_default_init(self.state.get()) };
            // INVARIANT: It is initialised now.
            self.stage.store(READY, ordering::Release);
        }
        // SAFETY: `state` is initialised by the invariants, the name has a NUL.
        unsafe { bindings::___ratelimit(self.state.get(), self.name.as_char_ptr()) != 0 }
    }
}

/// Whether one more message of this place in the code may be printed.
#[macro_export]
macro_rules! ratelimit {
    () => {{
        static LIMIT: $crate::print::RateLimit =
            $crate::print::RateLimit::new(::kernel::c_str!(::core::module_path!()));
        LIMIT.allows()
    }};
}

/// `pr_err!` unless there were too many of late.
#[macro_export]
macro_rules! pr_err_ratelimited {
    ($($arg:tt)*) => {
        if $crate::ratelimit!() {
            ::kernel::pr_err!($($arg)*);
        }
    };
}

/// `pr_warn!` unless there were too many of late.
#[macro_export]
macro_rules! pr_warn_ratelimited {
    ($($arg:tt)*) => {
        if $crate::ratelimit!() {
            ::kernel::pr_warn!($($arg)*);
        }
    };
}

/// `pr_info!` unless there were too many of late.
#[macro_export]
macro_rules! pr_info_ratelimited {
    ($($arg:tt)*) => {
        if $crate::ratelimit!() {
            ::kernel::pr_info!($($arg)*);
        }
    };
}

pub use crate::{pr_err_ratelimited, pr_info_ratelimited, pr_warn_ratelimited, ratelimit};

#[kunit_tests(kernel_ext_print)]
mod tests {
    #[test]
    fn a_flood_of_one_message_does_not_hide_another() {
        let one = || crate::ratelimit!();
        let other = || crate::ratelimit!();
        let printed = (0..1000).filter(|_| one()).count();
        // A tester's kernel may need longer than an interval.
        assert!((10..100).contains(&printed));
        assert!(other());
    }
}
