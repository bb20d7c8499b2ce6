// SPDX-License-Identifier: GPL-2.0
//! What comes from an OSD.
use kernel::{prelude::*, sync::Arc};

use ceph_proto::errno;
use ceph_proto::machine::osd_request::{Answered, State as LifeState};
use ceph_proto::wire::osd::{kind, OsdMaps, OsdOpReply};
use ceph_proto::wire::osd_backoff::{Backoff, BackoffOp};
use ceph_proto::wire::types::EntityType;

use super::{
    client::OsdClient,
    session::{Session, State},
};
use crate::auth::ServiceAuth;
use crate::log::{error, warning};
use crate::messenger::{
    Alloc, AuthBadMethod, AuthKeys, AuthRequest, Broken, Connection, ConnectionOps, Header,
    Incoming, Message, Parts,
};

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

    fn handle_reply(&self, con: &Arc<Connection>, msg: Incoming) -> Result {
        let header = msg.header;
        let mut state = self.session.state.lock();
        // While its destination is not at home, it is here.
        let Some(mut entry) = state.requests.find_mut(&header.tid) else {
            return Ok(());
        };
        let pending = entry.get_mut();
        pending.take_home(msg.dest);
        let answered = match header.check_compat(OsdOpReply::VERSION) {
            Ok(()) => pending
                .life
                .reply(&msg.front, header.version, header.data_len),
            Err(_) => Answered::Corrupt,
        };
        let (result, taken_in) = match answered {
            Answered::Stale => {
                pending.wait_on(con);
                let stays = matches!(pending.life.state(), LifeState::Sent);
                drop(state);
                if !stays {
                    // The worker may have come by while the destination was here.
                    self.osdc.wake_worker();
                }
                return Ok(());
            }
            Answered::Place => {
                drop(state);
                self.osdc.wake_worker();
                return Ok(());
            }
            Answered::Over(result) => (result, Ok(())),
            Answered::Corrupt => (Err(EIO), Err(errno::ebadmsg())),
        };
        let pending = entry.remove();
        state.left();
        drop(state);
        self.osdc.finish(pending, result);
        taken_in
    }

    fn handle_backoff(&self, con: &Arc<Connection>, msg: &Incoming) -> Result {
        msg.header.check_compat(Backoff::VERSION)?;
        let backoff = Backoff::decode(&msg.front)?;
        let mut state = self.session.state.lock();
        match backoff.op {
            BackoffOp::Block => {
                let message = Message::new(Parts {
                    kind: kind::OSD_BACKOFF,
                    version: Backoff::VERSION,
                    front: backoff.acknowledge()?,
                    ..Parts::default()
                })?;
                if !state.backoffs.block(&backoff)? {
                    warning!("osd{}: too many backoffs to keep\n", self.session.id);
                }
                con.send(message);
            }
            BackoffOp::Unblock => {
                let State {
                    requests, backoffs, ..
                } = &mut *state;
                backoffs.unblock(backoff.id);
                for pending in requests.values_mut() {
                    // By the range of the message: the group may have been split.
                    let target = pending.life.target();
                    if backoff.covers(&target.spg, &target.hobject()) {
                        pending.life.unblock();
                        self.session.send(backoffs, pending);
                    }
                }
            }
            BackoffOp::AckBlock => warning!("osd{}: backoff that is ours\n", self.session.id),
        }
        Ok(())
    }
}

impl ConnectionOps for Ops {
    fn alloc_msg(&self, _con: &Arc<Connection>, header: &Header) -> Alloc {
        match header.kind {
            // Nobody waits for it any more.
            kind::OSD_OPREPLY => Alloc::Skip,
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
            kind::OSD_OPREPLY => self.handle_reply(con, msg),
            kind::OSD_BACKOFF => self.handle_backoff(con, &msg),
            kind::OSD_MAP => header
                .check_compat(OsdMaps::VERSION)
                .and_then(|()| self.osdc.handle_map(&msg.front)),
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
