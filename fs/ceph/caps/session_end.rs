// SPDX-License-Identifier: GPL-2.0
//! The end of capabilities: with their session, or with their inode.
use kernel::sync::Arc;
use kernel_ext::fs::{
    inode::Uncounted,
    Inode, //
};

use crate::{
    caps::add::removed,
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs, //
};

impl FsClient {
    /// Removes the capability that the session's rank has issued.
    pub(crate) fn remove_cap(&self, session: &Arc<Session>, inode: &Inode<CephFs>, release: bool) {
        let info = inode.data();
        let removed = removed(inode, info.state(), |caps| caps.remove(session.rank));
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
}
