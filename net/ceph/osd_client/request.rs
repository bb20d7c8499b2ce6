// SPDX-License-Identifier: GPL-2.0
//! One request to an object.
//!
//! It has one owner at a time: the tree of one session, or the worker, which moves it from one
//! to another. So nothing of it needs a lock of its own.
use kernel::{prelude::*, rbtree::RBTree, sync::Arc, time::Jiffies};
use kernel_ext::{iov::IovDest, time, wait::Reason};

use ceph_proto::machine::osd_request::Request as Life;
use ceph_proto::machine::osd_target::{ObjectName, Target};
use ceph_proto::wire::osd::{flag, kind, OpResults, OpVec, OsdOp};

use crate::messenger::{Connection, Message, Parts, Reservation};
use crate::request::{Callback, Submission};

/// What to do with which object.
pub struct Spec {
    /// Pool of the object.
    pub pool: i64,
    /// Namespace in the pool; mostly empty.
    pub namespace: KVec<u8>,
    /// Name of the object.
    pub object: ObjectName,
    /// Snapshot, or [`NO_SNAP`](ceph_proto::wire::osd::NO_SNAP).
    pub snap: u64,
    /// What to do, in one go.
    pub ops: OpVec,
    /// Inode number of the file, to tell who waits; 0 if there is none.
    pub ino: u64,
}

/// What became of a request.
pub struct Answer {
    /// What became of each operation. What one has read may be less than was asked for: the
    /// rest of the object is a hole, or there is none. `ENOENT` if there is no object.
    pub result: Result<OpResults>,
    /// The destination that was lent, with what all operations have read, one after the other.
    pub dest: IovDest,
}

/// A request that has no answer yet.
pub(super) struct Pending {
    pub(super) submission: Submission,
    pub(super) life: Life,
    done: Callback<Answer>,
    /// When it was last sent.
    pub(super) sent_at: Jiffies,
    /// What was last sent, over the connection of the session that it is in.
    sent: Option<Arc<Message>>,
    /// None while a connection has it.
    dest: Option<IovDest>,
}

/// Requests by tid.
pub(super) type Requests = RBTree<u64, Pending>;

impl Pending {
    pub(super) fn new(
        tid: u64,
        spec: Spec,
        flags: u32,
        dest: IovDest,
        limit: Option<Jiffies>,
        done: Callback<Answer>,
    ) -> Self {
        let reason = Reason {
            what: spec.ops.first().name(),
            whom: "osd",
            id: tid,
            ino: spec.ino,
        };
        let flags = flags | flag::READ | flag::ONDISK | flag::KNOWN_REDIR;
        let target = Target::new(spec.pool, spec.namespace, spec.object, flags);
        let submission = Submission::new(tid, reason, limit);
        Self {
            sent_at: submission.submitted(),
            submission,
            life: Life::new(target, spec.ops, spec.snap),
            done,
            sent: None,
            dest: Some(dest),
        }
    }

    /// Transaction id.
    pub(super) fn tid(&self) -> u64 {
        self.submission.tid()
    }

    /// Inode number of the file, 0 if there is none.
    pub(super) fn ino(&self) -> u64 {
        self.submission.reason().ino
    }

    /// Whether nobody wants the answer: the task that asked is being killed, or its process
    /// has ended. The latter may still wait for it (for asynchronous reads, late in its
    /// end), but an OSD that is well shall have the time to answer.
    pub(super) fn is_abandoned(&self) -> bool {
        let task = self.submission.submitter();
        task.fatal_signal_pending()
            || task.process_has_ended()
                && time::elapsed(self.submission.submitted()) >= time::secs(1)
    }

    /// Takes its destination back from the connection of its session, and what is still to be
    /// sent of it. Returns false if a callback of the connection has the destination now; that
    /// will put it back, or end the request.
    pub(super) fn recall(&mut self, con: Option<&Arc<Connection>>) -> bool {
        if let (Some(message), Some(con)) = (&self.sent, con) {
            if let Some(dest) = con.revoke(message) {
                self.dest = Some(dest);
            }
        }
        if self.dest.is_some() {
            self.sent = None;
        }
        self.dest.is_some()
    }

    /// A reply has brought the destination back.
    pub(super) fn take_home(&mut self, dest: Option<IovDest>) {
        if dest.is_some() {
            self.dest = dest;
        }
    }

    /// The reply was not the one that is waited for: the destination goes back. Without memory
    /// for that, the request is sent again.
    pub(super) fn wait_on(&mut self, con: &Arc<Connection>) {
        if self.sent.is_none() {
            return;
        }
        let Some(mut dest) = self.dest.take() else {
            return;
        };
        dest.rewind();
        match Reservation::new() {
            Ok(room) => con.repost(self.tid(), kind::OSD_OPREPLY, room, dest),
            Err(_) => {
                self.dest = Some(dest);
                self.life.reset();
            }
        }
    }

    /// Sends it over the connection of its session. Without memory it stays unsent.
    pub(super) fn send(&mut self, con: &Arc<Connection>) {
        // What of an earlier sending is still queued is taken back.
        if !self.recall(Some(con)) {
            return;
        }
        let (Ok(message), Ok(room)) = (self.message(), Reservation::new()) else {
            return;
        };
        let Some(mut dest) = self.dest.take() else {
            return;
        };
        dest.rewind();
        self.life.sent();
        self.sent_at = time::jiffies();
        self.sent = Some(message.clone());
        con.send_expecting(message, kind::OSD_OPREPLY, room, dest);
    }

    /// Makes the message for the current target.
    fn message(&self) -> Result<Arc<Message>> {
        Message::new(Parts {
            kind: kind::OSD_OP,
            tid: self.tid(),
            version: OsdOp::VERSION,
            compat_version: 3,
            front: self.life.encode()?,
            ..Parts::default()
        })
    }

    /// Answers. No lock may be held.
    pub(super) fn complete(self, result: Result<OpResults>) {
        // It is at home whenever a request ends.
        let dest = self.dest;
        let dest = dest.unwrap_or_else(|| IovDest::from_buffer(KVVec::new()));
        self.done.call(Ok(Answer { result, dest }));
    }
}
