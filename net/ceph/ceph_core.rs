// SPDX-License-Identifier: GPL-2.0
//! libceph: messenger, authentication, monitor client, OSD client.
#![forbid(unsafe_code)]

use kernel::{prelude::*, sync::Arc};
use kernel_ext::{
    global::Guard,
    workqueue::{Flags, OwnedQueue},
};

pub mod auth;
pub mod client;
pub mod log;
pub mod messenger;
pub mod mon_client;
pub mod options;
pub mod request;

module! {
    type: LibCeph,
    name: "libceph",
    authors: ["the ceph-rust authors"],
    description: "Ceph core library",
    license: "GPL",
}

/// What lives as long as the module.
struct LibCeph {
    _mon_queue: Guard<Arc<OwnedQueue>>,
}

impl kernel::Module for LibCeph {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let mon_queue = OwnedQueue::new(c"ceph-mon", Flags::UNBOUND | Flags::MEM_RECLAIM)?;
        let module = Self {
            _mon_queue: mon_client::QUEUE.set(mon_queue)?,
        };
        pr_info!("loaded (mon/osd proto 15/24)\n");
        Ok(module)
    }
}
