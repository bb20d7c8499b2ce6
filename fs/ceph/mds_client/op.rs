// SPDX-License-Identifier: GPL-2.0
//! What a metadata server can be asked for: each operation is a type of its own, in the room
//! that uses it, and takes its replies by itself.
use kernel::{
    prelude::*,
    sync::Arc, //
};

use ceph_fs_proto::{
    machine::route::RankHints,
    wire::{
        reply::ClientReply,
        request::{
            ClientRequest,
            Op, //
        },
    },
};

use super::events::{
    MdsEvents,
    SessionOf, //
};

/// Who asks.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// File system user id, in the initial name space.
    pub uid: u32,
    /// File system group id, in the initial name space.
    pub gid: u32,
    /// Supplementary groups.
    pub gids: KVec<u32>,
}

/// One operation of a metadata server, with what it is about.
pub(crate) trait MdsOp: Send + Sync + Sized + 'static {
    /// The file system that it belongs to.
    type Fs: MdsEvents;
    /// What a reply leaves for the task that asked.
    type Answer: Send + Unpin;

    /// Its number.
    const OP: Op;

    /// Says what is known of who serves it. Called with the MDS client's state locked: it
    /// must not sleep nor call back.
    fn hints(&self) -> RankHints;

    /// Completes what the message says: arguments, paths, flags. Called again each time that
    /// it is sent.
    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a>;

    /// Takes in a reply, be it an error or not: snap realms, inodes, capabilities. It never
    /// touches the dentry cache: that is for the task that asked. Called from the work of the
    /// session's connection, in the order of the server's messages, with no lock held.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, which the caller is given. Any other error means that the reply makes no
    /// sense: the caller is given `EIO`.
    fn take(
        &self,
        fs: &Arc<Self::Fs>,
        session: &Arc<SessionOf<Self::Fs>>,
        reply: &ClientReply<'_>,
    ) -> Result<Self::Answer>;

    /// Whether an error that a server gives is an answer for the caller, as success is, and
    /// not an error of the call.
    fn is_answer(_error: Error) -> bool {
        false
    }

    /// The task that asked was killed while a server may be doing what it was asked for. The
    /// reply is [taken](Self::take) nevertheless.
    fn aborted(&self) {}
}
