// SPDX-License-Identifier: GPL-2.0
//! A request to a metadata server, in the table from its making to the last reply.
//!
//! Where it is in its life is known by the pure
//! [`machine::request`](ceph_fs_proto::machine::request).
use core::fmt;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
    time::Jiffies,
};
use kernel_ext::{
    time,
    wait::{
        Reason,
        WaitTable, //
    },
};

use ceph_core::{
    messenger::Message,
    request::Request as Core, //
};
use ceph_fs_proto::{
    machine::{
        request::{
            self as machine,
            Counts,
            RequestState, //
        },
        route::RankHints,
    },
    wire::{
        reply::ClientReply,
        request::{
            ClientRequest,
            FilePath,
            Op, //
        },
        session::Features,
    },
};
use ceph_proto::wire::types::Timespec;

use super::{
    events::{
        MdsEvents,
        SessionOf, //
    },
    op::{
        Caller,
        MdsOp, //
    },
    reason::FROM_MDS,
};

/// What a message says beside the operation.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// The oldest request that is not over.
    pub(super) oldest: u64,
    /// Epoch of the map.
    pub(super) epoch: u32,
    /// Retries and forwards.
    pub(super) counts: Counts,
    /// A server is to do it once more.
    pub(super) is_replay: bool,
}

/// Where a request is.
pub(crate) struct Progress {
    pub(super) life: machine::Request,
    /// The message, while it may have to be taken back.
    pub(super) msg: Option<Arc<Message>>,
}

/// A request, whatever it asks for.
pub(crate) trait Pending<F: MdsEvents>: Send + Sync {
    /// Transaction id.
    fn tid(&self) -> u64;

    /// Operation.
    fn op(&self) -> Op;

    /// What it is about: the first path of the message.
    fn path(&self) -> FilePath<'_>;

    /// Leaf lock: nothing is called with it held.
    fn progress(&self) -> &SpinLock<Progress>;

    /// See [`MdsOp::hints`].
    fn hints(&self) -> RankHints;

    /// Version and front of the message.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `E2BIG` if a path is longer than a message.
    fn encode(&self, head: Head, features: Features) -> Result<(u16, KVVec<u8>)>;

    /// Takes in a reply, calls `forget`, and answers.
    ///
    /// # Errors
    ///
    /// Those of [`MdsOp::take`] but `ENOMEM`: the message makes no sense.
    fn take(
        &self,
        fs: &Arc<F>,
        session: &Arc<SessionOf<F>>,
        reply: &ClientReply<'_>,
        forget: &mut dyn FnMut(),
    ) -> Result;

    /// Answers with an error, if it was not answered.
    fn fail(&self, error: Error);

    /// See [`Core::wait_until_answered`].
    fn wait(&self, waits: &WaitTable) -> Result;

    /// See [`MdsOp::aborted`].
    fn aborted(&self);
}

/// A request for `O`.
#[pin_data]
pub(crate) struct Request<O: MdsOp> {
    op: O,
    caller: Caller,
    /// When it was made.
    stamp: Timespec,
    #[pin]
    progress: SpinLock<Progress>,
    #[pin]
    core: Core<O::Answer>,
}

/// What is encoded when all of it is known but what the operation says.
fn blank<'a>(op: Op, caller: &'a Caller, stamp: Timespec, head: Head) -> ClientRequest<'a> {
    ClientRequest {
        oldest_client_tid: head.oldest,
        mdsmap_epoch: head.epoch,
        flags: match head.is_replay {
            true => ClientRequest::REPLAY,
            false => 0,
        },
        num_retry: head.counts.num_retry,
        num_fwd: head.counts.num_fwd,
        op,
        caller_uid: caller.uid,
        caller_gid: caller.gid,
        gids: &caller.gids,
        stamp,
        ..ClientRequest::default()
    }
}

impl<O: MdsOp> Request<O> {
    /// A request of the current task that may take `limit` jiffies; `None` for as long as it
    /// needs.
    pub(super) fn new(
        tid: u64,
        op: O,
        caller: Caller,
        limit: Option<Jiffies>,
    ) -> Result<Arc<Self>> {
        let (sec, nsec) = time::real_timespec();
        let reason = Reason {
            what: O::OP.name(),
            whom: FROM_MDS,
            id: tid,
            ino: op.encode(ClientRequest::default()).path1.ino,
        };
        Arc::pin_init(
            pin_init!(Self {
                op,
                caller,
                // The wire has 32 bits for seconds.
                stamp: Timespec { sec: sec as u32, nsec },
                progress <- new_spinlock!(
                    Progress {
                        life: machine::Request::new(),
                        msg: None,
                    },
                    "ceph::Request::progress"
                ),
                core <- Core::new(tid, reason, limit, None),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes the answer; see [`Core::take`].
    pub(super) fn answer(&self) -> Result<O::Answer> {
        self.core.take()
    }
}

impl<O: MdsOp> Pending<O::Fs> for Request<O> {
    fn tid(&self) -> u64 {
        self.core.tid()
    }

    fn op(&self) -> Op {
        O::OP
    }

    fn path(&self) -> FilePath<'_> {
        self.op.encode(ClientRequest::default()).path1
    }

    fn progress(&self) -> &SpinLock<Progress> {
        &self.progress
    }

    fn hints(&self) -> RankHints {
        self.op.hints()
    }

    fn encode(&self, head: Head, features: Features) -> Result<(u16, KVVec<u8>)> {
        let blank = blank(O::OP, &self.caller, self.stamp, head);
        self.op.encode(blank).encode(features)
    }

    fn take(
        &self,
        fs: &Arc<O::Fs>,
        session: &Arc<SessionOf<O::Fs>>,
        reply: &ClientReply<'_>,
        forget: &mut dyn FnMut(),
    ) -> Result {
        let (answer, taken) = match self.op.take(fs, session, reply) {
            Ok(answer) => match reply.error().filter(|e| !O::is_answer(*e)) {
                Some(e) => (Err(e), Ok(())),
                None => (Ok(answer), Ok(())),
            },
            // Whoever asked may try again; the message is dealt with.
            Err(e) if e == ENOMEM => (Err(e), Ok(())),
            Err(e) => (Err(EIO), Err(e)),
        };
        forget();
        self.core.complete(answer);
        taken
    }

    fn fail(&self, error: Error) {
        self.core.complete(Err(error));
    }

    fn wait(&self, waits: &WaitTable) -> Result {
        self.core.wait_until_answered(waits)
    }

    fn aborted(&self) {
        self.op.aborted();
    }
}

impl<F: MdsEvents> dyn Pending<F> {
    /// What it waits for, to be printed.
    pub(crate) fn waits_for(&self) -> WaitsFor {
        let progress = self.progress().lock();
        WaitsFor {
            state: progress.life.state(),
            attempts: progress.life.attempts(),
            tid: self.tid(),
        }
    }
}

/// What a request waits for.
pub(crate) struct WaitsFor {
    state: RequestState,
    attempts: u32,
    tid: u64,
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            RequestState::WaitsForMap => f.write_str("an mdsmap with an active mds")?,
            RequestState::WaitsForSession(rank) => write!(f, "a session with mds{rank}")?,
            RequestState::Sending(rank) | RequestState::Sent(rank) | RequestState::Unsafe(rank) => {
                write!(f, "mds{rank}")?
            }
            // It is answered, and the task has yet to run.
            RequestState::Over => f.write_str("cpu")?,
        }
        write!(f, " (tid {}, sent {}x)", self.tid, self.attempts)
    }
}
