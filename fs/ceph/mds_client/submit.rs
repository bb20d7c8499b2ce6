// SPDX-License-Identifier: GPL-2.0
//! Requests: in, to a rank, again to another, and out of the table.
use kernel::{
    prelude::*,
    rbtree::RBTreeNode,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    time::Jiffies,
};
use kernel_ext::random;

use ceph_core::messenger::{
    Message,
    Parts, //
};
use ceph_fs_proto::{
    machine::{
        request::{
            self as machine,
            Next, //
        },
        route::RankHints,
        session::SessionState,
    },
    wire::msg::CLIENT_REQUEST,
};
use ceph_proto::errno::ehostunreach;

use super::{
    client::{
        MdsClient,
        Phase, //
    },
    events::{
        MdsEvents,
        SessionOf, //
    },
    op::{
        Caller,
        MdsOp, //
    },
    request::{
        Head,
        Pending,
        Request, //
    },
};

/// What is to become of a request now.
enum Step<F: MdsEvents> {
    Fail(Error),
    Wait,
    Send(Sending<F>),
}

/// How a request is to be sent.
struct Sending<F: MdsEvents> {
    /// Through this session.
    session: Arc<SessionOf<F>>,
    /// The oldest request that is not over.
    oldest: u64,
    /// Epoch of the map.
    epoch: u32,
}

impl<F: MdsEvents> MdsClient<F> {
    /// Asks and waits for the answer, killable, at most for `limit` jiffies.
    ///
    /// # Errors
    ///
    /// `EINTR` when killed, `ETIMEDOUT` after the limit, `EHOSTUNREACH` while mounting if no
    /// rank is active, `EACCES` if the server rejects the client, `EMULTIHOP` if ranks forward
    /// the request in circles, `EIO` after a forced unmount or for a corrupt reply, `ENOMEM`;
    /// and those that a server gives, unless they are an [answer](MdsOp::is_answer).
    pub(crate) fn do_request<O: MdsOp<Fs = F>>(
        self: &Arc<Self>,
        op: O,
        caller: Caller,
        limit: Option<Jiffies>,
    ) -> Result<O::Answer> {
        let tid = self.last_tid.fetch_add(1, Relaxed).wrapping_add(1);
        let request = Request::new(tid, op, caller, limit)?;
        self.submit_and_wait(request.clone())?;
        request.answer()
    }

    /// Afterwards the request is answered.
    fn submit_and_wait(self: &Arc<Self>, request: Arc<dyn Pending<F>>) -> Result {
        let node = RBTreeNode::new(request.tid(), request.clone(), GFP_KERNEL)?;
        self.state.lock().requests.insert(node);
        self.advance(&request);
        if let Err(e) = request.wait(&self.client.waits) {
            if !self.abandon(&*request) {
                request.aborted();
            }
            // Unless the answer was faster.
            request.fail(e);
        }
        Ok(())
    }

    /// The waiter gives up. A request that was sent stays until its reply, for the
    /// sake of the capabilities in it. Whether it is over.
    fn abandon(&self, request: &dyn Pending<F>) -> bool {
        let mut state = self.state.lock();
        let is_over = request.progress().lock().life.abort();
        let removed = match is_over {
            true => state.requests.remove(&request.tid()),
            false => None,
        };
        drop(state);
        drop(removed);
        is_over
    }

    /// Takes a request out of the table. Whether it was there.
    pub(super) fn forget(&self, request: &dyn Pending<F>) -> bool {
        let removed = self.state.lock().requests.remove(&request.tid());
        let msg = {
            let mut progress = request.progress().lock();
            progress.life.fail();
            progress.msg.take()
        };
        drop(msg);
        removed.is_some()
    }

    /// Ends a request by an error, once.
    pub(super) fn fail(&self, request: &dyn Pending<F>, error: Error) {
        if self.forget(request) {
            request.fail(error);
        }
    }

    /// After what happened to a request.
    pub(super) fn follow(self: &Arc<Self>, request: &Arc<dyn Pending<F>>, next: Next) {
        match next {
            Next::Stay => {}
            Next::Advance => self.advance(request),
            // It was answered, or nobody waits.
            Next::Forget => self.fail(&**request, EINTR),
            Next::Lost => {
                let op = request.op().name();
                pr_warn!("tid {}: {op} was done, but may be lost\n", request.tid());
                self.fail(&**request, EIO);
            }
        }
    }

    /// Tells all requests what happened, and moves on those that it concerns.
    pub(super) fn kick(self: &Arc<Self>, event: impl Fn(&mut machine::Request) -> Next) {
        let mut tid = 0;
        loop {
            let found = {
                let mut state = self.state.lock();
                let mut at = state.requests.cursor_lower_bound_mut(&tid);
                loop {
                    let Some(cursor) = at else { break None };
                    let (_, request) = cursor.current();
                    match event(&mut request.progress().lock().life) {
                        Next::Stay => {}
                        next => break Some((request.clone(), next)),
                    }
                    at = cursor.move_next();
                }
            };
            let Some((request, next)) = found else { return };
            tid = request.tid().saturating_add(1);
            self.follow(&request, next);
        }
    }

    /// Moves a request on as far as it goes now.
    fn advance(self: &Arc<Self>, request: &Arc<dyn Pending<F>>) {
        match self.step(&**request) {
            Step::Wait => {}
            Step::Fail(e) => self.fail(&**request, e),
            Step::Send(how) => {
                if let Err(e) = Self::transmit(&**request, &how) {
                    self.fail(&**request, e);
                }
            }
        }
    }

    /// Chooses a rank, and sees to a session with it.
    fn step(self: &Arc<Self>, request: &dyn Pending<F>) -> Step<F> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.requests.get(&request.tid()).is_none() {
            return Step::Wait;
        }
        let wait_for_map = || {
            request.progress().lock().life.wait_for_map();
            Step::Wait
        };
        match state.phase {
            Phase::Shutdown => return Step::Fail(EIO),
            Phase::Recovering => return wait_for_map(),
            Phase::Mounting | Phase::Mounted | Phase::Stopping => {}
        }
        let map = match (&state.map, state.map_error) {
            (_, Some(e)) if state.phase == Phase::Mounting => return Step::Fail(e),
            (Some(map), _) => map,
            (None, _) => return wait_for_map(),
        };
        if state.phase == Phase::Mounting && self.config.require_active && !map.is_available() {
            return Step::Fail(ehostunreach());
        }

        let resend = request.progress().lock().life.resend();
        let hints = RankHints {
            resend,
            ..request.hints()
        };
        let Some(rank) = hints.choose(map, random::u32) else {
            return wait_for_map();
        };
        let epoch = map.epoch;
        let session = match self.get_session(state, rank) {
            Ok(session) => session,
            Err(e) => return Step::Fail(e),
        };
        match session.state() {
            s if s.is_usable() => {
                if !request.progress().lock().life.choose(rank) {
                    return Step::Wait;
                }
                return Step::Send(Sending {
                    session,
                    oldest: state.oldest_tid().unwrap_or(request.tid()),
                    epoch,
                });
            }
            SessionState::Rejected => {
                let recovers = self.config.recover && self.is_blocklisted();
                if !recovers || state.phase != Phase::Mounted {
                    return Step::Fail(EACCES);
                }
            }
            SessionState::New => {
                if let Err(e) = self.open_session(state, &session) {
                    return Step::Fail(e);
                }
            }
            _ => {}
        }
        request.progress().lock().life.wait_for_session(rank);
        Step::Wait
    }

    fn message(
        request: &dyn Pending<F>,
        session: &SessionOf<F>,
        head: Head,
    ) -> Result<Arc<Message>> {
        let (version, front) = request.encode(head, session.features())?;
        Message::new(Parts {
            kind: CLIENT_REQUEST,
            tid: request.tid(),
            version,
            front,
            ..Parts::default()
        })
    }

    /// Encodes and queues a request, unless the session has been lost meanwhile.
    fn transmit(request: &dyn Pending<F>, how: &Sending<F>) -> Result {
        let session = &how.session;
        let _io = session.io.lock();
        // Whoever ends or restarts the session does so under `io`, and afterwards moves all
        // that is sent through it: this request too.
        let (state, features) = session.usability();
        if !state.is_usable() {
            return Ok(());
        }
        let counts = request
            .progress()
            .lock()
            .life
            .sending(session.rank, features)?;
        let Some(counts) = counts else { return Ok(()) };
        let head = Head {
            oldest: how.oldest,
            epoch: how.epoch,
            counts,
            is_replay: false,
        };
        let msg = Self::message(request, session, head)?;
        let previous = {
            let mut progress = request.progress().lock();
            if !progress.life.sent(session.rank) {
                return Ok(());
            }
            progress.msg.replace(msg.clone())
        };
        if let Some(previous) = previous {
            session.con.revoke(&previous);
        }
        session.send(msg);
        Ok(())
    }

    /// Has a daemon that took the rank over do once more what may have been lost with its
    /// predecessor. With `Session::io` held, before it is told of capabilities.
    pub(super) fn replay(&self, session: &SessionOf<F>, epoch: u32) -> Result {
        let mut tid = 0;
        loop {
            let (request, head) = {
                let mut state = self.state.lock();
                let oldest = state.oldest_tid().unwrap_or(0);
                let mut at = state.requests.cursor_lower_bound_mut(&tid);
                loop {
                    let Some(cursor) = at else { return Ok(()) };
                    let (_, request) = cursor.current();
                    if let Some(counts) = request.progress().lock().life.replay(session.rank) {
                        let head = Head {
                            oldest,
                            epoch,
                            counts,
                            is_replay: true,
                        };
                        break (request.clone(), head);
                    }
                    at = cursor.move_next();
                }
            };
            tid = request.tid().saturating_add(1);
            session.send(Self::message(&*request, session, head)?);
        }
    }
}
