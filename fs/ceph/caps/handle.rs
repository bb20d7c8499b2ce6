// SPDX-License-Identifier: GPL-2.0
//! CLIENT_CAPS: what servers say of capabilities.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::Inode;

use ceph_core::messenger::Incoming;
use ceph_fs_proto::wire::{
    cap_bits::Caps,
    client_caps::{
        CapItem,
        CapOp,
        ClientCaps, //
    },
    inode_stat::ReplyCap, //
};

use crate::{
    caps::add::{
        make_room,
        note,
        removed, //
    },
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    inode::{
        attrs,
        info::{
            has_pages,
            SessionRef,
            State, //
        },
    },
};

/// Takes in size and truncation. Returns whether there are pages that may be beyond a new end.
///
/// With the lock under which what is issued was changed: pages that are read with the new
/// capabilities but the old size are zero behind it, and nobody would ever doubt them.
fn truncated(inode: &Inode<CephFs>, state: &mut State, caps: &ClientCaps<'_>) -> bool {
    let i = &caps.inode;
    let size = caps.fscrypt.true_size(i.size);
    let cut = attrs::size(inode, state, i.truncate_seq, i.truncate_size, size);
    let doubtful = cut && has_pages(inode);
    if doubtful {
        state.stale_pages.raise();
    }
    doubtful
}

impl FsClient {
    /// CLIENT_CAPS.
    pub(crate) fn caps_message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        let caps = ClientCaps::decode(&msg.front, &msg.middle, msg.header.version)?;
        self.raise_barrier(session, caps.osd_epoch_barrier)?;
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
            session.data.release_unknown(CapItem {
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
        let mut prepared = attrs::PreparedCaps::new(&info, caps)?;
        let change = {
            let mut state = info.state();
            let change = state
                .caps
                .grant(session.rank, caps.cap_id, caps.caps, caps.seq);
            let names = change.and_then(|change| {
                attrs::from_caps(inode, &mut state, caps, &mut prepared);
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
            // Who uses it still sees that it has no path any more.
            if let Some(dentry) = inode.find_alias() {
                dentry.unhash();
            }
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
        let mut prepared = attrs::PreparedCaps::new(&inode.data(), caps)?;
        self.add_cap(
            session,
            inode,
            || new,
            |state, _| {
                state.realm = new.realm;
                attrs::from_caps(inode, state, caps, &mut prepared);
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
        // The session with the new server, which is opened if there is none. If that cannot be,
        // what was issued is lost, and asked for again when it is needed.
        let target = caps
            .peer
            .and_then(|peer| Some((self.mdsc.open_export_target(peer.mds)?, peer)));
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
}
