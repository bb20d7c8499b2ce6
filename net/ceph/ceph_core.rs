// SPDX-License-Identifier: GPL-2.0
//! libceph: messenger, authentication, monitor client, OSD client.
#![forbid(unsafe_code)]

use kernel::prelude::*;

pub mod messenger;

module! {
    type: LibCeph,
    name: "libceph",
    authors: ["the ceph-rust authors"],
    description: "Ceph core library",
    license: "GPL",
}

struct LibCeph;

impl kernel::Module for LibCeph {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(LibCeph)
    }
}
