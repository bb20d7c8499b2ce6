// SPDX-License-Identifier: GPL-2.0
//! OSD maps: from the messages of monitors and OSDs to the view that requests are placed by.
use kernel::{
    prelude::*,
    sync::{
        atomic::{Relaxed, Release},
        Arc,
    },
};

use ceph_proto::wire::osd::OsdMaps;
use ceph_proto::wire::osdmap::{flags, OsdMap};
use ceph_proto::wire::osdmap_inc::Incremental;
use ceph_proto::wire::types::AddrType;

use super::{
    client::OsdClient,
    scan::{Scan, Taken},
    view::View,
};
use crate::log::error;
use crate::mon_client::Sub;

/// Pauses of the map: somebody wants to know when they end.
fn is_paused(map: &OsdMap) -> bool {
    map.flags & (flags::FULL | flags::PAUSERD | flags::PAUSEWR) != 0
}

impl OsdClient {
    /// Takes the front of an `MOSDMap`, from whomever. What is not newer than the current map is
    /// not kept; the worker does the rest.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for malformed bytes, `ENOMEM`.
    pub fn handle_map(self: &Arc<Self>, front: &[u8]) -> Result {
        let maps = OsdMaps::decode(front)?;
        if maps.newest() <= self.epoch() || self.monc.check_fsid(&maps.fsid).is_err() {
            return Ok(());
        }
        drop(maps);
        self.maps.lock().push(front)?;
        self.wake_worker();
        Ok(())
    }

    /// Takes the messages with maps that came in. Returns whether there is one left for which
    /// there is no memory now.
    pub(super) fn take_all_maps(self: &Arc<Self>, taken: &mut Taken) -> bool {
        let (mut news, mut left) = (false, false);
        loop {
            // The worker alone takes out; others append.
            let front = self.maps.lock().take();
            let Some(front) = front else { break };
            news = true;
            match self.take_maps(&front, taken) {
                Err(error) if error == ENOMEM => {
                    self.maps.lock().put_back(front);
                    left = true;
                    break;
                }
                Err(error) => error!("corrupt osdmap: {}\n", error.to_errno()),
                Ok(()) => {}
            }
            self.maps.lock().pop(front.len());
        }
        let dropped = core::mem::take(&mut self.maps.lock().dropped);
        if news || dropped {
            self.monc.got_map(Sub::OsdMap, self.epoch());
        }
        if dropped {
            self.request_map();
        }
        left
    }

    /// Which of the addresses of an OSD is connected to.
    fn addr_kind(&self) -> AddrType {
        self.monc.messenger().addr_kind()
    }

    /// Takes the maps of a message, in order.
    fn take_maps(self: &Arc<Self>, front: &[u8], taken: &mut Taken) -> Result {
        let maps = OsdMaps::decode(front)?;
        let before = self.map();
        let was_paused = before.as_deref().is_some_and(is_paused);
        let mut newest = None;
        let mut result = self.take_incrementals(&maps, before, &mut newest, taken);
        if let (Ok(()), None, Some((epoch, bytes))) = (result, &newest, maps.full.last()) {
            if self.epoch() < *epoch {
                match OsdMap::decode_for(self.addr_kind(), bytes).and_then(View::new) {
                    Ok(view) => newest = Some(view),
                    Err(error) => result = Err(error),
                }
            }
        }
        if let Some(view) = newest {
            self.publish(view);
        }
        if let Some(map) = self.map() {
            if was_paused || is_paused(&map) || map.epoch < self.barrier() {
                self.request_map();
            }
        }
        result
    }

    /// Each request sees each epoch; but only the last is published.
    fn take_incrementals(
        self: &Arc<Self>,
        maps: &OsdMaps<'_>,
        mut old: Option<Arc<OsdMap>>,
        newest: &mut Option<Arc<View>>,
        taken: &mut Taken,
    ) -> Result {
        for (epoch, bytes) in &maps.incremental {
            let Some(map) = &old else { break };
            if map.epoch.checked_add(1) != Some(*epoch) {
                continue;
            }
            let view = View::new(map.apply(Incremental::decode_for(self.addr_kind(), bytes)?)?)?;
            self.scan(&view, Scan::Changed, taken);
            old = Some(view.map.clone());
            *newest = Some(view);
        }
        Ok(())
    }

    /// From now on, requests are placed by this view. The worker looks through the sessions
    /// after that.
    fn publish(self: &Arc<Self>, view: Arc<View>) {
        let epoch = view.map.epoch;
        drop(self.view.replace(Some(view)));
        self.epoch.store(epoch, Release);
        self.retired.store(false, Relaxed);
        self.map_for_claims(epoch);
    }

    /// Sessions that are over leave the view.
    pub(super) fn renew_view(&self) {
        if !self.retired.xchg(false, Relaxed) {
            return;
        }
        // Without memory they are passed by, one request at a time.
        let renewed = self
            .view
            .get()
            .and_then(|view| view.without_sessions().ok());
        if renewed.is_some() {
            drop(self.view.replace(renewed));
        }
    }
}
