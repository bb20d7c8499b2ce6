// SPDX-License-Identifier: GPL-2.0
//! The end: of all sessions, by force, or to begin anew as another client.
use kernel::{
    prelude::*,
    sync::Arc,
    time::Jiffies, //
};
use kernel_ext::{
    time,
    wait::Reason,
    workqueue::DelayedTask, //
};

use ceph_fs_proto::machine::{
    request::{
        Next,
        Request, //
    },
    session::SessionState,
};

use super::{
    client::{
        MdsClient,
        Phase, //
    },
    events::MdsEvents,
    reason::{
        CLOSE_WAIT,
        FROM_MDS, //
    },
};

/// How long an unmount waits for sessions to be closed. What the client has is given
/// back by the same messages, and a server that does not run now reads them when it does.
const CLOSE_SECS: u64 = 10;
/// As [`CLOSE_SECS`], after `umount -f`: long enough to send the messages.
const FORCED_CLOSE_MSECS: u64 = 200;

impl<F: MdsEvents> MdsClient<F> {
    /// Ends all sessions on our side, with all that they vouched for. Requests wait until
    /// [`end_recovery`](Self::end_recovery).
    pub(crate) fn begin_recovery(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Mounted {
                return;
            }
            state.phase = Phase::Recovering;
        }
        for session in self.sessions() {
            self.drop_session(&session, SessionState::Closed);
        }
    }

    /// The client is another one now: requests go on.
    pub(crate) fn end_recovery(self: &Arc<Self>) {
        self.set_blocklisted(false);
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Recovering {
                return;
            }
            state.phase = Phase::Mounted;
        }
        self.kick(Request::map_changed);
    }

    /// Closes all sessions, at most for `limit` jiffies (and [`CLOSE_SECS`]), then cuts
    /// what is left. All requests fail from now on. Killable.
    pub(crate) fn stop(self: &Arc<Self>, limit: Jiffies) {
        let forced = {
            let mut state = self.state.lock();
            let forced = state.phase == Phase::Shutdown;
            if !forced {
                state.phase = Phase::Stopping;
            }
            forced
        };
        let fs = self.fs();
        let limit = match forced {
            true => time::msecs(FORCED_CLOSE_MSECS),
            false => limit.min(time::secs(CLOSE_SECS)),
        };
        for session in self.sessions() {
            if let Some(fs) = &fs {
                fs.flush_releases(&session);
            }
            if session.state().is_usable() {
                if let Err(e) = session.request_close() {
                    pr_err!("mds{}: cannot close the session: {:?}\n", session.rank, e);
                }
            }
        }
        let reason = Reason {
            what: CLOSE_WAIT,
            whom: FROM_MDS,
            ..Reason::default()
        };
        // What is over has left the table.
        let closed = || !self.sessions().any(|s| s.state() == SessionState::Closing);
        if self
            .sessions_changed
            .wait_until(&self.client.waits, reason, Some(limit), closed)
            .is_err()
        {
            for session in self.sessions() {
                if session.state() == SessionState::Closing {
                    pr_warn!(
                        "mds{} does not answer: unmounted without its closing the session; if it \
                        is not coming back, see `ceph fs status` and `ceph mds fail`\n",
                        session.rank
                    );
                }
            }
        }
        self.shutdown();
        drop(DelayedTask::<Self>::cancel_sync(self));
        // Those that were not closed, or registered by a request meanwhile.
        for session in self.sessions() {
            {
                // Maps still come: who would reopen it looks whether it is in the table.
                let _io = session.io.lock();
                self.unregister(&session);
                session.change(|machine| machine.ended(false));
            }
            session.con.close();
            if let Some(fs) = &fs {
                fs.session_closed(&session);
            }
        }
        // The callbacks of those that have left the table.
        self.client.messenger.flush();
        self.disconnect();
    }

    /// Fails all requests, now and later (`umount -f`).
    pub(crate) fn shutdown(self: &Arc<Self>) {
        self.state.lock().phase = Phase::Shutdown;
        self.kick(|_| Next::Advance);
    }
}
