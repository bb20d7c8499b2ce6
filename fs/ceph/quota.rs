// SPDX-License-Identifier: GPL-2.0
//! CLIENT_QUOTA: statistics of a directory changed.
use kernel::prelude::*;

use ceph_core::messenger::Incoming;
use ceph_fs_proto::wire::{
    msg::Vino,
    quota::ClientQuota, //
};

use crate::fs_client::FsClient;

impl FsClient {
    /// CLIENT_QUOTA: statistics of a directory changed.
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
        }
        Ok(())
    }
}
