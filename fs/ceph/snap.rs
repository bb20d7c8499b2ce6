// SPDX-License-Identifier: GPL-2.0
//! Snap realms: which snapshots exist, as far as inodes of this client are concerned.
//!
//! For reading they are kept to be told to a restarted server, which then says what
//! has changed.
use kernel::{new_mutex, prelude::*, rbtree::RBTree, sync::Mutex};
use kernel_ext::pr_err_ratelimited;

use ceph_core::messenger::Incoming;
use ceph_fs_proto::wire::{
    msg::Vino,
    quota::ClientQuota,
    reconnect::RealmRecord,
    snap::{ClientSnap, SnapOp, SnapTrace},
};

use crate::fs_client::FsClient;

struct Realm {
    seq: u64,
    parent: u64,
    created: u64,
    parent_since: u64,
    snaps: KVec<u64>,
    prior_parent_snaps: KVec<u64>,
}

/// All snap realms that are known, by the inode they begin at.
#[pin_data]
pub(crate) struct SnapRealms {
    #[pin]
    realms: Mutex<RBTree<u64, Realm>>,
}

fn numbers(from: ceph_fs_proto::wire::snap::Numbers<'_>) -> Result<KVec<u64>> {
    let mut vec = KVec::with_capacity(from.len(), GFP_KERNEL)?;
    for number in from.iter() {
        vec.push(number, GFP_KERNEL)?;
    }
    Ok(vec)
}

impl SnapRealms {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            realms <- new_mutex!(RBTree::new(), "ceph::SnapRealms::realms"),
        })
    }

    /// Takes in a trace.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; some realms may have been taken in then.
    pub(crate) fn update(&self, trace: &SnapTrace<'_>) -> Result {
        for new in &trace.0 {
            let mut realms = self.realms.lock();
            if let Some(old) = realms.get_mut(&new.ino) {
                old.parent = new.parent;
                if new.seq > old.seq {
                    old.snaps = numbers(new.snaps)?;
                    old.prior_parent_snaps = numbers(new.prior_parent_snaps)?;
                    old.created = new.created;
                    old.parent_since = new.parent_since;
                    old.seq = new.seq;
                }
                continue;
            }
            let realm = Realm {
                seq: new.seq,
                parent: new.parent,
                created: new.created,
                parent_since: new.parent_since,
                snaps: numbers(new.snaps)?,
                prior_parent_snaps: numbers(new.prior_parent_snaps)?,
            };
            realms.try_create_and_insert(new.ino, realm, GFP_KERNEL)?;
        }
        Ok(())
    }

    fn set_parent(&self, ino: u64, parent: u64) {
        if let Some(realm) = self.realms.lock().get_mut(&ino) {
            realm.parent = parent;
        }
    }

    /// What to tell a restarted server.
    pub(crate) fn records(&self) -> Result<KVec<RealmRecord>> {
        let realms = self.realms.lock();
        let mut records = KVec::new();
        for (ino, realm) in realms.iter() {
            let record = RealmRecord {
                ino: *ino,
                seq: realm.seq,
                parent: realm.parent,
            };
            records.push(record, GFP_KERNEL)?;
        }
        Ok(records)
    }
}

impl FsClient {
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

    /// CLIENT_QUOTA: limits or statistics of a directory changed.
    pub(crate) fn quota_message(&self, msg: &Incoming) -> Result {
        let quota = ClientQuota::decode(&msg.front)?;
        let Some(sb) = self.super_block() else {
            return Ok(());
        };
        if let Some(inode) = sb.find_inode(&Vino::head(quota.ino)) {
            let info = inode.data();
            let mut state = info.state();
            state.dir.rbytes = quota.rbytes;
            state.dir.rfiles = quota.rfiles;
            state.dir.rsubdirs = quota.rsubdirs;
            state.dir.rctime = quota.rctime;
            state.quota = quota.quota;
        }
        Ok(())
    }
}
