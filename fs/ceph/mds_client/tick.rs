// SPDX-License-Identifier: GPL-2.0
//! The tick: releases, renewals, silence of servers.
use kernel::sync::Arc;
use kernel_ext::{
    time,
    workqueue::{
        DelayedTask,
        TaskHandler, //
    },
};

use super::{
    client::{
        MdsClient,
        Phase, //
    },
    events::MdsEvents,
};

/// Seconds between two ticks.
const TICK_SECS: u64 = 5;

impl<F: MdsEvents> MdsClient<F> {
    /// Connects the file system, and begins to tick; before anything else.
    /// [`stop`](Self::stop) ends both.
    pub(crate) fn start(self: &Arc<Self>, fs: Arc<F>) {
        self.connect(fs);
        DelayedTask::<Self>::queue_delayed(self.clone(), time::secs(TICK_SECS));
    }

    /// Lets the periodic work run now, which sends the releases that are pending. Any
    /// context.
    pub(crate) fn tick_soon(self: &Arc<Self>) {
        DelayedTask::<Self>::mod_delayed(self.clone(), 0);
    }
}

impl<F: MdsEvents> TaskHandler for MdsClient<F> {
    fn run(this: Arc<Self>) {
        let Some(fs) = this.fs() else { return };
        let renew = {
            let mut state = this.state.lock();
            if matches!(state.phase, Phase::Stopping | Phase::Shutdown) {
                return;
            }
            let timeout = state.map.as_ref().map_or(60, |map| map.session_timeout);
            let due = state
                .last_renew
                .wrapping_add(time::secs(u64::from(timeout / 4)));
            let renew = time::reached(due);
            if renew {
                state.last_renew = time::jiffies();
            }
            renew
        };
        for session in this.sessions() {
            if session.check_hung() {
                this.note(format_args!("mds{} hung", session.rank));
            }
            this.reconnect_late(&session);
            if !session.state().is_alive() {
                continue;
            }
            if renew {
                this.renew_caps(&session);
            } else {
                session.con.keepalive();
            }
            if session.state().is_usable() {
                fs.flush_releases(&session);
            }
        }
        fs.tick();
        DelayedTask::<Self>::queue_delayed(this, time::secs(TICK_SECS));
    }
}
