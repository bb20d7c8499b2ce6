// SPDX-License-Identifier: GPL-2.0
//! Asking servers for attributes.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::Inode;

use ceph_fs_proto::{
    machine::route::RankHints,
    wire::{
        cap_bits::Caps,
        msg::Vino,
        reply::ClientReply,
        request::{
            Args,
            ClientRequest,
            FilePath,
            Op, //
        },
    },
};

use super::attrs::owned;
use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    mds_client::op::MdsOp,
    request_target::RequestTarget,
};

/// GETATTR of an inode.
struct Getattr {
    target: RequestTarget,
    mask: Caps,
}

impl MdsOp for Getattr {
    type Fs = FsClient;
    type Answer = ();

    const OP: Op = Op::GETATTR;

    fn hints(&self) -> RankHints {
        self.target.hints()
    }

    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a> {
        ClientRequest {
            args: Args::Getattr { mask: self.mask },
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

/// GETATTR, for the content that is kept with an inode.
struct InlineData(Getattr);

impl MdsOp for InlineData {
    type Fs = FsClient;
    type Answer = KVec<u8>;

    const OP: Op = Op::GETATTR;

    fn hints(&self) -> RankHints {
        self.0.hints()
    }

    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a> {
        self.0.encode(request)
    }

    fn take(
        &self,
        fs: &Arc<FsClient>,
        session: &Arc<Session>,
        reply: &ClientReply<'_>,
    ) -> Result<KVec<u8>> {
        self.0.take(fs, session, reply)?;
        owned(
            reply
                .target
                .as_ref()
                .map_or(&[], |inode| inode.inline_data()),
        )
    }
}

impl FsClient {
    /// Makes sure that the attributes that the mask vouches for are known; asks only
    /// if they are not.
    pub(crate) fn getattr(&self, inode: &Inode<CephFs>, mask: Caps) -> Result {
        let info = inode.data();
        info.touch();
        if mask.is_empty() || info.has_caps(mask) {
            return Ok(());
        }
        self.getattr_always(inode, mask)
    }

    /// Asks for the attributes that the mask vouches for.
    pub(crate) fn getattr_always(&self, inode: &Inode<CephFs>, mask: Caps) -> Result {
        if !inode.key().is_head() {
            // An inode in a snapshot does not change.
            return Ok(());
        }
        self.ask(Getattr {
            target: RequestTarget::new(inode),
            mask,
        })
    }

    /// Asks for the content that is kept with an inode. None if the file has objects now.
    pub(crate) fn inline_data(&self, ino: u64) -> Result<Option<KVec<u8>>> {
        // Who asks has it in use, or else its eviction waits for the answer: then that must
        // not be waited for.
        let sb = self.super_block().ok_or(EIO)?;
        let inode = sb.find_inode_now(&Vino::head(ino)).ok_or(EIO)?;
        let content = self.ask(InlineData(Getattr {
            target: RequestTarget::new(&inode),
            mask: Caps::STAT_INLINE_DATA,
        }))?;
        Ok(inode.data().has_inline_data().then_some(content))
    }
}
