// SPDX-License-Identifier: GPL-2.0
//! Requests to the monitors: space, newest epochs, commands.
//!
//! Each is a [`GenericRequest`], counted and kept in a tree by tid until it is answered, and
//! sent again, in the order of the tids, whenever there is a new session. One whose waiter
//! is killed is forgotten; its answer is passed over.
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{atomic::Relaxed, Arc},
};
use kernel_ext::wait::Reason;

use ceph_proto::errno;
use ceph_proto::wire::{
    mon::kind,
    mon_request::{
        blocklist_add, get_version_handle, Command, GetVersion, MonRequest, Statfs, StatfsRequest,
    },
    types::{EntityAddr, Fsid},
};

use super::{
    client::{Inner, MonClient, FROM_MONITORS},
    generic_request::{GenericRequest, Pending},
};
use crate::messenger::{Incoming, Message, Parts};
use crate::request::{Callback, Request};

impl MonClient {
    /// A number for a request, and the cluster that it is for.
    fn number(&self) -> Result<(u64, Fsid)> {
        let tid = self.last_tid.fetch_add(1, Relaxed).wrapping_add(1);
        let map = self.map.lock();
        match map.epoch {
            0 => Err(errno::enotconn()),
            _ => Ok((tid, map.fsid)),
        }
    }

    /// Puts a request into the tree and sends it. The same code for all kinds of them.
    fn register(&self, tid: u64, request: Arc<dyn Pending>) -> Result {
        let message = request.message().clone();
        let node = RBTreeNode::new(tid, request, GFP_KERNEL)?;
        let mut inner = self.inner.lock();
        if inner.hunt.is_stopped() {
            return Err(errno::eshutdown());
        }
        inner.requests.insert(node);
        let hunting = inner.hunt.is_hunting();
        drop(inner);
        // A session that begins meanwhile sends it, too. It is answered once.
        if !hunting {
            self.con.send(message);
        }
        Ok(())
    }

    /// Takes back a request whose waiter is killed. Returns whether it was not answered.
    fn forget(&self, tid: u64, message: &Arc<Message>) -> bool {
        let is_there = self.inner.lock().requests.remove(&tid).is_some();
        if is_there {
            self.con.revoke(message);
        }
        is_there
    }

    /// Registers a request and sends it, now or as soon as there is a session.
    fn submit<R: MonRequest>(
        &self,
        what: &R,
        callback: Option<Callback<R::Reply>>,
    ) -> Result<Arc<GenericRequest<R>>> {
        let (tid, fsid) = self.number()?;
        let message = Message::new(Parts {
            kind: R::KIND,
            tid,
            version: R::VERSION,
            front: what.encode(tid, &fsid)?,
            ..Parts::default()
        })?;
        let reason = Reason {
            what: R::NAME,
            whom: FROM_MONITORS,
            id: tid,
            ..Reason::default()
        };
        let request = Arc::pin_init(
            pin_init!(GenericRequest {
                request <- Request::new(tid, reason, None, callback),
                message,
            }),
            GFP_KERNEL,
        )?;
        self.register(tid, request.clone())?;
        Ok(request)
    }

    /// Waits for the answer; forgets the request if the task is killed.
    fn wait<R: MonRequest>(&self, request: &GenericRequest<R>) -> Result<R::Reply> {
        let answer = request.request.wait(&self.waits);
        if answer.is_ok() {
            // Who answered has taken it out.
            return answer;
        }
        if self.forget(request.request.tid(), &request.message) {
            request.request.complete(Err(EINTR));
        }
        answer
    }

    /// Space of the cluster, or of what the data pool of a file system can use.
    ///
    /// # Errors
    ///
    /// `EINTR` when the task is being killed, `ENOTCONN` before the cluster is known,
    /// `ESHUTDOWN`, `EIO` if the answer cannot be read, `ENOMEM`.
    pub fn statfs(&self, pool: Option<u64>) -> Result<Statfs> {
        self.wait(&*self.submit(&StatfsRequest { pool }, None)?)
    }

    /// The newest epoch of "mdsmap", "osdmap" or "monmap".
    ///
    /// # Errors
    ///
    /// As [`statfs`](Self::statfs).
    pub fn get_version(&self, what: &'static str) -> Result<u64> {
        self.wait(&*self.submit(&GetVersion { what }, None)?)
    }

    /// As [`get_version`](Self::get_version), for a callback, which is called from
    /// the connection's work with no lock held, or with an error by [`stop`](Self::stop).
    /// If this fails, the callback is not called.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` before the cluster is known, `ESHUTDOWN`, `ENOMEM`.
    pub fn get_version_async(&self, what: &'static str, done: Callback<u64>) -> Result {
        self.submit(&GetVersion { what }, Some(done)).map(|_| ())
    }

    fn command(&self, command: &Command) -> Result {
        match self.wait(&*self.submit(command, None)?)? {
            0 => Ok(()),
            error @ -511..=-1 => Err(Error::from_errno(error)),
            // No error that is another host's to give.
            _ => Err(EIO),
        }
    }

    /// Has the OSDs refuse a client, and waits until this client has the OSD map
    /// that says so: the OSDs that it talks to will have it then.
    ///
    /// # Errors
    ///
    /// The monitors' answer, or as [`statfs`](Self::statfs).
    pub fn blocklist_add(&self, addr: &EntityAddr) -> Result {
        let add = |word| self.command(&blocklist_add(word, addr)?);
        match add("blocklist") {
            // Monitors before Pacific know it by its old name.
            Err(error) if error == EINVAL => add("blacklist")?,
            other => other?,
        }
        self.wait_latest_osdmap(None)
    }

    pub(super) fn has_request(&self, tid: u64) -> bool {
        self.inner.lock().requests.get(&tid).is_some()
    }

    /// Asks again everything that was not answered.
    pub(super) fn resend_requests(&self, inner: &Inner) {
        for request in inner.requests.values() {
            self.con.send(request.message().clone());
        }
    }

    /// A monitor answers a request.
    pub(super) fn handle_reply(&self, msg: &Incoming) {
        let tid = match (msg.header.kind, msg.header.tid) {
            // Old monitors leave it empty.
            (kind::MON_GET_VERSION_REPLY, 0) => get_version_handle(&msg.front).unwrap_or(0),
            (_, tid) => tid,
        };
        let request = self.inner.lock().requests.remove(&tid);
        if let Some(request) = request {
            request.reply(msg);
        }
    }

    /// Nobody will answer.
    pub(crate) fn fail_requests(&self, error: Error) {
        let requests = core::mem::replace(&mut self.inner.lock().requests, RBTree::new());
        for request in requests.values() {
            request.fail(error);
        }
    }
}
