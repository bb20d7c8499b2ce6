// SPDX-License-Identifier: GPL-2.0
//! Snap realms: which snapshots exist, as far as inodes of this client are concerned.
//!
//! For reading they are kept to be told to a restarted server, which then says what
//! has changed. Realms that no capability belongs to any more are forgotten, some ticks
//! later ([`FsClient::forget_realms`]).
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Mutex, //
};

use ceph_fs_proto::wire::{
    reconnect::RealmRecord,
    snap::SnapTrace, //
};

struct Realm {
    seq: u64,
    parent: u64,
    created: u64,
    parent_since: u64,
    snaps: KVec<u64>,
    prior_parent_snaps: KVec<u64>,
    /// How often nothing was found to belong to it since it was last heard of.
    unused: u8,
}

/// So many realms are never too many.
const FEW: usize = 64;

/// A realm goes when it was unused so often in succession: a reply tells of a realm
/// before the capability is there that belongs to it.
const UNUSED: u8 = 2;

struct Realms {
    tree: RBTree<u64, Realm>,
    len: usize,
    /// With more than that it is time to look which are used.
    enough: usize,
    /// The trace that [`Self::take_in`] has taken in, if nothing has changed since. Empty
    /// for none.
    last: KVVec<u8>,
}

impl Realms {
    fn new() -> Self {
        Self {
            tree: RBTree::new(),
            len: 0,
            enough: FEW,
            last: KVVec::new(),
        }
    }

    /// Takes in an encoded trace. Nearly all replies repeat that of the one before, which is
    /// not even decoded.
    fn take_in(&mut self, encoded: &[u8]) -> Result {
        if self.last[..] == *encoded {
            return Ok(());
        }
        self.update(&SnapTrace::decode(encoded)?)?;
        if self.last.extend_from_slice(encoded, GFP_KERNEL).is_err() {
            self.last.clear();
        }
        Ok(())
    }

    fn update(&mut self, trace: &SnapTrace<'_>) -> Result {
        self.last.clear();
        for new in trace.iter() {
            if let Some(old) = self.tree.get_mut(&new.ino) {
                old.parent = new.parent;
                old.unused = 0;
                if new.seq > old.seq {
                    old.snaps = numbers(new.snaps)?;
                    old.prior_parent_snaps = numbers(new.prior_parent_snaps)?;
                    old.created = new.created;
                    old.parent_since = new.parent_since;
                    old.seq = new.seq;
                }
                continue;
            }
            let realm = Realm {
                seq: new.seq,
                parent: new.parent,
                created: new.created,
                parent_since: new.parent_since,
                snaps: numbers(new.snaps)?,
                prior_parent_snaps: numbers(new.prior_parent_snaps)?,
                unused: 0,
            };
            self.insert(new.ino, realm)?;
        }
        Ok(())
    }

    fn set_parent(&mut self, ino: u64, parent: u64) {
        self.last.clear();
        if let Some(realm) = self.tree.get_mut(&ino) {
            realm.parent = parent;
        }
    }

    fn insert(&mut self, ino: u64, realm: Realm) -> Result {
        let node = RBTreeNode::new(ino, realm, GFP_KERNEL)?;
        if self.tree.insert(node).is_none() {
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }

    /// Counts for each whether it is unused, until it is [marked](Self::mark).
    fn begin(&mut self) {
        self.last.clear();
        for (_, realm) in self.tree.iter_mut() {
            realm.unused = realm.unused.saturating_add(1);
        }
    }

    /// Something belongs to the realm, and so to those that it is in.
    fn mark(&mut self, mut ino: u64) {
        while let Some(realm) = self.tree.get_mut(&ino) {
            // Those above have been marked with it.
            if realm.unused == 0 {
                return;
            }
            realm.unused = 0;
            ino = realm.parent;
        }
    }

    /// Forgets what was unused for long enough.
    fn end(&mut self) {
        let mut waiting = false;
        let mut next = self.tree.cursor_front_mut();
        while let Some(cursor) = next {
            let (_, realm) = cursor.current();
            if realm.unused >= UNUSED {
                next = cursor.remove_current().0;
                self.len = self.len.saturating_sub(1);
            } else {
                waiting |= realm.unused > 0;
                next = cursor.move_next();
            }
        }
        if !waiting {
            self.enough = self.len.saturating_mul(2).max(FEW);
        }
    }
}

/// All snap realms that are known, by the inode they begin at.
#[pin_data]
pub(crate) struct SnapRealms {
    #[pin]
    realms: Mutex<Realms>,
}

fn numbers(from: ceph_fs_proto::wire::snap::Numbers<'_>) -> Result<KVec<u64>> {
    let mut vec = KVec::with_capacity(from.len(), GFP_KERNEL)?;
    for number in from.iter() {
        vec.push(number, GFP_KERNEL)?;
    }
    Ok(vec)
}

impl SnapRealms {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            realms <- new_mutex!(Realms::new(), "ceph::SnapRealms::realms"),
        })
    }

    /// Takes in a trace.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; some realms may have been taken in then.
    pub(crate) fn update(&self, trace: &SnapTrace<'_>) -> Result {
        self.realms.lock().update(trace)
    }

    /// As [`Self::update`], of a trace that is still encoded, as it is in replies.
    pub(crate) fn take_in(&self, encoded: &[u8]) -> Result {
        self.realms.lock().take_in(encoded)
    }

    pub(crate) fn set_parent(&self, ino: u64, parent: u64) {
        self.realms.lock().set_parent(ino, parent);
    }

    /// What to tell a restarted server.
    pub(crate) fn records(&self) -> Result<KVec<RealmRecord>> {
        let realms = self.realms.lock();
        let mut records = KVec::new();
        for (ino, realm) in realms.tree.iter() {
            let record = RealmRecord {
                ino: *ino,
                seq: realm.seq,
                parent: realm.parent,
            };
            records.push(record, GFP_KERNEL)?;
        }
        Ok(records)
    }

    /// Whether it is time to look which are used.
    pub(crate) fn are_many(&self) -> bool {
        let realms = self.realms.lock();
        realms.len > realms.enough
    }

    /// Begins to look which are used: all that are not [marked](Self::mark) until
    /// [`Self::end_sweep`] count as unused.
    pub(crate) fn begin_sweep(&self) {
        self.realms.lock().begin();
    }

    /// Something belongs to the realm.
    pub(crate) fn mark(&self, ino: u64) {
        self.realms.lock().mark(ino);
    }

    /// Forgets what was unused for long enough.
    pub(crate) fn end_sweep(&self) {
        self.realms.lock().end();
    }
}

#[kunit_tests(ceph_snap)]
mod tests {
    use super::*;

    fn realms(parents: &[(u64, u64)]) -> Result<Realms> {
        let mut realms = Realms::new();
        for (ino, parent) in parents {
            let realm = Realm {
                seq: 1,
                parent: *parent,
                created: 0,
                parent_since: 0,
                snaps: KVec::new(),
                prior_parent_snaps: KVec::new(),
                unused: 0,
            };
            realms.insert(*ino, realm)?;
        }
        Ok(realms)
    }

    fn pass(realms: &mut Realms, used: &[u64]) -> KVec<u64> {
        realms.begin();
        for ino in used {
            realms.mark(*ino);
        }
        realms.end();
        let mut left = KVec::new();
        for (ino, _) in realms.tree.iter() {
            assert!(left.push(*ino, GFP_KERNEL).is_ok());
        }
        assert_eq!(left.len(), realms.len);
        left
    }

    #[test]
    fn unused_realms_go_at_the_second_pass() -> Result {
        // 1 is in none, 2 and 3 in it, 4 in 3.
        let mut realms = realms(&[(1, 0), (2, 1), (3, 1), (4, 3)])?;
        assert_eq!(&pass(&mut realms, &[4])[..], &[1, 2, 3, 4]);
        assert_eq!(&pass(&mut realms, &[4])[..], &[1, 3, 4]);
        assert_eq!(&pass(&mut realms, &[])[..], &[1, 3, 4]);
        assert_eq!(&pass(&mut realms, &[3, 3, 7])[..], &[1, 3]);
        assert_eq!(&pass(&mut realms, &[])[..], &[1, 3]);
        assert!(pass(&mut realms, &[]).is_empty());
        Ok(())
    }

    /// A trace of one realm.
    fn trace(ino: u64, parent: u64) -> Result<KVec<u8>> {
        let mut bytes = KVec::new();
        // When it came to be; the realm above, and since when; version; no snapshots.
        for number in [ino, 1, parent, 1, 1, 0] {
            bytes.extend_from_slice(&number.to_le_bytes(), GFP_KERNEL)?;
        }
        Ok(bytes)
    }

    #[test]
    fn a_trace_is_taken_in_again_if_something_has_changed() -> Result {
        let mut realms = Realms::new();
        let (first, second) = (trace(5, 1)?, trace(5, 2)?);
        let parent = |realms: &Realms| realms.tree.get(&5).map(|realm| realm.parent);
        realms.take_in(&first)?;
        assert_eq!((parent(&realms), &realms.last[..]), (Some(1), &first[..]));
        realms.take_in(&second)?;
        realms.take_in(&first)?;
        assert_eq!(parent(&realms), Some(1));
        realms.update(&SnapTrace::decode(&second)?)?;
        realms.take_in(&first)?;
        assert_eq!(parent(&realms), Some(1));
        realms.set_parent(5, 3);
        realms.take_in(&first)?;
        assert_eq!(parent(&realms), Some(1));
        // One that was told of in between is not unused.
        realms.begin();
        realms.take_in(&first)?;
        realms.begin();
        realms.end();
        assert_eq!(parent(&realms), Some(1));
        assert!(realms.take_in(&first[..40]).is_err());
        Ok(())
    }

    #[test]
    fn realms_that_are_in_each_other_end_nothing() -> Result {
        let mut realms = realms(&[(1, 2), (2, 1)])?;
        for _ in 0..3 {
            assert_eq!(&pass(&mut realms, &[1])[..], &[1, 2]);
        }
        Ok(())
    }

    #[test]
    fn a_look_is_due_when_there_are_twice_as_many() -> Result {
        let mut realms = Realms::new();
        for ino in 1..=200 {
            let mut one = self::realms(&[(ino, 0)])?;
            let realm = one.tree.remove(&ino).ok_or(EINVAL)?;
            realms.insert(ino, realm)?;
        }
        let all: KVec<u64> = {
            let mut all = KVec::new();
            for ino in 1..=200 {
                all.push(ino, GFP_KERNEL)?;
            }
            all
        };
        assert_eq!(realms.enough, FEW);
        pass(&mut realms, &all[..100]);
        assert_eq!(realms.enough, FEW);
        pass(&mut realms, &all[..100]);
        assert_eq!((realms.len, realms.enough), (100, 200));
        Ok(())
    }
}
