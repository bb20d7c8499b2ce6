// SPDX-License-Identifier: GPL-2.0
//! Adding and removing capabilities, and what follows from a change for what the client
//! derived from them.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::Inode;

use ceph_fs_proto::{
    machine::{
        caps::{
            CapSet,
            Change,
            Removed, //
        },
        listing::Listing, //
    },
    wire::{
        cap_bits::Caps,
        inode_stat::ReplyCap, //
    },
};

use crate::{
    caps::pages::age,
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    inode::info::{
        has_pages,
        InodeInfo,
        SessionRef,
        State,
        StateGuard, //
    },
};

/// Takes note of a change of what is issued: what follows for the names of a directory, and
/// for the pages of a file ([`pages`]). With the inode's lock, under which the change was
/// made; [`FsClient::changed`] is to follow without it. What it returns is to be dropped
/// without the lock.
pub(crate) fn note(
    inode: &Inode<CephFs>,
    state: &mut State,
    change: Change,
) -> Option<Arc<Listing>> {
    if change.lost().intersects(Caps::XATTR_SHARED) {
        inode.forget_acls();
    }
    if inode.is_dir() {
        return inode.data().names_changed(state, change);
    }
    if age(change) && has_pages(inode) && !state.has_inline_data() {
        state.stale_pages.raise();
    }
    None
}

/// Makes room for one more capability of an inode, unless others take it.
pub(crate) fn make_room(info: &InodeInfo) -> Result {
    let len = info.state().caps.len();
    let room = CapSet::new_room(len)?;
    let spare = info.state().caps.move_to(room);
    drop(spare);
    Ok(())
}

/// Removes a capability, and ends the lock.
pub(crate) fn removed(
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
            let doubtful = state.stale_pages.any();
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
}
