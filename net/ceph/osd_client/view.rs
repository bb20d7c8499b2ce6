// SPDX-License-Identifier: GPL-2.0
//! What a request needs to know to be sent: the map, where placement groups were found to be,
//! and the sessions. It is published ([`Published`](kernel_ext::published::Published)), so that
//! requests share no lock before they come to the session of their OSD.
use kernel::{
    prelude::*,
    sync::{Arc, SetOnce},
};

use ceph_proto::machine::placements::Placements;
use ceph_proto::wire::osdmap::OsdMap;

use super::session::Session;

/// See the module. Replaced by the worker, never changed.
pub(super) struct View {
    pub(super) map: Arc<OsdMap>,
    pub(super) placements: Arc<Placements>,
    /// Sessions that requests have looked for, so that they are found without a lock. One may
    /// be over: the worker makes a new view then. Those that have no slot of their own are
    /// looked for each time.
    sessions: SetOnce<KVVec<SetOnce<Arc<Session>>>>,
}

impl View {
    /// Most slots for sessions; a power of two.
    const MAX_SESSIONS: usize = 1024;

    /// A view of a new map.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(map: OsdMap) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                map: Arc::new(map, GFP_KERNEL)?,
                placements: Arc::new(Placements::new(), GFP_KERNEL)?,
                sessions: SetOnce::new(),
            },
            GFP_KERNEL,
        )?)
    }

    /// The same, without the sessions.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn without_sessions(&self) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                map: self.map.clone(),
                placements: self.placements.clone(),
                sessions: SetOnce::new(),
            },
            GFP_KERNEL,
        )?)
    }

    fn slot(&self, osd: i32) -> Option<&SetOnce<Arc<Session>>> {
        let slots = match self.sessions.as_ref() {
            Some(slots) => slots,
            None => {
                let count = self
                    .map
                    .max_osd()
                    .min(Self::MAX_SESSIONS)
                    .next_power_of_two();
                let mut slots = KVVec::with_capacity(count, GFP_KERNEL).ok()?;
                for _ in 0..count {
                    slots.push(SetOnce::new(), GFP_KERNEL).ok()?;
                }
                // Somebody else may have been faster.
                self.sessions.populate(slots);
                self.sessions.as_ref()?
            }
        };
        let osd = usize::try_from(osd).ok()?;
        slots.get(osd & slots.len().wrapping_sub(1))
    }

    /// The session of an OSD, if it is known; it may be closed.
    pub(super) fn session(&self, osd: i32) -> Option<&Arc<Session>> {
        let session = self.slot(osd)?.as_ref()?;
        (session.id == osd).then_some(session)
    }

    /// Remembers the session of an OSD, if there is a slot for it.
    pub(super) fn remember(&self, session: &Arc<Session>) {
        if let Some(slot) = self.slot(session.id) {
            slot.populate(session.clone());
        }
    }
}
