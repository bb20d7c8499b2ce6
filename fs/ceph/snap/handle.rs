// SPDX-License-Identifier: GPL-2.0
//! CLIENT_SNAP, and forgetting realms.
use kernel::prelude::*;
use kernel_ext::pr_err_ratelimited;

use ceph_core::messenger::Incoming;
use ceph_fs_proto::wire::{
    msg::Vino,
    snap::{
        ClientSnap,
        SnapOp, //
    },
};

use crate::fs_client::FsClient;

impl FsClient {
    /// Forgets realms that nothing belongs to, if there are many. Looks at all
    /// capabilities then.
    pub(crate) fn forget_realms(&self) {
        if !self.realms.are_many() {
            return;
        }
        self.realms.begin_sweep();
        self.mdsc.for_each_session(|session| {
            self.for_each_cap(session, |inode| {
                let realm = inode.data().state().realm;
                self.realms.mark(realm);
                true
            });
        });
        self.realms.end_sweep();
    }

    /// CLIENT_SNAP: snapshots came or went, or a realm was split.
    pub(crate) fn snap_message(&self, msg: &Incoming) -> Result {
        let snap = ClientSnap::decode(&msg.front)?;
        if let Err(e) = self.realms.update(&snap.trace) {
            pr_err_ratelimited!("cannot take in snap realms: {:?}\n", e);
            return Err(e);
        }
        if snap.op != SnapOp::SPLIT {
            return Ok(());
        }
        for ino in snap.split_realms.iter() {
            self.realms.set_parent(ino, snap.split);
        }
        let Some(sb) = self.super_block() else {
            return Ok(());
        };
        for ino in snap.split_inos.iter() {
            if let Some(inode) = sb.find_inode(&Vino::head(ino)) {
                inode.data().state().realm = snap.split;
            }
        }
        Ok(())
    }
}
