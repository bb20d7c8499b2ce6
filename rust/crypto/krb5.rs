// SPDX-License-Identifier: GPL-2.0
//! Kerberos 5 encryption: `aes256-cts-hmac-sha384-192` of RFC 8009.
//!
//! C header: [`include/crypto/krb5.h`](srctree/include/crypto/krb5.h)

use super::Secret;
use crate::alloc_scope::NoIo;
use crate::bindings;
use crate::errno::{enopkg, eproto};
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;

/// A key that is set up for one usage.
///
/// What is encrypted begins with a random block (the confounder) and ends with a
/// checksum, so the same text is never encrypted alike, and what was altered is refused.
///
/// ```
/// use kernel_ext::crypto::Krb5;
///
/// fn again_the_same(key: &[u8; Krb5::KEY], plain: &[u8]) -> Result {
///     let cipher = Krb5::new(key, 4)?;
///     let sealed = cipher.encrypt(plain)?;
///     assert_eq!(sealed.len(), plain.len() + Krb5::OVERHEAD);
///     assert_eq!(&cipher.decrypt(&sealed)?[..], plain);
///     Ok(())
/// }
/// ```
///
/// # Invariants
///
/// `aead` is a transform with a key, made for `enctype`, which only we free.
pub struct Krb5 {
    enctype: NonNull<bindings::krb5_enctype>,
    aead: NonNull<bindings::crypto_aead>,
}

// SAFETY: A transform is not bound to a thread.
unsafe impl Send for Krb5 {}
// SAFETY: Requests, which have the changing state, are made for each call; after
// construction the transform is only read.
unsafe impl Sync for Krb5 {}

impl Krb5 {
    /// Length of a key in bytes.
    pub const KEY: usize = 32;
    const CONFOUNDER: usize = 16;
    const CHECKSUM: usize = 24;
    /// By how many bytes what is encrypted is longer than the text.
    pub const OVERHEAD: usize = Self::CONFOUNDER + Self::CHECKSUM;

    /// Derives the keys of `usage` from `key`. May sleep and load modules; allocates
    /// without I/O.
    ///
    /// # Errors
    ///
    /// * `ENOPKG` - the kernel has no such encryption type.
    /// * `ENOENT` - it lacks a cipher or a digest of it.
    /// * `ENOMEM`
    pub fn new(key: &[u8; Self::KEY], usage: u32) -> Result<Self> {
        let enctype = NonNull::new(
            // SAFETY: Only looks the number up in a constant table.
            unsafe {
                bindings::crypto_krb5_find_enctype(
                    bindings::KRB5_ENCTYPE_AES256_CTS_HMAC_SHA384_192,
                )
            }
            .cast_mut(),
        )
        .ok_or_else(enopkg)?;
        let key = bindings::krb5_buffer {
            len: Self::KEY as u32,
            data: key.as_ptr().cast_mut().cast(),
        };
        let _noio = NoIo::enter();
        // SAFETY: The type is one of the kernel's; the key is valid for its length, and
        // only read.
        let aead = from_err_ptr(unsafe {
            bindings::crypto_krb5_prepare_encryption(
                enctype.as_ptr(),
                &key,
                usage,
                bindings::GFP_NOIO,
            )
        })?;
        // INVARIANT: The transform is new, and ours.
        Ok(Self {
            enctype,
            aead: NonNull::new(aead).ok_or(ENOMEM)?,
        })
    }

    /// Encrypts. May sleep; allocates without I/O.
    ///
    /// # Errors
    ///
    /// * `ENOMEM`
    pub fn encrypt(&self, plain: &[u8]) -> Result<KVec<u8>> {
        let mut buf = {
            let _noio = NoIo::enter();
            KVec::from_elem(0, plain.len() + Self::OVERHEAD, GFP_KERNEL)?
        };
        buf[Self::CONFOUNDER..][..plain.len()].copy_from_slice(plain);
        self.seal(&mut buf, false)?;
        Ok(buf)
    }

    /// Encrypts what lies between confounder and checksum in `buf`.
    fn seal(&self, buf: &mut KVec<u8>, preconfounded: bool) -> Result {
        // SAFETY: By the invariants type and transform belong together; a `KVec` is
        // memory of kmalloc(), of that length. It is done when this returns.
        to_result(unsafe {
            bindings::krb5_encrypt_linear(
                self.enctype.as_ptr(),
                self.aead.as_ptr(),
                buf.as_mut_ptr().cast(),
                buf.len(),
                Self::CONFOUNDER,
                buf.len() - Self::OVERHEAD,
                preconfounded,
            )
        })
    }

    /// Decrypts. May sleep; allocates without I/O.
    ///
    /// # Errors
    ///
    /// * `EBADMSG` - it was altered, or encrypted with another key or for another usage.
    /// * `EPROTO` - it is too short.
    /// * `ENOMEM`
    pub fn decrypt(&self, sealed: &[u8]) -> Result<Secret> {
        let Some(len) = sealed.len().checked_sub(Self::OVERHEAD) else {
            return Err(eproto());
        };
        let mut buf = {
            let _noio = NoIo::enter();
            Secret::from_slice(sealed)?
        };
        // SAFETY: As in `seal`; a `Secret` is memory of kmalloc(), too.
        to_result(unsafe {
            bindings::krb5_decrypt_linear(
                self.enctype.as_ptr(),
                self.aead.as_ptr(),
                buf.as_mut_ptr().cast(),
                buf.len(),
            )
        })?;
        let _noio = NoIo::enter();
        Secret::from_slice(&buf[Self::CONFOUNDER..][..len])
    }
}

impl Drop for Krb5 {
    fn drop(&mut self) {
        // SAFETY: By the invariants only we free it.
        unsafe { bindings::krb5_free(self.aead.as_ptr()) }
    }
}

#[kunit_tests(kernel_ext_krb5)]
mod tests {
    use super::*;
    use crate::errno::ebadmsg;

    // RFC 8009, appendix A: the test vectors of aes256-cts-hmac-sha384-192, usage 2.
    const KEY: [u8; 32] = [
        0x6d, 0x40, 0x4d, 0x37, 0xfa, 0xf7, 0x9f, 0x9d, 0xf0, 0xd3, 0x35, 0x68, 0xd3, 0x20, 0x66,
        0x98, 0x00, 0xeb, 0x48, 0x36, 0x47, 0x2e, 0xa8, 0xa0, 0x26, 0xd1, 0x6b, 0x71, 0x82, 0x46,
        0x0c, 0x52,
    ];
    const PLAIN: [u8; 6] = [0, 1, 2, 3, 4, 5];
    const CONFOUNDER: [u8; 16] = [
        0xb8, 0x0d, 0x32, 0x51, 0xc1, 0xf6, 0x47, 0x14, 0x94, 0x25, 0x6f, 0xfe, 0x71, 0x2d, 0x0b,
        0x9a,
    ];
    const SEALED: [u8; 46] = [
        0x4e, 0xd7, 0xb3, 0x7c, 0x2b, 0xca, 0xc8, 0xf7, 0x4f, 0x23, 0xc1, 0xcf, 0x07, 0xe6, 0x2b,
        0xc7, 0xb7, 0x5f, 0xb3, 0xf6, 0x37, 0xb9, 0xf5, 0x59, 0xc7, 0xf6, 0x64, 0xf6, 0x9e, 0xab,
        0x7b, 0x60, 0x92, 0x23, 0x75, 0x26, 0xea, 0x0d, 0x1f, 0x61, 0xcb, 0x20, 0xd6, 0x9d, 0x10,
        0xf2,
    ];

    #[test]
    fn known_answer() -> Result {
        let cipher = Krb5::new(&KEY, 2)?;
        let mut buf = KVec::from_elem(0, PLAIN.len() + Krb5::OVERHEAD, GFP_KERNEL)?;
        buf[..16].copy_from_slice(&CONFOUNDER);
        buf[16..][..PLAIN.len()].copy_from_slice(&PLAIN);
        cipher.seal(&mut buf, true)?;
        assert_eq!(buf[..], SEALED);
        assert_eq!(cipher.decrypt(&SEALED)?[..], PLAIN);
        Ok(())
    }

    #[test]
    fn no_two_are_alike() -> Result {
        let cipher = Krb5::new(&KEY, 2)?;
        let (a, b) = (cipher.encrypt(&PLAIN)?, cipher.encrypt(&PLAIN)?);
        assert_ne!(a[..], b[..]);
        for sealed in [a, b] {
            assert_eq!(cipher.decrypt(&sealed)?[..], PLAIN);
        }
        assert!(cipher.decrypt(&cipher.encrypt(&[])?)?.is_empty());
        Ok(())
    }

    #[test]
    fn refuses() -> Result {
        let cipher = Krb5::new(&KEY, 2)?;
        assert!(cipher.decrypt(&SEALED[..39]).is_err_and(|e| e == eproto()));
        for i in 0..SEALED.len() {
            let mut altered = SEALED;
            altered[i] ^= 1;
            assert!(cipher.decrypt(&altered).is_err_and(|e| e == ebadmsg()));
        }
        let other_usage = Krb5::new(&KEY, 3)?;
        assert!(other_usage.decrypt(&SEALED).is_err_and(|e| e == ebadmsg()));
        Ok(())
    }
}
