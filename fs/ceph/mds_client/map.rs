// SPDX-License-Identifier: GPL-2.0
//! Maps: which rank is which daemon, and what a change of that means for sessions.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    pr_err_ratelimited,
    time,
    workqueue::DelayedTask, //
};

use ceph_core::{
    messenger::Incoming,
    mon_client::Sub, //
};
use ceph_fs_proto::{
    machine::{request::Request, session::SessionState},
    wire::{
        fsmap_user::FsMapUser,
        mdsmap::{
            MdsMap,
            MdsState, //
        },
        msg::{
            is_understood,
            FS_MAP_USER,
            MDS_MAP, //
        },
    },
};

use super::{
    client::MdsClient,
    events::MdsEvents, //
};

impl<F: MdsEvents> MdsClient<F> {
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
        match self.map_message(msg) {
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

    /// Takes a map, of a monitor or of a metadata server.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and nothing was taken in; any other means that it makes no sense.
    pub(super) fn map_message(self: &Arc<Self>, msg: &Incoming) -> Result {
        if !is_understood(msg.header.kind, msg.header.compat_version)? {
            return Ok(());
        }
        match msg.header.kind {
            MDS_MAP => self.mds_map(&msg.front),
            FS_MAP_USER => self.fs_map(&msg.front),
            _ => Ok(()),
        }
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
                self.kick(Request::map_changed);
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
        self.open_export_targets(&map);
        drop(taking_in);
        self.kick(Request::map_changed);
        DelayedTask::<Self>::queue(self.clone());
        Ok(())
    }

    /// What the new map means for each session. With `maps` held, so that no later map
    /// overtakes it.
    fn compare_maps(self: &Arc<Self>, old: &MdsMap, new: &MdsMap) {
        let kind = self.client.messenger.addr_kind();
        for session in self.sessions() {
            let rank = session.rank;
            let (before, after) = (old.state(rank), new.state(rank));
            if new.get(rank).is_none() && !new.is_in(rank) {
                pr_info!("mds{} is gone from the map\n", rank);
                self.drop_session(&session, SessionState::Closed);
                continue;
            }
            if session.state() == SessionState::New {
                continue;
            }
            if old.addr(rank, kind) != new.addr(rank, kind) {
                // Another daemon, or another life of it: what the session has is kept
                // until the rank asks for it. One that is being opened may be known to the
                // rank, too, by what another has exported; if it is not, the reconnect is
                // denied, and it is opened anew.
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
                session.change(|machine| machine.moved(time::jiffies()));
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
                self.kick(|request| request.rank_serves(rank));
                if let Some(fs) = self.fs() {
                    fs.reconnected(&session);
                }
            }
        }
    }
}
