// SPDX-License-Identifier: GPL-2.0
//! A session with one OSD: its connection, and the requests that wait for it.
//!
//! The callbacks of the connection take the session's lock, so that lock is never
//! held over [`Connection::close`] and [`Connection::revoke_incoming`], which wait
//! for them.
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{Arc, Mutex},
    time::Jiffies,
};
use kernel_ext::{iov::IovDest, time};

use ceph_proto::errno;
use ceph_proto::wire::osd::{kind, OsdMaps, OsdOpReply};
use ceph_proto::wire::osd_backoff::{Backoff, BackoffOp};
use ceph_proto::wire::types::EntityType;

use super::{request::OsdRequest, OsdClient};
use crate::auth::ServiceAuth;
use crate::log::{error, warning};
use crate::messenger::{
    Alloc, AuthBadMethod, AuthKeys, AuthRequest, Broken, Connection, ConnectionOps, Header,
    Incoming, Lent, Message, Parts,
};

/// Id of the session of requests that have no OSD.
pub(super) const HOMELESS: i32 = -1;

/// A session with one OSD.
#[pin_data]
pub(super) struct Session {
    /// Number of the OSD, or [`HOMELESS`].
    pub(super) id: i32,
    /// None if homeless.
    pub(super) con: Option<Arc<Connection>>,
    #[pin]
    pub(super) state: Mutex<State>,
}

/// The changing part of a [`Session`].
pub(super) struct State {
    /// Nothing is added any more; another session takes its place.
    pub(super) closed: bool,
    /// The connection broke.
    pub(super) faulted: bool,
    pub(super) requests: RBTree<u64, Arc<OsdRequest>>,
    /// The request whose destination the connection has.
    lent: Option<Arc<OsdRequest>>,
    pub(super) backoffs: KVec<Backoff>,
    /// When the last request left.
    pub(super) idle_since: Jiffies,
}

impl Session {
    pub(super) fn new(id: i32, con: Option<Arc<Connection>>) -> Result<Arc<Self>> {
        let state = State {
            closed: false,
            faulted: false,
            requests: RBTree::new(),
            lent: None,
            backoffs: KVec::new(),
            idle_since: time::jiffies(),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                id,
                con,
                state <- new_mutex!(state, "ceph::osd_client::Session::state"),
            }),
            GFP_KERNEL,
        )
    }

    /// Sends a request of the tree, unless something forbids it now. Whatever of an
    /// earlier sending is still queued is taken back. Without memory it stays
    /// unsent, and the next tick tries again.
    pub(super) fn send(&self, state: &State, req: &Arc<OsdRequest>) {
        let Some(con) = &self.con else { return };
        let mut r = req.state.lock();
        let target = &r.target;
        let object = target.hobject();
        let blocked = |backoff: &Backoff| backoff.covers(&target.spg, &object);
        if target.paused || r.dest.is_none() || state.backoffs.iter().any(blocked) {
            return;
        }
        if let Some((old, con)) = r.sent.take() {
            con.revoke(&old);
        }
        let Ok(message) = req.message(&r) else { return };
        r.attempts = r.attempts.saturating_add(1);
        r.sent_at = time::jiffies();
        r.sent = Some((message.clone(), con.clone()));
        con.send(message);
    }

    /// Sends all requests, in order: the connection is a new one.
    pub(super) fn send_all(&self) {
        let mut state = self.state.lock();
        state.backoffs = KVec::new();
        for req in state.requests.values() {
            self.send(&state, req);
        }
    }

    /// Closes the connection. What it had goes back to where it belongs.
    pub(super) fn close_connection(&self) {
        if let Some(con) = &self.con {
            if let Some(Lent { dest, .. }) = con.close() {
                self.give_back(&mut self.state.lock(), Some(dest));
            }
        }
    }

    /// A destination comes back from the connection, whose work can lend no other
    /// meanwhile: it is closed, or in a callback of that.
    fn give_back(&self, state: &mut State, dest: Option<IovDest>) -> Option<Arc<OsdRequest>> {
        let dest = dest?;
        let req = state.lent.take()?;
        req.state.lock().dest = Some(dest);
        Some(req)
    }

    /// A destination that was revoked comes back to its request. The connection has gone on
    /// since, so by now it may have that of another.
    fn take_home(&self, req: &Arc<OsdRequest>, dest: IovDest) {
        req.state.lock().dest = Some(dest);
        let mut state = self.state.lock();
        state.lent.take_if(|lent| Arc::ptr_eq(lent, req));
    }

    /// Takes a request's destination back, and what is still to be sent of it. The
    /// request is in no tree; no lock is held.
    pub(super) fn recall(&self, req: &Arc<OsdRequest>) {
        let (sent, lent) = {
            let mut r = req.state.lock();
            (r.sent.take(), r.dest.is_none())
        };
        if let Some((message, con)) = sent {
            con.revoke(&message);
            if lent {
                // If it is none, a callback that is over now has given it back.
                if let Some(dest) = con.revoke_incoming(req.tid()) {
                    self.take_home(req, dest);
                }
            }
        }
        if let Some(dest) = &mut req.state.lock().dest {
            dest.rewind();
        }
    }
}

/// What the connection of a session calls. It holds the client and the session until
/// the connection is closed.
#[pin_data]
pub(super) struct Ops {
    osdc: Arc<OsdClient>,
    session: Arc<Session>,
    #[pin]
    auth: ServiceAuth,
}

impl Ops {
    pub(super) fn new(osdc: Arc<OsdClient>, session: Arc<Session>) -> Result<Arc<Self>> {
        let monc = osdc.monc.clone();
        Arc::pin_init(
            try_pin_init!(Self {
                osdc,
                session,
                auth <- ServiceAuth::new(monc, EntityType::OSD),
            }),
            GFP_KERNEL,
        )
    }

    fn warn_unknown(&self, kind: u16) {
        warning!("osd{}: unknown message type {kind}\n", self.session.id);
    }

    fn alloc_reply(&self, header: &Header) -> Alloc {
        let mut state = self.session.state.lock();
        let Some(req) = state.requests.get(&header.tid) else {
            return Alloc::Skip;
        };
        let req = req.clone();
        let dest = {
            let mut r = req.state.lock();
            // To an earlier sending, when there was no memory for another one: without a
            // message there is nothing that `recall` would revoke it by.
            r.sent.is_some().then(|| r.dest.take()).flatten()
        };
        let Some(mut dest) = dest else {
            return Alloc::Skip;
        };
        dest.rewind();
        state.lent = Some(req);
        Alloc::Fill(dest)
    }

    fn handle_reply(&self, msg: Incoming) -> Result {
        let tid = msg.header.tid;
        let mut state = self.session.state.lock();
        self.session.give_back(&mut state, msg.dest);
        let Some(req) = state.requests.get(&tid).cloned() else {
            return Ok(());
        };
        let mut r = req.state.lock();
        let version = msg.header.version;
        let decoded = msg
            .header
            .check_compat(OsdOpReply::VERSION)
            .and_then(|()| OsdOpReply::decode(&msg.front, version, r.target.namespace()));
        let mut corrupt = Ok(());
        let result = match decoded {
            Err(error) => {
                corrupt = Err(error);
                Err(EIO)
            }
            Ok(reply) => {
                let sendings = u32::try_from(reply.attempt).map(|n| n.saturating_add(1));
                if sendings.is_ok_and(|n| n != r.attempts) {
                    // To an earlier sending; the right one will follow.
                    return Ok(());
                }
                let again = if let Some(pool) = reply.redirect {
                    r.target.redirected(pool);
                    true
                } else if reply.result == EAGAIN.to_errno() {
                    r.target.ask_primary();
                    true
                } else {
                    false
                };
                if again {
                    r.sent = None;
                    drop(r);
                    if let Some(node) = self.osdc.unlink(&mut state, tid) {
                        drop(state);
                        self.osdc.place(node, &req);
                    }
                    return Ok(());
                }
                outcome(&reply, msg.header.data_len, self.session.id, tid)
            }
        };
        drop(r);
        drop(self.osdc.unlink(&mut state, tid));
        drop(state);
        self.osdc.finish(&req, result);
        corrupt
    }

    fn handle_backoff(&self, con: &Arc<Connection>, msg: Incoming) -> Result {
        msg.header.check_compat(Backoff::VERSION)?;
        let backoff = Backoff::decode(msg.front.into_vec())?;
        let mut state = self.session.state.lock();
        match backoff.op {
            BackoffOp::Block => {
                let message = Message::new(Parts {
                    kind: kind::OSD_BACKOFF,
                    version: Backoff::VERSION,
                    front: backoff.acknowledge()?,
                    ..Parts::default()
                })?;
                state.backoffs.push(backoff, GFP_KERNEL)?;
                con.send(message);
            }
            BackoffOp::Unblock => {
                let id = backoff.id;
                state.backoffs.retain(|other| other.id != id);
                for req in state.requests.values() {
                    // By the range of the message: the group may have been split.
                    let covered = {
                        let r = req.state.lock();
                        backoff.covers(&r.target.spg, &r.target.hobject())
                    };
                    if covered {
                        self.session.send(&state, req);
                    }
                }
            }
            BackoffOp::AckBlock => warning!("osd{}: backoff that is ours\n", self.session.id),
        }
        Ok(())
    }
}

/// The bytes read, or why not.
fn outcome(reply: &OsdOpReply, data_len: usize, osd: i32, tid: u64) -> Result<usize> {
    if reply.ops.len() != 1 || usize::try_from(reply.data_len()) != Ok(data_len) {
        error!("osd{osd} tid {tid}: reply does not fit the request\n");
        return Err(EIO);
    }
    match reply.result {
        0.. => Ok(data_len),
        // Beyond are numbers that mean something inside of the kernel alone.
        number @ -511..=-1 => Err(Error::from_errno(number)),
        _ => Err(EIO),
    }
}

impl ConnectionOps for Ops {
    fn alloc_msg(&self, _con: &Arc<Connection>, header: &Header) -> Alloc {
        match header.kind {
            kind::OSD_OPREPLY => self.alloc_reply(header),
            kind::OSD_MAP | kind::OSD_BACKOFF => Alloc::Accept,
            other => {
                self.warn_unknown(other);
                Alloc::Skip
            }
        }
    }

    fn dispatch(&self, con: &Arc<Connection>, msg: Incoming) -> Result {
        let header = msg.header;
        let taken = match header.kind {
            kind::OSD_OPREPLY => self.handle_reply(msg),
            kind::OSD_BACKOFF => self.handle_backoff(con, msg),
            kind::OSD_MAP => header
                .check_compat(OsdMaps::VERSION)
                .and_then(|()| self.osdc.handle_map(msg.front.into_vec())),
            other => {
                self.warn_unknown(other);
                Ok(())
            }
        };
        taken.inspect_err(|error| {
            error!(
                "osd{} tid {}: cannot take in message of type {}, version {}: {}\n",
                self.session.id,
                header.tid,
                header.kind,
                header.version,
                error.to_errno()
            )
        })
    }

    fn returned(&self, _con: &Arc<Connection>, _tid: u64, dest: IovDest) {
        self.session
            .give_back(&mut self.session.state.lock(), Some(dest));
    }

    fn fault(&self, _con: &Arc<Connection>, _broken: &Broken) {
        self.session.state.lock().faulted = true;
        self.osdc.wake_worker();
    }

    fn auth_request(&self, _con: &Arc<Connection>) -> Result<AuthRequest> {
        self.auth.auth_request()
    }

    fn auth_more(&self, _con: &Arc<Connection>, payload: &[u8]) -> Result<KVVec<u8>> {
        self.auth.auth_more(payload)
    }

    fn auth_done(
        &self,
        _con: &Arc<Connection>,
        _global_id: u64,
        _con_mode: u32,
        payload: &[u8],
    ) -> Result<AuthKeys> {
        self.auth.auth_done(payload)
    }

    fn auth_bad_method(&self, _con: &Arc<Connection>, bad: &AuthBadMethod) -> Result {
        self.auth.auth_bad_method(bad)
    }
}

/// An error that ends requests when the client is stopped.
pub(super) fn stopped() -> Error {
    errno::eshutdown()
}

#[kunit_tests(ceph_osd_client_session)]
mod tests {
    use super::super::{ObjectName, ReadOp};
    use super::*;

    fn request(tid: u64, len: usize) -> Result<Arc<OsdRequest>> {
        let read = ReadOp {
            pool: 1,
            namespace: KVec::new(),
            object: ObjectName::of_file(tid, 0),
            offset: 0,
            length: len as u64,
            snap: 0,
            truncate_seq: 0,
            truncate_size: 0,
            ino: tid,
        };
        OsdRequest::new(tid, read, 0, IovDest::with_len(len)?, None, None)
    }

    /// As `Ops::alloc_reply` does it.
    fn lend(session: &Session, req: &Arc<OsdRequest>) -> Result<IovDest> {
        session.state.lock().lent = Some(req.clone());
        req.state.lock().dest.take().ok_or(EBUSY)
    }

    fn home(req: &OsdRequest) -> Option<usize> {
        req.state.lock().dest.as_ref().map(IovDest::len)
    }

    #[test]
    fn a_revoked_destination_is_not_taken_for_that_of_another() -> Result {
        let session = Session::new(3, None)?;
        let (one, other) = (request(1, 10)?, request(2, 20)?);
        let revoked = lend(&session, &one)?;
        // The connection goes on before the first one is at home.
        let used = lend(&session, &other)?;
        session.take_home(&one, revoked);
        assert_eq!((home(&one), home(&other)), (Some(10), None));
        assert!(session
            .give_back(&mut session.state.lock(), Some(used))
            .is_some());
        assert_eq!((home(&one), home(&other)), (Some(10), Some(20)));
        // With nothing in between, the session forgets it.
        let revoked = lend(&session, &one)?;
        session.take_home(&one, revoked);
        assert!(session.state.lock().lent.is_none());
        Ok(())
    }
}
