// SPDX-License-Identifier: GPL-2.0
//! Bounds-checked little-endian decoding.
//!
//! A [`Decoder`] carries its own end: nothing read through it can leave the bytes
//! it was made of, and a count from the wire is compared with what is left before
//! anything is allocated for it.
use kernel::prelude::*;

use crate::errno::{ebadmsg, eopnotsupp};

/// A cursor over received bytes.
///
/// # Errors
///
/// All methods return `EBADMSG` when the bytes end too early or say something
/// impossible, and `ENOMEM` where they allocate.
#[derive(Clone, Copy)]
pub struct Decoder<'a>(&'a [u8]);

macro_rules! integer {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(&mut self) -> Result<$type> {
            // Not by `array`: what passes through its result is put together bytewise.
            const SIZE: usize = size_of::<$type>();
            let (taken, rest) = self.0.split_first_chunk::<SIZE>().ok_or_else(ebadmsg)?;
            self.0 = rest;
            Ok(<$type>::from_le_bytes(*taken))
        }
    )*};
}

impl<'a> Decoder<'a> {
    /// Starts at the beginning of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes that are left.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Whether everything was taken.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left, without taking it.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Takes `len` bytes.
    #[inline(always)]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(ebadmsg)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes `len` bytes as a decoder of their own.
    #[inline(always)]
    pub fn sub(&mut self, len: usize) -> Result<Decoder<'a>> {
        Ok(Decoder(self.bytes(len)?))
    }

    /// Passes over `len` bytes.
    #[inline(always)]
    pub fn skip(&mut self, len: usize) -> Result {
        self.bytes(len).map(|_| ())
    }

    /// Takes `N` bytes by value.
    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(ebadmsg)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Takes `N` bytes, where they are.
    #[inline(always)]
    pub fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(ebadmsg)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes `N` bytes as a decoder of their own. Where `N` and what is taken of it are
    /// constants nothing else has to be checked.
    #[inline(always)]
    pub fn block<const N: usize>(&mut self) -> Result<Decoder<'a>> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(ebadmsg)?;
        self.0 = rest;
        Ok(Decoder(taken))
    }

    integer! {
        /// Takes a `u8`.
        u8: u8,
        /// Takes a little-endian `u16`.
        u16: u16,
        /// Takes a little-endian `u32`.
        u32: u32,
        /// Takes a little-endian `u64`.
        u64: u64,
        /// Takes a little-endian `i16`.
        i16: i16,
        /// Takes a little-endian `i32`.
        i32: i32,
        /// Takes a little-endian `i64`.
        i64: i64,
    }

    /// Takes a byte that means a truth value: anything but 0 is true.
    #[inline(always)]
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    /// Takes a `u32` length and that many bytes (a Ceph string or blob).
    #[inline(always)]
    pub fn blob(&mut self) -> Result<&'a [u8]> {
        let len = self.length()?;
        self.bytes(len)
    }

    /// Takes a `u32` length and that many bytes as a decoder of their own.
    #[inline(always)]
    pub fn blob_decoder(&mut self) -> Result<Decoder<'a>> {
        Ok(Decoder(self.blob()?))
    }

    /// Takes a `u32` length; it is not larger than what is left.
    #[inline(always)]
    pub fn length(&mut self) -> Result<usize> {
        self.count(1)
    }

    /// Takes a `u32` count of elements that need at least `min_size` bytes each on
    /// the wire; more than can follow is an error, so the count may be allocated.
    #[inline(always)]
    pub fn count(&mut self, min_size: usize) -> Result<usize> {
        let count = usize::try_from(self.u32()?).map_err(|_| ebadmsg())?;
        self.check_count(count, min_size)
    }

    /// Whether `count` elements of at least `min_size` bytes each can follow.
    #[inline(always)]
    pub fn check_count(&self, count: usize, min_size: usize) -> Result<usize> {
        match count.checked_mul(min_size.max(1)) {
            Some(need) if need <= self.0.len() => Ok(count),
            _ => Err(ebadmsg()),
        }
    }

    /// Takes the head of a versioned structure (`ENCODE_START`: `struct_v`,
    /// `struct_compat`, length) and returns its version and its body.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if it cannot be understood by a reader of `version`.
    #[inline(always)]
    pub fn versioned(&mut self, version: u8) -> Result<(u8, Decoder<'a>)> {
        let mut head = self.block::<6>()?;
        let (struct_v, compat, len) = (head.u8()?, head.u8()?, head.u32()?);
        let body = self.sub(usize::try_from(len).map_err(|_| ebadmsg())?)?;
        if compat > version {
            return Err(eopnotsupp());
        }
        Ok((struct_v, body))
    }

    /// Takes a counted vector; `min_size` is an element's least size on the wire.
    ///
    /// Grows as elements arrive, so that a count that lies costs no more memory
    /// than the bytes which follow it.
    pub fn vec<T>(
        &mut self,
        min_size: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<KVVec<T>> {
        let count = self.count(min_size)?;
        let mut vec = KVVec::new();
        let large = size_of::<T>() > min_size.saturating_mul(8);
        vec.reserve(if large { count.min(16) } else { count }, GFP_KERNEL)?;
        for _ in 0..count {
            vec.push(element(self)?, GFP_KERNEL)?;
        }
        Ok(vec)
    }
}

#[kunit_tests(ceph_wire_decode)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_little_endian() -> Result {
        let mut d = Decoder::new(&[1, 2, 0, 3, 0, 0, 0]);
        assert_eq!(d.u8()?, 1);
        assert_eq!(d.u16()?, 2);
        assert_eq!(d.u32()?, 3);
        assert!(d.is_empty());
        assert!(d.u8().is_err());
        Ok(())
    }

    #[test]
    fn a_count_is_bounded_by_what_follows() {
        assert!(Decoder::new(&[255, 255, 255, 255, 0]).count(1).is_err());
        assert!(Decoder::new(&[2, 0, 0, 0, 1, 2, 3]).count(2).is_err());
        assert!(Decoder::new(&[2, 0, 0, 0, 1, 2, 3, 4]).count(2).is_ok());
    }

    #[test]
    fn a_vector_round_trips() -> Result {
        let v = Decoder::new(&[2, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255]).vec(4, Decoder::u32)?;
        assert_eq!(&v[..], &[1, u32::MAX]);
        Ok(())
    }

    #[test]
    fn versions() -> Result {
        let bytes = [3, 2, 1, 0, 0, 0, 9, 7];
        let mut d = Decoder::new(&bytes);
        let (v, mut body) = d.versioned(2)?;
        assert_eq!((v, body.u8()?, d.u8()?), (3, 9, 7));
        assert!(Decoder::new(&bytes).versioned(1).is_err());
        Ok(())
    }
}
