// SPDX-License-Identifier: GPL-2.0
//! Recall: a server wants less capabilities to be kept.
use kernel::{
    prelude::*,
    sync::Arc,
    time::Jiffies, //
};
use kernel_ext::fs::Inode;

use ceph_fs_proto::{
    machine::caps::Issuer,
    wire::cap_bits::Caps, //
};

use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs, //
};

/// Least number of capabilities that the option `caps_max` can mean.
pub(crate) const CAPS_MIN: u32 = 1024;

/// Whether nobody has the inode open or uses its pages.
fn is_trimmable(inode: &Inode<CephFs>) -> bool {
    let info = inode.data();
    let state = info.state();
    !state.caps.is_open() && state.caps.used(false) == Caps::PIN
}

/// The longest time such that at least `count`, or all, of those that were idle for less
/// than `below` were idle for at least that time; None if there are none. (Not by sorting:
/// that takes several KiB of the stack.)
fn idle_limit(idle: &[(Jiffies, u64)], below: Jiffies, count: usize) -> Option<Jiffies> {
    let at_least = |limit: Jiffies| {
        let times = idle.iter().map(|(idle, _)| *idle);
        times.filter(|idle| (limit..below).contains(idle)).count()
    };
    let count = at_least(0).min(count);
    if count == 0 {
        return None;
    }
    let longest = idle.iter().map(|(idle, _)| *idle).max().unwrap_or(0);
    let (mut low, mut high) = (0, below.min(longest.saturating_add(1)));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at_least(middle) >= count {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

impl FsClient {
    /// The server wants no more than `max` capabilities to be kept: those go that were not
    /// used for the longest time. What is in use stays.
    pub(crate) fn trim_caps(&self, session: &Arc<Session>, max: u32) {
        self.trim_to(session, usize::try_from(max).unwrap_or(usize::MAX));
        // Inodes go by work; what they leave is sent then.
        self.mdsc.tick_soon();
    }

    /// Keeps to the option `caps_max`, which like the C client's is no less than what one
    /// listing may bring. From the tick.
    pub(crate) fn keep_caps_max(&self) {
        let options = &self.options;
        if options.caps_max == 0 {
            return;
        }
        let least = options.readdir_max_entries.max(CAPS_MIN);
        let max = usize::try_from(options.caps_max.max(least)).unwrap_or(usize::MAX);
        let mut used = 0usize;
        self.mdsc
            .for_each_session(|session| used = used.saturating_add(session.data.len()));
        if used <= max {
            return;
        }
        // Each session gives as large a part.
        self.mdsc.for_each_session(|session| {
            let share = session.data.len().saturating_mul(max) / used;
            self.trim_to(session, share);
        });
    }

    fn trim_to(&self, session: &Arc<Session>, max: usize) {
        let len = session.data.len();
        let mut excess = len.saturating_sub(max);
        if excess > 0 {
            // Without memory for all, what there is memory for.
            let mut idle = KVVec::with_capacity(len, GFP_KERNEL).unwrap_or_default();
            self.for_each_cap(session, |inode| {
                let known = (inode.data().idle(), inode.key().ino);
                !is_trimmable(&inode) || idle.push(known, GFP_KERNEL).is_ok()
            });
            let mut below = Jiffies::MAX;
            while let Some(limit) = idle_limit(&idle, below, excess) {
                for (_, ino) in idle
                    .iter()
                    .filter(|(idle, _)| (limit..below).contains(idle))
                {
                    let inode = self.find_inode(*ino);
                    if excess > 0 && inode.is_some_and(|inode| self.trim_one(session, &inode)) {
                        excess -= 1;
                    }
                }
                below = limit;
            }
        }
        self.send_releases(session);
    }

    /// Gives a capability back, unless it came to be used. Whether it goes.
    fn trim_one(&self, session: &Arc<Session>, inode: &Inode<CephFs>) -> bool {
        if !is_trimmable(inode) {
            return false;
        }
        let others = {
            let info = inode.data();
            let state = info.state();
            let mut others = state.caps.caps();
            others.any(|cap| cap.issuer().rank() != session.rank)
        };
        if others {
            // Another server goes on to vouch for the inode.
            self.remove_cap(session, inode, true);
            return true;
        }
        // Without dentries the inode goes, and the capability with it. A directory's is held
        // by the dentries in it: names that do not exist may go with it.
        if inode.is_dir() {
            if let Some(alias) = inode.find_alias() {
                if !alias.has_positive_child() {
                    alias.shrink_children();
                }
                alias.put_now();
            }
        }
        inode.prune_aliases();
        inode.find_alias().is_none()
    }
}

#[kunit_tests(ceph_caps_sessions)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_go_first() {
        let idle = [(5, 1), (1, 2), (9, 3), (5, 4), (0, 5)];
        assert_eq!(idle_limit(&idle, Jiffies::MAX, 1), Some(9));
        assert_eq!(idle_limit(&idle, Jiffies::MAX, 2), Some(5));
        assert_eq!(idle_limit(&idle, Jiffies::MAX, 4), Some(1));
        assert_eq!(idle_limit(&idle, Jiffies::MAX, 5), Some(0));
        assert_eq!(idle_limit(&idle, Jiffies::MAX, 50), Some(0));
        assert_eq!(idle_limit(&idle, 5, 1), Some(1));
        assert_eq!(idle_limit(&idle, 1, 1), Some(0));
        assert_eq!(idle_limit(&idle, 0, 1), None);
        assert_eq!(idle_limit(&idle, 9, 0), None);
        assert_eq!(idle_limit(&[], 7, 1), None);
    }
}
