// SPDX-License-Identifier: GPL-2.0
//! Questions to the monitors: space, newest epochs, commands.
//!
//! They are kept in a tree by tid until they are answered, and asked again, in the
//! order of their tids, whenever there is a new session. One whose waiter is killed
//! is forgotten; its answer is skipped.
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::Arc,
};
use kernel_ext::wait::Reason;

use ceph_proto::errno;
use ceph_proto::wire::{
    mon::{self, kind, Statfs},
    types::{EntityAddr, Fsid},
};

use super::{Inner, MonClient, FROM_MONITORS};
use crate::messenger::{Incoming, Message, Parts};
use crate::request::{Callback, Request};

/// What a monitor answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Statfs(Statfs),
    Version(u64),
    /// Result of a command: 0 or a negative errno.
    Command(i32),
}

/// A question that is not answered.
#[pin_data]
pub(super) struct Query {
    #[pin]
    pub(super) request: Request<Answer>,
    pub(super) message: Arc<Message>,
}

impl MonClient {
    /// Registers a question and sends it, now or as soon as there is a session.
    /// `front` makes the message's front, given the tid and the cluster.
    fn ask(
        &self,
        what: &'static str,
        message_kind: u16,
        version: u16,
        callback: Option<Callback<Answer>>,
        front: impl FnOnce(u64, &Fsid) -> Result<KVVec<u8>>,
    ) -> Result<Arc<Query>> {
        let tid = self
            .last_tid
            .fetch_add(1, kernel::sync::atomic::Relaxed)
            .wrapping_add(1);
        let fsid = self.fsid().ok_or_else(errno::enotconn)?;
        let reason = Reason {
            what,
            whom: FROM_MONITORS,
            id: tid,
            ..Reason::default()
        };
        let parts = Parts {
            kind: message_kind,
            tid,
            version,
            front: front(tid, &fsid)?,
            ..Parts::default()
        };
        let message = Message::new(parts)?;
        let query = Arc::pin_init(
            pin_init!(Query {
                request <- Request::new(tid, reason, None, callback),
                message,
            }),
            GFP_KERNEL,
        )?;
        let node = RBTreeNode::new(tid, query.clone(), GFP_KERNEL)?;
        let mut inner = self.inner.lock();
        if inner.hunt.is_stopped() {
            return Err(errno::eshutdown());
        }
        inner.queries.insert(node);
        if !inner.hunt.is_hunting() {
            self.con.send(query.message.clone());
        }
        Ok(query)
    }

    /// Waits for the answer; forgets the question if the task is killed.
    fn wait(&self, query: &Query) -> Result<Answer> {
        let answer = query.request.wait(&self.waits);
        if answer.is_ok() {
            // Who answered has taken it out.
            return answer;
        }
        if self
            .inner
            .lock()
            .queries
            .remove(&query.request.tid())
            .is_some()
        {
            self.con.revoke(&query.message);
            query.request.complete(Err(EINTR));
        }
        answer
    }

    /// Space of the cluster, or of what the data pool of a file system can use.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, `ENOTCONN` before the cluster is known,
    /// `ESHUTDOWN`, `ENOMEM`.
    pub fn statfs(&self, pool: Option<u64>) -> Result<Statfs> {
        let query = self.ask("statfs", kind::STATFS, 2, None, |_, fsid| {
            mon::statfs(fsid, pool)
        })?;
        match self.wait(&query)? {
            Answer::Statfs(statfs) => Ok(statfs),
            _ => Err(errno::eproto()),
        }
    }

    /// The newest epoch of "mdsmap", "osdmap" or "monmap".
    ///
    /// # Errors
    ///
    /// As [`statfs`](Self::statfs).
    pub fn get_version(&self, what: &str) -> Result<u64> {
        let query = self.ask(
            "mon_get_version",
            kind::MON_GET_VERSION,
            1,
            None,
            |tid, _| mon::get_version(tid, what),
        )?;
        version(self.wait(&query))
    }

    /// As [`get_version`](Self::get_version), for a callback, which is called from
    /// the connection's work, or with an error by [`stop`](Self::stop). If this
    /// fails, the callback is not called.
    pub fn get_version_async(&self, what: &str, done: Callback<u64>) -> Result {
        let callback = Callback::new(move |answer| done.call(version(answer)))?;
        self.ask(
            "mon_get_version",
            kind::MON_GET_VERSION,
            1,
            Some(callback),
            |tid, _| mon::get_version(tid, what),
        )?;
        Ok(())
    }

    fn command(&self, text: &[u8]) -> Result {
        let query = self.ask("command", kind::MON_COMMAND, 1, None, |_, fsid| {
            mon::command(fsid, text)
        })?;
        match self.wait(&query)? {
            Answer::Command(0) => Ok(()),
            Answer::Command(error @ -4095..=-1) => Err(Error::from_errno(error)),
            _ => Err(errno::eproto()),
        }
    }

    /// Has the OSDs refuse a client, and waits until this client has the OSD map
    /// that says so: the OSDs that it talks to will have it then.
    ///
    /// # Errors
    ///
    /// The monitors' answer, or as [`statfs`](Self::statfs).
    pub fn blocklist_add(&self, addr: &EntityAddr) -> Result {
        let command = |word| self.command(&mon::blocklist_add(word, addr)?);
        match command("blocklist") {
            // Monitors before Pacific know it by its old name.
            Err(error) if error == EINVAL => command("blacklist")?,
            other => other?,
        }
        self.wait_latest_osdmap(None)
    }

    pub(super) fn has_query(&self, tid: u64) -> bool {
        self.inner.lock().queries.get(&tid).is_some()
    }

    /// Asks again everything that was not answered.
    pub(super) fn resend_queries(&self, inner: &Inner) {
        for query in inner.queries.values() {
            self.con.send(query.message.clone());
        }
    }

    pub(super) fn handle_answer(&self, msg: &Incoming) -> Result {
        let tid = msg.header.tid;
        let answer = match msg.header.kind {
            kind::STATFS_REPLY => Statfs::decode(&msg.front).map(|s| (tid, Answer::Statfs(s))),
            kind::MON_COMMAND_ACK => {
                mon::command_ack(&msg.front).map(|result| (tid, Answer::Command(result)))
            }
            // Old monitors leave the tid of the message empty.
            _ => mon::get_version_reply(&msg.front).and_then(|(handle, epoch)| {
                match tid == 0 || tid == handle {
                    true => Ok((handle, Answer::Version(epoch))),
                    false => Err(errno::ebadmsg()),
                }
            }),
        };
        let (tid, answer) = answer?;
        let query = self.inner.lock().queries.remove(&tid);
        if let Some(query) = query {
            query.request.complete(Ok(answer));
        }
        Ok(())
    }

    /// Nobody will answer.
    pub(crate) fn fail_queries(&self, error: Error) {
        let queries = core::mem::replace(&mut self.inner.lock().queries, RBTree::new());
        for query in queries.values() {
            query.request.complete(Err(error));
        }
    }
}

fn version(answer: Result<Answer>) -> Result<u64> {
    match answer? {
        Answer::Version(epoch) => Ok(epoch),
        _ => Err(errno::eproto()),
    }
}
