// SPDX-License-Identifier: GPL-2.0
//! The use of capabilities: waiting for them, and giving them back.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    fs::{
        Inode,
        InodeRef, //
    },
    time,
    wait::Reason, //
};

use ceph_fs_proto::wire::cap_bits::Caps;

use crate::{
    fs_client::FsClient,
    fs_type::CephFs,
    inode::info::has_pages,
    mds_client::reason::FROM_MDS, //
};

/// What a task that waits for capabilities gives as its reason; the bits are the
/// reason's id.
pub(crate) const CAPS_WAIT: &str = "caps";

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
                state.stale_pages.raise();
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

impl FsClient {
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
            let want = if state.stale_pages.any() {
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
            let asked = || info.state().caps.is_awaited(need);
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
            if state.stale_pages.any() && (need | want).intersects(Caps::FILE_CACHE) {
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
}
