// SPDX-License-Identifier: GPL-2.0
//! Received bytes while they are in the socket's queue.

use crate::alloc_scope::NoIo;
use crate::bindings;
use crate::iov::IovDest;
use core::marker::PhantomData;
use kernel::prelude::*;

/// A run of received bytes, read from front to back.
///
/// # Invariants
///
/// `skb` is valid for `'a` and has `len` bytes from `offset` on.
pub struct SkbChunk<'a> {
    skb: *mut bindings::sk_buff,
    offset: usize,
    len: usize,
    stop: bool,
    _skb: PhantomData<&'a bindings::sk_buff>,
}

impl SkbChunk<'_> {
    /// # Safety
    ///
    /// `skb` stays valid, and has `len` bytes from `offset` on, while the result lives.
    pub(super) unsafe fn new(skb: *mut bindings::sk_buff, offset: usize, len: usize) -> Self {
        // INVARIANT: Promised by the caller. The C functions take signed lengths.
        let len = len.min((i32::MAX as usize).saturating_sub(offset));
        Self {
            skb,
            offset,
            len,
            stop: false,
            _skb: PhantomData,
        }
    }

    /// Bytes left to take.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether all has been taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the reading after this run, also if all of it is taken.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    /// Whether the reading shall go on with the next run.
    pub(super) fn goes_on(&self) -> bool {
        self.len == 0 && !self.stop
    }

    fn taken(&mut self, n: usize) -> usize {
        // INVARIANT: Callers pass at most `len`.
        self.offset += n;
        self.len -= n;
        n
    }

    /// Skips up to `n` bytes; returns how many.
    pub fn skip(&mut self, n: usize) -> usize {
        self.taken(n.min(self.len))
    }

    /// Takes bytes into `buf`, as many as fit and are there; returns how many.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the socket buffer is broken.
    pub fn copy_to(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = buf.len().min(self.len);
        // SAFETY: The buffer takes `n` bytes, and the skb has them.
        let ret = unsafe {
            bindings::skb_copy_bits(
                self.skb,
                self.offset as i32,
                buf.as_mut_ptr().cast(),
                n as i32,
            )
        };
        kernel::error::to_result(ret)?;
        Ok(self.taken(n))
    }

    /// Adds a copy of the next bytes, at most `n`, to the end of `vec`, and takes none;
    /// returns how many.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, not if the vector has the capacity; `EFAULT`.
    pub fn peek(&self, vec: &mut KVVec<u8>, n: usize) -> Result<usize> {
        let n = n.min(self.len);
        if vec.spare_capacity_mut().len() < n {
            let _noio = NoIo::enter();
            vec.reserve(n, GFP_KERNEL)?;
        }
        // SAFETY: The capacity for `n` more bytes was reserved.
        let ret = unsafe {
            bindings::skb_copy_bits(
                self.skb,
                self.offset as i32,
                vec.spare_capacity_mut().as_mut_ptr().cast(),
                n as i32,
            )
        };
        kernel::error::to_result(ret)?;
        // SAFETY: As many bytes were just written.
        unsafe { vec.inc_len(n) };
        Ok(n)
    }

    /// Takes up to `n` bytes to the end of `vec`; returns how many.
    ///
    /// # Errors
    ///
    /// As for [`peek`](Self::peek).
    pub fn copy_to_vec(&mut self, vec: &mut KVVec<u8>, n: usize) -> Result<usize> {
        let n = self.peek(vec, n)?;
        Ok(self.taken(n))
    }

    /// Takes up to `n` bytes to `dest`; with `crc`, updates the CRC-32C on the way.
    /// Returns how many.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if `dest` has no room for them; `EFAULT`.
    pub fn copy_to_iov(
        &mut self,
        dest: &mut IovDest,
        n: usize,
        crc: Option<&mut u32>,
    ) -> Result<usize> {
        let n = n.min(self.len);
        let (skb, offset) = (self.skb, self.offset as i32);
        // SAFETY: Both functions write all `n` bytes, which the skb has, or revert
        // the iterator and fail.
        unsafe {
            dest.fill_with(n, |iter| {
                kernel::error::to_result(match crc {
                    Some(crc) => bindings::skb_copy_and_crc32c_datagram_iter(
                        skb, offset, iter, n as i32, crc,
                    ),
                    None => bindings::skb_copy_datagram_iter(skb, offset, iter, n as i32),
                })
            })?;
        }
        Ok(self.taken(n))
    }
}
