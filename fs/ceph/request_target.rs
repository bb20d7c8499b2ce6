// SPDX-License-Identifier: GPL-2.0
//! What a request is about, and what that says of the rank that serves it.
use kernel::time::Jiffies;
use kernel_ext::{
    fs::{
        Inode,
        InodeRef, //
    },
    time, //
};

use ceph_fs_proto::{
    machine::{
        caps::Issuer,
        route::RankHints, //
    },
    wire::frag::Frag, //
};

use crate::{
    fs_type::CephFs,
    inode::info::State, //
};

/// What a request is about.
pub(crate) struct RequestTarget {
    /// The inode, or the directory of the name.
    pub(crate) inode: InodeRef<CephFs>,
    /// When it was asked, from which leases count.
    pub(crate) started: Jiffies,
}

impl RequestTarget {
    /// About an inode, now.
    pub(crate) fn new(inode: &Inode<CephFs>) -> Self {
        Self {
            inode: inode.get(),
            started: time::jiffies(),
        }
    }

    /// Number of the inode.
    pub(crate) fn ino(&self) -> u64 {
        self.inode.key().ino
    }

    /// Who serves it: the rank that issued the capability.
    pub(crate) fn hints(&self) -> RankHints {
        self.hints_of(|_| None)
    }

    /// Who serves a fragment of the directory.
    pub(crate) fn hints_of_frag(&self, frag: Frag) -> RankHints {
        self.hints_of(|state| state.frag_auths.rank_of(frag))
    }

    /// Who serves a name in the directory. Few fragments have a rank of their own, so the
    /// name is not hashed before there is one.
    pub(crate) fn hints_of_name(&self, name: &[u8]) -> RankHints {
        self.hints_of(|state| {
            if state.frag_auths.is_empty() {
                return None;
            }
            let frag = state.frag_tree.choose(state.dir_hash.hash(name));
            state.frag_auths.rank_of(frag)
        })
    }

    fn hints_of(&self, frag_auth: impl FnOnce(&State) -> Option<u32>) -> RankHints {
        let info = self.inode.data();
        let state = info.state();
        let cap = state.caps.auth().or_else(|| state.caps.caps().next());
        RankHints {
            resend: None,
            frag_auth: frag_auth(&state),
            issuer: cap.map(|cap| cap.issuer().rank()),
        }
    }
}
