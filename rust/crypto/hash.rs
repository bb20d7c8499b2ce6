// SPDX-License-Identifier: GPL-2.0
//! SHA-256, HMAC-SHA-256 and CRC-32C.
//!
//! C headers: [`include/crypto/sha2.h`](srctree/include/crypto/sha2.h),
//! [`include/linux/crc32.h`](srctree/include/linux/crc32.h)

use crate::bindings;
use core::mem::MaybeUninit;
use core::ptr;

/// Continues a CRC-32C from `seed` over `data`; neither seed nor result is inverted. Any
/// context.
///
/// ```
/// use kernel_ext::crypto::crc32c;
///
/// fn whole(head: &[u8], body: &[u8]) -> u32 {
///     !crc32c(crc32c(!0, head), body)
/// }
/// ```
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: `data` is valid for its length.
    unsafe { bindings::crc32c_update(seed, data.as_ptr().cast(), data.len()) }
}

/// The SHA-256 digest of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // SAFETY: `data` is valid for its length, `out` takes a digest.
    unsafe { bindings::sha256(data.as_ptr(), data.len(), out.as_mut_ptr()) };
    out
}

/// HMAC-SHA-256 of `data` with `key`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // SAFETY: Key and data are valid for their lengths, `out` takes a digest.
    unsafe {
        bindings::hmac_sha256_usingrawkey(
            key.as_ptr(),
            key.len(),
            data.as_ptr(),
            data.len(),
            out.as_mut_ptr(),
        );
    }
    out
}

/// HMAC-SHA-256 of data that comes in pieces.
///
/// ```
/// use kernel_ext::crypto::{equal, HmacSha256};
///
/// fn is_signed(key: &[u8], head: &[u8], body: &[u8], tag: &[u8; 32]) -> bool {
///     let mut mac = HmacSha256::new(key);
///     mac.update(head);
///     mac.update(body);
///     equal(&mac.finish(), tag)
/// }
/// ```
pub struct HmacSha256(bindings::hmac_sha256_ctx);

impl HmacSha256 {
    /// Starts with `key`.
    pub fn new(key: &[u8]) -> Self {
        let mut ctx = MaybeUninit::<bindings::hmac_sha256_ctx>::zeroed();
        // SAFETY: The function initialises the context; `key` is valid for its length.
        unsafe {
            bindings::hmac_sha256_init_usingrawkey(ctx.as_mut_ptr(), key.as_ptr(), key.len());
            Self(ctx.assume_init())
        }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: The context is initialised; `data` is valid for its length.
        unsafe { bindings::hmac_sha256_add(&mut self.0, data.as_ptr(), data.len()) }
    }

    /// The tag of all that was added. Wipes the context.
    pub fn finish(mut self) -> [u8; 32] {
        let mut out = [0; 32];
        // SAFETY: The context is initialised; `out` takes a digest.
        unsafe { bindings::hmac_sha256_final(&mut self.0, out.as_mut_ptr()) };
        out
    }
}

impl Drop for HmacSha256 {
    fn drop(&mut self) {
        // SAFETY: The context is plain data without a destructor; all zeroes is one
        // of its values. Volatile, so that the key's traces really go.
        unsafe { ptr::write_volatile(&mut self.0, MaybeUninit::zeroed().assume_init()) }
    }
}

#[kernel::prelude::kunit_tests(kernel_ext_hash)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_vectors() {
        // RFC 3720, B.4: 32 bytes of zeroes, and of ones.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(!0, &[0xff; 32]), 0x62a8_ab43);
        let whole = crc32c(0, b"hello world");
        assert_eq!(whole, crc32c(crc32c(0, b"hello "), b"world"));
    }

    #[test]
    fn sha256_vector() {
        // FIPS 180-2, B.1.
        let digest = sha256(b"abc");
        assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(digest[28..], [0xf2, 0x00, 0x15, 0xad]);
    }

    #[test]
    fn hmac_vector() {
        // RFC 4231, test case 2.
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let want = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
            0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
            0x64, 0xec, 0x38, 0x43,
        ];
        assert_eq!(tag, want);
        let mut mac = HmacSha256::new(b"Jefe");
        mac.update(b"what do ya ");
        mac.update(b"want for nothing?");
        assert_eq!(mac.finish(), tag);
    }
}
