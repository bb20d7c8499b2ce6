// SPDX-License-Identifier: GPL-2.0
//! Asking for the directory that is mounted.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    fs::InodeRef,
    time, //
};

use ceph_fs_proto::{
    machine::route::RankHints,
    wire::{
        cap_bits::Caps,
        msg::INO_ROOT,
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
};

/// GETATTR of a path from the root of the file system. What the server says is the answer,
/// be it an error or not.
pub(crate) struct Root {
    /// The path, without a slash at its beginning.
    pub(crate) path: KVec<u8>,
}

impl MdsOp for Root {
    type Fs = FsClient;
    type Answer = Result<Option<InodeRef<CephFs>>>;

    const OP: Op = Op::GETATTR;

    fn hints(&self) -> RankHints {
        RankHints::default()
    }

    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a> {
        ClientRequest {
            args: Args::Getattr {
                mask: Caps::STAT_ALL,
            },
            path1: FilePath {
                ino: INO_ROOT,
                path: &self.path,
            },
            ..request
        }
    }

    fn take(
        &self,
        fs: &Arc<FsClient>,
        session: &Arc<Session>,
        reply: &ClientReply<'_>,
    ) -> Result<Self::Answer> {
        // There is no name that a lease could be for.
        let trace = fs.take_trace(session, time::jiffies(), reply)?;
        Ok(reply.error().map_or(Ok(trace.target), Err))
    }

    fn is_answer(_: Error) -> bool {
        true
    }
}
