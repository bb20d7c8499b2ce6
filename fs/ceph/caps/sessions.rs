// SPDX-License-Identifier: GPL-2.0
//! All capabilities of a session, or all of an inode: the end of a session, recall,
//! eviction, and what a restarted server is told.
use kernel::{prelude::*, sync::Arc, time::Jiffies};
use kernel_ext::fs::{inode::Uncounted, Inode, InodeRef};

use ceph_core::messenger::Parts;
use ceph_fs_proto::{
    machine::caps::Issuer,
    wire::{
        cap_bits::Caps,
        msg::{Vino, CLIENT_RECONNECT},
        reconnect::{CapRecord, Reconnect},
        session::Features,
    },
};

use crate::{fs_client::FsClient, inode::Session, super_block::CephFs};

/// A message's data may be 64 MiB long; this leaves room for growth of a record.
const MAX_RECONNECT: usize = 32 << 20;

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
    /// Calls `f` for the inode of each capability of the session.
    pub(crate) fn for_each_cap(
        &self,
        session: &Arc<Session>,
        mut f: impl FnMut(InodeRef<CephFs>) -> bool,
    ) {
        let Some(sb) = self.super_block() else { return };
        let mut from = 0;
        loop {
            let (inos, len, next) = session.data.batch(from);
            for ino in inos.iter().take(len) {
                let inode = sb.find_inode(&Vino::head(*ino));
                if let Some(inode) = inode {
                    if !f(inode) {
                        return;
                    }
                }
            }
            match next {
                Some(next) => from = next,
                None => return,
            }
        }
    }

    /// Wakes all who wait for capabilities of the session.
    pub(crate) fn wake_session(&self, session: &Arc<Session>) {
        self.for_each_cap(session, |inode| {
            inode.data().changed.wake_all();
            true
        });
    }

    /// Removes the capability that the session's rank has issued.
    pub(super) fn remove_cap(&self, session: &Arc<Session>, inode: &Inode<CephFs>, release: bool) {
        let info = inode.data();
        let removed = super::removed(inode, info.state(), |caps| caps.remove(session.rank));
        let Some(removed) = removed else { return };
        let old = removed.cap.issuer();
        if release {
            let item = removed.cap.release_item(inode.key().ino);
            old.session.data.release(old.place, item);
        } else {
            old.session.data.remove(old.place);
        }
        self.changed(inode, removed.change);
    }

    /// The session is over, and its capabilities with it.
    pub(crate) fn drop_session_caps(&self, session: &Arc<Session>) {
        self.for_each_cap(session, |inode| {
            self.remove_cap(session, &inode, false);
            // What is open wants new ones; its readers ask when they wake up.
            true
        });
        // Not while somebody sends them, who forgets what is sent.
        let _order = session.data.order.lock();
        session.data.list.lock().forget(usize::MAX);
    }

    /// The server wants no more than `max` capabilities to be kept: those go that were not
    /// used for the longest time. What is in use stays.
    pub(crate) fn trim_caps(&self, session: &Arc<Session>, max: u32) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
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
        // Inodes go by work; what they leave is sent then.
        self.mdsc.tick_soon();
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
        // Without dentries the inode goes, and the capability with it.
        inode.prune_aliases();
        inode.find_alias().is_none()
    }

    /// An inode goes: its capabilities are given back.
    pub(crate) fn evict(inode: &Uncounted<CephFs>) {
        let Some(fs) = inode.super_data() else { return };
        let info = inode.data();
        loop {
            let cap = info.state().caps.pop();
            let Some(cap) = cap else { return };
            let issuer = cap.issuer();
            let data = &issuer.session.data;
            if data.release(issuer.place, cap.release_item(inode.key().ino)) {
                // Not here: memory reclaim may be what evicts, and sending allocates.
                fs.mdsc.tick_soon();
            }
        }
    }

    /// What to tell a server that took over a rank.
    pub(crate) fn reconnect_parts(&self, session: &Arc<Session>) -> Result<KVec<Parts>> {
        let multi = session.features().has(Features::MULTI_RECONNECT);
        let mut messages = Reconnect::new(multi, MAX_RECONNECT)?;
        let _order = session.data.order.lock();
        session.data.list.lock().forget(usize::MAX);
        let mut failed = Ok(());
        self.for_each_cap(session, |inode| {
            failed = self.reconnect_cap(session, &inode, &mut messages);
            failed.is_ok()
        });
        failed?;
        let mut parts = KVec::new();
        for (version, data) in messages.finish(&self.realms.records()?)? {
            let message = Parts {
                kind: CLIENT_RECONNECT,
                version,
                compat_version: Reconnect::compat(version),
                data: data.into(),
                ..Parts::default()
            };
            parts.push(message, GFP_KERNEL)?;
        }
        Ok(parts)
    }

    fn reconnect_cap(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        messages: &mut Reconnect,
    ) -> Result {
        // The name helps a server that does not know where the inode is.
        let mut path = KVec::new();
        let mut pathbase = 0;
        if let Some(alias) = inode.find_alias() {
            let parent = alias.parent();
            if let (false, Some(dir)) = (alias.is_root(), parent.inode()) {
                path = alias.name()?;
                pathbase = dir.key().ino;
            }
        }
        let known = {
            let info = inode.data();
            let mut state = info.state();
            let realm = state.realm;
            let cap = state.caps.reconnect(session.rank, inode.is_dir());
            cap.map(|cap| (cap, realm))
        };
        let Some(((cap_id, wanted, issued), snaprealm)) = known else {
            return Ok(());
        };
        messages.cap(&CapRecord {
            ino: inode.key().ino,
            cap_id,
            wanted,
            issued,
            snaprealm,
            pathbase,
            path: &path,
            snap_follows: 0,
        })
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
