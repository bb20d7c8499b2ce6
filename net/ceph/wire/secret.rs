// SPDX-License-Identifier: GPL-2.0
//! Bytes that are wiped when they are freed and never printed.
use core::fmt;
use core::hint::black_box;
use kernel::prelude::*;

/// A secret: a key, or plain text that contains one.
///
/// The buffer never grows after it was made, so no copy stays behind in memory
/// that was freed. Formatting shows nothing of it.
#[derive(Default)]
pub struct Secret(KVec<u8>);

impl Secret {
    /// Copies bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let mut copy = KVec::with_capacity(bytes.len(), GFP_KERNEL)?;
        copy.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(Self(copy))
    }

    /// Copies the secret; for those who need one of their own.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn try_clone(&self) -> Result<Self> {
        Self::new(&self.0)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to change them in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Forgets all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.0.get_mut(len..) {
            rest.fill(0);
        }
        black_box(&self.0);
        self.0.truncate(len);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // The compiler has to believe that somebody reads the zeroes.
        black_box(&self.0);
    }
}

/// Compares without telling by its duration where the difference lies.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(other.0.iter())
                .fold(0, |differs, (a, b)| differs | (a ^ b))
                == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}
