// SPDX-License-Identifier: GPL-2.0
//! Whether the page cache holds what may be old ([`pages`](super::pages)).
use kernel::prelude::*;

/// Whether the page cache holds what may be old.
pub(crate) struct StalePages {
    raised: u64,
    settled: u64,
}

impl StalePages {
    pub(crate) const fn new() -> Self {
        Self {
            raised: 0,
            settled: 0,
        }
    }

    /// Whether there is a doubt that is not settled.
    pub(crate) fn any(&self) -> bool {
        self.settled < self.raised
    }

    pub(crate) fn raise(&mut self) {
        self.raised = self.raised.saturating_add(1);
    }

    /// What dropping all pages from now on will settle.
    pub(crate) fn begin(&self) -> u64 {
        self.raised
    }

    /// All pages were dropped since [`begin`](Self::begin).
    pub(crate) fn settle(&mut self, begun: u64) {
        self.settled = self.settled.max(begun);
    }
}

#[kunit_tests(ceph_caps_pages)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_that_is_raised_while_pages_are_dropped_stays() {
        let mut stale_pages = StalePages::new();
        assert!(!stale_pages.any());
        stale_pages.raise();
        let first = stale_pages.begin();
        stale_pages.raise();
        assert!(stale_pages.any());
        let second = stale_pages.begin();
        stale_pages.settle(first);
        assert!(stale_pages.any());
        stale_pages.settle(second);
        stale_pages.settle(first);
        assert!(!stale_pages.any());
    }
}
