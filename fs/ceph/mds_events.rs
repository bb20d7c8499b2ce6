// SPDX-License-Identifier: GPL-2.0
//! What happens to sessions with metadata servers, for the rooms that it concerns.
use kernel::{
    prelude::*,
    sync::Arc, //
};

use ceph_core::messenger::{
    Incoming,
    Parts, //
};
use ceph_fs_proto::wire::{
    msg::{
        CLIENT_CAPS,
        CLIENT_LEASE,
        CLIENT_QUOTA,
        CLIENT_SNAP, //
    },
    session::CapAuth, //
};

use crate::{
    caps::session_caps::SessionCaps,
    fs_client::{
        FsClient,
        Session, //
    },
    mds_client::events::MdsEvents,
};

impl MdsEvents for FsClient {
    type SessionData = SessionCaps;

    fn session_data() -> impl PinInit<SessionCaps, Error> {
        SessionCaps::new()
    }

    fn message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        match msg.header.kind {
            CLIENT_CAPS => self.caps_message(session, msg),
            CLIENT_LEASE => self.lease_message(session, msg),
            CLIENT_SNAP => self.snap_message(msg),
            CLIENT_QUOTA => self.quota_message(msg),
            _ => Ok(()),
        }
    }

    fn granted(&self, grants: KVVec<CapAuth>) -> Result {
        self.grants.set(grants)
    }

    fn recall(&self, session: &Arc<Session>, max_caps: u32) {
        self.trim_caps(session, max_caps);
    }

    fn flush_releases(&self, session: &Arc<Session>) {
        self.send_releases(session);
    }

    fn renewed(&self, session: &Arc<Session>) {
        self.session_renewed(session);
    }

    fn force_readonly(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn refused(self: &Arc<Self>, rank: u32) {
        self.shut_out(format_args!("mds{rank}"));
    }

    fn session_closed(&self, session: &Arc<Session>) {
        self.drop_session_caps(session);
    }

    fn reconnect(&self, session: &Arc<Session>) -> Result<KVec<Parts>> {
        self.reconnect_parts(session)
    }

    fn reconnected(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn tick(&self) {
        self.recover_if_shut_out();
        self.look_at_delayed();
        self.forget_realms();
    }
}
