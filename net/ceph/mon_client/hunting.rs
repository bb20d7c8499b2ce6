// SPDX-License-Identifier: GPL-2.0
//! Finding a monitor, keeping it, and finding another one when it is lost: what
//! [`Hunt`](ceph_proto::machine::hunt::Hunt) says is done here.
use core::time::Duration;
use kernel::sync::Arc;
use kernel_ext::{
    alloc_scope::NoIo,
    random, time,
    workqueue::{DelayedTask, TaskHandler},
};

use ceph_proto::machine::{
    hunt::{Tick, PING_TIMEOUT_MS},
    subs::Sub,
};
use ceph_proto::wire::types::{EntityName, EntityType};

use super::{
    client::{Inner, MonClient, MonDispatch},
    maps,
    session::Session,
};
use crate::log::info;

/// `CEPH_FEATURE_MON_STATEFUL_SUB` with its incarnation bit.
const MON_STATEFUL_SUB: u64 = 1 << 57;

impl MonClient {
    /// Opens a session with a random monitor and asks for the maps of monitors and
    /// OSDs. Maps that are not the monitor client's go to `maps` until
    /// [`stop`](Self::stop).
    pub fn start(self: &Arc<Self>, maps: Arc<dyn MonDispatch>) {
        let _noio = NoIo::enter();
        let mut inner = self.inner.lock();
        inner.maps = Some(maps);
        inner.cause = None;
        inner.subs.want(Sub::MonMap, 0, true);
        inner.subs.want(Sub::OsdMap, 0, false);
        self.open(&mut inner);
        self.schedule(&inner);
    }

    /// Goes to another monitor, for example because our address has changed.
    pub fn reopen_session(self: &Arc<Self>) {
        let _noio = NoIo::enter();
        let mut inner = self.inner.lock();
        if !inner.hunt.is_stopped() {
            self.reopen(&mut inner);
            self.schedule(&inner);
        }
    }

    /// Takes another monitor than the current one and opens a session with it.
    pub(super) fn open(self: &Arc<Self>, inner: &mut Inner) {
        let map = self.map();
        let pick = inner.hunt.next(map.mons.len(), random::below);
        let Some(mon) = pick.and_then(|i| map.mons.get(i)).copied() else {
            return;
        };
        inner.session = inner.session.wrapping_add(1);
        inner.lost_at.get_or_insert(time::jiffies());
        self.auth.begin(inner.session);
        // Without memory nothing is open, and the next tick tries again.
        if let Ok(ops) = Session::new(self.clone(), inner.session, mon) {
            let name = EntityName {
                kind: EntityType::MON,
                num: mon.rank,
            };
            self.con.open(name, mon.addr, ops);
            // The monitor shall be known to be alive when the hunt is over.
            self.con.keepalive();
        }
    }

    pub(super) fn reopen(self: &Arc<Self>, inner: &mut Inner) {
        if !inner.hunt.is_hunting() {
            if let Some((mon, addr)) = self.con.peer().zip(self.con.peer_addr()) {
                info!("{mon} {addr} session lost, hunting for new mon\n");
                self.events
                    .add(format_args!("{mon} {addr} session lost, hunting"));
            }
        }
        self.con.close_nowait();
        self.open(inner);
    }

    pub(super) fn schedule(self: &Arc<Self>, inner: &Inner) {
        let delay = time::msecs(u64::from(inner.hunt.delay_ms()));
        DelayedTask::<Self>::mod_delayed(self.clone(), delay);
    }
}

impl TaskHandler for MonClient {
    fn run(this: Arc<Self>) {
        let _noio = NoIo::enter();
        let mut inner = this.inner.lock();
        let timeout = Duration::from_millis(u64::from(PING_TIMEOUT_MS));
        match inner.hunt.tick(this.con.keepalive_expired(timeout)) {
            Tick::Stopped => return,
            Tick::Reopen => this.reopen(&mut inner),
            Tick::Quiet => {
                this.con.keepalive();
                this.validate_auth();
                let forgets = this.con.peer_features() & MON_STATEFUL_SUB == 0;
                if inner.unsent || forgets && inner.subs.renewal_is_due(maps::now()) {
                    this.send_subs(&mut inner);
                }
            }
        }
        this.schedule(&inner);
    }
}
