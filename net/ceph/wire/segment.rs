// SPDX-License-Identifier: GPL-2.0
//! The bytes of a segment of a message.
use core::ops::Deref;

use kernel::prelude::*;

/// Bytes of a segment, of which a message often has none: to drop an empty vector is a call
/// of the allocator, to drop an empty one of these is none.
#[derive(Debug, Default)]
pub struct Segment(Option<KVVec<u8>>);

impl Segment {
    /// The bytes, to be added to.
    pub fn as_mut_vec(&mut self) -> &mut KVVec<u8> {
        self.0.get_or_insert_with(KVVec::new)
    }

    /// The bytes.
    pub fn into_vec(self) -> KVVec<u8> {
        self.0.unwrap_or_default()
    }
}

impl From<KVVec<u8>> for Segment {
    fn from(bytes: KVVec<u8>) -> Self {
        Self(Some(bytes))
    }
}

impl Deref for Segment {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
