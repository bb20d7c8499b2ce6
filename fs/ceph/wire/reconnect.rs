// SPDX-License-Identifier: GPL-2.0
//! `MClientReconnect` (Ceph: src/messages/MClientReconnect.h): what a client tells
//! a server that took over a rank. Everything is in the message's data.
//!
//! Version 3 is one message with all capabilities and realms. Version 5 is a run
//! of messages, each with either, and a flag that says whether more follow; it
//! needs `CEPHFS_FEATURE_MULTI_RECONNECT`.
use ceph_proto::wire::encode::Encoder;
use kernel::prelude::*;

use super::cap_bits::Caps;

/// A capability that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapRecord<'a> {
    /// Inode.
    pub ino: u64,
    /// Identity.
    pub cap_id: u64,
    /// What is wanted.
    pub wanted: Caps,
    /// What is held.
    pub issued: Caps,
    /// Its snap realm.
    pub snaprealm: u64,
    /// The directory that `path` begins at; 0 when the path is not known.
    pub pathbase: u64,
    /// Name in that directory.
    pub path: &'a [u8],
    /// Snapshot version of the data that is held back.
    pub snap_follows: u64,
}

impl CapRecord<'_> {
    fn encode(&self, e: &mut Encoder) -> Result {
        e.u64(self.ino)?.versioned(2, 1, |e| {
            e.blob(self.path)?.u64(self.cap_id)?;
            e.u32(self.wanted.0)?.u32(self.issued.0)?;
            e.u64(self.snaprealm)?.u64(self.pathbase)?;
            // File locks: a blob with no locks of either kind.
            e.u32(8)?.u32(0)?.u32(0)?;
            e.u64(self.snap_follows)?;
            Ok(())
        })?;
        Ok(())
    }
}

/// A snap realm that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmRecord {
    /// The directory that it begins at.
    pub ino: u64,
    /// Its version.
    pub seq: u64,
    /// The realm above.
    pub parent: u64,
}

/// Builds the messages of one reconnect.
pub struct Reconnect {
    multi: bool,
    max_size: usize,
    messages: KVec<(u16, KVVec<u8>)>,
    body: Encoder,
    caps: u32,
    realms: u32,
    in_realms: bool,
}

impl Reconnect {
    /// `RECONNECT_MAX_SIZE`: what servers accept in one message, a little less
    /// than 256 MiB.
    pub const MAX_SIZE: usize = i32::MAX as usize / 8 - 4096;

    /// Begins; `multi` says whether more than one message is allowed.
    pub fn new(multi: bool, max_size: usize) -> Result<Self> {
        let mut body = Encoder::new();
        body.u32(0)?;
        Ok(Self {
            multi,
            max_size,
            messages: KVec::new(),
            body,
            caps: 0,
            realms: 0,
            in_realms: false,
        })
    }

    /// Ends the message that is being built, with another to follow.
    fn split(&mut self) -> Result {
        if !self.multi {
            return Err(ENOSPC);
        }
        let mut next = Encoder::new();
        next.u32(0)?;
        if self.in_realms {
            next.u32(0)?;
        } else {
            self.body.u32(0)?;
        }
        let mut full = core::mem::replace(&mut self.body, next);
        full.u8(1)?;
        self.patch_counts(&mut full)?;
        self.messages.push((5, full.into_vec()), GFP_KERNEL)?;
        (self.caps, self.realms) = (0, 0);
        Ok(())
    }

    fn patch_counts(&self, e: &mut Encoder) -> Result {
        e.patch(0, &self.caps.to_le_bytes())?;
        if self.in_realms && self.caps == 0 && self.multi_used() {
            e.patch(4, &self.realms.to_le_bytes())?;
        }
        Ok(())
    }

    fn multi_used(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Adds a capability; all come before the realms.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] when one message is too small and only one is allowed.
    pub fn cap(&mut self, cap: &CapRecord<'_>) -> Result {
        let need = cap.path.len().saturating_add(80);
        if self.body.len().saturating_add(need) > self.max_size && self.caps > 0 {
            self.split()?;
        }
        cap.encode(&mut self.body)?;
        self.caps = self.caps.saturating_add(1);
        Ok(())
    }

    /// Adds all realms and ends: the messages' versions and data, in order.
    pub fn finish(mut self, realms: &[RealmRecord]) -> Result<KVec<(u16, KVVec<u8>)>> {
        // With the head that each realm has in version 5.
        let need = realms.len().saturating_mul(30).saturating_add(5);
        if self.body.len().saturating_add(need) > self.max_size && self.caps > 0 {
            self.split()?;
        }
        let multi = self.multi_used();
        if multi {
            // A part has either: what caps remain go out by themselves.
            if self.caps > 0 && !realms.is_empty() {
                self.split()?;
            }
            self.body.u32(0)?;
            self.in_realms = true;
        }
        for realm in realms {
            if multi {
                if self.body.len().saturating_add(30) > self.max_size && self.realms > 0 {
                    self.split()?;
                }
                self.body.u8(1)?.u8(1)?.u32(24)?;
            }
            self.body
                .u64(realm.ino)?
                .u64(realm.seq)?
                .u64(realm.parent)?;
            self.realms = self.realms.saturating_add(1);
        }
        if multi {
            self.body.u8(0)?;
        }
        let mut last = core::mem::take(&mut self.body);
        self.patch_counts(&mut last)?;
        let version = if multi { 5 } else { 3 };
        self.messages.push((version, last.into_vec()), GFP_KERNEL)?;
        Ok(self.messages)
    }

    /// The oldest version that must be understood to read a message of the version.
    pub const fn compat(version: u16) -> u16 {
        if version >= 4 {
            4
        } else {
            1
        }
    }
}

#[kunit_tests(ceph_wire_reconnect)]
mod tests {
    use super::*;
    use ceph_proto::wire::decode::Decoder;

    const CAP: CapRecord<'_> = CapRecord {
        ino: 0x1000,
        cap_id: 7,
        wanted: Caps::FILE_RD,
        issued: Caps::STAT_ALL,
        snaprealm: 1,
        pathbase: 1,
        path: b"name",
        snap_follows: 5,
    };

    fn read_cap(d: &mut Decoder<'_>) -> Result {
        assert_eq!(d.u64()?, 0x1000);
        let (version, mut body) = d.versioned(2)?;
        assert_eq!((version, body.blob()?, body.u64()?), (2, &b"name"[..], 7));
        body.skip(24)?;
        assert_eq!((body.blob()?.len(), body.u64()?), (8, 5));
        assert!(body.is_empty());
        Ok(())
    }

    #[test]
    fn one_message() -> Result {
        let mut r = Reconnect::new(true, Reconnect::MAX_SIZE)?;
        for _ in 0..3 {
            r.cap(&CAP)?;
        }
        let realm = RealmRecord {
            ino: 1,
            seq: 2,
            parent: 0,
        };
        let messages = r.finish(&[realm, realm])?;
        let [(3, data)] = &messages[..] else {
            return Err(EINVAL);
        };
        let mut d = Decoder::new(data);
        assert_eq!(d.u32()?, 3);
        for _ in 0..3 {
            read_cap(&mut d)?;
        }
        assert_eq!(d.remaining(), 48);
        Ok(())
    }

    #[test]
    fn a_run_of_messages() -> Result {
        let mut r = Reconnect::new(true, 200)?;
        for _ in 0..5 {
            r.cap(&CAP)?;
        }
        let realms = [RealmRecord {
            ino: 1,
            seq: 2,
            parent: 0,
        }; 9];
        let messages = r.finish(&realms)?;
        let (mut caps, mut seen) = (0, 0);
        let last = messages.len().checked_sub(1).ok_or(EINVAL)?;
        for (i, (version, data)) in messages.iter().enumerate() {
            assert_eq!((*version, Reconnect::compat(*version)), (5, 4));
            assert!(data.len() <= 210);
            let mut d = Decoder::new(data);
            let n = d.u32()?;
            for _ in 0..n {
                read_cap(&mut d)?;
            }
            let m = d.u32()?;
            for _ in 0..m {
                let (_, mut body) = d.versioned(1)?;
                assert_eq!((body.u64()?, body.u64()?, body.u64()?), (1, 2, 0));
            }
            assert_eq!(d.u8()?, u8::from(i != last));
            assert!(d.is_empty() && (n == 0 || m == 0));
            caps += n;
            seen += m;
        }
        assert_eq!((caps, seen), (5, 9));
        Ok(())
    }

    #[test]
    fn one_message_may_be_too_small() -> Result {
        let mut r = Reconnect::new(false, 100)?;
        r.cap(&CAP)?;
        assert_eq!(r.cap(&CAP).err(), Some(ENOSPC));
        Ok(())
    }
}
