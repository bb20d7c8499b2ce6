// SPDX-License-Identifier: GPL-2.0
//! The Ceph file system.
#![forbid(unsafe_code)]

use kernel::prelude::*;
use kernel_ext::module_params;

module! {
    type: Ceph,
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

mod mds_client;

struct Ceph;

impl kernel::Module for Ceph {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Ceph)
    }
}
