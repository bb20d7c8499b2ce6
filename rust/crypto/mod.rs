// SPDX-License-Identifier: GPL-2.0
//! Ciphers, hashes and checksums of the kernel, and memory for secrets.

mod aes;
mod hash;
mod krb5;
mod secret;

pub use aes::{aes128_cbc_blocks, AesCbc};
pub use hash::{crc32c, hmac_sha256, sha256, HmacSha256};
pub use krb5::Krb5;
pub use secret::{equal, Secret};
