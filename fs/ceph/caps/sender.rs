// SPDX-License-Identifier: GPL-2.0
//! What servers are told of capabilities: updates and releases.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    fs::Inode,
    pr_err_ratelimited, //
};

use ceph_core::messenger::{
    Message,
    Parts, //
};
use ceph_fs_proto::{
    machine::caps::{
        Issuer,
        Update, //
    },
    wire::{
        cap_bits::Caps,
        client_caps::{
            CapInode,
            CapItem,
            CapOp,
            CapUpdate, //
        },
        msg::{
            Vino,
            CLIENT_CAPRELEASE,
            CLIENT_CAPS, //
        },
    },
};

use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    inode::{
        attrs,
        info::{
            has_pages,
            State, //
        },
    },
};

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

fn message_attrs(inode: &Inode<CephFs>, state: &State) -> Attrs {
    let (atime, mtime, ctime) = inode.times();
    Attrs {
        uid: inode.uid().get(),
        gid: inode.gid().get(),
        mode: u32::from(inode.mode()),
        inode: CapInode {
            size: u64::try_from(inode.size()).unwrap_or(0),
            max_size: 0,
            truncate_size: state.truncate_size,
            truncate_seq: state.truncate_seq,
            mtime: attrs::to_wire(mtime),
            atime: attrs::to_wire(atime),
            ctime: attrs::to_wire(ctime),
            layout: None,
            time_warp_seq: state.time_warp_seq,
        },
        btime: state.btime,
        change_attr: state.change_attr,
        has_inline_data: state.has_inline_data(),
    }
}

impl FsClient {
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
                && (state.stale_pages.any()
                    || has_pages(inode) && state.caps.has(Caps::FILE_CACHE));
            state.caps.due(session.rank, inode.is_dir(), cached, all)
        };
        loop {
            let (update, attrs) = {
                let state = info.state();
                let Some(update) = due(&state) else {
                    return Ok(());
                };
                (update, message_attrs(inode, &state))
            };
            let message = self.update_message(inode.key().ino, &update, attrs)?;
            let mut state = info.state();
            if due(&state) == Some(update) {
                state.caps.note_sent(session.rank, &update);
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
            osd_epoch_barrier: self.client.osdc.confirmed_barrier(),
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
        let front = CapItem::encode_release(&items, self.client.osdc.confirmed_barrier())?;
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
        let mut inos = self.delayed.take();
        inos.retain(|due| {
            if !due.is_over() {
                return true;
            }
            if let Some(inode) = self.find_inode(due.ino) {
                inode.data().forget_names();
                self.drop_unsure(&inode);
                let less = inode.data().state().caps.wants_less(inode.is_dir());
                if less {
                    self.check_caps(&inode, true);
                }
            }
            false
        });
        self.delayed.put_back(inos);
        if self.delayed.take_all() {
            self.look_at_all();
        }
        self.keep_caps_max();
    }

    /// Does for all inodes what may have been left undone for want of memory.
    fn look_at_all(&self) {
        self.mdsc.for_each_session(|session| {
            self.for_each_cap(session, |inode| {
                let (doubtful, less) = {
                    let info = inode.data();
                    let state = info.state();
                    (
                        state.stale_pages.any(),
                        state.caps.wants_less(inode.is_dir()),
                    )
                };
                if doubtful {
                    self.empty_cache(&inode);
                }
                inode.data().forget_names();
                self.drop_unsure(&inode);
                self.check_caps(&inode, less);
                true
            });
        });
    }
}
