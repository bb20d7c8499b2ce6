// SPDX-License-Identifier: GPL-2.0
//! CLIENT_LEASE: the server ends leases on names.
use kernel::{prelude::*, sync::Arc};

use ceph_core::messenger::{Incoming, Parts};
use ceph_fs_proto::wire::{
    lease::{ClientLease, LeaseAction},
    msg::{Vino, CLIENT_LEASE},
};

use crate::{fs_client::FsClient, inode::Session};

impl FsClient {
    pub(crate) fn lease_message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        let lease = ClientLease::decode(&msg.front)?;
        if lease.action != LeaseAction::REVOKE {
            // Renewals are not asked for.
            return Ok(());
        }
        // First this, then the dentry: who finds the name between the two sees the
        // count and takes no lease.
        session.data.count_revoke();
        let mut answer = lease;
        answer.action = LeaseAction::REVOKE_ACK;
        let dir = self
            .super_block()
            .and_then(|sb| sb.find_inode(&Vino::head(lease.ino)));
        if let Some(parent) = dir.and_then(|dir| dir.find_alias()) {
            if let Some(dentry) = parent.cached_child(lease.name) {
                answer.seq = dentry.data().revoke_lease(session, lease.seq);
            }
        }
        session.send_parts(Parts {
            kind: CLIENT_LEASE,
            front: answer.encode()?,
            ..Parts::default()
        })
    }
}
