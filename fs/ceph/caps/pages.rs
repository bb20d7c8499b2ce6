// SPDX-License-Identifier: GPL-2.0
//! What the page cache has to do with capabilities.
//!
//! Pages are good while Fc is issued. Those that were read without it may be old, and those
//! that stay without it grow old. So when Fc comes or goes and there are pages, a *doubt* is
//! raised, under the lock under which that is noted. Until it is settled, because all pages
//! of then are gone, nobody reads from the page cache, and no server hears that Fc is given
//! back. The end of a use of Fc that outlasted it raises a doubt, too, as its user may have
//! brought pages.
//!
//! A mapping brings in a page even without Fc, while another client writes. That is no use
//! of Fc: whoever touches such pages would bring them back again and again, and others would
//! wait for ever. They are read anew by each fault, and go some seconds later. So are and do
//! all pages of a file whose content is kept with its inode.
use kernel::prelude::*;
use kernel_ext::fs::Inode;

use ceph_fs_proto::{
    machine::caps::Change,
    wire::cap_bits::Caps, //
};

use crate::{
    fs_client::FsClient,
    fs_type::CephFs,
    inode::info::has_pages, //
};

/// Whether pages are of doubtful age after the change.
pub(crate) fn age(change: Change) -> bool {
    (change.gained() | change.lost()).intersects(Caps::FILE_CACHE)
}

impl FsClient {
    /// What follows for the inode from a change of what is issued that was taken
    /// [note](crate::caps::add::note) of.
    pub(crate) fn changed(&self, inode: &Inode<CephFs>, change: Change) {
        if age(change) {
            self.empty_cache(inode);
        }
        inode.data().changed.wake_all();
    }

    /// Drops all pages. Nobody uses them until then.
    pub(crate) fn drop_pages(&self, inode: &Inode<CephFs>) {
        if has_pages(inode) {
            inode.data().state().stale_pages.raise();
            self.empty_cache(inode);
        }
    }

    /// Settles the doubts, if there are any: at once if the pages can be dropped at once,
    /// otherwise by work.
    pub(crate) fn empty_cache(&self, inode: &Inode<CephFs>) {
        let info = inode.data();
        let begun = {
            let state = info.state();
            if !state.stale_pages.any() {
                return;
            }
            state.stale_pages.begin()
        };
        inode.invalidate_clean_pages();
        if !has_pages(inode) {
            return self.settle(inode, begun);
        }
        let owned = inode.get();
        let work = move || {
            let fs = owned.super_block().data();
            let begun = owned.data().state().stale_pages.begin();
            // Waits for those that are being read, and unmaps those that are mapped.
            match owned.invalidate_pages() {
                Ok(()) => fs.settle(&owned, begun),
                Err(_) => fs.delayed.add_all(),
            }
        };
        if self.inode_queue.try_spawn(GFP_KERNEL, work).is_err() {
            // The tick tries again.
            self.delayed.add_all();
        }
    }

    fn settle(&self, inode: &Inode<CephFs>, begun: u64) {
        let info = inode.data();
        let awaited = {
            let mut state = info.state();
            state.stale_pages.settle(begun);
            !state.caps.revoking().is_empty()
        };
        if awaited {
            self.check_caps(inode, false);
            info.changed.wake_all();
        }
    }

    /// A page was mapped without Fc: nobody will say when it is old.
    pub(crate) fn page_is_unsure(&self, inode: &Inode<CephFs>) {
        let known = {
            let info = inode.data();
            let mut state = info.state();
            core::mem::replace(&mut state.pages_unsure, true)
        };
        if !known {
            self.delayed.add(inode.key().ino);
        }
    }

    /// Drops pages that were mapped without Fc some seconds ago.
    pub(crate) fn drop_unsure(&self, inode: &Inode<CephFs>) {
        let unsure = {
            let info = inode.data();
            let mut state = info.state();
            core::mem::replace(&mut state.pages_unsure, false)
        };
        if unsure {
            self.drop_pages(inode);
        }
    }
}
