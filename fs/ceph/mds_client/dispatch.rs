// SPDX-License-Identifier: GPL-2.0
//! What comes from metadata servers.
use kernel::{prelude::*, sync::Arc};
use kernel_ext::{pr_err_ratelimited, pr_warn_ratelimited, time};

use ceph_core::{
    auth::ServiceAuth,
    log::info,
    messenger::{
        Alloc, AuthBadMethod, AuthKeys, AuthRequest, Connection, ConnectionOps, Header, Incoming,
    },
};
use ceph_fs_proto::machine::session::Renewal;
use ceph_fs_proto::wire::{
    mdsmap::MdsState,
    msg::{
        CLIENT_CAPS, CLIENT_LEASE, CLIENT_QUOTA, CLIENT_REPLY, CLIENT_REQUEST_FORWARD,
        CLIENT_SESSION, CLIENT_SNAP, MDS_MAP,
    },
    reply::{ClientReply, Forward},
    session::{ClientSession, Features, SessionOp},
};
use ceph_proto::{errno::eopnotsupp, wire::types::EntityType};

use super::{
    request::{Place, Reply},
    session::{Session, SessionState},
    MdsClient, MdsHooks, Phase,
};

/// The owner of a session's connection, from its opening to its closing.
#[pin_data]
pub(super) struct SessionOps<H: MdsHooks> {
    mdsc: Arc<MdsClient<H>>,
    session: Arc<Session<H>>,
    #[pin]
    auth: ServiceAuth,
}

impl<H: MdsHooks> SessionOps<H> {
    pub(super) fn new(mdsc: Arc<MdsClient<H>>, session: Arc<Session<H>>) -> Result<Arc<Self>> {
        let monc = mdsc.client.monc.clone();
        Arc::pin_init(
            pin_init!(Self {
                mdsc,
                session,
                auth <- ServiceAuth::new(monc, EntityType::MDS),
            }),
            GFP_KERNEL,
        )
    }
}

impl<H: MdsHooks> ConnectionOps for SessionOps<H> {
    fn alloc_msg(&self, _con: &Arc<Connection>, header: &Header) -> Alloc {
        match header.kind {
            known if understood(known).is_some() => Alloc::Accept,
            _ => Alloc::Skip,
        }
    }

    // What there was no memory for comes once more: a lost message could mean a request,
    // or another client, that waits for ever.
    fn dispatch(&self, _con: &Arc<Connection>, msg: Incoming) -> Result {
        let (mdsc, session) = (&self.mdsc, &self.session);
        let taken = match msg.header.kind {
            // By far the most. It looks for the session itself.
            CLIENT_REPLY => mdsc.reply(session, &msg),
            _ if !mdsc.is_current(session) => Ok(()),
            unknown if understood(unknown).is_none() => Ok(()),
            CLIENT_SESSION => mdsc.session_message(session, &msg),
            CLIENT_REQUEST_FORWARD => mdsc.forward(session, &msg),
            MDS_MAP => mdsc.monitor_message(&msg),
            _ => {
                let taken = check_compat(&msg).and_then(|()| match mdsc.hooks() {
                    Some(hooks) => hooks.message(session, &msg),
                    None => Ok(()),
                });
                if taken != Err(ENOMEM) {
                    session.count_message();
                }
                taken
            }
        };
        taken.inspect_err(|e| {
            let what = if *e == ENOMEM {
                "no memory for"
            } else {
                "corrupt"
            };
            pr_err_ratelimited!(
                "mds{}: {} message of type {}, version {}: {:?}\n",
                session.rank,
                what,
                msg.header.kind,
                msg.header.version,
                e
            );
        })
    }

    fn peer_reset(&self, _con: &Arc<Connection>) {
        let (mdsc, session) = (&self.mdsc, &self.session);
        pr_warn!("mds{} closed our session\n", session.rank);
        mdsc.note(format_args!("mds{} closed our session", session.rank));
        let Some(map) = mdsc.map() else { return };
        match map.state(session.rank) {
            MdsState::RECONNECT => mdsc.reconnect(session, &map, true),
            // Past that phase no reconnect is taken: start anew.
            state if state > MdsState::RECONNECT => match session.state() {
                SessionState::New | SessionState::Closed | SessionState::Rejected => {}
                _ => mdsc.drop_session(session, SessionState::Closed),
            },
            _ => {}
        }
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

/// Up to which version of its encoding a message is read.
fn understood(kind: u16) -> Option<u16> {
    match kind {
        CLIENT_REPLY | CLIENT_REQUEST_FORWARD | CLIENT_LEASE | CLIENT_SNAP | CLIENT_QUOTA => {
            Some(1)
        }
        MDS_MAP => Some(2),
        CLIENT_SESSION => Some(7),
        CLIENT_CAPS => Some(12),
        _ => None,
    }
}

fn check_compat(msg: &Incoming) -> Result {
    msg.header
        .check_compat(understood(msg.header.kind).unwrap_or(0))
}

impl<H: MdsHooks> MdsClient<H> {
    fn session_message(self: &Arc<Self>, session: &Arc<Session<H>>, msg: &Incoming) -> Result {
        check_compat(msg)?;
        let message = ClientSession::decode(&msg.front, msg.header.version)?;
        let Some(hooks) = self.hooks() else {
            return Ok(());
        };
        let rank = session.rank;
        let (autoclose, timeout) = self
            .map()
            .map_or((0, 0), |map| (map.session_autoclose, map.session_timeout));
        let timeout = time::secs(u64::from(timeout));
        let now = time::jiffies();
        let (came_back, before) = {
            let mut inner = session.inner.lock();
            let came_back = inner.heard(now, time::secs(u64::from(autoclose)));
            (came_back, inner.state())
        };
        if came_back {
            pr_info!("mds{} came back\n", rank);
            self.note(format_args!("mds{rank} came back"));
        }
        match message.op {
            SessionOp::OPEN => {
                if !message.features.has(Features::REPLY_ENCODING) {
                    pr_err!("mds{} is older than this client supports\n", rank);
                    self.drop_session(session, SessionState::Rejected);
                    return Err(eopnotsupp());
                }
                if before == SessionState::Reconnecting {
                    pr_info!("mds{} reconnect success\n", rank);
                }
                self.note(format_args!("mds{rank} session open"));
                let mut inner = session.inner.lock();
                inner.opened(message.features, message.seq, timeout);
                drop(inner);
                if self.state.lock().phase == Phase::Stopping {
                    session.request_close()?;
                }
                self.kick(|place| place == Place::WaitsForSession(rank));
            }
            SessionOp::RENEWCAPS => {
                let renewal = session.inner.lock().renewed(message.seq, now, timeout);
                match renewal {
                    Renewal::Old | Renewal::Good => {}
                    Renewal::StillStale => {
                        pr_info!("mds{} caps still stale\n", rank);
                        self.note(format_args!("mds{rank} caps still stale"));
                    }
                    Renewal::Fresh => {
                        pr_info!("mds{} caps renewed\n", rank);
                        self.note(format_args!("mds{rank} caps renewed"));
                        hooks.renewed(session);
                    }
                }
            }
            SessionOp::CLOSE => {
                if before == SessionState::Reconnecting {
                    pr_info!("mds{} reconnect denied\n", rank);
                    self.note(format_args!("mds{rank} reconnect denied"));
                }
                self.drop_session(session, SessionState::Closed);
            }
            SessionOp::STALE => {
                pr_info!("mds{} caps went stale, renewing\n", rank);
                self.note(format_args!("mds{rank} caps went stale, renewing"));
                session.doubt(|inner| inner.stale(now));
                self.renew_caps(session);
            }
            SessionOp::RECALL_STATE => {
                let max = message.max_caps;
                self.note(format_args!("mds{rank} recalls caps, at most {max}"));
                hooks.recall(session, max);
            }
            SessionOp::FLUSHMSG => {
                hooks.flush_releases(session);
                session.send_bare(SessionOp::FLUSHMSG_ACK, message.seq)?;
            }
            SessionOp::FORCE_RO => {
                self.note(format_args!("mds{rank} is read-only now"));
                session.inner.lock().force_readonly();
                hooks.force_readonly(session);
            }
            SessionOp::REJECT => {
                let what = match before {
                    SessionState::Reconnecting => "reconnect",
                    _ => "session",
                };
                info!("mds{rank} rejected {what}\n");
                if message.blocklisted {
                    hooks.refused(rank);
                }
                self.drop_session(session, SessionState::Rejected);
            }
            op => pr_warn_ratelimited!("mds{}: session op {} is unknown\n", rank, op.0),
        }
        Ok(())
    }

    fn reply(self: &Arc<Self>, session: &Arc<Session<H>>, msg: &Incoming) -> Result {
        let request = {
            let state = self.state.lock();
            let request = state.requests.get(&msg.header.tid);
            request.filter(|_| state.is_current(session)).cloned()
        };
        let Some(request) = request else {
            return Ok(());
        };
        if request.sent_to() != Some(session.rank) {
            return Ok(());
        }
        let Some(hooks) = self.hooks() else {
            return Ok(());
        };
        let decoded =
            check_compat(msg).and_then(|()| ClientReply::decode(&msg.front, request.spec.op));
        let outcome = decoded.and_then(|reply| {
            Ok(Reply {
                result: reply.result,
                filled: hooks.fill(session, &request.spec, &reply)?,
            })
        });
        match outcome {
            Ok(reply) => {
                self.finish(&request, Ok(reply));
                Ok(())
            }
            Err(e) if e == ENOMEM => {
                // Whoever asked may try again; the message is dealt with.
                self.finish(&request, Err(e));
                Ok(())
            }
            Err(e) => {
                self.finish(&request, Err(EIO));
                Err(e)
            }
        }
    }

    fn forward(self: &Arc<Self>, session: &Arc<Session<H>>, msg: &Incoming) -> Result {
        check_compat(msg)?;
        let forward = Forward::decode(&msg.front)?;
        let request = {
            let state = self.state.lock();
            state.requests.get(&msg.header.tid).cloned()
        };
        let Some(request) = request else {
            return Ok(());
        };
        {
            let mut progress = request.progress.lock();
            // An old one, or one from a server that is not asked any more.
            if progress.place != Place::Sent(session.rank) || forward.num_fwd <= progress.forwards {
                return Ok(());
            }
            progress.forwards = forward.num_fwd;
            progress.place = Place::WaitsForMap;
            progress.resend_rank = Some(forward.rank);
        }
        self.advance(&request);
        Ok(())
    }

    /// Asks the server to let the session's capabilities be good for longer.
    pub(super) fn renew_caps(&self, session: &Arc<Session<H>>) {
        let recovering = self
            .map()
            .is_none_or(|map| map.state(session.rank) < MdsState::RECONNECT);
        // A rank that is not back yet would not know us.
        let seq = session.inner.lock().renew(time::jiffies(), !recovering);
        let Some(seq) = seq else { return };
        if let Err(e) = session.send_bare(SessionOp::REQUEST_RENEWCAPS, seq) {
            pr_err!("mds{}: cannot renew caps: {:?}\n", session.rank, e);
        }
    }
}
