// SPDX-License-Identifier: GPL-2.0
//! CLIENT_LEASE: servers end leases on names, and let them last longer.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::pr_err_ratelimited;

use ceph_core::messenger::{
    Incoming,
    Parts, //
};
use ceph_fs_proto::wire::{
    lease::{
        ClientLease,
        LeaseAction, //
    },
    msg::{
        Vino,
        CLIENT_LEASE, //
    },
};

use crate::fs_client::{
    FsClient,
    Session, //
};

fn send(session: &Session, lease: &ClientLease<'_>) -> Result {
    session.send_parts(Parts {
        kind: CLIENT_LEASE,
        front: lease.encode()?,
        ..Parts::default()
    })
}

impl FsClient {
    /// Asks for a lease to last longer; does not wait. If it fails the lease runs out.
    pub(crate) fn renew_lease(&self, session: &Session, dir: u64, name: &[u8], seq: u32) {
        let Vino { ino, snap } = Vino::head(dir);
        let sent = send(
            session,
            &ClientLease {
                action: LeaseAction::RENEW,
                mask: ClientLease::MASK,
                ino,
                first: snap,
                last: snap,
                seq,
                duration_ms: 0,
                name,
            },
        );
        if let Err(e) = sent {
            pr_err_ratelimited!("mds{}: cannot renew a lease: {:?}\n", session.rank, e);
        }
    }

    /// CLIENT_LEASE.
    pub(crate) fn lease_message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        let lease = ClientLease::decode(&msg.front)?;
        let revoked = lease.action == LeaseAction::REVOKE;
        if revoked {
            // First this, then the dentry: who finds the name between the two sees the
            // count and takes no lease.
            session.data.count_revoke();
        }
        let mut answer = lease;
        answer.action = LeaseAction::REVOKE_ACK;
        let dir = self
            .super_block()
            .and_then(|sb| sb.find_inode(&Vino::head(lease.ino)));
        if let Some(parent) = dir.and_then(|dir| dir.find_alias()) {
            if let Some(dentry) = parent.cached_child(lease.name) {
                match lease.action {
                    LeaseAction::REVOKE => answer.seq = dentry.data().revoke(session, lease.seq),
                    LeaseAction::RENEW => {
                        dentry.data().renewed(session, lease.seq, lease.duration_ms);
                    }
                    _ => {}
                }
            }
        }
        if revoked {
            send(session, &answer)?;
        }
        Ok(())
    }
}
