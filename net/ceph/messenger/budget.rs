// SPDX-License-Identifier: GPL-2.0
//! How much memory what is received may take, for all connections of a client together.
//!
//! Short messages are not counted: each connection has one of them at most. A long one is
//! charged before it is read, and for as long as its owner keeps it as it came. When there is
//! no room, its connection waits, and TCP makes the peer wait.
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
    },
};

/// What a client has room for, in bytes: more than the longest message that the wire allows.
const LIMIT: u64 = 128 << 20;

/// The budget of one client.
pub(super) struct Budget {
    used: Atomic<u64>,
}

impl Budget {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Arc<Self>> {
        let used = Atomic::new(0);
        Ok(Arc::new(Self { used }, GFP_KERNEL)?)
    }

    /// Charges so many bytes, if there is room for them.
    pub(super) fn charge(self: &Arc<Self>, len: usize) -> Option<Charge> {
        let len = len as u64;
        let mut used = self.used.load(Relaxed);
        loop {
            let sum = used.checked_add(len).filter(|sum| *sum <= LIMIT)?;
            match self.used.cmpxchg(used, sum, Full) {
                Ok(_) => break,
                Err(other) => used = other,
            }
        }
        let budget = self.clone();
        Some(Charge { budget, len })
    }
}

/// Bytes that are charged until this is dropped.
pub(super) struct Charge {
    budget: Arc<Budget>,
    len: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.len, Full);
    }
}

#[kunit_tests(ceph_messenger_budget)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_comes_back() -> Result {
        let budget = Budget::new()?;
        let half = LIMIT as usize / 2;
        let one = budget.charge(half).ok_or(EINVAL)?;
        let other = budget.charge(half).ok_or(EINVAL)?;
        assert!(budget.charge(1).is_none());
        drop(one);
        assert!(budget.charge(half + 1).is_none());
        assert!(budget.charge(half).is_some());
        drop(other);
        assert!(budget.charge(LIMIT as usize).is_some());
        assert!(budget.charge(usize::MAX).is_none());
        Ok(())
    }
}
