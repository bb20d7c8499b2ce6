// SPDX-License-Identifier: GPL-2.0
//! Questions to the monitors about the newest OSD map: whether a pool does not exist, and
//! whether a barrier that an MDS raises can be true.
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};

use ceph_proto::machine::osd_barrier::Barrier;
use ceph_proto::machine::osd_request::{PoolCheck, State as LifeState};

use super::client::OsdClient;
use crate::request::Callback;

impl OsdClient {
    /// Asks the monitors for the epoch of their newest map if there are requests whose pool is
    /// not in ours, unless they are being asked already. Called by the worker.
    pub(super) fn check_pools(self: &Arc<Self>) {
        if !self.pool_question.is_free() {
            return;
        }
        let mut state = self.homeless.state.lock();
        let due = LifeState::AskingPool(PoolCheck::Due);
        let mut asking = false;
        for pending in state.requests.values_mut() {
            if pending.life.state() == due {
                pending.life.asked();
                asking = true;
            }
        }
        if !asking {
            return;
        }
        // Nobody answers before this.
        self.pool_question.ask();
        drop(state);
        let osdc = self.clone();
        let told = Callback::new(move |newest: Result<u64>| {
            osdc.pool_question.answer(newest);
            osdc.request_map();
            osdc.wake_worker();
        });
        let sent = told.and_then(|told| self.monc.get_version_async("osdmap", told));
        if let Err(error) = sent {
            // The tick tries again.
            self.pool_question.answer(Err(error));
        }
    }

    /// Requests wait for a map of this epoch.
    pub fn barrier(&self) -> u32 {
        self.barrier.load(Relaxed)
    }

    /// The same, as far as the monitors have confirmed it: what may be told to others.
    pub fn confirmed_barrier(&self) -> u32 {
        self.confirmed_barrier.load(Relaxed)
    }

    /// From now on, requests wait for a map of at least this epoch, as `who`, an MDS, says. If the
    /// monitors then say that there is no such map, they do not, and the callback that
    /// `refused` makes is called with the epoch.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: nothing has changed.
    pub fn raise_barrier(
        self: &Arc<Self>,
        who: u64,
        epoch: u32,
        refused: impl FnOnce() -> Result<Callback<u32>>,
    ) -> Result {
        if epoch <= self.barrier() {
            return Ok(());
        }
        let have = self.epoch();
        self.with_claims(|claims| claims.raise(who, epoch, have, refused))?;
        if epoch > have {
            self.request_map();
            self.ask_for_claims();
        }
        Ok(())
    }

    /// A map has come, which may be what was claimed.
    pub(super) fn map_for_claims(&self, epoch: u32) {
        self.with_claims(|claims| claims.map(epoch));
    }

    /// Nothing is asked any more.
    pub(super) fn forget_claims(&self) {
        let claims = core::mem::take(&mut *self.claims.lock());
        drop(claims);
    }

    fn with_claims<R>(&self, f: impl FnOnce(&mut Barrier<Callback<u32>>) -> R) -> R {
        let mut claims = self.claims.lock();
        let result = f(&mut claims);
        self.barrier.store(claims.epoch(), Relaxed);
        self.confirmed_barrier.store(claims.confirmed(), Relaxed);
        result
    }

    /// Asks the monitors whether there are maps of the epochs that were claimed.
    pub(super) fn ask_for_claims(self: &Arc<Self>) {
        if !self.with_claims(|claims| claims.ask()) {
            return;
        }
        let osdc = self.clone();
        let told = Callback::new(move |newest| osdc.answer_claims(newest));
        let sent = told.and_then(|told| self.monc.get_version_async("osdmap", told));
        if let Err(error) = sent {
            // The tick tries again.
            self.with_claims(|claims| claims.answer(Err(error)));
        }
    }

    fn answer_claims(self: &Arc<Self>, newest: Result<u64>) {
        let failed = newest.is_err();
        let newest = newest.map(|epoch| u32::try_from(epoch).unwrap_or(u32::MAX));
        while let Some((refused, epoch)) = self.with_claims(|claims| claims.answer(newest)) {
            refused.call(Ok(epoch));
        }
        if !failed {
            self.ask_for_claims();
        }
        // What has waited in vain goes on.
        self.wake_worker();
    }
}
