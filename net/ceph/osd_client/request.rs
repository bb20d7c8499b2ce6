// SPDX-License-Identifier: GPL-2.0
//! One request to an object.
use kernel::{new_mutex, prelude::*, sync::Arc, sync::Mutex, time::Jiffies};
use kernel_ext::{
    iov::IovDest,
    task::Comm,
    time,
    wait::{Reason, WaitTable},
};

use ceph_proto::machine::osd_target::{ObjectName, Target};
use ceph_proto::wire::osd::{flag, Op, OsdOp};
use ceph_proto::wire::types::Timespec;

use crate::messenger::{Connection, Message, Parts};
use crate::request::{Callback, Request};

/// What to read.
pub struct ReadOp {
    /// Pool of the object.
    pub pool: i64,
    /// Namespace in the pool; mostly empty.
    pub namespace: KVec<u8>,
    /// Name of the object.
    pub object: ObjectName,
    /// First byte in the object.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Snapshot, or [`NO_SNAP`](ceph_proto::wire::osd::NO_SNAP).
    pub snap: u64,
    /// How many times the file was truncated.
    pub truncate_seq: u32,
    /// Where in the object it was.
    pub truncate_size: u64,
    /// Inode number of the file, to tell who waits; 0 if there is none.
    pub ino: u64,
}

/// What became of a request.
pub struct Answer {
    /// Bytes read, which may be fewer than asked for: the rest of the object is a
    /// hole, or there is none. `ENOENT` if there is no object.
    pub result: Result<usize>,
    /// The destination that was lent, filled with as many bytes.
    pub dest: IovDest,
}

/// A request to an object.
///
/// It is in the tree of one session (or of the requests without an OSD) until it is
/// answered. Lock order: a session's state, then this one's.
#[pin_data]
pub struct OsdRequest {
    #[pin]
    pub(super) core: Request<Answer>,
    op: Op,
    snap: u64,
    #[pin]
    pub(super) state: Mutex<State>,
}

/// The changing part of an [`OsdRequest`].
pub(super) struct State {
    pub(super) target: Target,
    /// How many times it was sent.
    pub(super) attempts: u32,
    /// When it was last sent.
    pub(super) sent_at: Jiffies,
    /// What was last sent, and on which connection.
    pub(super) sent: Option<(Arc<Message>, Arc<Connection>)>,
    /// None while it is lent to a connection.
    pub(super) dest: Option<IovDest>,
    /// It shall end with this error.
    pub(super) failed: Option<Error>,
    /// If a map of this epoch does not have the pool, it does not exist.
    pub(super) gone_since: u32,
    /// The monitors were asked for the newest epoch.
    pub(super) asked: bool,
    /// They could not be asked, for want of memory.
    pub(super) ask_again: bool,
}

impl OsdRequest {
    pub(super) fn new(
        tid: u64,
        read: ReadOp,
        flags: u32,
        dest: IovDest,
        limit: Option<Jiffies>,
        done: Option<Callback<Answer>>,
    ) -> Result<Arc<Self>> {
        let reason = Reason {
            what: "read",
            whom: "osd",
            id: tid,
            ino: read.ino,
        };
        let flags = flags | flag::READ | flag::ONDISK | flag::KNOWN_REDIR;
        let state = State {
            target: Target::new(read.pool, read.namespace, read.object, flags),
            attempts: 0,
            sent_at: time::jiffies(),
            sent: None,
            dest: Some(dest),
            failed: None,
            gone_since: 0,
            asked: false,
            ask_again: false,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                core <- Request::new(tid, reason, limit, done),
                op: Op::Read {
                    offset: read.offset,
                    length: read.length,
                    truncate_size: read.truncate_size,
                    truncate_seq: read.truncate_seq,
                },
                snap: read.snap,
                state <- new_mutex!(state, "ceph::OsdRequest::state"),
            }),
            GFP_KERNEL,
        )
    }

    /// Transaction id.
    pub fn tid(&self) -> u64 {
        self.core.tid()
    }

    /// Inode number of the file, 0 if there is none.
    pub(super) fn ino(&self) -> u64 {
        self.core.reason().ino
    }

    /// Whether nobody wants the answer: the task that asked is being killed, or its process
    /// has ended. The latter may still wait for it (for asynchronous reads, late in its
    /// end), but an OSD that is well shall have the time to answer.
    pub(super) fn is_abandoned(&self) -> bool {
        let task = self.core.submitter();
        task.fatal_signal_pending()
            || task.process_has_ended() && time::elapsed(self.core.submitted()) >= time::secs(1)
    }

    /// Waits for the answer of a request without a callback.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, `ETIMEDOUT` after `osd_request_timeout`: then
    /// [`OsdClient::cancel`](super::OsdClient::cancel) the request.
    pub fn wait(&self, waits: &WaitTable) -> Result<Answer> {
        self.core.wait(waits)
    }

    /// Answers. No lock may be held.
    pub(super) fn complete(&self, result: Result<usize>) {
        let dest = {
            let mut state = self.state.lock();
            state.sent = None;
            state.dest.take()
        };
        // It is at home whenever a request ends; see `OsdClient::recall`.
        let dest = dest.unwrap_or_else(|| IovDest::from_buffer(KVVec::new()));
        self.core.complete(Ok(Answer { result, dest }));
    }

    /// The command of the task that asked.
    pub(super) fn comm(&self) -> Comm {
        self.core.submitter().comm()
    }

    /// The operation, for debugfs.
    pub(super) fn op(&self) -> &Op {
        &self.op
    }

    /// Makes the message for the current target.
    pub(super) fn message(&self, state: &State) -> Result<Arc<Message>> {
        let target = &state.target;
        let retry = if state.attempts > 0 { flag::RETRY } else { 0 };
        let front = OsdOp {
            spg: target.spg,
            hash: target.hash.seed,
            epoch: target.epoch,
            flags: target.flags | retry,
            mtime: Timespec::default(),
            pool: target.pool,
            namespace: target.namespace(),
            object: target.object(),
            ops: &[self.op],
            snap: self.snap,
            attempts: state.attempts,
        }
        .encode()?;
        Message::new(Parts {
            kind: ceph_proto::wire::osd::kind::OSD_OP,
            tid: self.tid(),
            version: OsdOp::VERSION,
            compat_version: 3,
            front,
            ..Parts::default()
        })
    }
}
