// SPDX-License-Identifier: GPL-2.0
//! Messages with OSD maps that wait for the worker.
use kernel::prelude::*;

/// Fronts of `MOSDMap` that wait for the worker.
pub(super) struct WaitingMaps {
    fronts: KVVec<KVVec<u8>>,
    bytes: usize,
    /// One was dropped for want of room: the monitors have to be asked for what it had.
    pub(super) dropped: bool,
}

impl WaitingMaps {
    /// Most bytes that wait, beside one message of any size. A map of 10,000 OSDs takes 3 MiB; a
    /// monitor sends 40 of those that say what changed in a message.
    const MAX_BYTES: usize = 32 << 20;
    /// What a message takes beside its bytes.
    const OVERHEAD: usize = 64;

    pub(super) const fn new() -> Self {
        Self {
            fronts: KVVec::new(),
            bytes: 0,
            dropped: false,
        }
    }

    pub(super) fn push(&mut self, front: &[u8]) -> Result {
        let len = front.len().saturating_add(Self::OVERHEAD);
        let bytes = self.bytes.saturating_add(len);
        if bytes > Self::MAX_BYTES && !self.fronts.is_empty() {
            self.dropped = true;
            return Ok(());
        }
        let mut copy = KVVec::new();
        copy.extend_from_slice(front, GFP_KERNEL)?;
        self.fronts.push(copy, GFP_KERNEL)?;
        self.bytes = bytes;
        Ok(())
    }

    /// The first, which stays there, empty.
    pub(super) fn take(&mut self) -> Option<KVVec<u8>> {
        self.fronts.first_mut().map(core::mem::take)
    }

    pub(super) fn put_back(&mut self, front: KVVec<u8>) {
        if let Some(first) = self.fronts.first_mut() {
            *first = front;
        }
    }

    /// The first is done with.
    pub(super) fn pop(&mut self, len: usize) {
        let _ = self.fronts.remove(0);
        self.bytes = self
            .bytes
            .saturating_sub(len.saturating_add(Self::OVERHEAD));
    }
}

#[kunit_tests(ceph_osd_client_waiting_maps)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() -> Result {
        let mut waiting = WaitingMaps::new();
        // One of any size.
        let large = KVVec::from_elem(0, WaitingMaps::MAX_BYTES + 1, GFP_KERNEL)?;
        waiting.push(&large)?;
        assert!(!waiting.dropped);
        waiting.push(&[1])?;
        assert!(waiting.dropped && waiting.fronts.len() == 1);
        let first = waiting.take().ok_or(ENOENT)?;
        waiting.pop(first.len());
        assert!(waiting.take().is_none() && waiting.bytes == 0);
        // And any number of small ones, up to the bound.
        waiting.dropped = false;
        let small = KVVec::from_elem(0, 1 << 20, GFP_KERNEL)?;
        for _ in 0..40 {
            waiting.push(&small)?;
        }
        assert!(waiting.dropped && waiting.fronts.len() == 31);
        // What there was no memory for stays the first.
        let front = waiting.take().ok_or(ENOENT)?;
        waiting.put_back(front);
        assert!(waiting
            .take()
            .is_some_and(|front| front.len() == small.len()));
        Ok(())
    }
}
