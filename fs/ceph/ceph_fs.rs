// SPDX-License-Identifier: GPL-2.0
//! The Ceph file system.
#![forbid(unsafe_code)]

use kernel::prelude::*;

module! {
    type: Ceph,
    name: "ceph",
    authors: ["the ceph-rust authors"],
    description: "Ceph filesystem",
    license: "GPL",
    alias: ["fs-ceph"],
}

struct Ceph;

impl kernel::Module for Ceph {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Ceph)
    }
}
