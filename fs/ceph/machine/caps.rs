// SPDX-License-Identifier: GPL-2.0
//! The capabilities of one inode: what its servers issue, what is in use, and what
//! to tell the servers.
//!
//! Each rank issues a capability at most; one of the ranks is authoritative. A
//! capability has two sets of bits:
//!
//! ```text
//!             GRANT                          REVOKE
//!   issued    ───────▶ more ───────────────────────────▶ less
//!   implemented  follows at once ──▶ keeps the old bits while they are in use
//!                                     │ last use ends
//!                                     ▼
//!                              UPDATE to the server: implemented = issued
//! ```
//!
//! Nothing may begin to use a bit that is not *issued*; the server waits for the
//! UPDATE as long as a bit is *implemented*. All capabilities of a session become
//! doubtful at once when its generation is raised (stale, reconnect): they count
//! as the pin alone until the server tells of them again.
//!
//! What is wanted follows from the files that are open. Versions guard against
//! messages that cross: `seq` counts what a server says of a capability, `mseq`
//! counts its migrations from server to server.
use kernel::prelude::*;

use super::refs::{Mode, Refs};
use crate::wire::cap_bits::Caps;
use crate::wire::client_caps::{CapItem, CapPeer};
use crate::wire::inode_stat::ReplyCap;
use crate::wire::msg::seq_newer;

/// Who issues a capability: a session.
pub trait Issuer: Clone {
    /// The rank of its server.
    fn rank(&self) -> u32;

    /// The generation of capabilities that are issued now, and whether those of
    /// this generation are good.
    fn validity(&self) -> (u32, bool);

    /// Whether a capability of the generation may be claimed from a daemon that took over
    /// the rank.
    fn carries_over(&self, gen: u32) -> bool;
}

/// A capability that a rank has issued.
#[derive(Debug)]
pub struct Cap<S> {
    issuer: S,
    cap_id: u64,
    issued: Caps,
    implemented: Caps,
    mds_wanted: Caps,
    seq: u32,
    issue_seq: u32,
    mseq: u32,
    gen: u32,
}

impl<S: Issuer> Cap<S> {
    fn new(issuer: S, gen: u32, new: ReplyCap) -> Self {
        Self {
            issuer,
            cap_id: new.cap_id,
            issued: new.caps,
            implemented: new.caps | Caps::PIN,
            mds_wanted: new.wanted,
            seq: new.seq,
            issue_seq: new.seq,
            mseq: new.mseq,
            gen,
        }
    }

    /// The session that issued it.
    pub fn issuer(&self) -> &S {
        &self.issuer
    }

    /// Its identity.
    pub fn id(&self) -> u64 {
        self.cap_id
    }

    /// What is issued, be it good or not.
    pub fn issued(&self) -> Caps {
        self.issued
    }

    /// What the server believes we use.
    pub fn implemented(&self) -> Caps {
        self.implemented
    }

    /// What the server believes we want.
    pub fn mds_wanted(&self) -> Caps {
        self.mds_wanted
    }

    /// Whether it is not doubtful.
    pub fn is_valid(&self) -> bool {
        let (gen, good) = self.issuer.validity();
        good && gen == self.gen
    }

    /// Whether it is not doubtful as soon as its session is renewed in time.
    fn is_valid_when_renewed(&self) -> bool {
        self.issuer.validity().0 == self.gen
    }

    /// What tells the server that it is given back.
    pub fn release_item(&self, ino: u64) -> CapItem {
        CapItem {
            ino,
            cap_id: self.cap_id,
            mseq: self.mseq,
            issue_seq: self.issue_seq,
        }
    }

    fn revoking(&self) -> Caps {
        self.implemented.without(self.issued)
    }

    /// After a new generation nothing but the pin is sure.
    fn enter_generation(&mut self, gen: u32) {
        if self.gen != gen {
            self.issued = Caps::PIN;
            self.implemented = Caps::PIN;
            self.gen = gen;
        }
    }
}

/// How the issued bits changed, for what the file system derives from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What was issued before.
    pub before: Caps,
    /// What is issued now.
    pub after: Caps,
    /// Something is to be told to a server: call [`CapSet::due`].
    pub check: bool,
}

impl Change {
    /// Bits that can be used from now on.
    pub fn gained(&self) -> Caps {
        self.after.without(self.before)
    }

    /// Bits that cannot be used any more.
    pub fn lost(&self) -> Caps {
        self.before.without(self.after)
    }
}

/// What to tell a server about its capability (`CEPH_CAP_OP_UPDATE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// Identity.
    pub cap_id: u64,
    /// What counts as issued from now on.
    pub issued: Caps,
    /// What is held.
    pub caps: Caps,
    /// What is wanted.
    pub wanted: Caps,
    /// Version.
    pub seq: u32,
    /// Version at which it was issued.
    pub issue_seq: u32,
    /// Version of the migration.
    pub mseq: u32,
}

/// The capabilities of one inode, and what uses them.
#[derive(Debug)]
pub struct CapSet<S> {
    /// One of them, without an allocation: most inodes have no more.
    first: Option<Cap<S>>,
    more: KVec<Cap<S>>,
    auth: Option<u32>,
    /// Bits of an inode in a snapshot; they never change.
    snap_caps: Caps,
    refs: Refs,
}

impl<S: Issuer> Default for CapSet<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Issuer> CapSet<S> {
    /// No capabilities, nothing open.
    pub const fn new() -> Self {
        Self {
            first: None,
            more: KVec::new(),
            auth: None,
            snap_caps: Caps::NONE,
            refs: Refs::new(),
        }
    }

    // ----- room: no allocation under the inode's lock -----

    /// Whether a capability of the rank can be added without allocating.
    pub fn has_room(&self, rank: u32) -> bool {
        self.first.is_none() || self.get(rank).is_some() || self.more.len() < self.more.capacity()
    }

    /// Room for one more than so many.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new_room(len: usize) -> Result<KVec<Cap<S>>> {
        // The first needs none.
        Ok(KVec::with_capacity(len, GFP_KERNEL)?)
    }

    /// Moves into the room, if it is larger, and gives the old one back, to be freed
    /// without the inode's lock.
    pub fn move_to(&mut self, mut room: KVec<Cap<S>>) -> KVec<Cap<S>> {
        if room.capacity() <= self.more.len() {
            return room;
        }
        while let Some(cap) = self.more.pop() {
            // There is room, so this does not allocate.
            if room.push(cap, GFP_KERNEL).is_err() {
                break;
            }
        }
        core::mem::replace(&mut self.more, room)
    }

    // ----- looking -----

    /// All capabilities.
    pub fn caps(&self) -> impl Iterator<Item = &Cap<S>> {
        Iterator::chain(self.first.iter(), &self.more)
    }

    fn caps_mut(&mut self) -> impl Iterator<Item = &mut Cap<S>> {
        Iterator::chain(self.first.iter_mut(), &mut self.more)
    }

    /// How many capabilities there are.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()).saturating_add(self.more.len())
    }

    /// The capability of the rank.
    pub fn get(&self, rank: u32) -> Option<&Cap<S>> {
        self.caps().find(|cap| cap.issuer.rank() == rank)
    }

    fn get_mut(&mut self, rank: u32) -> Option<&mut Cap<S>> {
        self.caps_mut().find(|cap| cap.issuer.rank() == rank)
    }

    /// The capability of the authoritative rank.
    pub fn auth(&self) -> Option<&Cap<S>> {
        self.get(self.auth?)
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.snap_caps.is_empty()
    }

    /// What may be used now.
    pub fn issued(&self) -> Caps {
        self.issued_if(Cap::is_valid)
    }

    /// What may be used as soon as all sessions are renewed in time: what a change leaves.
    /// If it came to be issued while a session was late, nothing that was derived from what
    /// had been issued before is good any more.
    fn issued_when_renewed(&self) -> Caps {
        self.issued_if(Cap::is_valid_when_renewed)
    }

    fn issued_if(&self, is_valid: impl Fn(&Cap<S>) -> bool) -> Caps {
        let none = (self.snap_caps, Caps::NONE);
        let (have, revoked) = self.caps().fold(none, |(mut have, mut revoked), cap| {
            if is_valid(cap) {
                have |= cap.issued;
            }
            // What the authoritative rank revokes the others revoke too; their messages
            // may be late.
            if self.auth == Some(cap.issuer.rank()) {
                revoked = cap.revoking();
            }
            (have, revoked)
        });
        have.without(revoked)
    }

    /// Whether all bits of the mask may be used now.
    pub fn has(&self, mask: Caps) -> bool {
        self.issued().contains(mask)
    }

    /// What some server waits for us to stop using.
    pub fn revoking(&self) -> Caps {
        let each = self.caps().map(Cap::revoking);
        each.fold(Caps::NONE, |all, one| all | one)
    }

    /// What was issued and is or may be in use, over all capabilities.
    pub fn implemented(&self) -> Caps {
        let each = self.caps().map(|cap| cap.implemented);
        each.fold(self.snap_caps, |all, one| all | one)
    }

    /// What is in use; `cached` says whether there are pages of the file's content.
    pub fn used(&self, cached: bool) -> Caps {
        self.refs.used(cached)
    }

    /// What is wanted, for the files that are open.
    pub fn wanted(&self, is_dir: bool) -> Caps {
        self.refs.wanted(is_dir)
    }

    /// Whether a file is open.
    pub fn is_open(&self) -> bool {
        self.refs.is_open()
    }

    /// What a server that has to serve an open file should be told as wanted already,
    /// so that no request is needed: what the valid capabilities' servers know.
    pub fn known_wanted(&self) -> Caps {
        let each = self.caps().filter(|cap| cap.is_valid());
        each.fold(Caps::NONE, |all, cap| all | cap.mds_wanted)
    }

    /// Whether a server knows that the bits are wanted, and will say when they are there. One
    /// whose session is late is not asked again: it could not issue anything that counts
    /// before the session is renewed, and then it issues what is wanted.
    pub fn is_awaited(&self, need: Caps) -> bool {
        let each = self.caps().map(|cap| cap.mds_wanted);
        each.fold(Caps::NONE, |all, one| all | one).contains(need)
    }

    // ----- use -----

    /// A file was opened.
    pub fn open(&mut self, mode: Mode) {
        self.refs.open(mode);
    }

    /// A file was closed. Whether it was the last of its mode.
    pub fn close(&mut self, mode: Mode) -> bool {
        self.refs.close(mode)
    }

    /// Begins to use `need`, and what of `want` is there; what was taken. Only
    /// [`Caps::FILE_RD`] and [`Caps::FILE_CACHE`] are counted.
    ///
    /// `None` while `need` is not issued, or is being revoked: then nothing is
    /// taken, since the server would wait for us.
    pub fn acquire(&mut self, need: Caps, want: Caps) -> Option<Caps> {
        let issued = self.issued();
        if !issued.contains(need) || self.revoking().intersects(need) {
            return None;
        }
        let got = need | (want & issued).without(self.revoking());
        self.refs.take(got);
        Some(got)
    }

    /// One more use of [`Caps::FILE_RD`], by somebody who uses it already.
    pub fn hold_read(&mut self) -> Caps {
        self.refs.take(Caps::FILE_RD);
        Caps::FILE_RD
    }

    /// Ends the use of what was taken. Whether a server may wait for that.
    pub fn give_back(&mut self, got: Caps) -> bool {
        self.refs.put(got);
        self.revoking().intersects(got)
    }

    // ----- what servers say -----

    /// The bits of an inode in a snapshot.
    pub fn set_snap_caps(&mut self, caps: Caps) {
        self.snap_caps = caps;
    }

    /// A reply came with a capability (`ceph_add_cap`). There must be room.
    ///
    /// `new` is called where the capability is stored, so that it is not kept elsewhere
    /// before.
    #[inline]
    pub fn add(&mut self, issuer: S, new: impl FnOnce() -> ReplyCap, is_dir: bool) -> Change {
        if self.first.is_none() && self.more.is_empty() {
            return self.add_only(issuer, new, is_dir);
        }
        let new = new();
        match self.add_again(issuer.rank(), new, is_dir) {
            Some(change) => change,
            None => self.add_another(issuer, new, is_dir),
        }
    }

    /// Adds a capability where there is none, as most are: what others issue and revoke
    /// does not matter.
    #[inline]
    fn add_only(&mut self, issuer: S, new: impl FnOnce() -> ReplyCap, is_dir: bool) -> Change {
        let (gen, _) = issuer.validity();
        let new = new();
        let before = self.snap_caps;
        self.auth = new.is_auth().then(|| issuer.rank());
        self.first = Some(Cap::new(issuer, gen, new));
        Change {
            before,
            after: before | new.caps,
            check: self.wants_less_than(new.wanted, is_dir),
        }
    }

    /// As [`Self::add`], for a rank that has issued one before; None if it has not.
    pub fn add_again(&mut self, rank: u32, new: ReplyCap, is_dir: bool) -> Option<Change> {
        let was_auth = self.auth == Some(rank);
        // Asked once: that may take a lock.
        let (gen, good) = self.get(rank)?.issuer.validity();
        let before = self.issued_if(|cap| match cap.issuer.rank() == rank {
            true => good && cap.gen == gen,
            false => cap.is_valid(),
        });
        let cap = self.get_mut(rank)?;
        cap.enter_generation(gen);
        let (mut issued, mut seq, mut mseq) = (new.caps, new.seq, new.mseq);
        let mut auth = new.is_auth();
        // The server changed, and we heard of that from the old one but not yet
        // from the new one: what it sent before does not count.
        if cap.cap_id == new.cap_id && !seq_newer(seq, cap.seq) {
            (seq, mseq) = (cap.seq, cap.mseq);
            issued |= cap.issued;
            auth |= was_auth;
        }
        cap.cap_id = new.cap_id;
        cap.issued = issued;
        cap.implemented |= issued;
        if seq_newer(mseq, cap.mseq) || auth {
            cap.mds_wanted = new.wanted;
        } else {
            cap.mds_wanted |= new.wanted;
        }
        (cap.seq, cap.issue_seq, cap.mseq, cap.gen) = (seq, seq, mseq, gen);
        let mds_wanted = cap.mds_wanted;
        if auth && !was_auth {
            self.set_auth(rank, mseq);
        }
        let after = self.issued_if(|cap| match cap.issuer.rank() == rank {
            true => cap.gen == gen,
            false => cap.is_valid_when_renewed(),
        });
        Some(Change {
            before,
            after,
            check: self.wants_less_than(mds_wanted, is_dir),
        })
    }

    /// Adds the capability of a rank that had none, beside others.
    fn add_another(&mut self, issuer: S, new: ReplyCap, is_dir: bool) -> Change {
        let before = self.issued();
        let rank = issuer.rank();
        let (gen, _) = issuer.validity();
        let added = self.put(Cap::new(issuer, gen, new));
        if added.is_ok() && new.is_auth() {
            self.set_auth(rank, new.mseq);
        }
        Change {
            before,
            after: self.issued_when_renewed(),
            check: added.is_ok() && self.wants_less_than(new.wanted, is_dir),
        }
    }

    /// There is room, so this does not allocate.
    fn put(&mut self, cap: Cap<S>) -> Result {
        if self.first.is_none() {
            self.first = Some(cap);
            return Ok(());
        }
        Ok(self.more.push(cap, GFP_KERNEL)?)
    }

    /// The rank says that it is authoritative, as of a migration.
    fn set_auth(&mut self, rank: u32, mseq: u32) {
        if self.auth().is_none_or(|a| !seq_newer(a.mseq, mseq)) {
            self.auth = Some(rank);
        }
    }

    /// GRANT, REVOKE, or the bits of an IMPORT: `newcaps` is issued from now on.
    /// `None` if there is no such capability.
    pub fn grant(&mut self, rank: u32, cap_id: u64, newcaps: Caps, seq: u32) -> Option<Change> {
        let before = self.issued();
        let is_auth = self.auth == Some(rank);
        let others = {
            let each = self.caps().filter(|c| c.issuer.rank() != rank);
            each.fold(Caps::NONE, |all, c| all | c.revoking())
        };
        let cap = self.get_mut(rank)?;
        let (gen, _) = cap.issuer.validity();
        cap.enter_generation(gen);
        let (mut newcaps, mut seq) = (newcaps, seq);
        if cap.cap_id == cap_id && !seq_newer(seq, cap.seq) && seq != cap.seq {
            // Sent before the capability came here from another server.
            seq = cap.seq;
            newcaps |= cap.issued;
        }
        cap.cap_id = cap_id;
        cap.seq = seq;
        let revoked = cap.issued.without(newcaps);
        cap.issued = newcaps;
        cap.implemented |= newcaps;
        // A use that goes on holds the answer back in [`CapSet::check`].
        let check = !revoked.is_empty() || is_auth && others.intersects(newcaps);
        Some(Change {
            before,
            after: self.issued_when_renewed(),
            check,
        })
    }

    /// EXPORT: another server issues it from now on. What is left at `rank` is
    /// removed; `target` is the session with the new server, if it is known, whose
    /// own message (IMPORT) is still to come. There must be room for the target.
    ///
    /// The removed capability is not to be released: the server knows.
    pub fn export(
        &mut self,
        rank: u32,
        cap_id: u64,
        target: Option<(&S, CapPeer)>,
    ) -> Option<Removed<S>> {
        let cap = self.get(rank)?;
        if cap.cap_id != cap_id {
            return None;
        }
        let before = self.issued();
        // What is doubtful here does not become sure by a move; the new server will say.
        let issued = if cap.is_valid() {
            cap.issued
        } else {
            Caps::PIN
        };
        let was_auth = self.auth == Some(rank);
        if let Some((issuer, peer)) = target {
            // One less than what the new server will say.
            let seq = peer.issue_seq.wrapping_sub(1);
            let (gen, _) = issuer.validity();
            let target = issuer.rank();
            match self.get_mut(target) {
                Some(cap) => {
                    if cap.cap_id == peer.cap_id && seq_newer(peer.issue_seq, cap.seq) {
                        cap.enter_generation(gen);
                        (cap.seq, cap.issue_seq) = (seq, seq);
                        cap.mseq = peer.mseq;
                        cap.issued |= issued;
                        cap.implemented |= issued;
                    }
                }
                None => {
                    let placed = Cap {
                        issuer: issuer.clone(),
                        cap_id: peer.cap_id,
                        issued,
                        implemented: issued,
                        mds_wanted: Caps::NONE,
                        seq,
                        issue_seq: seq,
                        mseq: peer.mseq,
                        gen,
                    };
                    // There is room; without, the capability is simply gone.
                    let _ = self.put(placed);
                }
            }
            if was_auth {
                self.auth = self.get(target).map(|_| target);
            }
        }
        let cap = self.take(rank)?;
        Some(Removed {
            cap,
            change: Change {
                before,
                after: self.issued_when_renewed(),
                check: false,
            },
        })
    }

    /// IMPORT, after [`CapSet::add`] of the new capability: the one that the former
    /// server had issued is gone.
    pub fn imported_from(&mut self, peer: &CapPeer) -> Option<Removed<S>> {
        if self.get(peer.mds)?.cap_id != peer.cap_id {
            return None;
        }
        self.remove(peer.mds)
    }

    fn take(&mut self, rank: u32) -> Option<Cap<S>> {
        let is_it = |cap: &Cap<S>| cap.issuer.rank() == rank;
        let cap = match self.first.take_if(|cap| is_it(cap)) {
            Some(cap) => cap,
            None => {
                let at = self.more.iter().position(is_it)?;
                self.more.remove(at).ok()?
            }
        };
        if self.auth == Some(rank) {
            self.auth = None;
        }
        Some(cap)
    }

    /// A capability is gone, or is given back.
    pub fn remove(&mut self, rank: u32) -> Option<Removed<S>> {
        let before = self.issued();
        let cap = self.take(rank)?;
        Some(Removed {
            cap,
            change: Change {
                before,
                after: self.issued_when_renewed(),
                check: false,
            },
        })
    }

    /// The inode goes: one capability after the other.
    pub fn pop(&mut self) -> Option<Cap<S>> {
        self.auth = None;
        self.first.take().or_else(|| self.more.pop())
    }

    // ----- what servers are told -----

    /// What the rank has to be told now, if anything: that a revoked bit is not in
    /// use any more, that more is wanted, or, with `all`, that less is wanted. When a
    /// message says so, that is to be noted by [`note_sent`](Self::note_sent).
    pub fn due(&self, rank: u32, is_dir: bool, cached: bool, all: bool) -> Option<Update> {
        let wanted = self.wanted(is_dir);
        let mut used = self.used(cached);
        if self.auth != Some(rank) {
            if let Some(auth) = self.auth() {
                // What the authoritative rank issues is used under that.
                used = used.without(auth.issued);
            }
        }
        // Whoever wants something keeps all; otherwise nothing that others may need.
        let retain = if wanted.without(Caps::PIN).is_empty() {
            used | Caps::PIN | Caps::ANY_RD
        } else {
            Caps(u32::MAX)
        };
        let is_auth = self.auth == Some(rank);
        let cap = self.get(rank)?;
        let revoked = cap.revoking();
        let acknowledge = !revoked.is_empty() && !revoked.intersects(used);
        let more = is_auth && !wanted.without(cap.mds_wanted | cap.issued).is_empty();
        let less = all
            && (!cap.mds_wanted.without(wanted).is_empty()
                || !cap.issued.without(retain).is_empty());
        if !acknowledge && !more && !less {
            return None;
        }
        let issued = if all { cap.issued & retain } else { cap.issued };
        Some(Update {
            cap_id: cap.cap_id,
            issued,
            caps: cap.implemented & (issued | used),
            wanted,
            seq: cap.seq,
            issue_seq: cap.issue_seq,
            mseq: cap.mseq,
        })
    }

    /// The rank was told what was [`due`](Self::due), with no change in between.
    pub fn note_sent(&mut self, rank: u32, update: &Update) {
        if let Some(cap) = self.get_mut(rank) {
            cap.issued = update.issued;
            cap.implemented = update.caps;
            cap.mds_wanted = update.wanted;
        }
    }

    /// Whether a server believes that more is wanted than is.
    pub fn wants_less(&self, is_dir: bool) -> bool {
        self.caps()
            .any(|c| self.wants_less_than(c.mds_wanted, is_dir))
    }

    fn wants_less_than(&self, mds_wanted: Caps, is_dir: bool) -> bool {
        let more = mds_wanted.without(Caps::PIN);
        !more.is_empty() && !more.without(self.wanted(is_dir)).is_empty()
    }

    /// The rank has renewed its session. It has issued anew before what was stale and can be
    /// had again: the rest is lost.
    pub fn renewed(&mut self, rank: u32) {
        if let Some(cap) = self.get_mut(rank) {
            let (gen, _) = cap.issuer.validity();
            cap.enter_generation(gen);
        }
    }

    /// The server restarted and is told of the capability anew: versions begin again. Of what
    /// had gone stale before nothing but the pin is claimed, since others may have got it.
    /// What is to be told: identity, wanted, issued.
    pub fn reconnect(&mut self, rank: u32, is_dir: bool) -> Option<(u64, Caps, Caps)> {
        let wanted = self.wanted(is_dir);
        let cap = self.get_mut(rank)?;
        (cap.seq, cap.issue_seq, cap.mseq) = (0, 0, 0);
        let (gen, _) = cap.issuer.validity();
        if cap.issuer.carries_over(cap.gen) {
            cap.gen = gen;
        }
        cap.enter_generation(gen);
        // From then on it is what the server knows.
        cap.mds_wanted = wanted;
        if is_dir {
            cap.issued = cap.issued.without(Caps::ANY_DIR_OPS);
        }
        Some((cap.cap_id, wanted, cap.issued))
    }
}

/// A capability that is gone, and what that means for the inode.
#[derive(Debug)]
pub struct Removed<S> {
    /// What is gone.
    pub cap: Cap<S>,
    /// What changed.
    pub change: Change,
}
