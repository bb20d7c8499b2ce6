// SPDX-License-Identifier: GPL-2.0
//! libceph: messenger, authentication, monitor client, OSD client.
#![forbid(unsafe_code)]

use kernel::{prelude::*, sync::Arc};
use kernel_ext::{
    debugfs::Dir,
    global::Guard,
    module_params,
    workqueue::{module_with_queues, Flags, OwnedQueue, OwnsQueues, Queues},
};

pub mod auth;
pub mod client;
mod debugfs;
pub mod events;
mod keyring;
pub mod log;
pub mod messenger;
pub mod mon_client;
pub mod options;
pub mod osd_client;
pub mod request;

use keyring::Keyring;

module! {
    type: LibCephModule,
    name: "libceph",
    authors: ["the ceph-rust authors"],
    description: "Ceph core library",
    license: "GPL",
}

module_params! {
    text supported_features = show_features, 0o444, "Features that this client knows";
}

fn show_features(out: &mut dyn kernel::fmt::Write) -> kernel::fmt::Result {
    write!(out, "{:#x}", messenger::FEATURES_SUPPORTED)
}

module_with_queues! { struct LibCephModule(LibCeph); }

/// What lives as long as the module; dropped in this order.
struct LibCeph {
    _keyring: Keyring,
    _msgr_queue: Guard<Arc<OwnedQueue>>,
    _mon_queue: Guard<Arc<OwnedQueue>>,
    _osd_queue: Guard<Arc<OwnedQueue>>,
    _debugfs: Guard<Dir>,
}

impl OwnsQueues for LibCeph {
    fn init(_module: &'static ThisModule, queues: Queues) -> Result<Self> {
        let mon_queue = OwnedQueue::new(queues, c"ceph-mon", Flags::UNBOUND | Flags::MEM_RECLAIM)?;
        let msgr_queue = OwnedQueue::new(queues, c"ceph-msgr", Flags::PERCPU | Flags::MEM_RECLAIM)?;
        let osd_queue = OwnedQueue::new(queues, c"ceph-osd", Flags::UNBOUND | Flags::MEM_RECLAIM)?;
        let module = Self {
            _debugfs: debugfs::ROOT.set(Dir::root(c"ceph"))?,
            _msgr_queue: messenger::QUEUE.set(msgr_queue)?,
            _mon_queue: mon_client::QUEUE.set(mon_queue)?,
            _osd_queue: osd_client::QUEUE.set(osd_queue)?,
            _keyring: Keyring::new()?,
        };
        pr_info!("loaded (mon/osd proto 15/24)\n");
        Ok(module)
    }
}

impl Drop for LibCeph {
    fn drop(&mut self) {
        // All clients have stopped, but the last items of their connections may still
        // run, and refer to the queues: none of them may be the last to do so, as a
        // queue cannot be destroyed by an item of its own.
        let queues = [
            messenger::QUEUE.get(),
            osd_client::QUEUE.get(),
            mon_client::QUEUE.get(),
        ];
        // Items of one may hold what those of another drop.
        for _ in 0..queues.len() {
            for queue in queues.iter().flatten() {
                queue.flush();
            }
        }
    }
}
