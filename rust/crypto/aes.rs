// SPDX-License-Identifier: GPL-2.0
//! AES in CBC mode (`cbc(aes)`, a synchronous skcipher).
//!
//! C header: [`include/crypto/skcipher.h`](srctree/include/crypto/skcipher.h)

use super::Secret;
use crate::alloc_scope::NoIo;
use crate::bindings;
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;

/// A key that is set up for use.
///
/// ```
/// use kernel_ext::crypto::AesCbc;
///
/// fn again_the_same(key: &[u8], iv: &[u8; AesCbc::BLOCK], blocks: &mut [u8]) -> Result {
///     let cipher = AesCbc::new(key)?;
///     cipher.encrypt(iv, blocks)?;
///     cipher.decrypt(iv, blocks)
/// }
/// ```
///
/// # Invariants
///
/// The pointer is a transform with a key, which only we free.
pub struct AesCbc(NonNull<bindings::crypto_sync_skcipher>);

// SAFETY: A transform is not bound to a thread.
unsafe impl Send for AesCbc {}
// SAFETY: Requests, which have the changing state, are made for each call; after
// construction the transform is only read.
unsafe impl Sync for AesCbc {}

impl AesCbc {
    /// Length of a block and of the initialisation vector in bytes.
    pub const BLOCK: usize = 16;

    /// Sets up a key of 16, 24 or 32 bytes. May sleep and load modules; allocates
    /// without I/O.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a key of another length, `ENOENT` without the algorithm,
    /// `ENOMEM`.
    pub fn new(key: &[u8]) -> Result<Self> {
        let _noio = NoIo::enter();
        // SAFETY: The name is a C string.
        let tfm = from_err_ptr(unsafe {
            bindings::crypto_alloc_sync_skcipher(c"cbc(aes)".as_char_ptr(), 0, 0)
        })?;
        let this = Self(NonNull::new(tfm).ok_or(ENOMEM)?);
        // SAFETY: The transform is ours; the key is valid for its length.
        to_result(unsafe {
            bindings::sync_skcipher_setkey(this.0.as_ptr(), key.as_ptr(), u32::try_from(key.len())?)
        })?;
        // INVARIANT: The key is set.
        Ok(this)
    }

    /// Encrypts whole blocks in place. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they are not whole, `ENOMEM`.
    pub fn encrypt(&self, iv: &[u8; Self::BLOCK], buf: &mut [u8]) -> Result {
        self.crypt(iv, buf, true)
    }

    /// Decrypts whole blocks in place. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they are not whole, `ENOMEM`.
    pub fn decrypt(&self, iv: &[u8; Self::BLOCK], buf: &mut [u8]) -> Result {
        self.crypt(iv, buf, false)
    }

    fn crypt(&self, iv: &[u8; Self::BLOCK], buf: &mut [u8], encrypt: bool) -> Result {
        if buf.len() % Self::BLOCK != 0 {
            return Err(EINVAL);
        }
        if buf.is_empty() {
            return Ok(());
        }
        // A scatterlist wants memory of kmalloc(), while `buf` may be anything.
        let mut copy = {
            let _noio = NoIo::enter();
            Secret::from_slice(buf)?
        };
        let mut iv = *iv;
        // SAFETY: The transform has a key; `copy` is linear memory of that length,
        // `iv` has the size that the cipher wants. It is done when this returns.
        to_result(unsafe {
            bindings::sync_skcipher_crypt(
                self.0.as_ptr(),
                copy.as_mut_ptr().cast(),
                u32::try_from(copy.len())?,
                iv.as_mut_ptr().cast(),
                encrypt,
            )
        })?;
        buf.copy_from_slice(&copy);
        Ok(())
    }
}

impl Drop for AesCbc {
    fn drop(&mut self) {
        // SAFETY: By the invariants only we free it.
        unsafe { bindings::sync_skcipher_free(self.0.as_ptr()) }
    }
}

/// Encrypts blocks in place with AES-128 in CBC mode, without an object that is set up
/// before: for a few blocks now and then. Any context.
pub fn aes128_cbc_blocks(
    key: &[u8; 16],
    iv: &[u8; AesCbc::BLOCK],
    blocks: &mut [[u8; AesCbc::BLOCK]],
) {
    // SAFETY: Key, vector and blocks are valid for the lengths that AES-128 has.
    unsafe {
        bindings::aes128_cbc_blocks(
            key.as_ptr(),
            iv.as_ptr(),
            blocks.as_mut_ptr().cast(),
            blocks.len(),
        )
    }
}

#[kunit_tests(kernel_ext_aes)]
mod tests {
    use super::*;

    #[test]
    fn cbc_vector() -> Result {
        // NIST SP 800-38A, F.2.1.
        let key = [
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf,
            0x4f, 0x3c,
        ];
        let plain = [
            0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93,
            0x17, 0x2a,
        ];
        let iv = core::array::from_fn(|i| i as u8);
        let cipher = AesCbc::new(&key)?;
        let mut buf = plain;
        cipher.encrypt(&iv, &mut buf)?;
        let want = [
            0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9,
            0x19, 0x7d,
        ];
        assert_eq!(buf, want);
        cipher.decrypt(&iv, &mut buf)?;
        assert_eq!(buf, plain);
        Ok(())
    }

    #[test]
    fn a_few_blocks() -> Result {
        let (key, iv) = ([3; 16], [4; 16]);
        let mut blocks = [[5; 16], [6; 16], [7; 16]];
        let mut other = blocks;
        aes128_cbc_blocks(&key, &iv, &mut blocks);
        AesCbc::new(&key)?.encrypt(&iv, other.as_flattened_mut())?;
        assert_eq!(blocks, other);
        Ok(())
    }

    #[test]
    fn blocks_are_chained() -> Result {
        let cipher = AesCbc::new(&[7; 32])?;
        let (iv, mut two) = ([9; 16], [1; 32]);
        cipher.encrypt(&iv, &mut two)?;
        assert_ne!(two[..16], two[16..]);
        // The first block is the vector of the second.
        let mut second = [1; 16];
        let first: [u8; 16] = two[..16].try_into().map_err(|_| EINVAL)?;
        cipher.encrypt(&first, &mut second)?;
        assert_eq!(second, two[16..]);
        Ok(())
    }

    #[test]
    fn refuses() -> Result {
        assert!(AesCbc::new(&[0; 15]).is_err());
        let cipher = AesCbc::new(&[0; 32])?;
        assert!(cipher.encrypt(&[0; 16], &mut [0; 15]).is_err());
        cipher.encrypt(&[0; 16], &mut [])
    }
}
