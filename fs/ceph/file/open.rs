// SPDX-License-Identifier: GPL-2.0
//! Opening and closing: what servers are told to be wanted.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::Inode;

use ceph_fs_proto::{
    machine::{
        access::Access,
        refs::Mode,
        route::RankHints, //
    },
    wire::{
        cap_bits::Caps,
        reply::ClientReply,
        request::{
            Args,
            ClientRequest,
            FilePath,
            Op, //
        },
    },
};

use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    mds_client::op::MdsOp,
    request_target::RequestTarget,
};

/// OPEN of an inode for reading.
struct Open {
    target: RequestTarget,
}

impl MdsOp for Open {
    type Fs = FsClient;
    type Answer = ();

    const OP: Op = Op::OPEN;

    fn hints(&self) -> RankHints {
        self.target.hints()
    }

    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a> {
        ClientRequest {
            args: Args::Open {
                flags: 0,
                mode: 0,
                pool: u32::MAX,
                mask: Caps::NONE,
            },
            path1: FilePath {
                ino: self.target.ino(),
                path: &[],
            },
            ..request
        }
    }

    fn take(&self, fs: &Arc<FsClient>, session: &Arc<Session>, reply: &ClientReply<'_>) -> Result {
        fs.take_trace(session, self.target.started, reply).map(drop)
    }
}

impl FsClient {
    /// Tells a server that the file is open for reading, by OPEN, which always
    /// brings a capability.
    pub(crate) fn renew_open(&self, inode: &Inode<CephFs>) -> Result {
        self.ask(Open {
            target: RequestTarget::new(inode),
        })
    }

    /// Opens a file or directory. Asks a server only if it does not know that the
    /// inode is used that way. To be matched by [`Self::closed`].
    pub(crate) fn open(&self, inode: &Inode<CephFs>, mode: Mode) -> Result {
        let info = inode.data();
        info.touch();
        let allowed = self.check_access(inode, Access::READ)?;
        if !allowed && inode.key().is_head() {
            // The server checks it.
            self.renew_open(inode)?;
        }
        if !inode.key().is_head() || inode.is_dir() || mode == Mode::Pin {
            info.opened(mode);
            return Ok(());
        }
        let known = {
            let mut state = info.state();
            state.caps.open(mode);
            let wanted = mode.caps().without(Caps::PIN);
            let known = state.caps.known_wanted() | state.caps.issued();
            known.contains(wanted)
        };
        if known {
            // One that has the bits but does not know that they are wanted is told.
            self.check_caps(inode, false);
            return Ok(());
        }
        let opened = self.renew_open(inode);
        if opened.is_err() {
            self.closed(inode, mode);
        }
        opened
    }

    /// A file was closed.
    pub(crate) fn closed(&self, inode: &Inode<CephFs>, mode: Mode) {
        let last = inode.data().state().caps.close(mode);
        if last && inode.key().is_head() {
            self.delayed.add_closed(inode.key().ino);
        }
    }
}
