// SPDX-License-Identifier: GPL-2.0
//! What a reply of a metadata server leaves for the task that asked: the trace, which
//! names the inodes, and for how long the names may be trusted.
use kernel::prelude::*;
use kernel_ext::fs::InodeRef;

use ceph_fs_proto::{
    machine::listing::Part,
    wire::frag::Frag, //
};

use crate::{
    dir::lease::{
        LeaseGrant,
        LeaseOrigin, //
    },
    fs_type::CephFs, //
};

/// What a reply leaves for the task that asked.
#[derive(Default)]
pub(crate) struct Trace {
    /// For how long the name may be trusted.
    pub(crate) name: Option<(LeaseOrigin, Option<LeaseGrant>)>,
    /// The inode; none if the name does not exist.
    pub(crate) target: Option<InodeRef<CephFs>>,
}

/// Entries of one fragment of a directory.
pub(crate) struct Listed {
    /// The fragment; not always the one that was asked for, if the directory was
    /// split or merged.
    pub(crate) frag: Frag,
    /// Whether the fragment's end was reached.
    pub(crate) is_end: bool,
    /// The directory's count of dropped names, before these.
    pub(crate) release_count: u64,
    /// What the names have in common.
    pub(crate) origin: LeaseOrigin,
    /// The entries.
    pub(crate) part: Part,
    /// What is to be put into the dentry cache for each of them.
    pub(crate) inodes: KVVec<ListedInode>,
}

/// What a name of a listing leads to.
pub(crate) struct ListedInode {
    /// The inode.
    pub(crate) inode: InodeRef<CephFs>,
    /// Whether it was in memory before, so that the name may be too.
    pub(crate) is_known: bool,
    /// For how long the name may be trusted.
    pub(crate) grant: Option<LeaseGrant>,
}
