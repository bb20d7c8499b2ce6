// SPDX-License-Identifier: GPL-2.0
//! Little-endian encoding into a growing vector.
use kernel::prelude::*;

use super::types::Timespec;

/// Bytes to send.
///
/// # Errors
///
/// All methods return `ENOMEM` when they cannot grow the vector, and [`E2BIG`]
/// when a length does not fit its field.
#[derive(Default)]
pub struct Encoder(KVVec<u8>);

macro_rules! integer {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, value: $type) -> Result<&mut Self> {
            self.bytes(&value.to_le_bytes())
        }
    )*};
}

impl Encoder {
    /// Starts empty.
    pub const fn new() -> Self {
        Self(KVVec::new())
    }

    /// Starts empty, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        Ok(Self(KVVec::with_capacity(capacity, GFP_KERNEL)?))
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was added so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Ends encoding.
    pub fn into_vec(self) -> KVVec<u8> {
        self.0
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        self.0.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(self)
    }

    integer! {
        /// Adds a `u8`.
        u8: u8,
        /// Adds a little-endian `u16`.
        u16: u16,
        /// Adds a little-endian `u32`.
        u32: u32,
        /// Adds a little-endian `u64`.
        u64: u64,
        /// Adds a little-endian `i16`.
        i16: i16,
        /// Adds a little-endian `i32`.
        i32: i32,
        /// Adds a little-endian `i64`.
        i64: i64,
    }

    /// Adds a truth value as one byte.
    pub fn bool(&mut self, value: bool) -> Result<&mut Self> {
        self.u8(u8::from(value))
    }

    /// Adds a length as a `u32`.
    pub fn length(&mut self, len: usize) -> Result<&mut Self> {
        self.u32(u32::try_from(len).map_err(|_| E2BIG)?)
    }

    /// Adds a `u32` length and the bytes (a Ceph string or blob).
    pub fn blob(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        self.length(bytes.len())?.bytes(bytes)
    }

    /// Adds a `ceph_timespec`.
    pub fn timespec(&mut self, time: Timespec) -> Result<&mut Self> {
        self.u32(time.sec)?.u32(time.nsec)
    }

    /// Adds a `u32` length and then what `body` adds, whose length it is.
    pub fn sized(&mut self, body: impl FnOnce(&mut Self) -> Result) -> Result<&mut Self> {
        let at = self.0.len();
        self.u32(0)?;
        let start = self.0.len();
        body(self)?;
        let len = self.0.len().checked_sub(start).ok_or(EINVAL)?;
        let len = u32::try_from(len).map_err(|_| E2BIG)?;
        self.patch(at, &len.to_le_bytes())?;
        Ok(self)
    }

    /// Adds a versioned structure (`ENCODE_START`): version, the oldest version
    /// that a reader must know, length, and what `body` adds.
    pub fn versioned(
        &mut self,
        version: u8,
        compat: u8,
        body: impl FnOnce(&mut Self) -> Result,
    ) -> Result<&mut Self> {
        self.u8(version)?.u8(compat)?.sized(body)
    }

    /// Overwrites bytes that were added before, from offset `at` on.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) -> Result {
        let end = at.checked_add(bytes.len()).ok_or(EINVAL)?;
        let place = self.0.get_mut(at..end).ok_or(EINVAL)?;
        place.copy_from_slice(bytes);
        Ok(())
    }
}

#[kunit_tests(ceph_wire_encode)]
mod tests {
    use super::super::decode::Decoder;
    use super::*;

    #[test]
    fn a_versioned_body_round_trips() -> Result {
        let mut e = Encoder::new();
        e.versioned(3, 1, |e| {
            e.u64(7)?.blob(b"name")?;
            Ok(())
        })?
        .u8(9)?;
        let mut d = Decoder::new(e.as_slice());
        let (v, mut body) = d.versioned(1)?;
        assert_eq!((v, body.u64()?, body.blob()?), (3, 7, &b"name"[..]));
        assert!(body.is_empty());
        assert_eq!(d.u8()?, 9);
        Ok(())
    }
}
