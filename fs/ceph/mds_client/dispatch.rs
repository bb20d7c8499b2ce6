// SPDX-License-Identifier: GPL-2.0
//! What comes from metadata servers.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    pr_err_ratelimited, //
};

use ceph_core::{
    auth::ServiceAuth,
    messenger::{
        Alloc,
        AuthBadMethod,
        AuthKeys,
        AuthRequest,
        Connection,
        ConnectionOps,
        Header,
        Incoming, //
    },
};
use ceph_fs_proto::{
    machine::session::SessionState,
    wire::{
        mdsmap::MdsState,
        msg::{
            is_understood,
            understood,
            CLIENT_REPLY,
            CLIENT_REQUEST_FORWARD,
            CLIENT_SESSION,
            MDS_MAP, //
        },
    },
};
use ceph_proto::wire::types::EntityType;

use super::{
    client::MdsClient,
    events::{
        MdsEvents,
        SessionOf, //
    },
};

/// The owner of a session's connection, from its opening to its closing.
#[pin_data]
pub(super) struct SessionOps<F: MdsEvents> {
    mdsc: Arc<MdsClient<F>>,
    session: Arc<SessionOf<F>>,
    #[pin]
    auth: ServiceAuth,
}

impl<F: MdsEvents> SessionOps<F> {
    pub(super) fn new(mdsc: Arc<MdsClient<F>>, session: Arc<SessionOf<F>>) -> Result<Arc<Self>> {
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

impl<F: MdsEvents> SessionOps<F> {
    fn dispatch_understood(&self, msg: &Incoming) -> Result {
        let (mdsc, session) = (&self.mdsc, &self.session);
        match msg.header.kind {
            CLIENT_SESSION => mdsc.session_message(session, msg),
            CLIENT_REQUEST_FORWARD => mdsc.forward(session, msg),
            MDS_MAP => mdsc.map_message(msg),
            _ => {
                let taken = match mdsc.fs() {
                    Some(fs) => fs.message(session, msg),
                    None => Ok(()),
                };
                if taken != Err(ENOMEM) {
                    session.count_message();
                }
                taken
            }
        }
    }
}

impl<F: MdsEvents> ConnectionOps for SessionOps<F> {
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
            kind => match is_understood(kind, msg.header.compat_version) {
                Ok(true) => self.dispatch_understood(&msg),
                Ok(false) => Ok(()),
                Err(e) => Err(e),
            },
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
