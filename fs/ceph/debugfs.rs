// SPDX-License-Identifier: GPL-2.0
//! The files of a mount in debugfs, in the C client's formats: `mdsmap`, `mdsc`,
//! `mds_sessions`, `caps`, `status`, `bdi`; and `waiting` and `health`, which the C client
//! lacks ([`crate::waiting`], [`crate::health`]).
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    str::{CStr, CString},
    sync::Arc,
};

use ceph_core::log::show;
use ceph_fs_proto::machine::caps::Issuer;

use crate::{
    caps::recall::CAPS_MIN,
    caps::refs::CAPS_WAIT,
    fs_client::FsClient, //
};

impl FsClient {
    /// Makes the files, when the cluster's identity is known.
    pub(crate) fn create_debugfs(self: &Arc<Self>, bdi: &CStr) -> Result {
        let dir = self.client.debugfs_dir().ok_or(ENODEV)?;
        let mut files = KVec::with_capacity(8, GFP_KERNEL)?;
        let mut add = |name: &CStr, show: fn(&Arc<FsClient>, &SeqFile) -> Result| -> Result {
            // The files are dropped by `stop`, before the file system.
            let fs = self.clone();
            let file = dir.file(name, 0o400, move |m: &SeqFile| show(&fs, m))?;
            files.push(file, GFP_KERNEL)?;
            Ok(())
        };
        add(c"mdsmap", |fs, m| {
            fs.mdsc.show_map(m);
            Ok(())
        })?;
        add(c"mdsc", |fs, m| {
            fs.mdsc.show_requests(m);
            Ok(())
        })?;
        add(c"mds_sessions", |fs, m| {
            fs.mdsc.show_sessions(m);
            Ok(())
        })?;
        add(c"caps", FsClient::show_caps)?;
        add(c"status", FsClient::show_status)?;
        add(c"waiting", FsClient::show_waiting)?;
        add(c"health", FsClient::show_health)?;
        let target = CString::try_from_fmt(fmt!("../../bdi/{}", bdi))?;
        files.push(dir.symlink(c"bdi", &target)?, GFP_KERNEL)?;
        let old = self.debugfs.lock().replace(files);
        drop(old);
        Ok(())
    }

    fn show_caps(self: &Arc<Self>, m: &SeqFile) -> Result {
        let mut used = 0;
        self.mdsc.for_each_session(|s| used += s.data.len());
        show!(
            m,
            "total\t\t{used}\navail\t\t0\nused\t\t{used}\nreserved\t0\nmin\t\t{CAPS_MIN}\n\n\
            ino              mds  issued           implemented\n\
            --------------------------------------------------\n"
        );
        self.mdsc.for_each_session(|session| {
            self.for_each_cap(session, |inode| {
                let info = inode.data();
                let state = info.state();
                let cap = state.caps.get(session.rank);
                let line = cap.map(|cap| (cap.issuer().rank(), cap.issued(), cap.implemented()));
                drop(state);
                if let Some((rank, issued, implemented)) = line {
                    let ino = inode.key().ino;
                    // "%-17llx" after the 0x, as C prints it.
                    show!(m, "0x{ino:<17x}{rank:<3}{issued:<17}{implemented:<17}\n");
                }
                true
            });
        });
        show!(
            m,
            "\n\nWaiters:\n--------\n\
            tgid         ino                need             want\n\
            -----------------------------------------------------\n"
        );
        self.client.waits.for_each(|pid, _comm, reason, _msecs| {
            if reason.what == CAPS_WAIT {
                let need = ceph_fs_proto::wire::cap_bits::Caps(reason.id as u32);
                show!(m, "{pid:<13}0x{:<17x}{need:<17}{need:<17}\n", reason.ino);
            }
        });
        Ok(())
    }

    fn show_status(self: &Arc<Self>, m: &SeqFile) -> Result {
        let addr = self.client.messenger.addr();
        show!(
            m,
            "instance: client.{} {}/{}\n",
            self.client.global_id(),
            addr,
            addr.nonce
        );
        show!(m, "blocklisted: {}\n", self.mdsc.is_blocklisted());
        Ok(())
    }
}
