// SPDX-License-Identifier: GPL-2.0
//! Folios that are being read.

use crate::bindings;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A folio that is being filled, from its start on. What is not filled in the end reads as
/// zeros.
///
/// # Invariants
///
/// The folio is locked, in the page cache and not up to date, for `'a`; nobody else writes to
/// it. So many bytes were filled, which is not more than it has.
pub struct Folio<'a> {
    raw: NonNull<bindings::folio>,
    filled: usize,
    _p: PhantomData<&'a mut ()>,
}

impl Folio<'_> {
    /// # Safety
    ///
    /// As in the invariants, as long as this is used.
    pub(super) unsafe fn new(raw: NonNull<bindings::folio>) -> Self {
        // INVARIANT: The caller's obligation; nothing was filled.
        Self {
            raw,
            filled: 0,
            _p: PhantomData,
        }
    }

    /// Where in the file the next byte is.
    pub fn pos(&self) -> u64 {
        // SAFETY: By the invariant.
        let start = unsafe { bindings::folio_start(self.raw.as_ptr()) };
        (start as u64).saturating_add(self.filled as u64)
    }

    /// How many bytes there is room for, still.
    pub fn remaining(&self) -> usize {
        // SAFETY: By the invariant.
        let len = unsafe { bindings::folio_bytes(self.raw.as_ptr()) };
        len.saturating_sub(self.filled)
    }

    /// Appends bytes; returns how many of them there was room for.
    pub fn copy(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.remaining());
        // SAFETY: By the invariant; there is room for as many, and as many can be read.
        unsafe {
            bindings::folio_copy_from(self.raw.as_ptr(), self.filled, bytes.as_ptr().cast(), len)
        };
        // INVARIANT: As many were written, for which there was room.
        self.filled += len;
        len
    }

    /// The end of the reading: the folio is not used any more.
    ///
    /// # Safety
    ///
    /// Called once.
    pub(super) unsafe fn end(self, result: Result) {
        // SAFETY: By the invariant. All of it is written before it is up to date.
        unsafe {
            if result.is_ok() {
                bindings::folio_zero_from(self.raw.as_ptr(), self.filled);
            }
            bindings::folio_end_read(self.raw.as_ptr(), result.is_ok());
        }
    }
}
