// SPDX-License-Identifier: GPL-2.0
//! Sessions come and go: opened for a request or for what a rank exports, lost, restarted.
//!
//! # Export targets
//!
//! A rank that gives a directory to another one tells its clients with EXPORT, or already by
//! the map (`export_targets`). The other one counts a session with each client that has
//! capabilities there as open, and evicts a client that does not connect in time. So a
//! session is opened when either is heard of, even though nothing is asked of that rank. If
//! the daemon that was given the directory has restarted, its successor waits for the client
//! to reconnect, even if the client never was connected.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::time;

use ceph_core::messenger::{
    Connection,
    Message,
    Parts,
    Policy, //
};
use ceph_fs_proto::{
    machine::session::SessionState,
    wire::{
        mdsmap::{
            MdsMap,
            MdsState, //
        },
        msg::{
            CLIENT_SESSION,
            MAX_MDS, //
        },
        session::ClientSession,
    },
};
use ceph_proto::{
    errno::{
        ehostunreach,
        eshutdown, //
    },
    wire::types::{
        EntityName,
        EntityType, //
    },
};

use super::{
    client::{
        MdsClient,
        Phase,
        State, //
    },
    dispatch::SessionOps,
    events::{
        MdsEvents,
        SessionOf, //
    },
    session::Session,
};

impl<F: MdsEvents> MdsClient<F> {
    /// The session with a rank; registers one if there is none.
    pub(super) fn get_session(
        self: &Arc<Self>,
        state: &mut State<F>,
        rank: u32,
    ) -> Result<Arc<SessionOf<F>>> {
        if let Some(session) = state.session(rank) {
            return Ok(session.clone());
        }
        if matches!(state.phase, Phase::Stopping | Phase::Shutdown) {
            return Err(eshutdown());
        }
        // The table is as long as the highest rank says.
        if rank >= MAX_MDS {
            return Err(EINVAL);
        }
        let con = Connection::new(&self.client.messenger, Policy::Lossless)?;
        let session = Session::new(rank, con, F::session_data())?;
        let at = usize::try_from(rank).map_err(|_| EINVAL)?;
        while state.sessions.len() <= at {
            state.sessions.push(None, GFP_KERNEL)?;
        }
        if let Some(slot) = state.sessions.get_mut(at) {
            *slot = Some(session.clone());
        }
        Ok(session)
    }

    /// Opens the connection and asks for a session.
    pub(super) fn open_session(
        self: &Arc<Self>,
        state: &State<F>,
        session: &Arc<SessionOf<F>>,
    ) -> Result {
        let map = state.map.as_ref().ok_or_else(ehostunreach)?;
        let config = &self.config;
        let front = ClientSession::encode_open(
            0,
            &[
                ("hostname", &config.hostname),
                ("kernel_version", &config.kernel_release),
                ("entity_id", &config.entity_id),
                ("root", &config.root),
            ],
            state.oldest_tid().unwrap_or(0),
        )?;
        let message = Message::new(Parts {
            kind: CLIENT_SESSION,
            version: ClientSession::OPEN_VERSION,
            front,
            ..Parts::default()
        })?;
        self.open_connection(map, session)?;
        // From here on nothing fails: others wait for this session to be open.
        session.change(|machine| machine.opening(time::jiffies()));
        self.note(format_args!("mds{} session opening", session.rank));
        session.send(message);
        Ok(())
    }

    fn open_connection(self: &Arc<Self>, map: &MdsMap, session: &Arc<SessionOf<F>>) -> Result {
        let addr = map
            .addr(session.rank, self.client.messenger.addr_kind())
            .ok_or_else(ehostunreach)?;
        let name = EntityName {
            kind: EntityType::MDS,
            num: u64::from(session.rank),
        };
        let ops = SessionOps::new(self.clone(), session.clone())?;
        session.con.open(name, addr, ops);
        Ok(())
    }

    // ----- export targets -----

    /// The session with a rank that another one exports to, on its way to being open. `None`
    /// if there is none and will be none.
    pub(crate) fn open_export_target(self: &Arc<Self>, rank: u32) -> Option<Arc<SessionOf<F>>> {
        let session = {
            let mut state = self.state.lock();
            let session = self.get_session(&mut state, rank);
            session.inspect(|session| self.open_if_served(&state, session))
        };
        match session {
            Ok(session) => (!session.state().is_over()).then_some(session),
            Err(e) => {
                if e != eshutdown() {
                    pr_err!("mds{}: no session for what is exported: {:?}\n", rank, e);
                }
                None
            }
        }
    }

    /// Opens a session that was not asked for yet, if the rank is there to be asked. What
    /// fails is tried again at the next map.
    fn open_if_served(self: &Arc<Self>, state: &State<F>, session: &Arc<SessionOf<F>>) {
        let is_served = |map: &Arc<MdsMap>| map.state(session.rank) >= MdsState::ACTIVE;
        let opens = matches!(state.phase, Phase::Mounting | Phase::Mounted);
        if session.state() != SessionState::New
            || !opens
            || !state.map.as_ref().is_some_and(is_served)
        {
            return;
        }
        if let Err(e) = self.open_session(state, session) {
            pr_err!("mds{}: cannot open a session: {:?}\n", session.rank, e);
        }
    }

    /// Opens sessions with the ranks to which those that we have sessions with export. With
    /// `maps` held.
    pub(super) fn open_export_targets(self: &Arc<Self>, map: &MdsMap) {
        for session in self.sessions() {
            let Some(info) = map.get(session.rank) else {
                continue;
            };
            if session.state() == SessionState::New || session.state().is_over() {
                continue;
            }
            for target in info.export_targets.iter().copied() {
                let state = map.state(target);
                if state >= MdsState::ACTIVE || state == MdsState::RECONNECT {
                    self.open_export_target(target);
                }
            }
        }
        // Those of just now, and those that could not be opened when they were wanted.
        for session in self.sessions() {
            if session.state() != SessionState::New {
                continue;
            }
            if map.state(session.rank) == MdsState::RECONNECT {
                self.reconnect(&session, map, false);
            } else {
                self.open_if_served(&self.state.lock(), &session);
            }
        }
    }

    // ----- restarts -----

    /// Tries again what [`reconnect`](Self::reconnect) had no memory for.
    pub(super) fn reconnect_late(self: &Arc<Self>, session: &Arc<SessionOf<F>>) {
        let Some(map) = self.map() else { return };
        if session.state() == SessionState::Restarting
            && map.state(session.rank) >= MdsState::RECONNECT
        {
            self.reconnect(session, &map, false);
        }
    }

    /// Tells the daemon that took over a rank what this client has; with `again` even
    /// if it was told already. Without memory the tick tries again.
    pub(super) fn reconnect(
        self: &Arc<Self>,
        session: &Arc<SessionOf<F>>,
        map: &MdsMap,
        again: bool,
    ) {
        let Some(fs) = self.fs() else { return };
        let _io = session.io.lock();
        let is_due = matches!(
            session.state(),
            SessionState::New | SessionState::Restarting
        );
        if !self.is_current(session) || !again && !is_due {
            return;
        }
        if !session.change(|machine| machine.reconnecting(time::jiffies())) {
            return;
        }
        pr_info!("mds{} reconnect start\n", session.rank);
        self.note(format_args!("mds{} reconnect start", session.rank));
        session.con.close_nowait();
        let sent = self.open_connection(map, session).and_then(|()| {
            self.replay(session, map.epoch)?;
            for parts in fs.reconnect(session)? {
                session.send_parts(parts)?;
            }
            Ok(())
        });
        if let Err(e) = sent {
            pr_err!("mds{} reconnect failed: {:?}\n", session.rank, e);
            self.note(format_args!("mds{} reconnect failed", session.rank));
            session.change(|machine| machine.moved(time::jiffies()));
        }
    }

    // ----- the end of a session -----

    /// Takes a session out of the table if it is the one there. From then on nobody opens
    /// its connection; with `Session::io` held, nobody is about to.
    pub(super) fn unregister(&self, session: &Arc<SessionOf<F>>) {
        let mut state = self.state.lock();
        let removed = match state.slot(session.rank) {
            Some(slot) if slot.as_ref().is_some_and(|s| Arc::ptr_eq(s, session)) => slot.take(),
            _ => None,
        };
        drop(state);
        drop(removed);
        self.sessions_changed.wake_all();
    }

    /// Ends a session on our side: it leaves the table, its capabilities go, and
    /// what was sent through it is moved on. From the connection's own callbacks
    /// or from elsewhere.
    pub(super) fn drop_session(self: &Arc<Self>, session: &Arc<SessionOf<F>>, last: SessionState) {
        let rejected = last == SessionState::Rejected;
        {
            let _io = session.io.lock();
            // Before it is closed: who finds it in the table may open it.
            if !rejected {
                self.unregister(session);
            }
            session.change(|machine| machine.ended(rejected));
            session.con.close_nowait();
        }
        self.note(format_args!("mds{} session {}", session.rank, last.name()));
        self.sessions_changed.wake_all();
        if let Some(fs) = self.fs() {
            fs.session_closed(session);
        }
        self.kick(|request| request.session_lost(session.rank));
    }
}
