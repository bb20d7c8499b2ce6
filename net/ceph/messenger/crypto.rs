// SPDX-License-Identifier: GPL-2.0
//! The kernel's checksums and digests, as the protocol machine wants them.
use kernel::prelude::*;
use kernel_ext::crypto;

use ceph_proto::machine::msgr1;
use ceph_proto::wire::msgr2::{Crypto, SIGNATURE_LEN};

/// Those of lib/crc and lib/crypto.
pub(super) struct KernelCrypto;

impl Crypto for KernelCrypto {
    fn crc32c(&self, seed: u32, bytes: &[u8]) -> u32 {
        crypto::crc32c(seed, bytes)
    }

    fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> Result<[u8; SIGNATURE_LEN]> {
        let mut hmac = crypto::HmacSha256::new(key);
        for part in parts {
            hmac.update(part);
        }
        Ok(hmac.finish())
    }
}

impl msgr1::Crypto for KernelCrypto {
    fn encrypt(&self, key: &[u8; 16], iv: &[u8; 16], blocks: &mut [[u8; 16]; 2]) {
        crypto::aes128_cbc_blocks(key, iv, blocks);
    }
}
