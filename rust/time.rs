// SPDX-License-Identifier: GPL-2.0
//! Wall clock time and jiffies. Any context.
//!
//! ```
//! use kernel::time::Jiffies;
//! use kernel_ext::time;
//!
//! fn is_late(sent: Jiffies) -> bool {
//!     time::elapsed(sent) > time::secs(5)
//! }
//! ```

use crate::bindings;
use kernel::time::Jiffies;

/// Seconds and nanoseconds since 1970 (`ktime_get_real_ts64()`).
pub fn real_timespec() -> (i64, u32) {
    let mut ts = bindings::timespec64::default();
    // SAFETY: `ts` is valid for writes.
    unsafe { bindings::ktime_get_real_ts64(&mut ts) };
    // The kernel keeps tv_nsec in 0..1_000_000_000.
    (ts.tv_sec, ts.tv_nsec as u32)
}

/// Microseconds since the machine started, as the kernel's log counts them
/// (`ktime_get()`).
pub fn uptime_micros() -> u64 {
    // SAFETY: It may always be called; the time is never negative.
    unsafe { bindings::ktime_get() as u64 / 1000 }
}

/// The current time in jiffies. Compare with [`elapsed`] or [`reached`], it wraps.
#[inline]
pub fn jiffies() -> Jiffies {
    // SAFETY: `jiffies` is always valid to read; it changes under us, hence volatile.
    unsafe { core::ptr::read_volatile(&raw const bindings::jiffies) }
}

/// Jiffies since `then`.
pub fn elapsed(then: Jiffies) -> Jiffies {
    jiffies().wrapping_sub(then)
}

/// Whether the time `when` has come (`time_after_eq(jiffies, when)`).
pub fn reached(when: Jiffies) -> bool {
    elapsed(when) as isize >= 0
}

/// Seconds in jiffies; more than the kernel can wait for becomes the maximum.
pub fn secs(secs: u64) -> Jiffies {
    usize::try_from(secs.saturating_mul(u64::from(bindings::CONFIG_HZ)))
        .unwrap_or(usize::MAX)
        .min(isize::MAX as usize / 2)
}

/// Milliseconds in jiffies, rounded up; too large becomes the maximum.
pub fn msecs(msecs: u64) -> Jiffies {
    let whole = secs(msecs / 1000);
    // The rest is below 1000, so below HZ jiffies.
    whole + ((msecs % 1000) * u64::from(bindings::CONFIG_HZ)).div_ceil(1000) as usize
}

/// Jiffies in milliseconds.
pub fn to_msecs(jiffies: Jiffies) -> u64 {
    (jiffies as u64).saturating_mul(1000) / u64::from(bindings::CONFIG_HZ)
}

#[kernel::prelude::kunit_tests(kernel_ext_time)]
mod tests {
    use super::*;

    #[test]
    fn jiffies_and_msecs() {
        assert_eq!(to_msecs(secs(3)), 3000);
        assert_eq!(msecs(0), 0);
        assert!(msecs(1) >= 1);
        assert_eq!(msecs(2500), secs(2) + secs(1) / 2);
        assert!(secs(u64::MAX) > secs(1_000_000));
    }

    #[test]
    fn time_passes() {
        let start = jiffies();
        assert!(reached(start));
        assert!(!reached(start.wrapping_add(secs(60))));
        assert!(elapsed(start) < secs(60));
        let (secs, nanos) = real_timespec();
        assert!(secs > 0 && nanos < 1_000_000_000);
    }
}
