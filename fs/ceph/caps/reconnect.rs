// SPDX-License-Identifier: GPL-2.0
//! What a restarted server is told of the capabilities that it has issued.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::Inode;

use ceph_core::messenger::Parts;
use ceph_fs_proto::wire::{
    msg::CLIENT_RECONNECT,
    reconnect::{
        CapRecord,
        Reconnect, //
    },
    session::Features, //
};

use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs, //
};

/// A message's data may be 64 MiB long; this leaves room for growth of a record.
const MAX_RECONNECT: usize = 32 << 20;

impl FsClient {
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
