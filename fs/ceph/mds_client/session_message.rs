// SPDX-License-Identifier: GPL-2.0
//! CLIENT_SESSION: what servers say of a session, and renewing its capabilities.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    pr_warn_ratelimited,
    time, //
};

use ceph_core::{
    log::info,
    messenger::Incoming, //
};
use ceph_fs_proto::{
    machine::session::{
        RenewCaps,
        Session as Machine,
        SessionState, //
    },
    wire::{
        mdsmap::MdsState,
        session::{
            ClientSession,
            Features,
            SessionOp, //
        },
    },
};
use ceph_proto::errno::eopnotsupp;

use super::{
    client::{
        MdsClient,
        Phase, //
    },
    events::{
        MdsEvents,
        SessionOf, //
    },
};

impl<F: MdsEvents> MdsClient<F> {
    pub(super) fn session_message(
        self: &Arc<Self>,
        session: &Arc<SessionOf<F>>,
        msg: &Incoming,
    ) -> Result {
        let message = ClientSession::decode(&msg.front, msg.header.version)?;
        let Some(fs) = self.fs() else {
            return Ok(());
        };
        let rank = session.rank;
        let (autoclose, timeout) = self
            .map()
            .map_or((0, 0), |map| (map.session_autoclose, map.session_timeout));
        let timeout = time::secs(u64::from(timeout));
        let now = time::jiffies();
        let (came_back, before) = session.change(|machine| {
            let came_back = machine.heard(now, time::secs(u64::from(autoclose)));
            (came_back, machine.state())
        });
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
                fs.granted(message.cap_auths)?;
                if before == SessionState::Reconnecting {
                    pr_info!("mds{} reconnect success\n", rank);
                }
                self.note(format_args!("mds{rank} session open"));
                session.change(|machine| machine.opened(message.features, message.seq, timeout));
                if self.state.lock().phase == Phase::Stopping {
                    session.request_close()?;
                }
                self.kick(|request| request.session_opened(rank));
            }
            SessionOp::RENEWCAPS => {
                match session.change(|machine| machine.renewed(message.seq, now, timeout)) {
                    RenewCaps::Old | RenewCaps::Good => {}
                    RenewCaps::StillStale => {
                        pr_info!("mds{} caps still stale\n", rank);
                        self.note(format_args!("mds{rank} caps still stale"));
                    }
                    RenewCaps::Fresh => {
                        pr_info!("mds{} caps renewed\n", rank);
                        self.note(format_args!("mds{rank} caps renewed"));
                        fs.renewed(session);
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
                session.change(|machine| machine.stale(now));
                self.renew_caps(session);
            }
            SessionOp::RECALL_STATE => {
                let max = message.max_caps;
                self.note(format_args!("mds{rank} recalls caps, at most {max}"));
                fs.recall(session, max);
            }
            SessionOp::FLUSHMSG => {
                fs.flush_releases(session);
                session.send_bare(SessionOp::FLUSHMSG_ACK, message.seq)?;
            }
            SessionOp::FORCE_RO => {
                self.note(format_args!("mds{rank} is read-only now"));
                session.change(Machine::force_readonly);
                fs.force_readonly(session);
            }
            SessionOp::REJECT => {
                let what = match before {
                    SessionState::Reconnecting => "reconnect",
                    _ => "session",
                };
                info!("mds{rank} rejected {what}\n");
                if message.blocklisted {
                    fs.refused(rank);
                }
                self.drop_session(session, SessionState::Rejected);
            }
            op => pr_warn_ratelimited!("mds{}: session op {} is unknown\n", rank, op.0),
        }
        Ok(())
    }

    /// Asks the server to let the session's capabilities be good for longer.
    pub(super) fn renew_caps(&self, session: &Arc<SessionOf<F>>) {
        let recovering = self
            .map()
            .is_none_or(|map| map.state(session.rank) < MdsState::RECONNECT);
        // A rank that is not back yet would not know us.
        let seq = session.change(|machine| machine.renew(time::jiffies(), !recovering));
        let Some(seq) = seq else { return };
        if let Err(e) = session.send_bare(SessionOp::REQUEST_RENEWCAPS, seq) {
            pr_err!("mds{}: cannot renew caps: {:?}\n", session.rank, e);
        }
    }
}
