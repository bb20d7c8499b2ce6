// SPDX-License-Identifier: GPL-2.0
//! Random numbers from the kernel's generator. Any context.
//!
//! ```
//! use kernel_ext::random;
//!
//! fn one_of<T>(things: &[T]) -> Option<&T> {
//!     things.get(random::below(things.len() as u32) as usize)
//! }
//! ```

use crate::bindings;

/// Fills `buf` with cryptographically strong random bytes.
pub fn fill(buf: &mut [u8]) {
    // SAFETY: `buf` is valid for writes of its length.
    unsafe { bindings::get_random_bytes(buf.as_mut_ptr().cast(), buf.len()) }
}

/// A random number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A random number.
pub fn u32() -> u32 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// A uniformly distributed number in `0..limit`; 0 if `limit` is 0.
pub fn below(limit: u32) -> u32 {
    if limit == 0 {
        return 0;
    }
    // SAFETY: Callable in any context, `limit` is not 0.
    unsafe { bindings::__get_random_u32_below(limit) }
}

#[kernel::prelude::kunit_tests(kernel_ext_random)]
mod tests {
    use super::*;

    #[test]
    fn stays_below() {
        assert_eq!(below(0), 0);
        assert_eq!(below(1), 0);
        for _ in 0..100 {
            assert!(below(7) < 7);
        }
        assert!(u64() != u64());
        let mut seen = 0;
        for _ in 0..1000 {
            seen |= 1 << below(7);
        }
        assert_eq!(seen, 0x7f);
        let mut buf = [0; 64];
        fill(&mut buf);
        assert!(buf != [0; 64]);
    }
}
