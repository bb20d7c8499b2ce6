// SPDX-License-Identifier: GPL-2.0
//! Maps: which are wanted, which are there, and waiting for them.
use kernel::{prelude::*, time::Jiffies};
use kernel_ext::{alloc_scope::NoIo, time, wait::Reason};

use ceph_proto::errno;
use ceph_proto::machine::subs::Sub;
use ceph_proto::wire::{mon::kind, types::Fsid};

use super::{
    cause::Cause,
    client::{Inner, MonClient, FROM_MONITORS},
};
use crate::log::error;
use crate::messenger::Parts;

impl MonClient {
    /// Registers interest in a map: all from epoch `start` on (0: the newest), once
    /// or continuously. Returns whether that is new; then
    /// [`renew_subs`](Self::renew_subs) asks for it.
    pub fn want_map(&self, sub: Sub, start: u32, continuous: bool) -> bool {
        self.inner.lock().subs.want(sub, start, continuous)
    }

    /// A map was received and taken in.
    pub fn got_map(&self, sub: Sub, epoch: u32) {
        self.inner.lock().subs.got(sub, epoch);
        self.changed.wake_all();
    }

    /// Sends all subscriptions, now or as soon as there is a session.
    pub fn renew_subs(&self) {
        let _noio = NoIo::enter();
        let mut inner = self.inner.lock();
        if !inner.hunt.is_hunting() {
            self.send_subs(&mut inner);
        }
    }

    pub(super) fn send_subs(&self, inner: &mut Inner) {
        let sent = inner.subs.request(now()).and_then(|front| {
            let Some(front) = front else { return Ok(()) };
            self.send(Parts {
                kind: kind::MON_SUBSCRIBE,
                version: 2,
                front,
                ..Parts::default()
            })
        });
        inner.unsent = sent.is_err();
        if inner.unsent {
            error!("cannot subscribe to maps: out of memory; tried again soon\n");
        }
    }

    /// Names the file system whose MDS map is wanted.
    pub fn set_fs_cluster_id(&self, id: i32) {
        self.inner.lock().subs.set_fs(id);
    }

    /// The number of that file system; -1 without, for the cluster's default one.
    pub fn fs_cluster_id(&self) -> i32 {
        self.inner.lock().subs.fs().unwrap_or(-1)
    }

    /// Learns the cluster's identity, or compares it with what is known.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` if it is another cluster; a mount that waits fails with that.
    pub fn check_fsid(&self, fsid: &Fsid) -> Result {
        let mut inner = self.inner.lock();
        let wanted = *inner.fsid.get_or_insert(*fsid);
        if wanted == *fsid {
            return Ok(());
        }
        let found = *fsid;
        self.blame(&mut inner, Cause::OtherCluster { wanted, found });
        Err(errno::ehostunreach())
    }

    /// The cluster's identity, once it is known.
    pub fn fsid(&self) -> Option<Fsid> {
        self.inner.lock().fsid
    }

    /// Waits for the first maps of monitors and OSDs.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `EINTR` when the task is being killed, `ESHUTDOWN`, and what makes
    /// waiting vain, of which [`cause`](Self::cause) tells more: `EACCES` (the user, its key,
    /// or how we ask), `EHOSTUNREACH` (another cluster), `EPROTONOSUPPORT` (features).
    pub fn wait_maps(&self, timeout: Option<Jiffies>) -> Result {
        let reason = Reason {
            what: "mount",
            whom: FROM_MONITORS,
            ..Reason::default()
        };
        let mut result = Ok(());
        self.changed.wait_until(&self.waits, reason, timeout, || {
            let inner = self.inner.lock();
            let have = |sub| inner.subs.get(sub).1 > 0;
            let in_vain = match inner.hunt.is_stopped() {
                true => Some(errno::eshutdown()),
                false => inner.cause.as_ref().and_then(Cause::in_vain),
            };
            match in_vain {
                Some(error) => {
                    result = Err(error);
                    true
                }
                None => have(Sub::MonMap) && have(Sub::OsdMap),
            }
        })?;
        result
    }

    /// Waits until the OSD map has at least this epoch.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `EINTR` when the task is being killed, `ESHUTDOWN`.
    pub fn wait_osdmap(&self, epoch: u32, timeout: Option<Jiffies>) -> Result {
        let reason = Reason {
            what: "osdmap",
            whom: FROM_MONITORS,
            id: u64::from(epoch),
            ..Reason::default()
        };
        let mut stopped = false;
        self.changed.wait_until(&self.waits, reason, timeout, || {
            let inner = self.inner.lock();
            stopped = inner.hunt.is_stopped();
            stopped || inner.subs.get(Sub::OsdMap).1 >= epoch
        })?;
        match stopped {
            true => Err(errno::eshutdown()),
            false => Ok(()),
        }
    }

    /// Makes sure that the OSD map is at least as new as the monitors' is now.
    ///
    /// # Errors
    ///
    /// Those of [`get_version`](Self::get_version) and
    /// [`wait_osdmap`](Self::wait_osdmap).
    pub fn wait_latest_osdmap(&self, timeout: Option<Jiffies>) -> Result {
        let newest = u32::try_from(self.get_version("osdmap")?).map_err(|_| EINVAL)?;
        let have = self.inner.lock().subs.get(Sub::OsdMap).1;
        if have >= newest {
            return Ok(());
        }
        if self.want_map(Sub::OsdMap, have.saturating_add(1), false) {
            self.renew_subs();
        }
        self.wait_osdmap(newest, timeout)
    }
}

/// Seconds since the machine started.
pub(super) fn now() -> u64 {
    time::to_msecs(time::jiffies()) / 1000
}
