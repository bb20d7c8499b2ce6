// SPDX-License-Identifier: GPL-2.0
//! Whether all names of a directory are known, and which they are.
//!
//! A count is raised whenever a name is dropped from the dentry cache. All names are known
//! as long as it is what it was when they were listed. Raising it takes no lock, since the
//! VFS drops names with spin locks held; so the names themselves go later
//! ([`Names::forget`]), by who may free memory.
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

use ceph_fs_proto::machine::listing::Listing;

/// The counts of a directory. The names are under the inode's lock, and are given along.
pub(crate) struct Names {
    /// Raised when a name may be missing from the dentry cache.
    released: Atomic<u64>,
    /// `released` of when all names were known; 0 for never.
    complete: Atomic<u64>,
}

impl Names {
    pub(crate) const fn new() -> Self {
        Self {
            released: Atomic::new(1),
            complete: Atomic::new(0),
        }
    }

    /// What to give to [`Self::set`] after all names were listed; to be taken when the
    /// first of them are known.
    pub(crate) fn released(&self) -> u64 {
        self.released.load(Acquire)
    }

    /// All names are known, if none was dropped since `released`. With the inode's lock held;
    /// what comes back is to be dropped without it.
    pub(crate) fn set(
        &self,
        kept: &mut Option<Arc<Listing>>,
        released: u64,
        names: Arc<Listing>,
    ) -> Option<Arc<Listing>> {
        // Before the count is looked at: `clear` raises it first. So one of the two sees that
        // the names are of no use.
        self.complete.xchg(released, Full);
        if self.released.load(Relaxed) != released {
            return Some(names);
        }
        kept.replace(names)
    }

    /// A name was dropped. Whether the names of the directory are kept in vain from now on, so
    /// that somebody should [forget](Self::forget) them. Any context.
    pub(crate) fn clear(&self) -> bool {
        let before = self.released.fetch_add(1, Full);
        self.complete.load(Relaxed) == before
    }

    /// Whether all names are known.
    pub(crate) fn are_complete(&self) -> bool {
        self.complete.load(Acquire) == self.released.load(Acquire)
    }

    /// Takes out names that are kept in vain. With the inode's lock held; what comes back is
    /// to be dropped without it.
    pub(crate) fn forget(&self, kept: &mut Option<Arc<Listing>>) -> Option<Arc<Listing>> {
        match self.are_complete() {
            true => None,
            false => kept.take(),
        }
    }
}

#[kunit_tests(ceph_inode_names)]
mod tests {
    use super::*;

    #[test]
    fn names_are_complete_until_one_is_dropped() -> Result {
        let (names, mut kept) = (Names::new(), None);
        assert!(!names.are_complete());
        let listing = Arc::new(Listing::new(), GFP_KERNEL)?;
        assert!(names.set(&mut kept, names.released(), listing).is_none());
        assert!(names.are_complete() && names.forget(&mut kept).is_none() && kept.is_some());
        // Once it is said that they are of no use.
        assert!(names.clear() && !names.clear() && !names.are_complete());
        assert!(names.forget(&mut kept).is_some() && kept.is_none());
        Ok(())
    }

    #[test]
    fn what_was_dropped_meanwhile_is_not_kept() -> Result {
        let (names, mut kept) = (Names::new(), None);
        let released = names.released();
        assert!(!names.clear());
        let listing = Arc::new(Listing::new(), GFP_KERNEL)?;
        assert!(names.set(&mut kept, released, listing).is_some());
        assert!(kept.is_none() && !names.are_complete());
        Ok(())
    }
}
