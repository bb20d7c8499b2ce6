// SPDX-License-Identifier: GPL-2.0
//! Which maps a client wants from the monitors.
//!
//! ```text
//!             want(once)                got(epoch)
//!   Nothing -------------> Once(start) ------------> Nothing
//!      |                       ^ |
//!      | want(for ever)        | v  want()
//!      '-----------------> From(start) <--.  got(epoch): start = epoch + 1
//!                                |        |
//!                                '--------'
//! ```
//!
//! A monitor forgets subscriptions with the session, so all are sent again with
//! each new one. Monitors since Jewel (`MON_STATEFUL_SUB`) keep them as long as the
//! session lives; older ones want them renewed when half of their time is over.
//! Time is in seconds, from any beginning.
use kernel::prelude::*;

use crate::wire::mon::{self, SubscribeItem};

/// A map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sub {
    /// Map of the monitors.
    MonMap,
    /// Map of the OSDs.
    OsdMap,
    /// Names of the file systems.
    FsMapUser,
    /// Map of the metadata servers of one file system.
    MdsMap,
}

impl Sub {
    /// All of them, in the order in which they are sent and shown.
    pub const ALL: [Self; 4] = [Self::MonMap, Self::OsdMap, Self::FsMapUser, Self::MdsMap];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MonMap => "monmap",
            Self::OsdMap => "osdmap",
            Self::FsMapUser => "fsmap.user",
            Self::MdsMap => "mdsmap",
        }
    }
}

/// What is wanted of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// The maps from this epoch on (0: the newest), once.
    Once(u64),
    /// The maps from this epoch on, and whatever comes.
    From(u64),
}

#[derive(Clone, Copy, Debug)]
struct Map {
    want: Want,
    have: u32,
}

/// The subscriptions of a client.
#[derive(Debug)]
pub struct Subs {
    maps: [Map; 4],
    fs: Option<i32>,
    /// When the request that is not acknowledged was sent.
    sent: Option<u64>,
    renew_after: u64,
}

impl Subs {
    /// Starts without any.
    pub const fn new() -> Self {
        Self {
            maps: [Map {
                want: Want::Nothing,
                have: 0,
            }; 4],
            fs: None,
            sent: None,
            renew_after: 0,
        }
    }

    fn map(&mut self, sub: Sub) -> &mut Map {
        let [monmap, osdmap, fsmap, mdsmap] = &mut self.maps;
        match sub {
            Sub::MonMap => monmap,
            Sub::OsdMap => osdmap,
            Sub::FsMapUser => fsmap,
            Sub::MdsMap => mdsmap,
        }
    }

    /// What is wanted, and the newest epoch that is there.
    pub fn get(&self, sub: Sub) -> (Want, u32) {
        let [monmap, osdmap, fsmap, mdsmap] = &self.maps;
        let map = match sub {
            Sub::MonMap => monmap,
            Sub::OsdMap => osdmap,
            Sub::FsMapUser => fsmap,
            Sub::MdsMap => mdsmap,
        };
        (map.want, map.have)
    }

    /// Registers interest. Returns whether that is something new to ask for.
    pub fn want(&mut self, sub: Sub, start: u32, continuous: bool) -> bool {
        let want = match continuous {
            true => Want::From(u64::from(start)),
            false => Want::Once(u64::from(start)),
        };
        let map = self.map(sub);
        let new = map.want != want;
        map.want = want;
        new
    }

    /// A map was received.
    pub fn got(&mut self, sub: Sub, epoch: u32) {
        let map = self.map(sub);
        map.want = match map.want {
            Want::From(_) => Want::From(u64::from(epoch).saturating_add(1)),
            Want::Once(_) | Want::Nothing => Want::Nothing,
        };
        map.have = epoch;
    }

    /// The file system whose MDS map is wanted.
    pub fn set_fs(&mut self, fs: i32) {
        self.fs = Some(fs);
    }

    /// The file system whose MDS map is wanted.
    pub fn fs(&self) -> Option<i32> {
        self.fs
    }

    /// There is a new session: everything has to be asked for again.
    pub fn session_opened(&mut self, now: u64) {
        self.sent = None;
        self.renew_after = now;
    }

    /// The message that asks for all that is wanted, which the caller sends now;
    /// none if nothing is wanted.
    pub fn request(&mut self, now: u64) -> Result<Option<KVVec<u8>>> {
        let mut items = KVec::with_capacity(Sub::ALL.len(), GFP_KERNEL)?;
        for sub in Sub::ALL {
            let (start, onetime) = match self.get(sub).0 {
                Want::Nothing => continue,
                Want::Once(start) => (start, true),
                Want::From(start) => (start, false),
            };
            let item = SubscribeItem {
                name: sub.name(),
                fs: self.fs.filter(|_| sub == Sub::MdsMap),
                start,
                onetime,
            };
            items.push(item, GFP_KERNEL)?;
        }
        if items.is_empty() {
            return Ok(None);
        }
        self.sent.get_or_insert(now);
        mon::subscribe(&items).map(Some)
    }

    /// The monitor has taken the subscriptions, for `duration` seconds.
    pub fn acknowledged(&mut self, duration: u32) {
        if let Some(sent) = self.sent.take() {
            self.renew_after = sent.saturating_add(u64::from(duration / 2));
        }
    }

    /// Whether a monitor that forgets has to be asked again.
    pub fn renewal_is_due(&self, now: u64) -> bool {
        now >= self.renew_after
    }
}

impl Default for Subs {
    fn default() -> Self {
        Self::new()
    }
}

#[kunit_tests(ceph_machine_subs)]
mod tests {
    use super::*;

    #[test]
    fn once_and_for_ever() {
        let mut subs = Subs::new();
        assert!(subs.want(Sub::OsdMap, 0, false));
        assert!(!subs.want(Sub::OsdMap, 0, false));
        assert!(subs.want(Sub::MdsMap, 0, true));
        subs.got(Sub::OsdMap, 8);
        subs.got(Sub::MdsMap, 5);
        assert_eq!(subs.get(Sub::OsdMap), (Want::Nothing, 8));
        assert_eq!(subs.get(Sub::MdsMap), (Want::From(6), 5));
        // Wanted again from where we are, and then from elsewhere.
        assert!(!subs.want(Sub::MdsMap, 6, true));
        assert!(subs.want(Sub::MdsMap, 6, false));
        // A map that nobody asked for.
        subs.got(Sub::MonMap, 2);
        assert_eq!(subs.get(Sub::MonMap), (Want::Nothing, 2));
    }

    #[test]
    fn requests() -> Result {
        let mut subs = Subs::new();
        assert!(subs.request(0)?.is_none());
        subs.want(Sub::MdsMap, 3, true);
        let without = subs.request(0)?.ok_or(EINVAL)?;
        subs.set_fs(1);
        let with = subs.request(0)?.ok_or(EINVAL)?;
        assert_eq!((without.len(), with.len()), (23, 25));
        Ok(())
    }

    #[test]
    fn renewal() -> Result {
        let mut subs = Subs::new();
        subs.want(Sub::MonMap, 0, true);
        subs.session_opened(100);
        assert!(subs.renewal_is_due(100));
        subs.request(101)?;
        subs.request(150)?;
        subs.acknowledged(300);
        assert!(!subs.renewal_is_due(250));
        assert!(subs.renewal_is_due(251));
        // One that was not asked for changes nothing.
        subs.acknowledged(10_000);
        assert!(subs.renewal_is_due(251));
        Ok(())
    }
}
