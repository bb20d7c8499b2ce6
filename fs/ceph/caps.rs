// SPDX-License-Identifier: GPL-2.0
//! Capabilities: what the servers say of them, what they are told, and who waits.
//!
//! What happens to the capabilities of one inode is decided by
//! [`CapSet`](ceph_fs_proto::machine::caps::CapSet), under the inode's lock. Here
//! the decisions are carried out, with no spin lock held.
//!
//! Each session lists its capabilities ([`SessionCaps`]). The lists name inodes by
//! number and hold no references: an inode that is evicted takes its capabilities out.
//!
//! What a server has to be told is never lost for lack of memory: releases wait in the
//! place of their capability, and if an update cannot be sent the tick looks at all
//! capabilities again.
//!
//! `SessionCaps::order` is held from the decision what to tell a server until the
//! message is queued, so that an older state never overtakes a newer one. It is
//! outside of the inode's lock.
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};
use kernel_ext::{
    fs::{Inode, InodeRef},
    pr_err_ratelimited, time,
    wait::Reason,
};

use ceph_core::messenger::{Incoming, Message, Parts};
use ceph_fs_proto::{
    machine::{
        caps::{CapSet, Change, Issuer, Mode, Removed, Update},
        listing::Listing,
    },
    wire::{
        cap_bits::Caps,
        client_caps::{CapInode, CapItem, CapOp, CapUpdate, ClientCaps},
        inode_stat::ReplyCap,
        msg::{Vino, CLIENT_CAPRELEASE, CLIENT_CAPS},
        request::{Args, Op},
    },
};

mod held;
mod pages;
mod sessions;

pub(crate) use held::{Delayed, SessionCaps};
pub(crate) use pages::Doubts;

use crate::{
    debugfs::CAPS_WAIT,
    fill,
    fs_client::{FsClient, RequestTarget},
    inode::{has_pages, InodeInfo, Session, SessionRef, State, StateGuard},
    mds_client::{OwnedPath, FROM_MDS},
    super_block::CephFs,
};

/// The use of capability bits; ends when it is dropped, which may send a message.
pub(crate) struct CapRef {
    fs: Arc<FsClient>,
    inode: InodeRef<CephFs>,
    got: Caps,
}

impl CapRef {
    /// The bits that may be used.
    pub(crate) fn got(&self) -> Caps {
        self.got
    }
}

impl Drop for CapRef {
    fn drop(&mut self) {
        let (awaited, empty) = {
            let info = self.inode.data();
            let mut state = info.state();
            let awaited = state.caps.give_back(self.got);
            // Its user may have brought pages after Fc was taken away.
            let empty = self.got.intersects(Caps::FILE_CACHE)
                && !state.caps.has(Caps::FILE_CACHE)
                && has_pages(&self.inode);
            if empty {
                state.doubts.raise();
            }
            (awaited, empty)
        };
        if empty {
            self.fs.empty_cache(&self.inode);
        }
        if awaited {
            self.fs.check_caps(&self.inode, false);
        }
    }
}

/// Attributes of an inode for a message.
struct Attrs {
    uid: u32,
    gid: u32,
    mode: u32,
    inode: CapInode,
    btime: ceph_proto::wire::types::Timespec,
    change_attr: u64,
    has_inline_data: bool,
}

fn attrs(inode: &Inode<CephFs>, state: &State) -> Attrs {
    let (atime, mtime, ctime) = inode.times();
    Attrs {
        uid: inode.uid(),
        gid: inode.gid(),
        mode: u32::from(inode.mode()),
        inode: CapInode {
            size: u64::try_from(inode.size()).unwrap_or(0),
            max_size: 0,
            truncate_size: state.truncate_size,
            truncate_seq: state.truncate_seq,
            mtime: fill::to_wire(mtime),
            atime: fill::to_wire(atime),
            ctime: fill::to_wire(ctime),
            layout: None,
            time_warp_seq: state.time_warp_seq,
        },
        btime: state.btime,
        change_attr: state.change_attr,
        has_inline_data: state.has_inline_data(),
    }
}

/// Takes note of a change of what is issued: what follows for the names of a directory, and
/// for the pages of a file ([`pages`]). With the inode's lock, under which the change was
/// made; [`FsClient::changed`] is to follow without it. What it returns is to be dropped
/// without the lock.
fn note(inode: &Inode<CephFs>, state: &mut State, change: Change) -> Option<Arc<Listing>> {
    if inode.is_dir() {
        return inode.data().names_changed(state, change);
    }
    if pages::age(change) && has_pages(inode) && !state.has_inline_data() {
        state.doubts.raise();
    }
    None
}

/// Takes in size and truncation. Returns whether there are pages that may be beyond a new end.
///
/// With the lock under which what is issued was changed: pages that are read with the new
/// capabilities but the old size are zero behind it, and nobody would ever doubt them.
fn truncated(inode: &Inode<CephFs>, state: &mut State, caps: &ClientCaps<'_>) -> bool {
    let i = &caps.inode;
    let cut = fill::size(inode, state, i.truncate_seq, i.truncate_size, i.size);
    let doubtful = cut && has_pages(inode);
    if doubtful {
        state.doubts.raise();
    }
    doubtful
}

/// Makes room for one more capability of an inode, unless others take it.
fn make_room(info: &InodeInfo) -> Result {
    let len = info.state().caps.len();
    let room = CapSet::new_room(len)?;
    let spare = info.state().caps.move_to(room);
    drop(spare);
    Ok(())
}

/// Removes a capability, and ends the lock.
fn removed(
    inode: &Inode<CephFs>,
    mut state: StateGuard<'_>,
    remove: impl FnOnce(&mut CapSet<SessionRef>) -> Option<Removed<SessionRef>>,
) -> Option<Removed<SessionRef>> {
    let removed = remove(&mut state.caps)?;
    let names = note(inode, &mut state, removed.change);
    drop(state);
    drop(names);
    Some(removed)
}

impl FsClient {
    // ----- adding -----

    /// Takes in the capability that came with an inode, and lets `also` change the
    /// attributes under the same lock, knowing what was issued before. Returns the count of
    /// dropped names of a directory as of then.
    ///
    /// What `cap` gives is not asked for before it is stored.
    pub(crate) fn add_cap(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        cap: impl FnOnce() -> ReplyCap,
        also: impl FnOnce(&mut State, Caps),
    ) -> Result<u64> {
        let info = inode.data();
        let is_dir = inode.is_dir();
        let (change, doubtful, release_count) = loop {
            let mut guard = info.state();
            let known = guard.caps.get(session.rank).map(|cap| cap.issuer());
            let place = if let Some(known) = known {
                let other = !Arc::ptr_eq(&known.session, session);
                if other && known.session.state().is_over() {
                    // Of a reply that came while that session was ended from elsewhere. It
                    // would never count.
                    drop(guard);
                    self.remove_cap(session, inode, false);
                    continue;
                }
                None
            } else if !guard.caps.has_room(session.rank) {
                drop(guard);
                make_room(&info)?;
                continue;
            } else if let Some(place) = session.data.insert(inode.key().ino) {
                Some(place)
            } else {
                drop(guard);
                session.data.make_room()?;
                continue;
            };
            let published = guard.published();
            let state = &mut *guard;
            let change = match place {
                // It has one.
                None => state.caps.add_again(session.rank, cap(), is_dir),
                Some(place) => {
                    let session = session.clone();
                    let issuer = SessionRef { session, place };
                    Some(state.caps.add(issuer, cap, is_dir))
                }
            }
            .unwrap_or_default();
            also(state, change.before);
            let names = note(inode, state, change);
            let doubtful = state.doubts.any();
            let release_count = if is_dir { info.release_count() } else { 0 };
            // A reply often tells of a directory what is known.
            guard.put_back(published, change.after);
            drop(guard);
            drop(names);
            break (change, doubtful, release_count);
        };
        if doubtful {
            self.empty_cache(inode);
        }
        info.changed.wake_all();
        if change.check {
            self.delayed.add(inode.key().ino);
        }
        Ok(release_count)
    }

    // ----- telling servers -----

    /// Has work tell the servers that wait for it what is not used any more; for those
    /// who have no reference to the inode, or may not sleep.
    pub(crate) fn answer_for(&self, ino: u64) {
        // Not a reference to ourselves, which would be dropped on our own queue.
        let Some(sb) = self.super_block() else { return };
        let work = move || {
            // An inode that is gone has given everything back.
            if let Some(inode) = sb.find_inode(&Vino::head(ino)) {
                sb.data().check_caps(&inode, false);
            }
        };
        if self.inode_queue.try_spawn(GFP_KERNEL, work).is_err() {
            self.delayed.add_all();
        }
    }

    /// Tells each server what it has to know of the inode's capabilities; with `all`
    /// also what is not wanted any more.
    pub(crate) fn check_caps(&self, inode: &Inode<CephFs>, all: bool) {
        let info = inode.data();
        let mut after: Option<u32> = None;
        loop {
            let session = {
                let state = info.state();
                let later = |rank: u32| after.is_none_or(|after| rank > after);
                let issuers = state.caps.caps().map(|cap| cap.issuer());
                issuers
                    .filter(|issuer| later(issuer.rank()))
                    .min_by_key(|issuer| issuer.rank())
                    .map(|issuer| issuer.session.clone())
            };
            let Some(session) = session else { return };
            after = Some(session.rank);
            if !session.state().is_usable() {
                continue;
            }
            let _order = session.data.order.lock();
            if self.tell(&session, inode, all).is_err() {
                self.delayed.add_all();
            }
        }
    }

    /// Tells one server. It counts as told when there is a message that says it: what
    /// the message is to say is found out before and after it was made.
    fn tell(&self, session: &Arc<Session>, inode: &Inode<CephFs>, all: bool) -> Result {
        let info = inode.data();
        let due = |state: &State| {
            let cached = !state.has_inline_data()
                && (state.doubts.any() || has_pages(inode) && state.caps.has(Caps::FILE_CACHE));
            state.caps.due(session.rank, inode.is_dir(), cached, all)
        };
        loop {
            let (update, attrs) = {
                let state = info.state();
                let Some(update) = due(&state) else {
                    return Ok(());
                };
                (update, attrs(inode, &state))
            };
            let message = self.update_message(inode.key().ino, &update, attrs)?;
            let mut state = info.state();
            if due(&state) == Some(update) {
                state.caps.told(session.rank, &update);
                drop(state);
                session.send(message);
                return Ok(());
            }
        }
    }

    fn update_message(&self, ino: u64, update: &Update, attrs: Attrs) -> Result<Arc<Message>> {
        let front = CapUpdate {
            op: CapOp::UPDATE,
            ino,
            cap_id: update.cap_id,
            seq: update.seq,
            issue_seq: update.issue_seq,
            mseq: update.mseq,
            caps: update.caps,
            wanted: update.wanted,
            dirty: Caps::NONE,
            snap_follows: 0,
            uid: attrs.uid,
            gid: attrs.gid,
            mode: attrs.mode,
            xattr_version: 0,
            inode: attrs.inode,
            btime: attrs.btime,
            change_attr: attrs.change_attr,
            flush_tid: 0,
            oldest_flush_tid: 0,
            osd_epoch_barrier: self.epoch_barrier.load(Relaxed),
            has_inline_data: attrs.has_inline_data,
            flags: 0,
        }
        .encode()?;
        Message::new(Parts {
            kind: CLIENT_CAPS,
            version: CapUpdate::VERSION,
            front,
            ..Parts::default()
        })
    }

    /// Sends the releases that are pending.
    pub(crate) fn send_releases(&self, session: &Arc<Session>) {
        if !session.state().is_usable() {
            return;
        }
        let _order = session.data.order.lock();
        loop {
            let pending = session.data.list.lock().pending();
            if pending == 0 {
                return;
            }
            let sent = self.send_some_releases(session, pending.min(CapItem::PER_MESSAGE));
            if let Err(e) = sent {
                // They stay, and the tick tries again.
                pr_err_ratelimited!("mds{}: cannot release caps: {:?}\n", session.rank, e);
                return;
            }
        }
    }

    fn send_some_releases(&self, session: &Arc<Session>, count: usize) -> Result {
        let mut items = KVec::with_capacity(count, GFP_KERNEL)?;
        session.data.list.lock().peek(&mut items);
        let front = CapItem::encode_release(&items, self.epoch_barrier.load(Relaxed))?;
        session.send_parts(Parts {
            kind: CLIENT_CAPRELEASE,
            version: CapItem::VERSION,
            front,
            ..Parts::default()
        })?;
        session.data.list.lock().forget(items.len());
        Ok(())
    }

    /// Looks at the inodes that were put off.
    pub(crate) fn look_at_delayed(&self) {
        for ino in self.delayed.take() {
            let Some(inode) = self.find_inode(ino) else {
                continue;
            };
            self.drop_unsure(&inode);
            let less = inode.data().state().caps.wants_less(inode.is_dir());
            if less {
                self.check_caps(&inode, true);
            }
        }
        if self.delayed.take_all() {
            self.look_at_all();
        }
    }

    /// Does for all inodes what may have been left undone for want of memory.
    fn look_at_all(&self) {
        self.mdsc.for_each_session(|session| {
            self.for_each_cap(session, |inode| {
                let (doubtful, less) = {
                    let info = inode.data();
                    let state = info.state();
                    (state.doubts.any(), state.caps.wants_less(inode.is_dir()))
                };
                if doubtful {
                    self.empty_cache(&inode);
                }
                self.drop_unsure(&inode);
                self.check_caps(&inode, less);
                true
            });
        });
    }

    // ----- what servers say -----

    /// CLIENT_CAPS.
    pub(crate) fn caps_message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        let caps = ClientCaps::decode(&msg.front, &msg.middle, msg.header.version)?;
        self.raise_barrier(caps.osd_epoch_barrier);
        if !caps.snap_trace.is_empty() {
            self.realms.update(&caps.snap_trace)?;
        }
        let Some(inode) = self.find_inode(caps.ino) else {
            return self.unknown_cap(session, &caps);
        };
        match caps.op {
            CapOp::GRANT | CapOp::REVOKE => self.grant(session, &inode, &caps),
            CapOp::IMPORT => {
                self.import(session, &inode, &caps)?;
                self.grant(session, &inode, &caps)
            }
            CapOp::EXPORT => self.export(session, &inode, &caps),
            CapOp::TRUNC => {
                let cut = truncated(&inode, &mut inode.data().state(), &caps);
                if cut {
                    self.empty_cache(&inode);
                }
                Ok(())
            }
            // Nothing is ever flushed, so there is nothing to acknowledge.
            _ => Ok(()),
        }
    }

    /// A capability of an inode that is gone already: the release that tells so may
    /// still be on its way, or the server may have issued it again.
    fn unknown_cap(&self, session: &Arc<Session>, caps: &ClientCaps<'_>) -> Result {
        if matches!(caps.op, CapOp::IMPORT | CapOp::GRANT | CapOp::REVOKE) {
            session.data.release_unheld(CapItem {
                ino: caps.ino,
                cap_id: caps.cap_id,
                mseq: caps.mseq,
                issue_seq: caps.seq,
            })?;
            self.send_releases(session);
        }
        Ok(())
    }

    fn grant(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        caps: &ClientCaps<'_>,
    ) -> Result {
        let info = inode.data();
        let mut cut = false;
        let change = {
            let mut state = info.state();
            let change = state
                .caps
                .grant(session.rank, caps.cap_id, caps.caps, caps.seq);
            let names = change.and_then(|change| {
                fill::from_caps(inode, &mut state, caps);
                cut = truncated(inode, &mut state, caps);
                note(inode, &mut state, change)
            });
            drop(state);
            drop(names);
            change
        };
        let Some(change) = change else {
            return self.unknown_cap(session, caps);
        };
        if cut {
            self.empty_cache(inode);
        }
        self.changed(inode, change);
        if caps.caps.intersects(Caps::LINK_SHARED) && caps.nlink == 0 {
            // Another client has deleted it. The server cannot free its space as long as it
            // is remembered here.
            inode.prune_aliases();
        }
        if change.check || caps.op == CapOp::IMPORT {
            self.check_caps(inode, false);
        }
        Ok(())
    }

    fn import(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        caps: &ClientCaps<'_>,
    ) -> Result {
        let new = ReplyCap {
            caps: caps.caps,
            wanted: caps.wanted,
            cap_id: caps.cap_id,
            seq: caps.seq,
            mseq: caps.mseq,
            realm: caps.realm,
            flags: ReplyCap::AUTH,
        };
        self.add_cap(
            session,
            inode,
            || new,
            |state, _| {
                state.realm = new.realm;
                fill::from_caps(inode, state, caps);
                truncated(inode, state, caps);
            },
        )?;
        let Some(peer) = caps.peer else { return Ok(()) };
        let info = inode.data();
        let removed = removed(inode, info.state(), |caps| caps.imported_from(&peer));
        if let Some(removed) = removed {
            let old = removed.cap.issuer();
            if peer.flags & ReplyCap::RELEASE != 0 {
                let item = removed.cap.release_item(inode.key().ino);
                old.session.data.release(old.place, item);
            } else {
                old.session.data.remove(old.place);
            }
            self.changed(inode, removed.change);
        }
        Ok(())
    }

    fn export(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        caps: &ClientCaps<'_>,
    ) -> Result {
        let info = inode.data();
        // The new server's session, if there is one; without, what was issued is
        // lost, and asked for again when it is needed.
        let target = caps
            .peer
            .and_then(|peer| Some((self.mdsc.session(peer.mds)?, peer)));
        let removed = loop {
            let state = info.state();
            let Some((to, peer)) = &target else {
                break removed(inode, state, |set| {
                    set.export(session.rank, caps.cap_id, None)
                });
            };
            if !state.caps.has_room(to.rank) {
                drop(state);
                make_room(&info)?;
                continue;
            }
            let known = state.caps.get(session.rank).map(|cap| cap.id());
            if known != Some(caps.cap_id) {
                return Ok(());
            }
            let place = match state.caps.get(to.rank) {
                Some(known) => Some(known.issuer().place),
                None => to.data.insert(inode.key().ino),
            };
            let Some(place) = place else {
                drop(state);
                to.data.make_room()?;
                continue;
            };
            let issuer = SessionRef {
                session: to.clone(),
                place,
            };
            break removed(inode, state, |set| {
                set.export(session.rank, caps.cap_id, Some((&issuer, *peer)))
            });
        };
        if let Some(removed) = removed {
            let old = removed.cap.issuer();
            old.session.data.remove(old.place);
            self.changed(inode, removed.change);
        }
        Ok(())
    }

    // ----- use -----

    /// Waits until `need` may be used, killable; also takes what of `want` there is.
    /// The file is open, so the servers know what is wanted.
    pub(crate) fn get_caps(
        self: &Arc<Self>,
        inode: &Inode<CephFs>,
        need: Caps,
        want: Caps,
    ) -> Result<CapRef> {
        let info = inode.data();
        let take = || {
            let mut state = info.state();
            let want = if state.doubts.any() {
                want.without(Caps::FILE_CACHE)
            } else {
                want
            };
            state.caps.acquire(need, want)
        };
        loop {
            if let Some(got) = take() {
                return Ok(CapRef {
                    fs: self.clone(),
                    inode: inode.get(),
                    got,
                });
            }
            if self.is_shut_down() {
                return Err(EIO);
            }
            let asked = || info.state().caps.known_wanted().contains(need);
            if asked() {
                let reason = Reason {
                    what: CAPS_WAIT,
                    whom: FROM_MDS,
                    id: u64::from(need.0),
                    ino: inode.key().ino,
                };
                let mut got = None;
                let done = || {
                    got = take();
                    // Without a session that knows what is wanted nothing will come.
                    got.is_some() || self.is_shut_down() || !asked()
                };
                let limit = Some(time::secs(5));
                match info
                    .changed
                    .wait_until(&self.client.waits, reason, limit, done)
                {
                    Err(e) if e != ETIMEDOUT => return Err(e),
                    _ => {}
                }
                if let Some(got) = got {
                    return Ok(CapRef {
                        fs: self.clone(),
                        inode: inode.get(),
                        got,
                    });
                }
                // A message may have been lost with a session.
                self.check_caps(inode, false);
            } else {
                self.renew_open(inode)?;
            }
        }
    }

    /// Takes what is there without waiting.
    pub(crate) fn try_get_caps(
        self: &Arc<Self>,
        inode: &Inode<CephFs>,
        need: Caps,
        want: Caps,
    ) -> Option<CapRef> {
        let info = inode.data();
        let got = {
            let mut state = info.state();
            if state.doubts.any() && (need | want).intersects(Caps::FILE_CACHE) {
                return None;
            }
            state.caps.acquire(need, want)?
        };
        Some(CapRef {
            fs: self.clone(),
            inode: inode.get(),
            got,
        })
    }

    /// Tells a server that the file is open for reading, by OPEN, which always
    /// brings a capability.
    fn renew_open(&self, inode: &Inode<CephFs>) -> Result {
        self.request(
            Op::OPEN,
            Args::Open {
                flags: 0,
                mode: 0,
                pool: u32::MAX,
                mask: Caps::NONE,
            },
            OwnedPath::inode(inode.key().ino),
            RequestTarget::inode(inode),
        )?;
        Ok(())
    }

    /// Opens a file or directory. Asks a server only if it does not know that the
    /// inode is used that way. To be matched by [`Self::closed`].
    pub(crate) fn open(&self, inode: &Inode<CephFs>, mode: Mode) -> Result {
        let info = inode.data();
        info.touch();
        if !inode.key().is_head() || inode.is_dir() || mode == Mode::Pin {
            info.opened(mode);
            return Ok(());
        }
        let known = {
            let mut state = info.state();
            state.caps.open(mode);
            let wanted = mode.caps().without(Caps::PIN);
            let known = state.caps.known_wanted() | state.caps.issued();
            known.contains(wanted)
        };
        if known {
            // One that has the bits but does not know that they are wanted is told.
            self.check_caps(inode, false);
            return Ok(());
        }
        let opened = self.renew_open(inode);
        if opened.is_err() {
            self.closed(inode, mode);
        }
        opened
    }

    /// A file was closed.
    pub(crate) fn closed(&self, inode: &Inode<CephFs>, mode: Mode) {
        let last = inode.data().state().caps.close(mode);
        if last && inode.key().is_head() {
            self.delayed.add(inode.key().ino);
        }
    }
}
