// SPDX-License-Identifier: GPL-2.0
//! Little-endian encoding into a growing vector.
use kernel::prelude::*;

/// Bytes to send.
///
/// # Errors
///
/// All methods return `ENOMEM` when they cannot grow the vector, and [`E2BIG`]
/// when a length does not fit its field.
#[derive(Default)]
pub struct Encoder {
    /// What was added, and zeros: room for more. So that adding an integer, which
    /// happens dozens of times for each message, is a store and not a call.
    buf: KVVec<u8>,
    /// Bytes that were added, at most all of `buf`.
    len: usize,
}

/// Room that the first addition makes.
const ROOM: usize = 128;

/// Copied, because [`KVVec::resize`] stores byte by byte.
static ZEROS: [u8; 512] = [0; 512];

/// Writes what has a fixed length. What does not fit is left out; where all lengths are
/// constants, as they should be, the compiler sees that it fits, and checks nothing.
pub struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    /// Starts at the beginning of `place`.
    #[inline(always)]
    pub fn new(place: &'a mut [u8]) -> Self {
        Self(place)
    }

    /// Writes the bytes.
    #[inline(always)]
    pub fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let rest = core::mem::take(&mut self.0);
        if let Some((place, rest)) = rest.split_first_chunk_mut() {
            *place = bytes;
            self.0 = rest;
        }
    }
}

macro_rules! integer {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(&mut self, value: $type) -> Result<&mut Self> {
            self.array(value.to_le_bytes())
        }
    )*};
}

impl Encoder {
    /// Starts empty.
    pub const fn new() -> Self {
        Self {
            buf: KVVec::new(),
            len: 0,
        }
    }

    /// Starts empty, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        let mut this = Self::new();
        this.buf.reserve(capacity, GFP_KERNEL)?;
        this.enlarge(capacity)?;
        Ok(this)
    }

    /// Bytes so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was added so far.
    pub fn as_slice(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// Ends encoding.
    pub fn into_vec(self) -> KVVec<u8> {
        let mut vec = self.buf;
        vec.truncate(self.len);
        vec
    }

    /// Makes room for `more` bytes, and some.
    #[cold]
    fn grow(&mut self, more: usize) -> Result {
        let need = self.len.checked_add(more).ok_or(E2BIG)?;
        let size = need.max(self.buf.len().saturating_mul(2)).max(ROOM);
        self.enlarge(size)
    }

    /// Makes the room at least `size` bytes.
    fn enlarge(&mut self, size: usize) -> Result {
        while self.buf.len() < size {
            let more = size.saturating_sub(self.buf.len()).min(ZEROS.len());
            let zeros = ZEROS.get(..more).unwrap_or_default();
            self.buf.extend_from_slice(zeros, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Adds as many bytes as the array has.
    #[inline(always)]
    pub fn array<const N: usize>(&mut self, bytes: [u8; N]) -> Result<&mut Self> {
        let end = self.len.wrapping_add(N);
        if let Some(place) = self.buf.get_mut(self.len..end) {
            place.copy_from_slice(&bytes);
            self.len = end;
            return Ok(self);
        }
        self.add_slowly(&bytes)
    }

    /// Where there is no room yet.
    #[cold]
    fn add_slowly(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        self.grow(bytes.len())?;
        self.bytes(bytes)
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        loop {
            let room = self.buf.get_mut(self.len..).unwrap_or_default();
            if let Some(place) = room.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
                self.len = self.len.saturating_add(bytes.len());
                return Ok(self);
            }
            self.grow(bytes.len())?;
        }
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
    #[inline]
    pub fn bool(&mut self, value: bool) -> Result<&mut Self> {
        self.u8(u8::from(value))
    }

    /// Adds a length as a `u32`.
    #[inline]
    pub fn length(&mut self, len: usize) -> Result<&mut Self> {
        self.u32(u32::try_from(len).map_err(|_| E2BIG)?)
    }

    /// Adds a `u32` length and the bytes (a Ceph string or blob).
    pub fn blob(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        self.length(bytes.len())?.bytes(bytes)
    }

    /// Adds a `u32` length and then what `body` adds, whose length it is.
    #[inline]
    pub fn sized(&mut self, body: impl FnOnce(&mut Self) -> Result) -> Result<&mut Self> {
        let at = self.len;
        self.u32(0)?;
        let start = self.len;
        body(self)?;
        let len = self.len.checked_sub(start).ok_or(EINVAL)?;
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
        let added = self.buf.get_mut(..self.len).unwrap_or_default();
        let place = added.get_mut(at..end).ok_or(EINVAL)?;
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

    #[test]
    fn room_is_made_and_not_sent() -> Result {
        for capacity in [0, 1, 7, 1000] {
            let mut e = Encoder::with_capacity(capacity)?;
            assert!(e.is_empty() && e.as_slice().is_empty());
            for i in 0..100 {
                e.u32(i)?.bytes(&[7; 5])?;
            }
            assert!(e.patch(0, &[9]).is_ok());
            // What is not there yet cannot be changed.
            assert!(e.patch(899, &[9, 9]).is_err());
            assert_eq!(e.len(), 900);
            let vec = e.into_vec();
            assert_eq!(vec.len(), 900);
            assert_eq!(vec.get(..9), Some(&[9, 0, 0, 0, 7, 7, 7, 7, 7][..]));
            assert_eq!(vec.get(891..), Some(&[99, 0, 0, 0, 7, 7, 7, 7, 7][..]));
        }
        Ok(())
    }
}
