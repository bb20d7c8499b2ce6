// SPDX-License-Identifier: GPL-2.0
//! All capabilities of a session, or all of an inode: the end of a session, recall,
//! eviction, and what a restarted server is told.
use kernel::{prelude::*, sync::Arc};
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

impl FsClient {
    /// Calls `f` for the inode of each capability of the session.
    pub(crate) fn for_each_cap(
        &self,
        session: &Arc<Session>,
        mut f: impl FnMut(InodeRef<CephFs>) -> bool,
    ) {
        let Some(sb) = self.super_block() else { return };
        let mut stamp = 0;
        loop {
            let (inos, len, next) = session.data.batch(stamp);
            for ino in inos.iter().take(len) {
                let inode = sb.find_inode(&Vino::head(*ino));
                if let Some(inode) = inode {
                    if !f(inode) {
                        return;
                    }
                }
            }
            match next {
                Some(next) => stamp = next,
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

    fn remove_cap(&self, session: &Arc<Session>, inode: &Inode<CephFs>, release: bool) {
        let info = inode.data();
        let removed = super::removed(inode, info.state(), |caps| caps.remove(session.rank));
        let Some(removed) = removed else { return };
        let old = removed.cap.issuer();
        drop(old.session.data.remove(old.stamp));
        if release {
            let item = removed.cap.release_item(inode.key().ino);
            old.session.data.release(item);
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
        let releases = core::mem::take(&mut session.data.list.lock().releases);
        drop(releases);
    }

    /// The server wants no more than `max` capabilities to be kept: those of inodes
    /// that nobody uses go, the oldest first.
    pub(crate) fn trim_caps(&self, session: &Arc<Session>, max: u32) {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut excess = session.data.len().saturating_sub(max);
        if excess > 0 {
            self.for_each_cap(session, |inode| {
                if self.trim_one(session, &inode) {
                    excess = excess.saturating_sub(1);
                }
                excess > 0
            });
        }
        self.send_releases(session);
    }

    fn trim_one(&self, session: &Arc<Session>, inode: &Inode<CephFs>) -> bool {
        let others = {
            let info = inode.data();
            let state = info.state();
            if state.caps.is_open() || state.caps.used(false) != Caps::PIN {
                return false;
            }
            let mut others = state.caps.caps().iter();
            others.any(|cap| cap.issuer().rank() != session.rank)
        };
        if others {
            // Another server goes on to vouch for the inode.
            self.remove_cap(session, inode, true);
        } else {
            // Without dentries the inode goes, and the capability with it.
            inode.prune_aliases();
        }
        true
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
            drop(data.remove(issuer.stamp));
            if data.release(cap.release_item(inode.key().ino)) {
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
        let stale = core::mem::take(&mut session.data.list.lock().releases);
        drop(stale);
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
                data,
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
