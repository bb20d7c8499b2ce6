// SPDX-License-Identifier: GPL-2.0
//! What the client's own capability for metadata servers allows.
//!
//! A server checks it for each request, but opening a file for which there are capabilities
//! asks none. So the servers tell it, and the client checks it then
//! ([`FsClient::check_access`](crate::fs_client::FsClient::check_access)).
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
};

use ceph_fs_proto::wire::session::CapAuth;

/// The grants that a server has told last.
#[pin_data]
pub(crate) struct Grants {
    /// None before, and of servers that do not tell them.
    #[pin]
    grants: SpinLock<Option<Arc<KVVec<CapAuth>>>>,
}

impl Grants {
    /// None are known.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            grants <- new_spinlock!(None, "ceph::Grants::grants"),
        })
    }

    /// A server tells them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing has changed then.
    pub(crate) fn set(&self, grants: KVVec<CapAuth>) -> Result {
        if grants.is_empty() {
            return Ok(());
        }
        let new = Arc::new(grants, GFP_KERNEL)?;
        let old = self.grants.lock().replace(new);
        drop(old);
        Ok(())
    }

    /// The grants, if there are any.
    pub(crate) fn get(&self) -> Option<Arc<KVVec<CapAuth>>> {
        self.grants.lock().clone()
    }
}
