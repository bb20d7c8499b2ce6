// SPDX-License-Identifier: GPL-2.0
//! Maps: which rank is which daemon, and what a change of that means for sessions.
use kernel::{prelude::*, sync::Arc};
use kernel_ext::{pr_err_ratelimited, time, workqueue::DelayedTask};

use ceph_core::{messenger::Incoming, mon_client::Sub};
use ceph_fs_proto::wire::{
    fsmap_user::FsMapUser,
    mdsmap::{MdsMap, MdsState},
    msg::{FS_MAP_USER, MDS_MAP},
};

use super::{request::Place, session::SessionState, MdsClient, MdsHooks, Session};

impl<H: MdsHooks> MdsClient<H> {
    /// Asks the monitors for the map of the file system, or for the list of file
    /// systems first, if one was named. Before the session with them is opened.
    pub(crate) fn subscribe(&self) {
        let monc = &self.client.monc;
        if self.config.fs_name.is_some() {
            monc.want_map(Sub::FsMapUser, 0, false);
        } else {
            monc.want_map(Sub::MdsMap, 0, true);
        }
    }

    /// Takes MDS_MAP and FS_MAP_USER messages of the monitors.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and nothing was taken in.
    pub(crate) fn monitor_message(self: &Arc<Self>, msg: &Incoming) -> Result {
        let taken = match msg.header.kind {
            MDS_MAP => self.mds_map(&msg.front),
            FS_MAP_USER => self.fs_map(&msg.front),
            _ => Ok(()),
        };
        match taken {
            Err(e) if e == ENOMEM => return Err(e),
            Err(e) => pr_err_ratelimited!("corrupt map from a monitor, ignored: {:?}\n", e),
            Ok(()) => {}
        }
        Ok(())
    }

    /// The name of the file system, if the monitors do not list it to this client.
    pub(crate) fn unknown_fs(&self) -> Option<&[u8]> {
        let is_unknown = self.state.lock().map_error.is_some();
        self.config.fs_name.as_deref().filter(|_| is_unknown)
    }

    fn fs_map(self: &Arc<Self>, front: &[u8]) -> Result {
        let map = FsMapUser::decode(front)?;
        let monc = &self.client.monc;
        monc.got_map(Sub::FsMapUser, map.epoch);
        let Some(name) = &self.config.fs_name else {
            return Ok(());
        };
        match map.find(name) {
            Some(fscid) => {
                monc.set_fs_cluster_id(fscid);
                monc.want_map(Sub::MdsMap, 0, true);
                monc.renew_subs();
            }
            None => {
                self.state.lock().map_error = Some(ENOENT);
                self.kick(|place| place == Place::WaitsForMap);
            }
        }
        Ok(())
    }

    fn mds_map(self: &Arc<Self>, front: &[u8]) -> Result {
        let (fsid, map) = MdsMap::decode_message(front)?;
        self.client.monc.check_fsid(&fsid)?;
        let map = Arc::new(map, GFP_KERNEL)?;
        let taking_in = self.maps.lock();
        let old = {
            let mut state = self.state.lock();
            if state.map.as_ref().is_some_and(|old| map.epoch <= old.epoch) {
                return Ok(());
            }
            state.map_error = None;
            state.map.replace(map.clone())
        };
        self.note(format_args!("mdsmap {}", map.epoch));
        self.client.monc.got_map(Sub::MdsMap, map.epoch);
        if let Some(old) = old {
            self.compare_maps(&old, &map);
        }
        drop(taking_in);
        self.kick(|place| place == Place::WaitsForMap);
        DelayedTask::<Self>::queue(self.clone());
        Ok(())
    }

    /// What the new map means for each session. With `maps` held, so that no later map
    /// overtakes it.
    fn compare_maps(self: &Arc<Self>, old: &MdsMap, new: &MdsMap) {
        for session in self.sessions() {
            let rank = session.rank;
            let (before, after) = (old.state(rank), new.state(rank));
            if new.get(rank).is_none() && !new.is_in(rank) {
                pr_info!("mds{} is gone from the map\n", rank);
                self.drop_session(&session, SessionState::Closed);
                continue;
            }
            let never_opened = matches!(session.state(), SessionState::New | SessionState::Opening);
            if never_opened && old.addr(rank) != new.addr(rank) {
                // Nothing is held, and a reconnect would be denied.
                self.drop_session(&session, SessionState::Closed);
                continue;
            }
            if old.addr(rank) != new.addr(rank) {
                // Another daemon, or another life of it: what the session holds
                // is kept until the rank asks for it.
                self.note(format_args!(
                    "mds{rank} is another daemon, {}",
                    after.name()
                ));
                let _io = session.io.lock();
                if !self.is_current(&session) {
                    // It ended meanwhile.
                    continue;
                }
                session.con.close_nowait();
                session.inner.lock().moved(time::jiffies());
            } else if before == after {
                continue;
            }
            if session.state() == SessionState::Restarting && after >= MdsState::RECONNECT {
                self.reconnect(&session, new, false);
            }
            if before < MdsState::ACTIVE && after >= MdsState::ACTIVE {
                if before != MdsState::CREATING && before != MdsState::STARTING {
                    pr_info!("mds{} recovery completed\n", rank);
                }
                self.note(format_args!("mds{rank} is active again"));
                self.kick(|place| {
                    place == Place::Sent(rank) || place == Place::WaitsForSession(rank)
                });
                if let Some(hooks) = self.hooks() {
                    hooks.reconnected(&session);
                }
            }
        }
    }

    /// Tries again what [`reconnect`](Self::reconnect) had no memory for.
    pub(super) fn reconnect_late(self: &Arc<Self>, session: &Arc<Session<H>>) {
        let Some(map) = self.map() else { return };
        if session.state() == SessionState::Restarting
            && map.state(session.rank) >= MdsState::RECONNECT
        {
            self.reconnect(session, &map, false);
        }
    }

    /// Tells the daemon that took over a rank what this client holds; with `again` even
    /// if it was told already. Without memory the tick tries again.
    pub(super) fn reconnect(
        self: &Arc<Self>,
        session: &Arc<Session<H>>,
        map: &MdsMap,
        again: bool,
    ) {
        let Some(hooks) = self.hooks() else { return };
        let _io = session.io.lock();
        if !self.is_current(session) || !again && session.state() != SessionState::Restarting {
            return;
        }
        if !session.doubt(|inner| inner.reconnecting(time::jiffies())) {
            return;
        }
        pr_info!("mds{} reconnect start\n", session.rank);
        self.note(format_args!("mds{} reconnect start", session.rank));
        session.con.close_nowait();
        let sent = self.open_connection(map, session).and_then(|()| {
            for parts in hooks.reconnect(session)? {
                session.send_parts(parts)?;
            }
            Ok(())
        });
        if let Err(e) = sent {
            pr_err!("mds{} reconnect failed: {:?}\n", session.rank, e);
            self.note(format_args!("mds{} reconnect failed", session.rank));
            session.inner.lock().moved(time::jiffies());
        }
    }
}
