// SPDX-License-Identifier: GPL-2.0
//! A table with a value for each OSD, of which maps of successive epochs share what
//! stays the same.
//!
//! An incremental map changes a few of some thousands of OSDs, while others may look at
//! the map before it. So a table is in pieces of a page or less, and [`Draft`] copies
//! those in which it changes something.
use kernel::prelude::*;
use kernel::sync::Arc;

use super::decode::Decoder;
use crate::errno::ebadmsg;

/// Most bytes of a piece.
const PIECE_BYTES: usize = 4096;

/// See the module's documentation.
pub struct OsdTable<T> {
    len: usize,
    /// All but the last are full.
    pieces: Arc<KVVec<Arc<KVec<T>>>>,
}

impl<T> Clone for OsdTable<T> {
    /// The same table, by reference.
    fn clone(&self) -> Self {
        Self {
            len: self.len,
            pieces: self.pieces.clone(),
        }
    }
}

impl<T: Copy> OsdTable<T> {
    /// Values in a piece as a power of two, so that finding one is no division.
    const SHIFT: u32 = (PIECE_BYTES / size_of::<T>()).ilog2();
    const MASK: usize = (1 << Self::SHIFT) - 1;

    /// Number of OSDs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no OSDs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of an OSD; `None` if it is not in the table.
    #[inline]
    pub fn get(&self, osd: i32) -> Option<T> {
        let osd = usize::try_from(osd).ok()?;
        let piece = self.pieces.get(osd >> Self::SHIFT)?;
        piece.get(osd & Self::MASK).copied()
    }

    /// Takes the values of `len` OSDs.
    ///
    /// # Errors
    ///
    /// Those of `value`, `ENOMEM`.
    pub(super) fn decode<'a>(
        d: &mut Decoder<'a>,
        len: usize,
        value: impl Fn(&mut Decoder<'a>) -> Result<T>,
    ) -> Result<Self> {
        Self::build(len, |_, len| {
            let mut piece = KVec::with_capacity(len, GFP_KERNEL)?;
            for _ in 0..len {
                piece.push(value(d)?, GFP_KERNEL)?;
            }
            Ok(Arc::new(piece, GFP_KERNEL)?)
        })
    }

    /// The length of a piece in a table of `len` OSDs.
    fn piece_len(len: usize, at: usize) -> usize {
        let rest = len.saturating_sub(at << Self::SHIFT);
        rest.min(1 << Self::SHIFT)
    }

    /// `piece` makes the piece of a number and length.
    fn build(
        len: usize,
        mut piece: impl FnMut(usize, usize) -> Result<Arc<KVec<T>>>,
    ) -> Result<Self> {
        let count = len.div_ceil(1 << Self::SHIFT);
        let mut pieces = KVVec::with_capacity(count, GFP_KERNEL)?;
        for at in 0..count {
            pieces.push(piece(at, Self::piece_len(len, at))?, GFP_KERNEL)?;
        }
        Ok(Self {
            len,
            pieces: Arc::new(pieces, GFP_KERNEL)?,
        })
    }
}

/// A table that is to follow another one.
pub(super) struct Draft<'a, T> {
    old: &'a OsdTable<T>,
    len: usize,
    /// Value of OSDs that are new.
    fill: T,
    /// Pieces with changes; empty before the first.
    changed: KVVec<Option<KVec<T>>>,
}

impl<'a, T: Copy> Draft<'a, T> {
    /// `old` with `len` OSDs, of which new ones are `fill`.
    pub(super) fn new(old: &'a OsdTable<T>, len: usize, fill: T) -> Self {
        Self {
            old,
            len,
            fill,
            changed: KVVec::new(),
        }
    }

    /// Number of OSDs.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the value of an OSD is changed.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if there is no such OSD, `ENOMEM`.
    pub(super) fn place(&mut self, osd: i32) -> Result<&mut T> {
        let osd = usize::try_from(osd).map_err(|_| ebadmsg())?;
        if osd >= self.len {
            return Err(ebadmsg());
        }
        let at = osd >> OsdTable::<T>::SHIFT;
        if self.changed.is_empty() {
            let count = self.len.div_ceil(1 << OsdTable::<T>::SHIFT);
            self.changed.reserve(count, GFP_KERNEL)?;
            for _ in 0..count {
                self.changed.push(None, GFP_KERNEL)?;
            }
        }
        if let Some(place @ None) = self.changed.get_mut(at) {
            let len = OsdTable::<T>::piece_len(self.len, at);
            *place = Some(copy(self.old, at, len, self.fill)?);
        }
        self.changed
            .get_mut(at)
            .and_then(Option::as_mut)
            .and_then(|piece| piece.get_mut(osd & OsdTable::<T>::MASK))
            .ok_or_else(ebadmsg)
    }

    /// The table with all changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn finish(mut self) -> Result<OsdTable<T>> {
        if self.changed.is_empty() && self.len == self.old.len {
            return Ok(self.old.clone());
        }
        OsdTable::build(self.len, |at, len| {
            if let Some(piece) = self.changed.get_mut(at).and_then(Option::take) {
                return Ok(Arc::new(piece, GFP_KERNEL)?);
            }
            match self.old.pieces.get(at) {
                Some(piece) if piece.len() == len => Ok(piece.clone()),
                _ => {
                    let piece = copy(self.old, at, len, self.fill)?;
                    Ok(Arc::new(piece, GFP_KERNEL)?)
                }
            }
        })
    }
}

/// A copy of a piece with `len` OSDs.
fn copy<T: Copy>(old: &OsdTable<T>, at: usize, len: usize, fill: T) -> Result<KVec<T>> {
    let old: &[T] = old.pieces.get(at).map_or(&[], |piece| piece.as_slice());
    let mut new = KVec::with_capacity(len, GFP_KERNEL)?;
    new.extend_from_slice(old.get(..len).unwrap_or(old), GFP_KERNEL)?;
    new.resize(len, fill, GFP_KERNEL)?;
    Ok(new)
}

#[kunit_tests(ceph_wire_osd_table)]
mod tests {
    use super::*;

    fn table(len: u8) -> Result<OsdTable<[u8; 512]>> {
        let mut bytes = KVec::new();
        for osd in 0..len {
            bytes.push(osd, GFP_KERNEL)?;
        }
        OsdTable::decode(&mut Decoder::new(&bytes), usize::from(len), |d| {
            Ok([d.u8()?; 512])
        })
    }

    fn values(table: &OsdTable<[u8; 512]>) -> Result<KVec<u8>> {
        let mut values = KVec::new();
        for osd in 0..100 {
            let Some([first, ..]) = table.get(osd) else {
                assert_eq!(usize::try_from(osd), Ok(table.len()));
                break;
            };
            values.push(first, GFP_KERNEL)?;
        }
        Ok(values)
    }

    #[test]
    fn what_stays_the_same_is_shared() -> Result {
        // Eight to a piece.
        let old = table(20)?;
        assert_eq!(old.pieces.len(), 3);
        assert!(old.get(20).is_none() && old.get(-1).is_none());
        let same = Draft::new(&old, 20, [0; 512]).finish()?;
        assert!(Arc::ptr_eq(&old.pieces, &same.pieces));

        let mut draft = Draft::new(&old, 20, [0; 512]);
        *draft.place(9)? = [90; 512];
        draft.place(10)?[0] = 100;
        assert!(draft.place(20).is_err() && draft.place(-1).is_err());
        let new = draft.finish()?;
        let expect = [
            0, 1, 2, 3, 4, 5, 6, 7, 8, 90, 100, 11, 12, 13, 14, 15, 16, 17, 18, 19,
        ];
        assert_eq!(values(&new)?[..], expect);
        assert_eq!(old.get(9), Some([9; 512]));
        for (at, shared) in [true, false, true].into_iter().enumerate() {
            assert_eq!(Arc::ptr_eq(&old.pieces[at], &new.pieces[at]), shared);
        }
        Ok(())
    }

    #[test]
    fn longer_and_shorter() -> Result {
        let old = table(10)?;
        let mut draft = Draft::new(&old, 18, [77; 512]);
        *draft.place(17)? = [5; 512];
        let long = draft.finish()?;
        let expect = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 77, 77, 77, 77, 77, 77, 77, 5];
        assert_eq!(values(&long)?[..], expect);
        assert!(Arc::ptr_eq(&old.pieces[0], &long.pieces[0]));
        for len in [9, 8, 7, 0] {
            let short = Draft::new(&long, len, [0; 512]).finish()?;
            assert_eq!(values(&short)?[..], expect[..len]);
        }
        assert_eq!(
            values(&Draft::new(&table(0)?, 1, [3; 512]).finish()?)?[..],
            [3]
        );
        Ok(())
    }
}
