// SPDX-License-Identifier: GPL-2.0
//! The question whether pools exist that are not in the map.
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// The one question that is asked for all requests whose pool is not in the map.
///
/// ```text
///   NONE --- ask(), the worker ---> ASKED --- answer ---> epoch or FAILED --- take(), the worker ---> NONE
/// ```
pub(super) struct PoolQuestion(Atomic<u64>);

impl PoolQuestion {
    const NONE: u64 = u64::MAX;
    const ASKED: u64 = u64::MAX - 1;
    const FAILED: u64 = u64::MAX - 2;

    pub(super) const fn new() -> Self {
        Self(Atomic::new(Self::NONE))
    }

    /// Whether the monitors may be asked.
    pub(super) fn is_free(&self) -> bool {
        self.0.load(Relaxed) == Self::NONE
    }

    /// They are being asked.
    pub(super) fn ask(&self) {
        self.0.store(Self::ASKED, Relaxed);
    }

    /// What they said.
    pub(super) fn answer(&self, newest: Result<u64>) {
        // An epoch beyond 32 bits is not one of a map that will ever come.
        let answer = newest.ok().filter(|epoch| *epoch <= u64::from(u32::MAX));
        self.0.store(answer.unwrap_or(Self::FAILED), Relaxed);
    }

    /// The answer, once.
    pub(super) fn take(&self) -> Option<Result<u32>> {
        match self.0.load(Relaxed) {
            Self::NONE | Self::ASKED => None,
            answer => {
                self.0.store(Self::NONE, Relaxed);
                Some(u32::try_from(answer).map_err(|_| EAGAIN))
            }
        }
    }
}
