// SPDX-License-Identifier: GPL-2.0
//! The Ceph file system.
#![forbid(unsafe_code)]

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    fs::Registration,
    global::Guard,
    module_params,
    workqueue::{
        module_with_queues,
        Flags,
        OwnedQueue,
        OwnsQueues,
        Queues, //
    },
};

use crate::{
    fs_type::CephFs,
    queue::QUEUE, //
};

module! {
    type: CephModule,
    name: "ceph",
    authors: ["the ceph-rust authors"],
    description: "Ceph filesystem",
    license: "GPL",
    alias: ["fs-ceph"],
}

module_params! {
    /// What mount.ceph looks at: the old syntax of the source is understood.
    bool mount_syntax_v1 = true, 0o444, "the old mount syntax is supported";
    /// What mount.ceph looks at: the new syntax of the source is understood.
    bool mount_syntax_v2 = true, 0o444, "the new mount syntax is supported";
    /// Whether the MDS gets no performance metrics.
    bool disable_send_metrics = false, 0o644, "send no performance metrics to the cluster (default: off)";
    /// Whether idmapped mounts work with an MDS that knows nothing of them.
    bool enable_unsafe_idmap = false, 0o644, "allow idmapped mounts with MDSs that do not support them (default: off)";
}

mod caps;
mod context;
mod debugfs;
mod dir;
mod file;
mod fs_client;
mod fs_type;
mod grants;
mod health;
mod inode;
mod inode_types;
mod mds_client;
mod mds_events;
mod queue;
mod quota;
mod recovery;
mod request_target;
mod root;
mod snap;
#[path = "super.rs"]
mod super_block;
mod take_trace;
mod text;
mod trace;
mod waiting;

module_with_queues! { struct CephModule(Ceph); }

/// What lives as long as the module; dropped in this order.
struct Ceph {
    _registration: Registration<CephFs>,
    _queue: Guard<Arc<OwnedQueue>>,
}

impl OwnsQueues for Ceph {
    fn init(module: &'static ThisModule, queues: Queues) -> Result<Self> {
        let queue = QUEUE.set(OwnedQueue::new(queues, c"ceph-mds", Flags::UNBOUND)?)?;
        let module = Self {
            _registration: Registration::new(module)?,
            _queue: queue,
        };
        pr_info!("loaded (mds proto 32)\n");
        Ok(module)
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        // What a mount left behind holds the queue: none of it may be the last to do
        // so, as the queue cannot be destroyed by an item of its own.
        if let Some(queue) = QUEUE.get() {
            queue.flush();
        }
    }
}
